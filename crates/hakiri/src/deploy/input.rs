//! All that a generation may depend on. What is not here cannot reach a generated file: no home, no user, no host, no
//! value of a secret (G2).

use std::collections::BTreeMap;

use hakiri_core::spec::{ManifestText, PipelineSpec, Project};
use serde_json::Value;

use super::names;

/// A project and where its files go.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The project, for the environment chosen.
    pub project: &'a Project,
    /// The manifest's files as they are.
    pub manifest: &'a [ManifestText],
    /// The project's folder as seen from the generated files (`../..`); none when they lie outside of it.
    pub project_from_files: Option<&'a str>,
}

impl<'a> Input<'a> {
    /// The name of what is created, of this many characters at most.
    pub fn name(&self, limit: usize) -> String {
        names::name(self.project.name.as_str(), self.project.env.as_deref(), limit)
    }

    /// Whether several servers may share the work (Topology 2.5).
    pub fn is_shared(&self) -> bool {
        self.project.catalog.url.is_some()
    }

    /// The topology, as the docs number it.
    pub fn topology(&self) -> &'static str {
        if self.is_shared() { "2.5" } else { "2" }
    }

    /// Whether the store is a bucket.
    pub fn has_bucket(&self) -> bool {
        self.project.context.path.as_deref().is_some_and(|p| p.starts_with("s3://"))
    }

    /// The copies of the manifest's files, by path.
    pub fn copies(&self) -> BTreeMap<String, &str> {
        self.manifest.iter().map(|f| (format!("project/{}", f.name), f.text.as_str())).collect()
    }

    /// The pipelines that have a schedule, in the manifest's order. Where nothing else wakes one, the others never run:
    /// nothing of them is judged, and nothing of what they need is asked for.
    pub fn scheduled(&self) -> Vec<&'a PipelineSpec> {
        self.project.pipelines.iter().filter(|p| p.schedule.is_some()).collect()
    }

    /// The paths of the local files that pipelines read, with the pipeline's id.
    pub fn local_files(&self) -> Vec<(&str, &str)> {
        let pipelines = self.project.pipelines.iter();
        pipelines.flat_map(|p| local_paths(p).into_iter().map(|path| (p.id.as_str(), path))).collect()
    }
}

/// The paths on this machine of a file source.
pub(super) fn local_paths(pipeline: &PipelineSpec) -> Vec<&str> {
    let all = if pipeline.source.connector == "file" { paths(pipeline) } else { Vec::new() };
    all.into_iter().filter(|path| !path.starts_with("s3://")).collect()
}

/// The buckets that a pipeline reads files from, by name.
pub(super) fn buckets(pipeline: &PipelineSpec) -> Vec<&str> {
    bucket_keys(pipeline).into_iter().map(|(bucket, _)| bucket).collect()
}

/// The keys and patterns of keys that a pipeline reads, each with its bucket.
pub(super) fn bucket_keys(pipeline: &PipelineSpec) -> Vec<(&str, &str)> {
    let all = if pipeline.source.connector == "file" { paths(pipeline) } else { Vec::new() };
    let in_buckets = all.into_iter().filter_map(|path| path.strip_prefix("s3://"));
    in_buckets.map(|rest| rest.split_once('/').unwrap_or((rest, ""))).collect()
}

/// Whether a pipeline reads files in a bucket.
pub(super) fn reads_bucket(pipeline: &PipelineSpec) -> bool {
    pipeline.source.connector == "file" && paths(pipeline).iter().any(|path| path.starts_with("s3://"))
}

/// The `path` of a file source, and of each of its tables.
fn paths(pipeline: &PipelineSpec) -> Vec<&str> {
    let config = &pipeline.source.config;
    let tables = config.get("tables").and_then(Value::as_object).into_iter().flat_map(|t| t.values());
    std::iter::once(config).chain(tables).filter_map(|t| t.get("path")?.as_str()).collect()
}

/// The parts of a path that is relative and stays where it starts, without `.`; none for any other.
pub fn inside(path: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!path.starts_with('/') && !parts.contains(&"..") && !parts.is_empty()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_inside_when_nothing_leads_out() {
        assert_eq!(inside("./data//*.csv"), Some(vec!["data", "*.csv"]));
        for out in ["/data", "../data", "a/../../b", "", "."] {
            assert_eq!(inside(out), None, "{out}");
        }
    }
}
