//! `hakiri destroy TARGET`: takes a deployment away. What that is, each target knows.

use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::{Error, Result};
use serde_json::json;

use super::deploy::Place;
use super::load;
use crate::cli::{DestroyArgs, GlobalArgs};
use crate::deploy::lock::Lock;
use crate::deploy::progress::Progress;
use crate::deploy::steps::{How, Step};
use crate::deploy::{Target, find, folder, resources, runner};
use crate::exit::Exit;
use crate::printer::Printer;

/// Runs the command.
pub fn run(global: &GlobalArgs, printer: &Printer, args: &DestroyArgs) -> Result<Exit> {
    let target = find(&args.target)?;
    let loaded = match load(global, printer)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let place = Place::of(global, loaded, target, args.dir.as_deref())?;
    let shown = place.shown();
    // Names follow from the project, but only where its files were generated is it known that they are meant.
    let Some(lock) = place.lock(target)? else {
        return Err(place.is_empty(target));
    };
    let removal = target.removal(&place.input(), args.with_data)?;
    let mut progress = Progress::read(&place.dir)?;
    if let (How::Here(_), false) = (&removal.how, args.force) {
        is_what_was_deployed(&place, target, &lock, &progress).map_err(|e| e.at(shown.clone()))?;
    }
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
    for what in &removal.before {
        printer.note(&format!("first, and by you: {what}"));
    }
    printer.note(&format!("done by, {by}:"));
    commands.iter().for_each(|command| printer.note(&format!("  {command}")));
    let document = |destroyed: bool| {
        if printer.json {
            printer.document(&json!({
                "target": target.name(),
                "lost": removal.lost,
                "kept": removal.kept,
                "before": removal.before,
                "commands": commands,
                "destroyed": destroyed,
            }));
        }
    };
    let with_data = if args.with_data { " --with-data" } else { "" };
    let force = if args.force { " --force" } else { "" };
    let again = format!("{} --yes{with_data}{force}", place.command("destroy", target));
    match &removal.how {
        How::There(_) if args.yes => {
            Err(Error::new(Code::DeployApply, format!("{} is taken away on its server, not from here", target.name()))
                .with_hint("run the commands above there, in this order"))
        }
        How::Here(here) if args.yes => {
            runner::look(printer, here)?;
            progress.begin(&Hash::of_parts(&[&lock.to_bytes()?, again.as_bytes()]));
            runner::run(printer, &place.dir, here, &mut progress, &again)?;
            progress.end(&place.dir, removal.left.clone())?;
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

/// Refuses to take away by names that are not those of what was deployed: they follow from the manifest, which may have
/// been changed since, and the steps read the files of the folder.
fn is_what_was_deployed(place: &Place, target: &dyn Target, lock: &Lock, progress: &Progress) -> Result<()> {
    let by_force = format!("by the names of the manifest as it is now: `{} --force`", place.command("destroy", target));
    let deployed = progress.deployed();
    if deployed.is_empty() {
        return Err(Error::new(Code::DeployUnknown, "nothing is deployed from here, as far as this folder knows")
            .with_hint(format!(
                "nothing is left to do; if it was deployed from another copy of it, go on {by_force}"
            )));
    }
    let edited = folder::edited(&place.dir, lock)?;
    if !edited.is_empty() {
        return Err(Error::new(
            Code::DeployUnknown,
            format!("not as it was generated, and so maybe not what was deployed: {}", edited.join(", ")),
        )
        .with_hint(format!(
            "restore the files, or put them into effect with `{} --apply`; or go on {by_force}",
            place.command("deploy", target)
        )));
    }
    let named = target.resources(&place.input());
    let others: Vec<String> =
        resources::others(&deployed, &named).into_iter().map(|r| format!("{} {}", r.kind, r.name)).collect();
    if !others.is_empty() {
        return Err(Error::new(
            Code::DeployUnknown,
            format!("deployed from here, and not what the manifest names now: {}", others.join(", ")),
        )
        .with_hint(format!("restore the manifest of then, and generate its files; or go on {by_force}")));
    }
    Ok(())
}
