//! The command of a generated unit, and that of a generated service, started as they stand: in a root of their own, since
//! neither systemd nor a container engine runs where the tests do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{FILES, compose_file, succeeds, values};
use crate::support::{Project, binary, text};

/// A file system and a loopback of its own for one command: what a unit or a container would see.
struct Sandbox {
    root: tempfile::TempDir,
    /// Folders that stay writable, absolute in the sandbox.
    writable: Vec<String>,
    /// Folders from outside, read-only, and their places in the sandbox.
    mounted: Vec<(PathBuf, String)>,
}

impl Sandbox {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for place in ["dev", "proc", "tmp"] {
            std::fs::create_dir(root.path().join(place)).unwrap();
        }
        Self { root, writable: Vec::new(), mounted: Vec::new() }
    }

    /// A place in it.
    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Copies a file or folder to a place in it.
    fn copy(&self, from: &Path, to: &str) {
        let to = self.at(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        succeeds(Command::new("cp").arg("-R").arg(from).arg(&to));
    }

    /// Starts a command line as it stands: its root is the sandbox, in which nothing is writable but what should be.
    fn start(&self, umask: &str, dir: &str, env: &BTreeMap<String, String>, line: &[String]) -> Child {
        let mut script = format!(
            "set -e; umask {umask}; ip link set lo up; R=\"$1\"; D=\"$2\"; shift 2; mount --bind \"$R\" \"$R\"\n"
        );
        script.push_str(
            "mount --rbind /dev \"$R/dev\"; mount --rbind /proc \"$R/proc\"; mount -t tmpfs none \"$R/tmp\"\n",
        );
        for place in &self.writable {
            script.push_str(&format!("mount --bind \"$R{place}\" \"$R{place}\"\n"));
        }
        for (from, to) in &self.mounted {
            std::fs::create_dir_all(self.at(to)).unwrap();
            let from = from.display();
            script.push_str(&format!("mount --bind '{from}' \"$R{to}\"; mount -o remount,bind,ro \"$R{to}\"\n"));
        }
        script.push_str("mount -o remount,bind,ro \"$R\"\nexec unshare --root=\"$R\" --wd=\"$D\" \"$@\"\n");
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "--net", "sh", "-c", &script, "sh"])
            .arg(self.root.path())
            .arg(dir)
            .args(line);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(env);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until a project in the sandbox has this many committed runs, asks its server how it is, and then to end,
    /// which it must do of itself. Returns the rows of its table.
    fn until_committed(&self, mut server: Child, project: &str, runs: usize, health: Option<&[String]>) -> Vec<Value> {
        let dir = self.at(project);
        let hakiri = |args: &[&str]| {
            let output = Command::new(binary()).arg("-C").arg(&dir).args(args).output().unwrap();
            serde_json::from_slice::<Value>(&output.stdout).unwrap_or(Value::Null)
        };
        let committed = || {
            let listed = hakiri(&["runs", "--json", "--limit", "1000"]);
            let runs = listed["runs"].as_array().cloned().unwrap_or_default();
            let ticks: std::collections::BTreeSet<String> =
                runs.iter().filter(|r| r["status"] == "succeeded").map(|r| r["tick"].to_string()).collect();
            ticks.len()
        };
        let mut found = 0;
        for _ in 0..120 {
            if server.try_wait().unwrap().is_some() || found >= runs {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
            found = committed();
        }
        if let (Some(line), true) = (health, found >= runs) {
            let mut nsenter = Command::new("nsenter");
            nsenter.args(["--target", &server.id().to_string(), "--user", "--mount", "--net", "--root", "--wd"]);
            succeeds(nsenter.args(line));
        }
        succeeds(Command::new("kill").args(["-TERM", &server.id().to_string()]));
        let output = server.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "the server ended with:\n{said}");
        assert!(found >= runs, "{found} ticks were committed; the server said:\n{said}");
        hakiri(&["query", "--format", "json", "select id, v from f_t order by id"])
            .as_array()
            .cloned()
            .unwrap_or_default()
    }
}

