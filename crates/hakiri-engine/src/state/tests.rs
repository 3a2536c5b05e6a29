//! State set by hand, on runs that went the whole way.

use std::sync::Arc;

use async_trait::async_trait;
use hakiri_core::Result;
use hakiri_core::catalog::{Catalog, Commit, Control, RunStatus};
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::id::RunId;
use hakiri_core::ops::{AfterBegin, AfterCommit, CommitRequest, Manual, StepRequest};
use hakiri_core::secret::Secrets;
use serde_json::{Value, json};

use crate::engine::SecretSource;
use crate::testing::{Bench, DAY};

fn order(id: u64, v: u64) -> Value {
    json!({ "id": id, "v": v, "items": [{ "n": id }] })
}

fn family() -> Bench {
    Bench::new(json!({ "children": ["items"] }))
}

fn run_of(bench: &Bench) -> RunId {
    RunId::new(&bench.engine.project.name, &Bench::pipeline(), bench.engine.clock.now(), 0)
}

#[tokio::test]
async fn a_child_is_reset_with_its_parent_and_never_alone() {
    let bench = family();
    bench.run(&[order(1, 1)]).await;
    let (parent, child) = (Bench::table("orders"), Bench::table("orders_items"));
    let error = bench.engine.reset(&Bench::pipeline(), &child).await.unwrap_err();
    assert_eq!(error.code(), Code::StateInvalid);
    assert!(error.hint().contains("shop_orders"), "{error:?}");
    let head = bench.engine.reset(&Bench::pipeline(), &parent).await.unwrap();
    assert!(head.tables[&parent].anew && head.tables[&child].anew);
    bench.run(&[order(2, 2)]).await;
    assert_eq!(bench.current("orders_items").await.len(), 1, "anew: nothing of before");
}

#[tokio::test]
async fn a_rewind_goes_back_only() {
    let bench = family();
    bench.run(&[order(1, 5)]).await;
    let to = async |table: &str, value| {
        bench.engine.rewind(&Bench::pipeline(), &Bench::table(table), Cursor::Integer { value }).await
    };
    assert_eq!(to("orders", 6).await.unwrap_err().code(), Code::StateInvalid);
    to("orders", 5).await.unwrap();
    to("orders", 2).await.unwrap();
    assert_eq!(to("orders_items", 1).await.unwrap_err().code(), Code::StateInvalid, "a child has no cursor");
}

#[tokio::test]
async fn the_lease_of_a_dead_run_is_no_obstacle_to_a_sole_worker() {
    let mut bench = family();
    bench.run(&[order(1, 1)]).await;
    bench.pass(1_000);
    assert!(matches!(bench.engine.begin(&bench.request(false)).await.unwrap(), AfterBegin::Steps { .. }));
    // And then the process was killed.
    bench.engine.settings.sole_worker = false;
    let orders = Bench::table("orders");
    assert_eq!(bench.engine.reset(&Bench::pipeline(), &orders).await.unwrap_err().code(), Code::CatalogHeld);
    bench.engine.settings.sole_worker = true;
    let head = bench.engine.reset(&Bench::pipeline(), &orders).await.unwrap();
    assert_eq!((head.unfinished, head.lease), (None, None));
}

/// Where secrets come from, which are asked for after the pipeline was looked at: somebody pauses it just then.
#[derive(Debug)]
struct Pausing(Arc<dyn Catalog>);

#[async_trait]
impl SecretSource for Pausing {
    async fn secrets(&self, _: &[String]) -> Result<Secrets> {
        let pause = Commit::Control { pipeline: Bench::pipeline(), control: Control::Pause };
        self.0.commit(&pause).await?;
        Ok(Secrets::default())
    }
}

