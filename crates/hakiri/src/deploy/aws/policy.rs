//! What each process of the deployment may do, put together of the files in `policy/`.
//!
//! Each file is some statements of a policy of IAM as they would be written by hand. Who is given which of them, and on
//! which bucket, secret and key, is decided here.

use hakiri_core::Result;
use hakiri_core::spec::AwsCatalog;

use super::machine::lines;
use super::settings::{Function, Settings};
use super::shape::Compute;
use crate::deploy::input::Input;
use crate::deploy::template::{Values, quoted};

/// What a process may do that runs pipelines.
pub(super) fn of_pipelines(input: &Input<'_>, s: &Settings) -> Result<Vec<String>> {
    let place = match &s.prefix {
        Some(prefix) => format!("{prefix}/{}/*", input.project.name),
        None => format!("{}/*", input.project.name),
    };
    let store = match &s.bucket {
        None => Values::default()
            .with("bucket", "!GetAtt Bucket.Arn")
            .with("objects", format!("!Sub \"${{Bucket.Arn}}/{place}\"")),
        Some(bucket) => Values::default()
            .with("bucket", arn_of_bucket(bucket))
            .with("objects", arn_of_bucket(&format!("{bucket}/{place}"))),
    };
    let mut out = lines(&store.fill(include_str!("policy/store.yaml"))?);
    match s.catalog.chosen {
        AwsCatalog::Dynamodb => out.extend(lines(include_str!("policy/table.yaml"))),
        AwsCatalog::Postgres if s.own_database() => out.extend(lines(include_str!("policy/database.yaml"))),
        AwsCatalog::Postgres => {}
    }
    if !s.read.is_empty() {
        let each = |rest: &str| s.read.iter().map(|b| format!("- {}", arn_of_bucket(&format!("{b}{rest}")))).collect();
        let read = Values::default().with_lines("objects", each("/*")).with_lines("buckets", each(""));
        out.extend(lines(&read.fill(include_str!("policy/read.yaml"))?));
    }
    out.extend(secrets(s, true)?);
    out.extend(key(s, &["dynamodb", "s3", "secretsmanager"])?);
    Ok(out)
}

/// What the function may do.
pub(super) fn of_function(input: &Input<'_>, s: &Settings, function: Function) -> Result<Vec<String>> {
    let mut out = match function {
        Function::Runs(_) => of_pipelines(input, s)?,
        Function::Tells => [secrets(s, false)?, key(s, &["secretsmanager"])?].concat(),
    };
    out.extend(lines(include_str!("policy/logs.yaml")));
    Ok(out)
}

/// What the state machine may do.
pub(super) fn of_machine(s: &Settings) -> Result<Vec<String>> {
    let named = |text: &str| Values::default().with("name", &s.name).fill(text);
    let mut out = Vec::new();
    if s.runs_on(Compute::Lambda) {
        out.extend(lines(&named(include_str!("policy/machine-lambda.yaml"))?));
    }
    if s.runs_on(Compute::Fargate) {
        out.extend(lines(&named(include_str!("policy/machine-fargate.yaml"))?));
        if !s.tags.is_empty() {
            out.extend(lines(&named(include_str!("policy/machine-tags.yaml"))?));
        }
    }
    out.extend(lines(include_str!("policy/machine-logs.yaml")));
    Ok(out)
}

/// What has to be allowed where the key encrypts what these services store.
pub(super) fn key(s: &Settings, services: &[&str]) -> Result<Vec<String>> {
    let Some(key) = &s.kms_key else { return Ok(Vec::new()) };
    let via =
        services.iter().map(|service| format!("- !Sub \"{service}.${{AWS::Region}}.${{AWS::URLSuffix}}\"")).collect();
    let values = Values::default().with("key", quoted(key)).with_lines("services", via);
    Ok(lines(&values.fill(include_str!("policy/key.yaml"))?))
}

/// What a process may read of the Secrets Manager.
fn secrets(s: &Settings, with_catalog: bool) -> Result<Vec<String>> {
    let mut secrets = Vec::new();
    if !s.passed.is_empty() {
        secrets.push("- !GetAtt Secret.Id".to_owned());
    }
    if with_catalog {
        if s.own_database() {
            secrets.push("- !GetAtt DatabaseSecret.Id".to_owned());
        }
        secrets.extend(s.database_secret.iter().map(|arn| format!("- {}", quoted(arn))));
    }
    if secrets.is_empty() {
        return Ok(Vec::new());
    }
    Ok(lines(&Values::default().with_lines("secrets", secrets).fill(include_str!("policy/secrets.yaml"))?))
}

fn arn_of_bucket(rest: &str) -> String {
    format!("!Sub \"arn:${{AWS::Partition}}:s3:::{rest}\"")
}
