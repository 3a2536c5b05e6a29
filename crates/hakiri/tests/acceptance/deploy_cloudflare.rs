//! `hakiri deploy cloudflare` and `hakiri destroy cloudflare`: the folder, what is refused, what is said before, and the
//! commands that are run, with programs that stand in for `npm`, `wrangler` and `docker`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use self::apply::Tools;
use crate::support::shop::{self, SHOP};
use crate::support::{Project, Ran, contents, text};

mod apply;

const DIR: &str = "deploy/cloudflare";

/// With a schedule for the pipeline that has none, which reads this database.
fn by_the_hour(url: &str) -> String {
    shop::by_the_hour(SHOP, url)
}

/// The configuration of wrangler, without its comments.
fn configuration(project: &Project, dir: &str) -> Value {
    let text = text(project, &format!("{dir}/wrangler.jsonc"));
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
    serde_json::from_str(&lines.join("\n")).unwrap()
}

/// The image's command.
fn entrypoint(project: &Project, dir: &str) -> Vec<String> {
    let docker = text(project, &format!("{dir}/Dockerfile"));
    let line = docker.lines().find_map(|l| l.strip_prefix("ENTRYPOINT ")).unwrap();
    serde_json::from_str(line).unwrap()
}

#[test]
fn the_folder_is_the_same_bytes_wherever_the_project_lies_and_says_what_made_it() {
    let (one, two) = (Project::new(SHOP), Project::new(SHOP));
    for project in [&one, &two] {
        project.hakiri(&["deploy", "cloudflare"]).expect(0).says("Topology 3").says("npx wrangler deploy");
    }
    let first = contents(&one.path().join(DIR));
    assert_eq!(first, contents(&two.path().join(DIR)));
    let again = one.hakiri(&["deploy", "cloudflare", "--json"]).expect(0).json();
    assert!(again["files"].as_array().unwrap().iter().all(|f| f["change"] == "same"), "{again}");
    for (path, bytes) in first.iter().filter(|(p, _)| !p.starts_with("project/") && *p != ".hakiri-deploy.lock") {
        let head: Vec<String> = String::from_utf8_lossy(bytes).lines().take(2).map(str::to_owned).collect();
        assert!(head.join(" ").contains("enerated by `hakiri deploy cloudflare`, format 1"), "{path}: {head:?}");
    }
    for path in ["README.md", "wrangler.jsonc", "package.json", "Dockerfile", ".dockerignore", "secrets.example"] {
        assert!(first.contains_key(path), "{path}");
    }
    assert_eq!(text(&one, "deploy/cloudflare/project/hakiri.toml"), text(&one, "hakiri.toml"));

    // An edit by hand is noticed.
    one.write("deploy/cloudflare/src/index.ts", "export default {};\n");
    one.hakiri(&["deploy", "cloudflare"]).expect(2).says("HK1203").says("src/index.ts");
    one.hakiri(&["deploy", "cloudflare", "--force"]).expect(0).says("overwrote src/index.ts");
    assert_eq!(contents(&one.path().join(DIR)), first);
}

#[test]
fn the_deployment_has_a_store_and_a_catalog_of_its_own() {
    let project = Project::new(SHOP);
    project.hakiri(&["deploy", "cloudflare"]).expect(0);
    let expected = "/hakiri -C /project --log-format json --memory 512MiB worker --grace 8s --listen 0.0.0.0:8080 --catalog http://catalog.hakiri \
                    --store s3://hakiri-test";
    assert_eq!(entrypoint(&project, DIR).join(" "), expected);
    let ts = text(&project, "deploy/cloudflare/src/project.ts");
    assert!(ts.contains("PIPELINES: readonly string[] = [\"api\"];"), "{ts}");
    assert!(
        ts.contains(
            "SECRETS: Readonly<Record<string, readonly string[]>> = \
             {\"api\":[\"API_TOKEN\",\"HAKIRI_STAGE\",\"HOOK\",\"HAKIRI_NOTIFY_SECRET\"]};"
        ),
        "{ts}"
    );
    let build = |ts: &str| ts.lines().find(|l| l.contains("BUILD")).unwrap().to_owned();
    project.manifest(&format!("{SHOP}\n# changed\n"));
    project.hakiri(&["deploy", "cloudflare"]).expect(0);
    assert_ne!(
        build(&ts),
        build(&text(&project, "deploy/cloudflare/src/project.ts")),
        "another manifest, another build"
    );
}

