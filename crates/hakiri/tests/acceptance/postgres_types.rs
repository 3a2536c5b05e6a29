//! Values of every type, from a real server through the real binary into files, read back by pyarrow and DuckDB and
//! compared with what PostgreSQL itself prints or computes.

use serde_json::{Value, json};

use crate::support::pg::Db;
use crate::support::python;

/// Column, type, three values, and how the value is compared. A fourth row is null everywhere.
const MATRIX: &[(&str, &str, [&str; 3], &str)] = &[
    ("b", "boolean", ["true", "false", "true"], "bool"),
    ("i2", "smallint", ["-32768", "32767", "0"], "number"),
    ("i4", "integer", ["-2147483648", "2147483647", "0"], "number"),
    ("i8", "bigint", ["-9223372036854775808", "9223372036854775807", "0"], "number"),
    ("o", "oid", ["0", "4294967295", "1"], "number"),
    ("f4", "real", ["'1.5'", "'-0'", "'Infinity'"], "float"),
    ("f8", "double precision", ["'0.1'", "'NaN'", "'-1e300'"], "float"),
    ("n9", "numeric(9,2)", ["9999999.99", "-0.01", "1.5"], "number"),
    ("n38", "numeric(38,10)", ["1234567890123456789012345678.0123456789", "-0.0000000001", "7"], "number"),
    ("n76", "numeric(76,30)", ["9876543210987654321098765432109876543210987654.321", "-0.1", "0"], "wide"),
    ("nneg", "numeric(5,-2)", ["1234567", "-99999", "0"], "number"),
    ("nsmall", "numeric(3,5)", ["0.00999", "-0.00001", "0"], "number"),
    (
        "n",
        "numeric",
        ["'NaN'", "1234567890.12345678901234567890123456789012345678901234567890123456789", "1.500"],
        "text",
    ),
    ("ninf", "numeric", ["'Infinity'", "'-Infinity'", "0.000"], "text"),
    ("m", "money", ["12.34", "-92233720368547758.08", "0"], "money"),
    ("t", "text", ["''", "'üñí😀 \\ \"x\"'", "E'a\\n\\tb'"], "text"),
    ("v", "varchar(10)", ["'abc  '", "''", "'x'"], "text"),
    ("c", "char(5)", ["'ab'", "''", "'abcde'"], "text"),
    ("nm", "name", ["'a name'", "''", "'n'"], "text"),
    ("ch", "\"char\"", ["'a'", "'b'", "'c'"], "text"),
    ("by", "bytea", ["''", "'\\x00ff10'", "'\\xdeadbeef'"], "bytes"),
    ("d", "date", ["'infinity'", "'-infinity'", "'0044-03-15 BC'"], "date"),
    ("d2", "date", ["'20000-01-01'", "'1970-01-01'", "'0001-01-01'"], "date"),
    ("ti", "time", ["'00:00'", "'24:00'", "'23:59:59.999999'"], "time"),
    ("tz", "timetz", ["'12:00+02'", "'00:00:00.000001-11:30'", "'24:00+00'"], "text"),
    ("ts", "timestamp", ["'infinity'", "'-infinity'", "'4713-01-01 00:00:00 BC'"], "timestamp"),
    (
        "ts2",
        "timestamp",
        ["'1969-12-31 23:59:59.999999'", "'12345-06-07 08:09:10.111213'", "'2026-01-01'"],
        "timestamp",
    ),
    ("tstz", "timestamptz", ["'infinity'", "'-infinity'", "'2026-01-01 02:00:00.123456+02'"], "timestamp"),
    ("iv", "interval", ["'1 year -2 mons 3 days -04:05:06.7'", "'0'", "'-178000000 years'"], "text"),
    (
        "u",
        "uuid",
        [
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-fffffffffffe'",
            "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
        ],
        "text",
    ),
    ("j", "json", ["'{\"b\": 1, \"a\":[1.50, null]}'", "'\"x\"'", "'12345678901234567890.10'"], "text"),
    ("jb", "jsonb", ["'{\"b\": 1, \"a\":[1.50, null]}'", "'null'", "'12345678901234567890.10'"], "text"),
    ("ip", "inet", ["'192.168.0.1'", "'10.1.2.3/8'", "'::ffff:1.2.3.4/96'"], "text"),
    ("ci", "cidr", ["'10.0.0.0/8'", "'2001:db8::/32'", "'::1'"], "text"),
    ("mac", "macaddr", ["'08:00:2b:01:02:03'", "'00:00:00:00:00:00'", "'ff:ff:ff:ff:ff:ff'"], "text"),
    (
        "mac8",
        "macaddr8",
        ["'08:00:2b:01:02:03:04:05'", "'00:00:00:00:00:00:00:00'", "'ff:ff:ff:ff:ff:ff:ff:ff'"],
        "text",
    ),
    ("e", "\"Mood ü\"", ["'sad'", "'it''s ok'", "'sad'"], "text"),
    ("dom", "price", ["1.23", "99999.99", "0"], "number"),
    ("bits", "bit(5)", ["B'10101'", "B'00000'", "B'11111'"], "text"),
    ("vb", "varbit", ["B''", "B'1'", "B'0110'"], "text"),
    ("x", "xml", ["'<a>ü</a>'", "''", "'text'"], "text"),
    ("tv", "tsvector", ["'a:1 fat:2 cat:3'", "''", "'x'"], "text"),
    ("ai", "integer[]", ["'{1,NULL,3}'", "'{}'", "'[5:6]={7,8}'"], "list"),
    ("at", "text[]", ["ARRAY['a,b', NULL, '']", "'{}'", "ARRAY['NULL']"], "list"),
    ("an", "numeric(10,2)[]", ["'{1.50,NULL,-0.01}'", "'{}'", "'{99999999.99}'"], "list"),
    ("ab", "boolean[]", ["'{t,f,NULL}'", "'{}'", "'{t}'"], "list"),
    ("au", "uuid[]", ["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'", "'{}'", "'{NULL}'"], "list"),
    ("ae", "\"Mood ü\"[]", ["'{sad,NULL}'", "'{}'", "ARRAY['it''s ok']::\"Mood ü\"[]"], "list"),
    ("aj", "jsonb[]", ["ARRAY['{\"a\": 1}']::jsonb[]", "'{}'", "'{NULL}'"], "texts"),
    ("addr", "inet[]", ["'{10.0.0.1,::1/64}'", "'{}'", "'{NULL}'"], "list"),
];

