//! `hakiri deploy aws --apply` and `hakiri destroy aws`: which commands are run, what is made of their failures, and where
//! values of secrets go. Here with programs that stand in for `aws` and `docker`, in `stack` with the real `aws` and a
//! stand-in for AWS.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::shop::SMALL as SHOP;
use crate::support::{Project, Ran, contents, text};

mod stack;

const DIR: &str = "deploy/aws";
const STACK: &str = "hakiri-test";
const FOUNDATION: &str = "hakiri-test-foundation";

const APPLY: [&str; 3] = ["deploy", "aws", "--apply"];
const DESTROY: [&str; 3] = ["destroy", "aws", "--yes"];
const ENV: [(&str, &str); 2] =
    [("API_TOKEN", "canary \"token\"\n  canary of the second line"), ("HOOK", "https://canary.example.com/hook")];

/// An `aws` that keeps the state of each stack in a file of its name, the secret and what is in the bucket in others, and
/// writes down how it is called. It fails with the text of `broken/…`, if there is a file of its first two words.
const AWS: &str = r#"#!/bin/sh
here=HERE
printf '%s\n' "aws $*" >>"$here/log"
stack= was= output=
for word in "$@"; do
    case $was in
    --stack-name) stack=$word ;;
    --query) case $word in *OutputKey*) output=${word#*\'} output=${output%%\'*} ;; esac ;;
    esac
    was=$word
done
state() { printf '%s\n' "$1" >"$here/stacks/$stack"; }
if [ -e "$here/broken/$1 $2 $stack" ]; then
    [ ! -e "$here/ends" ] || { read -r end <"$here/ends"; state "$end"; }
    /bin/cat "$here/broken/$1 $2 $stack" >&2
    exit 254
fi
case "$1 $2" in
"cloudformation describe-stacks")
    [ -e "$here/stacks/$stack" ] || { echo "An error occurred (ValidationError): Stack with id $stack does not exist" >&2; exit 254; }
    if [ -n "$output" ]; then echo "the-$output"; else read -r is <"$here/stacks/$stack"; echo "$is"; fi ;;
"cloudformation deploy") state UPDATE_COMPLETE ;;
"cloudformation delete-stack") /bin/rm -f "$here/stacks/$stack" ;;
"cloudformation wait") case $3 in stack-delete-complete) ;; *) state UPDATE_COMPLETE ;; esac ;;
"cloudformation describe-stack-events") printf 'Table\tthe name is taken\n' ;;
"secretsmanager get-secret-value")
    [ -e "$here/secret" ] || { echo "An error occurred (ResourceNotFoundException)" >&2; exit 254; }
    /bin/cat "$here/secret" ;;
"secretsmanager put-secret-value") /bin/cat >"$here/secret"; echo "given $(/bin/cat "$here/secret")" ;;
"s3api list-object-versions") [ ! -e "$here/objects" ] || /bin/cat "$here/objects" ;;
"ecr get-login-password") echo canary-of-the-registry ;;
"ecr get-authorization-token") echo https://registry.example.com ;;
"ecr describe-images") echo sha256:0123 ;;
esac
exit 0
"#;

const DOCKER: &str = r#"#!/bin/sh
here=HERE
printf '%s\n' "docker $*" >>"$here/log"
case $1 in login) read -r password; echo "password $password" >>"$here/passwords"; echo "logged in with $password" ;; esac
exit 0
"#;

/// The programs, in a folder that alone is on the search path.
struct Tools {
    dir: tempfile::TempDir,
}

impl Tools {
    fn new(names: &[&str]) -> Self {
        let tools = Self { dir: tempfile::tempdir().unwrap() };
        for dir in ["stacks", "broken"] {
            std::fs::create_dir(tools.dir.path().join(dir)).unwrap();
        }
        for name in names {
            let script = if *name == "aws" { AWS } else { DOCKER };
            tools.note(name, &script.replace("HERE", &tools.dir.path().to_string_lossy()));
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(tools.dir.path().join(name), executable).unwrap();
        }
        tools
    }

    fn note(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn has(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join(name)).ok()
    }

    fn forget(&self, name: &str) {
        let _ = std::fs::remove_file(self.dir.path().join(name));
    }

    /// What was called since the last time, but for the questions that change nothing.
    fn log(&self) -> Vec<String> {
        let text = self.has("log").unwrap_or_default();
        self.forget("log");
        let asks = ["describe-", "get-", "list-", " version "];
        text.lines().filter(|line| !asks.iter().any(|ask| line.contains(ask))).map(str::to_owned).collect()
    }

