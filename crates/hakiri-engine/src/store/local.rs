//! Local files of the store: the one module of this crate with `std::fs`.
//!
//! A file is written under `.tmp`, synced, renamed without replacing, and its folder is synced (S3). So it appears whole
//! or not at all, and is still there after a power cut. Derived files are replaced under an operating-system lock, which
//! a dead process cannot leave behind.

#![allow(clippy::disallowed_methods)] // the module that owns the store's local files

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use hakiri_core::codes::Code;
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use tempfile::NamedTempFile;

use super::{Created, StoredFile, TEMP, derived};

/// How deep folders are listed; ours are four deep. Ends loops of symbolic links.
const MAX_DEPTH: u32 = 16;
/// How often a write is tried whose folder somebody removes, empty as it was, at the same moment.
const FOLDER_ATTEMPTS: u32 = 64;
/// The lock under which derived files are replaced.
const LOCK: &str = "lock";

/// `<root>/<project>`.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    base: Arc<PathBuf>,
    prefix: object_store::path::Path,
}

impl Folder {
    pub(super) fn new(root: &Path, project: &str) -> Result<Self> {
        let base = resolved(root).map_err(|e| failed(root, &e))?.join(project);
        let prefix = object_store::path::Path::from_absolute_path(&base).map_err(|_| {
            Error::new(Code::StoreUnavailable, "the path holds characters that a store's cannot")
                .at(base.display().to_string())
        })?;
        Ok(Self { base: Arc::new(base), prefix })
    }

    pub(super) fn object_store(&self) -> Arc<dyn ObjectStore> {
        // Rooted at `/`: unlike one with a root of its own it does not need the folder to exist.
        Arc::new(LocalFileSystem::new())
    }

    pub(super) fn prefix(&self) -> object_store::path::Path {
        self.prefix.clone()
    }

    pub(super) fn location(&self) -> String {
        self.base.display().to_string()
    }

    /// Runs a blocking function on this folder where it does not hold up other tasks.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Path) -> Result<T> + Send + 'static) -> Result<T> {
        let base = self.base.clone();
        tokio::task::spawn_blocking(move || work(&base))
            .await
            .map_err(|e| Error::new(Code::Internal, format!("a file operation ended early: {e}")))?
    }

    pub(super) async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let path = path.to_owned();
        self.blocking(move |base| create(base, &base.join(path), &bytes)).await
    }

    pub(super) async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        let path = path.to_owned();
        self.blocking(move |base| read(&base.join(path))).await
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<StoredFile>> {
        let folder = folder.to_owned();
        self.blocking(move |base| {
            let mut files = Vec::new();
            list(&base.join(&folder), &folder, 0, &mut files)?;
            Ok(files)
        })
        .await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<()> {
        let path = path.to_owned();
        self.blocking(move |base| delete(base, &base.join(path))).await
    }

    pub(super) async fn replace(&self, path: &str, bytes: Bytes, seq: u64) -> Result<bool> {
        let path = path.to_owned();
        self.blocking(move |base| replace(base, &base.join(path), &bytes, seq)).await
    }
}

/// An absolute path without `..`, although its end need not exist.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let existing = absolute.ancestors().find(|a| a.exists()).unwrap_or(Path::new("/"));
    let mut whole = fs::canonicalize(existing)?;
    for component in absolute.strip_prefix(existing).unwrap_or(Path::new("")).components() {
        match component {
            Component::ParentDir => drop(whole.pop()),
            other => whole.push(other),
        }
    }
    Ok(whole)
}

fn create(base: &Path, target: &Path, bytes: &[u8]) -> Result<Created> {
    let folder = target.parent().unwrap_or(base);
    if let Some(there) = existing(target, folder)? {
        return Ok(Created::Existing(there));
    }
    let mut temp = written(base, bytes)?;
    for _ in 0..FOLDER_ATTEMPTS {
        make_dirs(folder).map_err(|e| failed(folder, &e))?;
        match temp.persist_noclobber(target) {
            Ok(_) => {
                sync_dir(folder).map_err(|e| failed(folder, &e))?;
                return Ok(Created::New);
            }
            Err(e) if e.error.kind() == ErrorKind::AlreadyExists => {
                if let Some(there) = existing(target, folder)? {
                    return Ok(Created::Existing(there));
                }
                temp = e.file;
            }
            Err(e) if e.error.kind() == ErrorKind::NotFound => temp = e.file,
            Err(e) => return Err(failed(target, &e.error)),
        }
    }
    Err(vanishing(folder))
}

fn vanishing(folder: &Path) -> Error {
    Error::new(Code::StoreUnavailable, "the folder vanishes again and again").at(folder.display().to_string())
}

/// A file that another process wrote, perhaps one that died before its folder was synced: synced again, since it is
/// about to be acknowledged.
fn existing(target: &Path, folder: &Path) -> Result<Option<Bytes>> {
    let bytes = read(target)?;
    if bytes.is_some() {
        sync_dir(folder).map_err(|e| failed(folder, &e))?;
    }
    Ok(bytes)
}

