//! From the texts of all manifest files to a [`Project`], or to everything that is wrong with them.

use super::check_deploy::check_deploy;
use super::check_pipeline::{PipelineNode, check_pipeline};
use super::check_project::{Root, check_env, check_project_name, check_references, check_services, check_unique};
use super::diagnostic::{Diagnostic, Problem, SourceText, diagnostics};
use super::node::{Data, Node};
use super::references::refuse_references;
use super::schema::{PLACES, base_schema};
use super::validate::Validator;
use super::{DeploySpec, ManifestFile, PIPELINES_FOLDER, Project, ROOT_FILE, ROOT_KEYS, read_json, read_toml};
use crate::codes::Code;
use crate::source::ConnectorInfo;

/// The text of one manifest file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestText {
    /// Its path relative to the project's folder, with `/`: `hakiri.toml`, `pipelines/crm.json`. The extension decides
    /// between TOML and JSON; in the folder `pipelines` only pipelines may stand.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl ManifestText {
    /// A file's text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    fn is_json(&self) -> bool {
        self.name.to_ascii_lowercase().ends_with(".json")
    }

    fn is_root(&self) -> bool {
        self.name.rsplit('/').nth(1) != Some(PIPELINES_FOLDER)
    }
}

/// Reads, checks and merges a project's manifest files. Pipelines keep the order of `files` and of their text, so the
/// caller passes files in a fixed order (the root file, then the others by name).
///
/// `env` chooses an `[env.NAME]`, which is applied. Secrets stay `${NAME}`: their values are never needed here.
///
/// # Errors
/// Everything that is wrong, by file and place. See `HK0101` to `HK0111` and `HK0401`.
pub fn parse(
    files: &[ManifestText],
    env: Option<&str>,
    connectors: &[ConnectorInfo],
) -> Result<Project, Vec<Diagnostic>> {
    let sources: Vec<SourceText<'_>> = files.iter().map(|f| SourceText::new(&f.name, &f.text)).collect();
    let mut problems = Vec::new();
    let mut trees: Vec<(usize, Node)> = Vec::with_capacity(files.len());
    for (i, file) in files.iter().enumerate() {
        match if file.is_json() { read_json::read(&file.text) } else { read_toml::read(&file.text) } {
            Ok(node) => trees.push((i, node)),
            Err(error) => {
                let span = shown(error.span, &file.text);
                let problem = Problem::new(Code::ManifestSyntax, i, span, error.message);
                problems.push(match error.hint {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                });
            }
        }
    }
    let complete = trees.len() == files.len();

    let schema = base_schema();
    for (i, tree) in &trees {
        let is_root = files[*i].is_root();
        let checked = without_misplaced(tree, *i, is_root, &mut problems);
        problems.extend(Validator::new(&schema, *i, &PLACES).check(&checked, "the manifest"));
        for node in without_replacement(tree) {
            refuse_references(node, *i, &files[*i].text, &mut problems);
        }
    }

    let pipelines: Vec<PipelineNode<'_>> = trees
        .iter()
        .flat_map(|(file, tree)| {
            tree.get("pipeline").map_or(&[][..], Node::items).iter().map(|node| PipelineNode { file: *file, node })
        })
        .filter(|p| matches!(p.node.data, Data::Table(_)))
        .collect();
    for pipeline in &pipelines {
        problems.extend(check_pipeline(*pipeline, &pipelines, &sources[pipeline.file], connectors));
    }
    problems.extend(check_unique(&pipelines));

    let roots: Vec<Root<'_>> =
        trees.iter().filter(|(i, _)| files[*i].is_root()).map(|(file, node)| Root { file: *file, node }).collect();
    if !roots.is_empty() || complete {
        // A root file that cannot be read has its own message; that it lacks things would only add noise.
        problems.extend(check_project_name(&roots));
        problems.extend(env.and_then(|env| check_env(&roots, env)));
    }
    problems.extend(check_references(&roots, &pipelines, complete));
    problems.extend(check_deploy(&roots));
    problems.extend(check_services(&roots));

    if problems.is_empty() {
        match merge(&trees, env) {
            Ok(project) => return Ok(project),
            Err(problem) => problems.push(*problem),
        }
    }
    Err(diagnostics(problems, &sources))
}

