//! C7: what was acknowledged is there for a process that starts afterwards. Losing processes by force is tested per
//! adapter, where there are processes to lose.

use hakiri_core::catalog::{Key, Record};
use serde_json::json;

use super::Setup;
use super::fixture::*;

pub async fn everything_is_there_after_reopening(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let (_, lease) = start(&*bench.catalog, 2, 3).await;
    claim(&*bench.catalog, 2, lease.epoch, 0, "a").await.unwrap();
    bench.catalog.report_step(&says(2, lease.epoch, "a", done(0, "x"))).await.unwrap();
    bench.catalog.append(&Record::Setting(json!({ "a": [1, null] })), Some(&Key::setting("s"))).await.unwrap();
    assert_eq!(step_record(&*bench.catalog, 2, 0).await, done(0, "x"));
    let before = dump(&*bench.catalog).await;
    assert_eq!(before.len(), 11, "{before:?}");
    assert_eq!(dump(&*(bench.reopen)()).await, before);
}

pub async fn a_commit_is_there_for_a_new_client(setup: &dyn Setup) {
    let bench = setup.bench().await;
    for n in 1..=3 {
        let committed = whole(&*(bench.reopen)(), n, 1).await.unwrap();
        assert_eq!(head(&*(bench.reopen)()).await, committed.head);
        assert_eq!(run_record(&*(bench.reopen)(), n).await, committed.run);
    }
}

pub async fn an_identity_stays(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let info = bench.catalog.info().await.unwrap();
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let again = (bench.reopen)().info().await.unwrap();
    assert!(!info.id.is_empty() && info.version >= 1);
    assert_eq!((&again.id, again.version, again.adapter), (&info.id, info.version, info.adapter));
}