#[test]
fn each_container_is_given_its_own_secrets_and_those_of_the_webhook() {
    let project = Project::new(&by_the_hour("${SHOP_DATABASE}"));
    let deployed = project.hakiri(&["deploy", "cloudflare"]).expect(0);
    assert!(!deployed.stderr.contains("Without a schedule"), "{}", deployed.stderr);
    let ts = text(&project, "deploy/cloudflare/src/project.ts");
    let line = ts.lines().find_map(|l| l.split_once("SECRETS: ")?.1.split_once(" = ")).unwrap().1;
    let secrets: BTreeMap<String, Vec<String>> = serde_json::from_str(line.trim_end_matches(';')).unwrap();
    let webhook = ["HOOK", "HAKIRI_NOTIFY_SECRET"];
    let expected = [("api", vec!["API_TOKEN", "HAKIRI_STAGE"]), ("by-hand", vec!["SHOP_DATABASE"])];
    for (pipeline, names) in expected {
        assert_eq!(secrets[pipeline], [names, webhook.to_vec()].concat(), "{pipeline}");
    }
    assert_eq!(secrets.len(), 2, "{secrets:?}");
    assert!(text(&project, "deploy/cloudflare/secrets.example").contains("\nSHOP_DATABASE="));
}

#[test]
fn a_pipeline_that_never_runs_there_is_not_in_the_way_and_is_said() {
    let inbox =
        "[[pipeline]]\nid = \"f\"\nsource = { connector = \"file\", config = { path = \"s3://inbox/a.csv\" } }\n";
    let manifest = SHOP.replace("${SHOP_DATABASE}", "postgres://u:${SHOP_DATABASE}@localhost/x?sslrootcert=ca.pem");
    let project =
        Project::new(&format!("{manifest}\n{}\n{inbox}", inbox.replace("s3://inbox/", "").replace("\"f\"", "\"g\"")));
    for args in [&["deploy", "cloudflare", "--plan"][..], &["deploy", "cloudflare"]] {
        project.hakiri(args).expect(0).says("Without a schedule, and so never run there: by-hand, g, f");
    }
    let readme = text(&project, "deploy/cloudflare/README.md");
    assert!(
        readme.contains("- Without a schedule, and so never run there: by-hand, g, f.\n- What it does"),
        "{readme}"
    );
    for path in ["README.md", "secrets.example", "src/project.ts"] {
        let text = text(&project, &format!("{DIR}/{path}"));
        assert!(!text.contains("SHOP_DATABASE") && !text.contains("inbox"), "{path}:\n{text}");
    }
}

#[test]
fn an_environment_has_names_and_a_place_of_its_own() {
    let project =
        Project::new(&format!("[deploy.cloudflare]\nbucket = \"lake\"\ninstance_type = \"standard-1\"\n{SHOP}"));
    project.hakiri(&["deploy", "cloudflare"]).expect(0);
    project.hakiri(&["deploy", "cloudflare", "--env", "staging"]).expect(0);
    let staging = configuration(&project, "deploy/cloudflare-staging");
    let name = staging["name"].as_str().unwrap();
    assert!(name.ends_with("-staging") && name != "hakiri-test-staging", "{name}");
    assert_eq!(staging["workflows"][0]["name"], format!("{name}-run"));
    assert_eq!(staging["containers"][0]["name"], format!("{name}-runner"));
    let command = entrypoint(&project, "deploy/cloudflare-staging").join(" ");
    assert!(command.contains(" --env staging --log-format json --memory 2048MiB worker "), "{command}");
    // Both name one bucket; they may not name one place in it.
    assert!(command.ends_with(&format!(" --store s3://lake/{name}")), "{command}");
    assert!(entrypoint(&project, DIR).join(" ").ends_with(" --store s3://lake"));
}

