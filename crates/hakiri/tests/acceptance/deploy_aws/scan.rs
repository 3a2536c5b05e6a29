//! What a security team's scanner has to say of the templates: nothing but what is meant as it is, each with its reason.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::lint::tools;
use super::{DIR, shapes};
use crate::support::{Project, text};

/// What is objected to in templates without a key of the user's, and not with one.
const WITHOUT_A_KEY: [(&str, &str); 5] = [
    ("CKV_AWS_119", "the table is encrypted with a key of AWS; with `kms_key_arn` by that"),
    ("CKV_AWS_136", "the repository likewise"),
    ("CKV_AWS_149", "the secrets likewise"),
    ("CKV_AWS_158", "the logs likewise"),
    ("CKV_AWS_27", "the queue of dead letters likewise; it holds names of pipelines and times"),
];

/// What is objected to in any case.
const MEANT: [(&str, &str); 11] = [
    ("CKV_AWS_18", "access logs need another bucket and cost by the request: whoever wants them has CloudTrail"),
    (
        "CKV_AWS_21",
        "data files are created once and never changed (S2), and what is rewritten is derived from the catalog",
    ),
    ("CKV_AWS_51", "the image is deployed by its digest; `latest` only finds the digest of what was pushed"),
    ("CKV_AWS_65", "container insights cost by the metric: a task says in its log what it did"),
    ("CKV_AWS_115", "`concurrency` bounds each pipeline; reserved concurrency would take from what the account has"),
    (
        "CKV_AWS_116",
        "the machine waits for each answer and repeats it; an alarm whose webhook stays down is in CloudWatch",
    ),
    ("CKV_AWS_117", "a function in a network needs a NAT for everything; what is in one runs on Fargate"),
    ("CKV_AWS_118", "enhanced monitoring costs and asks for a role, for a database of a few megabytes"),
    (
        "CKV_AWS_157",
        "a second database doubles the cost; a catalog that is away for minutes delays runs and loses nothing",
    ),
    ("CKV_AWS_163", "the image is one static binary FROM scratch: there are no packages to scan"),
    ("CKV_AWS_173", "the environment has names and addresses; secrets are in Secrets Manager"),
];

/// The checks that fail of the templates in a folder, and what they say: path, check, resource.
fn objections(dir: &Path) -> Vec<(String, String, String)> {
    let mut command = Command::new(tools().join("scan/bin/checkov"));
    command.args(["--framework", "cloudformation", "--compact", "--quiet", "--skip-download", "--output", "json"]);
    let output = command.arg("--directory").arg(dir).env("BC_SKIP_MAPPING", "TRUE").output().unwrap();
    let all: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let summary = &all["summary"];
    assert!(summary["passed"].as_u64() > Some(20) && summary["parsing_errors"] == 0, "{summary}");
    let of = |value: &Value| value.as_str().unwrap().to_owned();
    let failed = all["results"]["failed_checks"].as_array().unwrap().iter();
    failed.map(|f| (of(&f["file_path"]), of(&f["check_id"]), of(&f["resource"]))).collect()
}

#[test]
fn a_scan_objects_to_nothing_but_what_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let mut keyed = BTreeSet::new();
    for (n, (_, manifest)) in shapes().into_iter().enumerate() {
        let project = Project::new(&manifest);
        project.hakiri(&["deploy", "aws"]).expect(0);
        let to = dir.path().join(n.to_string());
        std::fs::create_dir(&to).unwrap();
        for file in ["template.yaml", "foundation.yaml"] {
            std::fs::copy(project.path().join(DIR).join(file), to.join(file)).unwrap();
        }
        if manifest.contains("kms_key_arn") {
            keyed.insert(n.to_string());
        }
    }
    let objections = objections(dir.path());
    let is_meant = |(path, check, _): &&(String, String, String)| {
        let has_key = path.split('/').any(|part| keyed.contains(part));
        MEANT.iter().any(|(id, _)| id == check) || !has_key && WITHOUT_A_KEY.iter().any(|(id, _)| id == check)
    };
    let others: Vec<_> = objections.iter().filter(|o| !is_meant(o)).collect();
    assert!(others.is_empty(), "{others:#?}");
    let said = |id: &str| objections.iter().any(|(_, check, _)| check == id);
    let idle: Vec<&str> = MEANT.iter().chain(&WITHOUT_A_KEY).map(|(id, _)| *id).filter(|id| !said(id)).collect();
    assert_eq!(idle, [""; 0], "nothing objects to these any more");
}

#[test]
fn a_scan_sees_what_is_open() {
    let manifest = shapes().into_iter().find(|(shape, _)| *shape == "a database of its own").unwrap().1;
    let project = Project::new(&manifest);
    project.hakiri(&["deploy", "aws"]).expect(0);
    let whole = text(&project, &format!("{DIR}/template.yaml"));
    let dir = tempfile::tempdir().unwrap();
    let faults = [
        ("RestrictPublicBuckets: true", "RestrictPublicBuckets: false"),
        ("StorageEncrypted: true", "StorageEncrypted: false"),
        ("PubliclyAccessible: false", "PubliclyAccessible: true"),
    ];
    for (n, (from, to)) in faults.iter().enumerate() {
        assert!(whole.contains(from), "{from}");
        std::fs::write(dir.path().join(format!("{n}.yaml")), whole.replace(from, to)).unwrap();
    }
    let objections = objections(dir.path());
    for (n, fault) in faults.iter().enumerate() {
        let of_it = |(path, check, _): &&(String, String, String)| {
            path.ends_with(&format!("{n}.yaml")) && MEANT.iter().chain(&WITHOUT_A_KEY).all(|(id, _)| id != check)
        };
        assert!(objections.iter().any(|o| of_it(&o)), "{fault:?}: {objections:?}");
    }
}
