//! C2: the history of a schema is dense and never loses a version.

use std::collections::BTreeMap;

use hakiri_core::catalog::{Catalog, CatalogError, Kind, Record};
use hakiri_core::schema::Type;

use super::Setup;
use super::fixture::*;

async fn versions(catalog: &dyn Catalog, name: &str) -> Vec<u64> {
    let entries = list(catalog, Kind::Schema, &["crm", name]).await;
    entries
        .iter()
        .map(|(_, r)| match r {
            Record::Schema(s) => s.version,
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn refused(setup: &dyn Setup, first: u64, then: u64) {
    let bench = setup.bench().await;
    for version in 1..=first {
        whole(&*bench.catalog, i64::try_from(version).unwrap(), version).await.unwrap();
    }
    let (plan, lease) = start(&*bench.catalog, 99, 1).await;
    let before = dump(&*bench.catalog).await;
    let result = bench.catalog.commit(&commit_a(&plan, lease.epoch, then)).await;
    assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
    assert_eq!(dump(&*bench.catalog).await, before);
}

pub async fn versions_are_kept_in_order(setup: &dyn Setup) {
    let bench = setup.bench().await;
    // Beyond ten, so that an order by text would show.
    for version in 1..=12 {
        whole(&*bench.catalog, version, version.unsigned_abs()).await.unwrap();
        assert_eq!(versions(&*bench.catalog, "crm_a").await, (1..=version.unsigned_abs()).collect::<Vec<_>>());
    }
}

pub async fn a_gap_is_refused(setup: &dyn Setup) {
    refused(setup, 1, 3).await;
    refused(setup, 0, 2).await;
    refused(setup, 0, 0).await;
}

pub async fn going_back_is_refused(setup: &dyn Setup) {
    refused(setup, 3, 2).await;
}

pub async fn other_columns_under_a_number_are_refused(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let (plan, lease) = start(&*bench.catalog, 2, 1).await;
    let mut changed = table_commit("crm_a", 2, 1);
    changed.head.schema = Some(schema_as(1, 1, Type::Int64));
    let result = bench.catalog.commit(&commit_of(&plan, lease.epoch, vec![changed])).await;
    assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
    assert_eq!(list(&*bench.catalog, Kind::Schema, &["crm", "crm_a"]).await[0].1, Record::Schema(schema(1)));
}

pub async fn the_same_version_again_is_fine(setup: &dyn Setup) {
    let bench = setup.bench().await;
    for n in 1..=3 {
        whole(&*bench.catalog, n, 1).await.unwrap();
    }
    assert_eq!(versions(&*bench.catalog, "crm_a").await, [1]);
}

pub async fn a_refused_commit_leaves_no_version(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    // The first table would be fine, the second leaves a gap.
    let tables = vec![table_commit("crm_a", 1, 1), table_commit("crm_b", 1, 2)];
    let result = bench.catalog.commit(&commit_of(&plan, lease.epoch, tables)).await;
    assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
    assert_eq!(versions(&*bench.catalog, "crm_a").await, Vec::<u64>::new());
    assert_eq!(head(&*bench.catalog).await.seq, 0);
}

pub async fn a_dropped_table_keeps_its_history(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let old = whole(&*bench.catalog, 2, 2).await.unwrap().head;
    bench.catalog.commit(&state(&old, BTreeMap::from([(table("crm_a"), None)]))).await.unwrap();
    assert_eq!(versions(&*bench.catalog, "crm_a").await, [1, 2]);
    // Made anew, it goes on behind its history, or with a version of it.
    let (plan, lease) = start(&*bench.catalog, 3, 1).await;
    let mut other = table_commit("crm_a", plan.base_seq + 1, 1);
    other.head.schema = Some(schema_as(1, 1, Type::Int64));
    let result = bench.catalog.commit(&commit_of(&plan, lease.epoch, vec![other.clone()])).await;
    assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
    other.head.schema = Some(schema_as(3, 1, Type::Int64));
    bench.catalog.commit(&commit_of(&plan, lease.epoch, vec![other])).await.unwrap();
    assert_eq!(versions(&*bench.catalog, "crm_a").await, [1, 2, 3]);
}

pub async fn a_renamed_table_goes_on_with_its_number(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let old = whole(&*bench.catalog, 2, 2).await.unwrap().head;
    let moved = old.tables[&table("crm_a")].clone();
    let changes = BTreeMap::from([(table("crm_a"), None), (table("crm_b"), Some(moved))]);
    bench.catalog.commit(&state(&old, changes)).await.unwrap();
    assert_eq!(versions(&*bench.catalog, "crm_b").await, [2]);
    let (plan, lease) = start(&*bench.catalog, 3, 1).await;
    bench
        .catalog
        .commit(&commit_of(&plan, lease.epoch, vec![table_commit("crm_b", plan.base_seq + 1, 3)]))
        .await
        .unwrap();
    assert_eq!(versions(&*bench.catalog, "crm_b").await, [2, 3]);
}