#[test]
fn what_the_platform_cannot_do_is_refused_before_anything_is_written() {
    let with = |replace: &str, by: &str| SHOP.replace(replace, by);
    for (manifest, says) in [
        (with("every 15m", "every 30s"), "more often than once a minute"),
        (with("schedule = \"every 15m\"", ""), "no pipeline has a schedule"),
        (with("https://api.example.com/${HAKIRI_STAGE}", "http://10.0.0.7/"), "names 10.0.0.7"),
        (by_the_hour("postgres://u:${SHOP_DATABASE}@db.prod.internal/x"), "names db.prod.internal"),
        (by_the_hour("postgres://u:${SHOP_DATABASE}@localhost/x"), "names localhost"),
        (
            by_the_hour("postgres://u:${SHOP_DATABASE}@db.example.com/x?sslmode=verify-full&sslrootcert=ca.pem"),
            "sslrootcert of the pipeline by-hand names a file",
        ),
        (with("${HOOK}", "http://hooks.local/x"), "[notify] webhook names hooks.local"),
        (with("API_TOKEN", "HAKIRI_TOKEN"), "HAKIRI_TOKEN of a secret is taken"),
        (format!("[deploy.cloudflare]\nmemory = \"2GiB\"\n{SHOP}"), "the size basic has 1 GiB"),
        (format!("[deploy.cloudflare]\nmemory = \"2GiB\"\n{SHOP}"), "set instance_type to standard-1"),
        (format!("[deploy.cloudflare]\nmemory = \"16GiB\"\n{SHOP}"), "set memory to 12GiB at most"),
        (
            format!(
                "{SHOP}\n[[pipeline]]\nid = \"f\"\nschedule = \"every 1h\"\nsource = {{ connector = \"file\", config = {{ path = \"a.csv\" }} }}\n"
            ),
            "does not support local files as a source",
        ),
    ] {
        let project = Project::new(&manifest);
        let refused = project.hakiri(&["deploy", "cloudflare"]).expect(2);
        refused.says("HK1202").says(says).says("help:");
        assert!(!project.path().join("deploy").exists(), "{manifest}");
    }
}

#[test]
fn files_in_a_bucket_are_read_and_the_token_is_said_to_need_it() {
    let files = |path: &str| {
        format!(
            "{SHOP}\n[[pipeline]]\nid = \"f\"\nschedule = \"every 1h\"\nsource = {{ connector = \"file\", config = {{ path = \"{path}\" }} }}\n"
        )
    };
    let project = Project::new(&files("s3://acme-inbox/sales/*.csv"));
    project.hakiri(&["deploy", "cloudflare"]).expect(0);
    for path in ["deploy/cloudflare/README.md", "deploy/cloudflare/secrets.example"] {
        let text = text(&project, path);
        assert!(text.contains("objects of the bucket hakiri-test, and read acme-inbox of this account"), "{text}");
    }
}

#[test]
fn no_value_of_a_secret_and_nothing_of_this_machine_is_in_the_folder() {
    let project = Project::new(SHOP);
    let here = project.path().to_string_lossy().into_owned();
    let names = ["API_TOKEN", "DATABASE_PASSWORD", "HOOK", "HAKIRI_STAGE", "SHOP_DATABASE", "HAKIRI_NOTIFY_SECRET"];
    let others = ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_ENDPOINT", "CLOUDFLARE_ACCOUNT_ID", "USER"];
    for args in [&["deploy", "cloudflare", "--plan", "--json"][..], &["deploy", "cloudflare", "--json"]] {
        let mut command = project.command(args);
        command.env("HOME", "/home/canary-home");
        names.iter().chain(&others).for_each(|name| {
            command.env(name, format!("canary-{}", name.to_lowercase()));
        });
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut all = contents(&project.path().join(DIR));
        all.insert("stdout".to_owned(), output.stdout);
        all.insert("stderr".to_owned(), output.stderr);
        for (path, bytes) in &all {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains("canary") && !text.contains(&here), "{path}:\n{text}");
        }
    }
    let example = text(&project, "deploy/cloudflare/secrets.example");
    for line in ["R2_ACCESS_KEY_ID=", "R2_ENDPOINT=", "API_TOKEN=", "HOOK=", "# HAKIRI_CATALOG_TOKEN="] {
        assert_eq!(example.lines().filter(|l| *l == line).count(), 1, "{line} in\n{example}");
    }
    assert!(!example.contains("DATABASE_PASSWORD"), "the manifest's catalog is not used there:\n{example}");
}

