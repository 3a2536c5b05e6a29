//! The reading of one step: rows from a connector become parts in the store.
//!
//! Two passes, because a step's schema is the join over *all* its records (S12, ADR 0010): the first spools rows as they
//! came and infers, the second ([`settle`]) decodes, applies window and transform, sorts and writes. Nothing about
//! batches, memory or retries can be seen in the result (S9).

mod rows;
mod saved;
mod settle;

use futures::StreamExt as _;
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::plan::{Origin, Plan, PlannedStep, PlannedTable};
use hakiri_core::source::{Cancel, Message, Rows, SourceContext};
use hakiri_core::spec::OnBadRow;
use hakiri_core::step::StepResult;
use hakiri_core::{Error, Result};

use self::saved::{Log, is_lost, may_go_on};
pub(crate) use self::saved::{Saved, cut_short};
use self::settle::{Settled, settle};
use crate::Engine;
use crate::sort::Ascending;
use crate::spool::Spool;
use crate::typing::{ChildSpec, Inference, child_spec, split_children};

/// How many rejected records a report shows.
const MAX_SAMPLES: usize = 5;

/// Everything known of one table while its step is read.
#[derive(Debug)]
struct Intake<'a> {
    table: &'a PlannedTable,
    inference: Inference,
    /// Whether the rows have the order of their key already, so that they need not be sorted.
    order: Ascending,
    spool: Spool,
    read: u64,
    rejected: u64,
    samples: Vec<String>,
    opaque: Option<Cursor>,
    /// Of a child table: how many of its rows each of the parent's records gave, in order of arrival.
    per_parent: Vec<u32>,
}

impl<'a> Intake<'a> {
    fn new(engine: &Engine, table: &'a PlannedTable, memory: usize) -> Self {
        Self {
            table,
            inference: Inference::new(&table.declared),
            order: Ascending::new(&table.merge.primary_key),
            spool: Spool::new(memory, engine.settings.temp_dir.clone()),
            read: 0,
            rejected: 0,
            samples: Vec::new(),
            opaque: None,
            per_parent: Vec::new(),
        }
    }

    fn take(&mut self, engine: &Engine, rows: Rows) -> Result<()> {
        let count = rows.len() as u64;
        self.read += count;
        self.inference.observe(&rows)?;
        match &rows {
            Rows::Typed(batch) => self.order.observe(batch),
            // What they are ordered by is not known yet.
            Rows::Text(_) | Rows::Json(_) => self.order.give_up(),
        }
        self.spool.push(rows)?;
        engine.events.rows(&self.table.table, count);
        Ok(())
    }

    /// A record that cannot be used: counted where the manifest allows it, the end of the step where not.
    fn reject(&mut self, reason: String, error: Error) -> Result<()> {
        if self.table.on_bad_row == OnBadRow::Fail {
            return Err(error);
        }
        self.rejected += 1;
        if self.samples.len() < MAX_SAMPLES {
            self.samples.push(reason);
        }
        Ok(())
    }
}

/// Reads a step to its end and writes its parts. Nothing is visible until a commit names them (P4). Goes on from what
/// is saved, and saves more of it where the worker's time is short.
///
/// # Errors
/// Any source, schema or store error; `HK0912` when the worker's time is over. What was written before it is a stray for
/// `gc`.
pub(crate) async fn read_step(
    engine: &Engine,
    plan: &Plan,
    step: &PlannedStep,
    cancel: Cancel,
    saved: &Saved,
) -> Result<StepResult> {
    let ctx = engine.source_context(&plan.secrets, cancel.clone()).await?;
    let step = &with_inline_cursors(engine, step).await?;
    // The budget is the process's (P7): what steps at once and their tables hold is divided among them.
    let memory = engine.settings.memory / at_once(engine, plan);
    let spool = memory / 4 / step.tables.len().max(1);
    let empty = || step.tables.iter().map(|t| Intake::new(engine, t, spool)).collect::<Vec<_>>();
    let mut intakes = empty();
    let mut log = Log::new(&plan.run, step.index, saved, memory / 16);
    let mut received = receive(engine, plan, step, &ctx, &mut intakes, &mut log).await;
    if received.as_ref().is_err_and(|e| saved.is_there() && is_lost(e)) {
        engine.events.note(&format!("{}: what was read before cannot be gone on with, and is read again", step.name));
        saved.forget();
        intakes = empty();
        log = Log::new(&plan.run, step.index, saved, memory / 16);
        received = receive(engine, plan, step, &ctx, &mut intakes, &mut log).await;
    }
    if received.as_ref().is_err_and(may_go_on) {
        // Best effort: what cannot be saved is read again.
        let _ = log.save(&engine.store).await;
    }
    drop(log);
    // Errors may quote a source; secrets never leave (P8).
    received.map_err(|e| ctx.secrets.redact_error(&e))?;
    // Parents stand before their children, which need to know what became of them.
    let mut settled: Vec<Settled> = Vec::with_capacity(intakes.len());
    for intake in intakes {
        let name = intake.table.table.clone();
        let parent = match intake.table.origin {
            Origin::ChildOf { parent, .. } => settled.get(parent as usize),
            Origin::Source { .. } => None,
        };
        let has_children = children_of(step, settled.len()).next().is_some();
        let done = settle(engine, plan, step, intake, parent, has_children, &cancel).await;
        settled.push(done.map_err(|e| ctx.secrets.redact_error(&e.at(format!("table `{name}`"))))?);
    }
    let tables = settled.into_iter().map(|s| s.result).collect();
    Ok(StepResult { format: 1, run: plan.run.clone(), step: step.index, tables })
}