    fn hakiri(&self, project: &Project, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = project.command(args);
        command.env("PATH", self.dir.path()).envs(env.iter().copied());
        command.output().unwrap().into()
    }

    fn secret(&self) -> Value {
        serde_json::from_str(&self.has("secret").unwrap()).unwrap()
    }
}

fn foundation() -> String {
    format!(
        "aws cloudformation deploy --template-file foundation.yaml --stack-name {FOUNDATION} --no-fail-on-empty-changeset"
    )
}

fn package() -> String {
    "aws cloudformation package --template-file template.yaml --s3-bucket the-CodeBucket --output-template-file packaged.yaml".to_owned()
}

fn main_stack(more: &str) -> String {
    format!(
        "aws cloudformation deploy --template-file packaged.yaml --stack-name {STACK} --s3-bucket the-CodeBucket \
         --capabilities CAPABILITY_IAM{more} --no-fail-on-empty-changeset"
    )
}

fn put() -> String {
    format!("aws secretsmanager put-secret-value --secret-id {STACK} --secret-string file:///dev/stdin")
}

#[test]
fn apply_runs_each_step_in_order_and_goes_on_where_it_failed() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["aws"]);
    tools.note("broken/cloudformation package ", "An error occurred (AccessDenied) when calling PutObject\n");
    let failed = tools.hakiri(&project, &APPLY, &ENV).expect(1);
    failed.says("HK1207").says("| An error occurred (AccessDenied)").says("allow what the message names");
    failed.says("`aws cloudformation package --template-file template.yaml --s3-bucket \"${CODE_BUCKET}\"");
    failed.says("then run `hakiri deploy aws --apply` again");
    assert_eq!(tools.log(), [foundation(), package()]);
    assert!(project.path().join(DIR).join("code/bootstrap").is_file(), "the function needs the binary");

    // What was done is not done again, and the rest is.
    tools.forget("broken/cloudformation package ");
    let done = tools.hakiri(&project, &APPLY, &ENV).expect(0);
    done.says("the foundation: done before").says("deployed");
    assert_eq!(tools.log(), [package(), main_stack(""), put()]);
    // Values go where they belong and nowhere else: not among arguments, not into the output, not into the folder (P8).
    assert_eq!(tools.secret(), json!({ "API_TOKEN": ENV[0].1, "HOOK": ENV[1].1 }));
    assert!(!done.stderr.contains("canary") && done.stderr.contains("given {\"API_TOKEN\":\"***"), "{}", done.stderr);
    let mut folder = contents(&project.path().join(DIR));
    folder.remove("code/bootstrap");
    for (path, bytes) in folder {
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"), "{path}");
    }

    // Everything may be repeated (G6); what is there already is not given again.
    tools.hakiri(&project, &APPLY, &ENV).expect(0).says("nothing here that is not there");
    assert_eq!(tools.log(), [foundation(), package(), main_stack("")]);
    let plan = project.hakiri(&["deploy", "aws", "--plan"]).expect(0);
    plan.says(&format!("= stack {STACK}")).says(&format!("= Lambda function {STACK}")).says("USD a month");
}

#[test]
fn what_somebody_took_away_between_two_attempts_is_made_again() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["aws"]);
    tools.note("broken/cloudformation package ", "no\n");
    tools.hakiri(&project, &APPLY, &ENV).expect(1).says("| no").says("again: it goes on with this step");
    tools.forget("broken/cloudformation package ");
    tools.forget(&format!("stacks/{FOUNDATION}"));
    tools.log();
    let failed = tools.hakiri(&project, &APPLY, &ENV).expect(1);
    failed.says("the foundation: done before").says("HK1207").says("does not exist");
    assert_eq!(tools.log(), Vec::<String>::new());
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    assert_eq!(tools.log(), [foundation(), package(), main_stack(""), put()]);
}

