"""Compares what DuckDB shows of a view with what Hakiri printed: compare.py ROOT TABLE VIEW.sql ROWS.ndjson"""
import datetime, decimal, json, sys
import duckdb

root, table, view, expected = sys.argv[1:]
connection = duckdb.connect()
connection.execute("SET autoinstall_known_extensions = false")
connection.execute("SET VARIABLE hakiri_root = '" + root + "'")
text = open(view).read()
assert text.startswith("-- hakiri view 1 seq 9\n"), text
connection.execute(text)


def clock(t):
    digits = t.microsecond
    fraction = "" if digits == 0 else f".{digits // 1000:03}" if digits % 1000 == 0 else f".{digits:06}"
    return t.strftime("%H:%M:%S") + fraction


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d") + "T" + clock(value) + ("Z" if value.tzinfo else "")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.time):
        return clock(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return decimal.Decimal(repr(value))
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


result = connection.execute(f'SELECT * FROM "{table}"').to_arrow_table()
shown = [plain(row) for row in result.to_pylist()]
hakiri = [json.loads(line, parse_float=decimal.Decimal) for line in open(expected)]
json_columns = {k for row in hakiri for k, v in row.items() if k == "doc"}
for row in shown:
    for column in json_columns:
        row[column] = json.loads(row[column], parse_float=decimal.Decimal) if row[column] is not None else None
order = lambda rows: sorted(rows, key=lambda r: json.dumps(r, sort_keys=True, default=str))
assert order(shown) == order(hakiri), f"duckdb: {order(shown)}\nhakiri: {order(hakiri)}\n{text}"
if hakiri:
    assert list(shown[0]) == list(hakiri[0]), (list(shown[0]), list(hakiri[0]))
print(len(shown))
