//! What the adapter says of a request that went wrong must be what is known of it (C8), and nothing that is secret or
//! stored may show in what it says (P8).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hakiri_aws::Patience;
use hakiri_catalog::conformance::fixture::{dump, pipeline, run, whole};
use hakiri_catalog::dynamodb::{self, DynamoDb};
use hakiri_catalog::records::{Records, Scan, Written};
use hakiri_catalog::{Catalog, CatalogError, CatalogResult, RecordCatalog};
use hakiri_sim::aws::shared;

use super::proxy::{Act, Proxy};
use super::{SECRET, open, settings, table};
use crate::database::project;
use crate::kill::under_commits;
use crate::ports::{put, version};

async fn behind() -> (Proxy, RecordCatalog<DynamoDb>) {
    let proxy = Proxy::start().await;
    let catalog = open(&proxy.url, &project()).await;
    (proxy, catalog)
}

fn wait<T: std::fmt::Debug>(result: &CatalogResult<T>) -> u64 {
    match result {
        Err(CatalogError::Unavailable { retry_after, reason }) => {
            assert!(!reason.contains("sekrit") && reason.len() < 300, "{reason}");
            *retry_after
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_read_is_strongly_consistent_and_signed() {
    let (proxy, catalog) = behind().await;
    whole(&catalog, 1, 1).await.unwrap();
    dump(&catalog).await;
    catalog.records().write(&put("z", &"x".repeat(1 << 20))).await.unwrap();
    catalog.records().read(&["z".to_owned(), "y".to_owned()]).await.unwrap();
    let seen = proxy.seen();
    let operations: BTreeSet<_> = seen.iter().map(|seen| seen.operation.as_str()).collect();
    let known = ["BatchGetItem", "GetItem", "PutItem", "Query", "TransactWriteItems"];
    assert_eq!(operations, known.into());
    for request in seen {
        let body = &request.body;
        match request.operation.as_str() {
            "GetItem" | "Query" => assert_eq!(body["ConsistentRead"], true, "{body}"),
            "BatchGetItem" => {
                for wanted in body["RequestItems"].as_object().unwrap().values() {
                    assert_eq!(wanted["ConsistentRead"], true, "{body}");
                }
            }
            _ => {}
        }
        assert!(body.get("IndexName").is_none() && body.get("ClientRequestToken").is_none());
        assert!(request.head.contains("/us-east-1/dynamodb/aws4_request"), "{}", request.head);
        assert!(!request.head.contains(SECRET), "{}", request.head);
    }
}

#[tokio::test]
async fn a_write_without_a_clear_answer_is_open_and_never_sent_again() {
    let (proxy, catalog) = behind().await;
    for (n, (act, happened)) in [
        (Act::CloseBefore, false),
        (Act::CloseAfter, true),
        (Act::StatusAfter(500), true),
        (Act::StatusAfter(503), true),
        (Act::Torn, true),
        (Act::Page(502), false),
        (Act::Page(504), false),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.on("TransactWriteItems", act);
        let key = format!("k{n}");
        let outcome = catalog.records().write(&put(&key, "x")).await;
        assert!(matches!(outcome, Err(CatalogError::OutcomeUnknown(_))), "{act:?}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains("sekrit"), "{outcome:?}");
        assert_eq!(proxy.count("TransactWriteItems"), 1, "{act:?}");
        proxy.rule(|_| Act::Pass);
        // The caller reads, and finds whether it did.
        assert_eq!(version(catalog.records(), &key).await.is_some(), happened, "{act:?}");
        assert_eq!(catalog.records().write(&put("other", "x")).await, Ok(Written::Done));
    }
}

#[tokio::test]
async fn a_write_that_nobody_answers_is_open_after_a_while() {
    table().await;
    let proxy = Proxy::start().await;
    // Long enough for what is answered: others use the stand-in as well.
    let patience = Patience { request: Duration::from_secs(3), ..Patience::default() };
    let catalog = dynamodb::open_with(settings(&proxy.url, &project()), "x", patience).await.unwrap();
    proxy.on("TransactWriteItems", Act::Hang);
    let outcome = catalog.records().write(&put("k", "x")).await;
    assert!(matches!(outcome, Err(CatalogError::OutcomeUnknown(_))), "{outcome:?}");
    proxy.rule(|_| Act::Hang);
    assert_eq!(wait(&catalog.records().read(&["k".to_owned()]).await), 5);
    assert_eq!(proxy.seen().len(), 1);
}

/// What was sent and not answered may still arrive: behind another write it must change nothing.
#[tokio::test]
async fn a_write_that_arrives_late_changes_nothing() {
    let (proxy, catalog) = behind().await;
    proxy.on("TransactWriteItems", Act::Lost);
    let outcome = catalog.records().write(&put("k", "late")).await;
    assert!(matches!(outcome, Err(CatalogError::OutcomeUnknown(_))), "{outcome:?}");
    proxy.rule(|_| Act::Pass);
    assert_eq!(version(catalog.records(), "k").await, None);
    assert_eq!(catalog.records().write(&put("other", "x")).await, Ok(Written::Done));
    proxy.open();
    proxy.arrived().await;
    assert_eq!(version(catalog.records(), "k").await, None);
}

#[tokio::test]
async fn busy_answers_are_waited_for_within_a_bound() {
    let (proxy, catalog) = behind().await;
    for act in [
        Act::Exception("ThrottlingException"),
        Act::Exception("ProvisionedThroughputExceededException"),
        Act::Exception("TransactionConflictException"),
        Act::Reason("TransactionConflict"),
        Act::Reason("ThrottlingError"),
        Act::Page(429),
    ] {
        let mut left = 4;
        proxy.rule(move |seen| {
            let hit = seen.operation == "TransactWriteItems" && left > 0;
            left -= i32::from(hit);
            if hit { act } else { Act::Pass }
        });
        assert_eq!(catalog.records().write(&put("k", "x")).await, Ok(Written::Done), "{act:?}");
        assert_eq!(proxy.count("TransactWriteItems"), 5, "{act:?}");
    }
    proxy.rule(|_| Act::Exception("ThrottlingException"));
    let (write, read) =
        (catalog.records().write(&put("k", "y")).await, catalog.records().read(&["k".to_owned()]).await);
    assert_eq!((wait(&write), wait(&read)), (5, 5));
    proxy.on("TransactWriteItems", Act::Reason("TransactionConflict"));
    assert_eq!(wait(&catalog.records().write(&put("k", "y")).await), 5);
    assert_eq!(proxy.count("TransactWriteItems"), 13);
}

#[tokio::test]
async fn a_read_is_sent_again_a_few_times() {
    let (proxy, catalog) = behind().await;
    catalog.records().write(&put("k", "x")).await.unwrap();
    for act in [Act::CloseBefore, Act::CloseAfter, Act::Torn, Act::StatusAfter(500), Act::Page(503)] {
        let mut count = 0;
        proxy.rule(move |_| {
            count += 1;
            if count % 3 == 0 { Act::Pass } else { act }
        });
        assert!(version(catalog.records(), "k").await.is_some());
        let page = catalog.records().scan(&Scan::new("", None, 10, false)).await.unwrap();
        assert_eq!(page.entries, [("k".to_owned(), "x".to_owned())]);
        proxy.rule(move |_| act);
        assert_eq!(wait(&catalog.records().read(&["k".to_owned()]).await), 5, "{act:?}");
        assert_eq!(proxy.seen().len(), 4, "{act:?}");
    }
}

#[tokio::test]
async fn what_will_not_pass_by_itself_says_what_to_do() {
    let (proxy, catalog) = behind().await;
    for (act, says) in [
        (Act::Exception("ResourceNotFoundException"), "there is no table hakiri-test in us-east-1"),
        (Act::Exception("AccessDeniedException"), "may not use"),
        (Act::Exception("UnrecognizedClientException"), "refuses the credentials"),
        (Act::Exception("ExpiredTokenException"), "expired"),
        (Act::Exception("ValidationException"), "pk and sk"),
        (Act::Exception("OfAnotherDay"), "OfAnotherDay"),
        (Act::Page(301), "leads elsewhere"),
        (Act::Page(403), "is it DynamoDB?"),
    ] {
        proxy.rule(move |_| act);
        let read = catalog.records().read(&["k".to_owned()]).await;
        proxy.on("TransactWriteItems", act);
        let write = catalog.records().write(&put("k", "x")).await;
        assert_eq!((wait(&read), wait(&write)), (0, 0), "{act:?}");
        assert!(format!("{read:?}").contains(says) && format!("{write:?}").contains(says), "{act:?}: {read:?}");
        assert_eq!(proxy.count("TransactWriteItems"), 1);
    }
    proxy.rule(|_| Act::Pass);
    assert_eq!(version(catalog.records(), "k").await, None);
}

/// Where many write, others do so while one pauses: an attempt goes by what is there after its pause, or it would be lost from
/// the start, and so would each one after it.
#[tokio::test]
async fn what_others_write_during_a_pause_costs_no_attempt() {
    let proxy = Proxy::start().await;
    let project = project();
    let (slow, quick) = (open(&proxy.url, &project).await, open(&shared(), &project).await);
    // It is in the way of the first two attempts, and there again when the pause before the third one is over.
    quick.records().write(&put("other", "0")).await.unwrap();
    let mut sent = 0;
    proxy.rule(move |_| {
        sent += 1;
        if [4, 7].contains(&sent) { Act::Gate } else { Act::Pass }
    });
    let others = async {
        for request in [4, 7] {
            while proxy.seen().len() < request {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(quick.records().write(&put("other", &request.to_string())).await, Ok(Written::Done));
            proxy.open();
        }
    };
    let written = put("k", "x");
    let (written, ()) = tokio::join!(slow.records().write(&written), others);
    assert_eq!(written, Ok(Written::Done));
    let seen = proxy.seen();
    let operations: Vec<_> = seen.iter().map(|seen| seen.operation.as_str()).collect();
    // Two attempts are over before the pause, after which all is looked at anew.
    let (lost, last) =
        (["BatchGetItem", "TransactWriteItems", "GetItem"], ["GetItem", "BatchGetItem", "TransactWriteItems"]);
    assert_eq!(operations, [lost, lost, last].concat());
}

#[tokio::test]
async fn nobody_listening_means_that_nothing_happened() {
    let (proxy, catalog) = behind().await;
    drop(proxy);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let read = catalog.records().read(&["k".to_owned()]).await;
    assert_eq!(wait(&read), 5);
    assert!(format!("{read:?}").contains("cannot be reached"), "{read:?}");
}

/// The time is the answer's date: whole seconds of the other side's clock, not of this machine's.
#[tokio::test]
async fn leases_expire_by_the_date_of_the_answers() {
    let (proxy, catalog) = behind().await;
    proxy.date(Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    assert_eq!(catalog.info().await.unwrap().now.millis(), 1_800_000_000_000);
    let lease = catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    assert_eq!(lease.epoch, 1);
    proxy.date(Some("Fri, 15 Jan 2027 08:00:59 GMT"));
    let held = catalog.acquire(&pipeline(), &run(2), 60_000).await;
    assert!(matches!(held, Err(CatalogError::Held { .. })), "{held:?}");
    proxy.date(Some("Fri, 15 Jan 2027 08:01:00 GMT"));
    assert_eq!(catalog.acquire(&pipeline(), &run(2), 60_000).await.unwrap().epoch, 2);
    proxy.date(Some("yesterday"));
    assert_eq!(wait(&catalog.info().await), 0);
}

/// Four workers commit while every few requests go wrong in another way: nothing that was acknowledged is lost, nothing
/// is doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_requests_under_commits() {
    let proxy = Arc::new(Proxy::start().await);
    let (project, url) = (project(), proxy.url.clone());
    let open = move || {
        let (project, url) = (project.clone(), url.clone());
        async move {
            loop {
                match dynamodb::open(settings(&url, &project), "x").await {
                    Ok(catalog) => return Arc::new(catalog) as Arc<dyn Catalog>,
                    Err(CatalogError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(e) => panic!("{e:?}"),
                }
            }
        }
    };
    table().await;
    open().await;
    let count = AtomicU64::new(0);
    let kills = if std::env::var_os("HAKIRI_LONG").is_some() { 100 } else { 12 };
    let figures = under_commits(kills, open, async || {
        let n = count.fetch_add(1, Ordering::SeqCst);
        let acts = [Act::CloseAfter, Act::CloseBefore, Act::StatusAfter(500), Act::Torn, Act::Late];
        let act = acts[usize::try_from(n).unwrap() % acts.len()];
        let mut left = 4;
        proxy.rule(move |seen| {
            let hit = seen.operation == "TransactWriteItems" && left > 0;
            left -= i32::from(hit);
            if hit { act } else { Act::Pass }
        });
        // Until the workers met it and got on, however slow the machine is.
        while proxy.count("TransactWriteItems") < 40 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    eprintln!("{figures}");
}
