//! What `--apply` and `destroy` run, refuse and remember.

use std::os::unix::fs::PermissionsExt as _;

use super::{DIR, SHOP, contents, text};
use crate::support::{Project, Ran};

/// Programs that write down how they are called, and fail where a file says so.
pub(super) struct Tools {
    dir: tempfile::TempDir,
}

impl Tools {
    pub(super) fn new(names: &[&str]) -> Self {
        let tools = Self { dir: tempfile::tempdir().unwrap() };
        for name in names {
            let script = format!(
                r#"#!/bin/sh
here={here}
printf '%s\n' "{name} $*" >>"$here/log"
case "$*" in "secret put "*) printf '%s=' "$3" >>"$here/secrets"
    while read -r value || [ -n "$value" ]; do printf '%s\n' "$value" >>"$here/secrets"; echo "given $value"; done;; esac
case "$*" in "r2 bucket create "*) [ -e "$here/there" ] && {{ echo "A bucket of this name already exists" >&2; exit 1; }};; esac
if [ -e "$here/broken" ] && read -r word <"$here/broken" && [ "$word" = "$1" ]; then
    echo "the platform said no" >&2
    exit 7
fi
exit 0
"#,
                here = tools.dir.path().display(),
            );
            let path = tools.dir.path().join(name);
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        tools
    }

    fn note(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn forget(&self, name: &str) {
        let _ = std::fs::remove_file(self.dir.path().join(name));
    }

    /// What was called since the last time.
    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        self.forget("log");
        text.lines().map(str::to_owned).collect()
    }

    /// Runs Hakiri with these programs alone on its path.
    pub(super) fn hakiri(&self, project: &Project, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = project.command(args);
        command.env("PATH", self.dir.path()).envs(env.iter().copied());
        command.output().unwrap().into()
    }
}

const APPLY: [&str; 3] = ["deploy", "cloudflare", "--apply"];
const ENV: [(&str, &str); 5] = [
    ("R2_ACCESS_KEY_ID", "key-of-the-bucket"),
    ("R2_SECRET_ACCESS_KEY", "canary-secret"),
    ("R2_ENDPOINT", "https://account.r2.cloudflarestorage.com"),
    ("API_TOKEN", "canary-token\n  canary-of-the-second-line"),
    ("SHOP_DATABASE", "canary-database"),
];

#[test]
fn apply_runs_each_step_in_order_and_goes_on_where_it_failed() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["npm", "wrangler", "docker"]);
    tools.note("broken", "deploy\n");
    let failed = tools.hakiri(&project, &APPLY, &ENV).expect(1);
    failed.says("HK1207").says("`wrangler deploy` failed").says("| the platform said no");
    failed.says("run `hakiri deploy cloudflare --apply` again: it goes on with this step");
    let install = "npm install --no-audit --no-fund";
    let bucket = "wrangler r2 bucket create hakiri-test";
    assert_eq!(tools.log(), [install, bucket, "wrangler deploy"]);
    assert!(project.path().join(DIR).join("hakiri").is_file(), "the image needs the binary");

    // What was done is not done again, and the rest is.
    tools.forget("broken");
    let done = tools.hakiri(&project, &APPLY, &ENV).expect(0);
    done.says("the bucket: done before").says("the secret HOOK has no value here").says("deployed");
    let secrets = ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_ENDPOINT", "API_TOKEN"];
    let put = secrets.map(|name| format!("wrangler secret put {name}"));
    let mut expected = vec!["wrangler deploy".to_owned()];
    expected.extend(put.clone());
    let log = tools.log();
    assert_eq!(log, expected);
    // Values go where they belong and nowhere else: not among arguments, not into the output, not into the folder.
    let given = std::fs::read_to_string(tools.dir.path().join("secrets")).unwrap();
    assert!(
        given.contains("API_TOKEN=canary-token\ncanary-of-the-second-line\n")
            && given.contains("R2_SECRET_ACCESS_KEY=canary-secret\n"),
        "{given}"
    );
    assert!(!done.stderr.contains("canary") && done.stderr.contains("given ***"), "{}", done.stderr);
    let mut folder = contents(&project.path().join(DIR));
    folder.remove("hakiri");
    for (path, bytes) in folder {
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"), "{path}");
    }

    // Everything may be repeated, and that the bucket is there is fine (G6).
    tools.note("there", "");
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    let mut all = vec![install.to_owned(), bucket.to_owned(), "wrangler deploy".to_owned()];
    all.extend(put);
    assert_eq!(tools.log(), all);
    // Now the plan knows what is there.
    let plan = project.hakiri(&["deploy", "cloudflare", "--plan"]).expect(0);
    plan.says("= Worker hakiri-test: ").says("= R2 bucket hakiri-test");
    project.manifest(&format!("[deploy.cloudflare]\ninstance_type = \"standard-1\"\nbucket = \"lake\"\n{SHOP}"));
    let plan = project.hakiri(&["deploy", "cloudflare", "--plan"]).expect(0);
    plan.says("~ container hakiri-test-runner").says("+ R2 bucket lake").says("- R2 bucket hakiri-test");
}

