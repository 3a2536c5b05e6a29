//! What is particular to the table: how items lie in it, whose they are, what is refused.

use std::collections::BTreeSet;

use hakiri_catalog::conformance::fixture::{dump, pipeline, run, whole};
use hakiri_catalog::dynamodb;
use hakiri_catalog::records::{Batch, Records, Scan, Written};
use hakiri_catalog::{Catalog, CatalogError};
use hakiri_sim::aws::shared;
use serde_json::{Value, json};

use super::{TABLE, ask, open, opened, partition, settings, table};
use crate::database::project;
use crate::ports::{self, put, version};

/// Changes an attribute of the root by hand.
async fn set(project: &str, name: &str, value: Value) {
    let (status, answer) = ask(
        "UpdateItem",
        &json!({
            "TableName": TABLE,
            "Key": { "pk": { "S": format!("{project}/catalog") }, "sk": { "S": "catalog" } },
            "UpdateExpression": "SET #name = :value",
            "ExpressionAttributeNames": { "#name": name },
            "ExpressionAttributeValues": { ":value": value },
        }),
    )
    .await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_table_that_is_not_there_is_named_and_not_made() {
    let mut settings = settings(&shared(), &project());
    settings.table = "hakiri-nowhere".to_owned();
    for _ in 0..2 {
        let opened = dynamodb::open(settings.clone(), "me").await;
        assert!(
            matches!(&opened, Err(CatalogError::Unavailable { reason, retry_after: 0 })
                if reason.contains("there is no table hakiri-nowhere in us-east-1")),
            "{opened:?}"
        );
    }
    settings.project = "No Project".to_owned();
    let opened = dynamodb::open(settings, "me").await;
    assert!(matches!(&opened, Err(CatalogError::Unavailable { retry_after: 0, .. })), "{opened:?}");
}

#[tokio::test]
async fn eight_who_open_at_once_create_one_catalog() {
    table().await;
    let project = project();
    let opening: Vec<_> = (0..8)
        .map(|i| {
            let settings = settings(&shared(), &project);
            tokio::spawn(async move { dynamodb::open(settings, &format!("made by {i}")).await.unwrap() })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for catalog in opening {
        ids.insert(catalog.await.unwrap().info().await.unwrap().id);
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn a_reader_creates_nothing_and_writes_nothing() {
    table().await;
    let project = project();
    let settings = settings(&shared(), &project);
    for _ in 0..2 {
        let opened = dynamodb::open_reader(settings.clone()).await;
        assert!(matches!(opened, Err(CatalogError::NotFound(_))), "{opened:?}");
    }
    let catalog = open(&shared(), &project).await;
    whole(&catalog, 1, 1).await.unwrap();
    let reading = dynamodb::open_reader(settings).await.unwrap();
    let info = reading.info().await.unwrap();
    assert_eq!((info.id.as_str(), info.adapter), ("catalog-1", "dynamodb"));
    assert_eq!(dump(&reading).await, dump(&catalog).await);
    let written = reading.acquire(&pipeline(), &run(2), 1000).await;
    assert!(matches!(&written, Err(CatalogError::Unavailable { retry_after: 0, .. })), "{written:?}");
}

#[tokio::test]
async fn projects_in_one_table_do_not_meet() {
    // One name begins with the other.
    let one = project();
    let two = format!("{one}a");
    let (first, second) = (open(&shared(), &one).await, open(&shared(), &two).await);
    whole(&first, 1, 1).await.unwrap();
    assert_eq!(dump(&second).await, []);
    second.records().write(&put("k", "x")).await.unwrap();
    assert_eq!(version(first.records(), "k").await, None);
}

#[tokio::test]
async fn a_newer_catalog_is_left_alone() {
    let project = project();
    let before = open(&shared(), &project).await;
    set(&project, "format", json!({ "N": "2" })).await;
    let newer = Some(CatalogError::Newer { found: 2, known: 1 });
    assert_eq!(dynamodb::open(settings(&shared(), &project), "x").await.err(), newer);
    assert_eq!(dynamodb::open_reader(settings(&shared(), &project)).await.err(), newer);
    assert_eq!(before.info().await.err(), newer);
    assert_eq!(before.acquire(&pipeline(), &run(1), 60_000).await.err(), newer);
    assert_eq!(before.records().write(&put("k", "x")).await.err(), newer);
    assert!(partition(&project, "records").await.is_empty());
}

#[tokio::test]
async fn another_catalog_in_its_place_is_noticed() {
    let project = project();
    let catalog = open(&shared(), &project).await;
    set(&project, "id", json!({ "S": "another" })).await;
    let info = catalog.info().await;
    assert!(matches!(info, Err(CatalogError::Corrupt(_))), "{info:?}");
    let read = catalog.records().read(&["k".to_owned()]).await;
    assert!(matches!(read, Err(CatalogError::Corrupt(_))), "{read:?}");
}

#[tokio::test]
async fn keys_are_ordered_by_bytes_and_bounds_may_hold_a_nul() {
    ports::keys_are_ordered_by_bytes_and_bounds_may_hold_a_nul(opened().await.records()).await;
}

#[tokio::test]
async fn a_page_ends_where_its_bytes_do() {
    ports::a_page_ends_where_its_bytes_do(opened().await.records()).await;
}

#[tokio::test]
async fn texts_of_many_mebibytes_come_back() {
    ports::texts_of_many_mebibytes_come_back(opened().await.records()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_expect_each_others_key_to_be_absent_one_is_refused() {
    let project = project();
    let (one, two) = (open(&shared(), &project).await, open(&shared(), &project).await);
    ports::of_two_that_expect_each_others_key_to_be_absent_one_is_refused(one.records(), two.records()).await;
}

#[tokio::test]
async fn a_version_never_comes_again() {
    ports::a_version_never_comes_again(opened().await.records()).await;
}

#[tokio::test]
async fn a_long_text_lies_in_parts_and_leaves_none_behind() {
    let project = project();
    let catalog = open(&shared(), &project).await;
    let records = catalog.records();
    for (text, parts) in [
        ("x".repeat(300_000), 0),
        ("x".repeat(300_001), 2),
        ("日".repeat(400_000), 4),
        ("\"\\\n".repeat(200_000), 2),
        // Too much for one transaction.
        ("🦀".repeat(1_500_000), 20),
        ("short".to_owned(), 0),
        ("y".repeat(1 << 20), 4),
    ] {
        assert_eq!(records.write(&put("k", &text)).await, Ok(Written::Done));
        assert_eq!(partition(&project, "parts").await.len(), parts, "{}", text.len());
        let entry = records.read(&["k".to_owned()]).await.unwrap().entries.remove(0).unwrap();
        assert!(entry.text == text, "{parts}");
        for reverse in [false, true] {
            let scan = Scan { from: "k".to_owned(), to: "l".to_owned(), reverse, limit: 10, bytes: 1 << 30 };
            let page = records.scan(&scan).await.unwrap();
            assert!(page.entries == [("k".to_owned(), text.clone())] && !page.more, "{parts}");
        }
    }
    records.write(&Batch { delete: vec!["k".to_owned()], ..Batch::default() }).await.unwrap();
    for place in ["parts", "records", "batches"] {
        assert!(partition(&project, place).await.is_empty(), "{place}");
    }
}

#[tokio::test]
async fn a_record_that_is_not_whole_is_corrupt() {
    let project = project();
    let catalog = open(&shared(), &project).await;
    let records = catalog.records();
    records.write(&put("k", &"x".repeat(1 << 20))).await.unwrap();
    let part = partition(&project, "parts").await.remove(1);
    let key = json!({ "TableName": TABLE, "Key": { "pk": part["pk"], "sk": part["sk"] } });
    assert_eq!(ask("DeleteItem", &key).await.0, 200);
    for result in
        [records.read(&["k".to_owned()]).await.map(drop), records.scan(&Scan::new("", None, 10, false)).await.map(drop)]
    {
        let Err(CatalogError::Corrupt(message)) = result else { panic!("{result:?}") };
        assert!(message.len() < 100, "{message}");
    }
}

#[tokio::test]
async fn a_key_that_no_item_can_have_is_refused_and_not_found() {
    let catalog = opened().await;
    let (longest, longer) = ("é".repeat(512), "é".repeat(512) + "x");
    assert_eq!(catalog.records().write(&put(&longest, "x")).await, Ok(Written::Done));
    assert!(version(catalog.records(), &longest).await.is_some());
    let refused = catalog.records().write(&put(&longer, "x")).await;
    assert!(matches!(&refused, Err(CatalogError::Unavailable { retry_after: 0, .. })), "{refused:?}");
    assert_eq!(version(catalog.records(), &longer).await, None);
}
