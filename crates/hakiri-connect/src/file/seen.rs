//! The cursor of a table of files: which files were read, by path, size and hash; and what is left to read.
//!
//! Pure decisions. A time stamp is never part of it: it changes when a file is copied, and does not when a tool sets
//! it back, so that two machines with equal files would read different things (P1).
//!
//! The hash is that of the content where files can be read in full at every plan, and of the service's entity tag where
//! they lie in a bucket ([`tag_hash`], ADR 0022).

use std::collections::{BTreeMap, BTreeSet};

use hakiri_core::canonical::to_canonical_json;
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::hash::Hash;
use hakiri_core::spec::OnMissing;
use hakiri_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The version of the cursor document.
const FORMAT: u32 = 1;

/// One file at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) sha256: Hash,
    /// The tag that the hash is of, where it is of one.
    pub(super) tag: Option<String>,
}

/// The hash of an entity tag: never that of any content.
pub(super) fn tag_hash(tag: &str) -> Hash {
    Hash::of_parts(&[b"entity tag", tag.as_bytes()])
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SeenFile {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) sha256: Hash,
    /// It was reported as gone; its rows are kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) gone: bool,
}

/// The cursor document: all files read so far, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen(pub(super) BTreeMap<String, SeenFile>);

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    files: Vec<SeenFile>,
}

impl Seen {
    /// The document of a committed cursor.
    ///
    /// # Errors
    /// `HK0409` when it is not one of files, `HK0001` when the engine has not fetched it from the store.
    pub(super) fn from_cursor(cursor: &Cursor) -> Result<Self> {
        let value = match cursor {
            Cursor::Opaque { value } => value,
            Cursor::Stored { path, .. } => {
                return Err(Error::new(
                    Code::Internal,
                    format!("the cursor {path} was not fetched before it was given to the connector"),
                ));
            }
            other => {
                return Err(Error::new(
                    Code::CursorType,
                    format!("the committed cursor is of kind {:?}, not a list of files", other.kind()),
                ));
            }
        };
        match serde_json::from_str::<Document>(value) {
            Ok(document) if document.format == FORMAT => {
                Ok(Self(document.files.into_iter().map(|f| (f.path.clone(), f)).collect()))
            }
            Ok(_) => Err(Error::new(Code::CursorType, "the committed list of files was written by a newer Hakiri")
                .with_hint("use the newer binary")),
            Err(_) => Err(Error::new(Code::CursorType, "the committed cursor is not a list of files")),
        }
    }

    /// As a cursor: canonical JSON.
    ///
    /// # Errors
    /// Never in practice.
    pub(super) fn to_cursor(&self) -> Result<Cursor> {
        let bytes = to_canonical_json(&Document { format: FORMAT, files: self.0.values().cloned().collect() })?;
        let value = String::from_utf8(bytes).map_err(|_| Error::new(Code::Internal, "canonical JSON is not UTF-8"))?;
        Ok(Cursor::Opaque { value })
    }

    /// The document after a step.
    pub(super) fn after(mut self, work: &Work) -> Self {
        if work.fresh {
            self.0.clear();
        }
        for file in &work.files {
            let seen = SeenFile { path: file.path.clone(), size: file.size, sha256: file.sha256.clone(), gone: false };
            self.0.insert(file.path.clone(), seen);
        }
        for (paths, gone) in [(&work.gone, true), (&work.back, false)] {
            for path in paths {
                if let Some(file) = self.0.get_mut(path) {
                    file.gone = gone;
                }
            }
        }
        self
    }
}

/// Why a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Not read before.
    New,
    /// Read before, with other content.
    Changed,
    /// Read before; read again because the rows of all files are replaced.
    Known,
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WorkFile {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) sha256: Hash,
    /// What the read asks the bucket for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    pub(super) state: State,
}

