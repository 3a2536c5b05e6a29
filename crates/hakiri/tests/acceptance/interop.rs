//! P6: with Hakiri uninstalled, pyarrow and DuckDB read the store, and read what was stored.

use serde_json::{Value, json};

use crate::support::{Project, python};

/// Every type that can enter through a source today, by way of Parquet (typed) and JSON (inferred).
pub const MAKE: &str = r#"
import sys, datetime as d, decimal as dec, pyarrow as pa, pyarrow.parquet as pq
u = d.timezone.utc
cols = {
 'id': pa.array([1, 2, 3], pa.int64()),
 'b': pa.array([True, False, None]),
 'i8': pa.array([-128, 127, None], pa.int8()), 'i16': pa.array([-32768, 32767, None], pa.int16()),
 'i32': pa.array([-2**31, 2**31-1, None], pa.int32()), 'i64': pa.array([-2**63, 2**63-1, None], pa.int64()),
 'u8': pa.array([0, 255, None], pa.uint8()), 'u16': pa.array([0, 65535, None], pa.uint16()),
 'u32': pa.array([0, 2**32-1, None], pa.uint32()), 'u64': pa.array([0, 2**64-1, None], pa.uint64()),
 'f32': pa.array([1.5, -0.0, None], pa.float32()), 'f64': pa.array([0.1, 1e300, None], pa.float64()),
 'dec': pa.array([dec.Decimal('12345678901234567890.1234'), dec.Decimal('-0.0001'), None], pa.decimal128(38, 4)),
 's': pa.array(['', 'üñí\U0001F600', None], pa.string()), 'ls': pa.array(['a', 'b', None], pa.large_string()),
 'bin': pa.array([b'', b'\x00\xff', None], pa.binary()), 'fb': pa.array([b'abcd', b'efgh', None], pa.binary(4)),
 'date': pa.array([d.date(1, 1, 1), d.date(9999, 12, 31), None], pa.date32()),
 't': pa.array([d.time(0, 0), d.time(23, 59, 59, 999999), None], pa.time64('us')),
 'ts': pa.array([d.datetime(1969, 12, 31, 23, 59, 59, 1), d.datetime(2026, 1, 1), None], pa.timestamp('us')),
 'tsz': pa.array([d.datetime(1900, 1, 1, tzinfo=u), d.datetime(2100, 1, 1, 0, 0, 0, 123456, tzinfo=u), None], pa.timestamp('us', 'UTC')),
 'tms': pa.array([d.datetime(2020, 1, 1), d.datetime(2020, 1, 1, 0, 0, 0, 5000), None], pa.timestamp('ms')),
 'ts_s': pa.array([d.datetime(1, 1, 1), d.datetime(2026, 1, 1, 0, 0, 1), None], pa.timestamp('s')),
 'ts_ns': pa.array([d.datetime(1999, 1, 1, 0, 0, 0, 1), d.datetime(2026, 1, 1), None], pa.timestamp('ns')),
 't_s': pa.array([d.time(0, 0), d.time(23, 59, 59), None], pa.time32('s')),
 't_ms': pa.array([d.time(0, 0), d.time(23, 59, 59, 999000), None], pa.time32('ms')),
 'dur': pa.array([d.timedelta(0), d.timedelta(days=-1, microseconds=5), None], pa.duration('us')),
 'd76': pa.array([dec.Decimal('9' * 60 + '.5'), dec.Decimal('-0.1'), None], pa.decimal256(76, 1)),
 'l': pa.array([[1, None, 3], [], None], pa.list_(pa.int32())),
 'st': pa.array([{'a': 1, 'b': 'x'}, {'a': None, 'b': 'y'}, None], pa.struct([('a', pa.int32()), ('b', pa.string())])),
 'ls_st': pa.array([[{'k': 1}], [], None], pa.list_(pa.struct([('k', pa.int64())]))),
 'dict': pa.array(['x', 'y', None]).dictionary_encode(),
}
pq.write_table(pa.table(cols), sys.argv[1])
"#;