/// What the server says of a column: its own print, or for times the count that files have.
fn expected(column: &str, kind: &str) -> String {
    let micros = |of: &str| format!("(extract(epoch from {of}) * 1000000)::numeric(30,0)");
    match kind {
        "money" => format!("{column}::numeric"),
        "bytes" => format!("encode({column}, 'hex')"),
        "date" => format!(
            "case when {column} is null then null when isfinite({column}) then {column} - date '1970-01-01' \
             when {column} > '1970-01-01' then 2147483647 else -2147483647 end"
        ),
        "time" => micros(column),
        "timestamp" => format!(
            "case when {column} is null then null when isfinite({column}) then {} when {column} > '1970-01-01' then 9223372036854775807 \
             else -9223372036854775807 end",
            micros(column)
        ),
        "list" => format!("array_to_json({column})"),
        "texts" => format!("array_to_json({column}::text[])"),
        _ => column.to_owned(),
    }
}

const COMPARE: &str = r#"
import sys, glob, json, os, math, pyarrow as pa, pyarrow.parquet as pq, duckdb
from decimal import Decimal
store, table, spec = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))
files = sorted(glob.glob(f'{store}/tables/{table}/runs/*/part-*.parquet'))
assert files, 'no parts'
got = pa.concat_tables([pq.read_table(f) for f in files])
order = sorted(range(got.num_rows), key=lambda i: got.column('id')[i].as_py())
def plain(v):
    return format(v, 'f') if isinstance(v, Decimal) else v
def as_float(text):
    return float(text.replace('Infinity', 'inf'))
def same(kind, value, want):
    if want is None or value is None:
        return value is None and want is None
    if kind == 'bool': return value == (want == 't')
    if kind in ('number', 'wide', 'date', 'time', 'timestamp'): return format(Decimal(value), 'f') == want
    if kind == 'money': return Decimal(value) == Decimal(want)
    if kind == 'float':
        w = as_float(want)
        return (math.isnan(w) and math.isnan(value)) or (w == value and math.copysign(1, w) == math.copysign(1, value))
    if kind == 'bytes': return value.hex() == want
    if kind in ('list', 'texts'):
        return [plain(v) for v in value] == [plain(v) for v in json.loads(want, parse_float=Decimal)]
    return value == want
wrong = []
for name, kind, wants in spec:
    column = got.column(name)
    if kind == 'date': column = column.cast(pa.int32())
    if kind in ('time', 'timestamp'): column = column.cast(pa.int64())
    if isinstance(column.type, pa.BaseExtensionType): column = pa.chunked_array([c.storage for c in column.chunks])
    values = [column[i].as_py() for i in order]
    assert len(values) == len(wants), (name, len(values), len(wants))
    for value, want in zip(values, wants):
        if not same(kind, value, want): wrong.append(('pyarrow', name, str(column.type), value, want))
