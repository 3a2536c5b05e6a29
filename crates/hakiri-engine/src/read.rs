//! From a head to what a reader sees: the manifests behind it, newest to oldest, as [`TableView`]s.
//!
//! A head is enough: each manifest names the one before it. So the same walk serves a catalog and a bucket without one
//! (the derived `heads/`), and there is one way to read a store.
//!
//! A chain has a manifest for every run since the last snapshot, and each commit walks it to publish its view. A process
//! that commits every minute keeps the manifests it has read ([`Kept`]): they are named by their hash and never change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use hakiri_core::catalog::{Head, TableHead};
use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::id::{PipelineId, ProjectName, TableName};
use hakiri_core::manifest::{FORMAT, FileRef, Subject, TableManifest};
use hakiri_core::view::{Layer, TableView};
use hakiri_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::store::Store;

/// The head of a pipeline as it is published in the store (`heads/<pipeline>.json`): what a reader without the catalog
/// needs, and what a lost catalog can be rebuilt from. No lease, epoch or time (S4, S5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedHead {
    /// Format version.
    pub format: u32,
    /// The project.
    pub project: ProjectName,
    /// The pipeline.
    pub pipeline: PipelineId,
    /// Its last commit.
    pub seq: u64,
    /// Its generation.
    pub generation: u64,
    /// Its tables.
    pub tables: BTreeMap<TableName, TableHead>,
}

impl PublishedHead {
    /// What is published of a head.
    pub fn new(project: &ProjectName, head: &Head) -> Self {
        Self {
            format: FORMAT,
            project: project.clone(),
            pipeline: head.pipeline.clone(),
            seq: head.seq,
            generation: head.generation,
            tables: head.tables.clone(),
        }
    }
}

/// The published heads of a store: for readers without a catalog.
///
/// # Errors
/// Any store error; `HK0307` for a newer format.
pub async fn published_heads(store: &Store) -> Result<Vec<PublishedHead>> {
    let mut heads = Vec::new();
    for file in store.list("heads/").await? {
        let Some(bytes) = store.get(&file.path).await? else { continue };
        let head: PublishedHead = serde_json::from_slice(&bytes)
            .map_err(|e| Error::new(Code::StoreDamaged, format!("{}: {e}", file.path)))?;
        if head.format > FORMAT {
            return Err(Error::new(Code::StoreNewer, format!("{} has format {}", file.path, head.format)));
        }
        heads.push(head);
    }
    heads.sort_by(|a, b| a.pipeline.cmp(&b.pipeline));
    Ok(heads)
}

/// The tables of a pipeline at one commit: all of them, of that commit, or an error (S4).
///
/// # Errors
/// `HK0305` and `HK0306` for manifests that are missing or damaged, `HK0307` for a newer format.
pub async fn views(
    store: &Store,
    pipeline: &PipelineId,
    seq: u64,
    tables: &BTreeMap<TableName, TableHead>,
) -> Result<Vec<TableView>> {
    views_keeping(store, &Kept::default(), pipeline, seq, tables).await
}

/// As [`views`], with manifests that were read before.
///
/// # Errors
/// As [`views`]; what was kept is not looked at again, so that damage since then is not noticed here.
pub async fn views_keeping(
    store: &Store,
    kept: &Kept,
    pipeline: &PipelineId,
    seq: u64,
    tables: &BTreeMap<TableName, TableHead>,
) -> Result<Vec<TableView>> {
    let mut views = Vec::new();
    for (table, head) in tables {
        let Some(schema) = &head.schema else { continue };
        views.push(TableView {
            table: table.clone(),
            pipeline: pipeline.clone(),
            seq,
            schema: schema.clone(),
            merge: head.merge.clone(),
            layers: layers(store, kept, head).await?,
        });
    }
    Ok(views)
}

/// The layers of a table, oldest first: the snapshot, if there is one, and the runs it does not cover.
async fn layers(store: &Store, kept: &Kept, head: &TableHead) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    let covers = head.snapshot.as_ref().map_or(0, |s| s.covers);
    let mut next = head.manifest.clone();
    while let Some(file) = next {
        let manifest = kept.load(store, &file).await?;
        if manifest.seq <= covers {
            break;
        }
        next = manifest.previous.clone();
        layers.push(layer(file, &manifest));
    }
    if let Some(snapshot) = &head.snapshot {
        layers.push(layer(snapshot.manifest.clone(), &*kept.load(store, &snapshot.manifest).await?));
    }
    layers.reverse();
    Ok(layers)
}

fn layer(file: FileRef, manifest: &TableManifest) -> Layer {
    Layer {
        manifest: file,
        seq: manifest.seq,
        snapshot: matches!(manifest.subject, Subject::Snapshot { .. }),
        schema: manifest.schema.clone(),
        parts: manifest.parts.clone(),
    }
}

/// Manifests that a process has read, so that it does not read them again: at most so many, and none by default.
#[derive(Debug, Default)]
pub struct Kept {
    most: usize,
    manifests: Mutex<HashMap<Hash, Arc<TableManifest>>>,
}

impl Kept {
    /// Keeps at most so many manifests, of about a KiB each; beyond it they are read anew.
    pub fn at_most(most: usize) -> Self {
        Self { most, manifests: Mutex::default() }
    }

    async fn load(&self, store: &Store, file: &FileRef) -> Result<Arc<TableManifest>> {
        let lock = || self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&file.sha256) {
            return Ok(known.clone());
        }
        let manifest = Arc::new(load_manifest(store, file).await?);
        let mut manifests = lock();
        if manifests.len() >= self.most {
            // Which to let go does not matter much: a chain that does not fit is read from the store in part, and a
            // snapshot (`hakiri compact`) makes it short again.
            let gone = manifests.keys().next().cloned();
            gone.and_then(|hash| manifests.remove(&hash));
        }
        if self.most > 0 {
            manifests.insert(file.sha256.clone(), manifest.clone());
        }
        Ok(manifest)
    }
}

/// A manifest of the store, checked against its hash.
///
/// # Errors
/// As [`views`].
pub async fn load_manifest(store: &Store, file: &FileRef) -> Result<TableManifest> {
    let bytes = store.get_verified(file).await?;
    let manifest: TableManifest =
        serde_json::from_slice(&bytes).map_err(|e| Error::new(Code::StoreDamaged, format!("{}: {e}", file.path)))?;
    if manifest.format > FORMAT {
        return Err(Error::new(Code::StoreNewer, format!("{} has format {}", file.path, manifest.format)));
    }
    Ok(manifest)
}
