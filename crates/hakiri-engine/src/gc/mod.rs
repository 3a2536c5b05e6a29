//! Which files may go (S11): a pure decision, and a thin shell that lists, asks and deletes.
//!
//! Contract: only files that Hakiri itself names by their hash, in folders it makes for them, and its own half-written
//! files are ever deleted; whatever else lies in a store is left alone. Files are listed first and the catalog is read
//! after, so that a commit in between names its files in time. A file younger than the grace period stays, since a run
//! whose commit is still to come wrote it; unfinished runs are exempt as a whole, however long they take.
//!
//! Since when a file is no longer named is the catalog's knowledge: the caller keeps files in [`Live::named`] until their
//! grace, which starts at the commit that stopped naming them, has passed.

mod live;

use std::collections::BTreeSet;
use std::future::Future;

use hakiri_core::Result;
use hakiri_core::id::{RunId, TableName};
use hakiri_core::layout::{STEPS, TABLES};
use hakiri_core::time::Instant;

use crate::store::{Store, StoredFile, TEMP};

/// What must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// Paths that a commit names, or that one stopped naming less than the grace period ago: manifests, parts, cursors.
    pub named: BTreeSet<String>,
    /// Unfinished runs: nothing in a folder of theirs goes.
    pub unfinished: BTreeSet<RunId>,
}

/// The files to delete, in the order of `files`.
pub fn plan_gc(files: &[StoredFile], live: &Live, now: Instant, grace_ms: i64) -> Vec<StoredFile> {
    let old = now.plus_millis(grace_ms.max(0).saturating_neg());
    files
        .iter()
        .filter(|file| match owner(&file.path) {
            Owner::Nobody => false,
            Owner::Run(run) if live.unfinished.contains(&run) => false,
            Owner::Run(_) | Owner::Us => file.modified < old && !live.named.contains(&file.path),
        })
        .cloned()
        .collect()
}

/// Lists the store, then asks `live` what must stay, then deletes the rest; with `dry_run` it only says what would go.
///
/// # Errors
/// Any error of the store or of `live`. What was deleted before it stays deleted; the next call goes on.
pub async fn collect<F, Fut>(
    store: &Store,
    live: F,
    now: Instant,
    grace_ms: i64,
    dry_run: bool,
) -> Result<Vec<StoredFile>>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<Live>>,
{
    let mut files = Vec::new();
    for folder in [STEPS, TABLES, TEMP] {
        files.extend(store.list(folder).await?);
    }
    let doomed = plan_gc(&files, &live().await?, now, grace_ms);
    if !dry_run {
        for file in &doomed {
            store.delete(&file.path).await?;
        }
    }
    Ok(doomed)
}

/// Whose a file is, by its path alone.
enum Owner {
    /// Not of a kind that is ever deleted.
    Nobody,
    /// A run's.
    Run(RunId),
    /// Ours, without a run: snapshots, half-written files.
    Us,
}

/// Follows `hakiri_core::layout`; what it does not recognise to the last digit is nobody's.
fn owner(path: &str) -> Owner {
    let segments: Vec<&str> = path.split('/').collect();
    let of_run = |run: &str, ours: bool| match run.parse::<RunId>() {
        Ok(run) if ours => Owner::Run(run),
        _ => Owner::Nobody,
    };
    match *segments.as_slice() {
        [TABLES, table, "runs", run, name] if table.parse::<TableName>().is_ok() => {
            of_run(run, is_data(name) || is_hashed(name, "cursor-", ".json"))
        }
        [TABLES, table, "snapshots", snapshot, name]
            if table.parse::<TableName>().is_ok() && is_snapshot(snapshot) && is_data(name) =>
        {
            Owner::Us
        }
        [STEPS, run, name] => of_run(run, is_numbered(name, "step-", 1, ".json") || is_read(name)),
        [TEMP, name] if name.starts_with("put-") && name.ends_with(".tmp") => Owner::Us,
        _ => Owner::Nobody,
    }
}

fn is_data(name: &str) -> bool {
    is_numbered(name, "part-", 2, ".parquet") || is_hashed(name, "manifest-", ".json")
}

/// `<start><hash><end>`.
fn is_hashed(name: &str, start: &str, end: &str) -> bool {
    name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)).is_some_and(is_hash)
}

/// `<start><number>-<number>-…<hash><end>` with so many numbers.
fn is_numbered(name: &str, start: &str, numbers: usize, end: &str) -> bool {
    let Some(rest) = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)) else { return false };
    let mut fields = rest.split('-');
    fields.by_ref().take(numbers).filter(|n| n.len() >= 5 && n.bytes().all(|b| b.is_ascii_digit())).count() == numbers
        && fields.next().is_some_and(is_hash)
        && fields.next().is_none()
}

/// `step-<number>-read-<number>-<hash>.zst`.
fn is_read(name: &str) -> bool {
    let of_step = name.strip_prefix("step-").and_then(|rest| rest.split_once("-read-"));
    of_step.is_some_and(|(step, rest)| {
        step.len() >= 5 && step.bytes().all(|b| b.is_ascii_digit()) && is_numbered(rest, "", 1, ".zst")
    })
}