/// The step with every cursor as its connector knows it: large ones lie in the store.
async fn with_inline_cursors(engine: &Engine, step: &PlannedStep) -> Result<PlannedStep> {
    let mut step = step.clone();
    for table in &mut step.tables {
        table.cursor_before = engine.inline_cursor(table.cursor_before.take()).await?;
    }
    Ok(step)
}

/// How many steps of a plan may be under way in this process.
fn at_once(engine: &Engine, plan: &Plan) -> usize {
    plan.steps.len().min(plan.concurrency as usize).min(engine.settings.steps_at_once).max(1)
}

/// The first pass: from earlier attempts and the connector into spools.
async fn receive(
    engine: &Engine,
    plan: &Plan,
    step: &PlannedStep,
    ctx: &SourceContext,
    intakes: &mut [Intake<'_>],
    log: &mut Log<'_>,
) -> Result<()> {
    let mut from = None;
    for file in log.saved.files() {
        for message in saved::load(&engine.store, &file, &mut from).await? {
            take(engine, step, ctx, intakes, message)?;
        }
        ctx.cancel.check()?;
    }
    let connector = engine.connectors.open(&plan.source)?;
    let mut messages = connector.read(step, from.as_ref(), ctx).await?;
    loop {
        let next = tokio::select! {
            biased;
            () = log.saved.stopped() => {
                log.save(&engine.store).await?;
                return Err(cut_short());
            }
            next = messages.next() => next,
        };
        ctx.cancel.check()?;
        let Some(message) = next else { break };
        match message? {
            Message::Checkpoint(checkpoint) => log.mark(&engine.store, checkpoint).await?,
            message => {
                log.note(&engine.store, &message, &ctx.secrets).await?;
                take(engine, step, ctx, intakes, message)?;
            }
        }
        // Lets heartbeats and interruptions in, however busy the source is.
        tokio::task::yield_now().await;
    }
    if log.saved.is_there() {
        // The next attempt has only the second pass to do.
        log.save(&engine.store).await?;
    }
    Ok(())
}

/// What a message changes.
fn take(
    engine: &Engine,
    step: &PlannedStep,
    ctx: &SourceContext,
    intakes: &mut [Intake<'_>],
    message: Message,
) -> Result<()> {
    match message {
        Message::Rows { stream, rows } => take_rows(engine, step, intakes, table_of(step, stream)?, rows),
        Message::Rejected { stream, reason, error } => {
            intakes[table_of(step, stream)?].reject(ctx.secrets.redact(&reason), error)
        }
        Message::Cursor { stream, after } => {
            intakes[table_of(step, stream)?].opaque = Some(after);
            Ok(())
        }
        Message::Progress(progress) => {
            engine.events.progress(step.index, progress);
            Ok(())
        }
        Message::Note { text, .. } => {
            engine.events.note(&ctx.secrets.redact(&text));
            Ok(())
        }
        Message::Checkpoint(_) => Ok(()),
    }
}

/// Takes rows of a table, and out of them those of its child tables (S13).
fn take_rows(engine: &Engine, step: &PlannedStep, intakes: &mut [Intake<'_>], at: usize, rows: Rows) -> Result<()> {
    let children: Vec<usize> = children_of(step, at).collect();
    if children.is_empty() {
        return intakes[at].take(engine, rows);
    }
    let specs: Vec<ChildSpec> =
        children.iter().filter_map(|&c| child_spec(&step.tables[c]).transpose()).collect::<Result<_>>()?;
    let split = split_children(&rows, &step.tables[at].merge.primary_key, &specs)?;
    for (child, part) in children.into_iter().zip(split.children) {
        let from = intakes[child].per_parent.len();
        intakes[child].per_parent.resize(from + rows.len(), 0);
        for parent in part.parents {
            intakes[child].per_parent[from + parent] += 1;
        }
        take_rows(engine, step, intakes, child, part.rows)?;
    }
    intakes[at].take(engine, split.parent)
}

fn table_of(step: &PlannedStep, stream: u32) -> Result<usize> {
    step.tables.iter().position(|t| t.origin == Origin::Source { index: stream }).ok_or_else(|| {
        Error::new(Code::Internal, format!("the connector yields the stream {stream}, which is not in the plan"))
    })
}

fn children_of(step: &PlannedStep, parent: usize) -> impl Iterator<Item = usize> + '_ {
    step.tables
        .iter()
        .enumerate()
        .filter(move |(_, t)| matches!(t.origin, Origin::ChildOf { parent: p, .. } if p as usize == parent))
        .map(|(i, _)| i)
}
