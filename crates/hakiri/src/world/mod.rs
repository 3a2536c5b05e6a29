//! Everything a command needs from outside of the process, opened once: manifest, catalog, store, connectors, clock.

#![allow(clippy::disallowed_methods)] // makes the state folder

mod buckets;
mod catalog;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hakiri_core::catalog::{Kind, PageRequest, Record};
use hakiri_core::codes::Code;
use hakiri_core::id::PipelineId;
use hakiri_core::source::{Cancel, Connectors};
use hakiri_core::transform::Transforms;
use hakiri_core::{Error, Result};
use hakiri_engine::engine::Events;
use hakiri_engine::{Engine, Settings};

pub use self::store::open_project_in_store;
use crate::aws;
use crate::cli::GlobalArgs;
use crate::environment::{self, EnvironmentSecrets};
use crate::project::{self, LoadError, Loaded};

/// How long a lease lasts without a heartbeat.
const LEASE_TTL_MS: i64 = 60_000;
/// How long a run may take with all its waits.
const DEADLINE_MS: i64 = 6 * 3_600_000;

/// Whether a command may create what is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It only looks: without a catalog it sees an empty one.
    Read,
    /// It writes.
    Write,
}

/// An opened project.
#[derive(Debug)]
pub struct World {
    /// The engine on it.
    pub engine: Engine,
    /// The folder for state that is always local: `.hakiri`.
    pub state_dir: PathBuf,
}

/// All connectors of this binary.
pub fn connectors() -> Arc<dyn Connectors> {
    Arc::new(hakiri_connect::Builtin)
}

/// The SQL that pipelines may use.
pub fn transforms() -> Arc<dyn Transforms> {
    Arc::new(hakiri_query::SqlTransforms::new())
}

/// Loads the manifest; its errors are printed by the caller.
///
/// # Errors
/// See [`LoadError`].
pub fn load(args: &GlobalArgs) -> Result<Loaded, LoadError> {
    project::load(args, &*connectors())
}

