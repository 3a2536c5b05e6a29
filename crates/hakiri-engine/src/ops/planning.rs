//! Planning: from a pipeline's spec, its head and what the source offers to an immutable plan.

use hakiri_core::catalog::{Head, Kind, PageRequest, Record, TableHead};
use hakiri_core::codes::Code;
use hakiri_core::cursor::{Cursor, CursorKind};
use hakiri_core::id::{PipelineId, TableName};
use hakiri_core::manifest::{FileRef, Merge, ParentLink};
use hakiri_core::plan::{FORMAT, Origin, Plan, PlannedStep, PlannedTable};
use hakiri_core::schema::{Field, Schema, Type};
use hakiri_core::source::{Cancel, Connector, SourceContext, SourceStep, SourceTable, TableRequest};
use hakiri_core::spec::{Distance, Mode, PipelineSpec, TableSpec};
use hakiri_core::time::{Instant, Tick};
use hakiri_core::window::{Window, WindowInput, window};
use hakiri_core::{Error, Result};

use super::begin::{CLOCK_SLACK_MS, Due};
use crate::Engine;
use crate::typing::child_columns;

/// What `hakiri plan` shows: the plan a manual run would have now, without any side effect.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// The pipeline's head.
    pub head: Head,
    /// Tables that an earlier manifest read and this one does not: their data is kept.
    pub orphans: Vec<TableName>,
}

impl Engine {
    /// A preview of the run that `hakiri run` would make. Not `begin`: it writes nothing and takes no lease.
    ///
    /// # Errors
    /// Any source or catalog error.
    pub async fn preview(&self, pipeline: &PipelineId, full: bool, tick: Tick) -> Result<Preview> {
        let (spec, head) = (self.pipeline(pipeline)?, self.head_with_moves(pipeline).await?);
        let generation = head.generation + u64::from(full);
        let run = hakiri_core::id::RunId::new(&self.project.name, pipeline, tick, generation);
        let plan = self.plan(spec, &head, &Due { run, tick, generation, full, scheduled: false }).await?;
        let planned: Vec<&TableName> = plan.steps.iter().flat_map(|s| s.tables.iter().map(|t| &t.table)).collect();
        let orphans = head.tables.keys().filter(|t| !planned.contains(t)).cloned().collect();
        Ok(Preview { plan, head, orphans })
    }

    pub(super) async fn plan(&self, spec: &PipelineSpec, head: &Head, due: &Due) -> Result<Plan> {
        let ctx = self.source_context(&spec.secrets, self.cancel.clone()).await?;
        // Errors may quote a source; secrets never leave (P8).
        self.plan_in(&ctx, spec, head, due).await.map_err(|e| ctx.secrets.redact_error(&e))
    }

    async fn plan_in(&self, ctx: &SourceContext, spec: &PipelineSpec, head: &Head, due: &Due) -> Result<Plan> {
        let connector = self.connectors.open(&spec.source)?;
        let offered = connector.discover(ctx).await?;
        let selected = select(spec, offered)?;
        let mut requests = Vec::new();
        for source in &selected {
            let table = spec.stored_name(&source.name)?;
            let mut request = request(spec, source, head.tables.get(&table), due)?;
            refuse_ahead(request.cursor.as_ref(), self.clock.now()).map_err(|e| e.at(format!("table `{table}`")))?;
            request.cursor = self.inline_cursor(request.cursor).await?;
            requests.push(request);
        }
        let steps = connector.plan(&requests, due.tick, ctx).await?;
        let mut planned = Vec::new();
        for (index, step) in steps.into_iter().enumerate() {
            planned.push(self.planned_step(
                spec,
                head,
                due,
                u32::try_from(index).unwrap_or(u32::MAX),
                step,
                &selected,
                &requests,
            )?);
        }
        refuse_collisions(&planned)?;
        self.refuse_foreign(&planned, &spec.id).await?;
        for table in planned.iter().flat_map(|s| &s.tables) {
            if let Some(sql) = &table.transform {
                self.transforms.check(sql).map_err(|e| e.at(format!("table `{}`", table.source_table)))?;
            }
        }
        Ok(Plan {
            format: FORMAT,
            made_by: self.settings.version.clone(),
            project: self.project.name.clone(),
            pipeline: spec.id.clone(),
            run: due.run.clone(),
            tick: due.tick,
            generation: due.generation,
            base_seq: head.seq,
            full: due.full,
            scheduled: due.scheduled,
            source: spec.source.clone(),
            secrets: spec.secrets.clone(),
            concurrency: spec.concurrency.unwrap_or(4),
            steps: planned,
        })
    }

