//! `hakiri tables`: what the store holds.

use hakiri_core::Result;
use hakiri_core::spec::Mode;
use hakiri_engine::read::views;
use indicatif::HumanBytes;
use serde::Serialize;

use super::{count, open_to_read};
use crate::cli::GlobalArgs;
use crate::exit::Exit;
use crate::printer::Printer;

#[derive(Debug, Serialize)]
struct Table {
    table: String,
    pipeline: String,
    mode: Mode,
    primary_key: Vec<String>,
    columns: usize,
    /// Rows in the files; a merged table may show fewer.
    stored_rows: u64,
    parts: usize,
    bytes: u64,
    seq: u64,
    schema_version: u64,
}

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer) -> Result<Exit> {
    let world = match open_to_read(global, printer).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let mut tables = Vec::new();
    for head in world.heads().await? {
        for view in views(&world.engine.store, &head.pipeline, head.seq, &head.tables).await? {
            let parts = || view.layers.iter().flat_map(|l| &l.parts);
            tables.push(Table {
                table: view.table.to_string(),
                pipeline: head.pipeline.to_string(),
                mode: view.merge.mode,
                primary_key: view.merge.primary_key.clone(),
                columns: view.schema.schema.fields.len(),
                stored_rows: parts().map(|p| p.rows).sum(),
                parts: parts().count(),
                bytes: parts().map(|p| p.bytes).sum(),
                seq: head.seq,
                schema_version: view.schema.version,
            });
        }
    }
    if printer.json {
        printer.document(&serde_json::json!({ "tables": tables }));
        return Ok(Exit::Done);
    }
    if tables.is_empty() {
        printer.note("no table is committed yet; `hakiri run` reads the pipelines");
    }
    for t in &tables {
        printer.data(&format!(
            "{}: {} stored in {} ({}), {}",
            t.table,
            count(t.stored_rows, "row"),
            count(t.parts as u64, "part"),
            HumanBytes(t.bytes),
            count(t.columns as u64, "column")
        ));
    }
    Ok(Exit::Done)
}
