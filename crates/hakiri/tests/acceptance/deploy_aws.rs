//! `hakiri deploy aws`: the folder, what is refused, what runs where and why, and whether the template and the machine are
//! what the service would take.

use std::collections::BTreeSet;

use serde_json::Value;

use self::read::{all, kinds};
use crate::support::shop::{self, WITH_FILES as SHOP};
use crate::support::{Project, contents, text};

mod interpreter;
mod lint;
mod machine;
mod read;
mod refused;
mod rights;
mod scan;
mod template;

pub const DIR: &str = "deploy/aws";

/// With a schedule for the pipeline that has none, which reads this database.
pub fn by_the_hour(url: &str) -> String {
    shop::by_the_hour(SHOP, url)
}

/// With `[deploy.aws]`.
pub fn with(settings: &str, manifest: &str) -> String {
    format!("[deploy.aws]\n{settings}\n{manifest}")
}

const NETWORK: &str = "vpc_id = \"vpc-0123456789abcdef0\"\nsubnet_ids = [\"subnet-0123456789abcdef0\", \
                       \"subnet-0123456789abcdef1\"]\nsecurity_group_ids = [\"sg-0123456789abcdef0\"]";
const DATABASE: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/hakiri-AbCdEf";
const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000";
const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/Boundary";

/// Everything that there is to be given.
fn all_given() -> String {
    format!(
        "{NETWORK}\nbucket = \"acme-lake\"\ndatabase_secret_arn = \"{DATABASE}\"\ndatabase_host = \"db.example.com\"\nkms_key_arn = \"{KEY}\"\n\
         permissions_boundary_arn = \"{BOUNDARY}\"\ntags = {{ team = \"data\", Kostenstelle = \"12/A\" }}"
    )
}

const HOOK: &str = "[notify]\nwebhook = \"${HOOK}\"";

/// The projects that the template and the machine are judged by: each shape, and what there is besides.
pub fn shapes() -> Vec<(&'static str, String)> {
    vec![
        ("functions and a table", SHOP.to_owned()),
        ("functions, and nobody hears of anything", SHOP.replace(HOOK, "")),
        ("functions, and alarms are not asked for", SHOP.replace(HOOK, &format!("{HOOK}\nevents = [\"failed\"]"))),
        ("both, since a database hides", by_the_hour("${SHOP_DATABASE}")),
        (
            "tasks alone, with a table",
            with("compute = \"fargate\"\nmemory = \"4GiB\"\ntags = { team = \"data\" }", SHOP),
        ),
        ("a database of its own", with("catalog = \"postgres\"", SHOP)),
        ("a database of its own in a network that is there", with(&format!("catalog = \"postgres\"\n{NETWORK}"), SHOP)),
        ("all that is there already", with(&all_given(), SHOP)),
        (
            "functions with a key and tags",
            with(&format!("kms_key_arn = \"{KEY}\"\ntags = {{ team = \"data\" }}"), SHOP),
        ),
        ("files in the bucket that is the store", with("bucket = \"acme-inbox\"", SHOP)),
    ]
}

#[test]
fn the_folder_is_the_same_bytes_wherever_the_project_lies_and_says_what_made_it() {
    for manifest in [SHOP.to_owned(), by_the_hour("${SHOP_DATABASE}")] {
        let (one, two) = (Project::new(&manifest), Project::new(&manifest));
        for project in [&one, &two] {
            project.hakiri(&["deploy", "aws"]).expect(0).says("Topology 4");
        }
        let first = contents(&one.path().join(DIR));
        assert_eq!(first, contents(&two.path().join(DIR)));
        let again = one.hakiri(&["deploy", "aws", "--json"]).expect(0).json();
        assert!(again["files"].as_array().unwrap().iter().all(|f| f["change"] == "same"), "{again}");
        // Copies, the lock, and what becomes a secret's value as it is say nothing of the kind.
        let own =
            |path: &str| path.starts_with("code/") || [".hakiri-deploy.lock", "secrets.example.json"].contains(&path);
        for (path, bytes) in first.iter().filter(|(path, _)| !own(path)) {
            let head: Vec<String> = String::from_utf8_lossy(bytes).lines().take(2).map(str::to_owned).collect();
            assert!(head.join(" ").contains("enerated by `hakiri deploy aws`, format 1"), "{path}: {head:?}");
        }
        for path in ["template.yaml", "foundation.yaml", "hakiri.asl.json", "cdk/hakiri.ts", ".gitignore"] {
            assert!(first.contains_key(path), "{path}");
        }
        assert_eq!(first.contains_key("Dockerfile"), manifest != SHOP, "an image is for tasks");
        assert_eq!(text(&one, "deploy/aws/code/project/hakiri.toml"), text(&one, "hakiri.toml"));
        for (path, bytes) in &first {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.lines().any(|line| line.ends_with(' ')), "{path} has spaces at the end of a line");
        }
    }
    let project = Project::new(SHOP);
    project.hakiri(&["deploy", "aws"]).expect(0);
    project.write("deploy/aws/template.yaml", "Resources: {}\n");
    project.hakiri(&["deploy", "aws"]).expect(2).says("HK1203").says("template.yaml");
}

