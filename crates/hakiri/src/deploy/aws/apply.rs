//! What `--apply` and `destroy` do, as commands of `aws` and, where tasks run, `docker`.
//!
//! There are two stacks. The foundation has the bucket for the packed code, and the repository for the image: both are
//! needed before the second stack can name what is in them. The second has everything else.
//!
//! Taken away without `--with-data`, the second stack is brought to a template with nothing but what holds data. It stays
//! the same stack: the next `--apply` finds bucket, table and secret where they were, under names that CloudFormation had
//! chosen and nobody has to know (G4). With `--with-data`, what holds data is deleted by those names before the stack is,
//! which would leave it; in this order the names can be asked for until the end, also by an attempt that goes on.

use hakiri_core::Result;

use super::cli::{Absent, CREDENTIALS, Cli, remedies};
use super::settings::Settings;
use super::{resources, template};
use crate::deploy::input::Input;
use crate::deploy::steps::{Act, Check, Document, Here, How, Removal, Run, Step, Tool, line};

/// The template as `package` has it, with the code's address in place of its folder.
const PACKAGED: &str = "packaged.yaml";
/// The template of a deployment that is asleep.
const ASLEEP: &str = "template.asleep.yaml";
/// The file that a person fills with the values of secrets, and that is not committed.
pub(super) const SECRETS: &str = "secrets.json";
/// What `${…}` is in the commands: the bucket for the code, the repository with its host, and the image's digest in it.
const CODE: &str = "CODE_BUCKET";
const REPOSITORY: &str = "REPOSITORY";
const REGISTRY: &str = "REGISTRY";
const DIGEST: &str = "DIGEST";

const AWS: Tool =
    Tool { program: "aws", why: "asks AWS for everything", remedy: "install the AWS command line, version 2 or 1" };
const DOCKER: Tool = Tool {
    program: "docker",
    why: "builds the image of the tasks and pushes it",
    remedy: "install Docker and start it, or run this where it is",
};

/// What `--apply` does.
pub(super) fn here(s: &Settings) -> Here {
    let tools = if s.task.is_some() { vec![AWS, DOCKER] } else { vec![AWS] };
    let mut checks = vec![identity(s)];
    if s.task.is_some() {
        checks.push(Check {
            what: "there is no Docker to build the image with",
            command: ["docker", "version", "--format", "{{.Server.Version}}"].map(str::to_owned).to_vec(),
            remedy: DOCKER.remedy.to_owned(),
        });
    }
    Here { tools, checks, steps: steps(s) }
}

fn identity(s: &Settings) -> Check {
    Check {
        what: "AWS does not know who this is",
        command: Cli::of(s).words(&["sts", "get-caller-identity", "--query", "Arn", "--output", "text"]),
        remedy: CREDENTIALS.to_owned(),
    }
}

fn steps(s: &Settings) -> Vec<Step> {
    let cli = Cli::of(s);
    let foundation = s.foundation();
    let code = variable(CODE);
    let mut steps = vec![
        Step::new("the binary", Act::Binary("code/bootstrap")),
        cli.deploy("the foundation", &foundation, "foundation.yaml", &[], Absent::Create),
        cli.output("the bucket for the code", CODE, &foundation, "CodeBucket", Absent::Create),
    ];
    let package = ["cloudformation", "package", "--template-file", "template.yaml", "--s3-bucket", &code];
    let package = [&package[..], &["--output-template-file", PACKAGED]].concat();
    steps.push(cli.step("the code, packed", &package, &[]));
    let mut more = vec!["--s3-bucket", &code, "--capabilities", "CAPABILITY_IAM"];
    let image = format!("ImageUri={}@{}", variable(REPOSITORY), variable(DIGEST));
    if s.task.is_some() {
        steps.extend(image_steps(s));
        more.extend(["--parameter-overrides", &image]);
    }
    steps.push(cli.deploy("everything else", &s.name, PACKAGED, &more, Absent::Create));
    if !s.passed.is_empty() {
        steps.push(Step::new("the values of the secrets", Act::Secrets(secrets(s))));
    }
    steps
}

