//! Which secrets a deployed project needs, by name (P8): the only thing about them that a generated file holds.

use hakiri_core::secret::{Piece, references};
use hakiri_core::spec::PipelineSpec;
use serde_json::Value;

use super::input::{Input, reads_bucket};

/// The variable with the token that a server beyond loopback asks for.
pub const TOKEN: &str = "HAKIRI_TOKEN";

/// A secret or setting that is given by the environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needed {
    /// The variable.
    pub name: String,
    /// What it is for.
    pub what: String,
    /// Whether the project runs without it.
    pub optional: bool,
}

/// What these pipelines and the webhook need, wherever catalog and store are.
pub fn of_pipelines<'p>(input: &Input<'_>, pipelines: impl IntoIterator<Item = &'p PipelineSpec>) -> Vec<Needed> {
    let mut all = All::default();
    all.of_pipelines(pipelines);
    all.of_notify(input);
    all.0
}

/// Each name once, the first reason wins.
#[derive(Default)]
struct All(Vec<Needed>);

impl All {
    fn add(&mut self, name: &str, what: String, optional: bool) {
        if !self.0.iter().any(|n| n.name == name) {
            self.0.push(Needed { name: name.to_owned(), what, optional });
        }
    }

    fn of_pipelines<'p>(&mut self, pipelines: impl IntoIterator<Item = &'p PipelineSpec>) {
        for pipeline in pipelines {
            for name in &pipeline.secrets {
                self.add(name, format!("a secret of the pipeline {}", pipeline.id), false);
            }
            for name in referenced(&pipeline.source.config) {
                self.add(&name, format!("used by the pipeline {}", pipeline.id), false);
            }
        }
    }

    fn of_notify(&mut self, input: &Input<'_>) {
        let project = input.project;
        for name in project.notify_secrets() {
            let default = name == "HAKIRI_NOTIFY_SECRET" && project.notify.as_ref().is_some_and(|n| n.secret.is_none());
            let what = if default { "signs what the webhook gets" } else { "used by [notify]" };
            self.add(&name, what.to_owned(), default);
        }
    }
}

/// All of them, each once: pipelines in the manifest's order, then catalog, webhook, bucket and token.
pub fn needed(input: &Input<'_>, listens_beyond: bool) -> Vec<Needed> {
    let project = input.project;
    let mut all = All::default();
    all.of_pipelines(&project.pipelines);
    for name in project.catalog_secrets() {
        all.add(&name, "used by [catalog] url".to_owned(), false);
    }
    all.of_notify(input);
    if input.has_bucket() || project.pipelines.iter().any(reads_bucket) {
        // On AWS the machine's own role may do; elsewhere there is none.
        let optional = project.context.endpoint.is_none();
        let what = if optional { "for the bucket, where the machine has no role for it" } else { "for the bucket" };
        all.add("AWS_ACCESS_KEY_ID", what.to_owned(), optional);
        all.add("AWS_SECRET_ACCESS_KEY", what.to_owned(), optional);
        if optional && project.pipelines.iter().any(reads_bucket) {
            all.add(
                "AWS_ENDPOINT_URL",
                "the service of the buckets that are read, where it is not AWS".to_owned(),
                true,
            );
        }
        if project.context.region.is_none() {
            all.add("AWS_REGION", "the bucket's region, where the manifest has none".to_owned(), true);
        }
    }
    if listens_beyond {
        all.add(TOKEN, "who calls the server from elsewhere must know it; at least 16 characters".to_owned(), false);
    }
    all.0
}

impl Needed {
    /// What it is for, and whether it may be left out.
    fn about(&self) -> String {
        format!("{}{}", self.what, if self.optional { " (optional)" } else { "" })
    }
}

/// The lines of `secrets.env.example`.
pub fn example(needed: &[Needed]) -> Vec<String> {
    let lines = needed.iter().map(|n| {
        let comment = if n.optional { "# " } else { "" };
        format!("# {}\n{comment}{}=", n.about(), n.name)
    });
    lines.collect()
}

/// The rows of a README's table.
pub fn rows(needed: &[Needed]) -> Vec<String> {
    needed.iter().map(|n| format!("| `{}` | {} |", n.name, n.about())).collect()
}

fn referenced(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => references(text)
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Name(name) => Some(name.to_owned()),
                Piece::Text(_) => None,
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(referenced).collect(),
        Value::Object(map) => map.values().flat_map(referenced).collect(),
        _ => Vec::new(),
    }
}