#[test]
fn no_value_of_a_secret_and_nothing_of_this_machine_is_in_the_folder() {
    let project = Project::new(&by_the_hour("${SHOP_DATABASE}"));
    let here = project.path().to_string_lossy().into_owned();
    for args in [&["deploy", "aws", "--plan", "--json"][..], &["deploy", "aws", "--json"]] {
        let mut command = project.command(args);
        command.env("HOME", "/home/canary-home");
        for name in ["API_TOKEN", "DATABASE_PASSWORD", "HOOK", "HAKIRI_STAGE", "SHOP_DATABASE", "HAKIRI_NOTIFY_SECRET"]
            .iter()
            .chain(&["AWS_ACCOUNT_ID", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "USER"])
        {
            command.env(name, format!("canary-{}", name.to_lowercase()));
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut all = contents(&project.path().join(DIR));
        all.insert("stdout".to_owned(), output.stdout);
        all.insert("stderr".to_owned(), output.stderr);
        for (path, bytes) in &all {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains("canary") && !text.contains(&here), "{path}:\n{text}");
            let mut digits = text.split(|c: char| !c.is_ascii_digit());
            let is_file = !path.starts_with("std") && *path != ".hakiri-deploy.lock";
            assert!(!is_file || digits.all(|run| run.len() != 12), "{path} has what may be an account:\n{text}");
        }
    }
}

#[test]
fn each_shape_is_whole() {
    for (shape, manifest) in shapes() {
        let project = Project::new(&manifest);
        project.hakiri(&["deploy", "aws"]).expect(0);
        let definition = text(&project, "deploy/aws/hakiri.asl.json");
        let template = text(&project, "deploy/aws/template.yaml");
        assert_eq!(template::problems(&template, &definition), [""; 0], "{shape}");
        assert!(template.len() < 51_200, "{shape}: {} bytes need a bucket", template.len());
        let foundation = text(&project, "deploy/aws/foundation.yaml");
        assert!(!foundation.contains("{{") && foundation.contains("CodeBucket"), "{foundation}");
        let template = read::template(&template);
        let substituted = machine::substituted(&definition, &read::substitutions(&template));
        assert_eq!(machine::problems(&substituted), [""; 0], "{shape}");
        let machine: Value = serde_json::from_str(&substituted).unwrap();
        assert_eq!(rights::granted(&template), rights::used(&template, &machine, &manifest), "{shape}");
        // A webhook hears of alarms by the function; without one nobody is called.
        let alarms = all(&template, "AWS::CloudWatch::Alarm");
        let permissions = all(&template, "AWS::Lambda::Permission");
        let told = manifest.contains("[notify]") && !manifest.contains("events = [\"failed\"]");
        assert_eq!((alarms.len(), permissions.len()), (4, if told { 4 } else { 0 }), "{shape}");
        assert!(alarms.values().all(|a| a.get("AlarmActions").is_some() == told), "{shape}");
    }
}