/// What a step does: it becomes the step's `source` in the plan. It holds what is to be read and what changed, not
/// the files that stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Work {
    /// To read, in this order.
    pub(super) files: Vec<WorkFile>,
    /// Gone since the last run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gone: Vec<String>,
    /// Gone before, and back as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) back: Vec<String>,
    /// Whether the cursor document starts anew from `files`.
    #[serde(default)]
    pub(super) fresh: bool,
}

/// Decides what is read: of a table without history everything, otherwise new and changed files. `true` says that the
/// rows of the step take the place of all rows before: rows without a key cannot be replaced file by file.
///
/// # Errors
/// `HK0601` when replacing would lose the rows of files that are gone.
pub(super) fn decide(
    known: Option<&Seen>,
    found: Vec<FileId>,
    keyed: bool,
    on_missing: OnMissing,
) -> Result<(Work, bool)> {
    let Some(known) = known else {
        return Ok((
            Work {
                files: found.into_iter().map(|f| work_file(f, State::New)).collect(),
                fresh: true,
                ..Work::default()
            },
            false,
        ));
    };
    let delete = on_missing == OnMissing::Delete;
    let present: BTreeSet<&str> = found.iter().map(|f| f.path.as_str()).collect();
    let missing: Vec<&SeenFile> = known.0.values().filter(|f| !present.contains(f.path.as_str())).collect();
    let state = |file: &FileId| match known.0.get(&file.path) {
        None => State::New,
        Some(seen) if seen.size == file.size && seen.sha256 == file.sha256 => State::Known,
        Some(_) => State::Changed,
    };
    let gone = missing.iter().filter(|f| !f.gone).map(|f| f.path.clone()).collect();
    let changed = found.iter().find(|f| state(f) == State::Changed);
    let replaces = !keyed && (changed.is_some() || (delete && !missing.is_empty()));
    if replaces {
        if let (Some(changed), false, Some(first)) = (changed, delete, missing.first()) {
            return Err(Error::new(
                Code::FileNotFound,
                format!(
                    "`{}` changed, so all files must be read again, but {} of them {} gone, `{}` first: their rows would be lost",
                    changed.path,
                    missing.len(),
                    if missing.len() == 1 { "is" } else { "are" },
                    first.path
                ),
            )
            .with_hint("put the files back, set on_missing = \"delete\" or a primary_key, or use `hakiri run --full` to do without their rows"));
        }
        let files = found
            .into_iter()
            .map(|f| {
                let state = state(&f);
                work_file(f, state)
            })
            .collect();
        return Ok((Work { files, gone, back: Vec::new(), fresh: true }, true));
    }
    let back = found
        .iter()
        .filter(|f| state(f) == State::Known && known.0.get(&f.path).is_some_and(|s| s.gone))
        .map(|f| f.path.clone())
        .collect();
    let files = found
        .into_iter()
        .filter_map(|f| match state(&f) {
            State::Known => None,
            state => Some(work_file(f, state)),
        })
        .collect();
    Ok((Work { files, gone, back, fresh: false }, false))
}

