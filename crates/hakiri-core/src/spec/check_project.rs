//! What can be wrong between pipelines and between files.

use std::collections::{BTreeMap, BTreeSet};

use super::ROOT_FILE;
use super::check_pipeline::PipelineNode;
use super::diagnostic::Problem;
use super::node::{Node, Span};
use super::suggest::{did_you_mean, list};
use crate::codes::Code;
use crate::id::ProjectName;
use crate::schedule::{Schedule, parse_duration};
use crate::secret::has_plain_password;

/// A file's tree with its place among the files.
#[derive(Clone, Copy)]
pub(super) struct Root<'a> {
    pub file: usize,
    pub node: &'a Node,
}

/// Ids and stored names that are there twice.
pub(super) fn check_unique(pipelines: &[PipelineNode<'_>]) -> Vec<Problem> {
    let mut out = Vec::new();
    let mut ids: BTreeMap<&str, PipelineNode<'_>> = BTreeMap::new();
    let mut unique = Vec::new();
    for pipeline in pipelines {
        let Some(id) = pipeline.id() else { continue };
        match ids.get(id) {
            Some(first) => out.push(
                Problem::new(
                    Code::ManifestDuplicate,
                    pipeline.file,
                    pipeline.id_span(),
                    format!("the pipeline id `{id}` is used twice"),
                )
                .related(first.file, first.id_span(), "it is used first here")
                .hint("rename one of them, or remove it"),
            ),
            None => {
                ids.insert(id, *pipeline);
                unique.push((id, *pipeline));
            }
        }
    }
    // Compared without case: SQL and some file systems see no difference.
    let mut stored: BTreeMap<String, (&str, usize, Span)> = BTreeMap::new();
    for (id, pipeline) in unique {
        let mut seen = BTreeSet::new();
        // The same table named twice in one list is reported by the pipeline's own check.
        for (table, place) in pipeline.known_tables().into_iter().filter(|(table, _)| seen.insert(*table)) {
            let Some((name, span)) = pipeline.stored_name(table, place) else {
                continue;
            };
            match stored.get(&name.as_str().to_ascii_lowercase()) {
                Some((other, file, first)) => {
                    let who =
                        if *other == id { format!("two tables of `{id}`") } else { format!("`{other}` and `{id}`") };
                    out.push(
                        Problem::new(
                            Code::ManifestCollision,
                            pipeline.file,
                            span,
                            format!("{who} would write the same table `{name}`"),
                        )
                        .related(*file, first.clone(), "the other one is here")
                        .hint("set `name` for one of the tables, or another `prefix`"),
                    );
                }
                None => {
                    stored.insert(name.as_str().to_ascii_lowercase(), (id, pipeline.file, span));
                }
            }
        }
    }
    out
}

/// What may stand in `hakiri.toml` alone: it is there at most once in the whole project, and nowhere else.
pub(super) fn check_project_name(roots: &[Root<'_>]) -> Vec<Problem> {
    let mut out = Vec::new();
    let Some(first) = roots.first() else {
        return vec![
            Problem::new(Code::ManifestMissing, usize::MAX, 0..0, format!("there is no {ROOT_FILE}"))
                .hint("write one with [project] and a name, or run `hakiri init`"),
        ];
    };
    for (key, _) in super::ROOT_KEYS.iter().filter(|(_, only_once)| *only_once) {
        let mut places = roots.iter().filter_map(|r| Some((r.file, r.node.member(key)?)));
        if let Some((file, member)) = places.next() {
            out.extend(places.map(|(again, m)| {
                Problem::new(Code::ManifestDuplicate, again, m.key_span.clone(), format!("`{key}` is there twice"))
                    .related(file, member.key_span.clone(), "it is first here")
                    .hint("remove one of them")
            }));
        }
    }
    match roots.iter().find_map(|r| Some((r.file, r.node.get("project")?))) {
        Some((file, project)) => {
            if let Some(name) = project.get("name")
                && let Some(Err(error)) = name.as_text().map(str::parse::<ProjectName>)
            {
                out.push(Problem::from_error(&error, file, name.span.clone()));
            }
        }
        None => out.push(
            Problem::new(Code::ManifestMissing, first.file, 0..0, "the manifest lacks [project]")
                .hint("start the file with [project] and name = \"…\""),
        ),
    }
    out
}

/// Renames and environments. They name pipelines, so `complete` says whether all pipelines could be read.
pub(super) fn check_references(roots: &[Root<'_>], pipelines: &[PipelineNode<'_>], complete: bool) -> Vec<Problem> {
    let mut out = Vec::new();
    let ids: Vec<&str> = pipelines.iter().filter_map(PipelineNode::id).collect();
    for root in roots {
        for item in root.node.get("moved").map_or(&[][..], Node::items) {
            moved(item, root.file, &ids, complete, &mut out);
        }
        for env in root.node.get("env").map_or(&[][..], Node::members) {
            for entry in env.node.get("schedule").map_or(&[][..], Node::members) {
                if complete && !ids.contains(&entry.key.as_str()) {
                    out.push(
                        Problem::new(
                            Code::ManifestValue,
                            root.file,
                            entry.key_span.clone(),
                            format!("there is no pipeline `{}`", entry.key),
                        )
                        .hint(did_you_mean(&entry.key, ids.iter().copied())),
                    );
                }
                if let Some(text) = entry.node.as_text().filter(|t| !t.is_empty())
                    && let Err(error) = Schedule::parse(text)
                {
                    out.push(
                        Problem::from_error(&error, root.file, entry.node.span.clone())
                            .hint(format!("{}; \"\" means by hand", error.hint())),
                    );
                }
            }
        }
    }
    out
}

/// What the schema cannot say of `[catalog]` and `[notify]`.
pub(super) fn check_services(roots: &[Root<'_>]) -> Vec<Problem> {
    let mut out = Vec::new();
    for Root { file, node } in roots {
        let of_envs = node.get("env").map_or(&[][..], Node::members).iter().filter_map(|env| env.node.get("catalog"));
        for catalog in node.get("catalog").into_iter().chain(of_envs) {
            if let (Some(url), Some(path)) = (catalog.member("url"), catalog.member("path")) {
                out.push(
                    Problem::new(
                        Code::ManifestValue,
                        *file,
                        url.key_span.clone(),
                        "`url` and `path` exclude each other",
                    )
                    .related(*file, path.key_span.clone(), "`path` is here")
                    .hint("keep `path` for SQLite on one machine, `url` for what several machines share"),
                );
            }
            if let Some(url) = catalog.get("url")
                && url.as_text().is_some_and(has_plain_password)
            {
                out.push(
                    Problem::new(
                        Code::ManifestValue,
                        *file,
                        url.span.clone(),
                        "a catalog's URL holds a password as it is",
                    )
                    .hint("write ${NAME} in its place, and set NAME in the environment or in .env"),
                );
            }
            if let Some(url) = catalog.get("url")
                && let Some(text) = url.as_text()
                && !["postgres://", "postgresql://", "https://", "http://", "dynamodb://", "rds-secret:", "${"]
                    .iter()
                    .any(|start| text.starts_with(start))
            {
                out.push(
                    Problem::new(Code::ManifestValue, *file, url.span.clone(), "a catalog's URL is one of PostgreSQL, https, dynamodb or rds-secret")
                        .hint("write for example postgres://hakiri:${DATABASE_PASSWORD}@host/database; https://HOST/catalog for a deployment on Cloudflare; dynamodb://TABLE for one on AWS"),
                );
            }
        }
        let Some(notify) = node.get("notify") else { continue };
        if let Some(url) = notify.get("webhook")
            && let Some(text) = url.as_text()
            && !["https://", "http://", "${"].iter().any(|start| text.starts_with(start))
        {
            out.push(
                Problem::new(Code::ManifestValue, *file, url.span.clone(), "a webhook is a URL of http or https")
                    .hint("write for example https://example.com/hooks/hakiri, or \"${HOOK}\""),
            );
        }
        if let Some(late) = notify.get("late_after")
            && let Some(Err(error)) = late.as_text().map(parse_duration)
        {
            out.push(Problem::from_error(&error, *file, late.span.clone()));
        }
    }
    out
}

fn moved(item: &Node, file: usize, ids: &[&str], complete: bool, out: &mut Vec<Problem>) {
    let mut report = |span: Span, message: String, hint: String| {
        out.push(Problem::new(Code::ManifestValue, file, span, message).hint(hint))
    };
    let (Some(from), Some(to)) = (item.get("from"), item.get("to")) else {
        return;
    };
    let (Some(from_text), Some(to_text)) = (from.as_text(), to.as_text()) else {
        return;
    };
    if from_text == to_text {
        return report(to.span.clone(), "a rename to the same name".to_owned(), "remove it".to_owned());
    }
    match (from_text.split_once('.'), to_text.split_once('.')) {
        (None, None) if ids.contains(&from_text) => report(
            from.span.clone(),
            format!("the pipeline `{from_text}` was moved, but is still there"),
            "remove this rename, or rename the pipeline itself".to_owned(),
        ),
        (None, Some(_)) | (Some(_), None) => report(
            to.span.clone(),
            "a pipeline can only become a pipeline, a table a table".to_owned(),
            "write both as `pipeline`, or both as `pipeline.table`".to_owned(),
        ),
        _ => {}
    }
    let target = to_text.split_once('.').map_or(to_text, |(pipeline, _)| pipeline);
    if complete && !ids.contains(&target) {
        report(to.span.clone(), format!("there is no pipeline `{target}`"), did_you_mean(target, ids.iter().copied()));
    }
}

/// The environment that was asked for, if the manifest has it.
pub(super) fn check_env(roots: &[Root<'_>], env: &str) -> Option<Problem> {
    let members = || roots.iter().filter_map(|r| r.node.get("env")).flat_map(Node::members);
    if members().any(|m| m.key == env) {
        return None;
    }
    let (file, span) = roots
        .iter()
        .find_map(|r| Some((r.file, r.node.member("env")?.key_span.clone())))
        .or_else(|| Some((roots.first()?.file, 0..0)))?;
    let known = list(members().map(|m| m.key.as_str()));
    let hint = if known.is_empty() {
        format!("the manifest defines none; add [env.{env}]")
    } else {
        did_you_mean(env, members().map(|m| m.key.as_str()))
    };
    Some(Problem::new(Code::ManifestEnv, file, span, format!("there is no environment `{env}`")).hint(hint))
}
