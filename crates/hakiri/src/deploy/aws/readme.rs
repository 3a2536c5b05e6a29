//! The README of the folder and the example of its secrets.

use hakiri_core::Result;

use super::cli::{Cli, output_query};
use super::settings::{Function, Network, Settings};
use super::{apply, resources};
use crate::deploy::input::Input;
use crate::deploy::resources::SECRET;
use crate::deploy::secrets::{self, Needed};
use crate::deploy::steps::line;
use crate::deploy::target;
use crate::deploy::template::{Values, quoted};

/// `README.md`.
pub(super) fn readme(input: &Input<'_>, s: &Settings, notes: Vec<String>) -> Result<String> {
    let rows = resources::resources(s).into_iter().filter(|r| r.kind != SECRET);
    let rows: Vec<String> = rows.map(|r| format!("| {} | `{}` | {} |", r.kind, r.name, r.limit)).collect();
    let how = match (matches!(s.function, Some(Function::Runs(_))), s.task.is_some()) {
        (true, true) => "It drives the binary as a function, step by step, or has one task do the whole run.",
        (false, true) => "It has one task of the binary do the whole run.",
        _ => "It drives the binary as a function, step by step.",
    };
    let bucket = match (&s.bucket, &s.prefix) {
        (None, _) => "BUCKET".to_owned(),
        (Some(bucket), None) => bucket.clone(),
        (Some(bucket), Some(prefix)) => format!("{bucket}/{prefix}"),
    };
    Values::headed()
        .with("title", target::title(input))
        .with("how", how)
        .with("env", target::env_words(input))
        .with("docker", if s.task.is_some() { ", Docker" } else { "" })
        .with_lines("steps", apply::by_hand(s))
        .with_lines("resources", rows)
        .with_lines("secrets", table(s))
        .with_lines("notes", notes.into_iter().map(|note| format!("- {note}.")).collect())
        .with_lines("looking", looking(s))
        .with_lines("by_hand", deleted_by_hand(s))
        .with("store", format!("s3://{bucket}/{}", input.project.name))
        .with("bucket", if s.bucket.is_none() { ", with the `Bucket` that the first command shows" } else { "" })
        .fill(include_str!("README.md"))
}

/// `secrets.example.json`: the names, with what they are for in place of values. None where no secret is needed.
pub(super) fn example(s: &Settings) -> Result<Option<String>> {
    let Some(last) = s.passed.len().checked_sub(1) else { return Ok(None) };
    let entry = |(at, needed): (usize, &Needed)| {
        let optional = if needed.optional { " (optional: leave it out)" } else { "" };
        let what = format!("<{}{optional}>", needed.what);
        let comma = if at == last { "" } else { "," };
        format!("{}: {}{comma}", quoted(&needed.name), quoted(&what))
    };
    let names = s.passed.iter().enumerate().map(entry).collect();
    Values::headed().with_lines("names", names).fill(include_str!("secrets.example.json")).map(Some)
}

fn table(s: &Settings) -> Vec<String> {
    if s.passed.is_empty() {
        return Vec::new();
    }
    let mut out = vec![
        format!("The secret `{}` of the Secrets Manager is one JSON object:", s.name),
        String::new(),
        "| Name | |".to_owned(),
        "|---|---|".to_owned(),
    ];
    out.extend(secrets::rows(&s.passed));
    out
}

/// What becomes of a stack that somebody deletes in the console.
fn deleted_by_hand(s: &Settings) -> Vec<String> {
    let text = if s.own_database() && s.network == Network::Own {
        "Do not delete the stack by hand. The database is kept, in subnets and a security group that the stack wants to\n\
         delete: that ends in `DELETE_FAILED`, with all that runs gone and the network still there. The command above\n\
         deletes things in the right order, with or without the data."
    } else {
        "Do not delete the stack by hand: that leaves what holds data as well, and a new one would begin without it."
    };
    text.lines().map(str::to_owned).collect()
}

/// The commands that show what there is and what happened.
fn looking(s: &Settings) -> Vec<String> {
    let cli = Cli::of(s);
    let aws = |args: &[&str]| line(&cli.words(args));
    let learned = |name: &str, command: String| format!("{name}=$({command})");
    let output = |name: &str| {
        let query = output_query(name);
        aws(&["cloudformation", "describe-stacks", "--stack-name", &s.name, "--query", &query, "--output", "text"])
    };
    let physical = |id: &str| {
        let query = "StackResourceDetail.PhysicalResourceId";
        let one = ["cloudformation", "describe-stack-resource", "--stack-name", &s.name, "--logical-resource-id", id];
        aws(&[&one[..], &["--query", query, "--output", "text"]].concat())
    };
    let mut out = vec![
        aws(&["cloudformation", "describe-stacks", "--stack-name", &s.name, "--query", "Stacks[0].Outputs"]),
        learned("MACHINE", output("Machine")),
        aws(&["stepfunctions", "list-executions", "--state-machine-arn", "${MACHINE}"]),
    ];
    for (is_there, id) in [(s.function.is_some(), "FunctionLogs"), (s.task.is_some(), "TaskLogs")] {
        if is_there {
            out.push(learned("LOGS", physical(id)));
            out.push(aws(&["logs", "filter-log-events", "--log-group-name", "${LOGS}"]));
        }
    }
    out.push(learned("LETTERS", output("DeadLetters")));
    let letters = ["sqs", "receive-message", "--queue-url", "${LETTERS}", "--attribute-names", "All"];
    out.push(aws(&[&letters[..], &["--message-attribute-names", "All"]].concat()));
    out.push(aws(&["stepfunctions", "start-execution", "--state-machine-arn", "${MACHINE}", "--input", "BODY"]));
    out.push(aws(&["sqs", "purge-queue", "--queue-url", "${LETTERS}"]));
    out
}
