//! Which file is to blame when a query cannot read its parts.
//!
//! A Parquet reader that meets a wrong byte says so in the terms of its format: a footer, a page, a range. Which file it
//! was in is lost on the way through the query engine, and a file that is merely cut short looks like a store out of
//! reach. So after such an error, and only then, the parts of the query's tables are compared with what their manifests
//! say: whether they are there, how long they are, and last their hash, which reads them.

use std::sync::Arc;

use futures::StreamExt as _;
use hakiri_core::Error;
use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::manifest::Part;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};

/// The parts a query reads.
#[derive(Debug)]
pub(crate) struct Inspector {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    pub(crate) parts: Vec<Part>,
}

impl Inspector {
    /// The error, or a better one that names the first file that is not as committed: `HK0305`, `HK0306`.
    pub(crate) async fn explain(&self, error: Error) -> Error {
        if !matches!(error.code(), Code::StoreMissing | Code::StoreDamaged | Code::StoreUnavailable) {
            return error;
        }
        for part in &self.parts {
            match self.store.head(&self.path(part)).await {
                Err(object_store::Error::NotFound { .. }) => {
                    return Error::new(Code::StoreMissing, "the store does not have a part that was committed")
                        .at(&part.path);
                }
                Ok(meta) if meta.size != part.bytes => {
                    return Error::new(
                        Code::StoreDamaged,
                        format!("the part has {} bytes, {} were committed", meta.size, part.bytes),
                    )
                    .at(&part.path);
                }
                // Out of reach: the first error says it well enough.
                Err(_) => return error,
                Ok(_) => {}
            }
        }
        for part in &self.parts {
            match self.hash(part).await {
                Some(hash) if hash != part.sha256 => {
                    return Error::new(Code::StoreDamaged, "the part's bytes are not those that were committed")
                        .at(&part.path);
                }
                Some(_) => {}
                None => return error,
            }
        }
        error
    }

    fn path(&self, part: &Part) -> Path {
        self.root.parts().chain(Path::from(part.path.as_str()).parts()).collect()
    }

    async fn hash(&self, part: &Part) -> Option<Hash> {
        let mut bytes = self.store.get(&self.path(part)).await.ok()?.into_stream();
        let mut hasher = Sha256::new();
        while let Some(chunk) = bytes.next().await {
            hasher.update(chunk.ok()?);
        }
        Some(Hash::from_digest(&hasher.finalize()))
    }
}
