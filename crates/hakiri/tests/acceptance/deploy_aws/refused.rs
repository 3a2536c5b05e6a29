//! What is refused before anything is written, with the limit and what to do about it.

use super::*;

#[test]
fn what_the_platform_cannot_do_is_refused_before_anything_is_written() {
    let every = |schedule: &str| SHOP.replace("every 15m", schedule);
    let network = |rest: &str| with(&format!("{NETWORK}\n{rest}"), SHOP);
    let private = by_the_hour("postgres://u:${SHOP_DATABASE}@db.prod.internal/x");
    for (manifest, says, hint) in [
        (every("every 30s"), "more often than once a minute", "every 1m"),
        (every("every 90s"), "ticks between two minutes", "every 2m"),
        (private.clone(), "names db.prod.internal, which the deployment's own network does not reach", "set vpc_id"),
        (with("compute = \"lambda\"", &private), "which functions cannot reach", "fargate = [\"by-hand\"], vpc_id"),
        (
            by_the_hour("postgres://u:${SHOP_DATABASE}@localhost/x"),
            "is the function or the task itself",
            "others reach it",
        ),
        (SHOP.replace("https://api.example.com/${HAKIRI_STAGE}", "http://10.0.0.7/"), "names 10.0.0.7", "vpc_id"),
        (SHOP.replace("${HOOK}", "http://hooks.local/x"), "[notify] webhook names hooks.local", "over the internet"),
        (
            by_the_hour("postgres://u:${SHOP_DATABASE}@db.example.com/x?sslmode=verify-full&sslrootcert=ca.pem"),
            "sslrootcert of the pipeline by-hand names a file",
            "sslrootcert=system",
        ),
        (SHOP.replace("API_TOKEN", "HAKIRI_SECRETS"), "HAKIRI_SECRETS of a secret is taken", "another name"),
        (SHOP.replace("API_TOKEN", "AWS_SESSION_TOKEN"), "AWS_SESSION_TOKEN of a secret is taken", "another name"),
        (
            with("memory = \"12GiB\"", SHOP),
            "12288 MiB, and a function has 10240",
            "10GiB at most, or compute to fargate",
        ),
        (with("compute = \"fargate\"\nmemory = \"33GiB\"", SHOP), "no size of a Fargate task", "36GiB"),
        (with("compute = \"fargate\"\nmemory = \"700MiB\"", SHOP), "no size of a Fargate task", "set memory to 1GiB"),
        (with("compute = \"fargate\"\nmemory = \"256GiB\"", SHOP), "no size of a Fargate task", "120GiB at most"),
        (
            with("catalog = \"postgres\"\ncompute = \"lambda\"", SHOP),
            "compute is lambda and the catalog",
            "leave compute out",
        ),
        (
            with(&format!("catalog = \"dynamodb\"\ndatabase_secret_arn = \"{DATABASE}\""), SHOP),
            "names a database for it",
            "one of the two",
        ),
        (with("fargate = [\"nope\"]", SHOP), "[deploy.aws] fargate: there is no pipeline `nope`", "api"),
        (with("subnet_ids = [\"subnet-1a2b3c4d\"]", SHOP), "subnet_ids is given, and vpc_id", "set vpc_id"),
        (with("security_group_ids = [\"sg-1a2b3c4d\"]", SHOP), "security_group_ids is given, and vpc_id", "set vpc_id"),
        (with("vpc_id = \"vpc-1a2b3c4d\"\ncompute = \"fargate\"", SHOP), "without subnet_ids", "set subnet_ids"),
        (
            with("vpc_id = \"vpc-1a2b3c4d\"\nsubnet_ids = [\"subnet-1a2b3c4d\"]\ncatalog = \"postgres\"", SHOP),
            "needs two, in two availability zones; the database is in the network of vpc_id",
            "name two subnets",
        ),
        (
            network(&format!("region = \"us-east-1\"\nkms_key_arn = \"{KEY}\"")),
            "kms_key_arn is in eu-central-1",
            "set region to",
        ),
        (SHOP.replace("schedule = ", "# "), "no pipeline has a schedule", "every 15m"),
        (SHOP.replace("s3://acme-inbox/sales/*.csv", "in/*.csv"), "aws does not support local files", "bucket of S3"),
        (
            SHOP.replace("sales_files", &"a".repeat(63)),
            "needs two schedules, and their names would be longer than 64",
            "62 characters at most",
        ),
    ] {
        let project = Project::new(&manifest);
        let refused = project.hakiri(&["deploy", "aws"]).expect(2);
        refused.says("HK1202").says(says).says("help:").says(hint);
        assert!(!project.path().join("deploy").exists(), "{manifest}");
    }
    // The network reaches what is private in it.
    let project = Project::new(&with(NETWORK, &private));
    project.hakiri(&["deploy", "aws"]).expect(0).says("by-hand runs on Fargate: its source is in a private network");
}

