//! What the records of any real backend must give besides the suite's cases, which see them through the rules only.

use std::time::{Duration, Instant};

use hakiri_catalog::conformance::fixture::{pipeline, run, run_of};
use hakiri_catalog::records::{Batch, Records, Scan, Written};
use hakiri_catalog::{Catalog, CatalogError};
use hakiri_core::id::PipelineId;

pub fn put(key: &str, text: &str) -> Batch {
    Batch { put: vec![(key.to_owned(), text.to_owned())], ..Batch::default() }
}

pub async fn version(records: &impl Records, key: &str) -> Option<i64> {
    records.read(&[key.to_owned()]).await.unwrap().entries[0].as_ref().map(|e| e.version)
}

pub async fn keys_are_ordered_by_bytes_and_bounds_may_hold_a_nul(records: &impl Records) {
    // In UTF-16, U+10000 comes before U+FF5E.
    let mut keys = ["B", "a", "a\u{1}", "aB", "ab", "é", "日", "\u{ff5e}", "\u{10000}", "b"].map(str::to_owned);
    for key in &keys {
        assert_eq!(records.write(&put(key, key)).await, Ok(Written::Done));
    }
    keys.sort();
    let scan = async |from: &str, to: &str, reverse: bool| {
        let scan = Scan { from: from.to_owned(), to: to.to_owned(), reverse, limit: 100, bytes: 1 << 20 };
        records.scan(&scan).await.unwrap().entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(scan("", "\u{10ffff}", false).await, keys);
    let mut backwards = scan("", "\u{10ffff}", true).await;
    backwards.reverse();
    assert_eq!(backwards, keys);
    for from in ["a", "a\0", "a\0b", "a\u{1}", "a\u{1}\0", "", "\0", "é\0"] {
        for to in ["a", "a\0", "ab", "ab\0x", "\0", "\u{10ffff}"] {
            let expected: Vec<_> = keys.iter().filter(|k| k.as_str() >= from && k.as_str() < to).cloned().collect();
            assert_eq!(scan(from, to, false).await, expected, "{from:?}..{to:?}");
        }
    }
}

pub async fn a_page_ends_where_its_bytes_do(records: &impl Records) {
    for i in 0..6 {
        records.write(&put(&format!("k{i}"), &"é".repeat(500))).await.unwrap();
    }
    for reverse in [false, true] {
        let scan = async |limit: usize, bytes: usize| {
            let scan = Scan { from: "k".to_owned(), to: "l".to_owned(), reverse, limit, bytes };
            let page = records.scan(&scan).await.unwrap();
            (page.entries.len(), page.more)
        };
        assert_eq!(scan(6, 1 << 20).await, (6, false));
        assert_eq!(scan(5, 1 << 20).await, (5, true));
        assert_eq!(scan(100, 6000).await, (6, false));
        assert_eq!(scan(100, 5001).await, (6, false));
        assert_eq!(scan(100, 5000).await, (5, true));
        assert_eq!(scan(100, 1).await, (1, true));
        assert_eq!(scan(usize::MAX, usize::MAX).await, (6, false));
    }
}

pub async fn texts_of_many_mebibytes_come_back(records: &impl Records) {
    // Not compressible to a few bytes, and of several bytes a character.
    let text: String =
        (0..4_000_000_u32).filter_map(|i| char::from_u32(0x100 + i.wrapping_mul(2_654_435_761) % 0x800)).collect();
    assert!(text.len() > 7_000_000);
    assert_eq!(records.write(&put("big", &text)).await, Ok(Written::Done));
    let read = records.read(&["big".to_owned()]).await.unwrap();
    assert!(read.entries[0].as_ref().unwrap().text == text);
}

pub async fn of_two_that_expect_each_others_key_to_be_absent_one_is_refused(one: &impl Records, two: &impl Records) {
    for i in 0..100 {
        let (a, b) = (format!("a{i}"), format!("b{i}"));
        let crossing = |absent: &str, new: &str| Batch { expect: vec![(absent.to_owned(), None)], ..put(new, "x") };
        let (first, second) = (crossing(&a, &b), crossing(&b, &a));
        let (first, second) = tokio::join!(one.write(&first), two.write(&second));
        let mut both = [first.unwrap(), second.unwrap()];
        both.sort_by_key(|w| *w == Written::Done);
        assert_eq!(both, [Written::Conflict, Written::Done], "round {i}");
    }
}

pub async fn a_version_never_comes_again(records: &impl Records) {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        records.write(&put("k", "x")).await.unwrap();
        assert!(seen.insert(version(records, "k").await.unwrap()));
        records.write(&Batch { delete: vec!["k".to_owned(), "none".to_owned()], ..Batch::default() }).await.unwrap();
        assert_eq!(version(records, "k").await, None);
    }
    // A refused write takes no number and changes nothing.
    let refused = Batch { expect: vec![("k".to_owned(), Some(1))], ..put("k", "y") };
    assert_eq!(records.write(&refused).await, Ok(Written::Conflict));
    assert_eq!(version(records, "k").await, None);
    // The last of several texts for a key counts, and what is deleted as well is gone.
    let twice = Batch {
        put: ["x", "y", "z"].iter().flat_map(|text| put("k", text).put).chain(put("l", "x").put).collect(),
        delete: vec!["l".to_owned()],
        ..Batch::default()
    };
    assert_eq!(records.write(&twice).await, Ok(Written::Done));
    let read = records.read(&["k".to_owned(), "l".to_owned()]).await.unwrap().entries;
    assert_eq!((read[0].as_ref().map(|e| e.text.as_str()), read[1].as_ref()), (Some("z"), None));
}

/// A lease keeps others away, and one that has lapsed does not: by the time of whoever keeps the catalog.
pub async fn held_and_lapsed(catalog: &dyn Catalog) {
    // So long that nothing here takes longer.
    catalog.acquire(&pipeline(), &run(1), 600_000).await.unwrap();
    let held = catalog.acquire(&pipeline(), &run(2), 600_000).await;
    assert!(matches!(held, Err(CatalogError::Held { .. })), "{held:?}");
    let other: PipelineId = "other".parse().unwrap();
    let begun = Instant::now();
    catalog.acquire(&other, &run_of(&other, 1), 400).await.unwrap();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not lapse");
        match catalog.acquire(&other, &run_of(&other, 2), 600_000).await {
            Err(CatalogError::Held { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            lease => break assert_eq!(lease.unwrap().epoch, 2),
        }
    }
    // The clocks are of one machine, and tell milliseconds.
    assert!(begun.elapsed() > Duration::from_millis(390), "it lapsed too early");
}
