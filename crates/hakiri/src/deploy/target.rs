//! What a target is. Adding one is a module that implements [`Target`] and a place in [`TARGETS`](super::TARGETS).

use std::fmt::Debug;

use hakiri_core::Result;
use hakiri_core::spec::PipelineSpec;

use super::FORMAT;
use super::capability::{Feature, Refusal, Support};
use super::cost::Cost;
use super::files::Files;
use super::input::Input;
use super::resources::Resource;
use super::secrets::{self, Needed};
use super::steps::{Here, Removal};
use super::template::{Values, shell};
use crate::dev::Platform;

/// A place to deploy to. All of it is pure: none of the functions touches the disk, the environment or a clock.
pub trait Target: Debug + Sync {
    /// What it is called on the command line and in the manifest.
    fn name(&self) -> &'static str;

    /// Whether it has a feature. Every target answers for every feature, so that a new feature cannot be forgotten.
    fn supports(&self, feature: Feature) -> Support;

    /// Whether a pipeline ever runs there. What does not is neither refused nor given anything.
    fn runs(&self, _pipeline: &PipelineSpec) -> bool {
        true
    }

    /// What of this project is beyond the target although it has the feature: values, paths, combinations.
    fn limits(&self, input: &Input<'_>) -> Vec<Refusal>;

    /// The files. Called only when nothing is refused.
    ///
    /// # Errors
    /// `HK0001` when a template and its generator do not fit.
    fn generate(&self, input: &Input<'_>) -> Result<Files>;

    /// The commands that put the files into effect, in order, to be run in their folder. Each may be repeated.
    fn next(&self, input: &Input<'_>) -> Vec<String>;

    /// How it is taken away again; what holds data only `with_data` (G4).
    ///
    /// # Errors
    /// As [`Target::generate`].
    fn removal(&self, input: &Input<'_>, with_data: bool) -> Result<Removal>;

    /// The topology, as the docs number it.
    fn topology(&self, input: &Input<'_>) -> &'static str {
        input.topology()
    }

    /// What else is to know of this project there, before it is there.
    fn notes(&self, _input: &Input<'_>) -> Vec<String> {
        Vec::new()
    }

    /// What is created in an account of somebody; nothing on a server of one's own.
    fn resources(&self, _input: &Input<'_>) -> Vec<Resource> {
        Vec::new()
    }

    /// What it costs a month, where that follows from the project.
    ///
    /// # Errors
    /// `HK0001` when the file of prices and its reader do not fit.
    fn cost(&self, _input: &Input<'_>) -> Result<Option<Cost>> {
        Ok(None)
    }

    /// What `hakiri dev` needs to run the files on this machine; none where `hakiri serve` is all that runs there.
    fn local(&self, _input: &Input<'_>) -> Option<Local> {
        None
    }

    /// What `--apply` does from here; none where it is done on the server.
    ///
    /// # Errors
    /// As [`Target::generate`].
    fn apply(&self, _input: &Input<'_>) -> Result<Option<Here>> {
        Ok(None)
    }
}

/// What a local run of a target needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The secrets that its processes are given, by name.
    pub secrets: Vec<String>,
    /// What runs the files.
    pub platform: Platform,
}

/// The files of a target for a project, or why there are none.
///
/// # Errors
/// `HK1202` with everything that is refused; whatever [`Target::generate`] fails with.
pub fn generate(target: &dyn Target, input: &Input<'_>) -> Result<Files> {
    let mut refusals = super::capability::missing(target, input.project);
    refusals.extend(target.limits(input));
    match super::capability::refuse(target.name(), &refusals) {
        Some(error) => Err(error),
        None => target.generate(input),
    }
}

/// How long a server may finish what it started after SIGTERM, in seconds; the default of `hakiri serve`.
pub(super) const GRACE_SECONDS: u64 = 20;
/// When it is killed, in seconds after SIGTERM: above the grace, the five seconds in which it hands over what is left,
/// and the five in which the webhook hears of it.
pub(super) const STOP_SECONDS: u64 = GRACE_SECONDS + 15;
/// What a server may use at most unless the manifest says otherwise, in MiB.
pub(super) const MEMORY_MIB: u64 = 1024;
/// What is to know of pipelines without a schedule.
pub(super) const BY_HAND: &str = "They run when somebody there says `hakiri run`.";

/// The project's name, with its environment.
pub(super) fn title(input: &Input<'_>) -> String {
    match &input.project.env {
        Some(env) => format!("{} ({env})", input.project.name),
        None => input.project.name.to_string(),
    }
}

/// `--env`, if one was chosen.
pub(super) fn env_args(input: &Input<'_>) -> Vec<String> {
    input.project.env.iter().flat_map(|env| ["--env".to_owned(), env.clone()]).collect()
}

/// The same behind the words of a shell's line.
pub(super) fn env_words(input: &Input<'_>) -> String {
    env_args(input).iter().map(|arg| format!(" {}", shell(arg))).collect()
}

/// `serve` with its settings. Half of the memory is for rows on their way; the rest for queries of the page, buffers of
/// the network and the allocator.
pub(super) fn serve_args(memory_mib: u64, listen: Option<&str>) -> Vec<String> {
    let mut args = vec!["--memory".to_owned(), format!("{}MiB", memory_mib / 2), "serve".to_owned()];
    args.extend(["--grace".to_owned(), format!("{GRACE_SECONDS}s")]);
    args.extend(listen.iter().flat_map(|l| ["--listen".to_owned(), (*l).to_owned()]));
    args
}

/// Whether an address is reached from other machines.
pub(super) fn is_beyond(listen: &str) -> bool {
    listen.parse::<std::net::SocketAddr>().is_ok_and(|a| !a.ip().is_loopback())
}

/// What no target that runs `hakiri serve` can do.
pub(super) fn common_limits(input: &Input<'_>) -> Vec<Refusal> {
    let mut out = Vec::new();
    if input.is_shared() && !input.has_bucket() {
        out.push(Refusal::new(
            "several servers (Topology 2.5) cannot share a folder as their store",
            "set [context] path to s3://bucket/prefix, or leave [catalog] url out for one server (Topology 2)",
        ));
    }
    out.extend(env_limit(input));
    out
}

/// An environment whose name cannot be a part of names.
pub(super) fn env_limit(input: &Input<'_>) -> Option<Refusal> {
    let env =
        input.project.env.as_deref().filter(|e| {
            !e.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) || e.starts_with(['-', '.'])
        })?;
    Some(Refusal::new(
        format!("the environment `{env}` cannot be a part of names"),
        "use letters, digits, `-`, `_` and `.` in the names of environments, and a letter or digit first",
    ))
}

/// Files of certificates, where nothing but the manifest goes along.
pub(super) fn certificate_limits<'p>(pipelines: impl IntoIterator<Item = &'p PipelineSpec>) -> Vec<Refusal> {
    let mut out = Vec::new();
    for pipeline in pipelines {
        let mut urls = Vec::new();
        super::private::urls(&pipeline.source.config, &mut urls);
        if urls.iter().any(|url| url.contains("sslrootcert=") && !url.contains("sslrootcert=system")) {
            out.push(Refusal::new(
                format!(
                    "sslrootcert of the pipeline {} names a file, and nothing but the binary and the manifest goes along",
                    pipeline.id
                ),
                "use a certificate of a public authority, with sslrootcert=system",
            ));
        }
    }
    out
}

/// That nothing is ever woken, where only schedules wake.
pub(super) fn nothing_wakes(input: &Input<'_>) -> Option<Refusal> {
    input.scheduled().is_empty().then(|| {
        Refusal::new(
            "no pipeline has a schedule, and nothing else wakes one there",
            "give at least one pipeline a schedule, such as `every 15m`",
        )
    })
}

/// What is to know of pipelines without a schedule, where only schedules wake.
pub(super) fn never_run(input: &Input<'_>) -> Option<String> {
    let never: Vec<&str> =
        input.project.pipelines.iter().filter(|p| p.schedule.is_none()).map(|p| p.id.as_str()).collect();
    (!never.is_empty()).then(|| format!("Without a schedule, and so never run there: {}", never.join(", ")))
}

/// The files of every target that runs `hakiri serve`: the manifest's copies and the names of the secrets.
pub(super) fn add_shared(files: &mut Files, input: &Input<'_>, target: &str, needed: &[Needed]) -> Result<()> {
    for (path, text) in input.copies() {
        files.add(&path, text)?;
    }
    if !needed.is_empty() {
        let example = Values::headed()
            .with("target", target)
            .with_lines("names", secrets::example(needed))
            .fill(include_str!("secrets.env.example"))?;
        files.add("secrets.env.example", example)?;
    }
    // The folder is meant to be committed; the binary and the secrets that are put beside the files are not.
    files.add(
        ".gitignore",
        format!("# Generated by `hakiri deploy {target}`, format {FORMAT}.\n/secrets.env\n/hakiri\n"),
    )?;
    Ok(())
}

/// What stays when a deployment is removed (G4).
pub(super) fn kept(input: &Input<'_>) -> &'static str {
    match (input.is_shared(), input.has_bucket()) {
        (true, _) => "The database and the bucket stay: they are not a part of this deployment.",
        (false, true) => "It holds the catalog, without which the bucket cannot be written again.",
        (false, false) => "It holds the catalog and the store.",
    }
}
