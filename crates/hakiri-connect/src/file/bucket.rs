//! Files in a bucket, through the port of the core: listing by prefix and pattern, reading exactly the planned version.
//!
//! A file is identified by its size and entity tag, not by its content: a plan must not download the whole bucket. The read
//! asks for that tag, so that it gets the planned bytes or `HK0406` (ADR 0022).

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::Pattern;
use hakiri_core::buckets::{Buckets, Depth, Object};
use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::source::Cancel;
use hakiri_core::{Error, Result};

use super::place::{Found, MATCHING, Place, SCHEME, WILDCARDS, io_error, is_pattern, no_match};
use super::ranges::{self, Ranges};
use super::seen::{FileId, WorkFile, tag_hash};

/// How much of an object is copied at once.
const BLOCK: usize = 256 << 10;

/// A key or pattern in a bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    buckets: Arc<dyn Buckets>,
    temp_dir: PathBuf,
    /// As the manifest has it.
    path: String,
    name: String,
    key: Key,
}

/// The part of the path after the bucket.
#[derive(Debug)]
struct Key {
    text: String,
    pattern: Pattern,
}

/// Bucket and key of a path that begins with [`SCHEME`].
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub(super) fn split(path: &str) -> std::result::Result<(&str, &str), (&'static str, &'static str)> {
    const EXAMPLE: &str = "write for example path = \"s3://bucket/inbox/*.csv\"";
    let (name, key) = path.strip_prefix(SCHEME).unwrap_or(path).split_once('/').unwrap_or(("", ""));
    if name.is_empty() || key.is_empty() {
        return Err(("the path names no bucket, or no file in it", EXAMPLE));
    }
    if name.contains(WILDCARDS) {
        return Err(("the name of a bucket cannot be a pattern", EXAMPLE));
    }
    if key.ends_with('/') {
        return Err(("the path ends in `/`, and such a key is no file", EXAMPLE));
    }
    if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err((
            "a key in a bucket cannot have an empty part, `.` or `..`",
            "write the key as the bucket lists it",
        ));
    }
    Ok((name, key))
}

impl Key {
    fn new(text: &str) -> Result<Self> {
        let pattern = Pattern::new(text)
            .map_err(|e| Error::new(Code::SourceConfig, format!("the pattern `{text}` cannot be read: {}", e.msg)))?;
        Ok(Self { text: text.to_owned(), pattern })
    }

    /// What every key that matches starts with, and whether further folders may follow.
    fn prefix(&self) -> (&str, Depth) {
        let literal = self.text.find(WILDCARDS).unwrap_or(self.text.len());
        let (prefix, rest) = self.text.split_at(literal);
        (prefix, if rest.contains('/') { Depth::Deep } else { Depth::Shallow })
    }

    /// As on a disk, where `**` at the end stands for folders.
    fn matches(&self, key: &str) -> bool {
        is_pattern(&self.text) && self.text.rsplit('/').next() != Some("**") && self.pattern.matches_with(key, MATCHING)
    }

    /// Whether a key below this folder could match.
    fn reaches(&self, folder: &str) -> bool {
        let pattern: Vec<&str> = self.text.split('/').collect();
        let folder: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        reaches(&pattern, &folder)
    }
}

fn reaches(pattern: &[&str], folder: &[&str]) -> bool {
    match (pattern.split_first(), folder.split_first()) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some((&"**", rest)), Some((_, below))) => reaches(rest, folder) || reaches(pattern, below),
        (Some((part, rest)), Some((name, below))) => {
            let same = part == name || Pattern::new(part).is_ok_and(|p| p.matches_with(name, MATCHING));
            same && reaches(rest, below)
        }
    }
}

impl Bucket {
    pub(super) fn new(path: &str, buckets: Arc<dyn Buckets>, temp_dir: &Path) -> Result<Self> {
        let (name, key) =
            split(path).map_err(|(what, hint)| Error::new(Code::SourceConfig, what).at(path).with_hint(hint))?;
        Ok(Self {
            buckets,
            temp_dir: temp_dir.to_owned(),
            path: path.to_owned(),
            name: name.to_owned(),
            key: Key::new(key)?,
        })
    }

