//! The command line: help, exit codes, shapes of `--json`, Ctrl-C, secrets, the manifest's errors.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{Api, Response, manifest, paged};
use crate::support::{Project, files_below};

const MINIMAL: &str = r#"
[[pipeline]]
id = "f"
tables = ["t"]
source = { connector = "file", config = { path = "data/*.csv" } }
[pipeline.table.t]
primary_key = ["id"]
"#;

#[test]
fn artifact_help_has_an_example_for_every_command() {
    let project = Project::new("");
    let help = project.hakiri(&["--help"]).expect(0).stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|l| !l.starts_with("Commands:"))
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 12, "{help}");
    let nested = [vec!["state", "show"], vec!["state", "rewind"], vec!["state", "reset"]];
    for mut command in commands.into_iter().map(|c| vec![c]).chain(nested) {
        command.push("--help");
        let text = project.hakiri(&command).expect(0).stdout;
        assert!(text.contains("Example"), "{command:?} has no example:\n{text}");
    }
}

#[test]
fn artifact_version_and_completions_need_no_project() {
    let project = Project::new("");
    std::fs::remove_file(project.path().join("hakiri.toml")).unwrap();
    assert!(project.hakiri(&["--version"]).expect(0).stdout.starts_with("hakiri "));
    assert!(project.hakiri(&["completions", "bash"]).expect(0).stdout.contains("hakiri"));
    project.hakiri(&["run"]).expect(2).says("HK0004");
    project.hakiri(&["frobnicate"]).expect(2);
}

#[test]
fn artifact_init_makes_a_project_that_runs() {
    let project = Project::new("");
    project.hakiri(&["init", "my-shop"]).expect(0).says("hakiri run");
    let dir = project.path().join("my-shop");
    let at = |args: &[&str]| {
        let mut all = vec!["-C", dir.to_str().unwrap()];
        all.extend(args);
        project.hakiri(&all)
    };
    at(&["check"]).expect(0);
    at(&["run"]).expect(0);
    let rows = at(&["query", "--format", "json", "select sum(amount) as total from sample_orders"]).expect(0).json();
    assert_eq!(rows.to_string(), "[{\"total\":2151.15}]");
    project.hakiri(&["init", "my-shop"]).expect(2).says("already");
    project.hakiri(&["init", "My Shop"]).expect(2).says("lower-case");
}

#[test]
fn all_errors_of_a_manifest_are_reported_at_once_with_their_places() {
    let project = Project::new("");
    project.write(
        "hakiri.toml",
        "[project]\nname = \"shop\"\n\n[[pipeline]]\nid = \"a\"\nshedule = \"every 5m\"\nsource = { connector = \"flie\" }\n\n[[pipeline]]\nid = \"a\"\nschedule = \"every five\"\nsource = { connector = \"file\", config = { path = 3 } }\n",
    );
    let ran = project.hakiri(&["check"]).expect(2);
    ran.says("HK0102")
        .says("schedule")
        .says("hakiri.toml:6:1")
        .says("HK0105")
        .says("HK0106")
        .says("HK0103")
        .says("HK0401");
    let as_json = project.hakiri(&["check", "--json"]).expect(2).json();
    assert!(as_json["errors"].as_array().unwrap().len() >= 5, "{as_json}");
}

#[test]
fn plan_has_no_side_effect() {
    let project = Project::new(MINIMAL);
    project.write("data/a.csv", "id\n1\n");
    let before = files_below(project.path(), project.path());
    let plan = project.hakiri(&["plan", "--json"]).expect(0).json();
    assert_eq!(plan["plans"][0]["steps"][0]["tables"][0]["table"], "f_t");
    assert_eq!(files_below(project.path(), project.path()), before);
    project.hakiri(&["plan", "--exit-code"]).expect(1);
    project.run();
    project.hakiri(&["plan", "--exit-code"]).expect(0);
}

/// Numbers and ids that differ from run to run become place-holders, so that the shape can be compared as text.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), member(k, v))).collect()),
        Value::Array(items) => Value::Array(items.iter().take(1).map(shape).collect()),
        Value::String(text) => json!(match text.as_str() {
            t if t.starts_with("run-") => "<run>",
            t if t.len() > 15 && t.bytes().all(|b| b.is_ascii_digit()) => "<nanos>",
            t if t.contains(" to before ") => "<the window in words>",
            t if t.parse::<chrono::DateTime<chrono::Utc>>().is_ok() => "<instant>",
            t if t.len() == 64 && t.chars().all(|c| c.is_ascii_hexdigit()) => "<sha256>",
            t => t,
        }),
        other => other.clone(),
    }
}

