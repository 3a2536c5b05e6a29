//! The tables, and how they come about.
//!
//! A migration is a text for each version, never changed once it was released. It runs in one transaction under a lock
//! that all who create or migrate in this database take. A function's name ends in the version that it belongs to: one
//! whose meaning changes gets another name and the old one is dropped, so that a process of the older version fails
//! instead of writing what it does not understand.

use hakiri_core::catalog::{CatalogError, CatalogResult};
use tokio_postgres::types::Type;

use super::error::{Failure, odd};
use super::get;
use super::pool::{Pool, Taken};

/// What leads from one version to the next; `{schema}` stands for the schema's name in quotes.
const MIGRATIONS: [&str; 1] = [VERSION_1];

/// The class of all advisory locks of Hakiri: "HKRI". The second number is the table's own for writes, and 0, which no
/// table has, for migrations.
const LOCKS: i32 = 0x484b_5249;

/// `revision` counts writes and gives records their versions: in a row and not a sequence, so that a copy of the
/// database goes on with the same numbers. The row is also what makes a write safe where the database's default
/// isolation level is a higher one: two writers that began at one moment both change it, and the second is refused.
///
/// The settings hold until the end of the transaction, which is the end of the call, and for its commit.
const VERSION_1: &str = r#"
CREATE TABLE {schema}.catalog (
    one bool PRIMARY KEY DEFAULT true CHECK (one),
    version int NOT NULL,
    id text NOT NULL,
    revision int8 NOT NULL
);
CREATE TABLE {schema}.records (
    key text COLLATE "C" PRIMARY KEY,
    version int8 NOT NULL,
    record text NOT NULL
);
CREATE FUNCTION {schema}.write_1(expected text[], versions int8[], put text[], texts text[], gone text[])
RETURNS bool LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $write$
DECLARE
    next int8;
BEGIN
    PERFORM set_config('lock_timeout', '10s', true);
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_advisory_xact_lock({locks}, '{schema}.records'::regclass::oid::int);
    IF EXISTS (
        SELECT FROM unnest(expected, versions) AS e (key, version)
        LEFT JOIN {schema}.records r ON r.key = e.key COLLATE "C"
        WHERE r.version IS DISTINCT FROM e.version
    ) THEN
        RETURN false;
    END IF;
    UPDATE {schema}.catalog SET revision = revision + 1 RETURNING revision INTO STRICT next;
    INSERT INTO {schema}.records (key, version, record)
    SELECT p.key, next, p.record FROM unnest(put, texts) AS p (key, record)
    ON CONFLICT (key) DO UPDATE SET version = excluded.version, record = excluded.record;
    DELETE FROM {schema}.records r USING unnest(gone) AS g (key) WHERE r.key = g.key COLLATE "C";
    RETURN true;
END
$write$;
"#;

/// The version this binary writes, and the highest it reads.
const VERSION: i32 = MIGRATIONS.len() as i32;

/// A name in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A stored version as one that this binary knows.
pub(super) fn known(version: i32) -> CatalogResult<u64> {
    match u64::try_from(version) {
        Ok(found) if version > VERSION => {
            Err(CatalogError::Newer { found, known: u64::try_from(VERSION).unwrap_or_default() })
        }
        Ok(found) if found > 0 => Ok(found),
        _ => Err(odd()),
    }
}

/// What a schema is.
enum State {
    /// There is none.
    Missing,
    /// There is one with nothing in it, as an administrator makes it for a user who may not.
    Empty,
    /// It holds a catalog.
    Catalog { version: i32, id: String },
}

/// Opens the catalog in a schema, or creates it; answers with its identity.
pub(super) async fn open(pool: &Pool, schema: &str, new_id: &str) -> CatalogResult<String> {
    let taken = pool.take().await.map_err(Failure::told)?;
    let id = match state(&taken, schema).await? {
        State::Catalog { version, id } if version == VERSION => id,
        State::Catalog { .. } | State::Missing | State::Empty => migrate(&taken, schema, new_id).await?,
    };
    taken.give_back();
    Ok(id)
}

