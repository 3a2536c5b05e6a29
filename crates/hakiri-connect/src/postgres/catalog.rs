//! What the database offers: its tables with their columns, types, keys and privileges, out of `pg_catalog`.
//!
//! Contract: tables, partitioned tables (their partitions are part of them), views, materialised views and foreign
//! tables of one schema, in the order of their names' bytes; not what an extension brought along. A table that cannot be
//! read is offered all the same, and says what is missing when it is read: left out in silence it would look like a
//! table that does not exist.
//!
//! `information_schema` would be the portable way, but it hides what the user may not read, knows no type of another
//! name than the standard's, and takes seconds where there are thousands of tables.

use std::collections::HashMap;

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

use super::session::Session;
use super::sql::{literal, name};
use super::types::{PgKind, PgType};

/// Domains on domains on domains: enough for anything sensible.
const MAX_DEPTH: u32 = 32;

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) not_null: bool,
    /// Whether the user may read it.
    pub(super) readable: bool,
    pub(super) ty: PgType,
    /// The type as people know it: `geometry(Point,4326)`.
    pub(super) shown: String,
    /// Whether text in it is ordered by its UTF-8 bytes.
    pub(super) bytewise: bool,
}

/// A table, view and so on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) primary_key: Vec<String>,
}

impl Relation {
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// One schema, as one user sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog {
    pub(super) user: String,
    pub(super) version: String,
    /// Whether the server is a standby.
    pub(super) standby: bool,
    pub(super) relations: Vec<Relation>,
}

impl Catalog {
    /// Reads it.
    ///
    /// # Errors
    /// `HK0403` for a schema that does not exist, `HK1004` for one that may not be used, and those of the server.
    pub(super) async fn read(session: &Session, schema: &str) -> Result<Self> {
        let mut catalog = Self::default();
        let asked = session.rows(&about(schema)).await?;
        let Some([Some(user), Some(version), Some(standby), usage]) = asked.first().map(Vec::as_slice) else {
            return Err(odd());
        };
        (catalog.user, catalog.version) = (user.clone(), version.clone());
        catalog.standby = standby == "t";
        match usage.as_deref() {
            Some("t") => {}
            Some(_) => {
                return Err(Error::new(
                    Code::PostgresDenied,
                    format!("the user `{user}` may not use the schema `{schema}`"),
                )
                .with_hint(format!("run: grant usage on schema {} to {}", name(schema), name(user))));
            }
            None => {
                let schemas = session.rows(SCHEMAS).await?;
                let known: Vec<&str> = schemas.iter().filter_map(|r| r.first()?.as_deref()).collect();
                let message = format!("there is no schema `{schema}` in the database");
                return Err(crate::registry::unknown(Code::SourceConfig, &message, schema, known.into_iter())
                    .at("source.config.schema"));
            }
        }
        let types = Types::read(session, schema).await?;
        for row in session.rows(&columns(schema)).await? {
            let [Some(table), column, kind, modifier, not_null, readable, bytewise, shown, key] = row.as_slice() else {
                return Err(odd());
            };
            if catalog.relations.last().is_none_or(|r| r.name != *table) {
                catalog.relations.push(Relation { name: table.clone(), ..Relation::default() });
            }
            let (Some(relation), Some(column)) = (catalog.relations.last_mut(), column) else { continue };
            let is = |value: &Option<String>| value.as_deref() == Some("t");
            let number = |value: &Option<String>| value.as_deref().and_then(|v| v.parse::<i64>().ok()).unwrap_or(-1);
            let modifier = i32::try_from(number(modifier)).unwrap_or(-1);
            relation.columns.push(Column {
                name: column.clone(),
                not_null: is(not_null),
                readable: is(readable),
                ty: types.resolve(number(kind), modifier, 0),
                shown: shown.clone().unwrap_or_default(),
                bytewise: is(bytewise),
            });
            // The place in the key, from 1.
            if let Ok(place) = usize::try_from(number(key)) {
                let needed = relation.primary_key.len().max(place);
                relation.primary_key.resize(needed, String::new());
                if let Some(slot) = place.checked_sub(1).and_then(|at| relation.primary_key.get_mut(at)) {
                    slot.clone_from(column);
                }
            }
        }
        Ok(catalog)
    }

    /// A relation by name.
    ///
    /// # Errors
    /// `HK0402` with the nearest name there is.
    pub(super) fn relation(&self, schema: &str, table: &str) -> Result<&Relation> {
        self.relations.iter().find(|r| r.name == table).ok_or_else(|| {
            let message = format!("the schema `{schema}` has no table `{table}`");
            let known = self.relations.iter().map(|r| r.name.as_str());
            crate::registry::unknown(Code::SourceUnknownTable, &message, table, known)
        })
    }
}