fn work_file(file: FileId, state: State) -> WorkFile {
    WorkFile { path: file.path, size: file.size, sha256: file.sha256, tag: file.tag, state }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(path: &str, content: &str) -> FileId {
        FileId { path: path.into(), size: content.len() as u64, sha256: Hash::of(content.as_bytes()), tag: None }
    }

    fn seen(files: &[(&str, &str)]) -> Seen {
        let found = files.iter().map(|(p, c)| id(p, c)).collect();
        Seen::default().after(&decide(None, found, false, OnMissing::Keep).unwrap().0)
    }

    fn paths(work: &Work) -> Vec<(&str, State)> {
        work.files.iter().map(|f| (f.path.as_str(), f.state)).collect()
    }

    #[test]
    fn only_new_and_changed_files_are_read_with_a_key_also_at_equal_size() {
        let known = seen(&[("a", "1"), ("b", "2")]);
        let found = vec![id("a", "1"), id("b", "3"), id("c", "4")];
        let (work, replaces) = decide(Some(&known), found.clone(), true, OnMissing::Keep).unwrap();
        assert_eq!((paths(&work), replaces), (vec![("b", State::Changed), ("c", State::New)], false));
        let after = known.after(&work);
        assert_eq!(decide(Some(&after), found, true, OnMissing::Keep).unwrap().0.files, []);
        assert_eq!(after.0.len(), 3);
    }

    #[test]
    fn a_changed_file_without_a_key_replaces_everything() {
        let known = seen(&[("a", "1"), ("b", "2")]);
        let (work, replaces) = decide(Some(&known), vec![id("a", "1"), id("b", "3")], false, OnMissing::Keep).unwrap();
        assert_eq!((paths(&work), replaces), (vec![("a", State::Known), ("b", State::Changed)], true));
        let (work, replaces) =
            decide(Some(&known), vec![id("a", "1"), id("b", "2"), id("c", "3")], false, OnMissing::Keep).unwrap();
        assert_eq!((paths(&work), replaces), (vec![("c", State::New)], false));
    }

    #[test]
    fn a_gone_file_is_reported_once_kept_and_known_when_it_comes_back() {
        let known = seen(&[("a", "1"), ("b", "2")]);
        let (work, replaces) = decide(Some(&known), vec![id("a", "1")], false, OnMissing::Keep).unwrap();
        assert_eq!((work.files.len(), work.gone.clone(), replaces), (0, vec!["b".to_owned()], false));
        let known = known.after(&work);
        let again = decide(Some(&known), vec![id("a", "1")], false, OnMissing::Keep).unwrap().0;
        assert_eq!(again, Work::default());
        let back = decide(Some(&known), vec![id("a", "1"), id("b", "2")], false, OnMissing::Keep).unwrap().0;
        assert_eq!((back.files.len(), back.back.clone()), (0, vec!["b".to_owned()]));
        assert!(!known.after(&back).0["b"].gone);
    }

    #[test]
    fn rows_of_gone_files_are_never_lost_by_accident() {
        let known = seen(&[("a", "1"), ("b", "2")]);
        let e = decide(Some(&known), vec![id("a", "9")], false, OnMissing::Keep).unwrap_err();
        assert_eq!(e.code(), Code::FileNotFound);
        assert!(e.message().contains("`a` changed") && e.message().contains("`b`"), "{e}");
        let (work, replaces) = decide(Some(&known), vec![id("a", "9")], true, OnMissing::Keep).unwrap();
        assert_eq!((paths(&work), replaces), (vec![("a", State::Changed)], false));
    }

    #[test]
    fn deleting_replaces_the_rows_once() {
        let known = seen(&[("a", "1"), ("b", "2")]);
        let (work, replaces) = decide(Some(&known), vec![id("a", "1")], false, OnMissing::Delete).unwrap();
        assert_eq!((paths(&work), replaces), (vec![("a", State::Known)], true));
        let after = known.clone().after(&work);
        assert_eq!(after.0.keys().collect::<Vec<_>>(), ["a"]);
        assert!(!decide(Some(&after), vec![id("a", "1")], false, OnMissing::Delete).unwrap().1);
    }

    #[test]
    fn the_cursor_is_canonical_and_comes_back_equal() {
        let known = seen(&[("b", "2"), ("a", "1")]);
        let cursor = known.to_cursor().unwrap();
        let Cursor::Opaque { value } = &cursor else { panic!() };
        let hash = Hash::of(b"1");
        assert!(
            value.starts_with(&format!("{{\"files\":[{{\"path\":\"a\",\"sha256\":\"{hash}\",\"size\":1}},")),
            "{value}"
        );
        assert_eq!(Seen::from_cursor(&cursor).unwrap(), known);
        for bad in [
            Cursor::Integer { value: 1 },
            Cursor::Opaque { value: "x".into() },
            Cursor::Opaque { value: "{\"format\":2,\"files\":[]}".into() },
        ] {
            assert_eq!(Seen::from_cursor(&bad).unwrap_err().code(), Code::CursorType);
        }
    }
}