#[test]
fn other_files_make_an_interrupted_apply_start_anew() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["npm", "wrangler", "docker"]);
    tools.note("broken", "deploy\n");
    tools.hakiri(&project, &APPLY, &ENV).expect(1).says("HK1207");
    tools.forget("broken");
    tools.log();
    project.manifest(&format!("{SHOP}\n# changed\n"));
    tools.hakiri(&project, &APPLY, &[]).expect(0);
    assert_eq!(
        tools.log(),
        ["npm install --no-audit --no-fund", "wrangler r2 bucket create hakiri-test", "wrangler deploy"]
    );
}

#[test]
fn a_missing_program_is_said_before_anything_is_done() {
    for (there, missing) in [(&["wrangler", "docker"][..], "npm"), (&["npm", "wrangler"], "docker")] {
        let project = Project::new(SHOP);
        let tools = Tools::new(there);
        let refused = tools.hakiri(&project, &APPLY, &ENV).expect(2);
        refused.says("HK1206").says(&format!("there is no `{missing}`")).says("install");
        assert!(tools.log().is_empty() && !project.path().join("deploy").exists());
    }
}

#[test]
fn what_would_have_no_effect_is_said_before_anything_is_done() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["npm", "wrangler", "docker"]);
    let env = [&ENV[..], &[("HAKIRI_CATALOG_TOKEN", "canary-short")]].concat();
    let refused = tools.hakiri(&project, &APPLY, &env).expect(2);
    refused.says("HK1206").says("HAKIRI_CATALOG_TOKEN has 12 characters").says("16 random characters");
    assert!(tools.log().is_empty() && !project.path().join("deploy").exists());
    assert!(!refused.stderr.contains("canary"), "{}", refused.stderr);
}