fn odd() -> Error {
    Error::new(Code::PostgresProtocol, "the server answers a question about its tables in a way that is not known")
        .with_hint("only PostgreSQL itself is supported, not every server that speaks its protocol")
}

fn about(schema: &str) -> String {
    format!(
        "SELECT current_user, current_setting('server_version'), pg_is_in_recovery(), \
         (SELECT has_schema_privilege(n.oid, 'USAGE') FROM pg_namespace n WHERE n.nspname = {})",
        literal(schema)
    )
}

const SCHEMAS: &str = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' \
                       ORDER BY nspname";

/// The relations of a schema, as the two queries below share them.
fn relations(schema: &str) -> String {
    format!(
        "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = {} \
           AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition \
           AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid \
             AND x.deptype = 'e')",
        literal(schema)
    )
}

/// One row per column, in their order; one with nulls for a table that has none.
fn columns(schema: &str) -> String {
    format!(
        "SELECT c.relname, a.attname, a.atttypid, a.atttypmod, a.attnotnull, \
           has_column_privilege(c.oid, a.attnum, 'SELECT'), \
           current_setting('server_encoding') = 'UTF8' AND CASE a.attcollation WHEN 0 THEN false WHEN 100 THEN \
             (SELECT d.datcollate IN ('C', 'POSIX') AND coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' \
              FROM pg_database d WHERE d.datname = current_database()) \
             ELSE (SELECT l.collprovider = 'c' AND l.collcollate IN ('C', 'POSIX') FROM pg_collation l \
              WHERE l.oid = a.attcollation) END, \
           format_type(a.atttypid, a.atttypmod), \
           (SELECT k.place FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) \
            WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid AND k.place <= i.indnkeyatts \
              AND k.attnum = a.attnum) \
         FROM {} LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         ORDER BY c.relname COLLATE \"C\", a.attnum",
        relations(schema)
    )
}

/// A row of `pg_type`.
#[derive(Debug)]
struct TypeRow {
    name: String,
    system: bool,
    /// `b`, `c`, `d`, `e`, `m`, `p` or `r`.
    kind: String,
    /// What a domain stands for, and its modifier; what an array holds. Zero for none.
    base: i64,
    base_modifier: i32,
    item: i64,
}

/// The types of a schema's columns and what they are made of, by their numbers.
#[derive(Debug)]
struct Types(HashMap<i64, TypeRow>);

impl Types {
    async fn read(session: &Session, schema: &str) -> Result<Self> {
        // Fixed vectors have items as well and are no arrays.
        let sql = format!(
            "WITH RECURSIVE used(oid) AS ( \
               SELECT a.atttypid FROM {} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 \
                 AND NOT a.attisdropped \
               UNION SELECT p.oid FROM used JOIN pg_type t ON t.oid = used.oid, \
                 LATERAL (VALUES (t.typbasetype), (t.typelem)) AS p(oid) WHERE p.oid <> 0) \
             SELECT t.oid, t.typname, s.nspname = 'pg_catalog', t.typtype, t.typbasetype, t.typtypmod, \
               CASE WHEN t.typcategory = 'A' AND t.typlen = -1 AND t.typname NOT IN ('int2vector', 'oidvector') \
                 THEN t.typelem ELSE 0 END \
             FROM used JOIN pg_type t ON t.oid = used.oid JOIN pg_namespace s ON s.oid = t.typnamespace",
            relations(schema)
        );
        let mut types = HashMap::new();
        for row in session.rows(&sql).await? {
            let [Some(oid), Some(name), Some(system), Some(kind), Some(base), Some(modifier), Some(item)] =
                row.as_slice()
            else {
                return Err(odd());
            };
            let number = |text: &String| text.parse::<i64>().map_err(|_| odd());
            let ty = TypeRow {
                name: name.clone(),
                system: system == "t",
                kind: kind.clone(),
                base: number(base)?,
                base_modifier: i32::try_from(number(modifier)?).map_err(|_| odd())?,
                item: number(item)?,
            };
            types.insert(number(oid)?, ty);
        }
        Ok(Self(types))
    }

    /// A type with everything it is made of; domains become what they stand for.
    fn resolve(&self, oid: i64, modifier: i32, depth: u32) -> PgType {
        let Some(row) = self.0.get(&oid).filter(|_| depth < MAX_DEPTH) else {
            return PgType { name: String::new(), system: false, kind: PgKind::Other, modifier };
        };
        let kind = match row.kind.as_str() {
            "d" => return self.resolve(row.base, row.base_modifier, depth + 1),
            "e" => PgKind::Enum,
            "b" if row.item != 0 => PgKind::Array(Box::new(self.resolve(row.item, -1, depth + 1))),
            "b" => PgKind::Base,
            _ => PgKind::Other,
        };
        PgType { name: row.name.clone(), system: row.system, kind, modifier }
    }
}
