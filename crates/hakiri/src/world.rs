//! Everything a command needs from outside of the process, opened once: manifest, catalog, store, connectors, clock.

#![allow(clippy::disallowed_methods)] // makes the state folder and resolves the store's path

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hakiri_core::catalog::{Catalog, Kind, PageRequest, Record};
use hakiri_core::codes::Code;
use hakiri_core::id::PipelineId;
use hakiri_core::source::{Cancel, Connectors};
use hakiri_core::time::Clock as _;
use hakiri_core::{Error, Result};
use hakiri_engine::engine::{Events, SecretSource};
use hakiri_engine::store::{S3Settings, Store};
use hakiri_engine::{Engine, Settings};

use crate::cli::GlobalArgs;
use crate::environment::{self, EnvironmentSecrets, SystemClock};
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
    /// Its folder.
    pub dir: PathBuf,
    /// The folder for state that is always local: `.hakiri`.
    pub state_dir: PathBuf,
}

/// All connectors of this binary.
pub fn connectors() -> Arc<dyn Connectors> {
    Arc::new(hakiri_connect::Builtin)
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
    /// Any catalog or store error; `HK0302` when the store belongs to another catalog.
    pub async fn open(
        args: &GlobalArgs,
        loaded: &Loaded,
        access: Access,
        events: Arc<dyn Events>,
        cancel: Cancel,
    ) -> Result<Self> {
        let (dir, project) = (loaded.dir.clone(), loaded.project.clone());
        let state_dir = dir.join(".hakiri");
        let clock = Arc::new(SystemClock);
        let catalog_path =
            project.catalog.path.as_ref().map_or_else(|| state_dir.join("catalog.sqlite"), |p| dir.join(p));
        let broken = |e: hakiri_core::catalog::CatalogError| Error::from(e).at(catalog_path.display().to_string());
        let catalog: Arc<dyn Catalog> = match access {
            Access::Read if !catalog_path.exists() => Arc::new(hakiri_catalog::memory(clock.clone())),
            Access::Read => {
                Arc::new(hakiri_catalog::sqlite::open_reader(&catalog_path, clock.clone()).map_err(broken)?)
            }
            Access::Write => {
                make_dir(&state_dir)?;
                make_dir(catalog_path.parent().unwrap_or(&state_dir))?;
                let id = environment::new_id()?;
                Arc::new(hakiri_catalog::sqlite::open(&catalog_path, clock.clone(), &id).map_err(broken)?)
            }
        };
        let store = open_store(&dir, loaded)?;
        if access == Access::Write {
            let info = catalog.info().await?;
            store.claim(&info.id).await?;
        }
        let temp_dir = state_dir.join("tmp");
        if access == Access::Write {
            clear_stale(&temp_dir);
            make_dir(&temp_dir)?;
        }
        let secrets: Arc<dyn SecretSource> = Arc::new(EnvironmentSecrets::new(&dir));
        let engine = Engine {
            project,
            catalog,
            store: Arc::new(store),
            connectors: connectors(),
            transforms: Arc::new(hakiri_query::SqlTransforms::new()),
            secrets,
            clock,
            events,
            cancel,
            settings: Settings {
                project_dir: dir.clone(),
                temp_dir,
                memory: args.memory,
                batch_rows: 8192,
                lease_ttl_ms: LEASE_TTL_MS,
                deadline_ms: DEADLINE_MS,
                // With the pipeline's lock held, a claim of this name can only be a dead process's: it is ours at once.
                worker: "local".to_owned(),
                sole_worker: true,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        };
        Ok(Self { engine, dir, state_dir })
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
                Err(Error::new(Code::CatalogNotFound, format!("the pipeline `{pipeline}` has no committed table")))
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

    /// Now, in whole milliseconds.
    pub fn now(&self) -> hakiri_core::time::Instant {
        SystemClock.now()
    }
}

/// The store of a project.
fn open_store(dir: &Path, loaded: &Loaded) -> Result<Store> {
    let context = loaded.project.context.clone();
    let path = context.path.unwrap_or_else(|| ".hakiri/context".to_owned());
    open_store_at(dir, &path, context.endpoint, context.region, loaded.project.name.as_str())
}

/// A store by path or URL; `project` is its folder in it.
///
/// # Errors
/// `HK0110` for a URL that is not understood; any store error.
pub fn open_store_at(
    dir: &Path,
    path: &str,
    endpoint: Option<String>,
    region: Option<String>,
    project: &str,
) -> Result<Store> {
    match path.strip_prefix("s3://") {
        Some(rest) => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let endpoint = endpoint
                .or_else(|| environment::variable("AWS_ENDPOINT_URL_S3"))
                .or_else(|| environment::variable("AWS_ENDPOINT_URL"));
            Store::s3(
                &S3Settings {
                    bucket: bucket.to_owned(),
                    prefix: prefix.trim_matches('/').to_owned(),
                    allow_http: endpoint.as_deref().is_some_and(|e| e.starts_with("http://")),
                    endpoint,
                    region: region
                        .or_else(|| environment::variable("AWS_REGION"))
                        .or_else(|| environment::variable("AWS_DEFAULT_REGION")),
                    access_key_id: environment::variable("AWS_ACCESS_KEY_ID"),
                    secret_access_key: environment::variable("AWS_SECRET_ACCESS_KEY")
                        .map(hakiri_core::secret::Secret::new),
                    session_token: environment::variable("AWS_SESSION_TOKEN").map(hakiri_core::secret::Secret::new),
                },
                project,
            )
        }
        None if path.contains("://") => Err(Error::new(Code::ManifestValue, format!("`{path}` is not a store"))
            .with_hint("use a folder or s3://bucket/prefix")),
        None => Store::local(&dir.join(path), project),
    }
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
