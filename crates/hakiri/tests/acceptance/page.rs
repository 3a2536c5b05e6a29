//! The status page of the real `hakiri serve` in headless Chromium: in light and dark, wide and on a phone, with names and
//! messages that hold markup; and what programs read of it. `browser.py` looks, this judges.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::api::{Api, Response};
use crate::support::server::{Server, request, wait_for};
use crate::support::{Project, python};

const BROWSER: &str = include_str!("browser.py");
const TOKEN: &str = "correct horse battery staple";

/// Markup as the name of a file, of a table and as a version.
const HOSTILE_FILE: &str = "data/<img src=x onerror=alert(1)>.jsonl";

fn manifest(url: &str) -> String {
    format!(
        r#"
[[pipeline]]
id = "good"
schedule = "0 0 1 1 *"
[pipeline.source]
connector = "file"
[pipeline.source.config.tables.orders]
path = "data/orders.csv"
[pipeline.source.config.tables."<b onclick=alert(2)>bold</b>"]
path = "data/orders.csv"

[[pipeline]]
id = "bad"
source = {{ connector = "file", config = {{ path = "{HOSTILE_FILE}" }} }}

[[pipeline]]
id = "half"
[pipeline.source]
connector = "file"
[pipeline.source.config.tables.fine]
path = "data/orders.csv"
[pipeline.source.config.tables.broken]
path = "{HOSTILE_FILE}"

[[pipeline]]
id = "missing"
schedule = "every 1h"
source = {{ connector = "file", config = {{ path = "data/<script>alert(3)</script>*.csv" }} }}

[[pipeline]]
id = "a-pipeline-whose-name-is-as-long-as-the-rule-for-names-allows-i"
source = {{ connector = "file", config = {{ path = "data/orders.csv" }} }}

[[pipeline]]
id = "on-hold"
schedule = "every 1h"
source = {{ connector = "file", config = {{ path = "data/orders.csv" }} }}

[[pipeline]]
id = "slow"
schedule = "every 1h"
[pipeline.source]
connector = "http"
[pipeline.source.config]
base_url = "{url}"
allow_private = true
[pipeline.source.config.resources.items]
path = "/items"
records = "data"
"#
    )
}

/// A project with pipelines in every state, and 60 runs of one of them.
fn project(url: &str) -> Project {
    let project = Project::new("");
    project.write("hakiri.toml", format!("[project]\nname = \"test\"\nversion = \"<i>1</i>\"\n{}", manifest(url)));
    project.write("data/orders.csv", "id,name\n1,a\n2,b\n");
    project.write(HOSTILE_FILE, "\"<script>alert(4)</script>\"\n");
    for n in 0..60 {
        let tick = format!("2026-01-{:02}T{:02}:00:00Z", 1 + n / 24, n % 24);
        project.hakiri(&["run", "good", "--quiet", "--tick", &tick]).expect(0);
    }
    for n in 0..3 {
        let tick = format!("2026-01-0{}T00:00:00Z", 1 + n);
        project.hakiri(&["run", "bad", "--quiet", "--tick", &tick]).expect(1);
    }
    project.hakiri(&["run", "half", "--quiet"]).expect(3);
    project.hakiri(&["run", "on-hold", "--quiet"]).expect(0);
    project.hakiri(&["pause", "on-hold"]).expect(0);
    project
}

fn state(server: &Server, pipeline: &str) -> String {
    let status: Value = serde_json::from_str(&server.get("/status.json").1).unwrap_or_default();
    let pipelines = status["pipelines"].as_array().cloned().unwrap_or_default();
    let found = pipelines.iter().find(|p| p["id"] == pipeline);
    found.and_then(|p| p["state"].as_str()).unwrap_or_default().to_owned()
}

/// A source that answers nothing until the test ends, so that its pipeline is running.
fn stuck() -> Api {
    Api::start(|_| {
        std::thread::sleep(Duration::from_secs(240));
        Response::text(503, "text/plain", "")
    })
}

