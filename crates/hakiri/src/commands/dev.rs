//! `hakiri dev TARGET`: the generated project on this machine.

#![allow(clippy::disallowed_methods)] // removes the state of earlier local runs

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hakiri_core::codes::Code;
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result};
use hakiri_engine::engine::SecretSource as _;

use super::deploy::{Place, folder_name};
use super::load;
use crate::cli::{DevArgs, GlobalArgs};
use crate::deploy::files::Files;
use crate::deploy::lock::Lock;
use crate::deploy::{Target, changes, find, folder, target};
use crate::dev;
use crate::environment::EnvironmentSecrets;
use crate::exit::Exit;
use crate::printer::Printer;

/// Where the status page is unless said otherwise.
const PAGE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8320);

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &DevArgs) -> Result<Exit> {
    let target = find(&args.target)?;
    let loaded = match load(global, printer)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let place = Place::of(global, loaded, target, args.dir.as_deref())?;
    let (loaded, input) = (&place.loaded, place.input());
    let files = target::generate(target, &input)?;
    let Some(local) = target.local(&input) else {
        return Err(Error::new(Code::DeployTarget, format!("{} needs no local run of its own", target.name()))
            .with_hint("`hakiri serve` is what runs there, and here"));
    };
    let work_dir = loaded.dir.join(".hakiri/dev").join(folder_name(target, loaded.project.env.as_deref()));
    if args.fresh {
        match std::fs::remove_dir_all(&work_dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::new(Code::Io, format!("{}: {e}", work_dir.display())));
            }
            _ => {}
        }
    }
    let generated = generated(printer, target, &place, args.dir.is_some(), &files, &work_dir)?;
    let secrets = EnvironmentSecrets::new(&loaded.dir).secrets(&local.secrets).await?;
    let value = |name: &String| Some((name.clone(), secrets.get(name)?.expose().to_owned()));
    let options = dev::Options {
        generated,
        work_dir,
        secrets: local.secrets.iter().filter_map(value).collect(),
        ticks: args.ticks,
        from: args.from.as_deref().map(str::parse::<Instant>).transpose()?.map(Instant::millis),
        every: i64::try_from(args.every.as_millis()).unwrap_or(i64::MAX),
        page: args.page.or_else(|| args.ticks.is_none().then_some(PAGE)),
        project: selects(global, &loaded.dir),
    };
    let printer = printer.clone();
    // It waits for processes.
    let ran = tokio::task::spawn_blocking(move || dev::run(&printer, &options, &local.platform)).await;
    ran.map_err(|e| Error::new(Code::Internal, format!("the local run: {e}")))??;
    Ok(Exit::Done)
}

/// The folder to run: the one that `hakiri deploy` wrote, as it stands there; without one, unless it was asked for, a
/// fresh generation.
fn generated(
    printer: &Printer,
    target: &dyn Target,
    place: &Place,
    is_chosen: bool,
    files: &Files,
    work_dir: &Path,
) -> Result<PathBuf> {
    let project = &place.loaded.project;
    let (name, env, deployed) = (project.name.as_str(), project.env.as_deref(), &place.dir);
    let changes_in = |dir: &Path, lock: Option<&Lock>| {
        Ok::<_, Error>(changes::changes(files, lock, &folder::contents(dir, files, lock)?))
    };
    if let Some(lock) = place.lock(target)? {
        if changes::differs(&changes_in(deployed, Some(&lock))?) {
            printer.note(&format!("{} is not what would be generated now; it is run as it stands", deployed.display()));
        }
        return Ok(deployed.clone());
    }
    if is_chosen {
        return Err(place.is_empty(target));
    }
    let dir = work_dir.join("generated");
    let lock = folder::lock(&dir, target.name(), name, env)?;
    let changes = changes_in(&dir, lock.as_ref())?;
    folder::write(&dir, files, &changes, &Lock::of(target.name(), name, env, files))?;
    Ok(dir)
}

/// The arguments that choose this project.
fn selects(global: &GlobalArgs, dir: &Path) -> Vec<String> {
    let mut out = vec!["-C".to_owned(), dir.display().to_string()];
    out.extend(global.env.iter().flat_map(|env| ["--env".to_owned(), env.clone()]));
    out
}
