//! `hakiri completions`: a completion script for a shell.

use hakiri_core::Result;

use crate::cli::{CompletionsArgs, command};
use crate::exit::Exit;
use crate::printer::Printer;

/// Runs the command.
#[expect(clippy::unnecessary_wraps, reason = "all commands have one shape")]
pub fn run(printer: &Printer, args: &CompletionsArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "hakiri", &mut script);
    printer.data(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Done)
}
