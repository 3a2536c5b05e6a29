//! `hakiri check`: the manifest, and with `--connect` the sources.

use std::sync::Arc;

use hakiri_core::error::Failure;
use hakiri_core::id::PipelineId;
use hakiri_core::source::Cancel;
use hakiri_core::spec::PipelineSpec;
use hakiri_core::{Error, Result};
use hakiri_engine::engine::Silent;
use serde::Serialize;

use super::{count, load};
use crate::cli::{CheckArgs, GlobalArgs};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::world::{self, Access, World};

#[derive(Debug, Serialize)]
struct Output {
    project: String,
    pipelines: Vec<Checked>,
}

#[derive(Debug, Serialize)]
struct Checked {
    pipeline: PipelineId,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    errors: Vec<Failure>,
}

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &CheckArgs) -> Result<Exit> {
    let loaded = match load(global, printer)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    // The manifest alone needs neither catalog nor store: a fresh checkout on any machine can be checked.
    let world = if args.connect {
        Some(World::open(global, &loaded, Access::Read, Arc::new(Silent), Cancel::default()).await?)
    } else {
        None
    };
    let (connectors, transforms) = (world::connectors(), world::transforms());
    let mut exit = Exit::Done;
    let mut output = Output { project: loaded.project.name.to_string(), pipelines: Vec::new() };
    for spec in &loaded.project.pipelines {
        let mut checked = Checked { pipeline: spec.id.clone(), source: None, errors: Vec::new() };
        let mut note = |e: Error, exit: &mut Exit| {
            *exit = (*exit).max(Exit::of(&e));
            printer.failure(&format!("{}:\n{}", spec.id, printer.render(&e.to_failure())));
            checked.errors.push(e.to_failure());
        };
        if let Err(e) = connectors.open(&spec.source) {
            note(e, &mut exit);
        }
        for (table, settings) in &spec.table {
            if let Some(Err(e)) = settings.transform.as_ref().map(|sql| transforms.check(sql)) {
                note(e.at(format!("pipeline.table.{table}.transform")), &mut exit);
            }
        }
        if let Some(world) = world.as_ref().filter(|_| checked.errors.is_empty()) {
            match reach(world, spec).await {
                Ok(answer) => {
                    printer.note(&format!("{}: {answer}", spec.id));
                    checked.source = Some(answer);
                }
                Err(e) => {
                    exit = exit.max(Exit::of(&e));
                    printer.failure(&format!("{}:\n{}", spec.id, printer.render(&e.to_failure())));
                    checked.errors.push(e.to_failure());
                }
            }
        }
        output.pipelines.push(checked);
    }
    if exit == Exit::Done {
        printer.note(&format!("the manifest is fine: {}", count(output.pipelines.len() as u64, "pipeline")));
    }
    if printer.json {
        printer.document(&output);
    }
    Ok(exit)
}

/// Whether the source can be reached, and whether a plan can be made of it. What it says may repeat a secret (P8).
async fn reach(world: &World, spec: &PipelineSpec) -> Result<String> {
    let secrets = world.engine.secrets.secrets(&spec.secrets).await?;
    match world.engine.probe(&spec.id).await {
        Ok(answer) => Ok(secrets.redact(&answer)),
        Err(e) => Err(secrets.redact_error(&e)),
    }
}
