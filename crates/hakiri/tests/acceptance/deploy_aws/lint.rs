//! The linters of templates and machines, and that they and our own checks see what is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{DIR, by_the_hour, machine, read, rights, shapes, template};
use crate::support::{Project, text};

/// Where the linters are.
pub fn tools() -> PathBuf {
    PathBuf::from(std::env::var("HAKIRI_TEST_LINT").expect("HAKIRI_TEST_LINT is not set: run the tests with ./x test"))
}

/// What cfn-lint has to say of files, without what is meant as it is: files beside the template, which `package` uploads
/// (W3002), and a version of PostgreSQL without its minor one, so that the newest is taken (W3691).
fn cfn_lint(files: &[PathBuf]) -> String {
    let mut command = Command::new(tools().join("bin/cfn-lint"));
    command.args(["--regions", "eu-central-1", "--ignore-checks", "W3002", "W3691", "--"]).args(files);
    let output = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What statelint has to say of a definition. It does not know MaxConcurrencyPath, which says how many at once.
fn statelint(definition: &str, dir: &Path) -> String {
    let path = dir.join("machine.json");
    std::fs::write(
        &path,
        definition.replace("\"MaxConcurrencyPath\": \"$.begin.answer.concurrency\"", "\"MaxConcurrency\": 4"),
    )
    .unwrap();
    let output = Command::new(tools().join("node_modules/.bin/statelint")).arg(&path).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { String::new() } else { format!("{said} ") }
}

#[test]
fn the_linters_find_nothing_in_any_shape() {
    let projects: Vec<(&str, Project)> =
        shapes().into_iter().map(|(s, manifest)| (s, Project::new(&manifest))).collect();
    let mut files = Vec::new();
    for (shape, project) in &projects {
        project.hakiri(&["deploy", "aws"]).expect(0);
        let dir = project.path().join(DIR);
        files.extend([dir.join("template.yaml"), dir.join("foundation.yaml")]);
        let definition = text(project, "deploy/aws/hakiri.asl.json");
        let substitutions = read::substitutions(&read::of(project, DIR));
        assert_eq!(statelint(&machine::substituted(&definition, &substitutions), project.path()), "", "{shape}");
    }
    assert_eq!(cfn_lint(&files), "");
}

/// Faults that were put into the files: where, what was there, and what took its place.
const FAULTS: [(&str, &str, &str); 27] = [
    ("template.yaml", "!GetAtt Function.Arn", "!GetAtt Funktion.Arn"),
    ("template.yaml", "Timeout: 900", "Timeout: 901"),
    ("template.yaml", "s3:PutObject", "s3:PutObjekt"),
    ("template.yaml", "- s3:DeleteObject", "- s3:GetObject"),
    ("template.yaml", "dynamodb:Query", "dynamodb:Scan"),
    // Rights on more than what is meant.
    ("template.yaml", "Resource: !GetAtt Table.Arn", "Resource: \"*\""),
    ("template.yaml", "Resource: !GetAtt FunctionLogs.Arn", "Resource: \"*\""),
    ("template.yaml", "${Bucket.Arn}/test/*", "${Bucket.Arn}/*"),
    ("template.yaml", "s3:::acme-inbox/sales/*", "s3:::acme-inbox/*"),
    ("template.yaml", ":task-definition/hakiri-test\"", ":task-definition/*\""),
    ("template.yaml", "- !GetAtt StartRole.Arn", "- \"*\""),
    ("template.yaml", "iam:PassedToService: ecs-tasks", "aws:PrincipalTag: ecs-tasks"),
    ("template.yaml", "DeletionPolicy: RetainExceptOnCreate", "DeletionPolicy: Delete"),
    ("template.yaml", "cron(0/15 * * * ? *)", "cron(0/15 * * * * *)"),
    ("template.yaml", "cron(0/15 * * * ? *)", "cron(0/15 25 * * ? *)"),
    ("template.yaml", "ScheduleExpressionTimezone: UTC", "ScheduleExpressionTimezone: Europe/Berlinn"),
    ("template.yaml", "Partition: !Ref AWS::Partition\n", "\n"),
    ("template.yaml", "Cpu: \"512\"", "Cpu: \"333\""),
    ("template.yaml", "<aws.scheduler.scheduled-time>", "<aws.scheduler.time>"),
    ("hakiri.asl.json", "\"Next\": \"AfterStep\"", "\"Next\": \"AfterStop\""),
    ("hakiri.asl.json", "\"Default\": \"Commit\"", "\"Default\": \"HandOver\""),
    ("hakiri.asl.json", "\"$.begin.answer.epoch\"", "\"$.begin.epoch\""),
    ("hakiri.asl.json", "$$.Map.Item.Value", "$$.Map.Value"),
    ("hakiri.asl.json", "states:::lambda:invoke", "states:::lambda:invokeFunction"),
    ("hakiri.asl.json", "\"Hakiri.Transient\",", ""),
    ("hakiri.asl.json", "\"StringEquals\": \"wait\"", "\"StringEquals\": \"waits\""),
    ("hakiri.asl.json", "\"SecondsPath\": \"$.commit.answer.seconds\"", "\"SecondsPath\": \"$.commit.seconds\""),
];

#[test]
fn each_fault_is_seen_by_a_linter_or_a_check() {
    let manifest = by_the_hour("${SHOP_DATABASE}");
    let project = Project::new(&manifest);
    project.hakiri(&["deploy", "aws"]).expect(0);
    let dir = tempfile::tempdir().unwrap();
    let mut unseen = Vec::new();
    // Without a fault nothing is seen, or it would be no fault that is.
    let whole = read::of(&project, DIR);
    let definition = machine::substituted(&text(&project, "deploy/aws/hakiri.asl.json"), &read::substitutions(&whole));
    assert_eq!(rights::used(&whole, &serde_json::from_str(&definition).unwrap(), &manifest), rights::granted(&whole));
    for (n, (file, from, to)) in FAULTS.into_iter().enumerate() {
        let at = |name: &str| {
            let whole = text(&project, &format!("{DIR}/{name}"));
            assert!(name != file || whole.contains(from), "{from} is not in {name}");
            if name == file { whole.replacen(from, to, 1) } else { whole }
        };
        let (yaml, definition) = (at("template.yaml"), at("hakiri.asl.json"));
        let parsed = read::template(&yaml);
        let substituted = machine::substituted(&definition, &read::substitutions(&parsed));
        let mut seen = template::problems(&yaml, &definition);
        seen.extend(machine::problems(&substituted));
        if let Ok(machine) = serde_json::from_str(&substituted)
            && rights::used(&parsed, &machine, &manifest) != rights::granted(&parsed)
        {
            seen.push("rights".to_owned());
        }
        if seen.is_empty() && file == "template.yaml" {
            let path = dir.path().join(format!("{n}.yaml"));
            std::fs::write(&path, &yaml).unwrap();
            seen.extend(Some(cfn_lint(&[path])).filter(|said| !said.is_empty()));
        }
        if seen.is_empty() {
            seen.extend(Some(statelint(&substituted, dir.path())).filter(|said| !said.is_empty()));
        }
        println!("{from} → {to}: {:?}", seen.first());
        if seen.is_empty() {
            unseen.push((from, to));
        }
    }
    assert_eq!(unseen, [("", ""); 0]);
}
