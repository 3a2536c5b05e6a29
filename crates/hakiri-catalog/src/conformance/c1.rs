//! C1: one order of all writes of a pipeline, and reads that see what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hakiri_core::catalog::{Catalog, CatalogError, Kind, Record};
use hakiri_core::cursor::Cursor;

use super::Setup;
use super::fixture::*;

pub async fn a_read_sees_what_another_client_wrote(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let other = (bench.reopen)();
    assert_eq!(head(&*other).await.seq, 0);
    for n in 1..=5 {
        let committed = whole(&*bench.catalog, n, 1).await.unwrap();
        assert_eq!(head(&*other).await, committed.head);
        assert_eq!(head(&*bench.catalog).await, committed.head);
    }
}

pub async fn a_listing_sees_what_another_client_wrote(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let other = (bench.reopen)();
    for n in 1..=5_i64 {
        whole(&*bench.catalog, n, 1).await.unwrap();
        assert_eq!(list(&*other, Kind::Run, &["crm"]).await.len(), usize::try_from(n).unwrap());
    }
}

pub async fn racing_acquires_have_one_winner(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let catalog = (bench.reopen)();
            tokio::spawn(async move { catalog.acquire(&pipeline(), &run(n), 60_000).await })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(lease) => {
                winners += 1;
                assert_eq!(lease.epoch, 1);
            }
            Err(CatalogError::Held { .. }) => {}
            Err(e) => panic!("{e:?}"),
        }
    }
    assert_eq!(winners, 1);
}

/// One compare-and-swap: `true` when this one was first.
async fn swap(catalog: &dyn Catalog) -> bool {
    let head = head(catalog).await;
    let mut counted = head.tables.get(&table("crm_a")).cloned().unwrap_or_else(|| table_head("crm_a", 0, 1));
    let Some(Cursor::Integer { value }) = &mut counted.cursor else { panic!("no counter") };
    *value += 1;
    match catalog.commit(&state(&head, BTreeMap::from([(table("crm_a"), Some(counted))]))).await {
        Ok(committed) => {
            assert_eq!(committed.head.seq, head.seq + 1);
            true
        }
        Err(CatalogError::Conflict(_)) => false,
        Err(e) => panic!("{e:?}"),
    }
}

pub async fn eight_workers_swap_a_hundred_times_each(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let catalog: Arc<dyn Catalog> = (bench.reopen)();
            tokio::spawn(async move {
                let mut done = 0;
                while done < 100 {
                    done += u32::from(swap(&*catalog).await);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let head = head(&*bench.catalog).await;
    assert_eq!((head.seq, head.generation, head.epoch), (800, 800, 800));
    assert_eq!(head.tables[&table("crm_a")].cursor, Some(Cursor::Integer { value: 800 }));
    let audits = list(&*bench.catalog, Kind::Audit, &["crm"]).await;
    let seqs: BTreeSet<u64> = audits
        .iter()
        .map(|(_, r)| match r {
            Record::Audit(a) => a.detail["seq"].as_u64().unwrap(),
            _ => 0,
        })
        .collect();
    assert_eq!((audits.len(), seqs), (800, (1..=800).collect()));
}

pub async fn racing_runs_get_dense_numbers(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let tasks: Vec<_> = (0..6_i64)
        .map(|worker| {
            let catalog = (bench.reopen)();
            tokio::spawn(async move {
                let mut seqs = Vec::new();
                for i in 0..5 {
                    let n = worker * 100 + i;
                    let lease = loop {
                        match catalog.acquire(&pipeline(), &run(n), 60_000).await {
                            Ok(lease) => break lease,
                            Err(CatalogError::Held { .. } | CatalogError::Conflict(_)) => {
                                tokio::time::sleep(std::time::Duration::from_millis(2)).await
                            }
                            Err(e) => panic!("{e:?}"),
                        }
                    };
                    let plan = plan(&head(&*catalog).await, n, 2);
                    catalog.put_plan(&plan, lease.epoch).await.unwrap();
                    seqs.push(catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap().head.seq);
                }
                seqs
            })
        })
        .collect();
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.extend(task.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=30).collect::<Vec<u64>>());
    assert_eq!(head(&*bench.catalog).await.epoch, 30);
}

pub async fn pipelines_do_not_touch_each_other(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let other = "crm-2".parse().unwrap();
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let (_, lease) = start(&*bench.catalog, 2, 1).await;
    let elsewhere = bench.catalog.acquire(&other, &run_of(&other, 1), 60_000).await.unwrap();
    assert_eq!((lease.epoch, elsewhere.epoch), (2, 1));
    assert_eq!(head_of(&*bench.catalog, &other).await.seq, 0);
    assert_eq!(list(&*bench.catalog, Kind::Run, &["crm-2"]).await, Vec::new());
}
