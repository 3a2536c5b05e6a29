//! The store: one project's folder below a local folder or a bucket (`03`).
//!
//! Contract: a data file is created once and never changes (S2); a name that is there already counts as written if the
//! bytes are the same. What this module acknowledges is durable, and nothing half-written ever has its final name (S3).
//! Derived files are replaced only by a commit that is at least as new (S4, [`Store::replace_derived`]). One catalog
//! governs one store ([`Store::claim`], S11).
//!
//! Why not `object_store` alone: its local file system neither syncs files nor folders and leaves staged files beside the
//! data, so local files are written here, in `local`, the one module with `std::fs`. Buckets go through `object_store`
//! with our own loop around conditional writes, because "exists already" has three meanings there (G8). Readers get the
//! same bytes through [`Store::object_store`] and [`Store::prefix`].

mod bucket;
mod claim;
mod derived;
mod local;
mod objects;
mod s3;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::manifest::FileRef;
use hakiri_core::secret::Secret;
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result};
use object_store::ObjectStore;
use object_store::aws::AwsCredentialProvider;

pub use self::objects::Objects;

/// The folder for half-written files and for the lock of a local store. Nothing in it is data.
pub const TEMP: &str = ".tmp";

/// Where an S3-compatible bucket is and how to sign for it. Nothing is read from the environment.
#[derive(Debug, Clone, Default)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// The root within it, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The service's URL; none for AWS.
    pub endpoint: Option<String>,
    /// The region; `us-east-1` where none is given, which stores other than AWS ignore.
    pub region: Option<String>,
    /// Whether `http://` endpoints are allowed.
    pub allow_http: bool,
    /// The access key.
    pub access_key_id: Option<String>,
    /// Its secret.
    pub secret_access_key: Option<Secret>,
    /// The token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Instead of a key: what gives one when it is asked, as roles do.
    pub credentials: Option<AwsCredentialProvider>,
}

/// A file as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Relative to the project's root.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// When it was last written, by the store's clock.
    pub modified: Instant,
}

/// One project's root in a folder or bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Backend);

#[derive(Debug, Clone)]
enum Backend {
    Local(local::Folder),
    Bucket(bucket::Bucket),
}

/// What a create-only write met.
#[derive(Debug)]
enum Created {
    /// Nothing was there; the bytes are, now, durably.
    New,
    /// These bytes were there; nothing was written.
    Existing(Bytes),
}

impl Store {
    /// The store of a project in a local folder. Touches nothing: folders are made by the first write.
    ///
    /// # Errors
    /// `HK0301` when the path cannot be resolved, `HK0110` for a project that is no folder name.
    pub fn local(root: &Path, project: &str) -> Result<Self> {
        checked(project)?;
        Ok(Self(Backend::Local(local::Folder::new(root, project)?)))
    }

    /// The store of a project in a bucket. Makes no request.
    ///
    /// # Errors
    /// `HK0110` for settings that cannot work together.
    pub fn s3(settings: &S3Settings, project: &str) -> Result<Self> {
        checked(project)?;
        Ok(Self(Backend::Bucket(bucket::Bucket::new(settings, project)?)))
    }

    /// A store over any implementation of [`ObjectStore`] that honours conditional writes.
    #[cfg(test)]
    fn over(store: Arc<dyn ObjectStore>, root: &str) -> Self {
        Self(Backend::Bucket(bucket::Bucket::over(store, root)))
    }