#[test]
fn the_page_is_sound_in_light_and_dark_wide_and_on_a_phone() {
    let api = stuck();
    let project = project(&api.url);
    let server = Server::start(&project, &["--grace", "1s"]);
    wait_for("a running and a failing pipeline", Duration::from_secs(60), || {
        (state(&server, "slow") == "running" && state(&server, "missing") == "failed").then_some(())
    });

    let own = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("HAKIRI_TEST_SHOTS").map_or_else(|| own.path().to_owned(), PathBuf::from);
    let printed = python(BROWSER, &[&format!("http://{}", server.address), folder.to_str().unwrap()]);
    let found: Value = serde_json::from_str(&printed).unwrap();
    let pages = found["pages"].as_array().unwrap();
    let links = found["links"].as_u64().unwrap();
    assert!(links > 100, "only {links} links were followed");
    for scheme in ["light", "dark"] {
        for width in [1280, 390] {
            let seen = pages.iter().filter(|p| p["scheme"] == scheme && p["asked"] == width);
            let kinds: std::collections::BTreeSet<&str> = seen.filter_map(|p| p["kind"].as_str()).collect();
            for kind in ["/", "/pipelines/good", "/pipelines/bad", "/runs/half", "/errors", "/errors/code"] {
                assert!(kinds.contains(kind), "{kind} in {scheme} at {width} is not among {kinds:?}");
            }
        }
    }
    for page in pages {
        let place = format!("{} in {} at {}", page["url"], page["scheme"], page["asked"]);
        assert_eq!(page["width"], page["asked"], "{place}");
        assert_eq!(page["dark"], page["scheme"] == "dark", "{place}: the scheme is not in force");
        assert!(page["scroll"].as_u64() <= page["width"].as_u64(), "{place} scrolls sideways: {}", page["scroll"]);
        assert_eq!(page["wide"].as_array().map(Vec::len), Some(0), "{place} is cut off: {}", page["wide"]);
        assert_eq!(page["low"].as_array().map(Vec::len), Some(0), "{place} has too little contrast: {}", page["low"]);
        assert!(page["texts"].as_u64() > Some(5), "{place} is empty");
        assert_eq!(page["active"], 0, "{place} has elements that could run or load something");
        assert_eq!((page["unnamed"].as_u64(), page["untimed"].as_u64()), (Some(0), Some(0)), "{place}");
        assert_eq!(page["lang"], "en", "{place}");
        assert_eq!(page["landmarks"].as_array().map(Vec::len), Some(4), "{place}: {}", page["landmarks"]);
        assert!(page["headings"].as_array().is_some_and(|h| !h.is_empty()), "{place}");
    }
    let text = |url: &str| {
        let page = pages.iter().find(|p| p["url"] == url && p["asked"] == 390);
        page.and_then(|p| p["text"].as_str()).unwrap_or_else(|| panic!("{url}")).to_owned()
    };
    let index = text("/");
    for expected in [
        "3 of 7 pipelines need attention",
        "<i>1</i>",
        "HK0605",
        HOSTILE_FILE,
        "HK0601",
        "What to do:",
        "1 running",
        "1 paused",
        "1 never ran",
    ] {
        assert!(index.contains(expected), "`{expected}` is not visible in\n{index}");
    }
    let good = text("/pipelines/good");
    assert!(good.contains("<b onclick=alert(2)>bold</b>") && good.contains("Older"), "{good}");
}

#[test]
fn a_browser_gets_in_with_the_token_and_a_session_that_scripts_cannot_read() {
    let project = Project::new("");
    let server = Server::start_with(&project, &[], |command| {
        command.env("HAKIRI_TOKEN", TOKEN);
    });
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}", server.address);
    let found: Value = serde_json::from_str(&python(BROWSER, &[&url, folder.path().to_str().unwrap(), TOKEN])).unwrap();
    let login = &found["login"];
    assert!(
        login["before"].as_str().unwrap().contains("Token") && !login["before"].as_str().unwrap().contains("pipeline")
    );
    assert!(login["after"].as_str().unwrap().contains("Add the first pipeline"), "{login}");
    let cookie = serde_json::json!([{"name": "hakiri_session", "httpOnly": true, "sameSite": "Strict"}]);
    assert_eq!(login["cookies"], cookie);
    let (status, _, body) = request(&server.address, "GET", "/status.json", &[]);
    assert!(status == 401 && !body.contains("project"), "{body}");
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(request(&server.address, "GET", "/status.json", &[("authorization", &bearer)]).0, 200);
    assert!(!server.log().contains(TOKEN));
}

#[test]
fn an_address_that_others_reach_is_refused_without_a_token() {
    let project = Project::new("");
    let mut command = project.command(&["serve", "--listen", "0.0.0.0:0"]);
    let ran: crate::support::Ran = command.env_remove("HAKIRI_TOKEN").output().unwrap().into();
    ran.expect(2).says("HK1110").says("HAKIRI_TOKEN");
    let mut command = project.command(&["serve", "--listen", "0.0.0.0:0"]);
    let ran: crate::support::Ran = command.env("HAKIRI_TOKEN", "short").output().unwrap().into();
    ran.expect(2).says("HK1111");
}

