//! `hakiri pause` and `hakiri resume`: whether runs start by schedule.

use std::sync::Arc;

use hakiri_core::Result;
use hakiri_core::catalog::{Commit, Control};
use hakiri_core::source::Cancel;
use hakiri_engine::engine::Silent;
use serde_json::json;

use super::open_to_write;
use crate::cli::{GlobalArgs, PipelinesArgs};
use crate::exit::Exit;
use crate::printer::Printer;

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &PipelinesArgs, control: Control) -> Result<Exit> {
    let world = match open_to_write(global, printer, Arc::new(Silent), Cancel::default()).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let mut all = Vec::new();
    for pipeline in world.pipelines(&args.pipelines)? {
        let commit = Commit::Control { pipeline: pipeline.clone(), control: control.clone() };
        let head = world.engine.catalog.commit(&commit).await?.head;
        let under_way = head.unfinished.as_ref().map(|run| format!("; {run} goes on")).unwrap_or_default();
        printer.note(&match head.paused {
            Some(since) => format!("{pipeline}: paused since {since}{under_way}"),
            None => format!("{pipeline}: runs by its schedule"),
        });
        all.push(json!({ "pipeline": pipeline, "paused": head.paused, "unfinished": head.unfinished }));
    }
    if printer.json {
        printer.document(&json!({ "pipelines": all }));
    }
    Ok(Exit::Done)
}
