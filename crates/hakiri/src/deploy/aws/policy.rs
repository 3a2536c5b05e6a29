//! What each process of the deployment may do, put together of the files in `policy/`.
//!
//! Each file is some statements of a policy of IAM as they would be written by hand. Who is given which of them, and on
//! which bucket, secret and key, is decided here.

use std::collections::BTreeSet;

use hakiri_core::Result;
use hakiri_core::spec::AwsCatalog;

use super::machine::lines;
use super::settings::{Function, Settings};
use super::shape::Compute;
use crate::deploy::input::Input;
use crate::deploy::template::{Values, quoted};

/// The most resources of one bucket: all policies of a role may have 10,240 characters together.
const MOST_OBJECTS: usize = 20;

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
        let item = |rest: &str| format!("- {}", arn_of_bucket(rest));
        let objects =
            s.read.iter().flat_map(|(bucket, paths)| objects(paths).into_iter().map(move |o| format!("{bucket}/{o}")));
        let read = Values::default()
            .with_lines("objects", objects.map(|object| item(&object)).collect())
            .with_lines("buckets", s.read.keys().map(|bucket| item(bucket)).collect());
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

/// What is read of a bucket, as the resources of a policy name it: a key as it is, and of a pattern what all its keys begin
/// with. What another one covers is left out.
fn objects(paths: &BTreeSet<String>) -> BTreeSet<String> {
    let all: BTreeSet<String> = paths.iter().map(|path| object(path)).collect();
    let covers =
        |wide: &str, one: &str| wide != one && wide.strip_suffix('*').is_some_and(|start| one.starts_with(start));
    let needed: BTreeSet<String> =
        all.iter().filter(|one| !all.iter().any(|wide| covers(wide, one))).cloned().collect();
    if needed.len() <= MOST_OBJECTS {
        return needed;
    }
    let (first, last) = (needed.first().map_or("", String::as_str), needed.last().map_or("", String::as_str));
    // They are sorted: what the first and the last begin with, all do.
    let common = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b && *a != b'*').count();
    [format!("{}*", &first[..common])].into()
}

/// What a policy takes for itself ends what is known of a key: wildcards, and the `$` of variables. So do characters that
/// not every service takes in a policy.
fn object(path: &str) -> String {
    let is_plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '*' | '?' | '[' | '$');
    match path.find(|c| !is_plain(c)) {
        _ if path.is_empty() => "*".to_owned(),
        None => path.to_owned(),
        Some(end) => format!("{}*", &path[..end]),
    }
}

/// What follows is a bucket, or a key or pattern in one.
fn arn_of_bucket(rest: &str) -> String {
    quoted(&format!("arn:${{AWS::Partition}}:s3:::{rest}")).replacen('"', "!Sub \"", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_granted_up_to_its_first_wildcard() {
        for (paths, expected) in [
            (&["inbox/2026/*.csv"][..], &["inbox/2026/*"][..]),
            (&["inbox/a.csv"], &["inbox/a.csv"]),
            (&["in/2024-??.csv", "in/a[1].csv", "**/*"], &["*"]),
            (&["in/2024-??.csv", "in/a[1].csv", "b/**/x"], &["b/*", "in/2024-*", "in/a*"]),
            (&["in/*.csv", "in/*.json", "in/a/b.csv", "in/*"], &["in/*"]),
            (&["${X}/a.csv"], &["*"]),
            (&["in/${X}"], &["in/*"]),
            (&["größe/a.csv"], &["gr*"]),
            (&[""], &["*"]),
        ] {
            let found = objects(&paths.iter().map(|path| (*path).to_owned()).collect());
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{paths:?}");
        }
    }

    #[test]
    fn many_paths_are_granted_by_what_they_have_in_common() {
        let many = |n: usize| (0..n).map(|n| format!("in/{n:03}.csv")).collect();
        assert_eq!(objects(&many(MOST_OBJECTS)).len(), MOST_OBJECTS);
        assert_eq!(objects(&many(MOST_OBJECTS + 1)), ["in/0*".to_owned()].into());
        assert_eq!(objects(&many(400)), ["in/*".to_owned()].into());
        let apart: BTreeSet<String> = (0..400).map(|n| format!("{n}/*.csv")).collect();
        assert_eq!(objects(&apart), ["*".to_owned()].into());
    }
}
