use std::collections::BTreeSet;

use hakiri_core::catalog::{Kind, PageRequest};
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::hash::Hash;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Bench, DAY, Shown, part_columns, part_rows};

fn order(id: u64, v: Option<i64>, text: &str) -> Value {
    json!({ "id": id, "v": v, "text": text })
}

fn with_items(id: u64, v: Option<i64>, items: &[&str]) -> Value {
    json!({ "id": id, "v": v, "items": items.iter().map(|i| json!({ "sku": i })).collect::<Vec<_>>() })
}

fn family_bench() -> Bench {
    Bench::new(json!({ "children": ["items"] }))
}

async fn compact(bench: &Bench, table: &str) -> Option<CompactReport> {
    bench.engine.compact(&Bench::pipeline(), &Bench::table(table)).await.unwrap()
}

async fn texts(bench: &Bench) -> Vec<String> {
    bench.current("orders").await.into_iter().map(|mut r| r.remove("text").flatten().unwrap_or_default()).collect()
}

/// The hashes of the parts of a table's snapshot.
async fn snapshot_bytes(bench: &Bench, table: &str) -> Vec<Hash> {
    let view = bench.view(table).await;
    assert!(view.layers.len() == 1 && view.layers[0].snapshot, "{view:?}");
    view.layers[0].parts.iter().map(|p| p.sha256.clone()).collect()
}

#[tokio::test]
async fn a_snapshot_is_the_current_rows_by_key_without_the_run() {
    let bench = Bench::new(json!({}));
    bench.run(&[order(3, Some(1), "c"), order(1, Some(1), "old"), order(2, None, "b")]).await;
    bench.run(&[order(1, Some(2), "a"), order(10, Some(2), "d")]).await;
    let before = bench.current("orders").await;
    let report = compact(&bench, "orders").await.unwrap();
    assert_eq!(bench.current("orders").await, before);

    let view = bench.view("orders").await;
    let [layer] = view.layers.as_slice() else { panic!("{view:?}") };
    assert!(layer.snapshot && layer.seq == 2 && report.covers == 2);
    let [part] = layer.parts.as_slice() else { panic!("{layer:?}") };
    assert_eq!(part_columns(&bench.engine.store, &part.path).await, ["id", "v", "text"]);
    let ids: Vec<String> =
        part_rows(&bench.engine.store, part, None).await.iter().map(|r| r["id"].clone().unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3", "10"], "one row per key, in the order of the keys");
    let table = &report.tables[0];
    assert_eq!((table.before.rows, table.before.parts, table.after.rows, table.after.parts), (5, 2, 4, 1));
    assert_eq!(table.after.bytes, part.bytes);

    let published = bench.engine.store.get("heads/shop.json").await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&published).contains("snapshots/"), "the head is published with its snapshot");
    assert_eq!(compact(&bench, "orders").await, None, "and then there is nothing to do");
    bench.run(&[]).await;
    assert_eq!(compact(&bench, "orders").await, None, "an idle run changes nothing");
}

#[tokio::test]
async fn the_highest_cursor_is_current_then_the_last_commit_and_a_snapshot_ranks_last() {
    let bench = Bench::new(json!({}));
    bench
        .run(&[order(1, Some(5), "high"), order(2, None, "null"), order(3, Some(1), "first"), order(4, None, "n1")])
        .await;
    bench
        .run(&[order(1, Some(4), "late"), order(2, Some(-9), "low"), order(3, Some(1), "second"), order(4, None, "n2")])
        .await;
    let expected = ["high", "low", "second", "n2"];
    assert_eq!(texts(&bench).await, expected);
    compact(&bench, "orders").await.unwrap();
    assert_eq!(texts(&bench).await, expected);
    // A read below the lag gives old versions again, and equal ones: neither resurrects, the equal ones win.
    bench
        .run(&[order(1, Some(4), "late"), order(2, None, "null"), order(3, Some(1), "third"), order(4, None, "n3")])
        .await;
    let expected = ["high", "low", "third", "n3"];
    assert_eq!(texts(&bench).await, expected);
    compact(&bench, "orders").await.unwrap();
    assert_eq!(texts(&bench).await, expected);
}