fn replace(base: &Path, target: &Path, bytes: &[u8], seq: u64) -> Result<bool> {
    let folder = target.parent().unwrap_or(base);
    let lock_path = base.join(TEMP).join(LOCK);
    make_dirs(&base.join(TEMP)).map_err(|e| failed(base, &e))?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(|e| failed(&lock_path, &e))?;
    lock.lock().map_err(|e| failed(&lock_path, &e))?;
    if !derived::replaces(read(target)?.as_deref(), bytes, seq) {
        return Ok(false);
    }
    let mut temp = written(base, bytes)?;
    for _ in 0..FOLDER_ATTEMPTS {
        make_dirs(folder).map_err(|e| failed(folder, &e))?;
        match temp.persist(target) {
            Ok(_) => {
                sync_dir(folder).map_err(|e| failed(folder, &e))?;
                return Ok(true);
            }
            Err(e) if e.error.kind() == ErrorKind::NotFound => temp = e.file,
            Err(e) => return Err(failed(target, &e.error)),
        }
    }
    Err(vanishing(folder))
}

/// A synced temporary file with these bytes. It is removed when dropped; a killed process leaves it to `gc`.
fn written(base: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    let folder = base.join(TEMP);
    let write = || {
        make_dirs(&folder)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix("put-").suffix(".tmp");
        // The default is 0600, and the file keeps it when it is renamed: what users share a folder for is data.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(&folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(|e| failed(&folder, &e))
}

fn read(path: &Path) -> Result<Option<Bytes>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(failed(path, &e)),
    }
}

fn delete(base: &Path, path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(e) => return Err(failed(path, &e)),
    }
    // Folders that became empty go too, as they do in a bucket; one with files refuses.
    for folder in path.ancestors().skip(1).take_while(|a| *a != base && a.starts_with(base)) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

fn list(folder: &Path, relative: &str, depth: u32, files: &mut Vec<StoredFile>) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(e) => return Err(failed(folder, &e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| failed(folder, &e))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue }; // none of ours
        let path = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
        let metadata = match fs::metadata(entry.path()) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == ErrorKind::NotFound => continue, // deleted meanwhile
            Err(e) => return Err(failed(&entry.path(), &e)),
        };
        if metadata.is_dir() {
            if depth < MAX_DEPTH {
                list(&entry.path(), &path, depth + 1, files)?;
            }
            continue;
        }
        let modified = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let millis = modified.and_then(|t| i64::try_from(t.as_millis()).ok()).unwrap_or(0);
        files.push(StoredFile { path, size: metadata.len(), modified: Instant::from_millis(millis) });
    }
    Ok(())
}

/// Makes a folder and those above it, each durably. Each of them may be removed, empty as it is, while we are at it.
fn make_dirs(folder: &Path) -> io::Result<()> {
    let mut made = dirs(folder);
    for _ in 1..FOLDER_ATTEMPTS {
        match made {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => made = dirs(folder),
            other => return other,
        }
    }
    made
}

fn dirs(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    dirs(parent)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_dir(parent),
        Err(e) if e.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(e) => Err(e),
    }
}

fn sync_dir(folder: &Path) -> io::Result<()> {
    // Only Unix can open folders; elsewhere a rename is as durable as it gets.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn failed(path: &Path, e: &io::Error) -> Error {
    let code = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Code::StoreFull,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Code::StoreDenied,
        _ => Code::StoreUnavailable,
    };
    Error::new(code, e.to_string().to_lowercase()).at(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_not_there_yet_is_resolved_too() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        assert_eq!(resolved(&dir.path().join("a/../b/./c")).unwrap(), real.join("b/c"));
        assert_eq!(resolved(&dir.path().join("..")).unwrap(), real.parent().unwrap());
    }

    #[test]
    fn errors_of_the_system_get_their_codes() {
        for (kind, code) in [
            (ErrorKind::StorageFull, Code::StoreFull),
            (ErrorKind::QuotaExceeded, Code::StoreFull),
            (ErrorKind::PermissionDenied, Code::StoreDenied),
            (ErrorKind::ReadOnlyFilesystem, Code::StoreDenied),
            (ErrorKind::NotADirectory, Code::StoreUnavailable),
        ] {
            assert_eq!(failed(Path::new("x"), &io::Error::from(kind)).code(), code);
        }
    }

    #[test]
    fn files_are_readable_by_those_the_umask_lets_in_and_leave_nothing_behind() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("plain"), "").unwrap();
        create(dir.path(), &dir.path().join("a/b"), b"x").unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("a/b"), mode("plain"));
        assert_eq!(fs::read_dir(dir.path().join(TEMP)).unwrap().count(), 0);
    }

    #[test]
    fn a_deleted_file_takes_its_empty_folders_along() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/b/c", "a/d"] {
            create(dir.path(), &dir.path().join(name), b"x").unwrap();
        }
        delete(dir.path(), &dir.path().join("a/b/c")).unwrap();
        assert!(!dir.path().join("a/b").exists() && dir.path().join("a/d").exists());
        delete(dir.path(), &dir.path().join("a/d")).unwrap();
        delete(dir.path(), &dir.path().join("a/d")).unwrap();
        assert!(!dir.path().join("a").exists() && dir.path().exists());
    }

    #[test]
    fn folders_that_others_take_away_do_not_keep_a_file_from_its_place() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|threads| {
            for name in ["a/b/x", "a/c/x", "a/d/x"] {
                let (base, path) = (dir.path(), dir.path().join(name));
                threads.spawn(move || {
                    for seq in 0..300 {
                        create(base, &path, b"x").unwrap();
                        delete(base, &path).unwrap();
                        replace(base, &path, b"SELECT 1;", seq).unwrap();
                        delete(base, &path).unwrap();
                    }
                });
            }
        });
    }
}