/// Opens the catalog in a schema; answers with its identity.
pub(super) async fn open_reader(pool: &Pool, schema: &str) -> CatalogResult<String> {
    let taken = pool.take().await.map_err(Failure::told)?;
    let id = match state(&taken, schema).await? {
        State::Catalog { id, .. } => id,
        State::Missing | State::Empty => {
            return Err(CatalogError::NotFound(format!("a catalog in the schema {schema} of the database")));
        }
    };
    taken.give_back();
    Ok(id)
}

async fn state(taken: &Taken<'_>, schema: &str) -> CatalogResult<State> {
    // The system's own lists are open to everybody, so that a missing right is told by the statement that needs it.
    let sql = "SELECT current_setting('server_encoding'), n.oid IS NOT NULL, \
               (SELECT count(*) FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid), \
               (SELECT count(*) FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r' AND c.relname IN ('catalog', 'records')) \
               FROM (VALUES (1)) v LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1";
    let rows = taken.query(sql, &[(&schema, Type::TEXT)]).await.map_err(Failure::told)?;
    let row = rows.first().ok_or_else(odd)?;
    if get::<&str>(row, 0)? != "UTF8" {
        return Err(CatalogError::Unavailable {
            reason: format!("the database has the encoding {}; the catalog needs one with UTF8", get::<&str>(row, 0)?),
            retry_after: 0,
        });
    }
    match (get(row, 1)?, get::<i64>(row, 2)?, get::<i64>(row, 3)?) {
        (false, _, _) => Ok(State::Missing),
        (true, 0, _) => Ok(State::Empty),
        (true, _, 2) => {
            let sql = format!("SELECT version, id FROM {}.catalog", quoted(schema));
            let rows = taken.query(&sql, &[]).await.map_err(Failure::told)?;
            let row = rows.first().ok_or_else(odd)?;
            let version = get(row, 0)?;
            known(version)?;
            Ok(State::Catalog { version, id: get(row, 1)? })
        }
        _ => Err(CatalogError::Corrupt(format!(
            "the schema {schema} of the database holds something else than a catalog"
        ))),
    }
}

/// Creates the catalog, or brings it to this version; whoever comes second finds it done.
async fn migrate(taken: &Taken<'_>, schema: &str, new_id: &str) -> CatalogResult<String> {
    let told = Failure::told;
    // A connection on which this fails is dropped, and with it the transaction.
    taken
        .batch(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '20s'; \
             SELECT pg_advisory_xact_lock({LOCKS}, 0)"
        ))
        .await
        .map_err(told)?;
    let (from, id) = match state(taken, schema).await? {
        State::Catalog { version, id } => (version, Some(id)),
        State::Missing => {
            taken.batch(&format!("CREATE SCHEMA {}", quoted(schema))).await.map_err(told)?;
            (0, None)
        }
        State::Empty => (0, None),
    };
    let from = usize::try_from(from).unwrap_or_default();
    for migration in MIGRATIONS.iter().skip(from) {
        let sql = migration.replace("{schema}", &quoted(schema)).replace("{locks}", &LOCKS.to_string());
        taken.batch(&sql).await.map_err(told)?;
    }
    if from < MIGRATIONS.len() {
        let sql = format!(
            "INSERT INTO {}.catalog (version, id, revision) VALUES ($1, $2, 0) ON CONFLICT (one) DO UPDATE SET version = excluded.version",
            quoted(schema)
        );
        taken.query(&sql, &[(&VERSION, Type::INT4), (&new_id, Type::TEXT)]).await.map_err(told)?;
    }
    taken.batch("COMMIT").await.map_err(told)?;
    Ok(id.unwrap_or_else(|| new_id.to_owned()))
}