#[test]
fn a_first_creation_that_failed_is_recognised_with_what_to_do() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["aws"]);
    let broken = format!("broken/cloudformation deploy {STACK}");
    tools.note(&broken, "Failed to create/update the stack.\n");
    tools.note("ends", "ROLLBACK_COMPLETE\n");
    let failed = tools.hakiri(&project, &APPLY, &ENV).expect(1);
    failed.says("HK1207").says("| Failed to create/update the stack.").says("| Table\tthe name is taken");
    let delete = format!(
        "delete it with `aws cloudformation delete-stack --stack-name {STACK} && aws cloudformation wait \
         stack-delete-complete --stack-name {STACK}`"
    );
    failed.says(&format!("the first creation of the stack {STACK} failed")).says(&delete).says("was deleted again");
    tools.log();

    // Neither is it tried again as long as that is not done: it could only fail.
    tools.forget(&broken);
    let refused = tools.hakiri(&project, &APPLY, &ENV).expect(1);
    refused.says("HK1207").says("cannot be run as things are").says(&delete);
    assert_eq!(tools.log(), Vec::<String>::new());
    tools.forget(&format!("stacks/{STACK}"));
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    assert_eq!(tools.log(), [main_stack(""), put()]);

    // An update that failed and was rolled back is no such thing, whatever its state is called.
    tools.note(&format!("stacks/{STACK}"), "UPDATE_ROLLBACK_COMPLETE\n");
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    tools.log();
    // Nor is a stack of which nothing was created yet.
    tools.note(&format!("stacks/{STACK}"), "REVIEW_IN_PROGRESS\n");
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    assert_eq!(tools.log(), [foundation(), package(), main_stack("")]);
}

#[test]
fn what_a_first_creation_may_have_left_is_looked_at_before_it_is_deleted() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["aws"]);
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    tools.log();
    let delete = format!("delete it with `aws cloudformation delete-stack --stack-name {STACK} && ");
    let events = format!("`aws cloudformation describe-stack-events --stack-name {STACK}`");
    for state in ["ROLLBACK_FAILED", "CREATE_FAILED"] {
        tools.note(&format!("stacks/{STACK}"), &format!("{state}\n"));
        let refused = tools.hakiri(&project, &APPLY, &ENV).expect(1);
        refused.says("HK1207").says("may still be there, run and hold data").says(&events).says(&delete);
        assert!(!refused.stderr.contains("Nothing of it runs"), "{}", refused.stderr);
        assert!(!tools.log().contains(&main_stack("")), "{state}");
        // Nor is it said to be destroyed while it may run.
        let refused = tools.hakiri(&project, &DESTROY, &[]).expect(1);
        refused.says("HK1207").says("may still be there, run and hold data").says(&events).says(&delete);
        assert_eq!(tools.log(), Vec::<String>::new(), "{state}");
    }
    tools.note(&format!("stacks/{STACK}"), "ROLLBACK_COMPLETE\n");
    tools.hakiri(&project, &DESTROY, &[]).expect(0).says("there is nothing to do");
}

#[test]
fn what_an_interrupted_apply_has_left_under_way_is_waited_for() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["aws"]);
    tools.note(&format!("stacks/{FOUNDATION}"), "CREATE_IN_PROGRESS\n");
    tools.note(&format!("stacks/{STACK}"), "UPDATE_ROLLBACK_IN_PROGRESS\n");
    tools.hakiri(&project, &APPLY, &[]).expect(0).says("something is under way");
    let wait = |until: &str, stack: &str| format!("aws cloudformation wait {until} --stack-name {stack}");
    assert_eq!(
        tools.log(),
        [
            wait("stack-create-complete", FOUNDATION),
            foundation(),
            package(),
            wait("stack-update-complete", STACK),
            main_stack("")
        ]
    );
}

#[test]
fn values_that_have_no_variable_here_stay_and_what_has_none_at_all_is_said() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["aws"]);
    tools.note("secret", r#"{"OLD":"canary-old","API_TOKEN":"canary-1"}"#);
    let done = tools.hakiri(&project, &APPLY, &[("API_TOKEN", "canary-2")]).expect(0);
    assert_eq!(tools.secret(), json!({ "OLD": "canary-old", "API_TOKEN": "canary-2" }));
    done.says("the secret HOOK has no value, here or there").says(&format!("(cd {DIR} && {} <secrets.json)", put()));
    assert!(!done.stderr.contains("canary") && !done.stderr.contains("API_TOKEN has"), "{}", done.stderr);
    let ran = tools.hakiri(&project, &["--json", "deploy", "aws", "--apply"], &[]).expect(0);
    assert_eq!(ran.json()["without_value"], json!(["HOOK"]));

    for not_an_object in ["canary-of-another-kind", "[\"canary\"]"] {
        tools.note("secret", not_an_object);
        let failed = tools.hakiri(&project, &APPLY, &ENV).expect(1);
        failed.says("HK1207").says("not a JSON object").says("secrets.example.json");
        assert!(!failed.stderr.contains("canary"), "{}", failed.stderr);
        assert_eq!(tools.has("secret").as_deref(), Some(not_an_object), "it was overwritten");
    }
}

