//! A model-based property test: the same random operations on an adapter and on `memory`, with the same answers and,
//! in the end, the same content.

use std::collections::BTreeMap;
use std::sync::Arc;

use hakiri_core::catalog::{Audit, Catalog, Commit, Kind, PageRequest, Record, SnapshotCommit, SnapshotHead};
use hakiri_core::step::{StepRecord, StepStatus};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::json;

use super::fixture::*;
use super::{Bench, ManualClock, Setup};

/// One operation. Small ranges, so that operations meet.
#[derive(Debug, Clone)]
enum Op {
    Pass(i64),
    Acquire { run: i64, ttl: i64 },
    Renew { run: i64, back: u64, ttl: i64 },
    Plan { run: i64, back: u64, steps: u32, full: bool },
    Claim { run: i64, back: u64, step: u32, worker: u8, ttl: i64 },
    Report { run: i64, back: u64, step: u32, worker: u8, what: u8 },
    Commit { run: i64, back: u64, tables: u8, version_up: u64, seq_off: u64 },
    Snapshot { table: u8, covers: u64, from_current: bool },
    State { table: u8, drop: bool, off: u64 },
    Forget,
    Audit,
    Setting(u8),
    List { kind: u8, limit: usize, newest_first: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let (run, ttl, step, worker) = (0..3_i64, prop_oneof![Just(0_i64), Just(10_000), Just(60_000)], 0..3_u32, 0..2_u8);
    // How far behind the newest epoch the caller is: mostly not at all.
    let back = prop_oneof![5 => Just(0_u64), 1 => Just(1_u64)];
    prop_oneof![
        2 => prop_oneof![Just(1_000_i64), Just(30_000), Just(60_001)].prop_map(Op::Pass),
        4 => (run.clone(), ttl.clone()).prop_map(|(run, ttl)| Op::Acquire { run, ttl }),
        2 => (run.clone(), back.clone(), ttl.clone()).prop_map(|(run, back, ttl)| Op::Renew { run, back, ttl }),
        4 => (run.clone(), back.clone(), 1..4_u32, any::<bool>()).prop_map(|(run, back, steps, full)| Op::Plan { run, back, steps, full: full && steps == 3 }),
        5 => (run.clone(), back.clone(), step.clone(), worker.clone(), ttl).prop_map(|(run, back, step, worker, ttl)| Op::Claim { run, back, step, worker, ttl }),
        5 => (run.clone(), back.clone(), step, worker, 0..5_u8).prop_map(|(run, back, step, worker, what)| Op::Report { run, back, step, worker, what }),
        5 => (run, back, 0..4_u8, 0..3_u64, prop_oneof![6 => Just(0_u64), 1 => Just(1_u64)])
            .prop_map(|(run, back, tables, version_up, seq_off)| Op::Commit { run, back, tables, version_up, seq_off }),
        1 => (0..2_u8, 0..6_u64, any::<bool>()).prop_map(|(table, covers, from_current)| Op::Snapshot { table, covers, from_current }),
        1 => (0..2_u8, any::<bool>(), 0..2_u64).prop_map(|(table, drop, off)| Op::State { table, drop, off }),
        1 => Just(Op::Forget),
        1 => Just(Op::Audit),
        1 => (0..3_u8).prop_map(Op::Setting),
        2 => (0..8_u8, 1..4_usize, any::<bool>()).prop_map(|(kind, limit, newest_first)| Op::List { kind, limit, newest_first }),
    ]
}

const KINDS: [Kind; 8] =
    [Kind::Head, Kind::Plan, Kind::Step, Kind::Run, Kind::Schema, Kind::Unnamed, Kind::Audit, Kind::Setting];
const TABLES: [&str; 2] = ["crm_a", "crm_b"];

/// Carries out one operation. What it depends on (the newest epoch, the current head) is read from the catalog itself.
async fn apply(catalog: &dyn Catalog, op: &Op) -> String {
    let head = head(catalog).await;
    let epoch = |back: u64| head.epoch.saturating_sub(back);
    match op {
        Op::Pass(_) => String::new(),
        Op::Acquire { run: n, ttl } => format!("{:?}", catalog.acquire(&pipeline(), &run(*n), *ttl).await),
        Op::Renew { run: n, back, ttl } => {
            format!("{:?}", catalog.renew(&pipeline(), &run(*n), epoch(*back), *ttl).await)
        }
        Op::Plan { run: n, back, steps, full } => {
            let mut plan = plan(&head, *n, *steps);
            plan.full = *full;
            plan.generation += u64::from(*full);
            format!("{:?}", catalog.put_plan(&plan, epoch(*back)).await)
        }
        Op::Claim { run: n, back, step, worker, ttl } => {
            format!(
                "{:?}",
                catalog.claim_step(&pipeline(), &run(*n), epoch(*back), *step, &format!("w{worker}"), *ttl).await
            )
        }
        Op::Report { run: n, back, step, worker, what } => {
            let worker = format!("w{worker}");
            let record = match what {
                0 => done(*step, &worker),
                1 => working(*step, &worker, 5),
                2 => StepRecord::new(*step),
                3 => StepRecord {
                    attempts: 2,
                    status: StepStatus::Pending {
                        not_before: Some(catalog.info().await.unwrap().now.plus_millis(20_000)),
                    },
                    ..StepRecord::new(*step)
                },
                _ => StepRecord { progress: Some(json!({ "größe": worker })), ..working(*step, &worker, 5) },
            };
            format!("{:?}", catalog.report_step(&says(*n, epoch(*back), &worker, record)).await)
        }
        Op::Commit { run: n, back, tables, version_up, seq_off } => {
            let mut plan = plan(&head, *n, 1);
            plan.base_seq = head.seq.saturating_sub(*seq_off);
            let commit = |name: &str| {
                let old = head.tables.get(&table(name)).and_then(|t| t.schema.as_ref()).map_or(0, |s| s.version);
                let mut commit = table_commit(name, plan.base_seq + 1, old + version_up);
                commit.unnamed = (*tables == 3).then(|| file("left"));
                commit
            };
            let tables = TABLES.iter().take(usize::from(*tables).min(2)).map(|name| commit(name)).collect();
            format!("{:?}", catalog.commit(&commit_of(&plan, epoch(*back), tables)).await)
        }
        Op::Snapshot { table: t, covers, from_current } => {
            let name = table(TABLES[usize::from(*t)]);
            let previous = head.tables.get(&name).and_then(|t| t.snapshot.clone()).filter(|_| *from_current);
            let snapshot = SnapshotHead { covers: *covers, manifest: file(&format!("s{covers}")) };
            format!(
                "{:?}",
                catalog
                    .commit(&Commit::Snapshot {
                        pipeline: pipeline(),
                        generation: head.generation,
                        tables: vec![SnapshotCommit { table: name, previous, snapshot }]
                    })
                    .await
            )
        }
        Op::State { table: t, drop, off } => {
            let name = table(TABLES[usize::from(*t)]);
            let new = head.tables.get(&name).cloned().filter(|_| !drop);
            let expected_seq = head.seq + off;
            let commit = Commit::State {
                pipeline: pipeline(),
                expected_seq,
                tables: BTreeMap::from([(name, new)]),
                unnamed: vec![file("u")],
                reason: "r".to_owned(),
            };
            format!("{:?}", catalog.commit(&commit).await)
        }
        Op::Forget => {
            let keys = list(catalog, Kind::Unnamed, &["crm"]).await.into_iter().take(2).map(|(key, _)| key).collect();
            format!("{:?}", catalog.commit(&Commit::Forget { pipeline: pipeline(), keys }).await)
        }
        Op::Audit => {
            let audit = Audit { action: "a".to_owned(), pipeline: None, at: None, detail: json!(1) };
            format!("{:?}", catalog.append(&Record::Audit(audit), None).await)
        }
        Op::Setting(n) => {
            let key = hakiri_core::catalog::Key::setting(if *n == 2 { "日本" } else { "x" });
            format!("{:?}", catalog.append(&Record::Setting(json!(n)), Some(&key)).await)
        }
        Op::List { kind, limit, newest_first } => {
            let mut page = PageRequest {
                kind: KINDS[usize::from(*kind)],
                prefix: Vec::new(),
                after: None,
                limit: *limit,
                newest_first: *newest_first,
            };
            let first = catalog.list(&page).await;
            page.after = first.as_ref().ok().and_then(|p| p.entries.last()).map(|(key, _)| key.clone());
            format!("{first:?} {:?}", catalog.list(&page).await)
        }
    }
}

/// Compares an adapter with `memory`: sequences of 50 operations, 60 of them, or 1,000 when the environment has
/// `HAKIRI_LONG`. Answers hold instants, so the setup's clock must be able to [stand still](super::Time::stand_still).
///
/// # Panics
/// With the shortest sequence it found that the two answer differently.
pub fn compare(setup: &dyn Setup) {
    #[allow(clippy::disallowed_methods)] // test code, see CONTRIBUTING.md
    let long = std::env::var_os("HAKIRI_LONG").is_some();
    let config = Config {
        cases: if long { 1000 } else { 60 },
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = runner.run(&proptest::collection::vec(op(), 50), |ops| {
        runtime.block_on(async {
            let Bench { catalog, time, keep, .. } = setup.bench().await;
            time.stand_still().await;
            let clock = Arc::new(ManualClock::default());
            let offset = catalog.info().await.unwrap().now.millis() - super::Clock::now(&*clock).millis();
            if offset != 0 {
                return Err(TestCaseError::fail("the adapter's clock must start where a manual clock does"));
            }
            let model = crate::memory(clock.clone());
            for op in &ops {
                if let Op::Pass(millis) = op {
                    time.pass(*millis).await;
                    clock.advance(*millis);
                }
                let (a, b) = (apply(&*catalog, op).await, apply(&model, op).await);
                if a != b {
                    return Err(TestCaseError::fail(format!("{op:?}:\n  adapter {a}\n  memory  {b}")));
                }
            }
            let same = dump(&*catalog).await == dump(&model).await;
            drop(keep);
            if same { Ok(()) } else { Err(TestCaseError::fail("the contents differ")) }
        })
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
}
