//! A PostgreSQL database, shared by any number of machines. See ADR 0014.
//!
//! A project's records are one table in a schema of its own (`hakiri_<project>`), so that several projects share a
//! database and a user who may create a schema needs nothing else. Each method is one statement, and each statement is
//! its own transaction:
//!
//! - Reads are single statements, which see one moment; keys compare as bytes (`COLLATE "C"`).
//! - A write is one call of a function that the migration made. It takes the project's write lock, checks the expected
//!   versions, absent keys too, takes the next revision, and writes. Under the lock there is one writer at a time, as in
//!   SQLite, so that the order of writes (C1) needs no argument about isolation levels. The lock is never held while the
//!   server waits for a client, since the whole write is on the server's side.
//! - Nothing lives in a session: no named statement, no setting, no session lock. A pooler in transaction mode may give
//!   every statement to another connection of its own.
//!
//! Why not a transaction of several statements from here: four round trips with locks held, a dead client that holds
//! them until a time-out, and an unknown outcome only at the last of the four rather than always at the same place.
//!
//! An answer that does not come is [`CatalogError::OutcomeUnknown`] for a write (C8). An error that the server reports
//! with severity ERROR is known: the statement, and so the transaction, did not happen.

mod error;
mod pool;
mod schema;

use std::sync::Arc;

use async_trait::async_trait;
use hakiri_core::catalog::{CatalogError, CatalogResult, Info};
use hakiri_core::id::ProjectName;
use hakiri_core::time::Instant;
use hakiri_postgres::Address;
use tokio_postgres::types::Type;

use crate::RecordCatalog;
use crate::records::{Batch, Entry, Moment, Records, Scan, Scanned, Written};
use pool::Pool;

/// The server's clock in milliseconds. Not `now()`, which stands still within a transaction.
const SERVER_CLOCK: &str = "floor(extract(epoch FROM clock_timestamp()) * 1000)::int8";

/// Opens the catalog of a project in the database of a URL, or creates it. `new_id` becomes the identity of a catalog
/// that is created here, and is not used otherwise; it must be unique in the world.
///
/// # Errors
/// `Unavailable` when the database is out of reach (with the seconds to wait, or 0 when waiting will not help: a wrong
/// URL, a refused password, a missing right), `Newer` when a newer version made the catalog, `Corrupt` when the schema
/// holds something else.
pub async fn open(url: &str, project: &str, new_id: &str) -> CatalogResult<RecordCatalog<Postgres>> {
    open_at(parsed(url)?, project, new_id).await
}

/// As [`open`], at an address that is read already, as one with logins from elsewhere is.
///
/// # Errors
/// As [`open`].
pub async fn open_at(address: Address, project: &str, new_id: &str) -> CatalogResult<RecordCatalog<Postgres>> {
    let (pool, schema) = (Pool::new(address), schema_of(project)?);
    let id = schema::open(&pool, &schema, new_id).await?;
    Ok(RecordCatalog::new(Postgres::new(pool, schema, id)))
}

/// Opens the catalog of a project for reading: nothing is created or migrated, and a user who may only SELECT is enough.
///
/// # Errors
/// As [`open`]; `NotFound` when there is no catalog.
pub async fn open_reader(url: &str, project: &str) -> CatalogResult<RecordCatalog<Postgres>> {
    open_reader_at(parsed(url)?, project).await
}

/// As [`open_reader`], at an address that is read already.
///
/// # Errors
/// As [`open_reader`].
pub async fn open_reader_at(address: Address, project: &str) -> CatalogResult<RecordCatalog<Postgres>> {
    let (pool, schema) = (Pool::new(address), schema_of(project)?);
    let id = schema::open_reader(&pool, &schema).await?;
    Ok(RecordCatalog::new(Postgres::new(pool, schema, id)))
}

/// The schema that holds the catalog of a project.
///
/// # Errors
/// `Unavailable` when it is no name of a project.
pub fn schema_of(project: &str) -> CatalogResult<String> {
    // The rule for projects keeps the name within PostgreSQL's 63 bytes and free of quotes.
    let project: ProjectName = project.parse().map_err(|e| error::never(&e))?;
    Ok(format!("hakiri_{project}"))
}

fn parsed(url: &str) -> CatalogResult<Address> {
    Address::parse(url).map_err(|e| error::never(&e))
}

/// Records in a PostgreSQL schema. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Postgres {
    pool: Arc<Pool>,
    /// The schema's name in quotes.
    schema: Arc<str>,
    id: Arc<str>,
    /// An expression for the time.
    now: Arc<str>,
}

impl Postgres {
    fn new(pool: Pool, schema: String, id: String) -> Self {
        Self { pool: Arc::new(pool), schema: schema::quoted(&schema).into(), id: id.into(), now: SERVER_CLOCK.into() }
    }

    /// Takes the time from a table `test_clock (still bool, millis int8)` of the schema, which the test makes: `millis`
    /// when it stands still, else that much more than the server's clock. For tests only, so that they can let an hour
    /// pass; no catalog outside of tests has such a table, or a setting that could move its clock.
    #[cfg(feature = "conformance")]
    #[must_use]
    pub fn with_test_clock(mut self) -> Self {
        self.now =
            format!("(SELECT millis + CASE WHEN still THEN 0 ELSE {SERVER_CLOCK} END FROM {}.test_clock)", self.schema)
                .into();
        self
    }
}

