//! What writing a generation would do to each file of its folder. Pure: the folder is passed in.

use std::collections::BTreeMap;

use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::{Error, Result};
use serde::Serialize;

use super::diff;
use super::files::Files;
use super::lock::Lock;

/// What would happen to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is not there.
    Create,
    /// It is there as generated earlier, and now differs.
    Change,
    /// It is as it should be.
    Same,
    /// It is no longer generated.
    Remove,
    /// It was changed by hand, or was never generated: only `--force` overwrites it.
    Edited,
    /// It is no longer generated and was changed by hand: it stays.
    Keep,
}

/// A file and what would happen to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its path in the folder.
    pub path: String,
    /// What would happen.
    pub change: Kind,
    /// The difference.
    #[serde(skip)]
    pub diff: String,
}

/// Compares. `disk` holds what is there under the paths of the new files and of the lock.
pub fn changes(new: &Files, lock: Option<&Lock>, disk: &BTreeMap<String, Vec<u8>>) -> Vec<Change> {
    let generated = |path: &str| lock.and_then(|l| l.files.get(path));
    let mut out = Vec::new();
    for (path, file) in new.iter() {
        let old = disk.get(path);
        let change = match old {
            None => Kind::Create,
            Some(old) if *old == file.bytes => Kind::Same,
            Some(old) if generated(path) == Some(&Hash::of(old)) => Kind::Change,
            Some(_) => Kind::Edited,
        };
        out.push(Change {
            path: path.to_owned(),
            change,
            diff: diff::unified(path, old.map(Vec::as_slice), Some(&file.bytes)),
        });
    }
    for path in lock.iter().flat_map(|l| l.files.keys()).filter(|path| new.get(path).is_none()) {
        let Some(old) = disk.get(path) else { continue };
        let change = if generated(path) == Some(&Hash::of(old)) { Kind::Remove } else { Kind::Keep };
        let diff = if change == Kind::Remove { diff::unified(path, Some(old), None) } else { String::new() };
        out.push(Change { path: path.clone(), change, diff });
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

/// Whether anything is to be written.
pub fn differs(changes: &[Change]) -> bool {
    changes.iter().any(|c| !matches!(c.change, Kind::Same | Kind::Keep))
}

/// Refuses to overwrite what somebody changed.
///
/// # Errors
/// `HK1203` with the files.
pub fn refuse_edits(changes: &[Change]) -> Result<()> {
    let edited: Vec<&str> = changes.iter().filter(|c| c.change == Kind::Edited).map(|c| c.path.as_str()).collect();
    if edited.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::DeployEdited, format!("not as it was generated: {}", edited.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_meets_the_fate_its_history_calls_for() {
        let mut old = Files::default();
        for path in ["changed", "edited", "gone", "obsolete", "obsolete-edited", "same"] {
            old.add(path, "old").unwrap();
        }
        let lock = Lock::of("t", "p", None, &old);
        let mut new = Files::default();
        for (path, text) in [
            ("changed", "new"),
            ("created", "new"),
            ("edited", "new"),
            ("foreign", "new"),
            ("gone", "old"),
            ("same", "old"),
            ("written", "new"),
        ] {
            new.add(path, text).unwrap();
        }
        // `written` is there as it should be though no lock names it: an earlier attempt ended between file and lock.
        let disk = [
            ("changed", "old"),
            ("edited", "mine"),
            ("foreign", "mine"),
            ("obsolete", "old"),
            ("obsolete-edited", "mine"),
            ("same", "old"),
            ("written", "new"),
        ];
        let disk = disk.into_iter().map(|(p, t)| (p.to_owned(), t.as_bytes().to_vec())).collect();
        let found = changes(&new, Some(&lock), &disk);
        let kinds: Vec<(&str, Kind)> = found.iter().map(|c| (c.path.as_str(), c.change)).collect();
        assert_eq!(
            kinds,
            [
                ("changed", Kind::Change),
                ("created", Kind::Create),
                ("edited", Kind::Edited),
                ("foreign", Kind::Edited),
                ("gone", Kind::Create),
                ("obsolete", Kind::Remove),
                ("obsolete-edited", Kind::Keep),
                ("same", Kind::Same),
                ("written", Kind::Same),
            ]
        );
        assert!(differs(&found));
        assert!(refuse_edits(&found).unwrap_err().message().ends_with("edited, foreign"));
    }
}