#[test]
fn what_to_run_next_repeats_how_the_project_was_chosen() {
    let project = Project::new(SHOP);
    let here = project.path().to_string_lossy().into_owned();
    let tools = Tools::new(&["npm", "wrangler", "docker"]);
    let chosen = ["-C", &here, "--env", "staging", "--dir", "else where"];
    let with = |words: &[&'static str]| -> Vec<&str> { words.iter().chain(&chosen).copied().collect() };
    tools.note("broken", "deploy\n");
    let failed = tools.hakiri(&project, &with(&APPLY), &ENV).expect(1);
    let hint = |what: &str| format!("`hakiri -C {here} {what} cloudflare --env staging --dir 'else where' --");
    failed.says(&format!("{}apply` again", hint("deploy")));
    let said = tools.hakiri(&project, &with(&["destroy", "cloudflare", "--with-data"]), &[]).expect(0);
    said.says(&format!("{}yes --with-data` does it", hint("destroy")));
}

#[test]
fn destroy_says_what_would_be_lost_and_keeps_the_data_unless_it_is_named() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["npm", "wrangler", "docker"]);
    tools.hakiri(&project, &["destroy", "cloudflare", "--yes"], &[]).expect(2).says("HK1204").says("holds no files");
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    tools.log();
    let said = tools.hakiri(&project, &["destroy", "cloudflare"], &[]).expect(0);
    said.says("lost for good").says("the bucket hakiri-test with all stored data").says("nothing was done");
    said.says("`hakiri destroy cloudflare --yes` does it");
    assert!(tools.log().is_empty());

    tools.hakiri(&project, &["destroy", "cloudflare", "--yes"], &[]).expect(0).says("kept:").says("destroyed");
    let asleep = [
        "npm install --no-audit --no-fund",
        "wrangler deploy --config wrangler.asleep.jsonc --containers-rollout=none",
        "wrangler workflows delete hakiri-test-run",
    ];
    assert_eq!(tools.log(), asleep);
    let config = text(&project, "deploy/cloudflare/wrangler.asleep.jsonc");
    let awake = text(&project, "deploy/cloudflare/wrangler.jsonc");
    assert_eq!(config, awake.replace("\"crons\": [\"* * * * *\"]", "\"crons\": []"), "the trigger is all that differs");
    let plan = project.hakiri(&["deploy", "cloudflare", "--plan"]).expect(0);
    plan.says("= Worker hakiri-test").says("+ cron trigger").says("+ Workflow").says("= R2 bucket");

    let said = tools.hakiri(&project, &["destroy", "cloudflare", "--with-data"], &[]).expect(0);
    said.says("the catalog in the Durable Object").says("nothing was done");
    said.says("first, and by you: empty the bucket hakiri-test yourself");
    assert!(tools.log().is_empty());
    // A bucket that still holds data: the catalog stays, and the same command goes on there.
    let bucket = "wrangler r2 bucket delete hakiri-test";
    let destroy = ["destroy", "cloudflare", "--yes", "--with-data"];
    tools.note("broken", "r2\n");
    tools.hakiri(&project, &destroy, &[]).expect(1).says("HK1207").says(&format!("`{bucket}` failed"));
    assert_eq!(tools.log(), [&asleep[..], &[bucket]].concat());
    tools.forget("broken");
    tools.hakiri(&project, &destroy, &[]).expect(0).says("destroyed");
    assert_eq!(tools.log(), [bucket, "wrangler delete hakiri-test --force"]);
    tools.hakiri(&project, &destroy, &[]).expect(2).says("HK1208").says("nothing is deployed from here");

    // On servers of one's own the commands are for their administrator.
    for (target, command) in [("systemd", "systemctl disable --now hakiri-test"), ("compose", "docker compose down")] {
        let local = Project::new(
            "[[pipeline]]\nid = \"f\"\nsource = { connector = \"file\", config = { path = \"data/a.csv\" } }\n",
        );
        local.hakiri(&["deploy", target]).expect(0);
        local.hakiri(&["destroy", target]).expect(0).says(command).says("on its server").says("nothing was done");
        local.hakiri(&["destroy", target, "--yes"]).expect(2).says("HK1205").says(command);
    }
}

#[test]
fn destroy_acts_on_what_was_deployed_and_on_nothing_else() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["npm", "wrangler", "docker"]);
    let destroy = ["destroy", "cloudflare", "--yes"];
    let refuses = |says: &str| {
        let refused = tools.hakiri(&project, &destroy, &[]).expect(2);
        refused.says("HK1208").says(says).says("--force");
        assert!(tools.log().is_empty());
    };
    project.hakiri(&["deploy", "cloudflare"]).expect(0);
    refuses("nothing is deployed from here");

    // Also what an attempt has left that did not come to its end.
    tools.note("broken", "deploy\n");
    tools.hakiri(&project, &APPLY, &ENV).expect(1);
    tools.forget("broken");
    tools.log();
    tools.hakiri(&project, &destroy[..2], &[]).expect(0).says("lost for good");
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    tools.log();

    let config = format!("{DIR}/wrangler.jsonc");
    let generated = text(&project, &config);
    project.write(&config, generated.replace("hakiri-test", "another"));
    refuses("not as it was generated, and so maybe not what was deployed: wrangler.jsonc");
    project.write(&config, &generated);

    // Another bucket since then, with files generated for it, and not applied.
    project.manifest(&format!("[deploy.cloudflare]\nbucket = \"lake\"\n{SHOP}"));
    project.hakiri(&["deploy", "cloudflare"]).expect(0);
    refuses("deployed from here, and not what the manifest names now: R2 bucket hakiri-test");
    let forced = tools.hakiri(&project, &[&destroy[..], &["--with-data", "--force"]].concat(), &[]).expect(0);
    forced.says("the bucket lake with all stored data");
    assert!(tools.log().contains(&"wrangler r2 bucket delete lake".to_owned()));
}

#[test]
fn a_local_run_of_a_named_folder_takes_that_one_or_none() {
    let project = Project::new(SHOP);
    let refused = project.hakiri(&["dev", "cloudflare", "--dir", "elsewhere"]).expect(2);
    refused.says("HK1204").says("elsewhere holds no files of cloudflare");
    refused.says("generate them with `hakiri deploy cloudflare --dir elsewhere`");
    assert!(!project.path().join("elsewhere").exists() && !project.path().join(".hakiri/dev").exists());
}
