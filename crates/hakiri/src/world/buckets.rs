//! Buckets that sources read, reached and signed for as the store's is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use hakiri_core::Result;
use hakiri_core::buckets::{Buckets, Depth, Object, Page};
use hakiri_core::codes::Code;
use hakiri_engine::store::{Objects, Store};

use super::store::s3_settings;

/// See the module. Each bucket gets one client, at its first use: a project without such sources needs no credentials.
#[derive(Debug)]
pub(super) struct SourceBuckets {
    endpoint: Option<String>,
    region: Option<String>,
    /// Bucket and folder of the project's own store.
    own: Option<(String, String)>,
    opened: Mutex<BTreeMap<String, Objects>>,
}

impl SourceBuckets {
    /// `endpoint` and `region` are the manifest's, which win over the environment as they do for the store.
    pub(super) fn new(endpoint: Option<String>, region: Option<String>, store: &Store) -> Self {
        let own = store.location().strip_prefix("s3://").and_then(|rest| {
            let (bucket, folder) = rest.split_once('/')?;
            Some((bucket.to_owned(), folder.to_owned()))
        });
        Self { endpoint, region, own, opened: Mutex::default() }
    }

    fn open(&self, bucket: &str) -> Result<Objects> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(objects) = opened.get(bucket) {
            return Ok(objects.clone());
        }
        let shown = format!("s3://{bucket}");
        let settings = s3_settings(&shown, bucket, self.endpoint.clone(), self.region.clone(), Code::SourceAuth)?;
        let objects = Objects::new(&settings)?;
        opened.insert(bucket.to_owned(), objects.clone());
        Ok(objects)
    }
}

#[async_trait]
impl Buckets for SourceBuckets {
    async fn list(&self, bucket: &str, prefix: &str, depth: Depth, after: Option<&str>) -> Result<Page> {
        self.open(bucket)?.list(prefix, depth, after).await
    }

    async fn read(&self, bucket: &str, object: &Object, range: Range<u64>) -> Result<Bytes> {
        self.open(bucket)?.read(object, range).await
    }

    fn own<'a>(&'a self, bucket: &str) -> Option<&'a str> {
        self.own.as_ref().filter(|(name, _)| name == bucket).map(|(_, folder)| folder.as_str())
    }
}