#[test]
fn memory_beyond_a_function_goes_with_no_pipeline_on_functions() {
    let project = Project::new(&with("fargate = [\"api\"]\nmemory = \"12GiB\"", SHOP));
    let refused = project.hakiri(&["deploy", "aws"]).expect(2);
    refused.says("HK1202").says("12288 MiB, and a function has 10240 at most");
    // What it says to do helps.
    refused.says("set it to 10GiB at most, or compute to fargate");
    for settings in
        ["fargate = [\"api\"]\nmemory = \"10GiB\"", "fargate = [\"api\"]\nmemory = \"12GiB\"\ncompute = \"fargate\""]
    {
        project.manifest(&with(settings, SHOP));
        project.hakiri(&["deploy", "aws"]).expect(0);
    }
    let task = all(&read::of(&project, DIR), "AWS::ECS::TaskDefinition")["Task"]["Memory"].clone();
    assert_eq!(task, "12288");
}

#[test]
fn more_than_a_stack_holds_is_refused() {
    let many = |n: usize| {
        (0..n).fold(SHOP.to_owned(), |text, n| {
            text + &format!(
                "[[pipeline]]\nid = \"f{n}\"\nschedule = \"every 1h\"\nsource = {{ connector = \"file\", config = {{ path = \
                 \"s3://in/{n}.csv\" }} }}\n"
            )
        })
    };
    let project = Project::new(&many(500));
    let refused = project.hakiri(&["deploy", "aws"]).expect(2);
    refused
        .says("HK1202")
        .says("resources would be in the stack, and CloudFormation takes 500")
        .says("split the project");
    project.manifest(&many(400));
    project.hakiri(&["deploy", "aws"]).expect(0);
}

#[test]
fn tags_that_make_a_template_too_large_for_text_are_refused() {
    // What AWS takes at most but for the ten that are its own.
    let tags = |letter: &str| {
        let all: Vec<String> = (0..40).map(|n| format!("tag{n} = \"{}\"", letter.repeat(256))).collect();
        format!("tags = {{ {} }}", all.join(", "))
    };
    let asleep = "the template of what holds data alone, which `hakiri destroy` deploys, would have";
    let database = "catalog = \"postgres\"";
    let project = Project::new("");
    for (settings, says) in [
        // The letters of most languages are two or three bytes.
        (format!("compute = \"fargate\"\n{}", tags("\u{5024}")), "foundation.yaml would have"),
        (format!("{database}\n{}", tags("a")), asleep),
    ] {
        project.manifest(&with(&settings, SHOP));
        let refused = project.hakiri(&["deploy", "aws"]).expect(2);
        refused.says("HK1202").says(says).says("CloudFormation takes 51200 without a bucket");
        refused.says("fewer or shorter tags");
        assert!(!project.path().join("deploy").exists(), "{says}");
    }
    // The awake template goes by way of a bucket, and may be larger.
    project.manifest(&with(&tags("a"), SHOP));
    project.hakiri(&["deploy", "aws"]).expect(0);
    assert!(text(&project, "deploy/aws/template.yaml").len() > 51_200);
}