#[test]
fn the_longest_names_are_taken_and_no_two_deployments_share_one() {
    let env = "an-environment-with-a-name-that-is-far-longer-than-anybody-would-like";
    let project = Project::new(&by_the_hour("${SHOP_DATABASE}").replace("[env.staging]", &format!("[env.{env}]")));
    let manifest =
        text(&project, "hakiri.toml").replacen("name = \"test\"", &format!("name = \"{}\"", "p".repeat(40)), 1);
    project.write("hakiri.toml", &manifest);
    let mut names = BTreeSet::new();
    for (args, dir) in
        [(&["deploy", "aws"][..], DIR.to_owned()), (&["deploy", "aws", "--env", env], format!("{DIR}-{env}"))]
    {
        project.hakiri(args).expect(0);
        let definition = text(&project, &format!("{dir}/hakiri.asl.json"));
        let template = text(&project, &format!("{dir}/template.yaml"));
        assert_eq!(template::problems(&template, &definition), [""; 0]);
        let machine = all(&read::template(&template), "AWS::StepFunctions::StateMachine")["Machine"].clone();
        assert!(names.insert(machine["StateMachineName"].as_str().unwrap().to_owned()), "{names:?}");
    }
    assert!(names.iter().all(|name| name.len() <= 52), "with `-foundation` it is still a name: {names:?}");
}

