//! Manifests that are right, and what becomes of them.

use serde_json::{Value, json};

use super::*;

const SHOP: &str = r#"
[project]
name = "shop"
version = "0.1.0"

[context]
path = "s3://bucket/prefix"
endpoint = "https://s3.example.com"
region = "eu-central-1"
default_destination = "context"

[catalog]
path = "state/catalog.sqlite"

[[pipeline]]
id = "my-files"
source = { connector = "file", config = { path = "data/*.csv.gz", format = "csv", skip_lines = 2 } }
schedule = "every 15m"
incremental = "updated_at"
destination = { connector = "context" }

[pipeline.table.issues]
primary_key = ["id"]
lag = "5m"
mode = "merge"
types = { price = "decimal(18,2)" }
children = ["labels", "a.b"]

[pipeline.table.notes]
incremental = ""
name = "plain_notes"

[[pipeline]]
id = "api"
secrets = ["TOKEN"]
tables = ["orders"]
prefix = ""
catch_up = "latest"

[pipeline.source]
connector = "http"
[pipeline.source.config]
base_url = "https://api.example.com/${HAKIRI_STAGE}"
auth = { bearer = "${TOKEN}" }
headers = { since = 2026-01-31T12:00:00Z }
[pipeline.source.config.resources.orders]
path = "/orders"
page_size = 100
paginate = { cursor = { param = "after", next = "meta.next" } }
[pipeline.source.config.resources.more]
path = "/more"
paginate = "link_header"

[pipeline.table.orders]
settle = 100
mode = "append"

[env.staging]
context = { path = "staging" }
[env.staging.schedule]
my-files = ""
api = "0 6 * * mon-fri"

[[moved]]
from = "old"
to = "api"
[[moved]]
from = "api.old_orders"
to = "api.orders"
"#;

#[test]
fn a_whole_manifest_is_read() {
    let project = accept(&[("hakiri.toml", SHOP)], None);
    assert_eq!((project.name.as_str(), project.version.as_deref(), &project.env), ("shop", Some("0.1.0"), &None));
    assert_eq!(project.context.path.as_deref(), Some("s3://bucket/prefix"));
    assert_eq!(project.catalog.path.as_deref(), Some("state/catalog.sqlite"));
    assert_eq!(project.moved.len(), 2);
    let [files, api] = &project.pipelines[..] else { panic!("{project:?}") };
    assert_eq!(files.source.config, json!({"path": "data/*.csv.gz", "format": "csv", "skip_lines": 2}));
    assert_eq!(files.schedule().unwrap().unwrap().to_string(), "every 15m");
    assert_eq!((api.schedule().unwrap(), api.catch_up), (None, CatchUp::Latest));
    // Dates of TOML are text in a config, as they are written.
    assert_eq!(api.source.config["headers"]["since"], "2026-01-31T12:00:00Z");
    assert_eq!(api.source.config["auth"]["bearer"], "${TOKEN}");
}

#[test]
fn names_settings_and_selections_of_tables() {
    let project = accept(&[("hakiri.toml", SHOP)], None);
    let (files, api) = (project.pipeline("my-files").unwrap(), project.pipeline("api").unwrap());
    assert_eq!(files.stored_name("issues").unwrap().as_str(), "my_files_issues");
    assert_eq!(files.stored_name("not-in.manifest").unwrap().as_str(), "my_files_not_in_manifest");
    assert_eq!(files.stored_name("notes").unwrap().as_str(), "plain_notes");
    assert_eq!(api.stored_name("orders").unwrap().as_str(), "orders");
    // A pipeline's `incremental` is its tables' default; a table's own wins, "" too.
    assert_eq!(files.table_settings("issues").incremental.as_deref(), Some("updated_at"));
    assert_eq!(files.table_settings("other").incremental.as_deref(), Some("updated_at"));
    assert_eq!(files.table_settings("notes").incremental.as_deref(), Some(""));
    assert_eq!(api.table_settings("orders").settle, Some(Distance::Units(100)));
    assert!(files.selects("anything") && files.named_tables().is_none());
    assert!(api.selects("orders") && !api.selects("more"));
    assert_eq!(api.named_tables(), Some(&["orders".to_owned()][..]));
    let error = project.pipeline("apu").unwrap_err();
    assert_eq!((error.code(), error.hint()), (crate::codes::Code::NothingToDo, "did you mean `api`?"));
}

#[test]
fn all_tables_but_some() {
    let text = "[project]\nname = \"p\"\n[[pipeline]]\nid = \"a\"\ntables = [\"*\"]\nexclude = [\"x\"]\nsource = { connector = \"file\", config = { path = \"a\" } }";
    let project = accept(&[("hakiri.toml", text)], None);
    let pipeline = &project.pipelines[0];
    assert!(pipeline.selects("y") && !pipeline.selects("x") && pipeline.named_tables().is_none());
}