    fn url(&self, key: &str) -> String {
        format!("{SCHEME}{}/{key}", self.name)
    }

    /// The object that a step of the plan reads.
    fn object(&self, file: &WorkFile) -> Result<Object> {
        let prefix = self.url("");
        match (file.path.strip_prefix(&prefix), &file.tag) {
            (Some(key), Some(tag)) => Ok(Object { key: key.to_owned(), size: file.size, tag: tag.clone() }),
            // The manifest changed its mind between plan and read.
            _ => Err(Error::new(Code::SourceChanged, "the file was planned in another place").at(&file.path)),
        }
    }

    fn page(
        &self,
        prefix: &str,
        depth: Depth,
        after: Option<&str>,
        cancel: &Cancel,
    ) -> Result<hakiri_core::buckets::Page> {
        let (buckets, name) = (self.buckets.clone(), self.name.clone());
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let page = async move { buckets.list(&name, &prefix, depth, after.as_deref()).await };
        ranges::wait(page, cancel).map_err(|e| e.at(&self.path))
    }

    fn ranges(&self, object: Object, cancel: &Cancel) -> Ranges {
        Ranges::new(self.buckets.clone(), self.name.clone(), object, cancel.clone())
    }
}

impl Place for Bucket {
    fn list(&self, cancel: &Cancel) -> Result<Vec<Found>> {
        if let Some(own) = self.buckets.own(&self.name).filter(|own| self.key.reaches(own)) {
            return Err(Error::new(
                Code::SourceConfig,
                format!("the pattern reaches into the project's own store, {}", self.url(own)),
            )
            .at(&self.path)
            .with_hint("keep the files to read in a folder of their own, such as s3://bucket/inbox/*.csv"));
        }
        let (prefix, depth) = self.key.prefix();
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.page(prefix, depth, after.as_deref(), cancel)?;
            for object in page.objects {
                // A file may be called `a[1].csv`: what exists under the very name is meant.
                let is_named = object.key == self.key.text;
                if is_named || self.key.matches(&object.key) {
                    let found = Found { path: self.url(&object.key), size: object.size, tag: Some(object.tag) };
                    if is_named {
                        return Ok(vec![found]);
                    }
                    all.push(found);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        all.sort_unstable();
        all.dedup_by(|a, b| a.path == b.path);
        Ok(all)
    }

    fn nothing(&self, cancel: &Cancel) -> Error {
        let below = format!("{}/", self.key.text);
        let is_folder = !is_pattern(&self.key.text)
            && self.page(&below, Depth::Shallow, None, cancel).is_ok_and(|page| !page.objects.is_empty());
        let hint = "check the bucket, the folders and the pattern of `path`: upper and lower case differ";
        no_match(&self.path, "the bucket", is_folder, Some(hint))
    }

    /// One object stands for all: what lets a reader at one lets it at the others.
    fn probe(&self, found: &[Found], cancel: &Cancel) -> Result<()> {
        for file in found.iter().take(1) {
            let key = file.path.strip_prefix(&self.url("")).unwrap_or_default().to_owned();
            let object = Object { key, size: file.size, tag: file.tag.clone().unwrap_or_default() };
            let (buckets, name) = (self.buckets.clone(), self.name.clone());
            let first = 0..object.size.min(1);
            let read = async move { buckets.read(&name, &object, first).await };
            ranges::wait(read, cancel).map_err(|e| e.at(&file.path))?;
        }
        Ok(())
    }

    fn identify(&self, found: &Found, _cancel: &Cancel) -> Result<FileId> {
        let hash = tag_hash(found.tag.as_deref().unwrap_or_default());
        Ok(FileId { path: found.path.clone(), size: found.size, sha256: hash, tag: found.tag.clone() })
    }

    fn open(&self, file: &WorkFile, cancel: &Cancel) -> Result<Box<dyn Read + Send>> {
        let mut ranges = self.ranges(self.object(file)?, cancel);
        // Whether it is still there is told here, before a decoder could call it damaged.
        ranges.begin().map_err(|e| e.at(&file.path))?;
        Ok(Box::new(ranges))
    }

    fn open_whole(&self, file: &WorkFile, cancel: &Cancel) -> Result<File> {
        let mut ranges = self.open(file, cancel)?;
        let mut copy = tempfile::tempfile_in(&self.temp_dir).map_err(|e| temp_failed(&e))?;
        let mut block = vec![0; BLOCK];
        loop {
            match ranges.read(&mut block).map_err(|e| io_error(&e, &file.path))? {
                0 => break,
                n => copy.write_all(&block[..n]).map_err(|e| temp_failed(&e))?,
            }
        }
        copy.rewind().map_err(|e| temp_failed(&e))?;
        Ok(copy)
    }

    /// What was opened is what was planned: every range was asked for by its tag.
    fn is_planned(&self, _file: &WorkFile, _read: Option<(u64, Hash)>, _cancel: &Cancel) -> Result<bool> {
        Ok(true)
    }
}

fn temp_failed(e: &io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::new(Code::StoreFull, "no space is left for temporary files")
        }
        _ => Error::new(Code::Io, format!("a temporary file: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_starts_at_the_first_wildcard_and_goes_as_deep_as_the_pattern() {
        for (key, prefix, depth) in [
            ("inbox/*.csv", "inbox/", Depth::Shallow),
            ("inbox/2024-??.csv", "inbox/2024-", Depth::Shallow),
            ("inbox/**/*.csv", "inbox/", Depth::Deep),
            ("in*/a.csv", "in", Depth::Deep),
            ("*", "", Depth::Shallow),
            ("inbox/a.csv", "inbox/a.csv", Depth::Shallow),
            ("inbox/a[1].csv", "inbox/a", Depth::Shallow),
        ] {
            assert_eq!(Key::new(key).unwrap().prefix(), (prefix, depth), "{key}");
        }
    }

    #[test]
    fn keys_match_as_paths_of_a_disk_do() {
        let keys = [
            "a.csv",
            ".a.csv",
            "d/a.csv",
            "d/B.CSV",
            "d/.b.csv",
            "d/e/a.csv",
            "d/.e/a.csv",
            "d/é x.csv",
            "d/ab",
            "e/a.csv",
        ];
        let dir = tempfile::tempdir().unwrap();
        for key in keys {
            let path = dir.path().join(key);
            #[allow(clippy::disallowed_methods)] // the other side of the comparison
            {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
            }
        }
        for pattern in [
            "*",
            "*.csv",
            "**",
            "**/*",
            "**/*.csv",
            "d/*",
            "d/*.csv",
            "d/**",
            "d/**/*",
            "d/**/a.csv",
            "?/a.csv",
            "[de]/a.csv",
            "[!d]/*.csv",
            "d/a?",
            "d/[a-c]*",
            "*/*/*",
            "d/.b.csv",
            "d/é*",
            "**/e/*",
            "D/*",
            "d/*/",
        ] {
            let disk = super::super::disk::Disk::new(dir.path(), pattern).list(&Cancel::default()).unwrap();
            let disk: Vec<String> = disk.into_iter().map(|f| f.path).collect();
            let key = Key::new(pattern).unwrap();
            let mut there: Vec<&str> = keys.into_iter().filter(|k| *k == pattern || key.matches(k)).collect();
            there.sort_unstable();
            assert_eq!(there, disk, "{pattern}");
            assert!(there.iter().all(|k| k.starts_with(key.prefix().0)), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_can_match_below_a_folder_reaches_it() {
        for (key, yes) in [
            ("inbox/*.csv", false),
            ("data/*.csv", false),
            ("data/shop/*.csv", true),
            ("data/shop", false),
            ("data/shop/tables/x.parquet", true),
            ("**/*.parquet", true),
            ("d*/**/x", true),
            ("*/*/*", true),
            ("*/*", false),
            ("data/**/*", true),
            ("data/shopping/*", false),
            ("data/[rst]hop/**/*.json", true),
        ] {
            assert_eq!(Key::new(key).unwrap().reaches("data/shop"), yes, "{key}");
        }
    }
}