const COMPARE: &str = r#"
import sys, glob, json, os, pyarrow as pa, pyarrow.parquet as pq, duckdb
source, store = sys.argv[1], sys.argv[2]
want = pq.read_table(source).to_pylist()
files = glob.glob(store + '/tables/f_t/runs/*/part-*.parquet')
assert len(files) == 1, files
got = pq.read_table(files[0])
assert got.schema.names[-1] == '_hakiri_run', got.schema
rows = [{k: v for k, v in r.items() if k != '_hakiri_run'} for r in got.to_pylist()]
assert rows == want, [(k, a[k], b[k]) for a, b in zip(rows, want) for k in a if a[k] != b[k]]
os.chdir(store)
con = duckdb.connect()
con.execute("set timezone = 'UTC'")
con.execute(open('views/f_t.sql').read())
# DuckDB has no decimals above 38 digits and reads durations as counts: pyarrow compared those above.
a = con.execute("select * exclude (_hakiri_run, dur, d76) from f_t order by id").fetchall()
b = con.execute("select * exclude (dur, d76) from read_parquet(?) order by id", [source]).fetchall()
assert a == b, [(x, y) for r, s in zip(a, b) for x, y in zip(r, s) if x != y]
meta = pq.ParquetFile(files[0]).metadata
assert meta.created_by == 'hakiri parquet-v1', meta.created_by
assert set(meta.metadata) == {b'ARROW:schema'}, meta.metadata
print(json.dumps({'columns': got.num_columns, 'rows': got.num_rows}))
"#;

pub fn manifest(path: &str) -> String {
    format!(
        "[[pipeline]]\nid = \"f\"\ntables = [\"t\"]\nsource = {{ connector = \"file\", config = {{ path = \"{path}\" }} }}\n[pipeline.table.t]\nprimary_key = [\"id\"]\n"
    )
}

#[test]
fn every_type_is_read_back_equal_by_pyarrow_and_duckdb() {
    let project = Project::new(&manifest("in.parquet"));
    let source = project.path().join("in.parquet");
    python(MAKE, &[source.to_str().unwrap()]);
    project.run();
    let report = python(COMPARE, &[source.to_str().unwrap(), project.store().to_str().unwrap()]);
    assert_eq!(report.trim(), "{\"columns\": 33, \"rows\": 3}");
}

#[test]
fn duckdb_views_show_what_hakiri_query_shows_as_the_table_changes() {
    let project = Project::new(&format!("{}children = [\"tags\"]\n", manifest("data/*.jsonl")));
    let steps = [
        "{\"id\":1,\"v\":1,\"tags\":[{\"t\":\"a\"},{\"t\":\"b\"}]}\n{\"id\":2,\"v\":2,\"tags\":[]}\n",
        "{\"id\":2,\"v\":2.5,\"new\":\"x\",\"tags\":[{\"t\":\"c\"}]}\n",
        "{\"id\":1,\"v\":\"word\",\"nest\":{\"a\":1},\"tags\":[{\"t\":\"d\",\"u\":7}]}\n{\"id\":3,\"v\":null}\n",
    ];
    let views = r#"
import sys, os, json, duckdb
os.chdir(sys.argv[1])
con = duckdb.connect()
out = {}
for table, order in (('f_t', 'id'), ('f_t_tags', 't_id, t')):
    con.execute(open(f'views/{table}.sql').read())
    cur = con.execute(f"select * exclude (_hakiri_run) from {table} order by {order}")
    names = [c[0] for c in cur.description]
    out[table] = [dict(zip(names, r)) for r in cur.fetchall()]
print(json.dumps(out, default=str))
"#;
    for (i, text) in steps.iter().enumerate() {
        project.write(&format!("data/{i}.jsonl"), text);
        project.run();
        let seen: Value = serde_json::from_str(&python(views, &[project.store().to_str().unwrap()])).unwrap();
        let text = |v: &Value| match v {
            Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        let normal = |rows: &[Value]| -> Vec<Vec<(String, String)>> {
            rows.iter().map(|r| r.as_object().unwrap().iter().map(|(k, v)| (k.clone(), text(v))).collect()).collect()
        };
        for (table, order) in [("f_t", "id"), ("f_t_tags", "t_id, t")] {
            let ours = project.rows(&format!("select * exclude (_hakiri_run) from {table} order by {order}"));
            assert_eq!(normal(seen[table].as_array().unwrap()), normal(&ours), "{table} after step {i}");
        }
    }
    assert_eq!(
        project.rows("select t_id, t from f_t_tags order by t_id, t"),
        [json!({"t_id": 1, "t": "d"}), json!({"t_id": 2, "t": "c"})]
    );
}
