//! The catalog that a manifest names, and the one store that it governs (S11).

#![allow(clippy::disallowed_methods)] // looks whether the catalog's file is there

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hakiri_core::catalog::{Catalog, CatalogError, CatalogResult, Key, Record};
use hakiri_core::codes::Code;
use hakiri_core::id::ProjectName;
use hakiri_core::layout::MARKER;
use hakiri_core::spec::Project;
use hakiri_core::time::Clock;
use hakiri_core::{Error, Result};
use hakiri_engine::engine::SecretSource;
use hakiri_engine::store::Store;
use hakiri_postgres::Address;

use super::Access;
use crate::{aws, environment};
use hakiri_core::secret::Secret;

/// Where a project's catalog is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// SQLite, for the processes of one machine.
    File(PathBuf),
    /// For several machines: the URL with its `${NAME}`.
    Shared(String),
}

impl Place {
    /// As the manifest says. `named` is what an environment adds to default names.
    pub(super) fn of(project: &Project, dir: &Path, named: &str) -> Self {
        match (&project.catalog.url, &project.catalog.path) {
            (Some(url), _) => Self::Shared(url.clone()),
            (None, Some(path)) => Self::File(dir.join(path)),
            (None, None) => Self::File(dir.join(".hakiri").join(format!("catalog{named}.sqlite"))),
        }
    }

    /// Whether processes of other machines may work on it, so that nothing but a lease says who is alive.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

/// Opens the catalog. The second answer is whether there was none before; one that only looks then sees an empty one.
///
/// # Errors
/// Any catalog error; `HK0302` for a file that is not there, of a store that is; `HK0112` for a secret in its URL
/// without a value.
pub(super) async fn open(
    place: &Place,
    project: &Project,
    store: &Store,
    access: Access,
    clock: &Arc<dyn Clock>,
    secrets: &dyn SecretSource,
) -> Result<Opened> {
    let new_id = environment::new_id()?;
    let opening = Opening { new_id: &new_id, access, clock };
    match place {
        Place::File(path) => open_file(path, store, opening).await,
        Place::Shared(url) => {
            let secrets = secrets.secrets(&project.catalog_secrets()).await?;
            let (url, named) = whose(&secrets.resolve_text(url)?);
            let schema = match (named, &project.env) {
                (Some(name), _) => name.parse::<ProjectName>().map_err(|e| e.at("[catalog] url"))?.to_string(),
                (None, Some(env)) => format!("{}-{env}", project.name),
                (None, None) => project.name.to_string(),
            };
            let opened = match Remote::of(&url, &schema).await {
                Ok(Remote::Door(url)) => open_door(url, opening).await,
                Ok(Remote::Database(address)) => open_database(address, &schema, opening).await,
                Ok(Remote::Table(settings)) => open_table(settings, opening).await,
                Err(e) => Err(e),
            };
            opened.map_err(|e| secrets.redact_error(&e).at("[catalog] url"))
        }
    }
}

/// A shared catalog's URL without its parameter `project`, and what that says: whose catalog it is, where it is not that
/// of this project and environment. An environment of a laptop looks at that of a deployment without one like this.
fn whose(url: &str) -> (String, Option<String>) {
    let Some((start, parameters)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (named, others): (Vec<&str>, Vec<&str>) = parameters.split('&').partition(|p| p.starts_with("project="));
    let Some(name) = named.last().and_then(|named| named.strip_prefix("project=")) else {
        return (url.to_owned(), None);
    };
    let rest = if others.is_empty() { start.to_owned() } else { format!("{start}?{}", others.join("&")) };
    (rest, Some(name.to_owned()))
}

/// What opening takes, wherever the catalog is.
#[derive(Clone, Copy)]
struct Opening<'a> {
    /// The identity of a catalog that is made.
    new_id: &'a str,
    access: Access,
    clock: &'a Arc<dyn Clock>,
}

/// A catalog, and whether there was none before.
type Opened = (Arc<dyn Catalog>, bool);

async fn open_file(path: &Path, store: &Store, opening: Opening<'_>) -> Result<Opened> {
    let look = || hakiri_catalog::sqlite::open_reader(path, opening.clock.clone());
    let mut found = look();
    // Before one is made: a new catalog cannot be the one that governs the store.
    if matches!(found, Err(CatalogError::NotFound(_)))
        && let Err(orphan) = refuse_orphan(store, path, opening.access).await
    {
        // Another process may be making it. A catalog is there before its store has a marker: a second look is sure.
        found = look();
        if matches!(found, Err(CatalogError::NotFound(_))) {
            return Err(orphan);
        }
    }
    let make = async || hakiri_catalog::sqlite::open(path, opening.clock.clone(), opening.new_id);
    found_or_made(found, make, opening).await.map_err(|e| {
        // Without a wait to try again after, it is not a lock.
        let permanent = matches!(e, CatalogError::Unavailable { retry_after: 0, .. });
        let error = Error::from(e).at(path.display().to_string());
        if permanent {
            error.with_hint("check that you may read and write the file and its folder, and that it is on a local disk")
        } else {
            error
        }
    })
}

/// What a shared catalog's URL leads to. This is the one place that tells the forms apart.
enum Remote<'a> {
    /// The catalog of a deployment, over HTTP.
    Door(&'a str),
    /// PostgreSQL.
    Database(Address),
    /// A table of a cloud.
    Table(aws::Table),
}

impl<'a> Remote<'a> {
    async fn of(url: &'a str, project: &str) -> Result<Self> {
        if url.starts_with("https://") || url.starts_with("http://") {
            return Ok(Self::Door(url));
        }
        if let Some(table) = aws::table(url, project)? {
            return Ok(Self::Table(table));
        }
        Ok(Self::Database(match aws::database(url).await? {
            Some(address) => address,
            None => Address::parse(url)?,
        }))
    }
}

async fn open_database(address: Address, schema: &str, opening: Opening<'_>) -> Result<Opened> {
    let found = hakiri_catalog::postgres::open_reader_at(address.clone(), schema).await;
    let make = async || hakiri_catalog::postgres::open_at(address, schema, opening.new_id).await;
    Ok(found_or_made(found, make, opening).await?)
}

async fn open_table(settings: aws::Table, opening: Opening<'_>) -> Result<Opened> {
    let found = aws::open_reader(settings.clone()).await;
    let make = async || aws::open(settings, opening.new_id).await;
    Ok(found_or_made(found, make, opening).await?)
}

/// The catalog of a deployment, over HTTP. It is one project's, so that nothing needs to be named.
async fn open_door(url: &str, opening: Opening<'_>) -> Result<Opened> {
    let token = environment::variable(environment::CATALOG_TOKEN).map(Secret::new);
    let found = hakiri_catalog::http::open_reader(url, token.clone()).await;
    let make = async || hakiri_catalog::http::open(url, token, opening.new_id).await;
    Ok(found_or_made(found, make, opening).await?)
}

/// From what a reader found: for who only looks that, or an empty one; for who writes the catalog, made if need be.
async fn found_or_made<C: Catalog + 'static>(
    found: CatalogResult<C>,
    make: impl AsyncFnOnce() -> CatalogResult<C>,
    opening: Opening<'_>,
) -> CatalogResult<Opened> {
    let fresh = match found {
        Ok(catalog) if opening.access == Access::Read => return Ok((Arc::new(catalog), false)),
        Ok(_) => false,
        Err(CatalogError::NotFound(_)) if opening.access == Access::Read => {
            return Ok((Arc::new(hakiri_catalog::memory(opening.clock.clone())), true));
        }
        Err(CatalogError::NotFound(_)) => true,
        Err(e) => return Err(e),
    };
    let made = make().await?;
    // Another process may have been faster.
    let fresh = fresh && made.info().await?.id == opening.new_id;
    Ok((Arc::new(made), fresh))
}

