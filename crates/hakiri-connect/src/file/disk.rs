//! The files of this machine: listing, measuring, opening.
//!
//! Links are followed and paths may lead out of the project: it is the user's machine, and the user wrote the path.
//! What is not a regular file after following links (folders, pipes, devices) is passed over.

#![allow(clippy::disallowed_methods)] // the one module of the connector that touches local files

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use glob::Pattern;
use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::source::Cancel;
use hakiri_core::{Error, Kind, Result};
use sha2::{Digest, Sha256};

use super::place::{Found, MATCHING, Place, io_error, is_pattern, no_match};
use super::seen::{FileId, WorkFile};

/// How much is read at once when a file is hashed.
const BLOCK: usize = 256 << 10;

/// A path or pattern, relative to the project's folder.
#[derive(Debug)]
pub(super) struct Disk {
    project: PathBuf,
    path: String,
}

impl Disk {
    pub(super) fn new(project: &Path, path: &str) -> Self {
        Self { project: project.to_owned(), path: path.to_owned() }
    }
}

impl Place for Disk {
    fn list(&self, cancel: &Cancel) -> Result<Vec<Found>> {
        list(&self.project, &self.path, cancel)
    }

    fn nothing(&self, _cancel: &Cancel) -> Error {
        let path = self.path.as_str();
        let folder = if Path::new(path).is_absolute() { Path::new("/") } else { &self.project };
        let hint = path.starts_with('~').then_some("`~` is not expanded: write the whole path");
        no_match(path, &folder.display().to_string(), self.project.join(path).is_dir(), hint)
    }

    fn probe(&self, found: &[Found], cancel: &Cancel) -> Result<()> {
        for file in found {
            cancel.check()?;
            open(&self.project, &file.path)?;
        }
        Ok(())
    }

    fn identify(&self, found: &Found, cancel: &Cancel) -> Result<FileId> {
        identify(&self.project, &found.path, cancel)
    }

    fn open(&self, file: &WorkFile, cancel: &Cancel) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.open_whole(file, cancel)?))
    }

    fn open_whole(&self, file: &WorkFile, _cancel: &Cancel) -> Result<File> {
        open(&self.project, &file.path)
    }

    fn is_planned(&self, file: &WorkFile, read: Option<(u64, Hash)>, cancel: &Cancel) -> Result<bool> {
        let (size, sha256) = match read {
            Some(read) => read,
            None => {
                let now = identify(&self.project, &file.path, cancel)?;
                (now.size, now.sha256)
            }
        };
        Ok((size, &sha256) == (file.size, &file.sha256))
    }
}

/// The regular files that a path or pattern names, sorted by the bytes of their paths; none is not an error here.
///
/// # Errors
/// `HK0005` for folders that cannot be listed and names that are not UTF-8.
fn list(project: &Path, pattern: &str, cancel: &Cancel) -> Result<Vec<Found>> {
    let literal = project.join(pattern);
    // A file may be called `a[1].csv`: what exists under the very name is meant.
    if literal.is_file() {
        return Ok(found(project, &literal)?.into_iter().collect());
    }
    if !is_pattern(pattern) {
        return Ok(Vec::new());
    }
    let base = project.to_str().ok_or_else(|| not_utf8(project))?;
    let full = match base {
        _ if Path::new(pattern).is_absolute() => pattern.to_owned(),
        "" => pattern.to_owned(),
        base => format!("{}/{pattern}", Pattern::escape(base.trim_end_matches('/'))),
    };
    let paths = glob::glob_with(&full, MATCHING)
        .map_err(|e| Error::new(Code::SourceConfig, format!("the pattern `{pattern}` cannot be read: {}", e.msg)))?;
    let mut all = Vec::new();
    for path in paths {
        cancel.check()?;
        let path = path.map_err(|e| io_error(e.error(), &e.path().display().to_string()))?;
        all.extend(found(project, &path)?);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn found(project: &Path, path: &Path) -> Result<Option<Found>> {
    match path.metadata() {
        Ok(meta) if meta.is_file() => Ok(Some(Found { path: relative(project, path)?, size: meta.len(), tag: None })),
        Ok(_) => Ok(None),
        // A link that leads nowhere, or a file that went since the folder was listed.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error(&e, &path.display().to_string())),
    }
}

fn relative(project: &Path, path: &Path) -> Result<String> {
    let inside = path.strip_prefix(project).unwrap_or(path);
    let clean: PathBuf = inside.components().collect();
    let text = clean.to_str().ok_or_else(|| not_utf8(path))?;
    Ok(if std::path::MAIN_SEPARATOR == '/' { text.to_owned() } else { text.replace(std::path::MAIN_SEPARATOR, "/") })
}

fn not_utf8(path: &Path) -> Error {
    Error::new(Code::Io, "the name of a file or folder is not valid UTF-8")
        .with_kind(Kind::Permanent)
        .at(path.display().to_string())
        .with_hint("rename it")
}

/// A file's size and hash, from its bytes alone: time stamps do not tell whether it changed.
///
/// # Errors
/// `HK0005`; `HK0406` when it is gone; `HK0003`.
fn identify(project: &Path, path: &str, cancel: &Cancel) -> Result<FileId> {
    let mut file = open(project, path)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut size = 0;
    loop {
        cancel.check()?;
        match file.read(&mut block) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&block[..n]);
                size += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(io_error(&e, path)),
        }
    }
    Ok(FileId { path: path.to_owned(), size, sha256: Hash::from_digest(&hasher.finalize()), tag: None })
}

/// Opens a file that the plan found.
///
/// # Errors
/// `HK0406` when it is gone, `HK0005`.
fn open(project: &Path, path: &str) -> Result<File> {
    File::open(project.join(path)).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            Error::new(Code::SourceChanged, "the file vanished since the plan was made").at(path)
        }
        _ => io_error(&e, path),
    })
}
