//! A systemd unit: Topology 2 on one server, Topology 2.5 when the same unit is installed on several.
//!
//! The unit runs as a user of its own instead of `DynamicUser=`: the store is read by people and programs on the server,
//! and an owner whose number changes would be in their way. The project's folder is state (`/var/lib`), since the
//! catalog and a local store lie in it; the manifest lies there too, so that `hakiri -C` of an administrator and the
//! unit see the same project.

use hakiri_core::Result;
use hakiri_core::spec::{SystemdSpec, deploy_memory_mib};

use super::capability::{Feature, Refusal, Support};
use super::files::Files;
use super::input::{Input, inside};
use super::secrets::{self, Needed};
use super::steps::Removal;
use super::target::{self, STOP_SECONDS, Target};
use super::template::{Values, shell, unit};

/// The longest name of a user that every tool takes.
const USER_LIMIT: usize = 31;
/// Of a unit, without `.service`; far below the real limit, to be readable.
const UNIT_LIMIT: usize = 63;
/// What the unit does not see, or sees as an empty place of its own.
const HIDDEN: [&str; 8] = ["/home", "/root", "/run", "/tmp", "/var/tmp", "/dev", "/proc", "/sys"];

/// What the README says where pipelines read files of the project's folder.
const LOCAL_FILES: &str = "Pipelines read local files: copy those of the project's folder into this one as well.\n";

/// The target.
#[derive(Debug)]
pub struct Systemd;

/// What the manifest leaves open, decided.
struct Settings<'a> {
    name: String,
    user: String,
    own_user: bool,
    binary: &'a str,
    dir: String,
    listen: Option<&'a str>,
    memory_mib: u64,
    needed: Vec<Needed>,
}

impl<'a> Settings<'a> {
    fn of(input: &Input<'a>) -> Self {
        const NONE: &SystemdSpec = &SystemdSpec { user: None, binary: None, dir: None, listen: None, memory: None };
        let spec = input.project.deploy.systemd.as_ref().unwrap_or(NONE);
        let name = input.name(UNIT_LIMIT);
        let listen = spec.listen.as_deref();
        Self {
            user: spec.user.clone().unwrap_or_else(|| input.name(USER_LIMIT)),
            own_user: spec.user.is_none(),
            binary: spec.binary.as_deref().unwrap_or("/usr/local/bin/hakiri"),
            dir: spec
                .dir
                .clone()
                .unwrap_or_else(|| format!("/var/lib/hakiri/{}", name.strip_prefix("hakiri-").unwrap_or(&name))),
            listen,
            memory_mib: spec.memory.as_deref().and_then(deploy_memory_mib).unwrap_or(target::MEMORY_MIB),
            needed: secrets::needed(input, listen.is_some_and(target::is_beyond)),
            name,
        }
    }

    /// Where the secrets lie on the server.
    fn secrets_path(&self) -> String {
        format!("/etc/hakiri/{}.env", self.name)
    }

    /// The folder and environment of every command for this project.
    fn selects(&self, input: &Input<'_>) -> Vec<String> {
        let mut args = vec!["-C".to_owned(), self.dir.clone()];
        args.extend(target::env_args(input));
        args
    }

    fn command(&self, input: &Input<'_>) -> Vec<String> {
        let mut args = vec![self.binary.to_owned()];
        args.extend(self.selects(input));
        args.extend(target::serve_args(self.memory_mib, self.listen));
        args
    }
}

