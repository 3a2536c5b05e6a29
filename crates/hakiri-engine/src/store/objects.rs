//! A bucket that sources read from: any keys, read only, nothing of the store's rules.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use hakiri_core::buckets::{Depth, Object, Page};
use hakiri_core::codes::Code;
use hakiri_core::{Error, Kind, Result};
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore as _, ObjectStoreExt as _};

use super::S3Settings;
use super::s3::{self, Fault, lacks_bucket};

/// Empty objects that are asked about at once.
const AT_ONCE: usize = 16;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Objects {
    client: Arc<AmazonS3>,
}

impl Objects {
    /// A bucket; the settings' prefix means nothing here. Makes no request.
    ///
    /// # Errors
    /// `HK0110` for settings that cannot work together.
    pub fn new(settings: &S3Settings) -> Result<Self> {
        Ok(Self { client: Arc::new(s3::connect(settings)?) })
    }

    /// See [`hakiri_core::buckets::Buckets::list`].
    ///
    /// # Errors
    /// As there.
    pub async fn list(&self, prefix: &str, depth: Depth, after: Option<&str>) -> Result<Page> {
        let options = PaginatedListOptions {
            delimiter: (depth == Depth::Shallow).then_some("/".into()),
            page_token: after.map(str::to_owned),
            ..PaginatedListOptions::default()
        };
        let listed = self.client.list_paginated(Some(prefix).filter(|p| !p.is_empty()), options);
        let page = listed.await.map_err(|e| explained(&e))?;
        let objects: Vec<Option<Object>> = stream::iter(page.result.objects)
            .map(|meta| self.object(meta, prefix, depth))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Page { objects: objects.into_iter().flatten().collect(), next: page.page_token })
    }

    /// A listed object; none for a key that ends in `/`, of which the client shows the key without it.
    async fn object(&self, listed: ObjectMeta, prefix: &str, depth: Depth) -> Result<Option<Object>> {
        let is_marker_of_prefix = !listed.location.as_ref().starts_with(prefix);
        if is_marker_of_prefix {
            return Ok(None);
        }
        let mut meta = listed;
        // In a shallow listing such keys are folders already.
        if meta.size == 0 && depth == Depth::Deep {
            meta = match self.client.head(&meta.location).await {
                Ok(meta) => meta,
                Err(e @ object_store::Error::NotFound { .. }) if !lacks_bucket(&e) => return Ok(None),
                Err(e) => return Err(explained(&e).at(meta.location.as_ref())),
            };
        }
        let key = String::from(meta.location);
        match meta.e_tag {
            Some(tag) => Ok(Some(Object { key, size: meta.size, tag: quoted(&tag) })),
            None => Err(Error::new(Code::FileBucket, "the bucket gives its objects no ETag")
                .with_kind(Kind::Permanent)
                .at(key)
                .with_hint(
                    "use a service that gives one (S3, R2, SeaweedFS): without it a changed file goes unnoticed",
                )),
        }
    }

    /// See [`hakiri_core::buckets::Buckets::read`].
    ///
    /// # Errors
    /// As there.
    pub async fn read(&self, object: &Object, range: Range<u64>) -> Result<Bytes> {
        let changed = || Error::new(Code::SourceChanged, "the file changed since the plan was made");
        let key = Path::parse(&object.key).map_err(|e| explained(&e.into()))?;
        let wanted = range.end.saturating_sub(range.start);
        let options = GetOptions {
            if_match: Some(object.tag.clone()),
            // No range at all for nothing: services refuse an empty one.
            range: (wanted > 0).then_some(GetRange::Bounded(range)),
            head: wanted == 0,
            ..GetOptions::default()
        };
        let got = match self.client.get_opts(&key, options).await {
            Ok(got) => got,
            Err(object_store::Error::Precondition { .. }) => return Err(changed()),
            Err(e @ object_store::Error::NotFound { .. }) if !lacks_bucket(&e) => {
                return Err(Error::new(Code::SourceChanged, "the file vanished since the plan was made"));
            }
            // It is shorter now, and the service looked at the range first.
            Err(e) if e.to_string().contains("InvalidRange") => return Err(changed()),
            Err(e) => return Err(explained(&e)),
        };
        // Some services ignore the condition.
        if got.meta.size != object.size || got.meta.e_tag.as_deref().map(quoted).as_ref() != Some(&object.tag) {
            return Err(changed());
        }
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let bytes = got.bytes().await.map_err(|e| explained(&e))?;
        if bytes.len() as u64 != wanted {
            return Err(Error::new(Code::FileBucket, "the bucket's answer is not as long as what was asked for"));
        }
        Ok(bytes)
    }
}

/// Listings and headers of some services differ in the quotes.
fn quoted(tag: &str) -> String {
    format!("\"{}\"", tag.trim_matches('"'))
}

fn explained(e: &object_store::Error) -> Error {
    if let object_store::Error::InvalidPath { source } = e {
        let what: String = source.to_string().chars().take(200).collect();
        return Error::new(Code::FileBucket, format!("the bucket has a key that cannot be read: {what}"))
            .with_kind(Kind::Permanent)
            .with_hint("rename the object, or have the part of `path` before the first wildcard lead past it");
    }
    let (fault, said) = s3::fault(e);
    match fault {
        Fault::Denied => Error::new(Code::SourceAuth, said).with_hint(
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may list the bucket and read its objects",
        ),
        Fault::NoBucket => Error::new(Code::FileNotFound, said)
            .with_hint("check the bucket's name in `path`, and that AWS_ENDPOINT_URL is the service that has it"),
        Fault::Unavailable => Error::new(Code::FileBucket, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_one_spelling() {
        for tag in ["abc-2", "\"abc-2\""] {
            assert_eq!(quoted(tag), "\"abc-2\"");
        }
    }
}
