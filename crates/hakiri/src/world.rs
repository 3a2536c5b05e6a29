//! Everything a command needs from outside of the process, opened once: manifest, catalog, store, connectors, clock.

#![allow(clippy::disallowed_methods)] // makes the state folder and resolves the store's path

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hakiri_core::catalog::{Catalog, CatalogError, Key, Kind, PageRequest, Record};
use hakiri_core::codes::Code;
use hakiri_core::id::PipelineId;
use hakiri_core::layout::MARKER;
use hakiri_core::source::{Cancel, Connectors};
use hakiri_core::time::Clock as _;
use hakiri_core::transform::Transforms;
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
        let state_dir = dir.join(".hakiri");
        let clock = Arc::new(SystemClock);
        let named = in_environment(project.env.as_deref())?;
        let catalog_path = match &project.catalog.path {
            Some(path) => dir.join(path),
            None => state_dir.join(format!("catalog{named}.sqlite")),
        };
        let broken = |e: CatalogError| {
            // Without a wait to try again after, it is not a lock.
            let permanent = matches!(e, CatalogError::Unavailable { retry_after: 0, .. });
            let error = Error::from(e).at(catalog_path.display().to_string());
            if permanent {
                error.with_hint(
                    "check that you may read and write the file and its folder, and that it is on a local disk",
                )
            } else {
                error
            }
        };
        let store = open_store(&dir, loaded, &named)?;
        let root = governed(&dir, &store.location());
        let fresh = !catalog_path.exists();
        if fresh {
            refuse_orphan(&store, &dir, &catalog_path, access).await?;
        }
        let catalog: Arc<dyn Catalog> = match access {
            Access::Read if fresh => Arc::new(hakiri_catalog::memory(clock.clone())),
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
        // Before anything is written into a store that is not this catalog's.
        let bound = same_store(&*catalog, &root).await?;
        if access == Access::Write && !bound {
            bind(&*catalog, &store, &root, fresh.then_some(&catalog_path)).await?;
        } else if access == Access::Write {
            store.claim(&catalog.info().await?.id).await?;
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
            transforms: transforms(),
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
        SystemClock.now()
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

/// The setting that says which store a catalog governs.
const ROOT: &str = "root";

/// A store's place as the catalog keeps it: relative to the project where it lies inside, so that the folder may move.
fn governed(dir: &Path, location: &str) -> String {
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    match Path::new(location).strip_prefix(dir) {
        Ok(inside) => inside.display().to_string(),
        Err(_) => location.to_owned(),
    }
}

/// Whether the catalog knows its store, which then must be this one (S11). One that never wrote knows none.
async fn same_store(catalog: &dyn Catalog, root: &str) -> Result<bool> {
    match catalog.get(&Key::setting(ROOT)).await? {
        Some(Record::Setting(value)) if value.as_str() == Some(root) => Ok(true),
        Some(Record::Setting(value)) => {
            let other = value.as_str().unwrap_or("another store");
            Err(Error::new(Code::StoreOther, format!("the catalog governs {other}, and the manifest names {root}")))
        }
        _ => Ok(false),
    }
}

/// Makes the catalog govern the store, and remember it.
async fn bind(catalog: &dyn Catalog, store: &Store, root: &str, fresh: Option<&PathBuf>) -> Result<()> {
    if let Err(e) = store.claim(&catalog.info().await?.id).await {
        // A catalog made for a store that it does not get is in the way of the right one, unless its marker is there.
        let lasting = matches!(e.kind(), hakiri_core::error::Kind::Permanent | hakiri_core::error::Kind::Usage);
        if let Some(path) = fresh.filter(|_| lasting)
            && matches!(store.get(MARKER).await, Ok(None))
        {
            for suffix in ["", "-wal", "-shm"] {
                let mut name = path.clone().into_os_string();
                name.push(suffix);
                let _ = std::fs::remove_file(name);
            }
        }
        return Err(e);
    }
    let setting = Record::Setting(root.into());
    match catalog.append(&setting, Some(&Key::setting(ROOT))).await {
        // Another process was first: it may have named another store.
        Err(CatalogError::Conflict(_)) => same_store(catalog, root).await.map(drop),
        other => Ok(other?),
    }
}

/// A store that a catalog governs which is not there: a new one could not write to it, and it is not empty to read.
async fn refuse_orphan(store: &Store, dir: &Path, catalog: &Path, access: Access) -> Result<()> {
    let marker = match (store.get(MARKER).await, access) {
        (Ok(marker), _) => marker,
        // Before the first run the store need not be in reach of those who only look.
        (Err(_), Access::Read) => None,
        (Err(e), Access::Write) => return Err(e),
    };
    if marker.is_none() {
        return Ok(());
    }
    // No catalog has an empty identity: this only judges, and writes nothing.
    match store.claim("").await {
        Err(e) if e.code() == Code::StoreForeign => {
            let location = store.location();
            let catalog = catalog.strip_prefix(dir).unwrap_or(catalog).display();
            Err(Error::new(
                Code::StoreForeign,
                format!("the store {location} is governed by a catalog, and {catalog} is not there"),
            )
            .with_hint(format!(
                "restore the catalog, or use another store; `hakiri query --store {location} \"…\"` reads without it"
            )))
        }
        other => other,
    }
}

/// The store of a project.
fn open_store(dir: &Path, loaded: &Loaded, named: &str) -> Result<Store> {
    let context = loaded.project.context.clone();
    let path = context.path.unwrap_or_else(|| format!(".hakiri/context{named}"));
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
            if endpoint.is_some() && environment::variable("AWS_ACCESS_KEY_ID").is_none() {
                // Without a key the client would look for the roles that only AWS gives its machines.
                return Err(Error::new(Code::StoreDenied, format!("there are no credentials for {path}"))
                    .with_kind(hakiri_core::error::Kind::Usage)
                    .with_hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"));
            }
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

/// A project's folder in a store, by path or URL, to look at it without its catalog.
///
/// # Errors
/// `HK0002` for what cannot be one; any store error.
pub fn open_project_in_store(url: &str, endpoint: Option<String>, region: Option<String>) -> Result<Store> {
    let unnamed = || {
        Error::new(Code::Arguments, format!("`{url}` does not name a project's folder in a store"))
            .with_hint("write path/project or s3://bucket/prefix/project")
    };
    let here = environment::current_dir()?;
    if let Some(rest) = url.strip_prefix("s3://") {
        let (root, project) = rest.trim_end_matches('/').rsplit_once('/').ok_or_else(unnamed)?;
        return open_store_at(&here, &format!("s3://{root}"), endpoint, region, project);
    }
    if url.is_empty() || url.contains("://") {
        return Err(unnamed());
    }
    let folder = std::fs::canonicalize(here.join(url)).map_err(|e| {
        Error::new(Code::Arguments, format!("{url}: {}", e.kind())).with_hint("name a project's folder in a store")
    })?;
    match (folder.parent(), folder.components().next_back()) {
        (Some(root), Some(Component::Normal(project))) => Store::local(root, project.to_str().ok_or_else(unnamed)?),
        _ => Err(unnamed()),
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
