//! What there is in the account, for people to see before it is.

use super::settings::{Function, Network, Settings};
use super::template::DISK_MIB;
use crate::deploy::resources::{Resource, SECRET};

/// What is watched, by the end of an alarm's name.
pub(super) const ALARMS: [&str; 4] = ["failed", "timed-out", "aborted", "dead-letters"];

/// The kinds that hold data, or what the next `--apply` begins with: they are there also asleep.
const FOUNDATION: &str = "foundation stack";
const STACK: &str = "stack";
const BUCKET: &str = "S3 bucket";
const TABLE: &str = "DynamoDB table";
const DATABASE: &str = "RDS database";
const NETWORK: &str = "network";

/// Whether a resource stays when a deployment is put to sleep: the network does where a database is in it.
pub(super) fn is_kept(s: &Settings, resource: &Resource) -> bool {
    [FOUNDATION, STACK, BUCKET, TABLE, DATABASE, SECRET].contains(&resource.kind.as_str())
        || (resource.kind == NETWORK && s.own_database())
}

/// Everything that is created. Where CloudFormation chooses a name, it begins with the stack's and the part's.
pub(super) fn resources(s: &Settings) -> Vec<Resource> {
    let chosen = |part: &str| format!("{}-{part}-…", s.name);
    let image = if s.task.is_some() { " and the repository of the image" } else { "" };
    let mut out = vec![
        Resource::new(FOUNDATION, s.foundation(), format!("the bucket for the packed code{image}")),
        Resource::new(STACK, &s.name, "everything else; a template of 51,200 bytes, or 1 MB by way of that bucket"),
    ];
    for pipeline in &s.pipelines {
        for (n, expression) in pipeline.wakes.expressions.iter().enumerate() {
            let suffix = if n == 0 { String::new() } else { format!(".{}", n + 1) };
            let limit = format!("{expression} in UTC, on {}", pipeline.compute.chosen.title());
            out.push(Resource::new("schedule", format!("{}/{}{suffix}", s.name, pipeline.id), limit));
        }
    }
    out.push(Resource::new("dead letters (SQS)", chosen("DeadLetters"), "wakes that were not delivered, for 14 days"));
    out.push(Resource::new(
        "Step Functions machine",
        &s.name,
        "Standard; 25,000 events an execution, 256 KiB a payload, a day; what is longer is gone on with by the next one",
    ));
    match s.function {
        Some(Function::Runs(memory)) => out.push(Resource::new(
            "Lambda function",
            &s.name,
            format!(
                "{memory} MB, {} MiB of it for rows on their way, {DISK_MIB} MiB of disk for those that do not fit; 15 \
                 minutes for a step, then it is gone on with or begun again; the account's 1,000 calls at once",
                memory / 2
            ),
        )),
        Some(Function::Tells) => out.push(Resource::new(
            "Lambda function",
            &s.name,
            "tells the webhook of alarms, and has no rights on store and catalog",
        )),
        None => {}
    }
    if let Some(size) = s.task {
        let cpu = size.cpu as f64 / 1_024.0;
        let limit = format!(
            "Fargate: {cpu} vCPU, {} MiB, half of it for rows on their way, 20 GB of disk; one for each run, up to 23 hours",
            size.memory_mib
        );
        out.push(Resource::new("ECS cluster and task", &s.name, limit));
    }
    if s.network == Network::Own {
        let database = if s.own_database() { ", two more for the database, without a way out" } else { "" };
        let limit = format!("two subnets whose tasks have public addresses, nothing is let in{database}");
        out.push(Resource::new(NETWORK, &s.name, limit));
    }
    if s.bucket.is_none() {
        out.push(Resource::new(BUCKET, chosen("bucket"), "the store; kept when the stack is deleted"));
    }
    if s.own_database() {
        let limit =
            "the catalog: db.t4g.micro in one zone, 20 to 100 GB, logins by IAM; kept when the stack is deleted";
        out.push(Resource::new(DATABASE, chosen("database"), limit));
        out.push(Resource::new(SECRET, format!("{}-database", s.name), "the database's administrator, used once"));
    } else if s.has_table() {
        let limit = "the catalog, paid by the request; kept when the stack is deleted";
        out.push(Resource::new(TABLE, chosen("Table"), limit));
    }
    if !s.passed.is_empty() {
        let names: Vec<&str> = s.passed.iter().map(|needed| needed.name.as_str()).collect();
        out.push(Resource::new(SECRET, &s.name, format!("one JSON object, 64 KB: {}", names.join(", "))));
    }
    let told =
        if s.notify { "the webhook hears of them" } else { "nobody hears of them: no [notify] asks for `alarm`" };
    out.extend(
        ALARMS.map(|alarm| Resource::new("alarm", format!("{}-{alarm}", s.name), format!("within 5 minutes; {told}"))),
    );
    out
}

#[cfg(test)]
mod tests {
    use hakiri_core::spec::{ManifestText, parse};

    use super::*;
    use crate::deploy::input::Input;

    #[test]
    fn a_network_stays_with_the_database_in_it_and_with_nothing_else() {
        for (settings, expected) in [
            ("compute = \"fargate\"", &[FOUNDATION, STACK, BUCKET, TABLE][..]),
            ("catalog = \"postgres\"", &[FOUNDATION, STACK, NETWORK, BUCKET, DATABASE, SECRET]),
        ] {
            let text = format!(
                "[project]\nname = \"p\"\n[deploy.aws]\n{settings}\n[[pipeline]]\nid = \"a\"\nschedule = \"every 1h\"\n\
                 source = {{ connector = \"file\", config = {{ path = \"s3://in/a.csv\" }} }}\n"
            );
            let manifest = [ManifestText::new("hakiri.toml", text)];
            let project = parse(&manifest, None, &crate::world::connectors().list()).unwrap();
            let s = Settings::of(&Input { project: &project, manifest: &manifest, project_from_files: None });
            let all = resources(&s);
            let kept: Vec<&str> = all.iter().filter(|r| is_kept(&s, r)).map(|r| r.kind.as_str()).collect();
            assert_eq!(kept, expected, "{settings}");
            assert!(all.iter().any(|r| r.kind == NETWORK), "{settings}");
        }
    }
}
