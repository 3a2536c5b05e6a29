//! C10: pages, and records of every size and language.

use hakiri_core::catalog::{
    Audit, Catalog, CatalogError, ExportPage, Key, Kind, PageRequest, Record, RunRecord, RunReport, RunStatus,
};
use hakiri_core::step::StepStatus;
use serde_json::json;

use super::Setup;
use super::fixture::*;

async fn settings(catalog: &dyn Catalog, count: usize) -> Vec<Key> {
    let keys: Vec<Key> = (0..count).map(|i| Key::setting(&format!("s{i:05}"))).collect();
    let entries = keys.iter().enumerate().map(|(i, key)| (key.clone(), Record::Setting(json!(i)))).collect();
    catalog.import(&ExportPage { entries, next: None }).await.unwrap();
    keys
}

async fn pages(catalog: &dyn Catalog, limit: usize, newest_first: bool) -> (Vec<Key>, usize) {
    let (mut keys, mut count) = (Vec::<Key>::new(), 0);
    loop {
        let after = keys.last().cloned();
        let page = catalog
            .list(&PageRequest { kind: Kind::Setting, prefix: Vec::new(), after, limit, newest_first })
            .await
            .unwrap();
        assert!(page.entries.len() <= limit.clamp(1, 1000));
        count += 1;
        keys.extend(page.entries.into_iter().map(|(key, _)| key));
        if !page.more {
            return (keys, count);
        }
    }
}

pub async fn a_listing_is_paged(setup: &dyn Setup) {
    let bench = setup.bench().await;
    assert_eq!(pages(&*bench.catalog, 10, false).await, (Vec::new(), 1));
    let all = settings(&*bench.catalog, 1500).await;
    assert_eq!(pages(&*bench.catalog, 500, false).await, (all.clone(), 3));
    assert_eq!(pages(&*bench.catalog, 499, false).await.0, all);
    // Never more than a thousand, whatever is asked for, and never none.
    assert_eq!(pages(&*bench.catalog, usize::MAX, false).await, (all.clone(), 2));
    assert_eq!(pages(&*bench.catalog, 0, false).await, (all, 1500));
}

pub async fn a_listing_goes_backwards(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let mut all = settings(&*bench.catalog, 25).await;
    all.reverse();
    assert_eq!(pages(&*bench.catalog, 10, true).await, (all, 3));
}

pub async fn a_listing_keeps_to_its_prefix(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let keys: Vec<Key> = [["a", "x"], ["a", "y"], ["a-b", "x"], ["a\u{1}", "x"], ["aa", "x"], ["", "x"], ["b", ""]]
        .iter()
        .map(|parts| Key { kind: Kind::Setting, parts: parts.iter().map(|p| (*p).to_owned()).collect() })
        .collect();
    let entries = keys.iter().map(|key| (key.clone(), Record::Setting(json!(key.parts)))).collect();
    bench.catalog.import(&ExportPage { entries, next: None }).await.unwrap();
    for first in ["a", "a-b", "a\u{1}", "aa", "", "b", "c"] {
        let expected: Vec<_> =
            keys.iter().filter(|k| k.parts[0] == first).map(|k| (k.clone(), Record::Setting(json!(k.parts)))).collect();
        assert_eq!(list(&*bench.catalog, Kind::Setting, &[first]).await, expected, "{first:?}");
    }
    assert_eq!(list(&*bench.catalog, Kind::Audit, &[]).await, Vec::new());
}

pub async fn ten_thousand_runs_are_listed_in_pages(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let record = |n: i64| {
        let report = RunReport {
            pipeline: pipeline(),
            run: run(n),
            tick: tick(n),
            seq: Some(n.unsigned_abs() + 1),
            status: RunStatus::Succeeded,
            started: tick(n),
            ended: Some(tick(n)),
            tables: Vec::new(),
        };
        (Key::run(&pipeline(), &run(n)), Record::Run(RunRecord { report, epoch: 1 }))
    };
    for chunk in 0..10 {
        let entries = (chunk * 1000..(chunk + 1) * 1000).map(record).collect();
        bench.catalog.import(&ExportPage { entries, next: None }).await.unwrap();
    }
    let all = list(&*bench.catalog, Kind::Run, &["crm"]).await;
    assert_eq!(all.len(), 10_000);
    // Runs are named by their ticks: newest last.
    assert_eq!((&all[0], &all[9_999]), (&record(0), &record(9_999)));
    let page =
        PageRequest { kind: Kind::Run, prefix: vec!["crm".to_owned()], after: None, limit: 20, newest_first: true };
    let newest = bench.catalog.list(&page).await.unwrap();
    assert!(newest.more);
    assert_eq!(newest.entries, (9_980..10_000).rev().map(record).collect::<Vec<_>>());
}

pub async fn a_plan_of_a_mebibyte(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let lease = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    let mut big = plan(&head(&*bench.catalog).await, 1, 4);
    for step in &mut big.steps {
        step.source = json!({ "files": "ä🦀\"\\".repeat(40_000) });
    }
    assert!(serde_json::to_vec(&big).unwrap().len() > 1 << 20);
    bench.catalog.put_plan(&big, lease.epoch).await.unwrap();
    assert_eq!((bench.reopen)().get(&Key::plan(&pipeline(), &run(1))).await.unwrap(), Some(Record::Plan(big)));
}