#[test]
fn a_plan_lists_what_is_created_and_what_it_costs() {
    let project = Project::new(SHOP);
    let plan = project.hakiri(&["deploy", "cloudflare", "--plan", "--json"]).expect(0);
    plan.says("+ Worker hakiri-test: ").says("+ Durable Object Catalog as CATALOG: 10 GB");
    plan.says("+ container hakiri-test-runner: basic: 0.25 vCPU, 1 GiB, 4 GB of disk; 1 at most");
    plan.says("about 5.00 USD a month for 2,920 ticks").says("check yours").says("assumed: a tick is");
    let plan = plan.json();
    let kinds: BTreeSet<&str> =
        plan["resources"].as_array().unwrap().iter().map(|r| r["kind"].as_str().unwrap()).collect();
    for kind in ["Worker", "cron trigger", "Durable Object", "Workflow", "container", "R2 bucket", "secret"] {
        assert!(kinds.contains(kind), "{kind} in {kinds:?}");
    }
    assert!(plan["cost"]["prices_as_of"].as_str().unwrap().starts_with("20"), "{plan}");
    assert!(!project.path().join("deploy").exists());

    // Once a minute in the largest size is no longer free, by memory most of all.
    project.manifest(&format!("[deploy.cloudflare]\ninstance_type = \"standard-4\"\n{}", SHOP.replace("15m", "1m")));
    let plan = project.hakiri(&["deploy", "cloudflare", "--plan", "--json"]).expect(0).json();
    let items = plan["cost"]["items"].as_array().unwrap();
    let memory = items.iter().find(|i| i["what"] == "container memory").unwrap();
    let seconds = memory["quantity"].as_f64().unwrap();
    assert!((seconds - 43_800.0 * 5.0 * 12.0).abs() < 1.0, "a tick a minute, five seconds awake, 12 GiB: {memory}");
    let amount = (seconds - 90_000.0) * 0.000_002_5;
    assert!((memory["amount"].as_f64().unwrap() - amount).abs() < 1e-6 && amount > 5.0, "{memory}");
    let total: f64 = items.iter().map(|i| i["amount"].as_f64().unwrap()).sum();
    assert!((plan["cost"]["total"].as_f64().unwrap() - total).abs() < 1e-6, "{plan}");

    // Servers of one's own: nothing is created for money.
    let plan = project.hakiri(&["deploy", "systemd", "--plan", "--json"]).expect(0).json();
    assert_eq!((&plan["resources"], &plan["cost"]), (&serde_json::json!([]), &Value::Null));
}

/// The folder with the packages that the generated project names.
fn packages() -> PathBuf {
    let node = std::env::var("HAKIRI_TEST_NODE").expect("HAKIRI_TEST_NODE is not set: run the tests with ./x test");
    let packages = PathBuf::from(node).join("node_modules");
    assert!(packages.join(".bin/wrangler").exists(), "{} has no wrangler: run ./x setup", packages.display());
    packages
}

