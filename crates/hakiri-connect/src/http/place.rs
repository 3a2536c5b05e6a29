//! Where in its order of requests a read is, so that a later attempt goes on from there (E4). Pure.
//!
//! Either the next page of the tree's root, or a page of it with how many of its records are read with all that is below
//! them. That page is asked for again; if its records are others it is not known what to skip, and the step starts again.

use hakiri_core::hash::Hash;
use serde::{Deserialize, Serialize};

use super::paginate::Position;

/// What the limits of a resource are held against, by its place in the site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Pages asked for.
    pub pages: Vec<u64>,
    /// Records seen.
    pub rows: Vec<u64>,
    /// Answers whose status the manifest skips.
    pub skipped: u64,
}

impl Counts {
    /// Of so many resources.
    pub fn new(resources: usize) -> Self {
        Self { pages: vec![0; resources], rows: vec![0; resources], skipped: 0 }
    }
}

/// A place to go on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// A page of the root.
    pub page: Position,
    /// What of it is read already; none where it was not asked for.
    pub within: Option<Within>,
    /// Whether there is no such page, since the one before was the last.
    pub ended: bool,
    /// What was counted so far.
    pub counts: Counts,
}

/// A page that is read in part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Within {
    /// The SHA-256 of its records, each preceded by its length.
    pub digest: Hash,
    /// How many of its records are read with everything below them.
    pub records: usize,
}

/// The root's page that is under way.
#[derive(Debug)]
pub struct Page {
    /// Where it was asked for.
    pub at: Position,
    /// The SHA-256 of its records, each preceded by its length.
    pub digest: Hash,
    /// Of how many of its records the reading was begun.
    pub begun: usize,
}

impl Page {
    /// What of it is read when all that was begun is; nothing that is worth telling before the first.
    pub fn within(&self) -> Option<Within> {
        (self.begun > 0).then(|| Within { digest: self.digest.clone(), records: self.begun })
    }
}