/// A file's size depends on how well the run's id compresses.
fn member(name: &str, value: &Value) -> Value {
    match (name, value.as_u64()) {
        ("bytes", Some(1..)) => json!("<bytes>"),
        _ => shape(value),
    }
}

#[test]
fn the_shapes_of_json_output_are_fixed() {
    let api = Api::start(paged(vec![json!({"id": 1, "at": "2026-01-01T00:00:00Z"})], 10));
    let more = "incremental = { param = \"since\", field = \"at\" }\n";
    let project = Project::new(&manifest(&api.url, more));
    let mut shapes = serde_json::Map::new();
    shapes.insert("run".into(), shape(&project.run()));
    for args in [
        vec!["tables"],
        vec!["schema", "api_items"],
        vec!["runs"],
        vec!["state", "show"],
        vec!["plan"],
        vec!["check"],
        vec!["gc", "--dry-run"],
    ] {
        let mut all = args.clone();
        all.push("--json");
        shapes.insert(args.join(" "), shape(&project.hakiri(&all).expect(0).json()));
    }
    let sql = "select id from api_items";
    shapes.insert("query".into(), project.hakiri(&["query", "--json", sql]).expect(0).json());
    shapes.insert("compact".into(), shape(&project.hakiri(&["compact", "--json"]).expect(0).json()));
    let rewind = ["state", "rewind", "api.items", "2026-01-01T00:00:00Z", "--json"];
    shapes.insert("state rewind".into(), shape(&project.hakiri(&rewind).expect(0).json()));
    shapes.insert(
        "state reset".into(),
        shape(&project.hakiri(&["state", "reset", "api.items", "--yes", "--json"]).expect(0).json()),
    );
    shapes.insert("drop".into(), shape(&project.hakiri(&["drop", "api", "--yes", "--json"]).expect(0).json()));
    shapes.insert("an error".into(), shape(&project.hakiri(&["schema", "nope", "--json"]).expect(2).json()));
    let text = serde_json::to_string_pretty(&Value::Object(shapes)).unwrap().replace(&api.url, "<url>");
    insta::assert_snapshot!("json_shapes", text);
}

#[test]
fn nothing_but_data_is_on_stdout_and_no_bars_are_drawn_off_a_terminal() {
    let project = Project::new(MINIMAL);
    project.write("data/a.csv", "id\n1\n");
    let ran = project.hakiri(&["run"]).expect(0);
    assert_eq!(ran.stdout, "");
    assert!(!ran.stderr.contains('\u{1b}') && !ran.stderr.contains('\r'), "{:?}", ran.stderr);
    let ran = project.hakiri(&["query", "--format", "csv", "select id from f_t"]).expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("id\n1\n", ""));
}

#[test]
fn progress_is_drawn_on_a_terminal() {
    let api = Api::start(|request| {
        std::thread::sleep(Duration::from_millis(150));
        paged((0..20).map(|i| json!({"id": i})).collect(), 5)(request)
    });
    let project = Project::new(&manifest(&api.url, ""));
    // script(1) gives the command a pseudo-terminal.
    let mut command = std::process::Command::new("script");
    let line = format!("{} run", crate::support::binary().display());
    command.args(["-qec", &line, "/dev/null"]).current_dir(project.path()).env("TERM", "xterm").env_remove("NO_COLOR");
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("api \u{203a} ") && text.contains("rows"), "{text:?}");
    assert!(text.contains("\u{1b}[32mcommitted"), "{text:?}");
}

#[test]
fn artifact_the_demo_shows_what_it_says() {
    let project = Project::new("");
    let ran = project.hakiri(&["demo", "shown"]).expect(0);
    ran.says("1. making a project in shown")
        .says("the API answered 1 request with 6 of its 1,707 records")
        .says("try next:");
    let row = "AK    | 4K0  | Pedro Bay                    |     15 |      3.30 |       36.4 |       37";
    assert!(ran.stdout.contains(row), "{}", ran.stdout);
    project.hakiri(&["-C", "shown", "tables"]).expect(0);
    project.hakiri(&["demo", "shown"]).expect(2).says("HK0002");
    let json = project.hakiri(&["demo", "again", "--json"]).expect(0).json();
    assert_eq!(json["changed"].as_array().unwrap().len(), 6);
}

