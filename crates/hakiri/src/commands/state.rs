//! `hakiri state`: how far tables have been read.

use std::sync::Arc;

use hakiri_core::codes::Code;
use hakiri_core::cursor::{Cursor, CursorKind};
use hakiri_core::id::{PipelineId, TableName};
use hakiri_core::source::Cancel;
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result};
use hakiri_engine::engine::Silent;
use serde::Serialize;

use super::{confirmed, open_to_read, open_to_write};
use crate::cli::{GlobalArgs, StateCommand};
use crate::exit::Exit;
use crate::lock::PipelineLock;
use crate::printer::Printer;
use crate::world::World;

#[derive(Debug, Serialize)]
struct State {
    pipeline: PipelineId,
    table: String,
    stored_as: TableName,
    cursor: Option<Cursor>,
    seq: u64,
    generation: u64,
    reads_anew: bool,
}

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, command: &StateCommand) -> Result<Exit> {
    match command {
        StateCommand::Show { what } => show(global, printer, what).await,
        StateCommand::Rewind { table, to } => {
            let world = match open_to_write(global, printer, Arc::new(Silent), Cancel::default()).await? {
                Ok(world) => world,
                Err(exit) => return Ok(exit),
            };
            let (pipeline, table) = one_table(&world, table).await?;
            let _lock = PipelineLock::take(&world.state_dir, &pipeline)?;
            let head = world.engine.head(&pipeline).await?;
            let current = hakiri_engine::state::table_head(&head, &table)?.cursor;
            let to = position(to, current.as_ref())?;
            world.engine.rewind(&pipeline, &table, to.clone()).await?;
            printer.note(&format!("{table}: the next run reads again from {to}"));
            Ok(Exit::Done)
        }
        StateCommand::Reset { table, yes } => {
            let world = match open_to_write(global, printer, Arc::new(Silent), Cancel::default()).await? {
                Ok(world) => world,
                Err(exit) => return Ok(exit),
            };
            let (pipeline, table) = one_table(&world, table).await?;
            if !yes
                && !confirmed(
                    printer,
                    &format!("forget the cursor of {table}, so that the next run reads everything anew?"),
                )
            {
                return Err(Error::new(Code::Arguments, "not confirmed").with_hint("add --yes"));
            }
            let _lock = PipelineLock::take(&world.state_dir, &pipeline)?;
            world.engine.reset(&pipeline, &table).await?;
            printer.note(&format!("{table}: the next run reads everything anew; until then its data stays as it is"));
            Ok(Exit::Done)
        }
    }
}

async fn show(global: &GlobalArgs, printer: &Printer, what: &[String]) -> Result<Exit> {
    let world = match open_to_read(global, printer).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let mut wanted = Vec::new();
    for text in what {
        wanted.push(world.find_table(text).await?);
    }
    let mut states = Vec::new();
    for head in world.heads().await? {
        for (name, table) in &head.tables {
            let chosen = wanted.is_empty()
                || wanted.iter().any(|(p, t)| p == &head.pipeline && t.as_ref().is_none_or(|t| t == name));
            if chosen {
                states.push(State {
                    pipeline: head.pipeline.clone(),
                    table: table.source_table.clone(),
                    stored_as: name.clone(),
                    cursor: table.cursor.clone(),
                    seq: head.seq,
                    generation: head.generation,
                    reads_anew: table.anew,
                });
            }
        }
    }
    if printer.json {
        printer.document(&serde_json::json!({ "state": states }));
        return Ok(Exit::Done);
    }
    if states.is_empty() {
        printer.note("nothing is committed yet");
    }
    for s in &states {
        let cursor = s.cursor.as_ref().map_or_else(|| "no cursor: read in full".to_owned(), ToString::to_string);
        let anew = if s.reads_anew { " (reset: the next run reads everything anew)" } else { "" };
        printer.data(&format!("{}.{}: {cursor}{anew}", s.pipeline, s.table));
    }
    Ok(Exit::Done)
}

async fn one_table(world: &World, text: &str) -> Result<(PipelineId, TableName)> {
    match world.find_table(text).await? {
        (pipeline, Some(table)) => Ok((pipeline, table)),
        (pipeline, None) => Err(Error::new(Code::Arguments, format!("`{pipeline}` is a pipeline, not a table"))
            .with_hint(format!("write {pipeline}.<table>"))),
    }
}

/// A position as `state show` prints it, of the kind of the table's cursor.
fn position(text: &str, current: Option<&Cursor>) -> Result<Cursor> {
    let bad = |what: &str| Error::new(Code::StateInvalid, format!("`{text}` is not {what}"));
    match current {
        None => Err(Error::new(Code::StateInvalid, "the table has no cursor: every run reads it in full")),
        Some(Cursor::Integer { .. }) => Ok(Cursor::Integer { value: text.parse().map_err(|_| bad("an integer"))? }),
        Some(Cursor::Timestamp { utc, .. }) => {
            let instant: Instant =
                text.parse().map_err(|_| bad("an instant").with_hint("write it as 2026-01-31T12:00:00Z"))?;
            Ok(Cursor::Timestamp { nanos: i128::from(instant.millis()) * 1_000_000, utc: *utc })
        }
        Some(Cursor::Text { .. }) => Ok(Cursor::Text { value: text.to_owned() }),
        Some(c) => {
            debug_assert_eq!(c.kind(), CursorKind::Opaque);
            Err(bad("usable: an opaque cursor cannot be set").with_hint("use `hakiri state reset`"))
        }
    }
}