#[tokio::test]
async fn tombstones_stay_so_that_nothing_comes_back() {
    let bench = Bench::new(json!({}));
    let row = |v: i64, deleted: bool| json!({ "id": 1, "v": v, "gone": deleted });
    bench.run(&[row(1, false)]).await;
    bench.run(&[row(2, true)]).await;
    compact(&bench, "orders").await.unwrap();
    bench.run(&[row(1, false)]).await;
    let rows = bench.current("orders").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["gone"].as_deref(), Some("true"));
}

#[tokio::test]
async fn older_parts_are_cast_to_the_current_schema() {
    let bench = Bench::new(json!({}));
    bench.run(&[json!({ "id": 1, "v": 1, "n": 7, "at": "2024-01-01", "x": null, "o": { "a": 1 } })]).await;
    bench.run(&[json!({ "id": 2, "v": 1, "n": 1.5, "at": "2024-01-01T10:00:00Z", "x": "s", "o": { "b": "z" } })]).await;
    bench.run(&[json!({ "id": 3, "v": 1, "new": [1, 2], "l": [{ "a": true }] })]).await;
    let before = bench.current("orders").await;
    compact(&bench, "orders").await.unwrap();
    assert_eq!(bench.current("orders").await, before);
    let view = bench.view("orders").await;
    assert!(view.layers[0].parts.iter().all(|p| p.schema == view.schema.fingerprint));
}

