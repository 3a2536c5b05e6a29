//! A project's root in a bucket, over `object_store`.
//!
//! Known traps, handled here (G8). `409 ConditionalRequestConflict` means "somebody is writing this key at this moment",
//! not "it exists": it is tried again. A write that timed out or was tried again by the client may meet itself: the bytes
//! decide, not the status. Cloudflare R2 answers `429` to more than one write per second and key: the client backs off.
//! Every file is a single PUT: parts are at most 64 MiB, so that multipart rules, which differ, never matter.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use hakiri_core::codes::Code;
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result};
use object_store::client::HttpErrorKind;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion};

use super::s3::{self, Fault, http_kind, lacks_bucket};
use super::{Created, S3Settings, StoredFile, derived};

/// How often a conditional write is tried that met another one.
const ATTEMPTS: u32 = 8;
/// The first wait between them; doubled each time, so that all of them take about six seconds.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    root: Path,
    location: String,
}

impl Bucket {
    pub(super) fn new(settings: &S3Settings, project: &str) -> Result<Self> {
        let store = s3::connect(settings)?;
        let root = [settings.prefix.trim_matches('/'), project]
            .into_iter()
            .filter(|p| !p.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        Ok(Self {
            store: Arc::new(store),
            location: format!("s3://{}/{root}", settings.bucket),
            root: Path::from(root),
        })
    }

    #[cfg(test)]
    pub(super) fn over(store: Arc<dyn ObjectStore>, root: &str) -> Self {
        Self { store, root: Path::from(root), location: format!("test/{root}") }
    }

    pub(super) fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    pub(super) fn prefix(&self) -> Path {
        self.root.clone()
    }

    pub(super) fn location(&self) -> String {
        self.location.clone()
    }

    fn key(&self, path: &str) -> Path {
        self.root.parts().chain(path.split('/').map(Into::into)).collect()
    }

    fn failed(&self, path: &str, e: &object_store::Error) -> Error {
        explained(e).at(format!("{}/{path}", self.location))
    }

    /// The bytes and their ETag.
    pub(super) async fn read(&self, path: &str) -> Result<Option<(Bytes, Option<String>)>> {
        let got = match self.store.get(&self.key(path)).await {
            Ok(got) => got,
            Err(e @ object_store::Error::NotFound { .. }) if !lacks_bucket(&e) => return Ok(None),
            Err(e) => return Err(self.failed(path, &e)),
        };
        let tag = got.meta.e_tag.clone();
        Ok(Some((got.bytes().await.map_err(|e| self.failed(path, &e))?, tag)))
    }

    pub(super) async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let mut wait = FIRST_WAIT;
        for _ in 0..ATTEMPTS {
            let met = match self.put(path, bytes.clone(), PutMode::Create).await {
                Ok(()) => return Ok(Created::New),
                Err(e) => e,
            };
            if !is_conflict(&met) && !is_unknown(&met) {
                return Err(self.failed(path, &met));
            }
            // Taken by ourselves or another, or being taken right now (409): what is there decides.
            if let Some((there, _)) = self.read(path).await? {
                return Ok(Created::Existing(there));
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(self.busy(path))
    }

    pub(super) async fn replace(&self, path: &str, bytes: Bytes, seq: u64) -> Result<bool> {
        let mut wait = FIRST_WAIT;
        for _ in 0..ATTEMPTS {
            let there = self.read(path).await?;
            if !derived::replaces(there.as_ref().map(|(bytes, _)| bytes.as_ref()), &bytes, seq) {
                return Ok(false);
            }
            let mode = match there {
                Some((_, e_tag)) => PutMode::Update(UpdateVersion { e_tag, version: None }),
                None => PutMode::Create,
            };
            match self.put(path, bytes.clone(), mode).await {
                Ok(()) => return Ok(true),
                Err(e) if is_conflict(&e) || is_unknown(&e) => {}
                Err(e) => return Err(self.failed(path, &e)),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(self.busy(path))
    }

    /// Whether a create-only write of an object that exists is refused, as it must be.
    pub(super) async fn refuses_overwrite(&self, path: &str, bytes: Bytes) -> Result<bool> {
        let mut wait = FIRST_WAIT;
        for _ in 0..ATTEMPTS {
            match self.put(path, bytes.clone(), PutMode::Create).await {
                Ok(()) => return Ok(false),
                Err(e) if is_conflict(&e) => return Ok(true),
                Err(e) if is_unknown(&e) => {}
                Err(e) => return Err(self.failed(path, &e)),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(self.busy(path))
    }

    async fn put(&self, path: &str, bytes: Bytes, mode: PutMode) -> object_store::Result<()> {
        let options = PutOptions { mode, ..PutOptions::default() };
        self.store.put_opts(&self.key(path), PutPayload::from(bytes), options).await.map(drop)
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<StoredFile>> {
        let prefix = if folder.is_empty() { self.root.clone() } else { self.key(folder) };
        let depth = self.root.parts().count();
        self.store
            .list(Some(&prefix))
            .map_ok(|meta| StoredFile {
                path: meta.location.parts().skip(depth).map(|p| p.as_ref().to_owned()).collect::<Vec<_>>().join("/"),
                size: meta.size,
                modified: Instant::from_millis(meta.last_modified.timestamp_millis()),
            })
            .try_collect()
            .await
            .map_err(|e| self.failed(folder, &e))
    }

    pub(super) async fn delete(&self, path: &str) -> Result<()> {
        match self.store.delete(&self.key(path)).await {
            Ok(()) => Ok(()),
            Err(e @ object_store::Error::NotFound { .. }) if !lacks_bucket(&e) => Ok(()),
            Err(e) => Err(self.failed(path, &e)),
        }
    }

    fn busy(&self, path: &str) -> Error {
        Error::new(Code::CatalogConflict, format!("other writers kept changing it through {ATTEMPTS} tries"))
            .at(format!("{}/{path}", self.location))
    }
}

/// 412, 409, and the 304 and 404 that some stores answer instead.
fn is_conflict(e: &object_store::Error) -> bool {
    use object_store::Error::{AlreadyExists, NotFound, NotModified, Precondition};
    match e {
        AlreadyExists { .. } | Precondition { .. } | NotModified { .. } => true,
        NotFound { .. } => !lacks_bucket(e),
        _ => false,
    }
}

/// No answer came: the write may have been carried out.
fn is_unknown(e: &object_store::Error) -> bool {
    matches!(http_kind(e), Some(HttpErrorKind::Timeout | HttpErrorKind::Interrupted))
}

fn explained(e: &object_store::Error) -> Error {
    let (fault, said) = s3::fault(e);
    match fault {
        Fault::Denied => Error::new(Code::StoreDenied, said),
        Fault::NoBucket => Error::new(Code::StoreUnavailable, said)
            .with_kind(hakiri_core::Kind::Permanent)
            .with_hint("check the bucket's name, or create it"),
        Fault::Unavailable => Error::new(Code::StoreUnavailable, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_short_and_quote_only_the_code() {
        let source = "status code: 404 Not Found: <Error><Code>NoSuchBucket</Code><Key>AKID</Key></Error> ";
        let missing = object_store::Error::NotFound { path: "a".into(), source: source.into() };
        assert!(lacks_bucket(&missing) && !is_conflict(&missing));
        let error = explained(&missing);
        assert_eq!(
            (error.message(), error.kind()),
            ("the bucket was not found (NoSuchBucket)", hakiri_core::Kind::Permanent)
        );
        let generic =
            object_store::Error::Generic { store: "S3", source: "status code: 503 Slow: <Code>SlowDown</Code>".into() };
        assert_eq!(explained(&generic).message(), "the bucket answered 503 (SlowDown)");
        let other = object_store::Error::Generic { store: "S3", source: "secret".into() };
        assert_eq!(explained(&other).message(), "the bucket did not answer as expected");
    }
}
