//! The folder of generated files on disk: reading what is there and writing a generation.

#![allow(clippy::disallowed_methods)] // the one place that touches generated files

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::{Error, Result};

use super::changes::{Change, Kind};
use super::files::Files;
use super::lock::{LOCK, Lock};

/// The name of a file on its way, before it takes its place.
const ON_ITS_WAY: &str = ".hakiri-deploy.tmp";
/// As much of two files is compared at once.
const CHUNK: usize = 1 << 20;

/// A file's bytes, if it is there.
///
/// # Errors
/// `HK0005`; `HK1203` for something else under its name.
pub fn read(dir: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    let full = dir.join(path);
    match std::fs::symlink_metadata(&full) {
        Ok(meta) if !meta.is_file() => {
            // A link would let a generation write somewhere else.
            Err(Error::new(Code::DeployEdited, format!("{} is not a plain file", full.display()))
                .with_hint("move it away, or choose another folder with --dir"))
        }
        Ok(_) => std::fs::read(&full).map(Some).map_err(|e| io(&full, &e)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(io(&full, &e)),
    }
}

/// The first bytes of a file, as many as there are of them up to a limit.
///
/// # Errors
/// `HK0005`.
pub fn head(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|e| io(path, &e))
}

/// The lock of a folder, if there is one.
///
/// # Errors
/// See [`Lock::read`].
pub fn lock(dir: &Path, target: &str, project: &str, env: Option<&str>) -> Result<Option<Lock>> {
    read(dir, LOCK)?.map(|bytes| Lock::read(&bytes, target, project, env)).transpose()
}

/// What is there of these files and of those a lock names.
///
/// # Errors
/// See [`read`].
pub fn contents(dir: &Path, files: &Files, lock: Option<&Lock>) -> Result<BTreeMap<String, Vec<u8>>> {
    let locked = lock.iter().flat_map(|l| l.files.keys().map(String::as_str));
    let mut out = BTreeMap::new();
    // A lock is text that anybody may have changed: what leads out of the folder is not followed.
    for path in files.iter().map(|(path, _)| path).chain(locked.filter(|p| super::input::inside(p).is_some())) {
        if let Some(bytes) = read(dir, path)? {
            out.insert(path.to_owned(), bytes);
        }
    }
    Ok(out)
}

/// The files that a lock names and that are not as it has them, by path.
///
/// # Errors
/// See [`read`].
pub fn edited(dir: &Path, lock: &Lock) -> Result<Vec<String>> {
    let there = contents(dir, &Files::default(), Some(lock))?;
    let differs = |(path, hash): &(&String, &Hash)| there.get(*path).is_none_or(|bytes| Hash::of(bytes) != **hash);
    Ok(lock.files.iter().filter(differs).map(|(path, _)| path.clone()).collect())
}

/// Writes a generation: each file beside its place and then into it, the lock last. A crash in between leaves whole
/// files, and the next attempt takes those that are as they should be.
///
/// # Errors
/// `HK0005`.
pub fn write(dir: &Path, files: &Files, changes: &[Change], lock: &Lock) -> Result<()> {
    for change in changes {
        let full = dir.join(&change.path);
        match (change.change, files.get(&change.path)) {
            (Kind::Create | Kind::Change | Kind::Edited, Some(file)) => replace(&full, &file.bytes, file.mode)?,
            (Kind::Remove, _) => remove(dir, &full)?,
            _ => {}
        }
    }
    replace(&dir.join(LOCK), &lock.to_bytes()?, 0o644)
}

/// Writes one file of the folder that is not a generated one.
///
/// # Errors
/// `HK0005`.
pub fn put(dir: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    replace(&dir.join(path), bytes, 0o644)
}

/// Copies a program into the folder, unless it is there already: a copy is a new file, and what packs the folder would
/// take it for another one.
///
/// # Errors
/// `HK0005`.
pub fn copy_program(from: &Path, dir: &Path, name: &str) -> Result<()> {
    let (full, way) = (dir.join(name), dir.join(ON_ITS_WAY));
    if is_same(from, &full).map_err(|e| io(&full, &e))? {
        return Ok(());
    }
    // Beside its place and then into it: the place may be the very program that runs.
    let copy = || -> std::io::Result<()> {
        std::fs::create_dir_all(full.parent().unwrap_or(dir))?;
        std::fs::copy(from, &way)?;
        std::fs::set_permissions(&way, std::fs::Permissions::from_mode(0o755))?;
        std::fs::rename(&way, &full)
    };
    copy().map_err(|e| io(&full, &e))
}

/// Whether both files have the same bytes, and the second may be run.
fn is_same(a: &Path, b: &Path) -> std::io::Result<bool> {
    let there = match std::fs::symlink_metadata(b) {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(false),
        Err(e) => return Err(e),
    };
    if !there.is_file() || there.permissions().mode() & 0o111 == 0 || there.len() != std::fs::metadata(a)?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (std::fs::File::open(a)?, std::fs::File::open(b)?);
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let read = a.read(&mut left)?;
        let (Some(left), Some(right)) = (left.get(..read), right.get_mut(..read)) else { return Ok(false) };
        b.read_exact(right)?;
        if left != right {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// What tells one build of a program from another without reading it.
///
/// # Errors
/// `HK0005`.
pub fn program_mark(program: &Path) -> Result<String> {
    let meta = std::fs::metadata(program).map_err(|e| io(program, &e))?;
    let changed = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(format!("{} {}", meta.len(), changed.unwrap_or_default().as_millis()))
}

fn replace(full: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let folder = full.parent().unwrap_or(full);
    let way = folder.join(ON_ITS_WAY);
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = std::fs::File::create(&way)?;
        file.write_all(bytes)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&way, full)
    };
    write().map_err(|e| io(full, &e))
}

/// Removes a file and the folders that it leaves empty.
fn remove(dir: &Path, full: &Path) -> Result<()> {
    std::fs::remove_file(full).map_err(|e| io(full, &e))?;
    let mut folder: Option<PathBuf> = full.parent().map(Path::to_owned);
    while let Some(empty) = folder.filter(|f| f != dir && std::fs::remove_dir(f).is_ok()) {
        folder = empty.parent().map(Path::to_owned);
    }
    Ok(())
}

/// Where the files' folder lies, without links.
///
/// # Errors
/// `HK0005`.
pub fn resolved(dir: &Path) -> Result<PathBuf> {
    // The folder need not be there yet: its nearest ancestor that is decides.
    let mut rest = Vec::new();
    let mut at = dir;
    loop {
        match std::fs::canonicalize(at) {
            Ok(real) => return Ok(rest.iter().rev().fold(real, |path: PathBuf, part| path.join(part))),
            Err(e) if e.kind() == ErrorKind::NotFound => match (at.parent(), at.file_name()) {
                (Some(parent), Some(name)) => {
                    rest.push(name.to_owned());
                    at = parent;
                }
                _ => return Err(io(dir, &e)),
            },
            Err(e) => return Err(io(dir, &e)),
        }
    }
}

fn io(path: &Path, e: &std::io::Error) -> Error {
    Error::new(Code::Io, format!("{}: {e}", path.display()))
}