    /// Refuses tables that another pipeline has written: what the manifest alone cannot tell where a source names its
    /// tables itself.
    async fn refuse_foreign(&self, steps: &[PlannedStep], pipeline: &PipelineId) -> Result<()> {
        let mut page =
            PageRequest { kind: Kind::Head, prefix: Vec::new(), after: None, limit: 500, newest_first: false };
        loop {
            let listed = self.catalog.list(&page).await?;
            for (_, record) in &listed.entries {
                let Record::Head(other) = record else { continue };
                let shared = steps.iter().flat_map(|s| &s.tables).find(|t| other.tables.contains_key(&t.table));
                if let (true, Some(table)) = (&other.pipeline != pipeline, shared) {
                    return Err(Error::new(
                        Code::ManifestCollision,
                        format!("the table `{}` belongs to the pipeline `{}`", table.table, other.pipeline),
                    )
                    .with_hint("set `name` or `prefix`; or `moved`, if the pipeline was renamed; or drop it there"));
                }
            }
            page.after = listed.entries.last().map(|(key, _)| key.clone());
            if !listed.more {
                return Ok(());
            }
        }
    }

    /// A cursor that lies in the store, as its connector knows it.
    pub(crate) async fn inline_cursor(&self, cursor: Option<Cursor>) -> Result<Option<Cursor>> {
        let Some(Cursor::Stored { path, sha256 }) = cursor else { return Ok(cursor) };
        let bytes = self.store.get_verified(&FileRef { path: path.clone(), sha256 }).await?;
        let value = String::from_utf8(bytes.to_vec())
            .map_err(|_| Error::new(Code::StoreDamaged, format!("{path} is not text")))?;
        Ok(Some(Cursor::Opaque { value }))
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is the plan's input; a struct would only rename it")]
    fn planned_step(
        &self,
        spec: &PipelineSpec,
        head: &Head,
        due: &Due,
        index: u32,
        step: SourceStep,
        selected: &[SourceTable],
        requests: &[TableRequest],
    ) -> Result<PlannedStep> {
        let mut tables: Vec<PlannedTable> = Vec::new();
        for (stream, name) in step.tables.iter().enumerate() {
            let (Some(source), Some(request)) = (find(selected, name, |s| &s.name), find(requests, name, |r| &r.name))
            else {
                return Err(Error::new(
                    Code::Internal,
                    format!("the connector planned the table `{name}`, which nobody asked for"),
                ));
            };
            let table = spec.stored_name(name)?;
            let committed = head.tables.get(&table).filter(|t| !due.full && !t.anew);
            let (kind, mode) = kind_and_mode(spec, source, committed)?;
            let mut window = request.window.clone();
            if let Window::Above { hi, .. } = &mut window {
                *hi = settled(step.upper.get(name), request.spec.settle.as_ref())
                    .map_err(|e| e.at(format!("table `{name}`")))?
                    .or(hi.take());
            }
            let starts_anew = mode == Mode::Replace || step.replaces;
            let parent = u32::try_from(tables.len()).unwrap_or(u32::MAX);
            let merge = Merge {
                mode,
                primary_key: request.primary_key.clone(),
                cursor: request.incremental.clone(),
                parent: None,
            };
            if let Some(committed) = committed.filter(|_| !starts_anew) {
                refuse_other_merge(&table, committed, &merge)?;
            }
            let base = PlannedTable {
                table: table.clone(),
                source_table: name.clone(),
                origin: Origin::Source { index: u32::try_from(stream).unwrap_or(u32::MAX) },
                cursor_kind: kind,
                window,
                cursor_before: committed.and_then(|t| t.cursor.clone()),
                previous: committed.filter(|_| !starts_anew).and_then(|t| t.manifest.clone()),
                schema: committed.and_then(|t| t.schema.clone()),
                declared: declared(source, &request.spec)?,
                policy: request.spec.schema,
                on_bad_row: request.spec.on_bad_row,
                transform: request.spec.transform.clone(),
                merge,
            };
            let wanted: Vec<(String, String)> = if request.spec.children.is_empty() {
                source.children.clone()
            } else {
                request.spec.children.iter().map(|f| (f.clone(), format!("{name}_{f}"))).collect()
            };
            tables.push(base);
            for (field, child) in wanted {
                let child = self.planned_child(spec, head, due, &tables[parent as usize], parent, &field, &child)?;
                tables.push(child);
            }
        }
        Ok(PlannedStep { index, name: step.name, source: step.source, tables })
    }

    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn planned_child(
        &self,
        spec: &PipelineSpec,
        head: &Head,
        due: &Due,
        parent: &PlannedTable,
        parent_index: u32,
        field: &str,
        name: &str,
    ) -> Result<PlannedTable> {
        if parent.merge.primary_key.is_empty() {
            return Err(Error::new(
                Code::SchemaKey,
                format!("`{}` has no primary key for its child table `{name}` to refer to", parent.source_table),
            )
            .with_hint("set `primary_key` on the parent, or leave the array in it"));
        }
        let table = spec.stored_name(name)?;
        let committed = head.tables.get(&table).filter(|t| !due.full && !t.anew);
        let settings = spec.table_settings(name);
        let columns = child_columns(&parent.source_table, &parent.merge.primary_key, field);
        let merge = Merge {
            mode: parent.merge.mode,
            primary_key: columns.primary_key(),
            cursor: None,
            parent: Some(ParentLink { table: parent.table.clone(), columns: columns.parent }),
        };
        if let Some(committed) = committed.filter(|_| parent.previous.is_some()) {
            refuse_other_merge(&table, committed, &merge)?;
        }
        Ok(PlannedTable {
            table,
            source_table: name.to_owned(),
            origin: Origin::ChildOf { parent: parent_index, field: field.to_owned() },
            merge,
            cursor_kind: None,
            window: Window::Everything,
            cursor_before: None,
            previous: committed.filter(|_| parent.previous.is_some()).and_then(|t| t.manifest.clone()),
            schema: committed.and_then(|t| t.schema.clone()),
            declared: declared(&SourceTable::default(), &settings)?,
            policy: settings.schema,
            on_bad_row: settings.on_bad_row,
            transform: settings.transform,
        })
    }
}

fn find<'a, T>(items: &'a [T], name: &str, key: impl Fn(&T) -> &String) -> Option<&'a T> {
    items.iter().find(|item| key(item) == name)
}

