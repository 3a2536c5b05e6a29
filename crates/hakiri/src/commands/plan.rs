//! `hakiri plan`: what a run would do, without any side effect.

use hakiri_core::Result;
use hakiri_core::plan::{Origin, PlannedTable};
use hakiri_core::spec::Mode;
use hakiri_core::window::Window;
use hakiri_engine::ops::Preview;
use serde::Serialize;

use super::open_to_read;
use crate::cli::{GlobalArgs, PlanArgs};
use crate::exit::Exit;
use crate::printer::Printer;

#[derive(Debug, Serialize)]
struct Output {
    plans: Vec<PlanOutput>,
    /// Renames that the next run will carry out.
    moves: Vec<MoveOutput>,
    /// Pipelines that have data and are no longer in the manifest.
    left_behind: Vec<String>,
}

#[derive(Debug, Serialize)]
struct MoveOutput {
    from: String,
    to: String,
}

#[derive(Debug, Serialize)]
struct PlanOutput {
    pipeline: String,
    schedule: Option<String>,
    steps: Vec<StepOutput>,
    tables_left_behind: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StepOutput {
    name: String,
    tables: Vec<TableOutput>,
}

#[derive(Debug, Serialize)]
struct TableOutput {
    table: String,
    source_table: String,
    mode: Mode,
    primary_key: Vec<String>,
    cursor_column: Option<String>,
    window: Window,
    new_table: bool,
    reads: String,
}

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &PlanArgs) -> Result<Exit> {
    let world = match open_to_read(global, printer).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let mut output = Output { plans: Vec::new(), moves: Vec::new(), left_behind: Vec::new() };
    let moves = world.engine.pending_moves().await?;
    for pipeline in world.pipelines(&args.pipelines)? {
        let preview = world.engine.preview(&pipeline, args.full, world.now()).await?;
        let schedule = world.engine.pipeline(&pipeline)?.schedule.clone();
        output.plans.push(describe(&preview, schedule));
    }
    let known = &world.engine.project.pipelines;
    output.left_behind = world
        .heads()
        .await?
        .iter()
        .filter(|h| !h.tables.is_empty() && !known.iter().any(|p| p.id == h.pipeline))
        .filter(|h| !moves.iter().any(|m| m.from == h.pipeline.as_str()))
        .map(|h| h.pipeline.to_string())
        .collect();
    output.moves = moves.into_iter().map(|m| MoveOutput { from: m.from, to: m.to }).collect();
    if printer.json {
        printer.document(&output);
    } else {
        output.plans.iter().for_each(|plan| show(printer, plan));
        for moved in &output.moves {
            printer.data(&format!("moves {} to {}", moved.from, moved.to));
        }
        for pipeline in &output.left_behind {
            printer.data(&format!(
                "{pipeline}: no longer in the manifest; its data is kept (`hakiri drop {pipeline}` deletes it)"
            ));
        }
    }
    let changes = !output.left_behind.is_empty()
        || !output.moves.is_empty()
        || output
            .plans
            .iter()
            .any(|p| !p.tables_left_behind.is_empty() || p.steps.iter().any(|s| s.tables.iter().any(|t| t.new_table)));
    Ok(if args.exit_code && changes { Exit::Failed } else { Exit::Done })
}

fn describe(preview: &Preview, schedule: Option<String>) -> PlanOutput {
    PlanOutput {
        pipeline: preview.plan.pipeline.to_string(),
        schedule,
        steps: preview
            .plan
            .steps
            .iter()
            .map(|step| StepOutput {
                name: step.name.clone(),
                tables: step.tables.iter().map(|t| table(preview, t)).collect(),
            })
            .collect(),
        tables_left_behind: preview.orphans.iter().map(ToString::to_string).collect(),
    }
}

fn table(preview: &Preview, table: &PlannedTable) -> TableOutput {
    TableOutput {
        table: table.table.to_string(),
        source_table: table.source_table.clone(),
        mode: table.merge.mode,
        primary_key: table.merge.primary_key.clone(),
        cursor_column: table.merge.cursor.clone(),
        window: table.window.clone(),
        new_table: !preview.head.tables.contains_key(&table.table),
        reads: reads(table),
    }
}

/// The window in words.
fn reads(table: &PlannedTable) -> String {
    if let Origin::ChildOf { field, .. } = &table.origin {
        return format!("the items of `{field}` of its parent's records");
    }
    let column = table.merge.cursor.as_deref().unwrap_or("the cursor");
    match &table.window {
        Window::Everything => "everything".to_owned(),
        Window::HalfOpen { lo: None, hi } => format!("everything with {column} before {hi}"),
        Window::HalfOpen { lo: Some(lo), hi } => format!(
            "{column} from {lo} to before {hi}; what arrives later than `lag` is not seen, `run --full` repairs that"
        ),
        Window::Above { lo: None, .. } => "everything".to_owned(),
        Window::Above { lo: Some(lo), hi: None } => format!("{column} above {lo}"),
        Window::Above { lo: Some(lo), hi: Some(hi) } => format!("{column} above {lo} up to {hi}"),
        Window::After { position: None } => "everything the source has".to_owned(),
        Window::After { position: Some(_) } => "what is new or changed since the last run".to_owned(),
    }
}

fn show(printer: &Printer, plan: &PlanOutput) {
    let schedule = plan.schedule.as_ref().map(|s| format!(" ({s})")).unwrap_or_default();
    printer.data(&format!("{}{schedule}", plan.pipeline));
    if plan.steps.is_empty() {
        printer.data("  nothing to read");
    }
    for step in &plan.steps {
        printer.data(&format!("  step {}", step.name));
        for table in &step.tables {
            let new = if table.new_table { " (new)" } else { "" };
            let key = if table.primary_key.is_empty() {
                String::new()
            } else {
                format!(" by {}", table.primary_key.join(", "))
            };
            let mode = format!("{:?}", table.mode).to_lowercase();
            printer.data(&format!("    {}{new}: {mode}{key}; reads {}", table.table, table.reads));
        }
    }
    for table in &plan.tables_left_behind {
        printer.data(&format!("    {table}: no longer read; its data is kept"));
    }
}
