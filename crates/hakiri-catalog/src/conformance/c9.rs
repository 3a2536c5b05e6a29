//! C9: a whole project moves between any two adapters without loss.

use std::collections::BTreeMap;
use std::sync::Arc;

use hakiri_core::catalog::{Audit, Catalog, CatalogError, ExportPage, Key, Record};
use serde_json::json;

use super::fixture::*;
use super::{ManualClock, Setup};

/// A bit of everything.
async fn filled(catalog: &dyn Catalog) {
    for n in 1..=3 {
        whole(catalog, n, n.unsigned_abs()).await.unwrap();
    }
    let old = head(catalog).await;
    let mut commit = state(&old, BTreeMap::new());
    if let hakiri_core::catalog::Commit::State { unnamed, .. } = &mut commit {
        unnamed.push(file("left"));
    }
    catalog.commit(&commit).await.unwrap();
    catalog
        .append(&Record::Setting(json!({ "größe": 1.5, "n": u64::MAX, "日本": null })), Some(&Key::setting("ключ")))
        .await
        .unwrap();
    let audit = Audit { action: "note".to_owned(), pipeline: None, at: None, detail: json!(["x"]) };
    catalog.append(&Record::Audit(audit), None).await.unwrap();
    let (_, lease) = start(catalog, 4, 3).await;
    claim(catalog, 4, lease.epoch, 1, "w").await.unwrap();
    catalog.report_step(&says(4, lease.epoch, "w", done(1, "x"))).await.unwrap();
    catalog.renew(&pipeline(), &run(4), lease.epoch, 0).await.unwrap();
}

async fn copy(from: &dyn Catalog, to: &dyn Catalog) {
    let mut after = None;
    loop {
        let page = from.export(after.as_ref()).await.unwrap();
        // On the wire, as `hakiri catalog migrate` would keep it.
        let page: ExportPage = serde_json::from_str(&serde_json::to_string(&page).unwrap()).unwrap();
        to.import(&page).await.unwrap();
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

pub async fn an_export_comes_to_memory_and_back(setup: &dyn Setup) {
    let bench = setup.bench().await;
    filled(&*bench.catalog).await;
    let memory = crate::memory(Arc::new(ManualClock::default()));
    copy(&*bench.catalog, &memory).await;
    let all = dump(&*bench.catalog).await;
    assert_eq!(dump(&memory).await, all);
    let back = setup.bench().await;
    copy(&memory, &*back.catalog).await;
    assert_eq!(dump(&*back.catalog).await, all);
}

pub async fn importing_again_is_harmless(setup: &dyn Setup) {
    let (from, to) = (setup.bench().await, setup.bench().await);
    filled(&*from.catalog).await;
    for _ in 0..2 {
        copy(&*from.catalog, &*to.catalog).await;
    }
    assert_eq!(dump(&*to.catalog).await, dump(&*from.catalog).await);
}

pub async fn importing_something_else_is_a_conflict(setup: &dyn Setup) {
    let (from, to) = (setup.bench().await, setup.bench().await);
    filled(&*from.catalog).await;
    whole(&*to.catalog, 1, 1).await.unwrap();
    let before = dump(&*to.catalog).await;
    let page = from.catalog.export(None).await.unwrap();
    let result = to.catalog.import(&page).await;
    assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
    assert_eq!(dump(&*to.catalog).await, before);
}

pub async fn a_record_of_another_kind_is_refused(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let entries = vec![(Key::head(&pipeline()), Record::Setting(json!(1)))];
    let result = bench.catalog.import(&ExportPage { entries, next: None }).await;
    assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
    assert_eq!(dump(&*bench.catalog).await, Vec::new());
}

pub async fn an_imported_run_goes_on(setup: &dyn Setup) {
    let (from, to) = (setup.bench().await, setup.bench().await);
    filled(&*from.catalog).await;
    copy(&*from.catalog, &*to.catalog).await;
    let lease = to.catalog.acquire(&pipeline(), &run(4), 60_000).await.unwrap();
    assert_eq!(lease.epoch, head(&*from.catalog).await.epoch + 1);
    let Some(Record::Plan(plan)) = to.catalog.get(&Key::plan(&pipeline(), &run(4))).await.unwrap() else { panic!() };
    assert_eq!(to.catalog.commit(&commit_a(&plan, lease.epoch, 3)).await.unwrap().head.seq, plan.base_seq + 1);
}

pub async fn an_export_is_in_the_order_of_keys(setup: &dyn Setup) {
    let bench = setup.bench().await;
    filled(&*bench.catalog).await;
    let all = dump(&*bench.catalog).await;
    assert!(all.is_sorted_by(|(a, _), (b, _)| a < b));
    // Behind any key comes what is behind it.
    for (i, (key, _)) in all.iter().enumerate() {
        assert_eq!(bench.catalog.export(Some(key)).await.unwrap().entries, all[i + 1..]);
    }
}
