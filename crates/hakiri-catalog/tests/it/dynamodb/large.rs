//! Writes that do not fit into one transaction, interrupted at each of their steps.

use hakiri_catalog::dynamodb;
use hakiri_catalog::records::{Batch, Records, Scan, Written};
use hakiri_catalog::{CatalogError, CatalogResult};
use hakiri_sim::aws::shared;

use super::proxy::{Act, Proxy};
use super::{open, partition, settings, table};
use crate::database::project;
use crate::ports::{put, version};

/// Changes 250 keys and deletes one.
fn large(text: &str) -> Batch {
    let put = (0..250).map(|n| (format!("k{n:03}"), text.to_owned())).collect();
    Batch { expect: vec![("gone".to_owned(), Some(1))], put, delete: vec!["gone".to_owned()] }
}

async fn texts(records: &impl Records) -> Vec<(String, String)> {
    records.scan(&Scan::new("", None, 1000, false)).await.unwrap().entries
}

fn is_open(outcome: &CatalogResult<Written>) -> bool {
    matches!(outcome, Err(CatalogError::OutcomeUnknown(_)))
}

/// Lets the `n`-th transaction go wrong, and with `dead` all requests after it too.
async fn interrupted(n: usize, act: Act, dead: bool) -> (String, CatalogResult<Written>, usize) {
    table().await;
    let (proxy, project) = (Proxy::start().await, project());
    let catalog = open(&proxy.url, &project).await;
    assert_eq!(catalog.records().write(&put("gone", "x")).await, Ok(Written::Done));
    let mut count = 0;
    proxy.rule(move |seen| {
        count += usize::from(seen.operation == "TransactWriteItems");
        match count {
            _ if count == n && seen.operation == "TransactWriteItems" => act,
            _ if dead && count >= n => Act::CloseBefore,
            _ => Act::Pass,
        }
    });
    let outcome = catalog.records().write(&large("new")).await;
    let transactions = proxy.count("TransactWriteItems");
    (project, outcome, transactions)
}

#[tokio::test]
async fn a_large_write_is_there_wholly_or_not_at_all_wherever_it_ends() {
    // Three to lay aside, one that commits, three to carry out, one to finish, three to forget.
    let (project, outcome, transactions) = interrupted(0, Act::Pass, false).await;
    assert_eq!((outcome, transactions), (Ok(Written::Done), 11));
    assert!(partition(&project, "batches").await.is_empty());
    for act in [Act::CloseBefore, Act::CloseAfter] {
        for n in 1..=11 {
            let (project, outcome, _) = interrupted(n, act, true).await;
            let committed = n > 4 || (n == 4 && act == Act::CloseAfter);
            match n {
                1..=3 => assert!(matches!(outcome, Err(CatalogError::Unavailable { .. })), "{n}: {outcome:?}"),
                4..=8 => assert!(is_open(&outcome), "{n}: {outcome:?}"),
                _ => assert_eq!(outcome, Ok(Written::Done), "{n}"),
            }
            // Another process, which knows nothing of it; each in another way.
            let another = open(&shared(), &project).await;
            let records = another.records();
            let reader = dynamodb::open_reader(settings(&shared(), &project)).await.unwrap();
            match n % 3 {
                0 => drop(texts(reader.records()).await),
                1 => assert_eq!(version(reader.records(), "k249").await.is_some(), committed, "{n} {act:?}"),
                _ => assert_eq!(records.write(&put("other", "x")).await, Ok(Written::Done)),
            }
            let mut found = texts(records).await;
            found.retain(|(key, _)| key != "other");
            let gone = found.iter().any(|(key, _)| key == "gone");
            assert_eq!((found.len(), gone), if committed { (250, false) } else { (1, true) }, "{n} {act:?}");
            // The next ones find their way, and clear away what was left: the first may have to leave what could still
            // become the same revision.
            for _ in 0..2 {
                let batch = Batch { expect: Vec::new(), ..large("newer") };
                assert_eq!(records.write(&batch).await, Ok(Written::Done), "{n} {act:?}");
            }
            assert!(texts(records).await.iter().all(|(key, text)| text == "newer" || key == "other"));
            let left = partition(&project, "batches").await;
            assert!(left.is_empty(), "{n} {act:?}: {}", left.len());
        }
    }
}

#[tokio::test]
async fn a_step_that_goes_wrong_once_is_done_again() {
    for act in [Act::CloseAfter, Act::StatusAfter(500), Act::Reason("TransactionConflict"), Act::Torn] {
        for n in [1, 2, 3, 5, 6, 7, 8] {
            let (project, outcome, _) = interrupted(n, act, false).await;
            assert_eq!(outcome, Ok(Written::Done), "{n} {act:?}");
            assert_eq!(texts(open(&shared(), &project).await.records()).await.len(), 250);
        }
    }
}

#[tokio::test]
async fn a_reader_that_may_not_finish_a_large_write_says_so() {
    let (project, outcome, _) = interrupted(5, Act::CloseBefore, true).await;
    assert!(is_open(&outcome), "{outcome:?}");
    let proxy = Proxy::start().await;
    proxy.on("TransactWriteItems", Act::Exception("AccessDeniedException"));
    let reader = dynamodb::open_reader(settings(&proxy.url, &project)).await.unwrap();
    let read = reader.records().read(&["k000".to_owned()]).await;
    let Err(CatalogError::Unavailable { reason, retry_after: 5 }) = read else { panic!("{read:?}") };
    assert!(reason.contains("left unfinished"), "{reason}");
    assert!(version(open(&shared(), &project).await.records(), "k000").await.is_some());
    assert!(version(reader.records(), "k000").await.is_some());
}

/// Large and small writes of several processes: each large one is seen whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_large_writes_are_seen_whole() {
    let project = project();
    open(&shared(), &project).await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let project = project.clone();
            tokio::spawn(async move {
                let catalog = open(&shared(), &project).await;
                for n in 0..3 {
                    let batch = Batch { expect: Vec::new(), delete: Vec::new(), ..large(&format!("{writer}.{n}")) };
                    assert_eq!(catalog.records().write(&batch).await, Ok(Written::Done));
                    let key = format!("small{writer}");
                    assert_eq!(catalog.records().write(&put(&key, "x")).await, Ok(Written::Done));
                }
            })
        })
        .collect();
    let catalog = open(&shared(), &project).await;
    let ends = ["k000".to_owned(), "k100".to_owned(), "k249".to_owned()];
    let mut looks = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let seen = catalog.records().read(&ends).await.unwrap().entries;
        let texts: Vec<_> = seen.iter().map(|entry| entry.as_ref().map(|e| e.text.as_str())).collect();
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        looks += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(looks > 2, "{looks}");
    assert_eq!(texts(catalog.records()).await.len(), 254);
}