pub async fn a_step_record_of_a_mebibyte(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 8).await;
    for step in 0..8 {
        claim(&*bench.catalog, 1, lease.epoch, step, "w").await.unwrap();
        let mut record = working(step, "w", 0);
        record.progress = Some(json!({ "seen": "x".repeat(1 << 20) }));
        let stored = bench.catalog.report_step(&says(1, lease.epoch, "w", record)).await.unwrap();
        assert_eq!(step_record(&*bench.catalog, 1, step).await, stored);
        assert!(matches!(stored.status, StepStatus::Claimed { .. }));
    }
    // A page is bounded by bytes as well, and still all of them come.
    assert_eq!(list(&*bench.catalog, Kind::Step, &["crm"]).await.len(), 8);
    assert!(dump(&*bench.catalog).await.len() > 8);
}

pub async fn a_thousand_steps(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1000).await;
    assert_eq!(list(&*bench.catalog, Kind::Step, &["crm", run(1).as_str()]).await.len(), 1000);
    claim(&*bench.catalog, 1, lease.epoch, 999, "w").await.unwrap();
}

pub async fn two_hundred_tables_in_one_commit(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    let tables = (0..200).map(|i| table_commit(&format!("crm_{i}"), 1, 1)).collect();
    let committed = bench.catalog.commit(&commit_of(&plan, lease.epoch, tables)).await.unwrap();
    assert_eq!(committed.head.tables.len(), 200);
    assert_eq!(head(&*bench.catalog).await, committed.head);
    assert_eq!(list(&*bench.catalog, Kind::Schema, &["crm"]).await.len(), 200);
}

pub async fn names_and_texts_of_any_language(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let texts = [
        "größe",
        "日本語",
        "🦀",
        "e\u{301}",
        "\u{e9}",
        "a\u{0}b",
        "\u{1}",
        "\u{2}\u{3}",
        "'; drop table records; --",
        "%_*",
        " ",
        "\\",
        "\u{10ffff}",
    ];
    for text in texts {
        let value = Record::Setting(json!({ text: [text] }));
        bench.catalog.append(&value, Some(&Key::setting(text))).await.unwrap();
        assert_eq!((bench.reopen)().get(&Key::setting(text)).await.unwrap(), Some(value));
    }
    let mut sorted: Vec<_> = texts.map(Key::setting).to_vec();
    sorted.sort();
    let listed: Vec<_> = list(&*bench.catalog, Kind::Setting, &[]).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(listed, sorted);
}

pub async fn a_setting_is_created_once(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (key, value) = (Key::setting("marker"), Record::Setting(json!({ "id": "x", "f": 0.1 })));
    for _ in 0..2 {
        bench.catalog.append(&value, Some(&key)).await.unwrap();
    }
    let other = bench.catalog.append(&Record::Setting(json!(2)), Some(&key)).await;
    assert!(matches!(other, Err(CatalogError::Conflict(_))), "{other:?}");
    assert_eq!(bench.catalog.get(&key).await.unwrap(), Some(value));
}

fn audit(text: &str) -> Record {
    Record::Audit(Audit { action: text.to_owned(), pipeline: Some(pipeline()), at: None, detail: json!({}) })
}

pub async fn audit_entries_are_numbered_and_dated(setup: &dyn Setup) {
    let bench = setup.bench().await;
    for i in 0..12 {
        bench.catalog.append(&audit(&i.to_string()), None).await.unwrap();
    }
    let entries = list(&*bench.catalog, Kind::Audit, &["crm"]).await;
    let now = bench.catalog.info().await.unwrap().now;
    for (i, (_, record)) in entries.iter().enumerate() {
        let Record::Audit(entry) = record else { panic!("{record:?}") };
        assert_eq!(entry.action, i.to_string());
        assert!(entry.at.is_some_and(|at| at <= now));
    }
    assert_eq!(entries.len(), 12);
}

pub async fn racing_audit_entries_are_all_kept(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let tasks: Vec<_> = (0..6)
        .map(|worker| {
            let catalog = (bench.reopen)();
            tokio::spawn(async move {
                for i in 0..10 {
                    catalog.append(&audit(&format!("{worker}-{i}")), None).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut actions: Vec<_> =
        list(&*bench.catalog, Kind::Audit, &["crm"]).await.into_iter().map(|(_, r)| format!("{r:?}")).collect();
    actions.sort();
    actions.dedup();
    assert_eq!(actions.len(), 60);
}

pub async fn other_kinds_cannot_be_appended(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let head = Record::Head(head(&*bench.catalog).await);
    let setting = Record::Setting(json!(1));
    for (record, key) in [
        (&head, Some(Key::head(&pipeline()))),
        (&setting, None),
        (&setting, Some(Key::head(&pipeline()))),
        (&head, None),
    ] {
        let result = bench.catalog.append(record, key.as_ref()).await;
        assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
    }
    assert_eq!(dump(&*bench.catalog).await, Vec::new());
}

pub async fn what_is_not_there_is_none(setup: &dyn Setup) {
    let bench = setup.bench().await;
    for key in [Key::head(&pipeline()), Key::setting(""), Key::schema(&pipeline(), &table("t"), 1)] {
        assert_eq!(bench.catalog.get(&key).await.unwrap(), None);
    }
    assert_eq!(bench.catalog.export(None).await.unwrap(), ExportPage { entries: Vec::new(), next: None });
}