impl World {
    /// Opens catalog and store of a loaded project.
    ///
    /// # Errors
    /// Any catalog or store error; `HK0302` when the store belongs to another catalog, or to one that is gone; `HK0309`
    /// when the catalog governs another store.
    pub async fn open(
        args: &GlobalArgs,
        loaded: &Loaded,
        access: Access,
        events: Arc<dyn Events>,
        cancel: Cancel,
    ) -> Result<Self> {
        let (dir, project) = (loaded.dir.clone(), loaded.project.clone());
        let state_dir = loaded.state_dir.clone();
        let clock = environment::clock();
        let secrets = aws::secrets(EnvironmentSecrets::new(&dir), &clock)?;
        let named = in_environment(project.env.as_deref())?;
        let place = catalog::Place::of(&project, &dir, &named);
        let store = store::open_store(&dir, loaded, &named)?;
        if place.is_shared() && store.is_local() {
            return Err(Error::new(
                Code::ManifestValue,
                "a catalog with a URL is for several machines, and a local folder is not",
            )
            .at("[context] path")
            .with_hint("set `[context] path` to s3://bucket/prefix, or leave `[catalog] url` out on one machine"));
        }
        let root = catalog::governed(&dir, &store.location());
        if access == Access::Write {
            make_dir(&state_dir)?;
        }
        let (catalog, fresh) = catalog::open(&place, &project, &store, access, &clock, &*secrets).await?;
        // Before anything is written into a store that is not this catalog's.
        let bound = catalog::same_store(&*catalog, &root).await?;
        if access == Access::Write && !bound {
            catalog::bind(&*catalog, &store, &root, fresh.then_some(&place)).await?;
        } else if access == Access::Write {
            store.claim(&catalog.info().await?.id).await?;
        }
        let temp_dir = state_dir.join("tmp");
        if access == Access::Write {
            clear_stale(&temp_dir);
            make_dir(&temp_dir)?;
        }
        let shared = place.is_shared();
        let context = &project.context;
        let buckets = buckets::SourceBuckets::new(context.endpoint.clone(), context.region.clone(), &store);
        let engine = Engine {
            project,
            catalog,
            store: Arc::new(store),
            connectors: connectors(),
            transforms: transforms(),
            secrets,
            buckets: Some(Arc::new(buckets)),
            clock,
            events,
            cancel,
            drain: Cancel::default(),
            kept: Arc::default(),
            settings: Settings {
                project_dir: dir.clone(),
                temp_dir,
                memory: args.memory,
                steps_at_once: usize::MAX,
                batch_rows: 8192,
                lease_ttl_ms: LEASE_TTL_MS,
                deadline_ms: DEADLINE_MS,
                // With the pipeline's lock held, a claim of this name can only be a dead process's: it is ours at once.
                // On a shared catalog no lock says who is alive, and every process has a name of its own.
                worker: if shared { environment::worker_name()? } else { "local".to_owned() },
                sole_worker: !shared,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        };
        Ok(Self { engine, state_dir })
    }

    /// The pipelines a command means: those named, or all.
    ///
    /// # Errors
    /// `HK0906` with the names there are.
    pub fn pipelines(&self, names: &[String]) -> Result<Vec<PipelineId>> {
        let all = &self.engine.project.pipelines;
        if names.is_empty() {
            return Ok(all.iter().map(|p| p.id.clone()).collect());
        }
        names
            .iter()
            .map(|name| {
                all.iter().map(|p| &p.id).find(|id| id.as_str() == name).cloned().ok_or_else(|| {
                    let known: Vec<&str> = all.iter().map(|p| p.id.as_str()).collect();
                    Error::new(Code::NothingToDo, format!("the manifest has no pipeline `{name}`")).with_hint(format!(
                        "it has: {}",
                        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                    ))
                })
            })
            .collect()
    }

    /// The heads of all pipelines that ever committed, those the manifest no longer has included.
    ///
    /// # Errors
    /// Any catalog error.
    pub async fn heads(&self) -> Result<Vec<hakiri_core::catalog::Head>> {
        let mut heads = Vec::new();
        let mut page =
            PageRequest { kind: Kind::Head, prefix: Vec::new(), after: None, limit: 500, newest_first: false };
        loop {
            let listed = self.engine.catalog.list(&page).await?;
            heads.extend(listed.entries.iter().filter_map(|(_, r)| match r {
                Record::Head(head) => Some(head.clone()),
                _ => None,
            }));
            page.after = listed.entries.last().map(|(key, _)| key.clone());
            if !listed.more {
                return Ok(heads);
            }
        }
    }

    /// `pipeline` or `pipeline.table`, where the table may be the source's or the stored name.
    ///
    /// # Errors
    /// `HK0203` when there is no such table.
    pub async fn find_table(&self, text: &str) -> Result<(PipelineId, Option<hakiri_core::id::TableName>)> {
        let (pipeline, table) = match text.split_once('.') {
            Some((pipeline, table)) => (pipeline, Some(table)),
            None => (text, None),
        };
        let pipeline: PipelineId = pipeline.parse().map_err(|e: Error| {
            Error::new(Code::Arguments, e.message().to_owned()).with_hint("write pipeline.table")
        })?;
        let head = self.engine.head(&pipeline).await?;
        let Some(name) = table else {
            return if head.tables.is_empty() {
                Err(self.meant(text).await?.unwrap_or_else(|| {
                    Error::new(Code::CatalogNotFound, format!("the pipeline `{pipeline}` has no committed table"))
                }))
            } else {
                Ok((pipeline, None))
            };
        };
        match head.tables.iter().find(|(stored, t)| stored.as_str() == name || t.source_table == name) {
            Some((stored, _)) => Ok((pipeline, Some(stored.clone()))),
            None => {
                let known: Vec<&str> = head.tables.values().map(|t| t.source_table.as_str()).collect();
                Err(Error::new(
                    Code::CatalogNotFound,
                    format!("the pipeline `{pipeline}` has no committed table `{name}`"),
                )
                .with_hint(if known.is_empty() {
                    "run it first".to_owned()
                } else {
                    format!("it has: {}", known.join(", "))
                }))
            }
        }
    }

    /// The error for a stored table's name where `pipeline.table` belongs.
    async fn meant(&self, stored: &str) -> Result<Option<Error>> {
        let heads = self.heads().await?;
        let found = heads.iter().find_map(|h| {
            let (_, table) = h.tables.iter().find(|(name, _)| name.as_str() == stored)?;
            Some(format!("{}.{}", h.pipeline, table.source_table))
        });
        Ok(found.map(|name| {
            Error::new(Code::Arguments, format!("`{stored}` is a stored table, not a pipeline"))
                .with_hint(format!("write {name}"))
        }))
    }

    /// Now, in whole milliseconds.
    pub fn now(&self) -> hakiri_core::time::Instant {
        self.engine.clock.now()
    }
}

/// What an environment adds to the default names of catalog and store, so that it has its own: `-staging`.
fn in_environment(env: Option<&str>) -> Result<String> {
    let Some(env) = env else { return Ok(String::new()) };
    if env.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Ok(format!("-{env}"));
    }
    Err(Error::new(Code::ManifestValue, format!("the environment `{env}` cannot name a file"))
        .with_hint("use letters, digits, `-`, `_` and `.` in the names of environments"))
}

fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|e| Error::new(Code::Io, format!("{}: {e}", path.display())))
}

/// Temporary files of processes that are gone: those that nobody has written for a day.
fn clear_stale(temp_dir: &Path) {
    let Ok(entries) = std::fs::read_dir(temp_dir) else { return };
    for entry in entries.flatten() {
        let old = entry.metadata().ok().and_then(|m| m.modified().ok()).and_then(|t| t.elapsed().ok());
        if old.is_some_and(|age| age.as_secs() > 86_400) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