#[test]
fn what_is_missing_is_said_before_anything_is_written() {
    let refuses = |project: &Project, tools: &Tools, says: &[&str]| {
        let refused = tools.hakiri(project, &APPLY, &ENV).expect(2);
        says.iter().fold(refused.says("HK1206"), |refused, says| refused.says(says));
        assert_eq!(tools.log(), Vec::<String>::new());
        assert!(!project.path().join("deploy").exists());
    };
    let project = Project::new(SHOP);
    refuses(&project, &Tools::new(&[]), &["there is no `aws`", "install the AWS command line"]);
    let tools = Tools::new(&["aws"]);
    tools.note("broken/sts get-caller-identity ", "Unable to locate credentials\n");
    refuses(&project, &tools, &["AWS does not know who this is", "| Unable to locate credentials", "aws sso login"]);
    tools.log();
    tools.forget("broken/sts get-caller-identity ");
    project.manifest(&format!("[deploy.aws]\ncompute = \"fargate\"\n{SHOP}"));
    refuses(&project, &tools, &["there is no `docker`"]);
}

#[test]
fn tasks_have_an_image_that_goes_by_its_digest_and_every_command_names_the_region() {
    let project = Project::new(&format!("[deploy.aws]\ncompute = \"fargate\"\nregion = \"eu-central-1\"\n{SHOP}"));
    let tools = Tools::new(&["aws", "docker"]);
    let done = tools.hakiri(&project, &APPLY, &ENV).expect(0);
    done.says("aws ecr get-login-password --region eu-central-1 | docker login --username AWS --password-stdin \"${REGISTRY}\"");
    let all = tools.has("log").unwrap();
    assert!(
        all.lines().filter(|line| line.starts_with("aws ")).all(|line| line.ends_with(" --region eu-central-1")),
        "{all}"
    );
    let log: Vec<String> = tools.log().into_iter().map(|line| line.replace(" --region eu-central-1", "")).collect();
    assert_eq!(
        log,
        [
            foundation(),
            package(),
            "docker build --platform linux/amd64 --tag the-Repository:latest .".to_owned(),
            "docker login --username AWS --password-stdin https://registry.example.com".to_owned(),
            "docker push the-Repository:latest".to_owned(),
            main_stack(" --parameter-overrides ImageUri=the-Repository@sha256:0123"),
            put(),
        ]
    );
    assert_eq!(tools.has("passwords").as_deref(), Some("password canary-of-the-registry\n"));
    assert!(!done.stderr.contains("canary") && done.stderr.contains("logged in with ***"), "{}", done.stderr);
    for file in ["Dockerfile", "code/bootstrap", "code/project/hakiri.toml"] {
        assert!(project.path().join(DIR).join(file).is_file(), "{file}");
    }
}