/// The image goes by its digest: it changes with the image alone, and a rollback names the one of before.
fn image_steps(s: &Settings) -> Vec<Step> {
    let cli = Cli::of(s);
    let tag = format!("{}:latest", variable(REPOSITORY));
    let docker =
        |title: &str, words: &[&str]| Step::new(title, Act::Run(Run { remedies: remedies(), ..Run::new(words) }));
    let login = Act::Pipe {
        from: cli.words(&["ecr", "get-login-password"]),
        to: Run {
            remedies: remedies(),
            ..Run::new(&["docker", "login", "--username", "AWS", "--password-stdin", &variable(REGISTRY)])
        },
    };
    let registry =
        ["ecr", "get-authorization-token", "--query", "authorizationData[].proxyEndpoint", "--output", "text"];
    let latest = ["ecr", "describe-images", "--repository-name", &s.name, "--image-ids", "imageTag=latest"];
    let latest = [&latest[..], &["--query", "imageDetails[].imageDigest", "--output", "text"]].concat();
    vec![
        cli.output("the repository for the image", REPOSITORY, &s.foundation(), "Repository", Absent::Create),
        docker("the image", &["docker", "build", "--platform", "linux/amd64", "--tag", &tag, "."]),
        Step::new("the repository's host", Act::Learn { name: REGISTRY, run: cli.run(&registry, &[]) }),
        Step::new("Docker, that it may push", login),
        docker("the image, pushed", &["docker", "push", &tag]),
        Step::new("the image's digest", Act::Learn { name: DIGEST, run: cli.run(&latest, &[]) }),
    ]
}

fn secrets(s: &Settings) -> Document {
    let cli = Cli::of(s);
    let read = ["secretsmanager", "get-secret-value", "--secret-id", &s.name];
    let write = ["secretsmanager", "put-secret-value", "--secret-id", &s.name];
    Document {
        names: s.passed.iter().map(|needed| (needed.name.clone(), needed.optional)).collect(),
        read: cli.words(&[&read[..], &["--query", "SecretString", "--output", "text"]].concat()),
        none: &["ResourceNotFoundException"],
        write: cli.words(&[&write[..], &["--secret-string", "file:///dev/stdin"]].concat()),
        remedies: remedies(),
    }
}

/// The commands for a person, in the folder.
pub(super) fn by_hand(s: &Settings) -> Vec<String> {
    let shown = |step: &Step| match &step.act {
        Act::Binary(name) => format!("cp \"$(command -v hakiri)\" {name}"),
        Act::Secrets(document) => {
            let file = format!("file://{SECRETS}");
            let word = |word: &String| if word == "file:///dev/stdin" { file.clone() } else { word.clone() };
            line(&document.write.iter().map(word).collect::<Vec<_>>())
        }
        _ => step.shown(),
    };
    steps(s).iter().map(shown).collect()
}

/// What `${name}` is in the words of a command.
fn variable(name: &str) -> String {
    format!("${{{name}}}")
}

/// What `hakiri destroy` does.
pub(super) fn removal(input: &Input<'_>, s: &Settings, with_data: bool) -> Result<Removal> {
    let cli = Cli::of(s);
    let asleep = Act::Write { path: ASLEEP, text: template::template(input, s, false)? };
    let mut steps = vec![
        Step::new("a template of what holds data alone", asleep),
        cli.deploy("everything that runs", &s.name, ASLEEP, &[], Absent::Nothing),
    ];
    let apply = "`hakiri deploy aws --apply`";
    let runs = "the schedules, the machine with its history and what it runs at the moment, the function or the tasks, \
                the alarms, the wakes among the dead letters: what a run did not commit is read again";
    if !with_data {
        let mut kept: Vec<String> = data(s).into_iter().chain([foundation(s)]).collect();
        if s.own_database() {
            kept.push("the database goes on costing by the hour, also asleep".to_owned());
        }
        kept.push(format!("{apply} wakes it again, with the same data; `--with-data` destroys the rest as well"));
        return Ok(Removal {
            lost: vec![runs.to_owned()],
            kept,
            before: Vec::new(),
            left: resources::resources(s).into_iter().filter(|r| resources::is_kept(s, r)).collect(),
            how: How::Here(Here { tools: vec![AWS], checks: vec![identity(s)], steps }),
        });
    }
    let mut before = Vec::new();
    if s.bucket.is_none() {
        steps.extend(bucket_steps(s));
        before.push(format!(
            "empty the bucket of the stack {} yourself, with all versions of what is in it (in the console: S3, Empty): \
             until it is, nothing that holds data is deleted",
            s.name
        ));
    }
    steps.extend(catalog_steps(s));
    let own = s.own_database().then(|| format!("{}-database", s.name));
    for secret in (!s.passed.is_empty()).then(|| s.name.clone()).into_iter().chain(own) {
        // Deleted with time to think it over, it would be in the way of another one of its name for as long.
        let delete = ["secretsmanager", "delete-secret", "--secret-id", &secret, "--force-delete-without-recovery"];
        steps.push(cli.step(format!("the secret {secret}"), &delete, &["ResourceNotFoundException"]));
    }
    steps.extend(cli.delete("the stack", &s.name));
    let foundation_stack = s.foundation();
    steps.push(cli.output("the bucket of the code", CODE, &foundation_stack, "CodeBucket", Absent::Nothing));
    let code = format!("s3://{}", variable(CODE));
    steps.push(cli.step("the code", &["s3", "rm", &code, "--recursive", "--only-show-errors"], &["NoSuchBucket"]));
    steps.extend(cli.delete("the foundation", &foundation_stack));
    let mut lost = data(s);
    lost.extend([foundation(s), runs.to_owned()]);
    Ok(Removal {
        lost,
        kept: theirs(s),
        before,
        left: Vec::new(),
        how: How::Here(Here { tools: vec![AWS], checks: vec![identity(s)], steps }),
    })
}

