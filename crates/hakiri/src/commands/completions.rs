//! `hakiri completions`: a completion script for a shell.

use hakiri_core::Result;

use crate::cli::{CompletionsArgs, command};
use crate::exit::Exit;

/// Runs the command.
#[expect(clippy::unnecessary_wraps, reason = "all commands have one shape")]
pub fn run(args: &CompletionsArgs) -> Result<Exit> {
    clap_complete::generate(args.shell, &mut command(), "hakiri", &mut std::io::stdout());
    Ok(Exit::Done)
}