/// The tables of a pipeline: those it names, or all the source offers.
fn select(spec: &PipelineSpec, offered: Vec<SourceTable>) -> Result<Vec<SourceTable>> {
    let all = |offered: Vec<SourceTable>| offered.into_iter().filter(|t| !spec.exclude.contains(&t.name)).collect();
    let Some(names) = &spec.tables else { return Ok(all(offered)) };
    if names.iter().any(|n| n == "*") {
        return Ok(all(offered));
    }
    // A source with one unnamed table (a file pattern) goes by whatever name the manifest gives it.
    if let ([name], [only]) = (names.as_slice(), offered.as_slice())
        && only.any_name
    {
        return Ok(vec![SourceTable { name: name.clone(), ..only.clone() }]);
    }
    names
        .iter()
        .map(|name| {
            find(&offered, name, |t| &t.name).cloned().ok_or_else(|| {
                let known: Vec<&str> = offered.iter().map(|t| t.name.as_str()).collect();
                Error::new(
                    Code::SourceUnknownTable,
                    format!("the source of `{}` does not offer a table `{name}`", spec.id),
                )
                .with_hint(format!(
                    "it offers: {}",
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                ))
            })
        })
        .collect()
}

fn primary_key(settings: &TableSpec, source: &SourceTable) -> Vec<String> {
    settings.primary_key.clone().unwrap_or_else(|| source.primary_key.clone())
}

