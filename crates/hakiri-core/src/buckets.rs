//! The port to buckets that sources read from: services that speak S3.
//!
//! Narrow on purpose: the objects below a prefix, and a range of one version of an object. Where the service is, who signs
//! and how often a request is tried again is the adapter's, as it is for a store in a bucket, so that a connector sees
//! neither credentials nor the environment. Nothing is ever held whole: listings come page by page, objects in ranges (P7).

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key, which does not end in `/`: such keys only mark folders and are not listed.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The entity tag that the service gave this version, in quotes.
    pub tag: String,
}

/// A part of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In no promised order.
    pub objects: Vec<Object>,
    /// What gives the next part; none: this was the last.
    pub next: Option<String>,
}

/// How far a listing goes below its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Keys without another `/` after the prefix.
    Shallow,
    /// All.
    Deep,
}

/// All buckets that the process may read.
#[async_trait]
pub trait Buckets: Send + Sync + fmt::Debug {
    /// The objects whose keys start with `prefix`, of which `after` is what an earlier page ended with.
    ///
    /// # Errors
    /// `HK0404` when access is refused, `HK0601` when there is no such bucket, `HK0607`.
    async fn list(&self, bucket: &str, prefix: &str, depth: Depth, after: Option<&str>) -> Result<Page>;

    /// A range of exactly this version of an object; an empty range asks only whether it is still there.
    ///
    /// # Errors
    /// `HK0406` when the object is gone or has another version now; `HK0404`, `HK0607`.
    async fn read(&self, bucket: &str, object: &Object, range: Range<u64>) -> Result<Bytes>;

    /// The folder of the project's own store where it lies in this bucket: not a source.
    fn own<'a>(&'a self, bucket: &str) -> Option<&'a str>;
}
