use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::json::ReaderBuilder;
use hakiri_core::cursor::TimeUnit;
use hakiri_core::schema::{Field, Schema, Type, to_arrow_schema};
use hakiri_core::transform::{Transform, Transforms as _};

use super::SqlTransforms;
use crate::text::{Style, texts};

fn input() -> Schema {
    let fields = [
        ("id", Type::Int64),
        ("Email", Type::Text),
        ("note", Type::Text),
        ("price", Type::Decimal { precision: 10, scale: 2 }),
        ("at", Type::Timestamp { unit: TimeUnit::Microsecond, utc: true }),
        ("doc", Type::Json),
        ("s", Type::Struct { fields: vec![Field::new("userName", Type::Text)] }),
        ("tags", Type::List { item: Box::new(Type::Text) }),
    ];
    Schema::new(fields.into_iter().map(|(n, t)| Field::new(n, t)).collect())
}

fn rows() -> RecordBatch {
    let lines = r#"{"id":1,"Email":"A@B.c","note":"12","price":1.50,"at":"2024-01-01T10:00:00Z","doc":"{\"a\":1}","s":{"userName":"Ann"},"tags":["x","y"]}
{"id":2,"Email":null,"note":"x","price":null,"at":null}
{"id":0,"Email":"é","note":"7","price":-2.25,"at":"1969-12-31T23:59:59.5Z","tags":[]}"#;
    ReaderBuilder::new(Arc::new(to_arrow_schema(&input()))).build(Cursor::new(lines)).unwrap().next().unwrap().unwrap()
}

fn shown(batch: &RecordBatch) -> String {
    let columns: Vec<_> = batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(f, a)| texts(a, f, Style::Stored, false).unwrap())
        .collect();
    let line = |row: usize| {
        columns.iter().map(|c| if c.is_null_at(row) { "" } else { c.value(row) }).collect::<Vec<_>>().join(",")
    };
    (0..batch.num_rows()).map(line).collect::<Vec<_>>().join(" ")
}

trait NullAt {
    fn is_null_at(&self, row: usize) -> bool;
}

impl NullAt for arrow::array::LargeStringArray {
    fn is_null_at(&self, row: usize) -> bool {
        use arrow::array::Array as _;
        self.is_null(row)
    }
}

fn types(schema: &Schema) -> String {
    schema.fields.iter().map(|f| format!("{} {}", f.name, f.ty)).collect::<Vec<_>>().join(", ")
}