    /// For readers: what [`Self::prefix`] is relative to.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        match &self.0 {
            Backend::Local(folder) => folder.object_store(),
            Backend::Bucket(bucket) => bucket.object_store(),
        }
    }

    /// The project's root in [`Self::object_store`]. Paths in manifests are relative to it.
    pub fn prefix(&self) -> object_store::path::Path {
        match &self.0 {
            Backend::Local(folder) => folder.prefix(),
            Backend::Bucket(bucket) => bucket.prefix(),
        }
    }

    /// Whether it is a folder of this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.0, Backend::Local(_))
    }

    /// Where it is, for people: a folder or `s3://bucket/prefix`.
    pub fn location(&self) -> String {
        match &self.0 {
            Backend::Local(folder) => folder.location(),
            Backend::Bucket(bucket) => bucket.location(),
        }
    }

    /// Writes a new file, durably. A file of this name with the same bytes counts as written (S2).
    ///
    /// # Errors
    /// `HK0306` when the name is taken by other bytes; `HK0304`, `HK0308`, `HK0301`.
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<FileRef> {
        let sha256 = Hash::of(&bytes);
        self.put_hashed(path, bytes, sha256).await
    }

    /// [`Self::put_new`] for bytes whose hash is known.
    pub(crate) async fn put_hashed(&self, path: &str, bytes: Bytes, sha256: Hash) -> Result<FileRef> {
        let size = bytes.len();
        match self.create(path, bytes).await? {
            Created::New => {}
            Created::Existing(there) if there.len() == size && Hash::of(&there) == sha256 => {}
            Created::Existing(_) => {
                return Err(Error::new(Code::StoreDamaged, "the store has a file of this name with other bytes")
                    .at(path)
                    .with_hint("files are named by their hash, so it was changed outside of Hakiri: restore or remove it, then run again"));
            }
        }
        Ok(FileRef { path: path.to_owned(), sha256 })
    }

    /// The bytes of a file, or none where there is none.
    ///
    /// # Errors
    /// `HK0301`, `HK0308`.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        checked(path)?;
        match &self.0 {
            Backend::Local(folder) => folder.read(path).await,
            Backend::Bucket(bucket) => Ok(bucket.read(path).await?.map(|(bytes, _)| bytes)),
        }
    }

    /// The bytes of a file that was committed.
    ///
    /// # Errors
    /// `HK0305` when it is gone, `HK0306` when its bytes are others; `HK0301`, `HK0308`.
    pub async fn get_verified(&self, file: &FileRef) -> Result<Bytes> {
        let Some(bytes) = self.get(&file.path).await? else {
            return Err(
                Error::new(Code::StoreMissing, "the store does not have a file that was committed").at(&file.path)
            );
        };
        if Hash::of(&bytes) != file.sha256 {
            return Err(
                Error::new(Code::StoreDamaged, "the file's bytes are not those that were committed").at(&file.path)
            );
        }
        Ok(bytes)
    }

    /// All files below a folder (`"heads/"`, `""` for all), sorted by path. Read page by page but returned as one list:
    /// about 150 bytes of memory for each file.
    ///
    /// # Errors
    /// `HK0301`, `HK0308`.
    pub async fn list(&self, folder: &str) -> Result<Vec<StoredFile>> {
        let folder = folder.trim_end_matches('/');
        if !folder.is_empty() {
            checked(folder)?;
        }
        let mut files = match &self.0 {
            Backend::Local(local) => local.list(folder).await?,
            Backend::Bucket(bucket) => bucket.list(folder).await?,
        };
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Deletes a file. One that is not there is a success.
    ///
    /// # Errors
    /// `HK0301`, `HK0308`.
    pub async fn delete(&self, path: &str) -> Result<()> {
        checked(path)?;
        match &self.0 {
            Backend::Local(folder) => folder.delete(path).await,
            Backend::Bucket(bucket) => bucket.delete(path).await,
        }
    }

    /// Writes a derived file unless the one that is there is of a later commit (S4). Returns whether it was written; the
    /// same bytes are not written again.
    ///
    /// The commit's number is part of the content, so that it travels with every copy of a store: the field `seq` of
    /// JSON (of the first line of JSON lines), and in anything else the first line, `-- seq N`, which is put in front of
    /// `bytes` where it is not there yet. A file without a readable number is not ours and is replaced.
    ///
    /// # Errors
    /// `HK0001` for JSON that does not carry `seq`; `HK0201` when others keep on changing it; `HK0304`, `HK0308`, `HK0301`.
    pub async fn replace_derived(&self, path: &str, bytes: Bytes, seq: u64) -> Result<bool> {
        checked(path)?;
        let bytes = derived::stamped(bytes, seq).map_err(|e| e.at(path))?;
        match &self.0 {
            Backend::Local(folder) => folder.replace(path, bytes, seq).await,
            Backend::Bucket(bucket) => bucket.replace(path, bytes, seq).await,
        }
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        checked(path)?;
        match &self.0 {
            Backend::Local(folder) => folder.create(path, bytes).await,
            Backend::Bucket(bucket) => bucket.create(path, bytes).await,
        }
    }
}

/// Paths come out of manifests, which may have been edited: they never leave the project's root.
fn checked(path: &str) -> Result<()> {
    let fine = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(['\\', '\0']);
    if path.split('/').all(fine) {
        return Ok(());
    }
    Err(Error::new(Code::ManifestValue, "a path leaves the project's folder in the store")
        .with_hint("paths in a store are relative and have no `..`: look at who changed the manifest that names it"))
}
