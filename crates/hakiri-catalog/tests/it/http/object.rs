//! What is particular to the object: how texts lie in its rows, how it ends, what it refuses.

use std::collections::BTreeSet;

use hakiri_catalog::conformance::fixture::{dump, pipeline, run, whole};
use hakiri_catalog::http::{self, Http};
use hakiri_catalog::records::{Batch, Records, Scan, Written};
use hakiri_catalog::{Catalog, CatalogError, RecordCatalog};

use super::Object;
use crate::ports::{self, put, version};

async fn opened() -> (Object, RecordCatalog<Http>) {
    let object = Object::new();
    let catalog = http::open(&object.url(), None, "me").await.unwrap();
    (object, catalog)
}

#[tokio::test]
async fn eight_who_open_at_once_create_one_catalog() {
    let object = Object::new();
    let opening: Vec<_> = (0..8)
        .map(|i| {
            let url = object.url();
            tokio::spawn(async move { http::open(&url, None, &format!("made by {i}")).await.unwrap() })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for catalog in opening {
        ids.insert(catalog.await.unwrap().info().await.unwrap().id);
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn a_reader_creates_nothing() {
    let object = Object::new();
    for _ in 0..2 {
        let opened = http::open_reader(&object.url(), None).await;
        assert!(matches!(opened, Err(CatalogError::NotFound(_))), "{opened:?}");
    }
    let catalog = http::open(&object.url(), None, "me").await.unwrap();
    whole(&catalog, 1, 1).await.unwrap();
    let reading = http::open_reader(&object.url(), None).await.unwrap();
    assert_eq!(reading.info().await.unwrap().id, "me");
    assert_eq!(reading.info().await.unwrap().adapter, "durable-object");
    assert_eq!(dump(&reading).await, dump(&catalog).await);
}

#[tokio::test]
async fn a_newer_catalog_is_left_alone() {
    let (object, before) = opened().await;
    object.door("sql", "UPDATE catalog SET version = 2").await;
    let newer = Some(CatalogError::Newer { found: 2, known: 1 });
    assert_eq!(http::open(&object.url(), None, "x").await.err(), newer);
    assert_eq!(http::open_reader(&object.url(), None).await.err(), newer);
    assert_eq!(before.info().await.err(), newer);
    assert_eq!(before.acquire(&pipeline(), &run(1), 60_000).await.err(), newer);
    assert_eq!(before.records().write(&put("k", "x")).await.err(), newer);
    object.door("sql", "UPDATE catalog SET version = 1").await;
    assert_eq!(dump(&before).await, []);
}

#[tokio::test]
async fn another_catalog_in_its_place_is_noticed() {
    let (object, catalog) = opened().await;
    object.door("sql", "UPDATE catalog SET id = 'another'").await;
    let info = catalog.info().await;
    assert!(matches!(info, Err(CatalogError::Corrupt(_))), "{info:?}");
}

#[tokio::test]
async fn keys_are_ordered_by_bytes_and_bounds_may_hold_a_nul() {
    ports::keys_are_ordered_by_bytes_and_bounds_may_hold_a_nul(opened().await.1.records()).await;
}

#[tokio::test]
async fn a_page_ends_where_its_bytes_do() {
    ports::a_page_ends_where_its_bytes_do(opened().await.1.records()).await;
}

#[tokio::test]
async fn texts_of_many_mebibytes_come_back() {
    ports::texts_of_many_mebibytes_come_back(opened().await.1.records()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_expect_each_others_key_to_be_absent_one_is_refused() {
    let (object, one) = opened().await;
    let two = http::open(&object.url(), None, "x").await.unwrap();
    ports::of_two_that_expect_each_others_key_to_be_absent_one_is_refused(one.records(), two.records()).await;
}

#[tokio::test]
async fn a_version_never_comes_again() {
    ports::a_version_never_comes_again(opened().await.1.records()).await;
}

#[tokio::test]
async fn versions_above_what_a_double_holds_stay_apart() {
    let (object, catalog) = opened().await;
    let records = catalog.records();
    // 2^53 is the first whose successor a double cannot hold.
    object.door("sql", "UPDATE catalog SET revision = '9007199254740992'").await;
    for n in 0..4 {
        let before = version(records, "k").await;
        let swap = Batch { expect: vec![("k".to_owned(), before)], ..put("k", "x") };
        assert_eq!(records.write(&swap).await, Ok(Written::Done));
        assert_eq!(version(records, "k").await, Some(9_007_199_254_740_993 + n));
        assert_eq!(records.write(&swap).await, Ok(Written::Conflict));
    }
}

#[tokio::test]
async fn a_long_text_lies_in_parts_that_end_between_characters() {
    const PART: usize = 256 << 10;
    let (object, catalog) = opened().await;
    let records = catalog.records();
    // The rows of the record: how many, and the most bytes of one.
    let rows =
        async || object.door("sql", "SELECT count(*), max(octet_length(text)) FROM records WHERE key = 'k'").await;
    for (text, expected) in [
        (String::new(), "[[1,0]]".to_owned()),
        ("x".repeat(PART), format!("[[1,{PART}]]")),
        ("x".repeat(PART + 1), format!("[[2,{PART}]]")),
        // The most bytes a code unit can take.
        ("日".repeat(PART), format!("[[1,{}]]", 3 * PART)),
        ("🦀".repeat(PART / 2), format!("[[1,{}]]", 2 * PART)),
        // A pair would be cut: its part ends before it.
        ("x".to_owned() + &"🦀".repeat(PART / 2), format!("[[2,{}]]", 2 * PART - 3)),
        ("x".to_owned() + &"🦀".repeat(3 * PART / 2), format!("[[4,{}]]", 2 * PART)),
        // A shorter text leaves no part of the longer one behind.
        ("short".to_owned(), "[[1,5]]".to_owned()),
    ] {
        assert_eq!(records.write(&put("k", &text)).await, Ok(Written::Done));
        assert_eq!(rows().await, expected);
        let entry = records.read(&["k".to_owned()]).await.unwrap().entries.remove(0).unwrap();
        assert!(entry.text == text, "{expected}");
        for reverse in [false, true] {
            let scan = Scan { from: "k".to_owned(), to: "l".to_owned(), reverse, limit: 10, bytes: 1 << 30 };
            let page = records.scan(&scan).await.unwrap();
            assert!(page.entries == [("k".to_owned(), text.clone())] && !page.more, "{expected}");
        }
    }
    records.write(&put("k", &"x".repeat(3 * PART))).await.unwrap();
    records.write(&Batch { delete: vec!["k".to_owned()], ..Batch::default() }).await.unwrap();
    assert_eq!(rows().await, "[[0,null]]");
}

#[tokio::test]
async fn a_record_that_is_not_whole_is_corrupt() {
    let (object, catalog) = opened().await;
    let records = catalog.records();
    for damage in [
        "DELETE FROM records WHERE part = 0",
        "DELETE FROM records WHERE part = 1",
        "UPDATE records SET version = '99' WHERE part = 2",
        "DROP TABLE records",
    ] {
        records.write(&put("k", &"x".repeat(1 << 20))).await.unwrap();
        object.door("sql", damage).await;
        for result in [
            records.read(&["k".to_owned()]).await.map(drop),
            records.scan(&Scan::new("", None, 10, false)).await.map(drop),
        ] {
            let Err(CatalogError::Corrupt(message)) = result else { panic!("{damage}: {result:?}") };
            assert!(message.len() < 100, "{message}");
        }
    }
}

#[tokio::test]
async fn a_write_that_fails_half_way_leaves_nothing() {
    let (object, catalog) = opened().await;
    let records = catalog.records();
    let trap =
        "CREATE TRIGGER trap BEFORE INSERT ON records WHEN NEW.key = 'boom' BEGIN SELECT RAISE(ABORT, 'no'); END";
    object.door("sql", trap).await;
    let batch = Batch { put: [put("a", "x").put, put("boom", "x").put].concat(), ..Batch::default() };
    let outcome = records.write(&batch).await;
    assert!(matches!(outcome, Err(CatalogError::Unavailable { retry_after: 5, .. })), "{outcome:?}");
    assert_eq!(version(records, "a").await, None);
    assert_eq!(object.door("sql", "SELECT revision FROM catalog").await, r#"[["0"]]"#);
}

#[tokio::test]
async fn an_object_that_ends_under_a_write_leaves_the_outcome_open() {
    for (when, happened) in [("before", false), ("after", true)] {
        let (object, catalog) = opened().await;
        object.door("break", when).await;
        let outcome = catalog.records().write(&put("k", "x")).await;
        assert!(matches!(outcome, Err(CatalogError::OutcomeUnknown(_))), "{outcome:?}");
        // The caller reads, and finds whether it did.
        assert_eq!(version(catalog.records(), "k").await.is_some(), happened);
        object.door("break", when).await;
        let read = catalog.records().read(&["k".to_owned()]).await;
        assert!(matches!(read, Err(CatalogError::Unavailable { retry_after: 5, .. })), "{read:?}");
    }
}

#[tokio::test]
async fn leases_expire_by_the_objects_own_clock() {
    let (_object, catalog) = opened().await;
    let clock = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        i64::try_from(since.as_millis()).unwrap()
    };
    let (before, now, after) = (clock(), catalog.info().await.unwrap().now.millis(), clock());
    assert!((before - 1..=after + 1).contains(&now), "{before} {now} {after}");
    ports::held_and_lapsed(&catalog).await;
}

#[tokio::test]
async fn a_request_is_understood_wholly_or_refused() {
    let (object, catalog) = opened().await;
    let read = r#"{"keys":["k"]}"#;
    for (path, protocol, body, status, says) in [
        ("v1/read", "2", read.as_bytes(), 400, "version 1 of the catalog's protocol"),
        ("v1/read", "", read.as_bytes(), 400, "version 1 of the catalog's protocol"),
        ("v1/drop", "1", read.as_bytes(), 404, "no such method"),
        ("v2/read", "1", read.as_bytes(), 404, "no such method"),
        ("v1/read", "1", b"", 400, "no JSON"),
        ("v1/read", "1", br#"{"keys":["k"#, 400, "no JSON"),
        ("v1/read", "1", b"{\"keys\":[\"\xff\"]}", 400, "no JSON"),
        ("v1/read", "1", b"\xef\xbb\xbf{\"keys\":[]}", 400, "no JSON"),
    ] {
        let (answered, text) = object.post(path, protocol, body.to_vec()).await;
        assert!(answered == status && text.contains("\"refused\"") && text.contains(says), "{path}: {answered} {text}");
    }
    let large = format!("{{\"keys\":[\"{}\"]}}", "x".repeat(32 << 20));
    assert_eq!(object.post("v1/read", "1", large).await.0, 413);
    let many = format!("{{\"keys\":[{}\"\"]}}", "\"\",".repeat(10_000));
    assert_eq!(object.post("v1/read", "1", many).await.0, 400);
    // And the client does not even send it.
    let refused = catalog.records().write(&put("k", &"x".repeat(32 << 20))).await;
    assert!(
        matches!(&refused, Err(CatalogError::Unavailable { reason, retry_after: 0 }) if reason.contains("larger")),
        "{refused:?}"
    );
    assert_eq!(catalog.records().write(&put("k", &"x".repeat(30 << 20))).await, Ok(Written::Done));
    assert_eq!(catalog.records().write(&put("l", &"x".repeat(30 << 20))).await, Ok(Written::Done));
    let both = catalog.records().read(&["k".to_owned(), "l".to_owned()]).await;
    assert!(
        matches!(&both, Err(CatalogError::Unavailable { reason, retry_after: 0 }) if reason.contains("too large")),
        "{both:?}"
    );
}