/// The bucket goes first, and only empty: if it still holds data the deletion ends here, and all of it can be read on by
/// whoever thinks better of it. Nothing writes to it any more.
fn bucket_steps(s: &Settings) -> Vec<Step> {
    const GONE: &[&str] = &["NoSuchBucket"];
    const NAME: &str = "BUCKET";
    let cli = Cli::of(s);
    let bucket = variable(NAME);
    // What was overwritten or deleted is still there as a version: it is data as well, and keeps the bucket.
    let list = ["s3api", "list-object-versions", "--bucket", &bucket, "--max-keys", "1", "--no-paginate"];
    let any = "[Versions[].Key, DeleteMarkers[].Key][][]";
    let list = [&list[..], &["--query", any, "--output", "text"]].concat();
    let otherwise =
        format!("empty the bucket {bucket}, with all versions of what is in it (in the console: S3, Empty)");
    vec![
        cli.output("the bucket", NAME, &s.name, "Bucket", Absent::Nothing),
        Step::new("the bucket, whether it is empty", Act::Nothing { run: cli.run(&list, GONE), otherwise }),
        cli.step("the bucket", &["s3api", "delete-bucket", "--bucket", &bucket], GONE),
    ]
}

fn catalog_steps(s: &Settings) -> Vec<Step> {
    let cli = Cli::of(s);
    if s.own_database() {
        const NAME: &str = "DATABASE";
        const SUBNETS: &str = "SUBNETS";
        let (database, subnets) = (variable(NAME), variable(SUBNETS));
        let delete = ["rds", "delete-db-instance", "--db-instance-identifier", &database];
        let delete = [&delete[..], &["--skip-final-snapshot", "--delete-automated-backups"]].concat();
        let gone = ["rds", "wait", "db-instance-deleted", "--db-instance-identifier", &database];
        let free = ["rds", "delete-db-subnet-group", "--db-subnet-group-name", &subnets];
        // It is in the stack's network, which cannot be deleted before.
        return vec![
            cli.output("the database", NAME, &s.name, "Database", Absent::Nothing),
            cli.step("the database", &delete, &["DBInstanceNotFound", "is already being deleted"]),
            cli.step("the database, until it is gone", &gone, &["DBInstanceNotFound"]),
            cli.output("where the database was", SUBNETS, &s.name, "DatabaseSubnets", Absent::Nothing),
            cli.step("where the database was", &free, &["DBSubnetGroupNotFound"]),
        ];
    }
    if !s.has_table() {
        return Vec::new();
    }
    const NAME: &str = "TABLE";
    let table = variable(NAME);
    vec![
        cli.output("the catalog's table", NAME, &s.name, "Table", Absent::Nothing),
        cli.step("the catalog's table", &["dynamodb", "delete-table", "--table-name", &table], NO_TABLE),
    ]
}

/// What DynamoDB says of a table that is gone, or going.
const NO_TABLE: &[&str] = &["ResourceNotFoundException", "is being deleted"];

/// What holds data and is the deployment's own.
fn data(s: &Settings) -> Vec<String> {
    let mut out = Vec::new();
    if s.bucket.is_none() {
        out.push(format!("the bucket of the stack {} with all stored data", s.name));
    }
    if s.own_database() {
        out.push("the catalog's database: how far each table was read, runs, schemas".to_owned());
    } else if s.has_table() {
        out.push("the catalog's table: how far each table was read, runs, schemas".to_owned());
    }
    if !s.passed.is_empty() {
        out.push(format!("the secret {} with its values", s.name));
    }
    out
}

/// What was there before the deployment, and stays whatever is taken away.
fn theirs(s: &Settings) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(bucket) = &s.bucket {
        out.push(format!("the bucket {bucket} with all stored data: it is yours"));
    }
    if s.database_secret.is_some() {
        out.push("the database of database_secret_arn, with the catalog in it: it is yours".to_owned());
    }
    out
}

fn foundation(s: &Settings) -> String {
    let image = if s.task.is_some() { " and all images" } else { "" };
    format!("the stack {} with the packed code of all versions{image}", s.foundation())
}