os.chdir(store)
con = duckdb.connect()
con.execute("set timezone = 'UTC'")
con.execute(open(f'views/{table}.sql').read())
for name, kind, wants in spec:
    if kind == 'wide': continue  # DuckDB has no decimals above 38 digits.
    q = '"' + name.replace('"', '""') + '"'
    expr = {
        'date': f"case when {q} is null then null when isfinite({q}) then date_diff('day', date '1970-01-01', {q}) when {q} = 'infinity'::date then 2147483647 else -2147483647 end",
        'timestamp': f"case when {q} is null then null when isfinite({q}) then epoch_us({q}) when {q} = 'infinity' then 9223372036854775807 else -9223372036854775807 end",
        'time': f"{q}::varchar",
    }.get(kind, q)
    if kind == 'time':
        def seconds(text):
            h, m, s = text.split(':')
            return str(int(Decimal(int(h) * 3600 + int(m) * 60) * 1000000 + Decimal(s) * 1000000))
    values = [r[0] for r in con.execute(f'select {expr} from "{table}" order by id').fetchall()]
    for value, want in zip(values, wants):
        if kind == 'time' and value is not None: value = seconds(value)
        if not same(kind, value, want): wrong.append(('duckdb', name, value, want))
assert not wrong, '\n'.join(map(str, wrong))
print(json.dumps({'columns': len(spec), 'rows': got.num_rows}))
"#;

/// Runs the project's one table and compares it with what the server says.
fn compare(db: &Db, columns: &[(&str, &str, &str)], table: &str, config: &str) -> Value {
    let project = db.project(config, &format!("tables = [\"{table}\"]\n"));
    project.run();
    let list: Vec<String> = columns.iter().map(|(name, _, kind)| expected(name, kind)).collect();
    db.sql("set timezone = 'UTC'; set intervalstyle = 'iso_8601'; set lc_monetary = 'C'");
    let rows = db.sql(&format!("select {} from {table} order by id", list.join(", ")));
    let spec: Vec<Value> = columns
        .iter()
        .enumerate()
        .map(|(i, (name, _, kind))| json!([name, kind, rows.iter().map(|r| r[i].clone()).collect::<Vec<_>>()]))
        .collect();
    let path = project.path().join("spec.json");
    std::fs::write(&path, serde_json::to_vec(&spec).unwrap()).unwrap();
    let stored = format!("p_{table}");
    let store = project.store();
    serde_json::from_str(&python(COMPARE, &[store.to_str().unwrap(), &stored, path.to_str().unwrap()])).unwrap()
}

#[test]
fn values_of_every_type_are_read_back_equal_by_pyarrow_and_duckdb() {
    let columns: Vec<String> = MATRIX.iter().map(|(name, ty, ..)| format!("{name} {ty}")).collect();
    let row = |i: usize| MATRIX.iter().map(|(_, _, values, _)| values[i]).collect::<Vec<_>>().join(", ");
    let db = Db::new(&format!(
        "create type \"Mood ü\" as enum ('sad', 'it''s ok'); create domain cents as numeric(7,2); \
         create domain price as cents check (value >= 0); \
         create table m (id int primary key, {}, gone text, made int generated always as (id * 2) stored); \
         alter table m drop column gone; \
         insert into m values (1, {}), (2, {}), (3, {}); insert into m (id) values (4)",
        columns.join(", "),
        row(0),
        row(1),
        row(2)
    ));
    let mut columns: Vec<(&str, &str, &str)> = MATRIX.iter().map(|(name, ty, _, kind)| (*name, *ty, *kind)).collect();
    columns.push(("made", "int", "number"));
    assert_eq!(compare(&db, &columns, "m", ""), json!({"columns": MATRIX.len() + 1, "rows": 4}));
}

#[test]
fn addresses_intervals_and_numbers_at_random_are_printed_as_the_server_prints_them() {
    let db = Db::new(
        "select setseed(0.42); create table r as select id, \
         (select string_agg(case when random() < 0.55 then '0' else to_hex((random() * 65535)::int) end, ':') \
          from generate_series(1, 8) where id > 0)::inet as ip, \
         case when random() < 0.5 then set_masklen('::'::inet + (random() * 1e6)::bigint, (random() * 128)::int) \
              else set_masklen('::ffff:0:0'::inet + (random() * 4e9)::bigint, (random() * 128)::int) end as low, \
         make_interval(months => ((random() - 0.5) * 60)::int, days => ((random() - 0.5) * 9)::int, \
           secs => case when random() < 0.5 then 0 else (random() - 0.5) * 1e5 end) as iv, \
         ((random() - 0.5) * 10 ^ ((random() * 60)::int - 30))::numeric * (random() * 1e9)::bigint as n \
         from generate_series(1, 5000) as id; alter table r add primary key (id)",
    );
    let columns =
        [("ip", "inet", "text"), ("low", "inet", "text"), ("iv", "interval", "text"), ("n", "numeric", "text")];
    assert_eq!(compare(&db, &columns, "r", "")["rows"], 5000);
}