#[test]
fn a_probe_needs_neither_project_nor_token() {
    let project = Project::new("");
    let server = Server::start_with(&project, &[], |command| {
        command.env("HAKIRI_TOKEN", TOKEN);
    });
    let elsewhere = tempfile::tempdir().unwrap();
    let probe = |address: &str| -> crate::support::Ran {
        let mut command = project.command(&["status", "--probe", address]);
        command.current_dir(elsewhere.path()).output().unwrap().into()
    };
    probe(&server.address).expect(0);
    let address = server.address.clone();
    server.terminate(Duration::from_secs(30));
    probe(&address).expect(1).says("HK1113");
}

#[test]
fn status_says_what_is_wrong_and_its_exit_code_does_too() {
    let project = Project::new(&format!(
        "[[pipeline]]\nid = \"good\"\nsource = {{ connector = \"file\", config = {{ path = \"good.csv\" }} }}\n[[pipeline]]\nid = \"bad\"\nsource = {{ connector = \"file\", config = {{ path = \"{HOSTILE_FILE}\" }} }}\n"
    ));
    project.write("good.csv", "id\n1\n");
    project.write(HOSTILE_FILE, "[1]\n");
    let ran = project.hakiri(&["status", "--exit-code"]).expect(0);
    assert_eq!(ran.stdout.matches("never ran").count(), 2, "{}", ran.stdout);
    project.hakiri(&["run"]).expect(3);
    let ran = project.hakiri(&["status", "--exit-code"]).expect(1);
    assert!(ran.stdout.contains("HK0605") && ran.stdout.contains("help: "), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "no colours where nobody sees them");
    project.hakiri(&["status", "good", "--exit-code"]).expect(0);
    project.hakiri(&["status", "nope"]).expect(2).says("HK0906");
    let json = project.hakiri(&["status", "--json"]).expect(0).json();
    assert_eq!(
        (json["pipelines"][0]["state"].as_str(), json["pipelines"][1]["state"].as_str()),
        (Some("idle"), Some("failed"))
    );
}

#[test]
fn logs_name_the_run_and_the_code_and_never_a_secret() {
    const SECRET: &str = "s3cr3t-c4n4ry-v4lue";
    let api = Api::start(|request| {
        Response::text(400, "text/plain", &format!("who is {}", request.headers["authorization"]))
    });
    let project = Project::new(&format!(
        "[[pipeline]]\nid = \"api\"\nsecrets = [\"CANARY\"]\n[pipeline.source]\nconnector = \"http\"\n[pipeline.source.config]\nbase_url = \"{}\"\nallow_private = true\nauth = {{ bearer = \"${{CANARY}}\" }}\n[pipeline.source.config.resources.items]\npath = \"/items\"\nrecords = \"data\"\n",
        api.url
    ));
    let ran: crate::support::Ran = project
        .command(&["run", "--log-format", "json"])
        .env("CANARY", SECRET)
        .env("HAKIRI_LOG", "trace")
        .output()
        .unwrap()
        .into();
    let ran = ran.expect(1);
    assert!(ran.stderr.contains("\"message\":\"run started\""), "{}", ran.stderr);
    let logged = project.hakiri(&["logs", "--json", "--limit", "100000"]).expect(0).stdout;
    assert!(!logged.contains(SECRET) && !ran.stderr.contains(SECRET));
    let lines: Vec<Value> = logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed = lines.iter().find(|l| l["code"] == "HK0501" && l["level"] == "error").unwrap();
    assert_eq!(failed["pipeline"], "api");
    let run = failed["run"].as_str().unwrap();
    let of_run = project.hakiri(&["logs", "--run", run, "--level", "info", "--json"]).expect(0).stdout;
    assert!(of_run.lines().count() >= 4 && of_run.contains("run failed"), "{of_run}");
    assert!(project.hakiri(&["logs", "other"]).expect(0).stdout.is_empty());
    project.hakiri(&["logs", "--run", "nonsense"]).expect(2);
    let quiet = project.command(&["run"]).env("CANARY", SECRET).output().unwrap();
    assert!(
        !String::from_utf8_lossy(&quiet.stderr).contains("run started"),
        "what is printed is not logged to stderr as well"
    );
}

#[test]
fn runs_are_followed_until_the_user_ends_it() {
    use std::io::{BufRead as _, BufReader};
    let project =
        Project::new("[[pipeline]]\nid = \"p\"\nsource = { connector = \"file\", config = { path = \"p.csv\" } }\n");
    project.write("p.csv", "id\n1\n");
    let mut child =
        project.command(&["runs", "--follow", "--json"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for rows in ["id\n1\n", "id\n1\n2\n"] {
        project.write("p.csv", rows);
        project.run();
        let report: Value = loop {
            let report: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if report["status"] == "succeeded" {
                break report;
            }
        };
        assert_eq!(report["pipeline"], "p");
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