#[test]
fn an_environment_takes_the_place_of_what_it_names() {
    let project = accept(&[("hakiri.toml", SHOP)], Some("staging"));
    assert_eq!(project.env.as_deref(), Some("staging"));
    assert_eq!(project.context, ContextSpec { path: Some("staging".to_owned()), ..ContextSpec::default() });
    assert_eq!(project.catalog.path.as_deref(), Some("state/catalog.sqlite"));
    assert_eq!(
        project.pipelines.iter().map(|p| p.schedule.as_deref()).collect::<Vec<_>>(),
        [None, Some("0 6 * * mon-fri")]
    );
}

#[test]
fn files_are_merged_and_json_means_the_same_as_toml() {
    let root = ("hakiri.toml", "[project]\nname = \"p\"");
    let toml = (
        "pipelines/a.toml",
        "[[pipeline]]\nid = \"a\"\ntables = [\"t\"]\n[pipeline.source]\nconnector = \"file\"\nconfig.path = \"é\\u00e9\"\nconfig.skip_lines = 3",
    );
    let json = (
        "pipelines/a.json",
        "{\"pipeline\": [{\"id\": \"a\", \"schedule\": null, \"tables\": [\"t\"], \"source\":\r\n {\"connector\": \"file\", \"config\": {\"path\": \"\\u00e9é\", \"skip_lines\": 3}}}]}",
    );
    let (a, b) = (accept(&[root, toml], None), accept(&[root, json], None));
    assert_eq!(a, b);
    assert_eq!(a.pipelines[0].source.config["path"], "éé");
    assert_eq!(accept(&[root, ("pipelines/empty.toml", ""), toml], None), a);
    // As some editors save them: with a byte order mark and Windows' line ends.
    let marked: Vec<(&str, String)> =
        [root, toml].into_iter().map(|(n, t)| (n, format!("\u{feff}{}", t.replace('\n', "\r\n")))).collect();
    let marked: Vec<(&str, &str)> = marked.iter().map(|(n, t)| (*n, t.as_str())).collect();
    assert_eq!(accept(&marked, None), a);
}

#[test]
fn integers_stay_exact() {
    for (name, text) in [
        (
            "p/a.json",
            "{\"project\": {\"name\": \"p\"}, \"pipeline\": [{\"id\": \"a\", \"source\": {\"connector\": \"any\", \"config\": {\"n\": 9007199254740993, \"m\": 18446744073709551615}}}]}",
        ),
        (
            "p/a.toml",
            "project.name = \"p\"\n[[pipeline]]\nid = \"a\"\nsource = { connector = \"any\", config = { n = 9007199254740993, m = 9223372036854775807 } }",
        ),
    ] {
        let any = [ConnectorInfo { name: "any", about: "anything", config_schema: json!({}) }];
        let project = parse(&texts(&[(name, text)]), None, &any).unwrap();
        let config = &project.pipelines[0].source.config;
        assert_eq!(config["n"], json!(9_007_199_254_740_993_i64));
        assert!(config["m"].as_u64().unwrap() >= 9_223_372_036_854_775_807);
    }
}

#[test]
fn the_json_schema_covers_the_connectors() {
    let schema = json_schema(&connectors());
    let source = &schema["$defs"]["SourceSpec"]["oneOf"];
    assert_eq!(source[0]["properties"]["connector"]["const"], "file");
    assert_eq!(source[0]["required"], json!(["connector", "config"]));
    // Definitions of connectors have names of their own, and every reference leads somewhere.
    assert!(schema["$defs"]["http.Resource"].is_object(), "{schema:#}");
    fn references(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(k, v)| match v.as_str() {
                Some(target) if k == "$ref" => out.push(target.to_owned()),
                _ => references(v, out),
            }),
            Value::Array(items) => items.iter().for_each(|v| references(v, out)),
            _ => {}
        }
    }
    let mut targets = Vec::new();
    references(&schema, &mut targets);
    assert!(targets.len() > 10);
    for target in targets {
        assert!(schema.pointer(&target[1..]).is_some(), "{target}");
    }
    // What it describes is what `parse` accepts.
    let tree = super::super::read_toml::read(SHOP).unwrap();
    let problems = super::super::validate::Validator::new(&schema, 0, &[]).check(&tree, "the manifest");
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn an_environment_replaces_the_table_of_a_target_as_a_whole() {
    let text = "[project]\nname = \"shop\"\n[deploy.systemd]\nuser = \"a\"\nmemory = \"2GiB\"\n[deploy.compose]\nreplicas = 3\n\
                [env.staging.deploy.systemd]\nuser = \"b\"\n";
    let files = [ManifestText::new("hakiri.toml", text)];
    let staging = parse(&files, Some("staging"), &[]).unwrap().deploy;
    let systemd = staging.systemd.unwrap();
    assert_eq!((systemd.user.as_deref(), systemd.memory), (Some("b"), None));
    assert_eq!(staging.compose.unwrap().replicas, Some(3));
    assert_eq!(parse(&files, None, &[]).unwrap().deploy.systemd.unwrap().user.as_deref(), Some("a"));
}