#[tokio::test]
async fn children_are_compacted_with_their_parents() {
    let bench = family_bench();
    bench
        .run(&[with_items(1, Some(1), &["a", "b"]), with_items(2, Some(1), &["c"]), with_items(3, Some(1), &["d"])])
        .await;
    // 1 gets other items, 2 none, 3 is read again as an older version.
    bench
        .run(&[with_items(1, Some(2), &["e"]), with_items(2, Some(2), &[]), with_items(3, Some(0), &["old", "older"])])
        .await;
    let skus = |rows: Vec<Shown>| rows.into_iter().map(|r| r["sku"].clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(skus(bench.current("orders_items").await), ["e", "d"]);
    let parents = bench.current("orders").await;
    // By the child's name or the parent's: the same.
    let report = compact(&bench, "orders_items").await.unwrap();
    assert_eq!(
        report.tables.iter().map(|t| t.table.as_str()).collect::<Vec<_>>(),
        ["shop_orders", "shop_orders_items"]
    );
    assert_eq!(
        (skus(bench.current("orders_items").await), bench.current("orders").await),
        (vec!["e".into(), "d".into()], parents)
    );
    for table in ["orders", "orders_items"] {
        assert_eq!(
            bench.view(table).await.layers.iter().map(|l| l.seq).collect::<Vec<_>>(),
            [2],
            "both cover one commit"
        );
    }
    assert_eq!(compact(&bench, "orders").await, None);

    // A run above: 1 loses its item, 3 is re-read below the lag.
    bench.run(&[with_items(1, Some(3), &[]), with_items(3, Some(0), &["old"]), with_items(4, None, &["f"])]).await;
    assert_eq!(skus(bench.current("orders_items").await), ["d", "f"]);
    // Rows of the parent's alone: the child has no new layer, and yet must cover what its parent does.
    bench.run(&[with_items(4, Some(1), &[])]).await;
    compact(&bench, "orders").await.unwrap();
    assert_eq!(skus(bench.current("orders_items").await), ["d"]);
    assert_eq!(bench.view("orders_items").await.layers[0].seq, 4);
}

#[tokio::test]
async fn what_has_no_rule_for_a_snapshot_is_left_alone() {
    let append = Bench::new(json!({ "mode": "append", "lag": null, "settle": 0 }));
    append.run(&[order(1, Some(1), "a")]).await;
    append.run(&[order(2, Some(2), "b")]).await;
    assert_eq!(compact(&append, "orders").await, None);
    let replace = Bench::new(json!({ "mode": "replace", "lag": null, "incremental": "" }));
    replace.run(&[order(1, Some(1), "a")]).await;
    replace.run(&[order(2, Some(1), "a")]).await;
    assert_eq!(compact(&replace, "orders").await, None);
    let error = replace.engine.compact(&Bench::pipeline(), &Bench::table("other")).await.unwrap_err();
    assert_eq!(error.code(), Code::CatalogNotFound);
}

/// Nothing of what was written is visible (P4).
async fn readers_see_the_same(bench: &Bench, orders: &[Shown], items: &[Shown]) {
    assert_eq!((bench.current("orders").await, bench.current("orders_items").await), (orders.to_vec(), items.to_vec()));
    assert!(bench.views().await.iter().all(|v| v.layers.iter().all(|l| !l.snapshot)));
}

#[tokio::test]
async fn a_compaction_that_dies_changes_nothing_and_the_next_one_arrives_at_the_same() {
    let bench = family_bench();
    bench.run(&[with_items(1, Some(1), &["a"]), with_items(2, Some(1), &["b"])]).await;
    bench.run(&[with_items(1, Some(2), &["c"])]).await;
    let (orders, items) = (bench.current("orders").await, bench.current("orders_items").await);
    let head = bench.engine.head(&Bench::pipeline()).await.unwrap();
    let runs: BTreeSet<String> = bench.files().await.into_iter().collect();

    // Dies after the parts.
    let views: Vec<TableView> = bench.views().await;
    assert_eq!(views[0].table, Bench::table("orders"));
    bench.engine.write_snapshots(&head, &views).await.unwrap();
    let parts: BTreeSet<String> = bench.files().await.into_iter().filter(|p| !runs.contains(p)).collect();
    assert_eq!(parts.len(), 2);
    readers_see_the_same(&bench, &orders, &items).await;
    // Dies after the manifests.
    bench.engine.prepare_snapshots(&head, &Bench::table("orders")).await.unwrap().unwrap();
    let written: BTreeSet<String> = bench.files().await.into_iter().filter(|p| !runs.contains(p)).collect();
    assert!(written.len() == 4 && written.is_superset(&parts), "{written:?}");
    readers_see_the_same(&bench, &orders, &items).await;
    // And now it does not die.
    compact(&bench, "orders").await.unwrap();
    assert_eq!(bench.files().await.into_iter().filter(|p| !runs.contains(p)).collect::<BTreeSet<_>>(), written);
    assert_eq!((bench.current("orders").await, bench.current("orders_items").await), (orders, items));
}

#[tokio::test]
async fn strays_of_a_compaction_that_died_are_garbage() {
    let bench = Bench::new(json!({}));
    bench.run(&[order(1, Some(1), "a")]).await;
    let runs = bench.files().await;
    let head = bench.engine.head(&Bench::pipeline()).await.unwrap();
    bench.engine.prepare_snapshots(&head, &Bench::table("orders")).await.unwrap().unwrap();
    far_from_now(&bench);
    assert_eq!(collected(&bench, DAY).await.len(), 2);
    assert_eq!(bench.files().await, runs);
}

/// What `gc` deletes of tables. The results of steps are garbage as soon as their run is committed.
async fn collected(bench: &Bench, grace: i64) -> Vec<String> {
    let files = bench.engine.collect_garbage(grace, false).await.unwrap();
    files.into_iter().map(|f| f.path).filter(|p| p.starts_with("tables/")).collect()
}

/// The store's clock is the machine's; the catalog's must be beyond it by more than any grace.
fn far_from_now(bench: &Bench) {
    bench.pass(200 * 365 * DAY);
}

#[tokio::test]
async fn a_run_in_between_is_kept_and_a_change_of_state_is_a_conflict() {
    let bench = Bench::new(json!({}));
    bench.run(&[order(1, Some(1), "a"), order(2, Some(1), "b")]).await;
    let head = bench.engine.head(&Bench::pipeline()).await.unwrap();
    let prepared = bench.engine.prepare_snapshots(&head, &Bench::table("orders")).await.unwrap().unwrap();
    bench.run(&[order(1, Some(2), "c")]).await;
    bench.engine.catalog.commit(&prepared.commit).await.unwrap();
    assert_eq!(texts(&bench).await, ["c", "b"]);
    assert_eq!(
        bench.view("orders").await.layers.iter().map(|l| (l.seq, l.snapshot)).collect::<Vec<_>>(),
        [(1, true), (2, false)]
    );

    let head = bench.engine.head(&Bench::pipeline()).await.unwrap();
    let prepared = bench.engine.prepare_snapshots(&head, &Bench::table("orders")).await.unwrap().unwrap();
    bench.engine.rewind(&Bench::pipeline(), &Bench::table("orders"), Cursor::Integer { value: 0 }).await.unwrap();
    assert!(bench.engine.catalog.commit(&prepared.commit).await.is_err());
    assert_eq!(texts(&bench).await, ["c", "b"]);
    compact(&bench, "orders").await.unwrap();
    assert_eq!(texts(&bench).await, ["c", "b"]);
}

#[tokio::test]
async fn an_interruption_stops_it() {
    let bench = Bench::new(json!({}));
    bench.run(&[order(1, Some(1), "a")]).await;
    bench.engine.cancel.cancel();
    let error = bench.engine.compact(&Bench::pipeline(), &Bench::table("orders")).await.unwrap_err();
    assert_eq!(error.code(), Code::Interrupted);
}

async fn unnamed(bench: &Bench) -> usize {
    let page = PageRequest { kind: Kind::Unnamed, prefix: Vec::new(), after: None, limit: 100, newest_first: false };
    bench.engine.catalog.list(&page).await.unwrap().entries.len()
}

#[tokio::test]
async fn covered_runs_stay_for_their_grace_and_then_go_and_nothing_else_does() {
    let bench = family_bench();
    far_from_now(&bench);
    bench.run(&[with_items(1, Some(1), &["a"])]).await;
    bench.run(&[with_items(1, Some(2), &["b"]), with_items(2, Some(1), &["c"])]).await;
    let first: BTreeSet<String> = bench.files().await.into_iter().collect();
    compact(&bench, "orders").await.unwrap();
    bench.pass(5 * DAY);
    bench.run(&[with_items(2, Some(2), &["d"])]).await;
    let before: BTreeSet<String> = bench.files().await.into_iter().collect();
    let (orders, items) = (bench.current("orders").await, bench.current("orders_items").await);

    assert_eq!(collected(&bench, 7 * DAY).await, Vec::<String>::new(), "the grace has not passed");
    // A second compaction covers the third run; what the first one covered has its own, earlier grace.
    compact(&bench, "orders").await.unwrap();
    bench.pass(3 * DAY);
    bench.engine.collect_garbage(7 * DAY, false).await.unwrap();
    let after: BTreeSet<String> = bench.files().await.into_iter().collect();
    let gone: BTreeSet<&String> = before.difference(&after).collect();
    assert!(!gone.is_empty() && gone.iter().all(|p| first.contains(*p)), "{gone:?}");
    let left: Vec<&String> = first.intersection(&after).collect();
    assert!(left.iter().all(|p| p.contains("manifest-")), "no part that was covered eight days ago is left: {left:?}");
    assert_eq!((bench.current("orders").await, bench.current("orders_items").await), (orders.clone(), items.clone()));

    bench.pass(5 * DAY);
    bench.engine.collect_garbage(7 * DAY, false).await.unwrap();
    assert_eq!((bench.current("orders").await, bench.current("orders_items").await), (orders, items));
    let files = bench.files().await;
    let parts = files.iter().filter(|p| p.ends_with(".parquet")).collect::<Vec<_>>();
    assert!(parts.len() == 2 && parts.iter().all(|p| p.contains("snapshots/0000000003-")), "{parts:?}");
    assert_eq!(
        files.iter().filter(|p| p.contains("manifest-")).count(),
        4,
        "of each table the snapshot's, and the run's where readers stop"
    );
    assert_eq!(unnamed(&bench).await, 0, "all are forgotten");
    // Runs go on, and so does everything after a full load, which starts anew.
    bench.run(&[with_items(3, Some(3), &["e"])]).await;
    assert_eq!(bench.current("orders").await.len(), 3);
    bench.run_full(&[with_items(9, Some(1), &["z"])], true).await;
    assert_eq!((bench.current("orders").await.len(), bench.current("orders_items").await.len()), (1, 1));
    bench.pass(8 * DAY);
    bench.engine.collect_garbage(7 * DAY, false).await.unwrap();
    assert!(bench.files().await.iter().all(|p| !p.contains("/snapshots/")), "the snapshots were left behind too");
}

#[tokio::test]
async fn dropped_tables_keep_their_snapshots_for_the_grace() {
    let bench = Bench::new(json!({}));
    far_from_now(&bench);
    bench.run(&[order(1, Some(1), "a")]).await;
    compact(&bench, "orders").await.unwrap();
    bench.pass(9 * DAY);
    bench.engine.drop_tables(&Bench::pipeline(), &[Bench::table("orders")]).await.unwrap();
    bench.engine.collect_garbage(7 * DAY, false).await.unwrap();
    assert!(bench.files().await.iter().any(|p| p.contains("/snapshots/") && p.ends_with(".parquet")));
    bench.pass(8 * DAY);
    bench.engine.collect_garbage(7 * DAY, false).await.unwrap();
    assert_eq!(bench.files().await, Vec::<String>::new());
}

#[derive(Debug, Clone)]
struct Version {
    id: u64,
    v: Option<i64>,
    items: Vec<String>,
}

impl Version {
    fn json(&self) -> Value {
        with_items(self.id, self.v, &self.items.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn version() -> impl Strategy<Value = Version> {
    (0..6_u64, prop::option::of(-2..4_i64), prop::collection::vec("[ab]", 0..3)).prop_map(|(id, v, items)| Version {
        id,
        v,
        items,
    })
}

fn history() -> impl Strategy<Value = Vec<Vec<Version>>> {
    prop::collection::vec(prop::collection::vec(version(), 1..6), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// S10: a pure function of content and schema. One history as it came, with compactions in between or without, with
    /// any memory, and the content that it led to read in one run.
    #[test]
    fn snapshots_are_a_pure_function_of_content(history in history(), between in prop::collection::vec(any::<bool>(), 6), small: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let start = [Version { id: 100, v: Some(0), items: vec!["x".to_owned()] }];
            let mut benches = [family_bench(), family_bench(), family_bench()];
            if small {
                benches[1].engine.settings.memory = 0;
            }
            for bench in &benches {
                // Both tables have all their columns from the start on, in one order.
                bench.run(&start.iter().map(Version::json).collect::<Vec<_>>()).await;
            }
            let mut content: std::collections::BTreeMap<u64, Version> = std::collections::BTreeMap::new();
            for (run, compacted) in history.iter().zip(&between) {
                // The first record again: a run of nothing but nulls has no type for its cursor.
                let records: Vec<Value> = start.iter().chain(run).map(Version::json).collect();
                benches[0].run(&records).await;
                benches[1].run(&records).await;
                let before = (benches[1].current("orders").await, benches[1].current("orders_items").await);
                assert_eq!(before, (benches[0].current("orders").await, benches[0].current("orders_items").await));
                if *compacted {
                    compact(&benches[1], "orders_items").await.unwrap();
                    assert_eq!((benches[1].current("orders").await, benches[1].current("orders_items").await), before);
                }
                for version in run {
                    if content.get(&version.id).is_none_or(|there| version.v >= there.v) {
                        content.insert(version.id, version.clone());
                    }
                }
            }
            benches[2].run(&content.values().chain(&start).rev().map(Version::json).collect::<Vec<_>>()).await;
            for bench in &benches {
                compact(bench, "orders").await;
            }
            for table in ["orders", "orders_items"] {
                let expected = benches[0].current(table).await;
                let bytes = snapshot_bytes(&benches[0], table).await;
                for bench in &benches[1..] {
                    assert_eq!(&bench.current(table).await, &expected);
                    assert_eq!(&snapshot_bytes(bench, table).await, &bytes);
                }
            }
        });
    }
}
