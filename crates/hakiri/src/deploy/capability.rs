//! What a project may use, and which target has it.
//!
//! Every target answers for every feature (an exhaustive `match`), so that a new feature does not compile before each
//! target has taken a stand. The answers refuse a project before a file is written, and are the table of
//! `docs/parity.md`; a test keeps the page current.

use hakiri_core::Error;
use hakiri_core::codes::Code;
use hakiri_core::spec::{PipelineSpec, Project};

use super::input::{local_paths, reads_bucket};
use super::target::Target;

/// Something a manifest can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// `schedule`, and ticks that were missed.
    Schedules,
    /// A pipeline without a schedule.
    ByHand,
    /// The connector `file` on paths of the machine.
    LocalFiles,
    /// Any connector over the network.
    NetworkSources,
    /// `transform`.
    Transforms,
    /// `secrets`.
    Secrets,
    /// No `[catalog] url`.
    SqliteCatalog,
    /// `[catalog] url`.
    PostgresCatalog,
    /// A folder as store.
    FolderStore,
    /// A bucket as store.
    BucketStore,
    /// `[notify]`.
    Notify,
    /// `--env`.
    Environments,
    /// `moved`.
    Renames,
}

impl Feature {
    /// Every feature, in the order of the docs.
    pub const ALL: [Self; 13] = [
        Self::Schedules,
        Self::ByHand,
        Self::LocalFiles,
        Self::NetworkSources,
        Self::Transforms,
        Self::Secrets,
        Self::SqliteCatalog,
        Self::PostgresCatalog,
        Self::FolderStore,
        Self::BucketStore,
        Self::Notify,
        Self::Environments,
        Self::Renames,
    ];

    /// What the docs and refusals call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Schedules => "pipelines by schedule",
            Self::ByHand => "pipelines without a schedule",
            Self::LocalFiles => "local files as a source",
            Self::NetworkSources => "sources over the network",
            Self::Transforms => "transforms",
            Self::Secrets => "secrets",
            Self::SqliteCatalog => "a catalog in SQLite",
            Self::PostgresCatalog => "a catalog in PostgreSQL",
            Self::FolderStore => "a folder as the store",
            Self::BucketStore => "a bucket as the store",
            Self::Notify => "the webhook of [notify]",
            Self::Environments => "environments",
            Self::Renames => "renamed pipelines and tables",
        }
    }

    /// Whether a project uses it, with the pipelines of it that run there.
    fn is_used(self, project: &Project, target: &dyn Target) -> bool {
        let any = |test: &dyn Fn(&PipelineSpec) -> bool| project.pipelines.iter().any(|p| target.runs(p) && test(p));
        let bucket = project.context.path.as_deref().is_some_and(|p| p.starts_with("s3://"));
        match self {
            Self::Schedules => any(&|p| p.schedule.is_some()),
            // Also where it does not run: whether that is fine is what the target answers.
            Self::ByHand => project.pipelines.iter().any(|p| p.schedule.is_none()),
            Self::LocalFiles => any(&|p| !local_paths(p).is_empty()),
            Self::NetworkSources => any(&|p| p.source.connector != "file" || reads_bucket(p)),
            Self::Transforms => any(&|p| p.table.values().any(|t| t.transform.is_some())),
            Self::Secrets => any(&|p| !p.secrets.is_empty()),
            Self::SqliteCatalog => project.catalog.url.is_none(),
            Self::PostgresCatalog => project.catalog.url.is_some(),
            Self::FolderStore => !bucket,
            Self::BucketStore => bucket,
            Self::Notify => project.notify.is_some(),
            Self::Environments => project.env.is_some(),
            Self::Renames => !project.moved.is_empty(),
        }
    }
}

/// Whether a target has a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// As on a laptop.
    Yes,
    /// Yes, with something to know.
    With(&'static str),
    /// No.
    No {
        /// Why.
        why: &'static str,
        /// What to do.
        instead: &'static str,
    },
}

/// Why a project cannot go to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is in the way.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl Refusal {
    /// What is in the way and what to do.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// The features that a project uses and a target lacks.
pub fn missing(target: &dyn Target, project: &Project) -> Vec<Refusal> {
    let used = Feature::ALL.into_iter().filter(|f| f.is_used(project, target));
    used.filter_map(|feature| match target.supports(feature) {
        Support::No { why, instead } => {
            Some(Refusal::new(format!("{} does not support {}: {why}", target.name(), feature.title()), instead))
        }
        Support::Yes | Support::With(_) => None,
    })
    .collect()
}

/// One error for all that is refused.
pub fn refuse(target: &str, refusals: &[Refusal]) -> Option<Error> {
    let (first, rest) = refusals.split_first()?;
    let mut error = match rest {
        [] => Error::new(Code::DeployUnsupported, first.what.clone()).with_hint(first.hint.clone()),
        _ => {
            let what: Vec<&str> = refusals.iter().map(|r| r.what.as_str()).collect();
            let mut hints: Vec<&str> = refusals.iter().map(|r| r.hint.as_str()).collect();
            hints.dedup();
            Error::new(Code::DeployUnsupported, what.join("; ")).with_hint(hints.join("; "))
        }
    };
    error = error.at(format!("deploy {target}"));
    Some(error)
}

#[cfg(test)]
mod tests {
    use hakiri_core::Result;
    use hakiri_core::spec::{ManifestText, parse};

