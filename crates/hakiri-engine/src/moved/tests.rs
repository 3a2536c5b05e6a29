//! Renames, whole and interrupted.

use hakiri_core::catalog::{ExportPage, Head, Key, Record};
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::ops::{AfterBegin, BeginRequest};
use hakiri_core::spec::PipelineSpec;
use serde_json::json;

use crate::testing::Bench;

fn new_id() -> PipelineId {
    "store".parse().unwrap()
}

/// Two runs under the old name; then the manifest names another.
async fn renamed() -> Bench {
    let mut bench = Bench::new(json!({}));
    bench.run(&[json!({ "id": 1, "v": 1 })]).await;
    bench.run(&[json!({ "id": 2, "v": 2 })]).await;
    bench.change("store", json!({}), json!([{ "from": "shop", "to": "store" }]));
    bench
}

async fn rows(bench: &Bench) -> u64 {
    let head = bench.engine.head(&new_id()).await.unwrap();
    let views = crate::read::views(&bench.engine.store, &head.pipeline, head.seq, &head.tables).await.unwrap();
    views.iter().flat_map(|v| &v.layers).flat_map(|l| &l.parts).map(|p| p.rows).sum()
}

#[track_caller]
fn is_moved(old: &Head, new: &Head) {
    assert!(old.tables.is_empty(), "{old:?}");
    assert_eq!(new.tables.keys().map(|t| t.as_str()).collect::<Vec<_>>(), ["store_orders"]);
}

async fn heads(bench: &Bench) -> (Head, Head) {
    (bench.engine.head(&Bench::pipeline()).await.unwrap(), bench.engine.head(&new_id()).await.unwrap())
}

#[tokio::test]
async fn a_rename_is_pending_until_it_is_done() {
    let bench = renamed().await;
    let pending = bench.engine.pending_moves().await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].touches, [Bench::pipeline(), new_id()]);
    let preview = bench.engine.preview(&new_id(), false, bench.engine.clock.now()).await.unwrap();
    assert!(preview.plan.steps[0].tables[0].cursor_before.is_some(), "the plan of what will be");
    assert_eq!(bench.engine.apply_moves().await.unwrap(), ["`shop` is now `store`"]);
    assert_eq!(bench.engine.apply_moves().await.unwrap(), Vec::<String>::new());
    assert!(bench.engine.pending_moves().await.unwrap().is_empty());
    let (old, new) = heads(&bench).await;
    is_moved(&old, &new);
    assert_eq!(rows(&bench).await, 2);
    let views: Vec<_> = bench.engine.store.list("views").await.unwrap().into_iter().map(|f| f.path).collect();
    assert_eq!(views, ["views/store_orders.sql"]);
}

#[tokio::test]
async fn who_dies_between_the_halves_leaves_the_second_to_the_next() {
    let bench = renamed().await;
    let (old, _) = heads(&bench).await;
    // The first half, as it is written.
    let tables = bench.engine.pipeline_move(&old.pipeline, &new_id()).await.unwrap().unwrap().tables;
    let head = Head { pipeline: new_id(), lease: None, unfinished: None, tables, ..old };
    let page = ExportPage { entries: vec![(Key::head(&new_id()), Record::Head(head))], next: None };
    bench.engine.catalog.import(&page).await.unwrap();
    assert_eq!(bench.engine.apply_moves().await.unwrap().len(), 1);
    let (old, new) = heads(&bench).await;
    is_moved(&old, &new);
    // And whoever dies before the old head is published.
    let stale = hakiri_core::layout::view(&Bench::table("orders"));
    bench.engine.store.delete(&hakiri_core::layout::head(&old.pipeline)).await.unwrap();
    assert!(bench.engine.store.get(&stale).await.unwrap().is_none());
    bench.engine.apply_moves().await.unwrap();
    assert!(bench.engine.store.get(&hakiri_core::layout::head(&old.pipeline)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_new_name_that_ran_to_no_effect_takes_the_tables_all_the_same() {
    let bench = renamed().await;
    let catalog = &bench.engine.catalog;
    let run = RunId::new(&bench.engine.project.name, &new_id(), bench.engine.clock.now(), 0);
    let lease = catalog.acquire(&new_id(), &run, 60_000).await.unwrap();
    catalog.renew(&new_id(), &run, lease.epoch, 0).await.unwrap();
    assert_eq!(bench.engine.apply_moves().await.unwrap().len(), 1);
    let (old, new) = heads(&bench).await;
    is_moved(&old, &new);
    assert!(new.seq >= 2, "later rows rank above those that came along: {}", new.seq);
    assert_eq!(rows(&bench).await, 2);
}

#[tokio::test]
async fn a_live_run_of_the_old_name_holds_up_the_new_one_and_nobody_else() {
    let mut bench = renamed().await;
    let mut project = (*bench.engine.project).clone();
    let other: PipelineSpec =
        serde_json::from_value(json!({ "id": "other", "source": { "connector": "scripted" } })).unwrap();
    project.pipelines.push(other);
    bench.engine.project = std::sync::Arc::new(project);
    let old = Bench::pipeline();
    let run = RunId::new(&bench.engine.project.name, &old, bench.engine.clock.now().plus_millis(1), 0);
    let lease = bench.engine.catalog.acquire(&old, &run, 60_000).await.unwrap();
    assert!(bench.engine.apply_moves().await.unwrap().is_empty());
    assert!(heads(&bench).await.1.tables.is_empty(), "nothing is half done");
    let begin = |pipeline: &str| BeginRequest { pipeline: pipeline.parse().unwrap(), ..bench.request(false) };
    assert!(matches!(bench.engine.begin(&begin("store")).await.unwrap(), AfterBegin::Wait { .. }));
    assert!(matches!(bench.engine.begin(&begin("other")).await.unwrap(), AfterBegin::Steps { .. }));
    bench.engine.catalog.renew(&old, &run, lease.epoch, 0).await.unwrap();
    bench.pass(1_000);
    assert!(matches!(bench.engine.begin(&begin("store")).await.unwrap(), AfterBegin::Steps { .. }));
    let (old, new) = heads(&bench).await;
    is_moved(&old, &new);
}