#[test]
fn a_closed_pipe_is_a_success() {
    let project = Project::new(MINIMAL);
    let rows: String = (0..50_000).map(|i| format!("{i}\n")).collect();
    project.write("data/a.csv", format!("id\n{rows}"));
    project.run();
    let script = "set -o pipefail; \"$0\" query --format csv 'select * from f_t' | head -n 1";
    let output = std::process::Command::new("bash")
        .args(["-c", script, crate::support::binary().to_str().unwrap()])
        .current_dir(project.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn ctrl_c_stops_cleanly_and_the_next_run_goes_on() {
    let api = Api::start(|request| {
        std::thread::sleep(Duration::from_millis(100));
        paged((0..200).map(|i| json!({"id": i})).collect(), 5)(request)
    });
    let more = "[pipeline.source.config.resources.quick]\npath = \"/quick\"\nrecords = \"data\"\nprimary_key = [\"id\"]\npaginate = { page = { param = \"page\" } }\nmax_requests = 100\n";
    let project = Project::new(&manifest(&api.url, more));
    let child = project.command(&["run"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while api.count() < 5 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed =
        std::process::Command::new("bash").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    let unfinished = project.hakiri(&["runs", "--json"]).expect(0).json();
    assert_eq!(unfinished["runs"][0]["status"], "running");

    let run = unfinished["runs"][0]["run"].clone();
    let resumed = project.run();
    assert_eq!(resumed["runs"][0]["run"], run, "the unfinished run is finished first");
    assert_eq!(project.number("select count(*) from api_items"), 200);
}

#[test]
fn secret_canaries_appear_in_no_file_and_no_output() {
    let canary = "canary-7f3a9c-do-not-print";
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = seen.clone();
    let api = Api::start(move |request| {
        if request.headers.get("authorization").is_some_and(|a| a.contains("canary-7f3a9c"))
            && request.query.get("key").is_some_and(|k| k.contains("canary"))
        {
            flag.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        if request.path == "/broken" {
            // An API that repeats what it was sent.
            return Response::text(
                400,
                "application/json",
                &json!({"message": format!("bad token {:?}", request.headers.get("authorization"))}).to_string(),
            );
        }
        let next = format!(
            "http://{}/items?page=2&key={}",
            request.headers["host"],
            request.query.get("key").cloned().unwrap_or_default()
        );
        let data = if request.query.contains_key("page") { vec![] } else { vec![json!({"id": 1})] };
        Response::json(&json!({"data": data, "next": if data.is_empty() { Value::Null } else { json!(next) }}))
    });
    let text = format!(
        "[[pipeline]]\nid = \"api\"\nsecrets = [\"TOKEN\"]\n[pipeline.source]\nconnector = \"http\"\n[pipeline.source.config]\nbase_url = \"{}\"\nallow_private = true\nauth = {{ bearer = \"${{TOKEN}}\" }}\nparams = {{ key = \"${{TOKEN}}\" }}\n\
         [pipeline.source.config.resources.items]\npath = \"/items\"\nrecords = \"data\"\nprimary_key = [\"id\"]\npaginate = {{ next_url = {{ path = \"next\" }} }}\n\
         [pipeline.source.config.resources.broken]\npath = \"/broken\"\nrecords = \"data\"\n",
        api.url
    );
    let project = Project::new(&text);
    let mut outputs = String::new();
    for args in [
        vec!["check"],
        vec!["check", "--connect"],
        vec!["plan"],
        vec!["plan", "--json"],
        vec!["run"],
        vec!["run", "--json"],
        vec!["runs", "--json"],
        vec!["state", "show"],
    ] {
        let output = project.command(&args).env("TOKEN", canary).output().unwrap();
        outputs.push_str(&String::from_utf8_lossy(&output.stdout));
        outputs.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    assert!(seen.load(std::sync::atomic::Ordering::SeqCst), "the secret was really sent:\n{outputs}");
    assert!(outputs.contains("HK0501"), "{outputs}");
    assert!(!outputs.contains(canary), "{outputs}");
    for file in files_below(project.path(), project.path()) {
        let bytes = std::fs::read(project.path().join(&file)).unwrap();
        assert!(!bytes.windows(canary.len()).any(|w| w == canary.as_bytes()), "{file} holds the secret");
    }
}

#[test]
fn a_secret_file_that_others_can_read_is_refused_and_a_missing_secret_is_named() {
    let project = Project::new(
        &manifest("http://127.0.0.1:9", "")
            .replace("[pipeline.source]", "secrets = [\"TOKEN\"]\n[pipeline.source]")
            .replace("allow_private = true", "allow_private = true\nauth = { bearer = \"${TOKEN}\" }"),
    );
    project.hakiri(&["run"]).expect(2).says("HK0112").says("TOKEN");
    project.write(".env", "TOKEN=x");
    project.hakiri(&["run"]).expect(2).says("HK0113").says("chmod 600");
}

#[test]
fn the_manifest_schema_is_json_schema() {
    let project = Project::new("");
    let schema = project.hakiri(&["schema", "--manifest"]).expect(0).json();
    assert!(schema["properties"]["pipeline"].is_object(), "{schema}");
    assert!(schema.to_string().contains("paginate"), "connectors' configs are part of it");
}

#[test]
fn environments_override_and_unknown_ones_are_named() {
    let project = Project::new(&format!(
        "{MINIMAL}\n[env.staging.context]\npath = \"elsewhere\"\n[env.staging.catalog]\npath = \"elsewhere/catalog.sqlite\"\n"
    ));
    project.write("data/a.csv", "id\n1\n");
    project.hakiri(&["run", "--env", "staging"]).expect(0);
    assert!(project.path().join("elsewhere/test/heads/f.json").exists());
    project.hakiri(&["run", "--env", "prod"]).expect(2).says("HK0111").says("staging");
}

#[test]
fn init_keeps_what_is_there() {
    let project = Project::new("");
    project.write("shop/data/orders.csv", "mine\n1\n");
    project.write("shop/.gitignore", "mine\n");
    let ran = project.hakiri(&["init", "shop"]).expect(0);
    ran.says("kept data/orders.csv").says("kept .gitignore");
    let text = |path: &str| std::fs::read_to_string(project.path().join(path)).unwrap();
    assert_eq!((text("shop/data/orders.csv").as_str(), text("shop/.gitignore").as_str()), ("mine\n1\n", "mine\n"));
    assert!(project.path().join("shop/hakiri.toml").exists());
}

#[test]
fn quiet_leaves_errors() {
    let project = Project::new(&MINIMAL.replace("primary_key = [\"id\"]", "primary_key = [\"nope\"]"));
    project.write("data/a.csv", "id\n1\n");
    let ran = project.hakiri(&["run", "-q"]).expect(1);
    ran.says("f_t").says("error[HK");
    project.write("data/a.csv", "nope\n1\n");
    assert_eq!(project.hakiri(&["run", "-q", "--full"]).expect(0).stderr, "");
    project.manifest(
        &MINIMAL.replace("[pipeline.table.t]", "[pipeline.table.t]\ntransform = \"select count(*) from input\""),
    );
    project.hakiri(&["check", "-q"]).expect(2).says("HK0805");
    project.manifest("[[pipeline]]\nid = \"f\"\n");
    project.hakiri(&["check", "-q"]).expect(2).says("HK01").says("hakiri.toml:");
}

#[test]
fn variables_and_threads_that_make_no_sense_are_refused_or_ignored() {
    use std::os::unix::ffi::OsStrExt as _;
    let project = Project::new(MINIMAL);
    project.write("data/a.csv", "id\n1\n");
    let bytes = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let run = |command: &mut std::process::Command| crate::support::Ran::from(command.output().unwrap());
    run(project.command(&["run"]).env("OTHERS", bytes).env("HAKIRI_X", bytes)).expect(0);
    project.manifest(&MINIMAL.replace("id = \"f\"", "id = \"f\"\nsecrets = [\"TOKEN\"]"));
    run(project.command(&["run"]).env("TOKEN", bytes)).expect(2).says("HK0112").says("UTF-8");
    for threads in ["0", "257", "x"] {
        project.hakiri(&["--threads", threads, "tables"]).expect(2);
    }
    project.hakiri(&["--threads", "256", "tables"]).expect(0);
}

#[test]
fn check_reads_the_manifest_only() {
    let project = Project::new(MINIMAL);
    project.write(".hakiri/catalog.sqlite", "this is no catalog");
    project.hakiri(&["check"]).expect(0);
    project.hakiri(&["tables"]).expect(1).says("HK0206");
}

#[test]
fn a_secret_that_an_answer_repeats_in_another_form_is_not_shown() {
    let canary = "can/ary 7f3a+9c=\"x";
    let forms = ["can%2Fary", "can%2fary", "can/ary", "Y2FuL2FyeSA3", "7f3a"];
    let api = Api::start(move |request| {
        let key = request.query.get("key").cloned().unwrap_or_default();
        let form: String = key.bytes().map(|b| format!("%{b:02x}")).collect();
        let said = format!("no {form}, {key}, {}, Y2FuL2FyeSA3ZjNhKzljPSJ4, can%2Fary%207f3a+9c=%22x", json!(key));
        let body = json!({ "message": said });
        Response::text(400, "application/json", &body.to_string())
    });
    let text = manifest(&api.url, "")
        .replace("[pipeline.source]", "secrets = [\"TOKEN\"]\n[pipeline.source]")
        .replace("allow_private = true", "allow_private = true\nparams = { key = \"${TOKEN}\" }");
    let project = Project::new(&text);
    for args in [["run", "--json"], ["check", "--connect"], ["runs", "--json"]] {
        let output = project.command(&args).env("TOKEN", canary).output().unwrap();
        let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(all.contains("[secret]"), "{args:?}: {all}");
        for form in forms {
            assert!(!all.contains(form), "{form} in {args:?}: {all}");
        }
    }
}
