//! The project's log: `.hakiri/log/*.jsonl`, one JSON object a line, at most [`MAX_FILES`] files of about [`MAX_BYTES`].
//!
//! All processes of a project append to its newest file, a line at a time in one write; the system keeps writes of
//! appending processes apart on a local disk. Whoever finds the file full begins the next one, named by the time, and
//! deletes the oldest. Two that do so at once begin two files: the next line goes to the newer one.
//!
//! Why not a file per process: `hakiri run` from cron would leave thousands, and a bound on their number would be a bound of
//! minutes.

#![allow(clippy::disallowed_methods)] // the one place that opens the log

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hakiri_core::codes::Code;
use hakiri_core::time::Clock as _;
use hakiri_core::{Error, Result};
use serde_json::{Map, Value};

use super::line::MAX_LINE;
use crate::environment::SystemClock;

/// The folder, in the project's `.hakiri`.
pub const FOLDER: &str = "log";
/// Files that are kept.
pub const MAX_FILES: usize = 8;
/// Bytes after which the next file is begun.
pub const MAX_BYTES: u64 = 4 << 20;

/// A line of the log.
pub type Line = Map<String, Value>;

/// Appends lines.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    max_bytes: u64,
    file: Option<File>,
}

impl Writer {
    /// Into a folder, which is made with the first line.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), max_bytes: MAX_BYTES, file: None }
    }

    /// Appends a line. What cannot be written is lost: a full disk must not stop what the log is about.
    pub fn write(&mut self, line: &str) {
        let _ = self.try_write(line);
    }

    fn try_write(&mut self, line: &str) -> std::io::Result<()> {
        let usable = |file: &File| file.metadata().is_ok_and(|m| m.nlink() > 0 && m.len() < self.max_bytes);
        let mut file = match self.file.take().filter(usable) {
            Some(file) => file,
            None => self.open()?,
        };
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        file.write_all(&bytes)?;
        self.file = Some(file);
        Ok(())
    }

    /// The newest file, or a new one where that is full.
    fn open(&self) -> std::io::Result<File> {
        std::fs::create_dir_all(&self.folder)?;
        let files = list(&self.folder);
        let open = |path: &Path| OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        if let Some(newest) = files.last()
            && let Ok(meta) = std::fs::metadata(newest)
            && meta.len() < self.max_bytes
        {
            return open(newest);
        }
        for old in files.iter().take((files.len() + 1).saturating_sub(MAX_FILES)) {
            let _ = std::fs::remove_file(old);
        }
        // Never before the newest: the clock may have been set back.
        let after = files.last().and_then(|f| stamp(f)).map_or(0, |newest| newest + 1);
        open(&self.folder.join(format!("{:013}.jsonl", SystemClock.now().millis().max(after))))
    }
}

/// The files, oldest first.
fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(|path| stamp(path).is_some()).collect();
    files.sort_unstable();
    files
}

fn stamp(path: &Path) -> Option<i64> {
    path.file_name()?.to_str()?.strip_suffix(".jsonl")?.parse().ok()
}

/// The newest lines that pass, oldest first, and a reader that goes on from there.
///
/// # Errors
/// `HK0005` when a file cannot be read.
pub fn tail(folder: &Path, passes: impl Fn(&Line) -> bool, limit: usize) -> Result<(Vec<Line>, Follower)> {
    let mut follower = Follower { folder: folder.to_owned(), read: BTreeMap::new() };
    let mut newest = VecDeque::with_capacity(limit.min(1_024));
    follower.read(|line| {
        if limit > 0 && passes(&line) {
            if newest.len() == limit {
                newest.pop_front();
            }
            newest.push_back(line);
        }
    })?;
    Ok((newest.into(), follower))
}

/// Reads what was appended since the last time.
#[derive(Debug)]
pub struct Follower {
    folder: PathBuf,
    /// How far each file was read: two may be appended to for a while.
    read: BTreeMap<PathBuf, u64>,
}