    use super::super::files::Files;
    use super::super::input::Input;
    use super::super::steps::Removal;
    use super::super::target::generate;
    use super::*;

    /// `docs/parity.md`.
    fn parity(targets: &[&dyn Target]) -> Result<String> {
        let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        let head = std::iter::once("Feature".to_owned()).chain(targets.iter().map(|t| format!("`{}`", t.name())));
        let line = "---|".repeat(targets.len() + 1);
        let mut notes: Vec<String> = Vec::new();
        let mut rows = Vec::new();
        for feature in Feature::ALL {
            let mut cells = vec![feature.title().to_owned()];
            for target in targets {
                let (word, note) = match target.supports(feature) {
                    Support::Yes => ("yes", None),
                    Support::With(note) => ("yes", Some(note.to_owned())),
                    Support::No { why, .. } => {
                        let first = why.chars().take(1).flat_map(char::to_uppercase);
                        ("no", Some(first.chain(why.chars().skip(1)).chain(['.']).collect()))
                    }
                };
                cells.push(match note {
                    None => word.to_owned(),
                    Some(note) => {
                        let at = notes.iter().position(|n| *n == note).unwrap_or_else(|| {
                            notes.push(note);
                            notes.len() - 1
                        });
                        format!("{word} ({})", at + 1)
                    }
                });
            }
            rows.push(row(cells));
        }
        let notes: Vec<String> = notes.iter().enumerate().map(|(i, note)| format!("{}. {note}", i + 1)).collect();
        super::super::template::Values::default()
            .with("head", row(head.collect()))
            .with("line", format!("|{line}"))
            .with_lines("rows", rows)
            .with_lines("notes", notes)
            .fill(include_str!("parity.md"))
    }

    #[test]
    fn the_page_of_parity_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/parity.md");
        let text = parity(&super::super::TARGETS).unwrap();
        if std::env::var_os("HAKIRI_UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text, "run the test with HAKIRI_UPDATE=1");
    }

    #[test]
    fn all_refusals_are_told_at_once() {
        let refusals = [Refusal::new("a", "do x"), Refusal::new("b", "do x")];
        let error = refuse("t", &refusals).unwrap();
        assert_eq!((error.message(), error.hint()), ("a; b", "do x"));
        assert!(refuse("t", &[]).is_none());
    }

    /// A target that lacks schedules and transforms.
    #[derive(Debug)]
    struct Poor;

    impl Target for Poor {
        fn name(&self) -> &'static str {
            "poor"
        }

        fn supports(&self, feature: Feature) -> Support {
            match feature {
                Feature::Schedules => Support::No { why: "it has no clock", instead: "wind it up" },
                Feature::Transforms => Support::No { why: "it cannot count", instead: "teach it" },
                _ => Support::Yes,
            }
        }

        fn limits(&self, _: &Input<'_>) -> Vec<Refusal> {
            Vec::new()
        }

        fn generate(&self, _: &Input<'_>) -> Result<Files> {
            Ok(Files::default())
        }

        fn next(&self, _: &Input<'_>) -> Vec<String> {
            Vec::new()
        }

        fn removal(&self, _: &Input<'_>, _: bool) -> Result<Removal> {
            Ok(Removal::there(Vec::new(), Vec::new(), Vec::new()))
        }
    }

    #[test]
    fn a_project_is_refused_only_for_what_it_uses() {
        let generated = |pipeline: &str| {
            let text = format!(
                "[project]\nname = \"p\"\n[[pipeline]]\nid = \"a\"\nsource = {{ connector = \"file\", config = {{ path = \"a.csv\" }} }}\n{pipeline}"
            );
            let manifest = [ManifestText::new("hakiri.toml", text)];
            let project = parse(&manifest, None, &crate::world::connectors().list()).unwrap();
            generate(&Poor, &Input { project: &project, manifest: &manifest, project_from_files: None })
        };
        generated("").unwrap();
        let error = generated("schedule = \"every 1h\"\n").unwrap_err();
        assert_eq!(error.code(), Code::DeployUnsupported);
        assert_eq!(error.message(), "poor does not support pipelines by schedule: it has no clock");
    }

    #[test]
    fn files_in_a_bucket_are_not_local_files() {
        for (paths, local, network) in [
            ("path = \"a.csv\"", true, false),
            ("path = \"s3://b/in/*.csv\"", false, true),
            ("tables = { x = { path = \"s3://b/x.csv\" }, y = { path = \"y.csv\" } }", true, true),
        ] {
            let text = format!(
                "[project]\nname = \"p\"\n[[pipeline]]\nid = \"a\"\nsource = {{ connector = \"file\", config = {{ {paths} }} }}\n"
            );
            let manifest = [ManifestText::new("hakiri.toml", text)];
            let project = parse(&manifest, None, &crate::world::connectors().list()).unwrap();
            let used = |feature: Feature| feature.is_used(&project, &Poor);
            assert_eq!((used(Feature::LocalFiles), used(Feature::NetworkSources)), (local, network), "{paths}");
            let input = Input { project: &project, manifest: &manifest, project_from_files: None };
            assert!(input.local_files().iter().all(|(_, path)| !path.starts_with("s3://")));
            assert_eq!(input.local_files().is_empty(), !local);
            let needed = super::super::secrets::needed(&input, false);
            assert_eq!(needed.iter().any(|n| n.name == "AWS_ACCESS_KEY_ID"), network);
        }
    }
}
