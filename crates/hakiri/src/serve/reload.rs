//! Taking up a changed manifest without a restart.
//!
//! The files are compared by content every other second (and at once on SIGHUP): a watch of the file system would miss
//! network mounts and editors that replace files, for the sake of a second. A manifest with errors changes nothing: the
//! one in force stays, and page and log say why. No tick is lost either way, since what is due is in the catalog.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::error::Failure;
use hakiri_core::spec::Project;
use hakiri_core::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::live::Live;
use crate::cli::GlobalArgs;
use crate::project::{LoadError, fingerprint};
use crate::world;

/// How often the files are looked at.
const PACE: Duration = Duration::from_secs(2);

/// Watches until the process ends, and tells `reloaded` of each manifest that is in force from now on.
///
/// # Errors
/// `HK0005` when the system gives no signals.
pub async fn watch(args: GlobalArgs, dir: Arc<Path>, live: Arc<Live>, reloaded: Arc<Notify>) -> Result<()> {
    let mut hup = signal(SignalKind::hangup()).map_err(|e| Error::new(Code::Io, format!("no signals: {e}")))?;
    let mut seen = fingerprint(&dir);
    while !live.drain.is_cancelled() {
        let asked = tokio::select! {
            () = tokio::time::sleep(PACE) => false,
            _ = hup.recv() => true,
        };
        let now = fingerprint(&dir);
        if now == seen && !asked {
            continue;
        }
        seen = now;
        match load(&args, &live) {
            Ok(project) => {
                tracing::info!(pipelines = project.pipelines.len(), "took up the manifest anew");
                live.take_up(project);
                reloaded.notify_one();
            }
            Err(failure) => {
                tracing::error!(code = %failure.code, "the changed manifest is not in force: {}", failure.message);
                live.refuse_manifest(failure);
            }
        }
    }
    Ok(())
}

fn load(args: &GlobalArgs, live: &Live) -> std::result::Result<Arc<Project>, Failure> {
    let loaded = world::load(args).map_err(|e| match e {
        LoadError::Error(e) => e.to_failure(),
        LoadError::Invalid(all) => {
            let more = if all.len() > 1 { format!(" (and {} more)", all.len() - 1) } else { String::new() };
            let error = match all.first() {
                Some(d) => {
                    Error::new(d.code, format!("{}{more}", d.message)).at(format!("{}:{}:{}", d.file, d.line, d.column))
                }
                None => Error::new(Code::ManifestSyntax, "the manifest has errors"),
            };
            error.with_hint("run `hakiri check`; the manifest read before stays in force").to_failure()
        }
    })?;
    may_follow(&live.engine().project, &loaded.project).map_err(|e| e.to_failure())?;
    Ok(loaded.project)
}

/// Whether a process that serves one manifest may go on with another: pipelines may change, the place of state and data
/// may not, since the process has them open.
fn may_follow(old: &Project, new: &Project) -> Result<()> {
    let what = if old.name != new.name {
        "the project's name"
    } else if old.catalog != new.catalog {
        "[catalog]"
    } else if old.context != new.context {
        "[context]"
    } else {
        return Ok(());
    };
    Err(Error::new(Code::ManifestValue, format!("{what} changed, which takes a restart"))
        .with_hint("restart `hakiri serve`, or put it back"))
}

#[cfg(test)]
mod tests {
    use hakiri_core::spec::{ManifestText, parse};

    use super::*;

    fn project(text: &str) -> Project {
        parse(&[ManifestText::new("hakiri.toml", text)], None, &[]).unwrap()
    }

    #[test]
    fn pipelines_may_change_and_the_place_of_state_may_not() {
        let old = project("[project]\nname = \"shop\"\n");
        assert!(may_follow(&old, &project("[project]\nname = \"shop\"\nversion = \"2\"\n")).is_ok());
        for (text, what) in [
            ("[project]\nname = \"other\"\n", "name"),
            ("[project]\nname = \"shop\"\n[catalog]\npath = \"x.sqlite\"\n", "[catalog]"),
            ("[project]\nname = \"shop\"\n[context]\npath = \"x\"\n", "[context]"),
        ] {
            let error = may_follow(&old, &project(text)).unwrap_err();
            assert!(error.message().contains(what), "{error}");
        }
    }
}
