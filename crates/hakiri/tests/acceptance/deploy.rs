//! `hakiri deploy`: what is generated, what is refused, and that a generated command runs as it stands.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::shop::api;
use crate::support::{Project, binary, contents, files_below, python, text};

mod started;

/// A pipeline that reads a folder of files every second.
const FILES: &str = r#"
[[pipeline]]
id = "f"
tables = ["t"]
schedule = "every 1s"
source = { connector = "file", config = { path = "data/*.csv" } }
[pipeline.table.t]
primary_key = ["id"]
"#;

/// Everything that has names of secrets, several servers, and an environment.
const SHARED: &str = concat!(
    r#"
[context]
path = "s3://bucket/prefix"
endpoint = "https://s3.example.com"
region = "eu-central-1"

[catalog]
url = "postgres://hakiri:${DATABASE_PASSWORD}@db.example.com/hakiri"

[notify]
webhook = "${HOOK}"

[deploy.systemd]
listen = "0.0.0.0:8320"
memory = "2GiB"

[deploy.compose]
replicas = 3
listen = "127.0.0.1:8320"
image = "registry.example.com/team/shop:1.0"
"#,
    api!("https://api.example.com/${HAKIRI_STAGE}"),
    "\n[env.staging]\n"
);

/// A Compose file as JSON, after the Compose schema has been asked.
fn compose_file(path: &Path) -> Value {
    let script = r"
import json, pathlib, sys
import importlib.util, jsonschema, yaml
# Found, not imported: the program of that package wants more than its schema does.
schema = pathlib.Path(importlib.util.find_spec('check_jsonschema').origin).parent / 'builtin_schemas/vendor/compose-spec.json'
schema = json.loads(schema.read_text())
document = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text())
kind = jsonschema.validators.validator_for(schema)
kind.check_schema(schema)
errors = [f'{list(e.absolute_path)}: {e.message}' for e in kind(schema).iter_errors(document)]
assert not errors, errors
print(json.dumps(document))
";
    serde_json::from_str(&python(script, &[path.to_str().unwrap()])).unwrap()
}

/// The values of a key in a unit.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|l| l.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn two_generations_of_one_project_are_the_same_bytes_wherever_it_lies() {
    let (one, two) = (Project::new(SHARED), Project::new(SHARED));
    for target in ["systemd", "compose"] {
        for project in [&one, &two] {
            project.hakiri(&["deploy", target]).expect(0).says("nothing was deployed; next");
        }
        let dir = format!("deploy/{target}");
        let first = contents(&one.path().join(&dir));
        assert_eq!(first, contents(&two.path().join(&dir)));
        let again = one.hakiri(&["deploy", target, "--json"]).expect(0).json();
        assert!(again["files"].as_array().unwrap().iter().all(|f| f["change"] == "same"), "{again}");
        assert_eq!(first, contents(&one.path().join(&dir)));
        for (path, bytes) in first.iter().filter(|(p, _)| !p.starts_with("project/") && *p != ".hakiri-deploy.lock") {
            let head = String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned();
            assert!(head.contains(&format!("enerated by `hakiri deploy {target}`, format 1")), "{path}: {head}");
        }
    }
}

#[test]
fn a_plan_shows_the_difference_and_writes_nothing() {
    let project = Project::new(FILES);
    let before = files_below(project.path(), project.path());
    let plan = project.hakiri(&["deploy", "systemd", "--plan", "--exit-code"]).expect(1);
    plan.says("+++ b/hakiri-test.service").says("+ExecStart=/usr/local/bin/hakiri").says("nothing was written");
    assert_eq!(files_below(project.path(), project.path()), before);

    project.hakiri(&["deploy", "systemd"]).expect(0);
    project.hakiri(&["deploy", "systemd", "--plan", "--exit-code"]).expect(0).says("as it should be");
    project.manifest(&format!("[deploy.systemd]\nmemory = \"2GiB\"\n{FILES}"));
    let plan = project.hakiri(&["deploy", "systemd", "--plan", "--exit-code"]).expect(1);
    plan.says("-MemoryMax=1024M").says("+MemoryMax=2048M").says("would change hakiri-test.service");
    assert!(text(&project, "deploy/systemd/hakiri-test.service").contains("MemoryMax=1024M"));
}

