//! Where files are: on this machine or in a bucket. The seam below which every other module of the connector works on
//! readers and never asks which it is.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use glob::MatchOptions;
use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::source::{Cancel, SourceContext};
use hakiri_core::{Error, Kind, Result};

use super::bucket::Bucket;
use super::disk::Disk;
use super::seen::{FileId, WorkFile};

/// What the path of files in a bucket starts with.
pub(super) const SCHEME: &str = "s3://";

/// A file that a path or pattern gave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// With `/` between its parts: relative to the project's folder where it lies inside, or a URL.
    pub(super) path: String,
    /// In bytes.
    pub(super) size: u64,
    /// The version's tag, where the place has such.
    pub(super) tag: Option<String>,
}

/// The files of one table. Called on a thread for blocking work.
pub(super) trait Place: Send + Sync {
    /// The files that the path or pattern names, sorted by the bytes of their paths; none is not an error here.
    fn list(&self, cancel: &Cancel) -> Result<Vec<Found>>;

    /// The error for no files.
    fn nothing(&self, cancel: &Cancel) -> Error;

    /// Whether the files can be read, as far as that can be told without reading them.
    fn probe(&self, found: &[Found], cancel: &Cancel) -> Result<()>;

    /// What tells a file from an earlier one of its name.
    ///
    /// # Errors
    /// `HK0406` when it is gone.
    fn identify(&self, found: &Found, cancel: &Cancel) -> Result<FileId>;

    /// Opens a file that the plan found.
    ///
    /// # Errors
    /// `HK0406` when it is gone.
    fn open(&self, file: &WorkFile, cancel: &Cancel) -> Result<Box<dyn Read + Send>>;

    /// The same for a reader that goes to and fro.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn open_whole(&self, file: &WorkFile, cancel: &Cancel) -> Result<File>;

    /// Whether a file that was read is the one that the plan saw; `read` is the size and hash of what was read, where it was
    /// read from start to end.
    ///
    /// # Errors
    /// `HK0406` when it is gone.
    fn is_planned(&self, file: &WorkFile, read: Option<(u64, Hash)>, cancel: &Cancel) -> Result<bool>;
}

/// The place that a path leads to.
///
/// # Errors
/// `HK0001` for a bucket in a process that has no buckets.
pub(super) fn of(path: &str, ctx: &SourceContext) -> Result<Arc<dyn Place>> {
    if !path.starts_with(SCHEME) {
        return Ok(Arc::new(Disk::new(&ctx.project_dir, path)));
    }
    let buckets = ctx.buckets.clone();
    let buckets = buckets.ok_or_else(|| Error::new(Code::Internal, "this process cannot read buckets").at(path))?;
    Ok(Arc::new(Bucket::new(path, buckets, &ctx.temp_dir)?))
}

/// Whether a path is a pattern rather than the name of one file.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(WILDCARDS)
}

/// What begins a pattern within a path.
pub(super) const WILDCARDS: [char; 3] = ['*', '?', '['];

/// How patterns match, everywhere.
pub(super) const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The error for a path that gives no files; `place` is where they were looked for.
pub(super) fn no_match(path: &str, place: &str, is_folder: bool, otherwise: Option<&str>) -> Error {
    let error = Error::new(Code::FileNotFound, format!("no file matches `{path}` in {place}"));
    let path = path.trim_end_matches('/');
    if is_folder {
        error.with_hint(format!("it is a folder: write for example path = \"{path}/*.csv\""))
    } else if path.ends_with("**") {
        error.with_hint(format!("`**` stands for folders: write path = \"{path}/*\""))
    } else if let Some(hint) = otherwise {
        error.with_hint(hint)
    } else {
        error
    }
}

/// What the operating system or the bucket said, as one of ours. A refusal does not pass by itself.
pub(super) fn io_error(e: &io::Error, place: &str) -> Error {
    if let Some(ours) = e.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return ours.clone().at(place);
    }
    let error = Error::new(Code::Io, format!("the file cannot be read: {e}")).at(place);
    match e.kind() {
        io::ErrorKind::PermissionDenied => {
            error.with_kind(Kind::Permanent).with_hint("check the permissions of the file and its folders")
        }
        _ => error,
    }
}
