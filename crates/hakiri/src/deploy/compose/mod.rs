//! Docker Compose: Topology 2 with one server, Topology 2.5 with several on one host.
//!
//! The image is `FROM scratch`: the binary is static, has its certificates in it and needs no shell, so that a base
//! image would only bring what has to be patched. It holds the manifest as well, so that what was reviewed is what runs.
//! No database is generated: one without backups would be a trap, and one with them is not ours to design; the manifest
//! names the one there is.

use hakiri_core::Result;
use hakiri_core::spec::{ComposeSpec, deploy_memory_mib};
use hakiri_core::url::Authority;

use super::capability::{Feature, Refusal, Support};
use super::files::Files;
use super::input::{Input, inside};
use super::secrets::{self, Needed};
use super::steps::Removal;
use super::target::{self, STOP_SECONDS, Target};
use super::template::{Values, shell, yaml};

/// The longest name that Compose, volumes and image names share without being cut.
const NAME_LIMIT: usize = 63;
/// The port inside of the container.
const PORT: u16 = 8320;
/// Where the project lies in the image.
const PROJECT: &str = "/project";

/// The target.
#[derive(Debug)]
pub struct Compose;

/// What the manifest leaves open, decided.
struct Settings<'a> {
    name: String,
    image: String,
    replicas: u32,
    listen: Option<&'a str>,
    memory_mib: u64,
    needed: Vec<Needed>,
}

impl<'a> Settings<'a> {
    fn of(input: &Input<'a>) -> Self {
        const NONE: &ComposeSpec = &ComposeSpec { image: None, replicas: None, listen: None, memory: None };
        let spec = input.project.deploy.compose.as_ref().unwrap_or(NONE);
        let name = input.name(NAME_LIMIT);
        Self {
            image: spec.image.clone().unwrap_or_else(|| name.clone()),
            replicas: spec.replicas.unwrap_or(if input.is_shared() { 2 } else { 1 }),
            listen: spec.listen.as_deref(),
            memory_mib: spec.memory.as_deref().and_then(deploy_memory_mib).unwrap_or(target::MEMORY_MIB),
            // Seen from the container, whoever comes from the host comes from elsewhere.
            needed: secrets::needed(input, spec.listen.is_some()),
            name,
        }
    }

    /// The arguments of the binary.
    fn command(&self, input: &Input<'_>) -> Vec<String> {
        let mut args = selects(input);
        let inner = self.listen.map(|_| format!("0.0.0.0:{PORT}"));
        args.extend(target::serve_args(self.memory_mib, inner.as_deref()));
        args
    }

    /// `ports`: as many as replicas, upwards.
    fn ports(&self) -> Vec<String> {
        let Some((host, first)) = self.listen.and_then(|l| l.rsplit_once(':')) else { return Vec::new() };
        let first: u32 = first.parse().unwrap_or(u32::from(PORT));
        let range =
            if self.replicas > 1 { format!("{first}-{}", first + self.replicas - 1) } else { first.to_string() };
        vec!["ports:".to_owned(), format!("  - {}", yaml(&format!("{host}:{range}:{PORT}")))]
    }
}

/// The folder and environment of every command for this project.
fn selects(input: &Input<'_>) -> Vec<String> {
    let mut args = vec!["-C".to_owned(), PROJECT.to_owned()];
    args.extend(target::env_args(input));
    args
}

/// What of the project's folder is mounted, by name; none for what cannot be.
fn mounted(path: &str) -> Option<&str> {
    let first = *inside(path)?.first()?;
    (!first.contains(['*', '?', '[', ':']) && !matches!(first, ".hakiri" | "pipelines" | "hakiri.toml"))
        .then_some(first)
}