#[test]
fn an_edit_by_hand_is_noticed_and_only_force_overwrites_it() {
    let project = Project::new(FILES);
    let unit = "deploy/systemd/hakiri-test.service";
    project.hakiri(&["deploy", "systemd"]).expect(0);
    let generated = text(&project, unit);
    let edited = generated.replace("RestartSec=5s", "RestartSec=60s");
    project.write(unit, &edited);
    // Also where the generation itself has changed, and nothing of it is written then.
    project.manifest(&format!("[deploy.systemd]\nmemory = \"2GiB\"\n{FILES}"));
    let before = contents(&project.path().join("deploy"));
    let refused = project.hakiri(&["deploy", "systemd"]).expect(2);
    refused.says("HK1203").says("hakiri-test.service").says("--force");
    project.hakiri(&["deploy", "systemd", "--plan"]).expect(0).says("-RestartSec=60s").says("needs --force");
    assert_eq!(contents(&project.path().join("deploy")), before);
    project.hakiri(&["deploy", "systemd", "--force"]).expect(0).says("overwrote hakiri-test.service");
    assert!(text(&project, unit).contains("RestartSec=5s"));

    // A file that Hakiri never wrote is in the way just as well.
    project.write("deploy/compose/Dockerfile", "FROM debian\n");
    project.hakiri(&["deploy", "compose"]).expect(2).says("HK1203").says("Dockerfile");
    assert_eq!(files_below(&project.path().join("deploy/compose"), project.path()), ["deploy/compose/Dockerfile"]);
}

#[test]
fn files_that_are_no_longer_generated_go_unless_they_were_edited() {
    let project = Project::new(FILES);
    project.write("pipelines/a.json", "{ \"pipeline\": [] }");
    project.write("pipelines/b.json", "{ \"pipeline\": [] }");
    project.hakiri(&["deploy", "compose"]).expect(0);
    project.write("deploy/compose/project/pipelines/b.json", "{ \"pipeline\": [ ] }");
    for name in ["a", "b"] {
        std::fs::remove_file(project.path().join(format!("pipelines/{name}.json"))).unwrap();
    }
    let ran = project.hakiri(&["deploy", "compose"]).expect(0);
    ran.says("removed project/pipelines/a.json").says("kept since it was edited: project/pipelines/b.json");
    let left = files_below(&project.path().join("deploy/compose/project/pipelines"), project.path());
    assert_eq!(left, ["deploy/compose/project/pipelines/b.json"]);
}

#[test]
fn a_folder_of_another_deployment_is_not_taken_over() {
    let project = Project::new(FILES);
    project.hakiri(&["deploy", "systemd", "--dir", "out"]).expect(0);
    project.hakiri(&["deploy", "compose", "--dir", "out"]).expect(2).says("HK1204").says("systemd for test");
    project.write("out/.hakiri-deploy.lock", "{");
    project.hakiri(&["deploy", "systemd", "--dir", "out"]).expect(2).says("HK1204");
}

#[test]
fn a_link_in_the_folder_is_not_followed() {
    let project = Project::new(FILES);
    project.write("precious", "mine");
    std::fs::create_dir_all(project.path().join("deploy/compose")).unwrap();
    std::os::unix::fs::symlink("../../precious", project.path().join("deploy/compose/Dockerfile")).unwrap();
    project.hakiri(&["deploy", "compose", "--force"]).expect(2).says("HK1203").says("not a plain file");
    assert_eq!(text(&project, "precious"), "mine");
}

#[test]
fn other_clouds_are_refused_with_the_topology_and_the_command() {
    let project = Project::new("");
    std::fs::remove_file(project.path().join("hakiri.toml")).unwrap();
    for cloud in ["gcp", "azure", "fly", "render", "railway", "kubernetes", "k8s", "google", "gke", "fly.io", "heroku"]
    {
        let ran = project.hakiri(&["deploy", cloud]).expect(2);
        ran.says("HK1201").says(&format!("no generator for {cloud}")).says("Topology 2 ").says("Topology 2.5");
        ran.says("hakiri deploy systemd").says("hakiri deploy compose");
    }
    project.hakiri(&["deploy", "mainframe"]).expect(2).says("HK1201").says("systemd, compose");
    assert!(files_below(project.path(), project.path()).is_empty(), "nothing was written");
}

