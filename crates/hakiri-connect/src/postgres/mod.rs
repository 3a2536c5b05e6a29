//! The `postgres` connector: tables of one schema, read by binary copy.
//!
//! Contract: `discover` reads keys, columns and types from the catalog. `plan` fixes the upper bound of whole-number and
//! text cursors, and cuts large tables into ranges of their primary key. A step reads one range within one window in one
//! snapshot ([`session`]), and gives the same rows when it is read again as long as nobody changed them. Types are those
//! of the table in [`types`]; what has no counterpart is refused by name.
//!
//! | Module | What it decides |
//! |---|---|
//! | [`config`] | what the manifest can say |
//! | [`catalog`], [`types`] | what there is, and what it becomes |
//! | [`table`], [`sql`], [`chunks`] | which rows and columns a step reads |
//! | [`session`], [`read`] | connections, snapshots, interruption |
//! | [`copy`], [`column`], [`render`] | bytes into batches |
//!
//! Why a copy and not a cursor with `FETCH`: a copy streams at the pace of the reader with one round trip, and its form
//! is the one that the server makes at the least cost. Why not logical replication: it sees deletes, but needs a slot,
//! a publication and rights that most readers are not given; that is another connector.

mod catalog;
mod chunks;
mod column;
mod config;
mod copy;
mod read;
mod render;
mod session;
mod sql;
mod table;
mod types;

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _};
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::plan::PlannedStep;
use hakiri_core::source::{Checkpoint, Connector, Message, SourceContext, SourceStep, SourceTable, TableRequest};
use hakiri_core::time::Tick;
use hakiri_core::window::Window;
use hakiri_core::{Error, Result};
use serde::Deserialize as _;

use self::catalog::Catalog;
pub use self::config::{PostgresConfig, PostgresTable};
use self::read::Reading;
use self::session::Session;
use self::sql::{CursorForm, Range, filter};
use self::table::{Problem, StepSource};

/// Rows of a step unless the manifest says otherwise: of wide rows about one part's worth, so that a large table keeps
/// all cores busy and a step is soon read again.
const CHUNK_ROWS: u64 = 200_000;
/// Tables that a probe names.
const NAMED: usize = 20;

/// A configured PostgreSQL source.
#[derive(Debug)]
pub struct PostgresConnector {
    config: PostgresConfig,
    /// For tables of which the config says nothing.
    plain: PostgresTable,
}

impl PostgresConnector {
    /// Checks a config; touches nothing.
    ///
    /// # Errors
    /// `HK0403` with the key.
    pub fn new(config: PostgresConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config, plain: PostgresTable::default() })
    }

    fn settings(&self, table: &str) -> &PostgresTable {
        self.config.tables.get(table).unwrap_or(&self.plain)
    }

    async fn session(&self, ctx: &SourceContext) -> Result<Session> {
        Session::open(&self.config.url, self.config.row_security, ctx).await
    }

    /// The steps of one table.
    async fn steps(&self, session: &Session, catalog: &Catalog, request: &TableRequest) -> Result<Vec<SourceStep>> {
        let relation = catalog.relation(&self.config.schema, &request.name)?;
        let settings = self.settings(&request.name);
        let step = table::step(catalog, &self.config.schema, relation, settings, request)?;
        if step.problem.is_some() {
            return Ok(vec![source_step(&step, String::new(), None)?]);
        }
        let key = table::range_key(relation, settings, request);
        match session.attempt(self.cut(session, &step, &key, request)).await.map_err(table::hinted) {
            Ok(steps) => Ok(steps),
            Err(e) => match Problem::of(&e) {
                Some(problem) => {
                    let step = StepSource { problem: Some(problem), ..step };
                    Ok(vec![source_step(&step, String::new(), None)?])
                }
                None => Err(e),
            },
        }
    }

    /// The steps of a table that can be read: its upper bound, and its ranges.
    async fn cut(
        &self,
        session: &Session,
        step: &StepSource,
        key: &[sql::KeyColumn],
        request: &TableRequest,
    ) -> Result<Vec<SourceStep>> {
        let bounds = upper(session, step, &request.window).await?;
        let ranges = match bounds {
            // Without an upper bound the cursor after the run is the last step's to know.
            Upper::Unknown => vec![Range::default()],
            _ if key.is_empty() => vec![Range::default()],
            _ => self.ranges(session, step, key, request).await?,
        };
        let upper = match bounds {
            Upper::At(cursor) => Some(cursor),
            _ => None,
        };
        let count = ranges.len();
        let steps = ranges.into_iter().enumerate().map(|(at, range)| {
            let shown = if count > 1 { format!(" {} of {count}", at + 1) } else { String::new() };
            source_step(&StepSource { range, ..step.clone() }, shown, upper.clone())
        });
        steps.collect()
    }

    async fn ranges(
        &self,
        session: &Session,
        step: &StepSource,
        key: &[sql::KeyColumn],
        request: &TableRequest,
    ) -> Result<Vec<Range>> {
        let chunk_rows = request.spec.chunk_rows.unwrap_or(CHUNK_ROWS).max(1);
        let from = step.from();
        let mut conditions = Vec::new();
        // The first load of a table reads nearly all of it, and its key's index alone can be walked more quickly.
        let begins = match &request.window {
            Window::HalfOpen { lo, .. } | Window::Above { lo, .. } => lo.is_some(),
            _ => false,
        };
        if begins && let Some(window) = step.window(&request.window) {
            conditions.push(window);
            // Mostly few rows changed, which an index on the cursor tells at once.
            let sql = format!(
                "SELECT count(*) FROM (SELECT FROM {from}{} LIMIT {}) AS s",
                filter(&conditions),
                chunk_rows.saturating_add(1)
            );
            let rows = session.rows(&sql).await?;
            let count = rows.first().and_then(|r| r.first()?.as_deref()?.parse::<u64>().ok());
            if count.is_some_and(|count| count <= chunk_rows) {
                return Ok(vec![Range::default()]);
            }
        }
        chunks::ranges(session, &from, key, &conditions, chunk_rows).await
    }
}