impl Target for Compose {
    fn name(&self) -> &'static str {
        "compose"
    }

    fn supports(&self, feature: Feature) -> Support {
        match feature {
            Feature::LocalFiles => Support::With("They are mounted from the project's folder, read-only."),
            Feature::FolderStore => Support::With("In a volume with the catalog, below `.hakiri`."),
            Feature::PostgresCatalog => {
                Support::With("You bring the database and the bucket; several servers share the work.")
            }
            Feature::ByHand => Support::With(target::BY_HAND),
            Feature::Schedules
            | Feature::NetworkSources
            | Feature::Transforms
            | Feature::Secrets
            | Feature::SqliteCatalog
            | Feature::BucketStore
            | Feature::Notify
            | Feature::Environments
            | Feature::Renames => Support::Yes,
        }
    }

    fn limits(&self, input: &Input<'_>) -> Vec<Refusal> {
        let settings = Settings::of(input);
        let mut out = target::common_limits(input);
        if settings.replicas > 1 && !input.is_shared() {
            out.push(Refusal::new(
                format!("{} replicas cannot share a catalog in SQLite", settings.replicas),
                "set [catalog] url to a PostgreSQL database and [context] path to a bucket, or replicas to 1",
            ));
        }
        let port = settings.listen.and_then(|l| l.rsplit_once(':')?.1.parse::<u32>().ok()).unwrap_or(1);
        if port + settings.replicas > 65_536 {
            out.push(Refusal::new("there are not enough ports above [deploy.compose] listen", "choose a lower port"));
        }
        let state = [("[context] path", &input.project.context.path), ("[catalog] path", &input.project.catalog.path)];
        for (what, path) in state {
            let outside =
                |p: &&str| !p.contains("://") && inside(p).is_none_or(|parts| parts.len() < 2 || parts[0] != ".hakiri");
            if let Some(path) = path.as_deref().filter(outside) {
                out.push(Refusal::new(
                    format!("{what} `{path}` is not below .hakiri, the only place of the container that is kept"),
                    format!("leave {what} out or set it below .hakiri, for this deployment alone in [env.NAME]"),
                ));
            }
        }
        let places =
            [("[catalog] url", &input.project.catalog.url), ("[context] endpoint", &input.project.context.endpoint)];
        for (what, url) in places {
            if url.as_deref().is_some_and(is_loopback) {
                out.push(Refusal::new(
                    format!("{what} names this machine, which is the container itself when it runs there"),
                    format!("write the host's name in {what}, for this deployment alone in [env.NAME]"),
                ));
            }
        }
        for (pipeline, path) in input.local_files() {
            if mounted(path).is_none() {
                out.push(Refusal::new(
                    format!("`{path}` of the pipeline {pipeline} cannot be mounted"),
                    "put the files into a folder of the project, such as data/",
                ));
            } else if input.project_from_files.is_none() {
                out.push(Refusal::new(
                    format!("`{path}` of the pipeline {pipeline} has no place relative to the generated files"),
                    "write them into the project's folder: leave --dir out",
                ));
            }
        }
        out
    }

    fn generate(&self, input: &Input<'_>) -> Result<Files> {
        let s = Settings::of(input);
        let title = target::title(input);
        let mut files = Files::default();
        let command: Vec<String> = s.command(input).iter().map(|arg| yaml(arg)).collect();
        // Each of several servers has temporary files and locks of its own and nothing to keep; a single one has
        // catalog and perhaps store in it.
        let mut volumes =
            vec![if input.is_shared() { format!("- {PROJECT}/.hakiri") } else { format!("- state:{PROJECT}/.hakiri") }];
        let mut folders: Vec<&str> = input.local_files().into_iter().filter_map(|(_, path)| mounted(path)).collect();
        folders.sort_unstable();
        folders.dedup();
        let here = input.project_from_files.unwrap_or("..");
        volumes.extend(folders.iter().map(|f| format!("- {}", yaml(&format!("{here}/{f}:{PROJECT}/{f}:ro")))));
        let compose = Values::headed()
            .with("name", &s.name)
            .with("image", yaml(&s.image))
            .with("command", format!("[{}]", command.join(", ")))
            .with_lines("environment", if s.needed.is_empty() { Vec::new() } else { vec!["env_file: [secrets.env]".to_owned()] })
            .with_lines("scale", if s.replicas > 1 { vec![format!("scale: {}", s.replicas)] } else { Vec::new() })
            .with("stop", STOP_SECONDS.to_string())
            .with("memory", s.memory_mib.to_string())
            .with_lines("volumes", volumes)
            .with_lines("ports", s.ports())
            .with_lines("named_volumes", if input.is_shared() { Vec::new() } else {
                // Kept by `docker compose down`; only `down --volumes` destroys it (G4).
                ["", "# The catalog and a local store: kept by `docker compose down`, destroyed by `down --volumes`.", "volumes:", "  state: {}"]
                    .map(str::to_owned).to_vec()
            })
            .fill(include_str!("compose.yaml"))?;
        files.add("compose.yaml", compose)?;
        let headed = Values::headed();
        files.add("Dockerfile", headed.fill(include_str!("Dockerfile"))?)?;
        files.add(".dockerignore", headed.fill(include_str!("dockerignore"))?)?;
        files.add("state/.keep", headed.fill(include_str!("keep"))?)?;
        target::add_shared(&mut files, input, self.name(), &s.needed)?;
        let of_this_project: Vec<String> =
            std::iter::once("/hakiri".to_owned()).chain(selects(input)).map(|arg| shell(&arg)).collect();
        let row = |what: &str, place: String| format!("| {what} | {place} |");
        let readme = Values::headed()
            .with("title", &title)
            .with("topology", input.topology())
            .with(
                "about",
                if input.is_shared() {
                    format!("{} servers share the work; one that is lost is not missed.", s.replicas)
                } else {
                    "one server runs every pipeline by its schedule.".to_owned()
                },
            )
            .with("at_its_place", if folders.is_empty() { "" } else { " and the folder at its place in the project" })
            .with_lines("steps", self.next(input))
            .with("image", &s.image)
            .with(
                "state",
                if input.is_shared() {
                    "in the database and the bucket; a container has nothing to keep".to_owned()
                } else {
                    format!("the volume `{}_state`", s.name)
                },
            )
            .with_lines(
                "secrets_row",
                if s.needed.is_empty() {
                    Vec::new()
                } else {
                    vec![row("secrets", "`secrets.env` in this folder, mode 600, never in the image".to_owned())]
                },
            )
            .with_lines(
                "status_row",
                vec![row(
                    "status page",
                    match s.listen {
                        Some(listen) => format!("`http://{listen}/`, with the token"),
                        None => "not published; `[deploy.compose] listen` publishes it".to_owned(),
                    },
                )],
            )
            .with("hakiri", of_this_project.join(" "))
            .with(
                "kept",
                if input.is_shared() {
                    target::kept(input)
                } else {
                    "The volume stays; `docker compose down --volumes` destroys the catalog, and a local store with it."
                },
            )
            .fill(include_str!("README.md"))?;
        files.add("README.md", readme)?;
        Ok(files)
    }

    fn next(&self, input: &Input<'_>) -> Vec<String> {
        let s = Settings::of(input);
        let mut steps = Vec::new();
        if !s.needed.is_empty() {
            steps.push("chmod 600 secrets.env".to_owned());
        }
        steps.push("docker compose build".to_owned());
        steps.push("docker compose up -d".to_owned());
        steps
    }

    fn removal(&self, input: &Input<'_>, with_data: bool) -> Result<Removal> {
        let (volume, down) = match (input.is_shared(), with_data) {
            (true, _) => (None, "docker compose down"),
            (false, false) => (Some(true), "docker compose down"),
            (false, true) => (Some(false), "docker compose down --volumes"),
        };
        let state = "the volume with the catalog, and with the store where that is a folder";
        Ok(Removal::there(
            std::iter::once("the containers: no pipeline runs any more")
                .chain((volume == Some(false)).then_some(state))
                .map(str::to_owned)
                .collect(),
            match volume {
                Some(true) => vec![state.to_owned()],
                Some(false) => Vec::new(),
                None => vec![target::kept(input).to_owned()],
            },
            vec![down.to_owned()],
        ))
    }
}

/// Whether a URL's host is the machine that reads it.
fn is_loopback(url: &str) -> bool {
    Authority::of(url).is_some_and(|a| ["localhost", "127.", "[::1]"].iter().any(|l| a.hosts.starts_with(l)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_this_machine_is_known_by_its_host() {
        for yes in ["postgres://u:${P}@localhost/db", "http://127.0.0.1:9000", "http://[::1]:9000/x"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["postgres://localhost:x@db.example/db", "https://s3.example.com", "${DATABASE_URL}"] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