#[test]
fn what_a_target_cannot_run_is_refused_before_anything_is_written() {
    let shared = "[catalog]\nurl = \"postgres://u@db.example.com/x\"\n";
    let file = |path: &str| FILES.replace("data/*.csv", path);
    for (target, manifest, says) in [
        ("systemd", format!("{shared}{FILES}"), "cannot share a folder"),
        ("compose", format!("{shared}{FILES}"), "cannot share a folder"),
        ("compose", format!("[deploy.compose]\nreplicas = 2\n{FILES}"), "2 replicas cannot share a catalog in SQLite"),
        ("compose", format!("[context]\npath = \"store\"\n{FILES}"), "not below .hakiri"),
        ("compose", format!("[catalog]\npath = \"/srv/c.sqlite\"\n{FILES}"), "not below .hakiri"),
        ("compose", file("/srv/data/*.csv"), "cannot be mounted"),
        ("compose", file("../data/*.csv"), "cannot be mounted"),
        ("compose", file("*.csv"), "cannot be mounted"),
        (
            "compose",
            format!("[context]\npath = \"s3://b/p\"\n[catalog]\nurl = \"postgres://u:${{P}}@localhost/x\"\n{FILES}"),
            "[catalog] url names this machine",
        ),
        ("systemd", format!("[context]\npath = \"../store\"\n{FILES}"), "leads out of the project's folder"),
        ("systemd", format!("[catalog]\npath = \"/srv/c.sqlite\"\n{FILES}"), "leads out of the project's folder"),
        ("systemd", file("../data/*.csv"), "not visible to the unit"),
        ("systemd", file("/home/me/*.csv"), "not visible to the unit"),
        ("systemd", format!("[deploy.systemd]\ndir = \"/home/me/shop\"\n{FILES}"), "dir lies in /home"),
        ("systemd", format!("[deploy.systemd]\nuser = \"root\"\n{FILES}"), "user is root"),
    ] {
        let project = Project::new(&manifest);
        project.hakiri(&["deploy", target]).expect(2).says("HK1202").says(says);
        assert!(!project.path().join("deploy").exists(), "{manifest}");
    }
    // All of them at once, and nothing is refused that works.
    let both = Project::new(&format!("[deploy.compose]\nreplicas = 2\n[context]\npath = \"store\"\n{FILES}"));
    both.hakiri(&["deploy", "compose"]).expect(2).says("2 replicas").says("not below .hakiri");
    Project::new(&file("/srv/data/*.csv")).hakiri(&["deploy", "systemd"]).expect(0);
}

#[test]
fn an_environment_is_in_every_name_and_in_every_command() {
    let project = Project::new(SHARED);
    for target in ["systemd", "compose"] {
        project.hakiri(&["deploy", target, "--env", "staging"]).expect(0);
    }
    let dir = project.path().join("deploy/systemd-staging");
    let units: Vec<String> = files_below(&dir, &dir).into_iter().filter(|f| f.starts_with("hakiri-")).collect();
    assert_eq!(units.len(), 2, "{units:?}");
    for unit in &units {
        assert!(unit.contains("-staging."), "{unit}");
    }
    let unit = std::fs::read_to_string(dir.join(units.iter().find(|u| u.ends_with(".service")).unwrap())).unwrap();
    for key in ["User", "WorkingDirectory", "ReadWritePaths"] {
        assert!(values(&unit, key)[0].ends_with("-staging"), "{unit}");
    }
    assert!(values(&unit, "EnvironmentFile")[0].ends_with("-staging.env"), "{unit}");
    assert!(values(&unit, "ExecStart")[0].contains(" --env staging "), "{unit}");
    let compose = compose_file(&project.path().join("deploy/compose-staging/compose.yaml"));
    assert!(compose["name"].as_str().unwrap().ends_with("-staging"), "{compose}");
    assert!(compose["services"]["hakiri"]["command"].to_string().contains("\"--env\",\"staging\""), "{compose}");
}

#[test]
fn no_value_of_a_secret_and_nothing_of_this_machine_is_in_a_generated_file() {
    let project = Project::new(SHARED);
    let names = ["API_TOKEN", "DATABASE_PASSWORD", "HOOK", "HAKIRI_STAGE", "HAKIRI_TOKEN", "HAKIRI_NOTIFY_SECRET"];
    let names = names.into_iter().chain(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "USER", "HOSTNAME"]);
    let here = project.path().to_string_lossy().into_owned();
    project.write(".env", "API_TOKEN=canary-from-the-file\n");
    std::process::Command::new("chmod").arg("600").arg(project.path().join(".env")).status().unwrap();
    for target in ["systemd", "compose"] {
        let mut command = project.command(&["deploy", target, "--json"]);
        command.env("HOME", "/home/canary-home");
        for name in names.clone() {
            command.env(name, format!("canary-{}", name.to_lowercase()));
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut all = contents(&project.path().join(format!("deploy/{target}")));
        all.insert("stdout".to_owned(), output.stdout);
        all.insert("stderr".to_owned(), output.stderr);
        for (path, bytes) in &all {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains("canary") && !text.contains(&here), "{target}/{path}:\n{text}");
        }
        let example = text(&project, &format!("deploy/{target}/secrets.env.example"));
        let expected = [
            "API_TOKEN=",
            "HAKIRI_STAGE=",
            "DATABASE_PASSWORD=",
            "HOOK=",
            "# HAKIRI_NOTIFY_SECRET=",
            "AWS_ACCESS_KEY_ID=",
            "AWS_SECRET_ACCESS_KEY=",
            "HAKIRI_TOKEN=",
        ];
        for line in expected {
            assert_eq!(example.lines().filter(|l| *l == line).count(), 1, "{line} in\n{example}");
        }
    }
}

