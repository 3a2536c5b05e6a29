//! `hakiri check`: the manifest, and with `--connect` the sources.

use hakiri_core::error::Failure;
use hakiri_core::id::PipelineId;
use hakiri_core::{Error, Result};
use serde::Serialize;

use super::{count, open_to_read};
use crate::cli::{CheckArgs, GlobalArgs};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::world::World;

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
    let world = match open_to_read(global, printer).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let mut exit = Exit::Done;
    let mut output = Output { project: world.engine.project.name.to_string(), pipelines: Vec::new() };
    for spec in &world.engine.project.pipelines {
        let mut checked = Checked { pipeline: spec.id.clone(), source: None, errors: Vec::new() };
        let mut note = |e: Error, exit: &mut Exit| {
            *exit = (*exit).max(Exit::of(&e));
            printer.note(&format!("{}:\n{}", spec.id, printer.render(&e.to_failure())));
            checked.errors.push(e.to_failure());
        };
        if let Err(e) = world.engine.connectors.open(&spec.source) {
            note(e, &mut exit);
        }
        for (table, settings) in &spec.table {
            if let Some(Err(e)) = settings.transform.as_ref().map(|sql| world.engine.transforms.check(sql)) {
                note(e.at(format!("pipeline.table.{table}.transform")), &mut exit);
            }
        }
        if args.connect && checked.errors.is_empty() {
            match reach(&world, &spec.id).await {
                Ok(answer) => {
                    printer.note(&format!("{}: {answer}", spec.id));
                    checked.source = Some(answer);
                }
                Err(e) => {
                    exit = exit.max(Exit::of(&e));
                    printer.note(&format!("{}:\n{}", spec.id, printer.render(&e.to_failure())));
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

/// Whether the source can be reached, and whether a plan can be made of it.
async fn reach(world: &World, pipeline: &PipelineId) -> Result<String> {
    world.engine.probe(pipeline).await
}
