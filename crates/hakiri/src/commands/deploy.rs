//! `hakiri deploy TARGET`: files that run the project somewhere else. What they are is decided in [`crate::deploy`].

use std::path::{Component, Path, PathBuf};

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};
use serde_json::json;

use super::{count, load};
use crate::cli::{DeployArgs, GlobalArgs};
use crate::deploy::changes::{self, Change, Kind};
use crate::deploy::input::Input;
use crate::deploy::lock::Lock;
use crate::deploy::{find, folder, target};
use crate::environment;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::project;

/// Runs the command.
pub fn run(global: &GlobalArgs, printer: &Printer, args: &DeployArgs) -> Result<Exit> {
    // Before the manifest is read: whoever asks for another cloud need not have one that is right.
    let target = find(&args.target)?;
    let loaded = match load(global, printer)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let (project, env) = (&*loaded.project, loaded.project.env.as_deref());
    let dir = match &args.dir {
        Some(dir) => environment::current_dir()?.join(dir),
        None => loaded.dir.join("deploy").join(match env {
            Some(env) => format!("{}-{env}", target.name()),
            None => target.name().to_owned(),
        }),
    };
    let manifest = project::texts(&loaded.dir)?;
    let up = way_up(&folder::resolved(&loaded.dir)?, &folder::resolved(&dir)?);
    let input = Input { project, manifest: &manifest, project_from_files: up.as_deref() };
    let files = target::generate(target, &input)?;
    let lock = folder::lock(&dir, target.name(), project.name.as_str(), env)?;
    let changes = changes::changes(&files, lock.as_ref(), &folder::contents(&dir, &files, lock.as_ref())?);
    let next = target.next(&input);
    let shown = shown(&loaded.dir, &dir);

    if args.plan {
        for change in changes.iter().filter(|c| !c.diff.is_empty()) {
            printer.note(change.diff.trim_end());
        }
    } else {
        if !args.force {
            changes::refuse_edits(&changes)
                .map_err(|e| e.at(shown.clone()))
                .inspect_err(|_| tell(printer, &changes, true))?;
        }
        folder::write(&dir, &files, &changes, &Lock::of(target.name(), project.name.as_str(), env, &files))?;
    }
    tell(printer, &changes, args.plan);
    if printer.json {
        printer.document(&json!({
            "target": target.name(),
            "project": project.name,
            "env": env,
            "topology": input.topology(),
            "dir": shown,
            "files": changes,
            "written": !args.plan,
            "deployed": false,
            "next": next,
        }));
    }
    let differs = changes::differs(&changes);
    printer.note(&match (args.plan, differs) {
        (true, true) => "nothing was written; without --plan this is written".to_owned(),
        (true, false) => format!("nothing to write: {shown} is as it should be"),
        (false, _) => format!("{} for Topology {} in {shown}", count(changes.len() as u64, "file"), input.topology()),
    });
    if !args.plan {
        printer.note(&format!("nothing was deployed; next, where it is to run ({shown}/README.md says more):"));
        for step in &next {
            printer.note(&format!("  {step}"));
        }
    }
    if args.apply {
        return Err(Error::new(
            Code::DeployApply,
            format!("{} is put into effect on its server, not from here", target.name()),
        )
        .with_hint(format!("copy {shown} to the server and run the commands above there, in this order")));
    }
    Ok(if args.exit_code && differs { Exit::Failed } else { Exit::Done })
}

/// One line for each file that is not as it should be.
fn tell(printer: &Printer, changes: &[Change], planned: bool) {
    for change in changes {
        let what = match (change.change, planned) {
            (Kind::Same, _) => continue,
            (Kind::Create, true) => "would create",
            (Kind::Create, false) => "created",
            (Kind::Change, true) => "would change",
            (Kind::Change, false) => "changed",
            (Kind::Remove, true) => "would remove",
            (Kind::Remove, false) => "removed",
            (Kind::Edited, true) => "edited by hand, needs --force:",
            (Kind::Edited, false) => "overwrote",
            (Kind::Keep, _) => "no longer generated, kept since it was edited:",
        };
        printer.note(&format!("{what} {}", change.path));
    }
}

/// From the files' folder up to the project's: `../..`; none when it is not within.
fn way_up(project: &Path, dir: &Path) -> Option<String> {
    let below = dir.strip_prefix(project).ok()?;
    let depth = below.components().filter(|c| matches!(c, Component::Normal(_))).count();
    (depth > 0).then(|| vec![".."; depth].join("/"))
}

/// A folder as people read it: relative to the project where it lies inside.
fn shown(project: &Path, dir: &Path) -> String {
    dir.strip_prefix(project).map_or_else(|_| PathBuf::from(dir), Path::to_owned).display().to_string()
}
