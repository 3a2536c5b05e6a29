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
rows = relation.fetchall()
assert len(rows) == table.num_rows == 500
for at, name in enumerate(table.column_names):
    nulls = sum(row[at] is None for row in rows)
    assert nulls == table[name].null_count, (name, nulls, table[name].null_count)
print(json.dumps({n: [str(t.type), str(d)] for n, t, d in zip(table.column_names, table.schema, relation.types)}))