/// The parts of a file, pipelines apart, in which `${NAME}` is not replaced: all but `notify` and `catalog.url`.
fn without_replacement(tree: &Node) -> Vec<&Node> {
    fn catalog(node: &Node) -> impl Iterator<Item = &Node> {
        node.members().iter().filter(|m| m.key != "url").map(|m| &m.node)
    }
    let mut out = Vec::new();
    for member in tree.members() {
        match member.key.as_str() {
            "pipeline" | "notify" => {}
            "catalog" => out.extend(catalog(&member.node)),
            "env" => {
                for setting in member.node.members().iter().flat_map(|env| env.node.members()) {
                    match setting.key.as_str() {
                        "catalog" => out.extend(catalog(&setting.node)),
                        _ => out.push(&setting.node),
                    }
                }
            }
            _ => out.push(&member.node),
        }
    }
    out
}

/// A span that has something to show: at the end of the text, the last line that is not empty.
fn shown(span: super::node::Span, text: &str) -> super::node::Span {
    if span.start < text.trim_end().len() {
        return span;
    }
    let end = text.trim_end().len();
    end..end
}

/// The tree without what may stand only in the root file; those are reported here.
fn without_misplaced(tree: &Node, file: usize, is_root: bool, problems: &mut Vec<Problem>) -> Node {
    let mut tree = tree.clone();
    if let (false, Data::Table(members)) = (is_root, &mut tree.data) {
        members.retain(|m| {
            let misplaced = ROOT_KEYS.iter().any(|(key, _)| *key == m.key);
            if misplaced {
                problems.push(
                    Problem::new(
                        Code::ManifestUnknownKey,
                        file,
                        m.key_span.clone(),
                        format!("`{}` may stand only in {ROOT_FILE}", m.key),
                    )
                    .hint(format!("move it to {ROOT_FILE}: files in {PIPELINES_FOLDER}/ hold pipelines only")),
                );
            }
            !misplaced
        });
    }
    tree
}

/// The types out of trees that have been found right.
fn merge(trees: &[(usize, Node)], env: Option<&str>) -> Result<Project, Box<Problem>> {
    let mut whole = ManifestFile::default();
    for (i, tree) in trees {
        // The schema and the checks let through only what the types take; if they ever do not, this says so.
        let file: ManifestFile = serde_json::from_value(tree.to_json())
            .map_err(|e| Box::new(Problem::new(Code::ManifestValue, *i, 0..0, e.to_string())))?;
        whole.project = whole.project.or(file.project);
        whole.context = whole.context.or(file.context);
        whole.catalog = whole.catalog.or(file.catalog);
        whole.notify = whole.notify.or(file.notify);
        whole.pipeline.extend(file.pipeline);
        whole.moved.extend(file.moved);
        whole.deploy = whole.deploy.or(file.deploy);
        whole.env.extend(file.env);
    }
    let Some(project) = whole.project else {
        return Err(Box::new(Problem::new(Code::ManifestMissing, usize::MAX, 0..0, "the manifest lacks [project]")));
    };
    let chosen = env.and_then(|name| whole.env.remove(name)).unwrap_or_default();
    for pipeline in &mut whole.pipeline {
        match chosen.schedule.get(pipeline.id.as_str()).map(String::as_str) {
            Some("") => pipeline.schedule = None,
            Some(schedule) => pipeline.schedule = Some(schedule.to_owned()),
            None => {}
        }
    }
    let (all, own) = (whole.deploy.unwrap_or_default(), chosen.deploy.unwrap_or_default());
    Ok(Project {
        name: project.name,
        version: project.version,
        env: env.map(str::to_owned),
        context: chosen.context.or(whole.context).unwrap_or_default(),
        catalog: chosen.catalog.or(whole.catalog).unwrap_or_default(),
        notify: whole.notify,
        pipelines: whole.pipeline,
        moved: whole.moved,
        deploy: DeploySpec {
            systemd: own.systemd.or(all.systemd),
            compose: own.compose.or(all.compose),
            cloudflare: own.cloudflare.or(all.cloudflare),
            aws: own.aws.or(all.aws),
        },
    })
}