impl Target for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn supports(&self, feature: Feature) -> Support {
        match feature {
            Feature::LocalFiles => {
                Support::With("Files are copied to the server by you, to every server that may run the pipeline.")
            }
            Feature::PostgresCatalog => {
                Support::With("You bring the database and the bucket; several servers share the work.")
            }
            Feature::ByHand => Support::With(target::BY_HAND),
            Feature::Schedules
            | Feature::NetworkSources
            | Feature::Transforms
            | Feature::Secrets
            | Feature::SqliteCatalog
            | Feature::FolderStore
            | Feature::BucketStore
            | Feature::Notify
            | Feature::Environments
            | Feature::Renames => Support::Yes,
        }
    }

    fn limits(&self, input: &Input<'_>) -> Vec<Refusal> {
        let settings = Settings::of(input);
        let mut out = target::common_limits(input);
        for (key, place) in [("dir", settings.dir.as_str()), ("binary", settings.binary)] {
            if let Some(hidden) = is_hidden(place) {
                out.push(Refusal::new(
                    format!("[deploy.systemd] {key} lies in {hidden}, which the unit does not see"),
                    format!("set {key} to a place outside of {hidden}, such as one in /srv"),
                ));
            }
        }
        if settings.user == "root" {
            out.push(Refusal::new("[deploy.systemd] user is root", "leave it out: the unit gets a user of its own"));
        }
        let state = [("[context] path", &input.project.context.path), ("[catalog] path", &input.project.catalog.path)];
        for (what, path) in state {
            if let Some(path) = path.as_deref().filter(|p| !p.contains("://") && inside(p).is_none()) {
                out.push(Refusal::new(
                    format!("{what} `{path}` leads out of the project's folder, where the unit may not write"),
                    format!("use a path within the project's folder in {what}, and set [deploy.systemd] dir"),
                ));
            }
        }
        for (pipeline, path) in input.local_files() {
            let seen = if path.starts_with('/') { is_hidden(path).is_none() } else { inside(path).is_some() };
            if !seen {
                out.push(Refusal::new(
                    format!("`{path}` of the pipeline {pipeline} is not visible to the unit"),
                    "use a path within the project's folder, or one outside of /home, /root, /run and /tmp",
                ));
            }
        }
        out
    }

    fn generate(&self, input: &Input<'_>) -> Result<Files> {
        let s = Settings::of(input);
        let title = target::title(input);
        let mut files = Files::default();
        let command: Vec<String> = s.command(input).iter().map(|arg| unit(arg)).collect();
        let environment = if s.needed.is_empty() {
            Vec::new()
        } else {
            // Without `-`: a service that lacks its secrets should say so at once. Read by systemd as root, so that the
            // service's own user cannot read the file.
            vec![format!("EnvironmentFile={}", unit(&s.secrets_path()))]
        };
        let service = Values::headed()
            .with("name", &s.name)
            .with("title", unit(&title))
            .with("command", command.join(" "))
            .with("dir", unit(&s.dir))
            .with("user", unit(&s.user))
            .with_lines("environment", environment)
            .with("stop", STOP_SECONDS.to_string())
            .with("memory", s.memory_mib.to_string())
            .fill(include_str!("hakiri.service"))?;
        files.add(&format!("{}.service", s.name), service)?;
        if s.own_user {
            let users = Values::headed()
                .with("user", &s.user)
                .with("title", title.replace(['"', '%'], ""))
                .with("dir", &s.dir)
                .fill(include_str!("sysusers.conf"))?;
            files.add(&format!("{}.sysusers.conf", s.name), users)?;
        }
        target::add_shared(&mut files, input, self.name(), &s.needed)?;
        let of_this_project: Vec<String> =
            std::iter::once(s.binary.to_owned()).chain(s.selects(input)).map(|arg| shell(&arg)).collect();
        let row = |what: &str, place: String| format!("| {what} | {place} |");
        let readme = Values::headed()
            .with("title", &title)
            .with("topology", input.topology())
            .with(
                "about",
                if input.is_shared() {
                    "several servers share the work. Install the same on each; one that is lost is not missed."
                } else {
                    "one server runs every pipeline by its schedule. Install it on one server only."
                },
            )
            .with_lines(
                "local_files",
                if input.local_files().is_empty() { Vec::new() } else { vec![LOCAL_FILES.to_owned()] },
            )
            .with_lines("steps", self.next(input))
            .with("name", &s.name)
            .with("user", &s.user)
            .with("dir", &s.dir)
            .with_lines(
                "secrets_row",
                if s.needed.is_empty() {
                    Vec::new()
                } else {
                    vec![row("secrets", format!("`{}`, mode 600, read by systemd", s.secrets_path()))]
                },
            )
            .with_lines(
                "status_row",
                vec![row(
                    "status page",
                    match s.listen {
                        Some(listen) => format!("`http://{listen}/`"),
                        None => "`http://127.0.0.1:8320/`, on the server only".to_owned(),
                    },
                )],
            )
            .with("hakiri", of_this_project.join(" "))
            .with("kept", target::kept(input))
            .fill(include_str!("README.md"))?;
        files.add("README.md", readme)?;
        Ok(files)
    }

    fn next(&self, input: &Input<'_>) -> Vec<String> {
        let s = Settings::of(input);
        let (name, dir) = (&s.name, &s.dir);
        let mut steps = vec![format!("install -D -m 0755 hakiri {}", s.binary)];
        if s.own_user {
            steps.push(format!("install -D -m 0644 {name}.sysusers.conf /etc/sysusers.d/{name}.conf"));
            steps.push("systemd-sysusers".to_owned());
        }
        steps.push(format!("install -d -m 0750 -o {} {dir}", s.user));
        for copy in input.copies().keys() {
            let place = copy.strip_prefix("project/").unwrap_or(copy);
            steps.push(format!("install -D -m 0644 {} {}", shell(copy), shell(&format!("{dir}/{place}"))));
        }
        let mut folders: Vec<&str> =
            input.local_files().into_iter().filter_map(|(_, path)| Some(*inside(path)?.first()?)).collect();
        folders.sort_unstable();
        folders.dedup();
        // Copied from the project beside the other files. A pattern at its top is left to the shell: it is the one that
        // the pipeline reads.
        for folder in folders {
            let what = if folder.contains(['*', '?', '[']) { folder.to_owned() } else { shell(folder) };
            steps.push(format!("cp -R {what} {dir}/"));
        }
        if !s.needed.is_empty() {
            steps.push(format!("install -D -m 0600 secrets.env {}", s.secrets_path()));
        }
        steps.push(format!("install -D -m 0644 {name}.service /etc/systemd/system/{name}.service"));
        steps.push("systemctl daemon-reload".to_owned());
        steps.push(format!("systemctl enable {name}"));
        steps.push(format!("systemctl restart {name}"));
        steps
    }

    fn removal(&self, input: &Input<'_>, with_data: bool) -> Result<Removal> {
        let s = Settings::of(input);
        let mut commands = vec![
            format!("systemctl disable --now {}", s.name),
            format!("rm /etc/systemd/system/{}.service", s.name),
            "systemctl daemon-reload".to_owned(),
        ];
        let (mut lost, mut kept) = (vec!["the service: no pipeline runs any more".to_owned()], Vec::new());
        let state = format!("{} with all that is in it. {}", s.dir, target::kept(input));
        if with_data {
            commands.push(format!("rm -r {}", s.dir));
            lost.push(state);
        } else {
            kept.push(state);
        }
        Ok(Removal::there(lost, kept, commands))
    }
}

/// The hidden place that a path lies in.
fn is_hidden(path: &str) -> Option<&'static str> {
    HIDDEN
        .into_iter()
        .find(|hidden| path.strip_prefix(hidden).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}