#[tokio::test]
async fn a_pause_before_the_plan_keeps_a_run_from_starting() {
    let mut bench = family();
    bench.engine.secrets = Arc::new(Pausing(bench.engine.catalog.clone()));
    let begun = bench.engine.begin(&bench.request(false)).await.unwrap();
    assert_eq!(begun, AfterBegin::Wait { seconds: 1 });
    let head = bench.engine.head(&Bench::pipeline()).await.unwrap();
    assert!(head.paused.is_some() && head.unfinished.is_none(), "{head:?}");
    let refused = bench.engine.begin(&bench.request(false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PipelinePaused);
}

#[tokio::test]
async fn a_run_that_died_before_it_had_a_plan_holds_up_nobody() {
    let bench = family();
    bench.engine.catalog.acquire(&Bench::pipeline(), &run_of(&bench), 60_000).await.unwrap();
    bench.pass(1_000);
    let next = bench.engine.begin(&bench.request(false)).await.unwrap();
    assert!(matches!(next, AfterBegin::Steps { .. }), "{next:?}");
}

#[tokio::test]
async fn derived_files_go_with_their_table() {
    let bench = family();
    bench.run(&[order(1, 1)]).await;
    let derived = async || {
        let files: Vec<String> = bench.engine.store.list("").await.unwrap().into_iter().map(|f| f.path).collect();
        files.into_iter().filter(|f| f.ends_with(".sql") || f.contains("schema")).collect::<Vec<_>>()
    };
    assert_eq!(derived().await.len(), 6);
    bench.engine.drop_tables(&Bench::pipeline(), &[Bench::table("orders_items")]).await.unwrap();
    let left = derived().await;
    assert!(left.len() == 3 && left.iter().all(|f| !f.contains("items")), "{left:?}");
}

#[tokio::test]
async fn a_dropped_table_whose_dropper_died_is_cleared_up_by_the_next_to_publish() {
    let bench = family();
    bench.run(&[order(1, 1)]).await;
    let head = bench.engine.head(&Bench::pipeline()).await.unwrap();
    let commit = hakiri_core::catalog::Commit::State {
        pipeline: Bench::pipeline(),
        expected_seq: head.seq,
        tables: [(Bench::table("orders_items"), None)].into(),
        unnamed: Vec::new(),
        reason: "dropped by someone who died".to_owned(),
    };
    bench.engine.catalog.commit(&commit).await.unwrap();
    let view = hakiri_core::layout::view(&Bench::table("orders_items"));
    assert!(bench.engine.store.get(&view).await.unwrap().is_some());
    // A late publisher of the commit before takes nothing away from a later one.
    bench.engine.publish(&bench.engine.head(&Bench::pipeline()).await.unwrap()).await.unwrap();
    assert!(bench.engine.store.get(&view).await.unwrap().is_none());
}

#[tokio::test]
async fn a_full_run_repairs_a_store_that_is_gone() {
    let bench = family();
    bench.run(&[order(1, 1)]).await;
    bench.lose_store().await;
    bench.pass(1_000);
    let error = bench.engine.begin(&bench.request(false)).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreMissing, "rows are not added to a hole");
    bench.run_full(&[order(2, 2)], true).await;
    assert_eq!(bench.current("orders").await.len(), 1);
    bench.run(&[order(3, 3)]).await;
    assert_eq!(bench.current("orders").await.len(), 2);
}

#[tokio::test]
async fn a_reset_repairs_a_store_that_is_gone_and_a_drop_forgets_it() {
    let bench = family();
    bench.run(&[order(1, 1)]).await;
    bench.lose_store().await;
    bench.engine.reset(&Bench::pipeline(), &Bench::table("orders")).await.unwrap();
    bench.run(&[order(2, 2)]).await;
    assert_eq!(bench.current("orders_items").await.len(), 1);
    bench.lose_store().await;
    let tables = [Bench::table("orders"), Bench::table("orders_items")];
    let head = bench.engine.drop_tables(&Bench::pipeline(), &tables).await.unwrap();
    assert!(head.tables.is_empty());
    bench.run(&[order(3, 3)]).await;
}

#[tokio::test]
async fn a_full_run_gives_up_one_whose_store_is_gone() {
    let bench = family();
    bench.run(&[order(1, 1)]).await;
    bench.pass(1_000);
    assert!(matches!(bench.engine.begin(&bench.request(false)).await.unwrap(), AfterBegin::Steps { .. }));
    bench.lose_store().await;
    bench.run_full(&[order(2, 2)], true).await;
    assert_eq!(bench.current("orders").await.len(), 1);
}

#[tokio::test]
async fn a_step_whose_result_is_gone_fails_its_tables_and_the_next_run_reads_them() {
    let bench = family();
    bench.run(&[order(1, 1)]).await;
    bench.pass(1_000);
    let AfterBegin::Steps { run, epoch, steps, .. } = bench.engine.begin(&bench.request(false)).await.unwrap() else {
        panic!()
    };
    let pipeline = Bench::pipeline();
    let step = StepRequest { pipeline: pipeline.clone(), run: run.clone(), epoch, step: steps[0], deadline: None };
    bench.engine.step(&step).await.unwrap();
    for file in bench.engine.store.list("steps").await.unwrap() {
        bench.engine.store.delete(&file.path).await.unwrap();
    }
    let AfterCommit::Begin { report } =
        bench.engine.commit(&CommitRequest { pipeline, run, epoch, deadline: None }).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(report.status, RunStatus::Failed);
    assert!(report.tables.iter().all(|t| t.failure.as_ref().unwrap().code == "HK0305"), "{report:?}");
    bench.run(&[order(2, 2)]).await;
    assert_eq!(bench.current("orders").await.len(), 2);
}

#[tokio::test]
async fn no_run_stands_for_an_instant_to_come() {
    let bench = family();
    let mut request = bench.request(false);
    request.manual = Some(Manual { tick: Some(request.wake.plus_millis(DAY)), full: false });
    assert_eq!(bench.engine.begin(&request).await.unwrap_err().code(), Code::Arguments);
    request.manual = Some(Manual { tick: Some(request.wake.plus_millis(1_000)), full: false });
    bench.engine.begin(&request).await.unwrap();
}
