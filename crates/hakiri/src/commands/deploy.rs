//! `hakiri deploy TARGET`: files that run the project somewhere else. What they are is decided in [`crate::deploy`].

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::spec::ManifestText;
use hakiri_core::{Error, Result};
use serde_json::json;

use super::{count, load};
use crate::cli::{DeployArgs, GlobalArgs};
use crate::deploy::changes::{self, Change, Kind};
use crate::deploy::cost::Cost;
use crate::deploy::input::Input;
use crate::deploy::lock::Lock;
use crate::deploy::progress::Progress;
use crate::deploy::resources::{self, Marked};
use crate::deploy::runner::Without;
use crate::deploy::steps::Here;
use crate::deploy::{Target, find, folder, runner, shell, target};
use crate::environment;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::project::{self, Loaded};

/// A project and the folder of a target's files.
pub(super) struct Place {
    pub(super) loaded: Loaded,
    pub(super) dir: PathBuf,
    manifest: Vec<ManifestText>,
    up: Option<String>,
    /// How the project and the folder were chosen, before and after the command's name.
    chosen: (String, String),
}

/// What a deployment's folder is called, unless it is chosen.
pub(super) fn folder_name(target: &dyn Target, env: Option<&str>) -> String {
    match env {
        Some(env) => format!("{}-{env}", target.name()),
        None => target.name().to_owned(),
    }
}

impl Place {
    /// Where the files of a target lie, or are to lie.
    pub(super) fn of(global: &GlobalArgs, loaded: Loaded, target: &dyn Target, dir: Option<&Path>) -> Result<Self> {
        let env = loaded.project.env.as_deref();
        let words = |flag: &str, word: Option<Cow<'_, str>>| {
            word.map(|word| format!(" {flag} {}", shell(&word))).unwrap_or_default()
        };
        let chosen = (
            words("-C", global.project.as_deref().map(Path::to_string_lossy)),
            words("--env", env.map(Cow::from)) + &words("--dir", dir.map(Path::to_string_lossy)),
        );
        let dir = match dir {
            Some(dir) => environment::current_dir()?.join(dir),
            None => loaded.dir.join("deploy").join(folder_name(target, env)),
        };
        let manifest = project::texts(&loaded.dir)?;
        let up = way_up(&folder::resolved(&loaded.dir)?, &folder::resolved(&dir)?);
        Ok(Self { loaded, dir, manifest, up, chosen })
    }

    pub(super) fn input(&self) -> Input<'_> {
        Input { project: &self.loaded.project, manifest: &self.manifest, project_from_files: self.up.as_deref() }
    }

    /// The folder as people read it: relative to the project where it lies inside.
    pub(super) fn shown(&self) -> String {
        self.dir.strip_prefix(&self.loaded.dir).unwrap_or(&self.dir).display().to_string()
    }

    /// The command for this project, target and folder, as people type it.
    pub(super) fn command(&self, what: &str, target: &dyn Target) -> String {
        let (before, after) = &self.chosen;
        format!("hakiri{before} {what} {}{after}", target.name())
    }

    /// That the folder holds nothing of this target.
    pub(super) fn is_empty(&self, target: &dyn Target) -> Error {
        Error::new(Code::DeployLock, format!("{} holds no files of {}", self.shown(), target.name())).with_hint(
            format!("generate them with `{}`, or name their folder with --dir", self.command("deploy", target)),
        )
    }

    /// What was generated last, if anything was.
    pub(super) fn lock(&self, target: &dyn Target) -> Result<Option<Lock>> {
        let project = &self.loaded.project;
        folder::lock(&self.dir, target.name(), project.name.as_str(), project.env.as_deref())
    }
}