/// How far a table goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Upper {
    /// The window has its end already, or needs none.
    Fixed,
    /// The highest position there is.
    At(Cursor),
    /// There is no position yet.
    Unknown,
}

/// The highest position of a cursor that is not time: rows that come while the steps are read belong to the next run.
async fn upper(session: &Session, step: &StepSource, window: &Window) -> Result<Upper> {
    let (Window::Above { lo, .. }, Some(cursor)) = (window, &step.cursor) else { return Ok(Upper::Fixed) };
    let compared = match cursor.form {
        CursorForm::Uuid => format!("{}::pg_catalog.text COLLATE pg_catalog.\"C\"", cursor.expression),
        _ => cursor.compared(),
    };
    let rows = session.rows(&format!("SELECT max({compared}) FROM {}", step.from())).await?;
    let highest = rows.first().and_then(|r| r.first()?.as_deref()).and_then(|text| table::highest(cursor.form, text));
    Ok(match (highest, lo) {
        (Some(highest), _) => Upper::At(highest),
        (None, Some(lo)) => Upper::At(lo.clone()),
        (None, None) => Upper::Unknown,
    })
}

fn source_step(step: &StepSource, suffix: String, upper: Option<Cursor>) -> Result<SourceStep> {
    let source =
        serde_json::to_value(step).map_err(|e| Error::new(Code::Internal, format!("a step cannot be written: {e}")))?;
    Ok(SourceStep {
        name: format!("{}{suffix}", step.table),
        tables: vec![step.table.clone()],
        source,
        upper: upper.map(|cursor| BTreeMap::from([(step.table.clone(), cursor)])).unwrap_or_default(),
        replaces: false,
    })
}

#[async_trait]
impl Connector for PostgresConnector {
    async fn discover(&self, ctx: &SourceContext) -> Result<Vec<SourceTable>> {
        let session = self.session(ctx).await?;
        let catalog = Catalog::read(&session, &self.config.schema).await?;
        session.end().await?;
        for name in self.config.tables.keys() {
            catalog.relation(&self.config.schema, name).map_err(|e| e.at(format!("source.config.tables.{name}")))?;
        }
        let offer = |relation: &catalog::Relation| -> Result<SourceTable> {
            let (selected, _) = table::columns(relation, self.settings(&relation.name))?;
            Ok(SourceTable {
                name: relation.name.clone(),
                primary_key: table::primary_key(relation, &selected),
                declared: types::schema_of(&selected),
                group: relation.name.clone(),
                ..SourceTable::default()
            })
        };
        catalog.relations.iter().map(offer).collect()
    }

    async fn probe(&self, ctx: &SourceContext) -> Result<String> {
        let session = self.session(ctx).await?;
        let schema = &self.config.schema;
        let catalog = Catalog::read(&session, schema).await?;
        session.end().await?;
        let standby = if catalog.standby { " (a standby)" } else { "" };
        let tables = match catalog.relations.len() {
            1 => "1 table".to_owned(),
            n => format!("{n} tables"),
        };
        let mut line =
            format!("PostgreSQL {}{standby}, user `{}`, {tables} in `{schema}`", catalog.version, catalog.user);
        let hidden = table::unreadable(&catalog);
        if !hidden.is_empty() {
            let shown: Vec<&str> = hidden.iter().take(NAMED).copied().collect();
            let more = if hidden.len() > NAMED { format!(" and {} more", hidden.len() - NAMED) } else { String::new() };
            line.push_str(&format!("; not readable without `grant select on …`: {}{more}", shown.join(", ")));
        }
        Ok(line)
    }

    async fn plan(&self, tables: &[TableRequest], _tick: Tick, ctx: &SourceContext) -> Result<Vec<SourceStep>> {
        let session = self.session(ctx).await?;
        let catalog = Catalog::read(&session, &self.config.schema).await?;
        let mut steps = Vec::with_capacity(tables.len());
        for request in tables {
            let of_table = self.steps(&session, &catalog, request).await;
            steps.extend(of_table.map_err(|e| e.at(format!("table `{}`", request.name)))?);
        }
        session.end().await?;
        Ok(steps)
    }

    async fn read<'a>(
        &'a self,
        step: &'a PlannedStep,
        _from: Option<&'a Checkpoint>,
        ctx: &'a SourceContext,
    ) -> Result<BoxStream<'a, Result<Message>>> {
        let source = StepSource::deserialize(&step.source)
            .map_err(|e| Error::new(Code::Internal, format!("the step cannot be read: {e}")))?;
        let place = format!("table `{}`", source.table);
        if let Some(problem) = &source.problem {
            return Err(problem.to_error().at(place));
        }
        let window = step.tables.first().map_or(&Window::Everything, |t| &t.window);
        let session = self.session(ctx).await?;
        let reading = Reading::start(session, &source.select(window), &source.columns, place, ctx).await?;
        Ok(stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|message| (message, reading)))
        })
        .boxed())
    }
}
