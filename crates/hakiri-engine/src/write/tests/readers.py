"""Reads a part with pyarrow and DuckDB, compares what they see, prints each column's types as JSON."""

import json
import sys

import duckdb
import pyarrow.parquet

path = sys.argv[1]
table = pyarrow.parquet.read_table(path)
table.validate(full=True)
relation = duckdb.sql(f"SELECT * FROM '{path}'")
assert relation.columns == table.column_names, relation.columns
counts = ", ".join("count(" + '"' + n + '"' + ")" for n in relation.columns)
rows, *present = duckdb.sql(f"SELECT count(*), {counts} FROM relation").fetchone()
assert rows == table.num_rows == 500
for name, count in zip(table.column_names, present):
    assert rows - count == table[name].null_count, (name, count, table[name].null_count)
# Every value is decoded, nested ones included.
duckdb.sql("SELECT * FROM relation").to_arrow_table()
print(json.dumps({n: [str(t.type), str(d)] for n, t, d in zip(table.column_names, table.schema, relation.types)}))