/// Runs the command.
pub fn run(global: &GlobalArgs, printer: &Printer, args: &DeployArgs) -> Result<Exit> {
    // Before the manifest is read: whoever asks for another cloud need not have one that is right.
    let target = find(&args.target)?;
    let loaded = match load(global, printer)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let place = Place::of(global, loaded, target, args.dir.as_deref())?;
    let (project, dir, input) = (&*place.loaded.project, &place.dir, place.input());
    let env = project.env.as_deref();
    let files = target::generate(target, &input)?;
    let lock = place.lock(target)?;
    let changes = changes::changes(&files, lock.as_ref(), &folder::contents(dir, &files, lock.as_ref())?);
    let next = target.next(&input);
    let here = target.apply(&input)?;
    let mut progress = Progress::read(dir)?;
    let resources = resources::marked(target.resources(&input), &progress.created);
    let cost = target.cost(&input)?;
    let shown = place.shown();
    let new = Lock::of(target.name(), project.name.as_str(), env, &files);

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
        if let (true, Some(here)) = (args.apply, &here) {
            runner::look(printer, here)?;
        }
        folder::write(dir, &files, &changes, &new)?;
    }
    tell(printer, &changes, args.plan);
    if args.plan {
        tell_resources(printer, &resources, cost.as_ref());
    }
    let notes = target.notes(&input);
    notes.iter().for_each(|note| printer.note(note));
    let differs = changes::differs(&changes);
    let topology = target.topology(&input);
    printer.note(&match (args.plan, differs) {
        (true, true) => "nothing was written; without --plan this is written".to_owned(),
        (true, false) => format!("nothing to write: {shown} is as it should be"),
        (false, _) => format!("{} for Topology {topology} in {shown}", count(changes.len() as u64, "file")),
    });
    let applies = args.apply && here.is_some();
    let done = match (applies, here) {
        (true, Some(here)) => {
            let again = format!("{} --apply", place.command("deploy", target));
            let created = target.resources(&input);
            progress.creates(dir, created.clone())?;
            apply(printer, dir, &here, &mut progress, &new, &again).and_then(|without| {
                progress.end(dir, created)?;
                Ok(without)
            })
        }
        _ => Ok(Vec::new()),
    };
    if printer.json && done.is_ok() {
        printer.document(&json!({
            "target": target.name(),
            "project": project.name,
            "env": env,
            "topology": topology,
            "dir": shown,
            "files": changes,
            "resources": resources,
            "cost": cost,
            "notes": notes,
            "written": !args.plan,
            "deployed": applies,
            "without_value": done.iter().flatten().flat_map(|without| &without.names).collect::<Vec<_>>(),
            "next": next,
        }));
    }
    for Without { names, there, by_hand } in &done? {
        let (which, have) = if names.len() == 1 { ("secret", "has") } else { ("secrets", "have") };
        let names = names.join(", ");
        printer.note(&if *there {
            format!("the {which} {names} {have} no value, here or there: set variables and run it again, or put it there with")
        } else {
            format!("the {which} {names} {have} no value here: unless it was given before, put one there with")
        });
        printer.note(&format!("  (cd {shown} && {by_hand})"));
    }
    if applies {
        printer.note(&format!("deployed; {shown}/README.md says how to look at it"));
        return Ok(Exit::Done);
    }
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

/// Puts the files into effect. Returns the secrets that have no value and are needed.
fn apply(
    printer: &Printer,
    dir: &Path,
    here: &Here,
    progress: &mut Progress,
    lock: &Lock,
    again: &str,
) -> Result<Vec<Without>> {
    // What was done for other files or by another binary is done again.
    let program = folder::program_mark(&environment::executable()?)?;
    progress.begin(&Hash::of_parts(&[&lock.to_bytes()?, program.as_bytes()]));
    runner::run(printer, dir, here, progress, again)
}

/// What is created, and what that costs.
fn tell_resources(printer: &Printer, resources: &[Marked], cost: Option<&Cost>) {
    for Marked { resource, change } in resources {
        let binding = resource.binding.as_ref().map(|b| format!(" as {b}")).unwrap_or_default();
        printer.note(&format!("{} {} {}{binding}: {}", change.sign(), resource.kind, resource.name, resource.limit));
    }
    for line in cost.iter().flat_map(|cost| cost.lines()) {
        printer.note(&line);
    }
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