#[test]
fn the_generated_project_type_checks_and_bundles_offline() {
    let packages = packages();
    for (manifest, args, dir) in [
        (SHOP.to_owned(), &["deploy", "cloudflare"][..], DIR),
        (
            format!("[deploy.cloudflare]\ninstance_type = \"lite\"\nbucket = \"lake\"\n{SHOP}"),
            &["deploy", "cloudflare", "--env", "staging"],
            "deploy/cloudflare-staging",
        ),
    ] {
        let project = Project::new(&manifest);
        project.hakiri(args).expect(0);
        // Also what `destroy` deploys, before the packages are there, which would be asked instead of the stand-ins.
        let destroy: Vec<&str> = ["destroy"].iter().chain(&args[1..]).chain(&["--yes", "--force"]).copied().collect();
        Tools::new(&["npm", "wrangler"]).hakiri(&project, &destroy, &[]).expect(0);
        let dir = project.path().join(dir);
        std::os::unix::fs::symlink(&packages, dir.join("node_modules")).unwrap();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", packages.join(".bin").display());
        let run = |line: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--net"]).args(line).current_dir(&dir).env("PATH", &path);
            command.env("XDG_CONFIG_HOME", project.path().join("xdg")).env("HOME", project.path());
            command.env("WRANGLER_SEND_METRICS", "false").env("CI", "1").env("NO_COLOR", "1");
            let ran = Ran::from(command.output().unwrap());
            assert_eq!(ran.code, 0, "{line:?}:\n{}{}", ran.stdout, ran.stderr);
            ran.stdout + &ran.stderr
        };
        run(&["tsc", "-p", "."]);
        for config in ["wrangler.jsonc", "wrangler.asleep.jsonc"] {
            let deploy = ["wrangler", "deploy", "--config", config, "--dry-run", "--containers-rollout=none"];
            let said = run(&[&deploy[..], &["--outdir", "out"]].concat());
            for expected in ["env.CATALOG", "env.RUNNER", "env.RUN ", "--dry-run: exiting now"] {
                assert!(said.contains(expected), "{expected} in\n{said}");
            }
            assert!(!said.contains("WARNING"), "wrangler has something to say:\n{said}");
        }
    }
}

#[test]
fn what_a_dry_run_misses_is_right_as_well() {
    let project = Project::new(SHOP);
    project.hakiri(&["deploy", "cloudflare"]).expect(0);
    let config = configuration(&project, DIR);
    let names = |value: &Value, key: &str| -> BTreeSet<String> {
        value.as_array().unwrap().iter().map(|v| v[key].as_str().unwrap().to_owned()).collect()
    };
    // Every class of a Durable Object is in exactly one migration, and its storage is SQLite's.
    let bound = names(&config["durable_objects"]["bindings"], "class_name");
    let migrated: Vec<String> = config["migrations"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|m| m["new_sqlite_classes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(migrated.iter().cloned().collect::<BTreeSet<_>>(), bound);
    assert_eq!(migrated.len(), bound.len(), "{migrated:?}");
    let contained = names(&config["containers"], "class_name");
    assert!(contained.is_subset(&bound), "{contained:?}");
    // Every class that is named is exported by the Worker.
    let index = text(&project, "deploy/cloudflare/src/index.ts");
    let exported: BTreeSet<String> = index
        .lines()
        .filter_map(|l| l.strip_prefix("export {")?.split_once('}'))
        .flat_map(|(names, _)| names.split(',').map(|n| n.trim().to_owned()))
        .collect();
    for class in bound.iter().chain(&names(&config["workflows"], "class_name")) {
        assert!(exported.contains(class), "{class} in {exported:?}");
    }
    // Five fields: seconds, which some systems take, are not among them, so that no trigger is under a minute.
    let crons = config["triggers"]["crons"].as_array().unwrap();
    assert_eq!(crons.len(), 1, "one trigger wakes all pipelines");
    for cron in crons {
        let fields: Vec<&str> = cron.as_str().unwrap().split(' ').collect();
        assert_eq!(fields.len(), 5, "{cron}");
        assert!(
            fields.iter().all(|f| f.chars().all(|c| c.is_ascii_digit() || "*/,-".contains(c)) && !f.is_empty()),
            "{cron}"
        );
    }
    // Names within what each part takes (G3), and no rows past the Worker.
    for name in [&config["name"], &config["workflows"][0]["name"], &config["containers"][0]["name"]] {
        assert!(name.as_str().unwrap().len() <= 63, "{name}");
    }
    assert!(config.get("r2_buckets").is_none());
}