/// `NAME=value` lines without comments: what systemd and Compose make of a file of plain values.
fn variables(file: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.filter_map(|l| l.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// With a secret, so that the file that gives it is read.
fn project_with_a_secret() -> Project {
    let project = Project::new(&FILES.replace("schedule", "secrets = [\"TOKEN\"]\nschedule"));
    project.write("data/a.csv", "id,v\n1,one\n2,two\n");
    project
}

#[test]
fn artifact_the_units_command_runs_twenty_ticks_as_it_stands() {
    let project = project_with_a_secret();
    project.hakiri(&["deploy", "systemd"]).expect(0);
    let dir = project.path().join("deploy/systemd");
    let unit = std::fs::read_to_string(dir.join("hakiri-test.service")).unwrap();
    let one = |key: &str| match values(&unit, key)[..] {
        [value] => value.to_owned(),
        ref other => panic!("{key}: {other:?}"),
    };
    let line: Vec<String> = one("ExecStart").split(' ').map(str::to_owned).collect();
    let place = one("WorkingDirectory");

    let mut sandbox = Sandbox::new();
    sandbox.copy(&binary(), &line[0]);
    // The steps that put files into their places, from the README, with a root of our own.
    std::fs::write(
        dir.join("secrets.env"),
        text(&project, "deploy/systemd/secrets.env.example").replace("TOKEN=", "TOKEN=x"),
    )
    .unwrap();
    sandbox.copy(&project.path().join("data"), &format!("{place}/data"));
    for step in text(&project, "deploy/systemd/README.md").lines().filter(|l| l.starts_with("install -D -m 06")) {
        let words: Vec<&str> = step.split(' ').collect();
        let [.., from, to] = words[..] else { panic!("{step}") };
        succeeds(Command::new("install").args(&words[1..4]).arg(dir.join(from)).arg(sandbox.at(to)));
    }
    let env = variables(&sandbox.at(&one("EnvironmentFile")));
    assert_eq!(env.get("TOKEN").map(String::as_str), Some("x"));
    assert_eq!(one("ProtectSystem"), "strict");
    sandbox.writable.push(one("ReadWritePaths"));
    let server = sandbox.start(&one("UMask"), &place, &env, &line);
    let rows = sandbox.until_committed(server, &place, 20, None);
    assert_eq!(rows.len(), 2, "{rows:?}");
}

#[test]
fn artifact_the_services_command_runs_twenty_ticks_as_it_stands() {
    let project = project_with_a_secret();
    project.hakiri(&["deploy", "compose"]).expect(0);
    let dir = project.path().join("deploy/compose");
    std::fs::copy(binary(), dir.join("hakiri")).unwrap();
    project.write("deploy/compose/secrets.env", "TOKEN=x\n");
    let compose = compose_file(&dir.join("compose.yaml"));
    let service = &compose["services"]["hakiri"];

    // The image, as the Dockerfile says.
    let mut sandbox = Sandbox::new();
    let (mut entry, mut inside) = (Vec::new(), String::new());
    for line in text(&project, "deploy/compose/Dockerfile").lines().filter(|l| !l.starts_with('#')) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["FROM", "scratch"] | ["USER", _] => {}
            ["COPY", "--chown=65532:65532", from, to] => sandbox.copy(&dir.join(from), to),
            ["WORKDIR", place] => inside = place.to_owned(),
            ["ENTRYPOINT", words] => entry = serde_json::from_str::<Vec<String>>(words).unwrap(),
            ref other => panic!("{other:?}"),
        }
    }
    // The service, as the Compose file says.
    let mut env = BTreeMap::new();
    for file in service["env_file"].as_array().unwrap() {
        env.extend(variables(&dir.join(file.as_str().unwrap())));
    }
    for volume in service["volumes"].as_array().unwrap() {
        match volume.as_str().unwrap().split(':').collect::<Vec<_>>()[..] {
            [from, to, "ro"] => sandbox.mounted.push((dir.join(from).canonicalize().unwrap(), to.to_owned())),
            [_, to] => sandbox.writable.push(to.to_owned()),
            ref other => panic!("{other:?}"),
        }
    }
    entry.extend(service["command"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned()));
    let server = sandbox.start("0022", &inside, &env, &entry);
    let health: Vec<String> =
        service["healthcheck"]["test"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned()).collect();
    let ("CMD", check) = (health[0].as_str(), &health[1..]) else { panic!("{health:?} needs a shell") };
    let rows = sandbox.until_committed(server, "/project", 20, Some(check));
    assert_eq!(rows.len(), 2, "{rows:?}");
}
