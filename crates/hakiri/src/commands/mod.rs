//! One file per command. Each returns how the process ends; none prints but through the [`Printer`].

pub mod cancel;
pub mod check;
pub mod compact;
pub mod completions;
pub mod demo;
pub mod deploy;
pub mod destroy;
pub mod dev;
pub mod drop;
pub mod gc;
pub mod init;
pub mod logs;
pub mod pause;
pub mod plan;
pub mod query;
pub mod run;
pub mod runs;
pub mod schema;
pub mod serve;
pub mod state;
pub mod status;
pub mod tables;
pub mod worker;

use std::sync::Arc;

use hakiri_core::Result;
use hakiri_core::catalog::Control;
use hakiri_core::source::Cancel;
use hakiri_core::spec::Diagnostic;
use hakiri_engine::engine::{Events, Silent};

use crate::cli::{Cli, Command, GlobalArgs};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::project::{LoadError, Loaded};
use crate::world::{self, Access, World};

/// Carries out the command.
///
/// # Errors
/// Whatever the command fails with; the caller prints it.
pub async fn dispatch(cli: Cli, printer: &Printer) -> Result<Exit> {
    let global = &cli.global;
    match cli.command {
        Command::Init(args) => init::run(global, printer, &args),
        Command::Demo(args) => demo::run(global, printer, &args).await,
        Command::Check(args) => check::run(global, printer, &args).await,
        Command::Plan(args) => plan::run(global, printer, &args).await,
        Command::Run(args) => run::run(global, printer, &args).await,
        Command::Serve(args) => serve::run(global, printer, &args).await,
        Command::Worker(args) => worker::run(global, printer, &args).await,
        Command::Pause(args) => pause::run(global, printer, &args, Control::Pause).await,
        Command::Resume(args) => pause::run(global, printer, &args, Control::Resume).await,
        Command::Cancel(args) => cancel::run(global, printer, &args).await,
        Command::Query(args) => query::run(global, printer, &args).await,
        Command::Tables => tables::run(global, printer).await,
        Command::Schema(args) => schema::run(global, printer, &args).await,
        Command::Status(args) => status::run(global, printer, &args).await,
        Command::Runs(args) => runs::run(global, printer, &args).await,
        Command::Logs(args) => logs::run(global, printer, &args).await,
        Command::State(args) => state::run(global, printer, &args).await,
        Command::Drop(args) => drop::run(global, printer, &args).await,
        Command::Compact(args) => compact::run(global, printer, &args).await,
        Command::Gc(args) => gc::run(global, printer, &args).await,
        Command::Deploy(args) => deploy::run(global, printer, &args),
        Command::Dev(args) => dev::run(global, printer, &args).await,
        Command::Destroy(args) => destroy::run(global, printer, &args),
        Command::Completions(args) => completions::run(printer, &args),
    }
}

/// Loads the manifest, or prints all its errors.
fn load(global: &GlobalArgs, printer: &Printer) -> Result<Result<Loaded, Exit>> {
    match world::load(global) {
        Ok(loaded) => Ok(Ok(loaded)),
        Err(LoadError::Error(e)) => Err(e),
        Err(LoadError::Invalid(diagnostics)) => {
            print_diagnostics(printer, &diagnostics);
            Ok(Err(Exit::Usage))
        }
    }
}

fn print_diagnostics(printer: &Printer, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        printer.failure(&diagnostic.render(printer.colour));
    }
    printer.failure(&format!("{} in the manifest", count(diagnostics.len() as u64, "error")));
    if printer.json {
        printer.document(&serde_json::json!({ "errors": diagnostics }));
    }
}

/// Opens a project for looking only.
async fn open_to_read(global: &GlobalArgs, printer: &Printer) -> Result<Result<World, Exit>> {
    match load(global, printer)? {
        Ok(loaded) => Ok(Ok(World::open(global, &loaded, Access::Read, Arc::new(Silent), Cancel::default()).await?)),
        Err(exit) => Ok(Err(exit)),
    }
}

/// Opens a project for writing.
async fn open_to_write(
    global: &GlobalArgs,
    printer: &Printer,
    events: Arc<dyn Events>,
    cancel: Cancel,
) -> Result<Result<World, Exit>> {
    match load(global, printer)? {
        Ok(loaded) => Ok(Ok(World::open(global, &loaded, Access::Write, events, cancel).await?)),
        Err(exit) => Ok(Err(exit)),
    }
}

/// `1 row`, `2 rows`.
pub fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{} {what}s", indicatif::HumanCount(n)) }
}

/// Asks a question on the terminal; without one, the answer is no.
fn confirmed(printer: &Printer, question: &str) -> bool {
    use std::io::{BufRead as _, IsTerminal as _};
    if !std::io::stdin().is_terminal() {
        return false;
    }
    printer.note(&format!("{question} [y/N]"));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).is_ok() && matches!(line.trim(), "y" | "Y" | "yes")
}