impl Follower {
    /// Hands over each new line.
    ///
    /// # Errors
    /// `HK0005` when a file cannot be read.
    pub fn read(&mut self, mut each: impl FnMut(Line)) -> Result<()> {
        let files = list(&self.folder);
        self.read.retain(|path, _| files.contains(path));
        for path in files {
            let from = self.read.get(&path).copied().unwrap_or(0);
            let position = read_from(&path, from, &mut each)
                .map_err(|e| Error::new(Code::Io, format!("{}: {e}", path.display())))?;
            self.read.insert(path, position);
        }
        Ok(())
    }
}

/// Reads whole lines from a position on; where it stopped. What is no line of ours is passed over.
fn read_from(path: &Path, from: u64, each: &mut impl FnMut(Line)) -> std::io::Result<u64> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(from),
        Err(e) => return Err(e),
    };
    file.seek(SeekFrom::Start(from))?;
    let (mut reader, mut position, mut bytes) = (BufReader::new(file), from, Vec::new());
    loop {
        bytes.clear();
        let read = reader.by_ref().take(MAX_LINE as u64 * 16).read_until(b'\n', &mut bytes)?;
        // The end of a line may still be on its way.
        if read == 0 || (bytes.last() != Some(&b'\n') && read < MAX_LINE * 16) {
            return Ok(position);
        }
        position += read as u64;
        if let Ok(Value::Object(line)) = serde_json::from_slice(&bytes) {
            each(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: usize) -> String {
        format!(r#"{{"n":{n}}}"#)
    }

    fn numbers(lines: &[Line]) -> Vec<u64> {
        lines.iter().filter_map(|l| l["n"].as_u64()).collect()
    }

    #[test]
    fn the_log_is_bounded_and_the_newest_lines_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer { max_bytes: 40, ..Writer::new(dir.path()) };
        (0..200).for_each(|n| writer.write(&line(n)));
        let files = list(dir.path());
        assert!(files.len() <= MAX_FILES, "{}", files.len());
        let (lines, _) = tail(dir.path(), |_| true, 5).unwrap();
        assert_eq!(numbers(&lines), [195, 196, 197, 198, 199]);
        let mode = std::fs::metadata(&files[0]).unwrap().mode();
        assert_eq!(mode & 0o077, 0, "only the owner reads logs");
    }

    #[test]
    fn a_follower_reads_on_across_files_and_waits_for_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer { max_bytes: 30, ..Writer::new(dir.path()) };
        writer.write(&line(1));
        let (lines, mut follower) = tail(dir.path(), |_| true, 9).unwrap();
        assert_eq!(numbers(&lines), [1]);
        (2..9).for_each(|n| writer.write(&line(n)));
        let newest = list(dir.path()).pop().unwrap();
        OpenOptions::new().append(true).open(&newest).unwrap().write_all(b"{\"n\":").unwrap();
        let mut seen = Vec::new();
        follower.read(|l| seen.push(l)).unwrap();
        assert_eq!(numbers(&seen), (2..9).collect::<Vec<_>>());
        OpenOptions::new().append(true).open(&newest).unwrap().write_all(b"9}\nnonsense\n").unwrap();
        seen.clear();
        follower.read(|l| seen.push(l)).unwrap();
        assert_eq!(numbers(&seen), [9]);
    }

    #[test]
    fn several_processes_may_append() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for t in 0..4 {
                let dir = dir.path();
                scope.spawn(move || {
                    let mut writer = Writer { max_bytes: 4_000, ..Writer::new(dir) };
                    (0..50).for_each(|n| writer.write(&line(t * 50 + n)));
                });
            }
        });
        let (lines, _) = tail(dir.path(), |_| true, 1_000).unwrap();
        let mut all = numbers(&lines);
        all.sort_unstable();
        assert_eq!(all, (0..200).collect::<Vec<_>>());
    }
}