#[test]
fn a_function_and_a_table_are_what_there_is_unless_more_is_asked_for() {
    let project = Project::new(SHOP);
    let ran = project.hakiri(&["deploy", "aws"]).expect(0);
    ran.says("The catalog is a table of DynamoDB: it needs no network and costs next to nothing at rest");
    ran.says("api runs on Lambda: each step is a call of its own");
    ran.says("Without a schedule, and so never run there: by-hand");
    let template = read::of(&project, DIR);
    let function = all(&template, "AWS::Lambda::Function")["Function"];
    assert_eq!((&function["FunctionName"], &function["Runtime"]), (&"hakiri-test".into(), &"provided.al2023".into()));
    let told = serde_json::json!({
        "HAKIRI_CATALOG": { "Fn::Sub": "dynamodb://${Table}" }, "HAKIRI_STORE": { "Fn::Sub": "s3://${Bucket}" },
        "HAKIRI_MEMORY": "512MiB", "HAKIRI_SECRETS": { "Fn::GetAtt": ["Secret", "Id"] },
    });
    assert_eq!(function["Environment"]["Variables"], told);
    // What does not fit into it is said before it is there.
    let disk = &function["EphemeralStorage"]["Size"];
    project.hakiri(&["deploy", "aws", "--plan"]).expect(0).says(&format!("{disk} MiB of disk"));
    assert!(!kinds(&template).iter().any(|kind| kind.contains("::EC2::") || kind.contains("::ECS::")));
    let schedules = all(&template, "AWS::Scheduler::Schedule");
    let expressions: Vec<&str> = schedules.values().map(|s| s["ScheduleExpression"].as_str().unwrap()).collect();
    assert_eq!(expressions, ["cron(0/15 * * * ? *)", "cron(0 6 13 * ? *)", "cron(0 6 ? * FRI *)"]);
    let names: Vec<&str> = schedules.values().map(|s| s["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["api", "sales_files", "sales_files.2"]);
    // Nothing of what is not woken.
    for (path, bytes) in contents(&project.path().join(DIR)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(path.starts_with("code/") || !text.contains("SHOP_DATABASE"), "{path}");
    }
}

#[test]
fn a_task_does_what_a_function_cannot_and_is_told_so() {
    let project = Project::new(&by_the_hour("${SHOP_DATABASE}"));
    let ran = project.hakiri(&["deploy", "aws"]).expect(0);
    ran.says("by-hand runs on Fargate: its database's address is a secret").says("api runs on Lambda");
    let template = read::of(&project, DIR);
    let inputs: Vec<String> = all(&template, "AWS::Scheduler::Schedule")
        .values()
        .map(|s| s["Target"]["Input"].as_str().unwrap().to_owned())
        .collect();
    let computes: Vec<Value> =
        inputs.iter().map(|i| serde_json::from_str::<Value>(i).unwrap()["compute"].clone()).collect();
    assert_eq!(computes, ["lambda", "fargate", "lambda", "lambda"]);
    let task = all(&template, "AWS::ECS::TaskDefinition")["Task"];
    assert_eq!((&task["Cpu"], &task["Memory"]), (&"512".into(), &"2048".into()));
    assert!(text(&project, "deploy/aws/hakiri.asl.json").contains(
        "States.Array('-C', '/project', '--log-format', 'json', '--memory', '1024MiB', 'run', '--due', '--orchestrated', \
         '--catalog', '${Catalog}', '--store', '${Store}', '--wake', $.wake, $.pipeline)"
    ));
    assert!(text(&project, "deploy/aws/Dockerfile").contains("ENTRYPOINT [\"/hakiri\"]"));

    // With a PostgreSQL nothing runs on functions, and the one that tells of alarms can do nothing else.
    let project = Project::new(&with("catalog = \"postgres\"", SHOP));
    let ran = project.hakiri(&["deploy", "aws"]).expect(0);
    ran.says("The catalog is a PostgreSQL of RDS").says("api runs on Fargate: the catalog is a PostgreSQL");
    let template = read::of(&project, DIR);
    let granted = rights::granted(&template);
    let expected = ["logs:CreateLogStream", "logs:PutLogEvents", "secretsmanager:GetSecretValue"];
    assert_eq!(rights::actions(&granted["FunctionRole"]), expected.into());
    let told = all(&template, "AWS::Lambda::Function")["Function"]["Environment"]["Variables"].clone();
    assert!(told.get("HAKIRI_CATALOG").is_none() && told.get("HAKIRI_STORE").is_none(), "{told}");
    let database = all(&template, "AWS::RDS::DBInstance")["Database"];
    assert_eq!(
        (&database["EnableIAMDatabaseAuthentication"], &database["PubliclyAccessible"]),
        (&true.into(), &false.into())
    );
    assert!(text(&project, "deploy/aws/Dockerfile").contains("/global/global-bundle.pem /rds-ca.pem"));
    project.manifest(&with("catalog = \"postgres\"", &SHOP.replace(HOOK, "")));
    project.hakiri(&["deploy", "aws"]).expect(0);
    assert!(all(&read::of(&project, DIR), "AWS::Lambda::Function").is_empty(), "nobody is to be told");
}

#[test]
fn what_is_there_already_is_used_and_nothing_of_a_network_is_made() {
    let project = Project::new(&with(&all_given(), SHOP));
    project.hakiri(&["deploy", "aws"]).expect(0).says("no task has a public address").says("The policy of the key");
    let template = read::of(&project, DIR);
    assert!(!kinds(&template).iter().any(|kind| kind.contains("::EC2::")), "{:?}", kinds(&template));
    for kind in ["AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::RDS::DBInstance"] {
        assert!(all(&template, kind).is_empty(), "{kind}");
    }
    let machine = text(&project, "deploy/aws/hakiri.asl.json");
    assert!(machine.contains("\"AssignPublicIp\": \"DISABLED\"") && !machine.contains("ENABLED\""), "{machine}");
    assert!(machine.contains("\"PropagateTags\": \"TASK_DEFINITION\""), "tasks are paid for, and tagged");
    let told = &all(&template, "AWS::StepFunctions::StateMachine")["Machine"]["DefinitionSubstitutions"];
    assert_eq!(
        (&told["Subnet2"], &told["SecurityGroup1"]),
        (&"subnet-0123456789abcdef1".into(), &"sg-0123456789abcdef0".into())
    );
    assert_eq!(told["Catalog"], format!("rds-secret:{DATABASE}?host=db.example.com&sslrootcert=/rds-ca.pem"));
    assert_eq!(told["Store"], "s3://acme-lake");
    for (id, role) in all(&template, "AWS::IAM::Role") {
        assert_eq!(role["PermissionsBoundary"], BOUNDARY, "{id}");
    }
    for (key, value) in [("team", "data"), ("Kostenstelle", "12/A")] {
        assert_eq!(template::untagged(&template, key, value), [""; 0], "{key}");
        let foundation = read::template(&text(&project, "deploy/aws/foundation.yaml"));
        assert_eq!(template::untagged(&foundation, key, value), [""; 0], "{key}");
    }
    assert_eq!(all(&template, "AWS::SecretsManager::Secret")["Secret"]["KmsKeyId"], KEY);
    assert_eq!(all(&template, "AWS::SQS::Queue")["DeadLetters"]["KmsMasterKeyId"], KEY);
    assert!(all(&template, "AWS::Logs::LogGroup").values().all(|group| group["KmsKeyId"] == KEY));

    // In an environment of its own in a bucket that is another's: a place of its own.
    project.hakiri(&["deploy", "aws", "--env", "staging"]).expect(0);
    let staging = read::of(&project, "deploy/aws-staging");
    let told = &all(&staging, "AWS::StepFunctions::StateMachine")["Machine"];
    let name = told["StateMachineName"].as_str().unwrap();
    assert!(name.ends_with("-staging") && name != "hakiri-test-staging", "{name}");
    assert_eq!(told["DefinitionSubstitutions"]["Store"], format!("s3://acme-lake/{name}"));
    assert!(text(&project, "deploy/aws-staging/hakiri.asl.json").contains("'-C', '/project', '--env', 'staging',"));
}

#[test]
fn alarms_call_the_function_only_where_the_webhook_asks_for_them() {
    // With a PostgreSQL the function is there for alarms alone.
    for (events, told) in [("", true), ("events = [\"late\", \"alarm\"]", true), ("events = [\"failed\"]", false)] {
        let shop = SHOP.replace(HOOK, &format!("{HOOK}\n{events}"));
        let project = Project::new(&with("catalog = \"postgres\"", &shop));
        let plan = project.hakiri(&["deploy", "aws", "--plan"]).expect(0);
        plan.says(if told { "the webhook hears of them" } else { "nobody hears of them" });
        project.hakiri(&["deploy", "aws"]).expect(0);
        let template = read::of(&project, DIR);
        assert_eq!(all(&template, "AWS::Lambda::Function").len(), usize::from(told), "{events}");
        let alarms = all(&template, "AWS::CloudWatch::Alarm");
        assert!(alarms.values().all(|a| a.get("AlarmActions").is_some() == told), "{events}");
    }
}

#[test]
fn the_readme_warns_of_deleting_a_stack_whose_network_is_in_use() {
    for (settings, warns) in [
        ("catalog = \"postgres\"".to_owned(), true),
        (format!("catalog = \"postgres\"\n{NETWORK}"), false),
        ("compute = \"fargate\"".to_owned(), false),
    ] {
        let project = Project::new(&with(&settings, SHOP));
        project.hakiri(&["deploy", "aws"]).expect(0);
        let readme = text(&project, "deploy/aws/README.md");
        assert_eq!(readme.contains("DELETE_FAILED"), warns, "{settings}");
        assert!(readme.contains("Do not delete the stack by hand"), "{settings}");
    }
}

#[test]
fn a_secret_of_a_login_alone_is_completed() {
    const MANAGED: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-01ab-AbCdEf";
    for (more, query) in [
        (
            "database_host = \"db.example.com:5433\"\ndatabase_name = \"shop\"",
            "host=db.example.com&port=5433&dbname=shop&",
        ),
        ("database_host = \"db.example.com\"", "host=db.example.com&"),
        ("database_name = \"shop\"", "dbname=shop&"),
        ("", ""),
    ] {
        let project = Project::new(&with(&format!("database_secret_arn = \"{MANAGED}\"\n{more}"), SHOP));
        project.hakiri(&["deploy", "aws"]).expect(0);
        let template = read::of(&project, DIR);
        let told = &all(&template, "AWS::StepFunctions::StateMachine")["Machine"]["DefinitionSubstitutions"];
        assert_eq!(told["Catalog"], format!("rds-secret:{MANAGED}?{query}sslrootcert=/rds-ca.pem"));
    }
}

#[test]
fn what_is_not_given_is_made() {
    // None of it.
    let project = Project::new(&with("compute = \"fargate\"", SHOP));
    project.hakiri(&["deploy", "aws"]).expect(0);
    let template = read::of(&project, DIR);
    for kind in ["AWS::EC2::VPC", "AWS::EC2::VPCEndpoint", "AWS::S3::Bucket", "AWS::DynamoDB::Table"] {
        assert!(!all(&template, kind).is_empty(), "{kind}");
    }
    assert!(text(&project, "deploy/aws/hakiri.asl.json").contains("\"AssignPublicIp\": \"ENABLED\""));
    assert!(!text(&project, "deploy/aws/template.yaml").contains("KmsKeyId"));
    // A network and no database: it is put there; the network's default group stands for none.
    let given =
        "vpc_id = \"vpc-0123456789abcdef0\"\nsubnet_ids = [\"subnet-0123456789abcdef0\"]\ncompute = \"fargate\"";
    project.manifest(&with(given, SHOP));
    project.hakiri(&["deploy", "aws"]).expect(0);
    let template = read::of(&project, DIR);
    assert!(!kinds(&template).iter().any(|kind| kind.contains("::EC2::")));
    let machine = text(&project, "deploy/aws/hakiri.asl.json");
    assert!(machine.contains("DISABLED") && !machine.contains("SecurityGroups"), "{machine}");
    project.manifest(&with(&format!("catalog = \"postgres\"\n{NETWORK}"), SHOP));
    project.hakiri(&["deploy", "aws"]).expect(0);
    let template = read::of(&project, DIR);
    assert!(!kinds(&template).iter().any(|kind| kind.contains("::EC2::")));
    let database = all(&template, "AWS::RDS::DBInstance")["Database"];
    assert_eq!(database["VPCSecurityGroups"], serde_json::json!(["sg-0123456789abcdef0"]));
    // A bucket and functions alone: a network that nothing is in is said to have no effect.
    project.manifest(&with(&format!("bucket = \"acme-lake\"\n{NETWORK}"), SHOP));
    project.hakiri(&["deploy", "aws"]).expect(0).says("vpc_id has no effect");
    let template = read::of(&project, DIR);
    assert!(all(&template, "AWS::S3::Bucket").is_empty());
    let functions = all(&template, "AWS::Lambda::Function");
    assert_eq!(functions["Function"]["Environment"]["Variables"]["HAKIRI_STORE"], "s3://acme-lake");
    let role = all(&template, "AWS::IAM::Role")["FunctionRole"].to_string();
    assert!(role.contains("arn:${AWS::Partition}:s3:::acme-lake/test/*"), "{role}");
}

/// What a role may do alone on other things than all else that it may do, such as reading files.
fn resources_of(project: &Project, dir: &str, role: &str, action: &str) -> Vec<String> {
    let template = read::of(project, dir);
    let statements = &all(&template, "AWS::IAM::Role")[role]["Policies"][0]["PolicyDocument"]["Statement"];
    let found = statements.as_array().unwrap().iter().filter(|statement| statement["Action"] == action);
    let resources = found.filter_map(|statement| statement["Resource"].as_array()).flatten();
    resources.map(|one| one["Fn::Sub"].as_str().unwrap_or_else(|| panic!("{one}")).to_owned()).collect()
}

#[test]
fn files_are_read_from_the_bucket_that_is_the_store_as_well() {
    let project = Project::new(&with("bucket = \"acme-inbox\"", SHOP));
    for (args, dir) in [(&["deploy", "aws"][..], DIR), (&["deploy", "aws", "--env", "staging"], "deploy/aws-staging")] {
        project.hakiri(args).expect(0);
        // Else the function could read the project's own folder alone, where no files to read are.
        let read = resources_of(&project, dir, "FunctionRole", "s3:GetObject");
        assert_eq!(read, ["arn:${AWS::Partition}:s3:::acme-inbox/sales/*"], "{dir}");
    }
}

#[test]
fn of_other_buckets_no_more_is_read_than_pipelines_ask_for() {
    let reads = |id: &str, config: &str| {
        format!(
            "[[pipeline]]\nid = \"{id}\"\nschedule = \"every 1h\"\n\
             source = {{ connector = \"file\", config = {{ {config} }} }}\n"
        )
    };
    let tables =
        "tables = { a = { path = \"s3://lake/in/'a b\\\".csv\" }, b = { path = \"s3://other/2026-*/**/*.csv\" } }";
    let manifest = [
        SHOP.to_owned(),
        reads("r1", "path = \"s3://lake/x/*.csv\""),
        reads("r2", tables),
        reads("r3", "path = \"s3://lake/x/*.json\""),
    ];
    let project = Project::new(&manifest.concat());
    project.hakiri(&["deploy", "aws"]).expect(0);
    let of = |action| resources_of(&project, DIR, "FunctionRole", action);
    let object = |rest: &str| format!("arn:${{AWS::Partition}}:s3:::{rest}");
    assert_eq!(
        of("s3:GetObject"),
        ["acme-inbox/sales/*", "lake/in/'a b\".csv", "lake/x/*", "other/2026-*"].map(object)
    );
    assert_eq!(of("s3:ListBucket"), ["acme-inbox", "lake", "other"].map(object));
}

#[test]
fn the_same_manifest_serves_both_clouds() {
    let both = with("memory = \"2GiB\"", SHOP) + "\n[deploy.cloudflare]\ninstance_type = \"standard-1\"\n";
    let project = Project::new(&both.replace("s3://acme-inbox", "s3://inbox"));
    for target in ["aws", "cloudflare"] {
        project.hakiri(&["deploy", target]).expect(0);
    }
    let copies: BTreeSet<String> =
        ["aws/code", "cloudflare"].map(|dir| text(&project, &format!("deploy/{dir}/project/hakiri.toml"))).into();
    assert_eq!(copies.len(), 1);
}
