//! `hakiri query`: SQL over the store.

use std::io::{IsTerminal as _, Read as _, Write as _};

use hakiri_core::codes::Code;
use hakiri_core::layout::MARKER;
use hakiri_core::view::TableView;
use hakiri_core::{Error, Result};
use hakiri_engine::read::{published_heads, views};
use hakiri_engine::store::Store;
use hakiri_query::{Database, Options, OutputFormat, write_results};

use super::{count, open_to_read};
use crate::cli::{Format, GlobalArgs, QueryArgs};
use crate::environment;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::world::{World, open_project_in_store};

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &QueryArgs) -> Result<Exit> {
    let sql = match args.sql.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .read_to_string(&mut text)
                .map_err(|e| Error::new(Code::Io, format!("stdin: {e}")))?;
            text
        }
        sql => sql.to_owned(),
    };
    let database = match &args.store {
        Some(url) => {
            let store = open_project_in_store(url, args.endpoint.clone(), args.region.clone())?;
            let mut tables = Vec::new();
            for head in published_heads(&store).await? {
                tables.extend(views(&store, &head.pipeline, head.seq, &head.tables).await?);
            }
            if tables.is_empty() && store.get(MARKER).await?.is_none() {
                return Err(Error::new(
                    Code::Arguments,
                    format!("{} is not a project's folder in a store", store.location()),
                )
                .with_hint("it is the folder with `heads` and `tables` in it"));
            }
            database(global, &store, tables)?
        }
        None => match open_to_read(global, printer).await? {
            Ok(world) => of_project(global, &world).await?,
            Err(exit) => return Ok(exit),
        },
    };
    let format = if global.json && args.format == Format::Table { Format::Json } else { args.format };
    if format == Format::Parquet && std::io::stdout().is_terminal() {
        return Err(Error::new(Code::Arguments, "Parquet is not for terminals")
            .with_hint("redirect it: hakiri query --format parquet \"…\" > result.parquet"));
    }
    let rows = print(&database, &sql, format).await?;
    if format == Format::Table {
        printer.note(&count(rows, "row"));
    }
    Ok(Exit::Done)
}

/// The database over a project's store: one commit per pipeline (S4).
///
/// # Errors
/// Any catalog or store error.
pub async fn of_project(global: &GlobalArgs, world: &World) -> Result<Database> {
    let mut tables = Vec::new();
    for head in world.heads().await? {
        tables.extend(views(&world.engine.store, &head.pipeline, head.seq, &head.tables).await?);
    }
    database(global, &world.engine.store, tables)
}

fn database(global: &GlobalArgs, store: &Store, tables: Vec<TableView>) -> Result<Database> {
    let threads = global.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let options =
        Options { memory_limit: global.memory, target_partitions: threads.max(1), temp_dir: environment::temp_dir() };
    Database::new(tables, store.object_store(), store.prefix(), options)
}

/// Runs one statement and prints its result to stdout. Returns the number of rows.
///
/// # Errors
/// As [`Database::query`]; `HK0005` when stdout cannot be written to. A reader that went away is a success.
pub async fn print(database: &Database, sql: &str, format: Format) -> Result<u64> {
    let result = database.query(sql).await?;
    let format = match format {
        Format::Table => OutputFormat::Table,
        Format::Csv => OutputFormat::Csv,
        Format::Json => OutputFormat::Json,
        Format::Ndjson => OutputFormat::Ndjson,
        Format::Parquet => OutputFormat::Parquet,
    };
    let mut out = ForgivingPipe(std::io::BufWriter::new(std::io::stdout()));
    let rows = write_results(result, format, &mut out).await?;
    out.flush().map_err(|e| Error::new(Code::Io, format!("the result cannot be written: {}", e.kind())))?;
    Ok(rows)
}

/// Swallows what a closed pipe no longer wants: `hakiri query … | head` is a success.
struct ForgivingPipe<W>(W);

impl<W: std::io::Write> std::io::Write for ForgivingPipe<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match self.0.write(buf) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(buf.len()),
            other => other,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.0.flush() {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}