/// Runs a program that must succeed; what it said.
#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{said}");
    said
}

#[test]
fn units_pass_verify_and_score_well_in_security() {
    for manifest in [FILES, SHARED] {
        let project = Project::new(manifest);
        project.hakiri(&["deploy", "systemd"]).expect(0);
        let unit = project.path().join("deploy/systemd/hakiri-test.service");
        // verify wants the binary at its place: a name space of mounts has it there, and nobody else sees it.
        let script = r#"set -e
            mount -t tmpfs none "$(dirname "$1")"; cp "$2" "$1"
            exec systemd-analyze verify "$3""#;
        let mut verify = Command::new("unshare");
        verify.args(["--map-root-user", "--mount", "sh", "-c", script, "sh", "/usr/local/bin/hakiri"]);
        let said = succeeds(verify.arg(binary()).arg(&unit));
        assert_eq!(said.trim(), "", "systemd-analyze verify has something to say");
        // The threshold counts in tenths: 2.0.
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=true", "--threshold=20", "--no-pager"]).arg(&unit);
        let said = succeeds(&mut security);
        assert!(said.contains("Overall exposure level"), "{said}");
    }
}

#[test]
fn the_users_file_is_one_that_systemd_takes() {
    let project = Project::new(FILES);
    project.hakiri(&["deploy", "systemd"]).expect(0);
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("etc/sysusers.d");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::copy(project.path().join("deploy/systemd/hakiri-test.sysusers.conf"), place.join("t.conf")).unwrap();
    let mut sysusers = Command::new("unshare");
    sysusers.args(["--map-root-user", "systemd-sysusers"]).arg(format!("--root={}", root.path().display()));
    succeeds(&mut sysusers);
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(users.lines().any(|l| l.starts_with("hakiri-test:") && l.contains(":/var/lib/hakiri/test:")), "{users}");
}

#[test]
fn compose_files_fit_the_compose_schema_and_give_away_every_right() {
    for manifest in [FILES, SHARED] {
        let project = Project::new(manifest);
        project.hakiri(&["deploy", "compose"]).expect(0);
        let compose = compose_file(&project.path().join("deploy/compose/compose.yaml"));
        let service = &compose["services"]["hakiri"];
        assert!(compose.get("version").is_none(), "the key is of an older format");
        assert_eq!(service["read_only"], true);
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]));
        assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]));
        assert_eq!(service["user"], "65532:65532");
        let docker = text(&project, "deploy/compose/Dockerfile");
        assert!(docker.lines().any(|l| l == "FROM scratch") && !docker.contains("RUN"), "{docker}");
    }
    let project = Project::new(SHARED);
    project.hakiri(&["deploy", "compose"]).expect(0);
    let service = compose_file(&project.path().join("deploy/compose/compose.yaml"))["services"]["hakiri"].clone();
    assert_eq!(service["scale"], 3);
    assert_eq!(service["ports"], serde_json::json!(["127.0.0.1:8320-8322:8320"]));
    assert_eq!(service["volumes"], serde_json::json!(["/project/.hakiri"]), "servers share no volume");
    assert_eq!(service["image"], "registry.example.com/team/shop:1.0");
}

#[test]
fn the_generated_files_are_these() {
    let project = Project::new(FILES);
    for target in ["systemd", "compose"] {
        project.hakiri(&["deploy", target]).expect(0);
    }
    let shown = ["systemd/hakiri-test.service", "systemd/README.md", "compose/compose.yaml", "compose/Dockerfile"];
    let all: Vec<String> =
        shown.iter().map(|path| format!("==> {path}\n{}", text(&project, &format!("deploy/{path}")))).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn apply_writes_the_files_and_says_who_runs_the_rest() {
    let project = Project::new(FILES);
    let ran = project.hakiri(&["deploy", "systemd", "--apply"]).expect(2);
    ran.says("HK1205").says("systemctl restart hakiri-test").says("created hakiri-test.service");
    let before = contents(&project.path().join("deploy"));
    let again = project.hakiri(&["deploy", "systemd", "--apply"]).expect(2);
    again.says("HK1205");
    assert_eq!(contents(&project.path().join("deploy")), before);
}
