//! `hakiri destroy TARGET`: takes a deployment away. What that is, each target knows.

use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::{Error, Result};
use serde_json::json;

use super::deploy::Place;
use super::load;
use crate::cli::{DestroyArgs, GlobalArgs};
use crate::deploy::progress::Progress;
use crate::deploy::steps::{How, Step};
use crate::deploy::{find, runner};
use crate::exit::Exit;
use crate::printer::Printer;

/// Runs the command.
pub fn run(global: &GlobalArgs, printer: &Printer, args: &DestroyArgs) -> Result<Exit> {
    let target = find(&args.target)?;
    let loaded = match load(global, printer)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let place = Place::of(loaded, target, args.dir.as_deref())?;
    let shown = place.shown();
    // Names follow from the project, but only where its files were generated is it known that they are meant.
    let Some(lock) = place.lock(target)? else {
        return Err(Error::new(Code::DeployLock, format!("{shown} holds no files of {}", target.name())).with_hint(
            format!("generate them with `{}`, or name their folder with --dir", place.command("deploy", target)),
        ));
    };
    let removal = target.removal(&place.input(), args.with_data)?;
    let (commands, by) = match &removal.how {
        How::There(commands) => (commands.clone(), "on its server"),
        How::Here(here) => (here.steps.iter().map(Step::shown).collect(), "from here"),
    };
    for (head, lines) in [("lost for good:", &removal.lost), ("kept:", &removal.kept)] {
        if !lines.is_empty() {
            printer.note(head);
            lines.iter().for_each(|line| printer.note(&format!("  {line}")));
        }
    }
    printer.note(&format!("done by, {by}:"));
    commands.iter().for_each(|command| printer.note(&format!("  {command}")));
    let document = |destroyed: bool| {
        if printer.json {
            printer.document(&json!({
                "target": target.name(),
                "lost": removal.lost,
                "kept": removal.kept,
                "commands": commands,
                "destroyed": destroyed,
            }));
        }
    };
    let with_data = if args.with_data { " --with-data" } else { "" };
    let again = format!("{} --yes{with_data}", place.command("destroy", target));
    match &removal.how {
        How::There(_) if args.yes => {
            Err(Error::new(Code::DeployApply, format!("{} is taken away on its server, not from here", target.name()))
                .with_hint("run the commands above there, in this order"))
        }
        How::Here(here) if args.yes => {
            runner::look(here)?;
            let mut progress = Progress::read(&place.dir)?;
            progress.begin(&Hash::of_parts(&[&lock.to_bytes()?, again.as_bytes()]));
            runner::run(printer, &place.dir, here, &mut progress, &again)?;
            // What was kept would be created anew all the same: each step finds it there.
            progress.end(&place.dir, Vec::new())?;
            document(true);
            printer.note("destroyed");
            Ok(Exit::Done)
        }
        _ => {
            document(false);
            printer.note(&format!("nothing was done; `{again}` does it"));
            Ok(Exit::Done)
        }
    }
}