fn is_snapshot(name: &str) -> bool {
    name.split_once('-')
        .is_some_and(|(seq, hash)| seq.len() >= 10 && seq.bytes().all(|b| b.is_ascii_digit()) && is_hash(hash))
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use hakiri_core::hash::Hash;
    use hakiri_core::layout;

    use super::*;

    const RUN: &str = "run-01HF7YAT00VSNDMVY55PWSWY7D";
    const OTHER: &str = "run-01HF7YAT00VSNDMVY55PWSWY7E";

    fn file(path: &str, modified: i64) -> StoredFile {
        StoredFile { path: path.to_owned(), size: 1, modified: Instant::from_millis(modified) }
    }

    /// Every path that `layout` makes for data.
    fn layout_paths(run: &str) -> Vec<String> {
        let (table, run, hash): (TableName, RunId, Hash) =
            ("crm_a".parse().unwrap(), run.parse().unwrap(), Hash::of(b"x"));
        let (folder, snapshot) = (layout::run(&table, &run), layout::snapshot(&table, 7, &hash));
        vec![
            layout::part(&folder, 0, 12, &hash),
            layout::part(&snapshot, 0, 0, &hash),
            layout::manifest(&folder, &hash),
            layout::manifest(&snapshot, &hash),
            layout::cursor(&table, &run, &hash),
            layout::step_result(&run, 3, &hash),
            layout::step_read(&run, 3, 12, &hash),
        ]
    }

    fn gone(paths: &[String], live: &Live, now: i64, grace: i64) -> Vec<String> {
        let files: Vec<StoredFile> = paths.iter().map(|p| file(p, 1_000)).collect();
        plan_gc(&files, live, Instant::from_millis(now), grace).into_iter().map(|f| f.path).collect()
    }

    #[test]
    fn what_no_commit_names_goes_after_its_grace() {
        let mut paths = layout_paths(RUN);
        paths.push(".tmp/put-Ab12Cd.tmp".to_owned());
        assert_eq!(gone(&paths, &Live::default(), 1_501, 500), paths);
        assert_eq!(
            gone(&paths, &Live::default(), 1_500, 500),
            Vec::<String>::new(),
            "at the end of its grace it is still there"
        );
        assert_eq!(gone(&paths, &Live::default(), 900, -5), Vec::<String>::new(), "clocks may differ");
        let live = Live { named: paths.iter().skip(1).cloned().collect(), ..Live::default() };
        assert_eq!(gone(&paths, &live, 9_000, 500), paths[..1]);
    }

    #[test]
    fn unfinished_runs_are_exempt() {
        let live = Live { unfinished: [RUN.parse().unwrap()].into(), ..Live::default() };
        let ours: Vec<String> = layout_paths(RUN).into_iter().filter(|p| p.contains(RUN)).collect();
        assert_eq!(ours.len(), 5);
        assert_eq!(gone(&ours, &live, 9_000, 0), Vec::<String>::new());
        let others: Vec<String> = layout_paths(OTHER).into_iter().filter(|p| p.contains(OTHER)).collect();
        assert_eq!(gone(&others, &live, 9_000, 0), others);
    }

    #[test]
    fn what_hakiri_did_not_name_is_never_deleted() {
        let hash = Hash::of(b"x");
        let short = hash.short();
        let strangers: Vec<String> = [
            "_hakiri.json".to_owned(),
            "heads/crm.json".to_owned(),
            "views/crm_a.sql".to_owned(),
            "tables/crm_a/schema.json".to_owned(),
            "tables/crm_a/schema-history.jsonl".to_owned(),
            "tables/crm_a/notes.txt".to_owned(),
            format!("tables/crm_a/runs/{RUN}/export.parquet"),
            format!("tables/crm_a/runs/{RUN}/part-00000-00000-{short}.parquet.bak"),
            format!("tables/crm_a/runs/{RUN}/part-00000-00000-{}.parquet", short.to_uppercase()),
            format!("tables/crm_a/runs/{RUN}/part-00000-{short}.parquet"),
            format!("tables/crm_a/runs/{RUN}/part-00000-00000-{short}-{short}.parquet"),
            format!("tables/crm_a/runs/backup/part-00000-00000-{short}.parquet"),
            format!("tables/crm a/runs/{RUN}/part-00000-00000-{short}.parquet"),
            format!("tables/crm_a/snapshots/mine/part-00000-00000-{short}.parquet"),
            format!("copy/tables/crm_a/runs/{RUN}/part-00000-00000-{short}.parquet"),
            format!("part-00000-00000-{short}.parquet"),
            format!("steps/{RUN}/other.json"),
            format!("steps/{RUN}/step-00003-read-{short}.zst"),
            format!("steps/{RUN}/step-3-read-00000-{short}.zst"),
            "steps/readme".to_owned(),
            ".tmp/lock".to_owned(),
            ".tmp/other.tmp".to_owned(),
            "Café ☕/x".to_owned(),
        ]
        .into();
        assert_eq!(gone(&strangers, &Live::default(), i64::MAX, 0), Vec::<String>::new());
    }

    #[tokio::test]
    async fn files_are_listed_before_the_catalog_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::local(dir.path(), "shop").unwrap();
        let stray = layout_paths(RUN).remove(0);
        store.put_new(&stray, "stray".into()).await.unwrap();
        let late = layout_paths(OTHER).remove(0);
        let far = Instant::from_millis(i64::MAX / 2);
        let live = || async {
            store.put_new(&late, "committed between listing and asking".into()).await.unwrap();
            Ok(Live::default())
        };
        let done = collect(&store, live, far, 0, true).await.unwrap();
        assert_eq!(done.iter().map(|f| &f.path).collect::<Vec<_>>(), [&stray]);
        assert!(store.get(&stray).await.unwrap().is_some(), "a dry run deletes nothing");
        let live = || async { Ok(Live { named: [late.clone()].into(), ..Live::default() }) };
        assert_eq!(collect(&store, live, far, 0, false).await.unwrap().len(), 1);
        assert!(store.get(&stray).await.unwrap().is_none() && store.get(&late).await.unwrap().is_some());
    }
}
