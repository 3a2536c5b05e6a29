//! `hakiri state`: how far tables have been read.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime};
use hakiri_core::catalog::{Head, TableHead};
use hakiri_core::codes::Code;
use hakiri_core::cursor::{Cursor, CursorKind};
use hakiri_core::id::{PipelineId, TableName};
use hakiri_core::source::Cancel;
use hakiri_core::spec::Mode;
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

impl State {
    fn of(head: &Head, name: &TableName, table: &TableHead) -> Self {
        Self {
            pipeline: head.pipeline.clone(),
            table: table.source_table.clone(),
            stored_as: name.clone(),
            cursor: table.cursor.clone(),
            seq: head.seq,
            generation: head.generation,
            reads_anew: table.anew,
        }
    }
}

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, command: &StateCommand) -> Result<Exit> {
    let (text, to, yes) = match command {
        StateCommand::Show { what } => return show(global, printer, what).await,
        StateCommand::Rewind { table, to, yes } => (table, Some(to), *yes),
        StateCommand::Reset { table, yes } => (table, None, *yes),
    };
    let world = match open_to_write(global, printer, Arc::new(Silent), Cancel::default()).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let (pipeline, table) = one_table(&world, text).await?;
    let _lock = PipelineLock::take(&world.state_dir, &pipeline)?;
    let (head, told) = match to {
        Some(to) => rewind(&world, printer, &pipeline, &table, to, yes).await?,
        None => reset(&world, printer, &pipeline, &table, yes).await?,
    };
    printer.note(&format!("{table}: {told}"));
    if printer.json {
        // Children share their parent's fate.
        let changed = |(name, t): &(&TableName, &TableHead)| {
            *name == &table || t.anew && t.merge.parent.as_ref().is_some_and(|p| p.table == table)
        };
        let states: Vec<State> = head.tables.iter().filter(changed).map(|(n, t)| State::of(&head, n, t)).collect();
        printer.document(&serde_json::json!({ "state": states }));
    }
    Ok(Exit::Done)
}

async fn rewind(
    world: &World,
    printer: &Printer,
    pipeline: &PipelineId,
    table: &TableName,
    to: &str,
    yes: bool,
) -> Result<(Head, String)> {
    let head = world.engine.head(pipeline).await?;
    let current = hakiri_engine::state::table_head(&head, table)?;
    let to = position(to, current.cursor.as_ref())?;
    if current.merge.mode == Mode::Append {
        let warning = format!("{table} appends: rows from {to} on that the source gives again will be there twice");
        if !yes && !confirmed(printer, &format!("{warning}; rewind?")) {
            return Err(Error::new(Code::Arguments, format!("not confirmed; {warning}"))
                .with_hint("add --yes, or use `hakiri state reset`"));
        }
        printer.note(&format!("warning: {warning}"));
    }
    let head = world.engine.rewind(pipeline, table, to.clone()).await?;
    Ok((head, format!("the next run reads again from {to}")))
}

async fn reset(
    world: &World,
    printer: &Printer,
    pipeline: &PipelineId,
    table: &TableName,
    yes: bool,
) -> Result<(Head, String)> {
    let question = format!("forget the cursor of {table}, so that the next run reads everything anew?");
    if !yes && !confirmed(printer, &question) {
        return Err(Error::new(Code::Arguments, "not confirmed").with_hint("add --yes"));
    }
    let head = world.engine.reset(pipeline, table).await?;
    Ok((head, "the next run reads everything anew; until then its data stays as it is".to_owned()))
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
                states.push(State::of(&head, name, table));
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
            let example = if *utc { "2026-01-31T12:00:00Z" } else { "2026-01-31T12:00:00" };
            let nanos =
                nanos(text, *utc).ok_or_else(|| bad("an instant").with_hint(format!("write it as {example}")))?;
            Ok(Cursor::Timestamp { nanos, utc: *utc })
        }
        Some(Cursor::Text { .. }) => Ok(Cursor::Text { value: text.to_owned() }),
        Some(c) => {
            debug_assert_eq!(c.kind(), CursorKind::Opaque);
            Err(bad("usable: an opaque cursor cannot be set").with_hint("use `hakiri state reset`"))
        }
    }
}

/// Nanoseconds since the Unix epoch, to the last digit. A wall-clock time has no zone; one with a zone is taken as UTC,
/// which is what such a cursor's bounds are in.
fn nanos(text: &str, utc: bool) -> Option<i128> {
    let at = match DateTime::parse_from_rfc3339(text) {
        Ok(at) => at.to_utc(),
        Err(_) if !utc => text.parse::<NaiveDateTime>().ok()?.and_utc(),
        Err(_) => return None,
    };
    Some(i128::from(at.timestamp()) * 1_000_000_000 + i128::from(at.timestamp_subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_set_to_the_last_digit() {
        for (text, nanos, utc) in [
            ("2026-01-01T00:00:00.000000001Z", 1_767_225_600_000_000_001, true),
            ("2026-01-01T00:00:00.123456", 1_767_225_600_123_456_000, false),
            ("2026-01-01T00:00:00", 1_767_225_600_000_000_000, false),
            ("1969-12-31T23:59:59.999999999", -1, false),
        ] {
            let cursor = Cursor::Timestamp { nanos, utc };
            assert_eq!(cursor.to_string(), text);
            assert_eq!(position(text, Some(&cursor)).unwrap(), cursor);
        }
        let utc = Cursor::Timestamp { nanos: 0, utc: true };
        assert_eq!(position("2026-01-01T00:00:00", Some(&utc)).unwrap_err().code(), Code::StateInvalid);
    }
}