#[test]
fn types_without_a_counterpart_are_refused_by_name_with_a_cast_and_the_others_go_on() {
    let db = Db::new(
        "create table places (id int primary key, spot point, span int4range, \"Odd name\" path); \
         insert into places values (1, '(1,2)', '[1,5)', '[(0,0),(1,1)]'); \
         create table fine (id int primary key); insert into fine values (1)",
    );
    let project = db.project("", "");
    let ran = project.hakiri(&["run"]).expect(3);
    ran.says("HK1020");
    ran.says("column `spot` has the type point and column `span` has the type int4range and column `Odd name` has the type path");
    ran.says("casts = { spot = \"text\", span = \"text\", \"Odd name\" = \"text\" }");
    assert_eq!(project.number("select count(*) from p_fine"), 1);
    // What the hint says is enough.
    project.manifest(&crate::support::pg::manifest(
        ", tables = { places = { casts = { spot = \"text\", span = \"text\", \"Odd name\" = \"text\" } } }",
        "",
    ));
    project.run();
    assert_eq!(
        project.rows("select spot, span, \"Odd name\" from p_places"),
        [json!({"spot": "(1,2)", "span": "[1,5)", "Odd name": "[(0,0),(1,1)]"})]
    );
}

#[test]
fn a_value_that_does_not_fit_is_an_error_that_names_its_column_and_never_the_value() {
    let db = Db::new(
        "create table n (id int primary key, price numeric(9,2)); insert into n values (1, 31337.5), (2, 'NaN'); \
         create table a (id int primary key, grid int[]); insert into a values (1, '{{31337,2},{3,4}}'); \
         create table s (id int primary key, at timestamptz); insert into s values (1, '294276-12-31')",
    );
    for (table, column, why, read_as_text) in [
        ("n", "price", "NaN or infinite", "NaN"),
        ("a", "grid", "more than one dimension", "{{31337,2},{3,4}}"),
        ("s", "at", "later than the year 294246", "294276-12-31 00:00:00+00"),
    ] {
        let project = db.project("", &format!("tables = [\"{table}\"]\n"));
        let ran = project.hakiri(&["run"]).expect(1);
        ran.says("HK1021")
            .says(&format!("column `{column}`"))
            .says(why)
            .says(&format!("casts = {{ {column} = \"text\" }}"));
        assert!(!ran.stderr.contains("31337"), "{}", ran.stderr);
        project.manifest(&crate::support::pg::manifest(
            &format!(", tables = {{ {table} = {{ casts = {{ {column} = \"text\" }} }} }}"),
            &format!("tables = [\"{table}\"]\n"),
        ));
        project.run();
        let last = project.rows(&format!("select {column} as v from p_{table} order by id desc limit 1"));
        assert_eq!(last, [json!({"v": read_as_text})]);
    }
    // A row can be left out instead, and is counted.
    let project = db.project("", "tables = [\"n\"]\n[pipeline.table.n]\non_bad_row = \"skip\"\n");
    let report = project.run();
    assert!(report.to_string().contains("NaN or infinite"), "{report}");
    assert_eq!(project.number("select count(*) from p_n"), 1);
}

#[test]
fn text_that_is_not_utf8_is_an_error_that_names_its_column() {
    let db = Db::with(
        "encoding 'SQL_ASCII' locale_provider libc locale 'C' template template0",
        "create table t (id int primary key, body text); insert into t values (1, 'fine'), (2, E'\\xff\\xfe')",
    );
    let project = db.project("", "tables = [\"t\"]\n");
    project.hakiri(&["run"]).expect(1).says("HK1021").says("column `body`: a text is not valid UTF-8");
}

#[test]
fn a_numeric_without_digits_becomes_the_decimal_that_the_manifest_declares_exactly() {
    let db = Db::new("create table t (id int primary key, n numeric); insert into t values (1, 12.50), (2, 0.1)");
    let more = |ty: &str| format!("tables = [\"t\"]\n[pipeline.table.t]\ntypes = {{ n = \"{ty}\" }}\n");
    let project = db.project("", &more("decimal(20,4)"));
    project.run();
    assert_eq!(
        project.rows("select n::varchar as n, arrow_typeof(n) as t from p_t order by id"),
        [json!({"n": "12.5000", "t": "Decimal128(20, 4)"}), json!({"n": "0.1000", "t": "Decimal128(20, 4)"})]
    );
    // One digit less is not enough for 12.50 and 0.1: nothing is rounded.
    let project = db.project("", &more("decimal(20,0)"));
    project.hakiri(&["run"]).expect(1).says("HK0705");
}
