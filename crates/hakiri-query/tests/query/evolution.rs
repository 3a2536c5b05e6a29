//! Parts of older schemas.

use hakiri_core::cursor::TimeUnit;
use hakiri_core::schema::{Field, Schema, Type};
use hakiri_core::spec::Mode;

use crate::support::{Store, columns};

fn structure(fields: &[(&str, Type)]) -> Type {
    Type::Struct { fields: fields.iter().map(|(n, t)| Field::new(*n, t.clone())).collect() }
}

fn list(item: Type) -> Type {
    Type::List { item: Box::new(item) }
}

/// Three versions of a schema, each run with its own.
pub fn grown() -> Store {
    let decimal = |precision, scale| Type::Decimal { precision, scale };
    let micros = |utc| Type::Timestamp { unit: TimeUnit::Microsecond, utc };
    let first = columns(&[
        ("id", Type::Int64),
        ("amount", Type::Int64),
        ("day", Type::Date),
        ("when", Type::Timestamp { unit: TimeUnit::Millisecond, utc: true }),
        ("flag", Type::Bool),
        ("price", decimal(10, 2)),
        ("s", structure(&[("x", Type::Int32), ("y", Type::Int64)])),
        ("l", list(Type::Int32)),
        ("doc", structure(&[("k", Type::Int64)])),
        ("none", Type::Null),
        ("ratio", Type::Float64),
    ]);
    let second = columns(&[
        ("id", Type::Int64),
        ("amount", decimal(21, 2)),
        ("day", micros(true)),
        ("when", Type::Text),
        ("flag", Type::Text),
        ("price", Type::Text),
        ("s", structure(&[("x", Type::Int64), ("y", Type::Text), ("z", Type::Bool)])),
        ("l", list(Type::Text)),
        ("doc", Type::Json),
        ("none", list(structure(&[("q", Type::Date)]))),
        ("ratio", Type::Text),
        ("added", Type::Int64),
    ]);
    let mut store = Store::new();
    store.table("t", Mode::Merge, &["id"], &second);
    store.run("t", 1, &first, &[r#"{"id":1,"amount":5,"day":"2024-01-01","when":"2024-01-01T00:00:00Z","flag":true,"price":1.50,"s":{"x":1,"y":2},"l":[1,null],"doc":{"k":7},"ratio":1.0}
{"id":2,"amount":6,"day":"2024-01-02","when":"2024-01-01T00:00:00.250Z","flag":false,"price":100.00,"ratio":0.1}
{"id":3}"#]);
    store.run("t", 2, &second, &[r#"{"id":2,"amount":"6.25","day":"2024-01-02T00:00:00.5Z","when":"later","flag":"maybe","price":"n/a","s":{"x":3,"y":"t","z":true},"l":["a"],"doc":"[1, \"x\"]","none":[{"q":"2024-02-29"}],"ratio":"half","added":9}"#]);
    store
}

#[tokio::test]
async fn older_parts_are_shown_in_the_current_types() {
    let store = grown();
    let rows = store.rows("select * exclude (_hakiri_run) from t").await;
    let expected = [
        r#"1,5.00,2024-01-01T00:00:00Z,2024-01-01T00:00:00Z,true,1.5,"{""x"":1,""y"":""2"",""z"":null}","[""1"",null]","{""k"":7}",,1,"#,
        r#"2,6.25,2024-01-02T00:00:00.500Z,later,maybe,n/a,"{""x"":3,""y"":""t"",""z"":true}","[""a""]","[1, ""x""]","[{""q"":""2024-02-29""}]",half,9"#,
        "3,,,,,,,,,,,",
    ];
    assert_eq!(rows, expected.join(" "));
}

#[tokio::test]
async fn filters_and_fields_see_the_current_types() {
    let store = grown();
    for (sql, expected) in [
        ("select id from t where price = '1.5'", "1"),
        ("select id from t where amount > 5.5", "2"),
        ("select id from t where amount = 5", "1"),
        ("select id from t where day = timestamp '2024-01-01T00:00:00'", "1"),
        ("select id from t where s.y = '2'", "1"),
        ("select s.z from t where id < 3 order by id", " true"),
        ("select id from t where s.z", "2"),
        ("select id, \"none\" from t where added is null order by id", "1, 3,"),
        ("select l[1] from t where id = 1", "1"),
        ("select id from t where added = 9", "2"),
    ] {
        assert_eq!(store.rows(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn parts_of_one_run_may_differ_and_renamed_columns_do_not_mix() {
    let (narrow, wide) = (columns(&[("n", Type::Int64)]), columns(&[("m", Type::Int64), ("n", Type::Text)]));
    let mut store = Store::new();
    store.table("t", Mode::Append, &[], &wide);
    store.layer(
        "t",
        1,
        false,
        &wide,
        &[(narrow.clone(), "{\"n\":1}".to_owned()), (wide.clone(), "{\"m\":2,\"n\":\"x\"}".to_owned())],
    );
    assert_eq!(store.rows("select m, n from t").await, ",1 2,x");
    let empty = Schema::default();
    store.table("bare", Mode::Append, &[], &empty);
    assert_eq!(store.rows("select * from bare").await, "");
}