/// The setting that says which store a catalog governs.
const ROOT: &str = "root";

/// A store's place as the catalog keeps it: relative to the project where it lies inside, so that the folder may move.
pub(super) fn governed(dir: &Path, location: &str) -> String {
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    match Path::new(location).strip_prefix(dir) {
        Ok(inside) => inside.display().to_string(),
        Err(_) => location.to_owned(),
    }
}

/// Whether the catalog knows its store, which then must be this one (S11). One that never wrote knows none.
pub(super) async fn same_store(catalog: &dyn Catalog, root: &str) -> Result<bool> {
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
pub(super) async fn bind(catalog: &dyn Catalog, store: &Store, root: &str, fresh: Option<&Place>) -> Result<()> {
    if let Err(e) = store.claim(&catalog.info().await?.id).await {
        // A catalog made for a store that it does not get is in the way of the right one, unless its marker is there.
        let lasting = matches!(e.kind(), hakiri_core::error::Kind::Permanent | hakiri_core::error::Kind::Usage);
        if let Some(Place::File(path)) = fresh.filter(|_| lasting)
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
async fn refuse_orphan(store: &Store, catalog: &Path, access: Access) -> Result<()> {
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
            Err(Error::new(
                Code::StoreForeign,
                format!("the store {location} is governed by a catalog, and {} is not there", catalog.display()),
            )
            .with_hint(format!(
                "restore the catalog, or use another store; `hakiri query --store {location} \"…\"` reads without it"
            )))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::whose;

    #[test]
    fn a_url_may_say_whose_catalog_it_is() {
        for (url, rest, name) in [
            ("postgres://u@h/d", "postgres://u@h/d", None),
            ("postgres://u@h/d?sslmode=require", "postgres://u@h/d?sslmode=require", None),
            ("table://t?project=shop", "table://t", Some("shop")),
            ("table://t?a=b&project=shop&c=d", "table://t?a=b&c=d", Some("shop")),
        ] {
            assert_eq!(whose(url), (rest.to_owned(), name.map(str::to_owned)), "{url}");
        }
    }
}
