//! Which rows are current.

use hakiri_core::cursor::TimeUnit;
use hakiri_core::schema::{Schema, Type};
use hakiri_core::spec::Mode;

use crate::support::{Store, columns};

fn orders() -> Schema {
    columns(&[
        ("id", Type::Int64),
        ("at", Type::Timestamp { unit: TimeUnit::Millisecond, utc: true }),
        ("what", Type::Text),
    ])
}

#[tokio::test]
async fn append_shows_all_rows_in_the_order_of_the_store() {
    let schema = columns(&[("n", Type::Int64)]);
    let mut store = Store::new();
    store.table("log", Mode::Append, &[], &schema);
    store.run("log", 1, &schema, &["{\"n\":3}\n{\"n\":1}", "{\"n\":2}"]);
    store.run("log", 2, &schema, &["{\"n\":1}"]);
    assert_eq!(store.rows("select * from log").await, "3,run-001 1,run-001 2,run-001 1,run-002");
    assert_eq!(store.rows("select count(*), sum(n) from log").await, "4,7");
}

#[tokio::test]
async fn merge_takes_the_highest_cursor_then_the_latest_commit() {
    let mut store = Store::new();
    store.table("orders", Mode::Merge, &["id"], &orders()).merge.cursor = Some("at".to_owned());
    store.run(
        "orders",
        1,
        &orders(),
        &[r#"{"id":1,"at":"2024-01-02T00:00:00Z","what":"old"}
{"id":2,"at":"2024-01-05T00:00:00Z","what":"kept: the later commit has an older version"}
{"id":3,"at":null,"what":"null is the lowest"}
{"id":4,"at":"2024-01-01T00:00:00Z","what":"tie"}"#],
    );
    store.run(
        "orders",
        2,
        &orders(),
        &[
            r#"{"id":1,"at":"2024-01-03T00:00:00Z","what":"new"}
{"id":2,"at":"2024-01-04T00:00:00Z","what":"late"}
{"id":3,"at":"1969-01-01T00:00:00Z","what":"any is higher"}"#,
            r#"{"id":4,"at":"2024-01-01T00:00:00Z","what":"tie, later"}
{"id":5,"at":null,"what":"only"}"#,
        ],
    );
    store.run("orders", 3, &orders(), &[r#"{"id":3,"at":null,"what":"null again"}"#]);
    assert_eq!(
        store.rows("select id, what, _hakiri_run from orders").await,
        "1,new,run-002 2,kept: the later commit has an older version,run-001 3,any is higher,run-002 \"4\",\"tie, later\",run-002 5,only,run-002".replace("\"4\"", "4")
    );
    // A filter on another column may not bring an old version back; one on the key may be pushed below.
    assert_eq!(store.rows("select id from orders where what = 'old'").await, "");
    assert_eq!(store.rows("select what from orders where id = 1").await, "new");
    assert_eq!(store.rows("select what from orders where at < timestamp '2024-01-01'").await, "any is higher");
    assert_eq!(store.rows("select count(*) from orders").await, "5");
}

#[tokio::test]
async fn merge_without_a_cursor_takes_the_latest_commit_and_compound_keys_are_whole() {
    let schema = columns(&[("a", Type::Text), ("b", Type::Int64), ("v", Type::Int64)]);
    let mut store = Store::new();
    store.table("t", Mode::Merge, &["a", "b"], &schema);
    store.run(
        "t",
        1,
        &schema,
        &[r#"{"a":"x","b":1,"v":1}
{"a":"x","b":2,"v":2}"#],
    );
    store.run(
        "t",
        2,
        &schema,
        &[r#"{"a":"x","b":2,"v":3}
{"a":"y","b":1,"v":4}"#],
    );
    assert_eq!(store.rows("select a, b, v from t").await, "x,1,1 x,2,3 y,1,4");
}

#[tokio::test]
async fn snapshots_rank_below_runs_and_have_no_run() {
    let mut store = Store::new();
    store.table("orders", Mode::Merge, &["id"], &orders()).merge.cursor = Some("at".to_owned());
    store.snapshot(
        "orders",
        4,
        &orders(),
        r#"{"id":1,"at":"2024-01-02T00:00:00Z","what":"snapshot"}
{"id":2,"at":"2024-01-02T00:00:00Z","what":"snapshot"}"#,
    );
    store.run("orders", 5, &orders(), &[r#"{"id":2,"at":"2024-01-02T00:00:00Z","what":"run"}"#]);
    assert_eq!(store.rows("select id, what, _hakiri_run from orders").await, "1,snapshot, 2,run,run-005");
}

#[tokio::test]
async fn a_deleted_version_wins_and_is_hidden() {
    let schema = columns(&[("id", Type::Int64), ("v", Type::Int64), ("_hakiri_deleted", Type::Bool)]);
    let mut store = Store::new();
    store.table("t", Mode::Merge, &["id"], &schema);
    store.run(
        "t",
        1,
        &schema,
        &[r#"{"id":1,"v":1,"_hakiri_deleted":false}
{"id":2,"v":2,"_hakiri_deleted":true}
{"id":3,"v":3}"#],
    );
    assert_eq!(store.rows("select id from t").await, "1 3");
    store.run(
        "t",
        2,
        &schema,
        &[r#"{"id":1,"_hakiri_deleted":true}
{"id":2,"v":5,"_hakiri_deleted":false}"#],
    );
    assert_eq!(store.rows("select id, v from t").await, "2,5 3,3");
    assert_eq!(store.rows("select id from t where v = 1").await, "");
}

pub fn family() -> Store {
    let parent = columns(&[("id", Type::Int64), ("at", Type::Int64), ("_hakiri_deleted", Type::Bool)]);
    let child = columns(&[("t_id", Type::Int64), ("lines_index", Type::Int64), ("v", Type::Text)]);
    let grand =
        columns(&[("l_t_id", Type::Int64), ("l_index", Type::Int64), ("tags_index", Type::Int64), ("tag", Type::Text)]);
    let mut store = Store::new();
    store.table("t", Mode::Merge, &["id"], &parent).merge.cursor = Some("at".to_owned());
    store.child("t_lines", "t", &["t_id"], &["t_id", "lines_index"], &child);
    store.child("t_tags", "t_lines", &["l_t_id", "l_index"], &["l_t_id", "l_index", "tags_index"], &grand);
    store.run(
        "t",
        1,
        &parent,
        &[r#"{"id":1,"at":10}
{"id":2,"at":10}
{"id":3,"at":10}
{"id":4,"at":10}"#],
    );
    store.run(
        "t_lines",
        1,
        &child,
        &[r#"{"t_id":1,"lines_index":0,"v":"a"}
{"t_id":1,"lines_index":1,"v":"b"}
{"t_id":2,"lines_index":0,"v":"c"}
{"t_id":3,"lines_index":0,"v":"d"}
{"t_id":4,"lines_index":0,"v":"e"}
{"t_id":9,"lines_index":0,"v":"no parent"}"#],
    );
    store.run(
        "t_tags",
        1,
        &grand,
        &[r#"{"l_t_id":1,"l_index":1,"tags_index":0,"tag":"gone with its line"}
{"l_t_id":2,"l_index":0,"tags_index":0,"tag":"kept"}
{"l_t_id":4,"l_index":0,"tags_index":0,"tag":"hidden"}"#],
    );
    // 1 has one line less; 2 comes with an older version, which loses; 3 loses all lines; 4 is deleted.
    store.run(
        "t",
        2,
        &parent,
        &[r#"{"id":1,"at":20}
{"id":2,"at":5}
{"id":3,"at":20}
{"id":4,"at":20,"_hakiri_deleted":true}"#],
    );
    store.run(
        "t_lines",
        2,
        &child,
        &[r#"{"t_id":1,"lines_index":0,"v":"a2"}
{"t_id":2,"lines_index":0,"v":"late"}
{"t_id":4,"lines_index":0,"v":"of a deleted one"}"#],
    );
    store.run(
        "t_tags",
        2,
        &grand,
        &[r#"{"l_t_id":1,"l_index":0,"tags_index":0,"tag":"new"}
{"l_t_id":2,"l_index":0,"tags_index":0,"tag":"late"}"#],
    );
    store
}

#[tokio::test]
async fn children_are_those_of_the_current_version_of_their_parent() {
    let store = family();
    assert_eq!(store.rows("select t_id, v from t_lines order by t_id, lines_index").await, "1,a2 2,c");
    assert_eq!(store.rows("select tag from t_tags order by l_t_id").await, "new kept");
    assert_eq!(store.rows("select v from t_lines where t_id = 2").await, "c");
    assert_eq!(
        store.rows("select t.id, count(v) from t left join t_lines on t.id = t_id group by t.id order by 1").await,
        "1,1 2,1 3,0"
    );
}

#[tokio::test]
async fn children_of_snapshots_stay_until_their_parent_changes() {
    let parent = columns(&[("id", Type::Int64)]);
    let child = columns(&[("t_id", Type::Int64), ("v", Type::Text)]);
    let mut store = Store::new();
    store.table("t", Mode::Merge, &["id"], &parent);
    store.child("c", "t", &["t_id"], &[], &child);
    store.run("t", 3, &parent, &["{\"id\":1}\n{\"id\":2}"]);
    // The parent is not compacted, its child is.
    store.snapshot("c", 4, &child, "{\"t_id\":1,\"v\":\"s\"}\n{\"t_id\":2,\"v\":\"s\"}");
    store.run("t", 5, &parent, &["{\"id\":2}"]);
    store.run("c", 5, &child, &["{\"t_id\":2,\"v\":\"r\"}"]);
    assert_eq!(store.rows("select t_id, v from c order by 1").await, "1,s 2,r");
}

#[tokio::test]
async fn a_parent_that_is_not_there_shows_no_children_and_no_parts_no_rows() {
    let child = columns(&[("t_id", Type::Int64)]);
    let mut store = Store::new();
    store.child("c", "t", &["t_id"], &["t_id"], &child);
    store.run("c", 1, &child, &["{\"t_id\":1}"]);
    store.table("empty", Mode::Merge, &["id"], &orders());
    assert_eq!(store.rows("select * from c").await, "");
    assert_eq!(store.rows("select count(*), max(what) from empty").await, "0,");
    store.run("empty", 1, &orders(), &[""]);
    assert_eq!(store.rows("select * from empty").await, "");
}

#[tokio::test]
async fn results_do_not_depend_on_processors_or_memory() {
    let schema = columns(&[("id", Type::Int64), ("x", Type::Float64), ("pad", Type::Text)]);
    let mut store = Store::new();
    store.table("t", Mode::Merge, &["id"], &schema);
    for seq in 1..=4_u64 {
        let part = |first: u64| {
            let rows = (first..first + 4_000).map(|id| {
                format!("{{\"id\":{},\"x\":0.{seq}{id},\"pad\":\"{}\"}}", id * 7919 % 10_007, "p".repeat(100))
            });
            rows.collect::<Vec<_>>().join("\n")
        };
        store.run("t", seq, &schema, &[&part(0), &part(4_000)]);
    }
    for sql in [
        "select * from t",
        "select * from t limit 7",
        "select id % 10 as k, sum(x), count(*) from t group by k",
        "select sum(x), avg(x) from t",
        "select * from t where x > 0.2 limit 9",
    ] {
        let expected = crate::support::print(&store.database_with(256 << 20, 1), sql, hakiri_query::OutputFormat::Csv)
            .await
            .unwrap();
        assert!(expected.lines().count() > 1);
        for (memory, partitions) in [(256 << 20, 2), (256 << 20, 8), (3 << 20, 4)] {
            let again =
                crate::support::print(&store.database_with(memory, partitions), sql, hakiri_query::OutputFormat::Csv)
                    .await
                    .unwrap();
            assert!(again == expected, "{sql} with {memory} bytes and {partitions} partitions");
        }
    }
}

#[tokio::test]
async fn missing_and_damaged_parts_say_so_and_which_they_are() {
    let schema = columns(&[("n", Type::Int64), ("s", Type::Text)]);
    let mut store = Store::new();
    store.table("t", Mode::Append, &[], &schema);
    let rows = |from: u32| (from..from + 500).map(|n| format!("{{\"n\":{n},\"s\":\"x{n}\"}}\n")).collect::<String>();
    store.run("t", 1, &schema, &[&rows(0)]);
    store.run("t", 2, &schema, &[&rows(1000)]);
    let name = store.tables[0].layers[1].parts[0].path.clone();
    let part = store.dir.path().join("root/shop").join(&name);
    let sound = std::fs::read(&part).unwrap();
    let ask = async || {
        let error = crate::support::print(&store.database(), "select * from t", hakiri_query::OutputFormat::Csv).await;
        let error = error.map(|rows| rows.len()).unwrap_err();
        assert_eq!(error.place(), Some(name.as_str()), "{error:?}");
        error.code().to_string()
    };
    // A page, the footer, everything; then cut short. What was added behind the committed bytes is not read.
    let mut page = sound.clone();
    page[4..sound.len() / 2].fill(0x55);
    let mut footer = sound.clone();
    let length = u32::from_le_bytes(sound[sound.len() - 8..sound.len() - 4].try_into().unwrap()) as usize;
    footer[sound.len() - 8 - length..sound.len() - 8].fill(0xff);
    for bytes in [&page[..], &footer, &vec![0; sound.len()], &sound[..sound.len() / 2], b""] {
        std::fs::write(&part, bytes).unwrap();
        assert_eq!(ask().await, "HK0306", "{} of {} bytes", bytes.len(), sound.len());
    }
    std::fs::remove_file(&part).unwrap();
    assert_eq!(ask().await, "HK0305");
}

#[tokio::test]
async fn a_column_without_a_table_is_not_for_want_of_a_run() {
    let store = Store::new();
    let error = store.database().query("select nope").await.unwrap_err();
    assert!(error.hint().contains("from") && !error.hint().contains("run a pipeline"), "{error:?}");
}
