//! The published views, read by the real DuckDB, show what `hakiri query` shows (P6).

use std::process::Command;

use hakiri_core::cursor::TimeUnit;
use hakiri_core::schema::{Field, Type};
use hakiri_core::spec::Mode;
use hakiri_core::view::duckdb::view_sql;
use hakiri_query::OutputFormat;

use crate::support::{Store, columns, print};

/// Compares every table; returns how many rows each has.
async fn compared(store: &Store) -> Vec<usize> {
    let python =
        std::env::var("HAKIRI_TEST_PYTHON").expect("HAKIRI_TEST_PYTHON is not set: run the tests with ./x test");
    let mut counts = Vec::new();
    for view in &store.tables {
        let rows =
            print(&store.database(), &format!("select * from {}", view.table), OutputFormat::Ndjson).await.unwrap();
        let (sql, expected) = (store.dir.path().join("view.sql"), store.dir.path().join("rows.ndjson"));
        std::fs::write(&sql, view_sql(&store.tables, &view.table)).unwrap();
        std::fs::write(&expected, rows).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/query/compare.py");
        let mut command = Command::new(&python);
        command.arg(script).arg(store.dir.path().join("root/shop")).arg(view.table.as_str()).arg(&sql).arg(&expected);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}: {}", view.table, String::from_utf8_lossy(&output.stderr));
        counts.push(String::from_utf8_lossy(&output.stdout).trim().parse().unwrap());
    }
    counts
}

#[tokio::test]
async fn merges_children_and_deletes() {
    assert_eq!(compared(&crate::current::family()).await, [3, 2, 2]);
}

#[tokio::test]
async fn older_schemas() {
    assert_eq!(compared(&crate::evolution::grown()).await, [3]);
}

#[tokio::test]
async fn snapshots_every_type_and_odd_names() {
    let all = columns(&[
        ("id", Type::Int64),
        ("it's \"x\" é", Type::Text),
        ("file_index", Type::Uint64),
        ("a", Type::Timestamp { unit: TimeUnit::Second, utc: true }),
        ("b", Type::Timestamp { unit: TimeUnit::Second, utc: false }),
        ("c", Type::Timestamp { unit: TimeUnit::Microsecond, utc: false }),
        ("d", Type::Time { unit: TimeUnit::Second }),
        ("e", Type::Time { unit: TimeUnit::Microsecond }),
        ("f", Type::Float32),
        (
            "g",
            Type::List {
                item: Box::new(Type::Struct {
                    fields: vec![
                        Field::new("When", Type::Timestamp { unit: TimeUnit::Second, utc: true }),
                        Field::new("n", Type::Int8),
                    ],
                }),
            },
        ),
        ("h", Type::Binary),
        ("select", Type::Bool),
    ]);
    let mut store = Store::new();
    store.table("all_types", Mode::Merge, &["id"], &all).merge.cursor = Some("a".to_owned());
    let row = r#"{"id":1,"it's \"x\" é":"v","file_index":18446744073709551615,"a":"2024-01-01T00:00:00Z","b":"2024-01-01T00:00:00","c":"2024-01-01T00:00:00.000001","d":"12:00:01","e":"12:00:00.5","f":1.5,"g":[{"When":"2024-01-01T00:00:00Z","n":1},null],"h":"00ff","select":true}"#;
    store.snapshot("all_types", 3, &all, &format!("{row}\n{{\"id\":2}}"));
    store.run("all_types", 4, &all, &["{\"id\":2,\"select\":false}\n{\"id\":3}"]);
    store.table("empty", Mode::Append, &[], &all);
    assert_eq!(compared(&store).await, [3, 0]);
}

#[tokio::test]
async fn parts_whose_schema_no_manifest_names() {
    let (narrow, wide) = (columns(&[("n", Type::Int64)]), columns(&[("m", Type::Int64), ("n", Type::Text)]));
    let mut store = Store::new();
    store.table("t", Mode::Merge, &["n"], &wide);
    store.layer(
        "t",
        1,
        false,
        &wide,
        &[(narrow, "{\"n\":1}".to_owned()), (wide.clone(), "{\"m\":2,\"n\":\"x\"}".to_owned())],
    );
    store.run("t", 2, &wide, &["{\"m\":3,\"n\":\"1\"}"]);
    assert_eq!(compared(&store).await, [2]);
}

#[tokio::test]
async fn many_runs() {
    let schema = columns(&[("id", Type::Int64), ("v", Type::Int64)]);
    let mut store = Store::new();
    store.table("t", Mode::Merge, &["id"], &schema);
    for seq in 1..=400 {
        store.run("t", seq, &schema, &[&format!("{{\"id\":{},\"v\":{seq}}}", seq % 50)]);
    }
    assert_eq!(compared(&store).await, [50]);
}

#[tokio::test]
async fn keys_that_widened_apart_and_tables_without_columns() {
    let (number, text) = (columns(&[("id", Type::Int64)]), columns(&[("id", Type::Text)]));
    let child = columns(&[("t_id", Type::Int64)]);
    let wide_child = columns(&[("t_id", Type::Text)]);
    let mut store = Store::new();
    store.table("t", Mode::Merge, &["id"], &text);
    store.run("t", 1, &number, &["{\"id\":1}\n{\"id\":2}"]);
    store.run("t", 2, &text, &["{\"id\":\"x\"}"]);
    store.child("c", "t", &["t_id"], &["t_id"], &child);
    store.run("c", 1, &child, &["{\"t_id\":1}\n{\"t_id\":7}"]);
    store.table("u", Mode::Merge, &["id"], &number);
    store.run("u", 1, &number, &["{\"id\":1}"]);
    store.child("d", "u", &["t_id"], &["t_id"], &wide_child);
    store.run("d", 1, &wide_child, &["{\"t_id\":\"1\"}\n{\"t_id\":\"x\"}"]);
    store.table("none", Mode::Merge, &["id"], &columns(&[]));
    store.child("e", "none", &["t_id"], &["t_id"], &child);
    store.run("e", 1, &child, &["{\"t_id\":1}"]);
    assert_eq!(compared(&store).await, [3, 1, 1, 1, 0, 0]);
}