#[test]
fn destroy_puts_it_to_sleep_and_keeps_the_data_unless_it_is_named() {
    let project = Project::new(SHOP);
    let tools = Tools::new(&["aws"]);
    tools.hakiri(&project, &DESTROY, &[]).expect(2).says("HK1204").says("holds no files");
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    tools.log();
    let said = tools.hakiri(&project, &DESTROY[..2], &[]).expect(0);
    said.says("lost for good")
        .says("the schedules")
        .says("kept:")
        .says("with all stored data")
        .says("nothing was done");
    assert_eq!(tools.log(), Vec::<String>::new());

    let asleep = format!(
        "aws cloudformation deploy --template-file template.asleep.yaml --stack-name {STACK} --no-fail-on-empty-changeset"
    );
    tools.hakiri(&project, &DESTROY, &[]).expect(0).says("kept:").says("destroyed");
    assert_eq!(tools.log(), std::slice::from_ref(&asleep));
    let template = text(&project, "deploy/aws/template.asleep.yaml");
    let kinds: Vec<&str> = template.lines().filter_map(|line| line.trim().strip_prefix("Type: AWS::")).collect();
    assert_eq!(kinds, ["S3::Bucket", "S3::BucketPolicy", "DynamoDB::Table", "SecretsManager::Secret"], "{template}");
    let plan = project.hakiri(&["deploy", "aws", "--plan"]).expect(0);
    plan.says(&format!("= stack {STACK}")).says("= S3 bucket").says("+ schedule").says("+ Lambda function");

    // A bucket that still holds data: everything that holds data stays, and the same command goes on there.
    let with_data = [&DESTROY[..], &["--with-data"]].concat();
    let said = tools.hakiri(&project, &with_data[..2], &[]).expect(0);
    said.says("nothing was done");
    tools.note("objects", "shop/tables/items/part.parquet\n");
    let stopped = tools.hakiri(&project, &with_data, &[]).expect(1);
    stopped.says("lost for good").says("the catalog's table").says("first, and by you: empty the bucket");
    stopped.says("HK1207").says("has to be empty").says("| shop/tables/items/part.parquet");
    stopped.says("empty the bucket the-Bucket, with all versions").says("hakiri destroy aws --yes --with-data` again");
    assert_eq!(tools.log(), std::slice::from_ref(&asleep));
    tools.forget("objects");
    tools.note("broken/dynamodb delete-table ", "An error occurred (AccessDeniedException)\n");
    tools.hakiri(&project, &with_data, &[]).expect(1).says("HK1207").says("aws dynamodb delete-table");
    let (bucket, table) =
        ("aws s3api delete-bucket --bucket the-Bucket", "aws dynamodb delete-table --table-name the-Table");
    assert_eq!(tools.log(), [bucket, table]);
    tools.forget("broken/dynamodb delete-table ");
    tools.hakiri(&project, &with_data, &[]).expect(0).says("the bucket: done before").says("destroyed");
    let delete = |stack: &str| {
        [
            format!("aws cloudformation delete-stack --stack-name {stack}"),
            format!("aws cloudformation wait stack-delete-complete --stack-name {stack}"),
        ]
    };
    let secret = format!("aws secretsmanager delete-secret --secret-id {STACK} --force-delete-without-recovery");
    let code = "aws s3 rm s3://the-CodeBucket --recursive --only-show-errors".to_owned();
    let mut expected = vec![table.to_owned(), secret];
    expected.extend(delete(STACK));
    expected.push(code);
    expected.extend(delete(FOUNDATION));
    assert_eq!(tools.log(), expected);
    tools.hakiri(&project, &with_data, &[]).expect(2).says("HK1208").says("nothing is deployed from here");

    // By force also where nothing is any more, as far as this folder knows: nothing is created for it.
    let forced = tools.hakiri(&project, &[&with_data[..], &["--force"]].concat(), &[]).expect(0);
    forced.says("there is nothing to do").says("there is nothing of it").says("destroyed");
    assert!(!tools.log().iter().any(|line| line.contains(" deploy ") || line.contains(" delete-bucket ")));
}

#[test]
fn what_is_somebodys_own_is_never_taken_away() {
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf";
    let own = format!("[deploy.aws]\nbucket = \"lake\"\ndatabase_secret_arn = \"{arn}\"\n");
    let project = Project::new(&format!("{own}{SHOP}"));
    let tools = Tools::new(&["aws", "docker"]);
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    tools.log();
    let gone = tools.hakiri(&project, &[&DESTROY[..], &["--with-data"]].concat(), &[]).expect(0);
    gone.says("kept:").says("the bucket lake with all stored data: it is yours").says("database_secret_arn");
    assert!(!gone.stderr.contains("first, and by you"), "{}", gone.stderr);
    let log = tools.log();
    assert!(
        !log.iter().any(|l| l.contains("lake") || l.contains("delete-bucket") || l.contains("delete-db")),
        "{log:#?}"
    );
}

#[test]
fn a_database_of_its_own_goes_before_the_network_it_is_in() {
    let project = Project::new(&format!("[deploy.aws]\ncatalog = \"postgres\"\n{SHOP}"));
    let tools = Tools::new(&["aws", "docker"]);
    tools.hakiri(&project, &APPLY, &ENV).expect(0);
    tools.log();
    tools.hakiri(&project, &DESTROY[..2], &[]).expect(0).says("goes on costing by the hour");
    tools.hakiri(&project, &[&DESTROY[..], &["--with-data"]].concat(), &[]).expect(0);
    let log = tools.log();
    let at =
        |text: &str| log.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in {log:#?}"));
    assert!(at("rds delete-db-instance --db-instance-identifier the-Database") < at("rds wait db-instance-deleted"));
    assert!(
        at("rds wait db-instance-deleted")
            < at("rds delete-db-subnet-group --db-subnet-group-name the-DatabaseSubnets")
    );
    assert!(at("rds delete-db-subnet-group") < at(&format!("delete-stack --stack-name {STACK}")));
    assert!(at("delete-secret --secret-id hakiri-test-database") < at(&format!("delete-stack --stack-name {STACK}")));
}
