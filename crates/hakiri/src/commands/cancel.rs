//! `hakiri cancel`: ends a pipeline's unfinished run, wherever it is worked on.

use std::sync::Arc;

use hakiri_core::catalog::{Commit, Control};
use hakiri_core::codes::Code;
use hakiri_core::id::RunId;
use hakiri_core::source::Cancel;
use hakiri_core::{Error, Result};
use hakiri_engine::engine::Silent;
use serde_json::json;

use super::open_to_write;
use crate::cli::{CancelArgs, GlobalArgs};
use crate::exit::Exit;
use crate::printer::Printer;

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &CancelArgs) -> Result<Exit> {
    let world = match open_to_write(global, printer, Arc::new(Silent), Cancel::default()).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let asked = args.run.as_deref().map(str::parse::<RunId>).transpose()?;
    for pipeline in world.pipelines(std::slice::from_ref(&args.pipeline))? {
        let head = world.engine.head(&pipeline).await?;
        let Some(run) = asked.clone().or(head.unfinished) else {
            return Err(Error::new(Code::CatalogNotFound, format!("no run of `{pipeline}` is under way"))
                .with_hint("see `hakiri runs`; `hakiri pause` keeps new ones from starting"));
        };
        let commit = Commit::Control { pipeline: pipeline.clone(), control: Control::Cancel { run: run.clone() } };
        world.engine.catalog.commit(&commit).await?;
        printer.note(&format!("{pipeline}: cancelled {run}; a worker that is at it stops within seconds"));
        if printer.json {
            printer.document(&json!({ "pipeline": pipeline, "run": run }));
        }
    }
    Ok(Exit::Done)
}