#[async_trait]
impl Records for Postgres {
    async fn read(&self, keys: &[String]) -> CatalogResult<Moment> {
        // A row without a record in any case, since the time is wanted also where no key has one.
        let sql = format!(
            "SELECT t.now, f.place, f.version, f.record FROM (SELECT {} AS now) t LEFT JOIN (\
             SELECT k.place, r.version, r.record FROM unnest($1) WITH ORDINALITY AS k (key, place) \
             JOIN {}.records r ON r.key = k.key COLLATE \"C\") f ON true",
            self.now, self.schema
        );
        let rows = self.pool.read(&sql, &[(&keys, Type::TEXT_ARRAY)]).await.map_err(|e| e.told())?;
        let mut moment = Moment { now: Instant::from_millis(0), entries: vec![None; keys.len()] };
        for row in &rows {
            moment.now = Instant::from_millis(get(row, 0)?);
            let Some(place) = get::<Option<i64>>(row, 1)? else { continue };
            let entry = usize::try_from(place - 1).ok().and_then(|place| moment.entries.get_mut(place));
            *entry.ok_or_else(error::odd)? = Some(Entry { version: get(row, 2)?, text: get(row, 3)? });
        }
        if rows.is_empty() {
            return Err(error::odd());
        }
        Ok(moment)
    }

    async fn write(&self, batch: &Batch) -> CatalogResult<Written> {
        let (expected, versions): (Vec<&str>, Vec<Option<i64>>) =
            batch.expect.iter().map(|(key, version)| (key.as_str(), *version)).unzip();
        // The last of several texts for a key counts; one statement cannot write a row twice.
        let put: std::collections::BTreeMap<&str, &str> =
            batch.put.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let (put, texts): (Vec<&str>, Vec<&str>) = put.into_iter().unzip();
        let sql = format!("SELECT {}.write_1($1, $2, $3, $4, $5)", self.schema);
        let rows = self
            .pool
            .write(
                &sql,
                &[
                    (&expected, Type::TEXT_ARRAY),
                    (&versions, Type::INT8_ARRAY),
                    (&put, Type::TEXT_ARRAY),
                    (&texts, Type::TEXT_ARRAY),
                    (&batch.delete, Type::TEXT_ARRAY),
                ],
            )
            .await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(e) => return e.written(),
        };
        // It has ended well: an answer that cannot be read is no reason to say that it did not.
        let done = rows.first().and_then(|row| row.try_get(0).ok());
        match done {
            Some(true) => Ok(Written::Done),
            Some(false) => Ok(Written::Conflict),
            None => Err(CatalogError::OutcomeUnknown("the answer to a write cannot be read".to_owned())),
        }
    }

    async fn scan(&self, scan: &Scan) -> CatalogResult<Scanned> {
        let (from, after) = bound(&scan.from);
        let (to, with) = bound(&scan.to);
        let (more_than, less_than) = (if after { ">" } else { ">=" }, if with { "<=" } else { "<" });
        let order = if scan.reverse { "DESC" } else { "ASC" };
        // One row more than asked for tells whether there is more. Sizes are known without reading the texts, which lie
        // outside of the row, so that only those of the page are read.
        let sql = format!(
            "SELECT p.key, p.record, p.found FROM (\
             SELECT key, record, count(*) OVER () AS found, row_number() OVER w AS place, \
             sum(octet_length(record)) OVER w - octet_length(record) AS before \
             FROM (SELECT key, record FROM {}.records WHERE key {more_than} $1 AND key {less_than} $2 ORDER BY key {order} LIMIT $3 + 1) r \
             WINDOW w AS (ORDER BY key {order} ROWS UNBOUNDED PRECEDING)) p \
             WHERE p.place <= $3 AND p.before < $4 ORDER BY p.place",
            self.schema
        );
        let limit = i64::try_from(scan.limit).unwrap_or(i64::MAX - 1);
        let bytes = i64::try_from(scan.bytes).unwrap_or(i64::MAX);
        let parameters: [pool::Parameter<'_>; 4] =
            [(&from, Type::TEXT), (&to, Type::TEXT), (&limit, Type::INT8), (&bytes, Type::INT8)];
        let rows = self.pool.read(&sql, &parameters).await.map_err(|e| e.told())?;
        let found = rows.first().map_or(Ok(0), |row| get::<i64>(row, 2))?;
        let entries: Vec<_> = rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<CatalogResult<_>>()?;
        Ok(Scanned { more: usize::try_from(found).unwrap_or(0) > entries.len(), entries })
    }

    async fn info(&self) -> CatalogResult<Info> {
        let sql = format!("SELECT version, id, {} FROM {}.catalog", self.now, self.schema);
        let rows = self.pool.read(&sql, &[]).await.map_err(|e| e.told())?;
        let row = rows.first().ok_or_else(error::odd)?;
        let version = schema::known(get(row, 0)?)?;
        if get::<&str>(row, 1)? != &*self.id {
            return Err(CatalogError::Corrupt("another catalog has taken the place of this one".to_owned()));
        }
        Ok(Info { adapter: "postgres", version, id: self.id.to_string(), now: Instant::from_millis(get(row, 2)?) })
    }
}

/// A bound as PostgreSQL can hold it, and whether what lies on it is on the lower side of it. Texts there have no NUL,
/// and no key has one: whatever begins with what stands before the NUL and goes on lies behind the bound.
fn bound(text: &str) -> (&str, bool) {
    match text.split_once('\0') {
        Some((before, _)) => (before, true),
        None => (text, false),
    }
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a tokio_postgres::Row, column: usize) -> CatalogResult<T> {
    row.try_get(column).map_err(|_| error::odd())
}