/// The cursor column: the table's, the pipeline's, the source's own; an empty one means a full load.
fn incremental(settings: &TableSpec, source: &SourceTable) -> Option<String> {
    settings.incremental.clone().or_else(|| source.incremental.clone()).filter(|c| !c.is_empty())
}

/// Which kind of cursor a table has, and its mode: key and cursor → merge; cursor, no key → append; neither → replace.
fn kind_and_mode(
    spec: &PipelineSpec,
    source: &SourceTable,
    committed: Option<&TableHead>,
) -> Result<(Option<CursorKind>, Mode)> {
    let settings = spec.table_settings(&source.name);
    let column = incremental(&settings, source);
    let kind = source.cursor_kind.or_else(|| {
        let column = column.as_deref()?;
        // The committed cursor knows best; before the first run, a declared type, the manifest's over the source's;
        // failing both, an instant, by far the most common cursor.
        committed
            .and_then(|t| t.cursor.as_ref().map(Cursor::kind))
            .or_else(|| crate::typing::cursor_kind_of(&Type::parse(settings.types.get(column)?).ok()?))
            .or_else(|| source.declared.field(column).and_then(|f| crate::typing::cursor_kind_of(&f.ty)))
            .or(Some(CursorKind::Timestamp))
    });
    let keyed = !primary_key(&settings, source).is_empty();
    let default = match (kind.is_some(), keyed) {
        (true, true) => Mode::Merge,
        (true, false) => Mode::Append,
        (false, _) => Mode::Replace,
    };
    let mode = settings.mode.unwrap_or(default);
    if mode == Mode::Merge && !keyed {
        return Err(Error::new(Code::SchemaKey, format!("`{}` has mode merge but no primary key", source.name))
            .with_hint("set `primary_key`, or use mode = \"append\""));
    }
    if mode == Mode::Append && kind.is_none() {
        return Err(Error::new(
            Code::ManifestValue,
            format!("`{}` has no cursor, so that appending would add every row at every run", source.name),
        )
        .with_hint("set `incremental`, or mode = \"replace\""));
    }
    Ok((kind, mode))
}

fn request(
    spec: &PipelineSpec,
    source: &SourceTable,
    committed: Option<&TableHead>,
    due: &Due,
) -> Result<TableRequest> {
    let settings = spec.table_settings(&source.name);
    let committed = committed.filter(|t| !due.full && !t.anew);
    let (kind, mode) = kind_and_mode(spec, source, committed)?;
    let cursor = committed.and_then(|t| t.cursor.clone());
    let window = window(&WindowInput {
        kind,
        mode,
        committed: cursor.as_ref(),
        tick: due.tick,
        lag: settings.lag.as_ref(),
        settle: settings.settle.as_ref(),
        highest: None,
        utc: true,
    })
    .map_err(|e| e.at(format!("table `{}`", source.name)))?;
    Ok(TableRequest {
        name: source.name.clone(),
        window,
        cursor,
        primary_key: primary_key(&settings, source),
        incremental: incremental(&settings, source),
        spec: settings,
    })
}

