//! `hakiri logs`: what was logged by whichever process, newest last.

use hakiri_core::Result;
use hakiri_core::id::RunId;
use serde_json::Value;

use crate::cli::{GlobalArgs, Level, LogsArgs};
use crate::exit::Exit;
use crate::logging::files::{self, Line};
use crate::logging::text;
use crate::printer::Printer;
use crate::project;
use crate::signals::Signals;

/// How often the log is looked at, in milliseconds.
const PACE_MS: u64 = 300;

/// Runs the command. It needs no manifest without errors: logs are read when something is wrong.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &LogsArgs) -> Result<Exit> {
    if let Some(run) = &args.run {
        run.parse::<RunId>()?;
    }
    let folder = project::find(global)?.join(".hakiri").join(files::FOLDER);
    let (lines, mut follower) = files::tail(&folder, |line| passes(line, args), args.limit)?;
    if lines.is_empty() && !args.follow {
        printer.note("nothing is logged that fits; `hakiri run` and `hakiri serve` write the log");
    }
    lines.iter().for_each(|line| print(printer, line));
    if !args.follow {
        return Ok(Exit::Done);
    }
    let mut signals = Signals::new()?;
    loop {
        if signals.within(PACE_MS).await {
            return Ok(Exit::Interrupted);
        }
        follower.read(|line| {
            if passes(&line, args) {
                print(printer, &line);
            }
        })?;
    }
}

fn passes(line: &Line, args: &LogsArgs) -> bool {
    let field = |name: &str| line.get(name).and_then(Value::as_str);
    let level = match field("level") {
        Some("error") => Level::Error,
        Some("warn") => Level::Warn,
        Some("info") => Level::Info,
        _ => Level::Debug,
    };
    level >= args.level
        && (args.pipelines.is_empty() || field("pipeline").is_some_and(|p| args.pipelines.iter().any(|w| w == p)))
        && args.run.as_ref().is_none_or(|run| field("run") == Some(run))
}

fn print(printer: &Printer, line: &Line) {
    if printer.json {
        printer.data(&Value::Object(line.clone()).to_string());
    } else {
        printer.data(&text(line, printer.colour_data));
    }
}