#[test]
fn projections_filters_and_functions() {
    let transforms = SqlTransforms::new();
    for (sql, columns, expected) in [
        ("select id from input", "id int64", "1 2 0"),
        (
            "select * exclude (note, price, at, doc, s, tags), lower(email) as email_lower from input where id > 0",
            "id int64, Email text, email_lower text",
            "1,A@B.c,a@b.c 2,,",
        ),
        (
            "select * exclude (note, price, at, doc, s, tags, email), lower(Email) as email from input",
            "id int64, Email text",
            "1,a@b.c 2, 0,é",
        ),
        ("SELECT Id AS Key FROM Input i WHERE i.EMAIL IS NOT NULL;", "key int64", "1 0"),
        ("select id as \"Key\" from input", "Key int64", "1 2 0"),
        (
            "select price * 2 as p, price + 0.1 as q from input where price = 1.5",
            "p decimal(31,2), q decimal(11,2)",
            "3.00,1.60",
        ),
        ("select try_cast(note as bigint) as n from input", "n int64", "12  7"),
        (
            "select cast(at as date) as day, date_trunc('hour', at) as h from input",
            "day date, h timestamp(us, utc)",
            "2024-01-01,2024-01-01T10:00:00Z , 1969-12-31,1969-12-31T23:00:00Z",
        ),
        (
            "select doc, s.username as u, s['userName'] as v from input where id = 1",
            "doc json, u text, v text",
            "{\"a\":1},Ann,Ann",
        ),
        (
            "select coalesce(email, 'none') as e, case when id = 1 then 'one' else null end as c from input",
            "e text, c text",
            "A@B.c,one none, é,",
        ),
        (
            "select sha256(email) as h from input where id = 1",
            "h binary",
            "3bfd8f3eb16c1d9a9a5bd87ba9ad1ee6d58ab7c8d45dc1f7d9f9f7d8c0f5f4ce",
        ),
        ("select array_length(tags) as n, tags[1] as t from input where id = 1", "n uint64, t text", "2,x"),
        ("select null as n, 1 as one from input where id = 1", "n null, one int64", ",1"),
        (
            "select input.* exclude (note, price, at, doc, s, tags) from input where id <> 0 and 10 / id > 5",
            "id int64, Email text",
            "1,A@B.c",
        ),
        ("select id from input where id = 0 or 10 / id > 5", "id int64", "1 0"),
        ("select id from input where id in (1, 2) and email like 'A%'", "id int64", "1"),
        ("select id from input where note ~ '^[0-9]+$' and cast(note as bigint) > 7", "id int64", "1"),
    ] {
        transforms.check(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let transform = transforms.compile(sql, &input()).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(types(transform.output()), columns, "{sql}");
        let whole = transform.apply(&rows()).unwrap_or_else(|e| panic!("{sql}: {e:?}")).batch;
        assert_eq!(*whole.schema(), to_arrow_schema(transform.output()), "{sql}");
        if !sql.contains("sha256") {
            assert_eq!(shown(&whole), expected, "{sql}");
        }
        assert_eq!(by_one(transform.as_ref()), whole, "{sql}: rows one by one");
    }
}

/// The rows one at a time, and the empty batch.
fn by_one(transform: &dyn Transform) -> RecordBatch {
    let rows = rows();
    let parts: Vec<_> = (0..rows.num_rows()).map(|row| transform.apply(&rows.slice(row, 1)).unwrap().batch).collect();
    assert_eq!(transform.apply(&rows.slice(0, 0)).unwrap().batch.num_rows(), 0);
    concat_batches(&parts[0].schema(), &parts).unwrap()
}

#[test]
fn what_is_not_row_by_row_is_refused_by_its_name() {
    let transforms = SqlTransforms::new();
    for (sql, message) in [
        ("", "no statement"),
        ("select 1; select 2", "several statements"),
        ("select 1 as x", "`from input` is missing"),
        ("select id from other", "only table is `input`"),
        ("select id from main.input", "only table is `input`"),
        ("select id from input, input", "joins"),
        ("select a.id from input a join input b on a.id = b.id", "joins"),
        ("select id from (select id from input)", "subquery"),
        ("select id from generate_series(1, 2)", "only table is `input`"),
        ("select distinct id from input", "`distinct`"),
        ("select id from input order by id", "`order by`"),
        ("select id from input limit 1", "`limit`"),
        ("select id from input offset 1", "`limit`"),
        ("select id from input group by id", "`group by`"),
        ("select id from input group by all", "`group by`"),
        ("select 1 as x from input having true", "`having`"),
        ("select id from input qualify true", "`qualify`"),
        ("with x as (select 1) select id from input", "`with`"),
        ("select id from input union all select id from input", "`union`"),
        ("values (1)", "`values`"),
        ("(select id from input)", "parentheses"),
        ("select (select 1) as x from input", "subquery"),
        ("select id from input where id in (select 1)", "subquery"),
        ("select id from input where exists (select 1)", "subquery"),
        ("select count(*) as n from input", "aggregate function `count`"),
        ("select max(id) as n from input", "aggregate function `max`"),
        ("select sum(id) filter (where true) as n from input", "aggregate function `sum`"),
        ("select row_number() over () as n from input", "window function `row_number`"),
        ("select sum(id) over () as n from input", "window function `sum`"),
        ("select lag(id) as n from input", "window function `lag`"),
        ("select random() as n from input", "volatile function `random`"),
        ("select now() as n from input", "volatile function `now`"),
        ("select current_date as n from input", "volatile function `current_date`"),
        ("select current_timestamp as n from input", "volatile function"),
        ("select uuid() as n from input", "volatile function `uuid`"),
        ("select id from input where random() > 0.5", "volatile function `random`"),
        ("select unnest(tags) as n from input", "`unnest`"),
        ("select id + 1 from input", "has no name"),
        ("select lower(email) from input", "has no name"),
        ("delete from input", "only `select`"),
        ("create table x as select 1", "only `select`"),
        ("explain select id from input", "only `select`"),
        ("select id into x from input", "`into`"),
        ("select id from input for update", "`for update`"),
        ("select * exclude (id, email, note, price, at, doc, s, tags) from input", "no column is left"),
    ] {
        let error = match (transforms.check(sql), transforms.compile(sql, &input())) {
            (Err(error), Err(_)) => error,
            (Ok(()), Err(error)) if sql.contains("exclude") => error,
            other => panic!("{sql}: {other:?}"),
        };
        assert_eq!(error.code().to_string(), "HK0805", "{sql}: {error:?}");
        assert!(error.message().contains(message), "{sql}: {error:?}");
    }
}

#[test]
fn unknown_names_and_syntax_have_their_own_codes() {
    let transforms = SqlTransforms::new();
    for (sql, code, message, hint) in [
        ("select from", "HK0801", "expected", "place shown"),
        ("selct id from input", "HK0801", "", ""),
        ("select emial as e from input", "HK0802", "no column `emial`", "did you mean `Email`?"),
        ("select * exclude (nope) from input", "HK0802", "nope", ""),
        ("select lowr(email) as e from input", "HK0802", "no function `lowr`", "did you mean `lower`?"),
        ("select s.nope as e from input", "HK0802", "nope", ""),
        ("select id as a, note as a from input", "HK0801", "", ""),
        ("select abs(email, 1) as a from input", "HK0801", "", ""),
    ] {
        let error = transforms.compile(sql, &input()).unwrap_err();
        assert_eq!(error.code().to_string(), code, "{sql}: {error:?}");
        assert!(error.to_string().contains(message) && error.hint().contains(hint), "{sql}: {error:?}");
    }
}

#[test]
fn values_that_do_not_fit_fail_without_being_shown() {
    let transforms = SqlTransforms::new();
    for (sql, message) in [
        (
            "select cast(note as bigint) as n from input",
            "a value cannot be converted to Int64 in the column `n` of the transform",
        ),
        ("select 10 / id as n from input", "a value is divided by zero in the column `n` of the transform"),
        ("select id from input where cast(email as date) is null", "a value cannot be converted"),
        ("select 9223372036854775807 + id as n from input", "a result is out of range"),
        ("select cast(id + 300 as tinyint) as n from input", "a value cannot be converted to Int8"),
    ] {
        let error = transforms.compile(sql, &input()).unwrap().apply(&rows()).unwrap_err();
        assert_eq!(error.code().to_string(), "HK0806", "{sql}: {error:?}");
        assert!(error.message().starts_with(message), "{sql}: {error:?}");
    }
    // A value that the filter drops is never converted.
    let kept = transforms
        .compile("select cast(note as bigint) as n from input where id <> 2", &input())
        .unwrap()
        .apply(&rows())
        .unwrap();
    assert_eq!(shown(&kept.batch), "12 7");
    assert_eq!(
        transforms
            .compile("select id from input", &input())
            .unwrap()
            .apply(&kept.batch)
            .unwrap_err()
            .code()
            .to_string(),
        "HK0001"
    );
}