/// A cursor that is later than the clock: the runs until then would read up to their ticks and leave it where it is, and
/// what changed in between would be left out for good.
fn refuse_ahead(cursor: Option<&Cursor>, now: Instant) -> Result<()> {
    match cursor {
        Some(cursor @ Cursor::Timestamp { nanos, .. })
            if *nanos > i128::from(now.plus_millis(CLOCK_SLACK_MS).millis()) * 1_000_000 =>
        {
            Err(Error::new(Code::CursorAhead, format!("the committed cursor is {cursor}, later than now ({now})"))
                .with_hint(
                    "check the clock, then set it back to the last instant that is right: `hakiri state rewind`",
                ))
        }
        _ => Ok(()),
    }
}

/// The upper bound that a connector found, less `settle`: how far below it to stop.
fn settled(upper: Option<&Cursor>, settle: Option<&Distance>) -> Result<Option<Cursor>> {
    match (upper, settle) {
        (upper, None | Some(Distance::Units(0))) => Ok(upper.cloned()),
        (Some(Cursor::Integer { value }), Some(Distance::Units(n))) => {
            Ok(Some(Cursor::Integer { value: value.saturating_sub(i64::try_from(*n).unwrap_or(i64::MAX)) }))
        }
        _ => Err(Error::new(
            Code::ManifestValue,
            "`settle` needs to know how far the source goes, which it does not tell",
        )
        .with_hint("remove `settle`, or use mode = \"merge\" with a primary key and `lag`")),
    }
}

/// Rows that were written by one key cannot be merged by another.
fn refuse_other_merge(table: &TableName, committed: &TableHead, planned: &Merge) -> Result<()> {
    let old = &committed.merge;
    if committed.manifest.is_none() && committed.snapshot.is_none() {
        return Ok(());
    }
    let what = if old.mode != planned.mode {
        format!("mode {:?}, now {:?}", old.mode, planned.mode).to_lowercase()
    } else if old.primary_key != planned.primary_key {
        format!("the primary key ({}), now ({})", old.primary_key.join(", "), planned.primary_key.join(", "))
    } else if old.cursor != planned.cursor {
        let name = |c: &Option<String>| c.as_ref().map_or_else(|| "none".to_owned(), |c| format!("`{c}`"));
        format!("the cursor column {}, now {}", name(&old.cursor), name(&planned.cursor))
    } else {
        return Ok(());
    };
    Err(Error::new(Code::MergeChanged, format!("the rows of `{table}` were written with {what}")))
}

/// The types that count as declared: the manifest's over the source's.
fn declared(source: &SourceTable, settings: &TableSpec) -> Result<Schema> {
    let mut schema = source.declared.clone();
    for (column, ty) in &settings.types {
        let ty = Type::parse(ty)?;
        match schema.fields.iter_mut().find(|f| &f.name == column) {
            Some(field) => field.ty = ty,
            None => schema.fields.push(Field::new(column, ty)),
        }
    }
    Ok(schema)
}

fn refuse_collisions(steps: &[PlannedStep]) -> Result<()> {
    let mut seen: Vec<(&TableName, &str)> = Vec::new();
    for table in steps.iter().flat_map(|s| &s.tables) {
        match seen.iter().find(|(name, source)| *name == &table.table && *source != table.source_table) {
            Some((name, other)) => {
                return Err(Error::new(
                    Code::ManifestCollision,
                    format!("`{other}` and `{}` would both be stored as `{name}`", table.source_table),
                ));
            }
            None => seen.push((&table.table, &table.source_table)),
        }
    }
    Ok(())
}

/// The connector of a pipeline, for `check --connect`.
impl Engine {
    /// Opens the source of a pipeline and asks it whether it can be reached.
    ///
    /// # Errors
    /// Any source error.
    pub async fn probe(&self, pipeline: &PipelineId) -> Result<String> {
        let spec = self.pipeline(pipeline)?;
        let connector: std::sync::Arc<dyn Connector> = self.connectors.open(&spec.source)?;
        let ctx = self.source_context(&spec.secrets, Cancel::default()).await?;
        connector.probe(&ctx).await.map_err(|e| ctx.secrets.redact_error(&e))
    }
}

#[cfg(test)]
mod tests;
