//! What can be wrong with one pipeline beyond the shape that the JSON Schema describes.
//!
//! The checks look at [`Node`]s and not at the types, so that they still speak when something else is wrong: whatever
//! has the wrong type is passed over here, because the schema has reported it.

use std::collections::BTreeSet;

use super::diagnostic::{Problem, SourceText};
use super::node::{Data, Member, Node, Span};
use super::project::stored;
use super::references::{names, reference_span, refuse_references, walk};
use super::suggest::{did_you_mean, suggest};
use super::validate::{Validator, quoted};
use crate::codes::Code;
use crate::id::{PipelineId, TableName};
use crate::schedule::{Schedule, parse_duration};
use crate::schema::Type;
use crate::source::ConnectorInfo;

/// A pipeline as it stands in a file.
#[derive(Clone, Copy)]
pub(super) struct PipelineNode<'a> {
    pub file: usize,
    pub node: &'a Node,
}

impl<'a> PipelineNode<'a> {
    pub fn id(&self) -> Option<&'a str> {
        self.node.text("id")
    }

    /// What messages call it.
    pub fn label(&self) -> String {
        self.id().map_or_else(|| "the pipeline".to_owned(), |id| format!("the pipeline `{id}`"))
    }

    /// Where its id stands, else its header.
    pub fn id_span(&self) -> Span {
        self.node.get("id").unwrap_or(self.node).span.clone()
    }

    /// The tables it names one by one; none when it leaves the choice to the source.
    pub fn named_tables(&self) -> Option<Vec<(&'a str, Span)>> {
        let tables: Vec<_> = texts(self.node.get("tables")?).collect();
        (!tables.iter().any(|(name, _)| *name == "*")).then_some(tables)
    }

    /// The settings per table.
    pub fn table_members(&self) -> &'a [Member] {
        self.node.get("table").map_or(&[], Node::members)
    }

    /// The tables that are known to be read, with the place that says so.
    pub fn known_tables(&self) -> Vec<(&'a str, Span)> {
        self.named_tables()
            .unwrap_or_else(|| self.table_members().iter().map(|m| (m.key.as_str(), m.key_span.clone())).collect())
    }

    /// The stored name of a table, and where it is said, if the pipeline's own settings are right.
    pub fn stored_name(&self, table: &str, otherwise: Span) -> Option<(TableName, Span)> {
        let settings = self.table_members().iter().find(|m| m.key == table);
        match settings.and_then(|m| m.node.get("name")) {
            Some(name) => Some((name.as_text()?.parse().ok()?, name.span.clone())),
            None => Some((stored(&self.id()?.parse().ok()?, self.node.text("prefix"), table).ok()?, otherwise)),
        }
    }
}

/// The texts of a list with their places.
pub(super) fn texts(node: &Node) -> impl Iterator<Item = (&str, Span)> {
    node.items().iter().filter_map(|n| Some((n.as_text()?, n.span.clone())))
}

/// Checks one pipeline. `all` are all pipelines of the project, for tables that stand under the wrong one.
pub(super) fn check_pipeline(
    pipeline: PipelineNode<'_>,
    all: &[PipelineNode<'_>],
    file: &SourceText<'_>,
    connectors: &[ConnectorInfo],
) -> Vec<Problem> {
    let mut check = Check { pipeline, file: pipeline.file, text: file.text, out: Vec::new() };
    check.id_and_schedule();
    check.source(connectors);
    check.tables(all);
    for member in pipeline.table_members() {
        check.table(&member.node);
    }
    check.secrets();
    check.out
}

struct Check<'a> {
    pipeline: PipelineNode<'a>,
    file: usize,
    text: &'a str,
    out: Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, code: Code, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.out.push(Problem::new(code, self.file, span, message).hint(hint));
    }

    fn id_and_schedule(&mut self) {
        let node = self.pipeline.node;
        if let Some(id) = node.get("id")
            && let Some(Err(error)) = id.as_text().map(str::parse::<PipelineId>)
        {
            self.out.push(Problem::from_error(&error, self.file, id.span.clone()));
        }
        if let Some(schedule) = node.get("schedule")
            && let Some(Err(error)) = schedule.as_text().map(Schedule::parse)
        {
            self.out.push(Problem::from_error(&error, self.file, schedule.span.clone()));
        }
        if let Some(prefix) = node.get("prefix")
            && prefix.as_text().is_some_and(|p| {
                !p.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || p.starts_with(|c: char| c.is_ascii_digit())
            })
        {
            self.report(
                Code::ManifestValue,
                prefix.span.clone(),
                "`prefix` cannot start a table's name",
                "use letters, digits and `_`, not starting with a digit",
            );
        }
    }

    fn source(&mut self, connectors: &[ConnectorInfo]) {
        let Some(source) = self.pipeline.node.get("source") else {
            return;
        };
        let Some(connector) = source.get("connector") else {
            return;
        };
        let Some(name) = connector.as_text() else { return };
        let Some(info) = connectors.iter().find(|c| c.name == name) else {
            let hint = did_you_mean(name, connectors.iter().map(|c| c.name));
            self.report(
                Code::SourceUnknownConnector,
                connector.span.clone(),
                format!("there is no connector {}", quoted(name)),
                hint,
            );
            return;
        };
        let validator = Validator::new(&info.config_schema, self.file, &[]);
        match source.get("config") {
            Some(config) => self.out.extend(validator.check(config, &format!("the config of `{name}`"))),
            None => {
                // As if it were empty: that names the required keys.
                let empty = Node::new(connector.span.clone(), Data::Table(Vec::new()));
                self.out.extend(validator.check(&empty, &format!("the config of `{name}`")));
            }
        }
    }

    fn tables(&mut self, all: &[PipelineNode<'_>]) {
        let node = self.pipeline.node;
        let named = self.pipeline.named_tables();
        if let Some(tables) = node.get("tables") {
            let names: Vec<_> = texts(tables).collect();
            if matches!(&tables.data, Data::List(items) if items.is_empty()) {
                self.report(
                    Code::ManifestValue,
                    tables.span.clone(),
                    "`tables` is empty: nothing would be read",
                    "name tables, or leave `tables` out to read all the source offers",
                );
            }
            if named.is_none() && names.len() > 1 {
                self.report(
                    Code::ManifestValue,
                    tables.span.clone(),
                    "`tables` has \"*\" and names",
                    "\"*\" means all tables: write [\"*\"] alone, or only names",
                );
            }
            self.each_once(tables, "`tables`", "a table");
        }
        if let Some(exclude) = node.get("exclude") {
            self.each_once(exclude, "`exclude`", "a table");
            if named.is_some() && !exclude.items().is_empty() {
                self.report(
                    Code::ManifestValue,
                    exclude.span.clone(),
                    "`exclude` has nothing to leave out: `tables` names each table",
                    "remove `exclude`, or write tables = [\"*\"]",
                );
            }
        }
        let excluded: Vec<&str> = node.get("exclude").into_iter().flat_map(texts).map(|(name, _)| name).collect();
        let children: Vec<String> = self
            .pipeline
            .table_members()
            .iter()
            .flat_map(|m| {
                m.node
                    .get("children")
                    .into_iter()
                    .flat_map(texts)
                    .map(|(field, _)| format!("{}_{}", m.key, field.replace('.', "_")))
            })
            .collect();
        for member in self.pipeline.table_members() {
            let (key, span) = (member.key.as_str(), member.key_span.clone());
            if let Some(named) = &named {
                if !named.iter().any(|(name, _)| *name == key) && !children.iter().any(|c| c == key) {
                    self.foreign_table(key, span, named, all);
                }
            } else if excluded.contains(&key) {
                self.report(
                    Code::ManifestTable,
                    span,
                    format!("the table `{key}` is in `exclude`"),
                    "remove it from `exclude`, or remove its settings",
                );
            }
        }
        if let Some(id) = self.pipeline.id().and_then(|id| id.parse::<PipelineId>().ok()) {
            let named_otherwise = |table: &str| {
                self.pipeline.table_members().iter().any(|m| m.key == table && m.node.get("name").is_some())
            };
            let bad: Vec<_> = self
                .pipeline
                .known_tables()
                .into_iter()
                .filter(|(table, _)| *table != "*" && !named_otherwise(table))
                .filter_map(|(table, span)| Some((stored(&id, node.text("prefix"), table).err()?, span)))
                .collect();
            for (error, span) in bad {
                self.out.push(
                    Problem::from_error(&error, self.file, span)
                        .hint("set `name` for this table, or a shorter `prefix`"),
                );
            }
        }
    }

    /// A table that the pipeline does not name: it may be another's, or misspelt.
    fn foreign_table(&mut self, key: &str, span: Span, named: &[(&str, Span)], all: &[PipelineNode<'_>]) {
        let label = self.pipeline.label();
        let owner = all.iter().filter(|p| !std::ptr::eq(p.node, self.pipeline.node)).find_map(|p| {
            let (_, span) = p.named_tables()?.into_iter().find(|(name, _)| *name == key)?;
            Some((p.id()?, p.file, span))
        });
        let problem = Problem::new(Code::ManifestTable, self.file, span, format!("{label} has no table `{key}`"));
        self.out.push(match owner {
            Some((id, file, place)) => problem
                .hint(format!(
                    "move it below the pipeline `{id}`: a [pipeline.table.…] belongs to the [[pipeline]] above it"
                ))
                .related(file, place, format!("`{key}` is a table of `{id}`")),
            None => problem.hint(match suggest(key, named.iter().map(|(name, _)| *name)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("add \"{key}\" to `tables`, or remove this"),
            }),
        });
    }

    fn each_once(&mut self, list: &Node, label: &str, what: &str) {
        let mut seen = BTreeSet::new();
        let items: Vec<_> = texts(list).collect();
        for (text, span) in items {
            if text.is_empty() {
                self.report(
                    Code::ManifestValue,
                    span,
                    format!("{label} holds an empty name"),
                    format!("write the name of {what}, or remove it"),
                );
            } else if !seen.insert(text) {
                self.report(
                    Code::ManifestValue,
                    span,
                    format!("{label} names {} twice", quoted(text)),
                    "remove one of them",
                );
            }
        }
    }

    fn table(&mut self, table: &Node) {
        if let Some(key) = table.get("primary_key") {
            if matches!(&key.data, Data::List(items) if items.is_empty()) {
                self.report(
                    Code::ManifestValue,
                    key.span.clone(),
                    "`primary_key` is empty",
                    "name columns, or leave it out to use the source's own key",
                );
            }
            self.each_once(key, "`primary_key`", "a column");
        }
        if let Some(children) = table.get("children") {
            self.each_once(children, "`children`", "a field");
        }
        if let Some(name) = table.get("name")
            && let Some(Err(error)) = name.as_text().map(str::parse::<TableName>)
        {
            self.out.push(Problem::from_error(&error, self.file, name.span.clone()));
        }
        for member in table.get("types").map_or(&[][..], Node::members) {
            if let Some(Err(error)) = member.node.as_text().map(Type::parse) {
                self.out.push(Problem::from_error(&error, self.file, member.node.span.clone()));
            }
        }
        self.mode(table);
    }

    fn mode(&mut self, table: &Node) {
        let mode = table.text("mode");
        let full = table.text("incremental").or_else(|| self.pipeline.node.text("incremental")) == Some("");
        for key in ["lag", "settle"] {
            let Some(member) = table.member(key) else { continue };
            if let Some(Err(error)) = member.node.as_text().map(parse_duration) {
                self.out.push(Problem::from_error(&error, self.file, member.node.span.clone()));
            }
            let span = member.key_span.clone();
            match (key, mode) {
                (_, Some("replace")) => {
                    self.report(
                        Code::ManifestValue,
                        span,
                        format!("`{key}` is not allowed in mode replace: a full load has no cursor"),
                        format!("remove `{key}`, or use mode = \"merge\" or \"append\""),
                    );
                }
                _ if full => {
                    self.report(
                        Code::ManifestValue,
                        span,
                        format!("`{key}` is not allowed without a cursor"),
                        format!("remove `{key}`, or set `incremental`"),
                    );
                }
                ("lag", Some("append")) => {
                    self.report(
                        Code::ManifestValue,
                        span,
                        "`lag` is not allowed in mode append: rows would be read twice",
                        "use `settle`, or mode = \"merge\" with a primary key",
                    );
                }
                ("settle", Some("merge")) => {
                    self.report(Code::ManifestValue, span, "`settle` is not allowed in mode merge", "use `lag`")
                }
                ("settle", _) if table.get("lag").is_some() => {
                    self.report(
                        Code::ManifestValue,
                        span,
                        "`lag` and `settle` exclude each other",
                        "keep `lag` for mode merge, `settle` for mode append",
                    );
                }
                _ => {}
            }
        }
        if full && let (Some("append"), Some(node)) = (mode, table.get("mode")) {
            self.report(
                Code::ManifestValue,
                node.span.clone(),
                "mode append needs a cursor: a full load would add all rows again",
                "set `incremental`, or use mode = \"replace\"",
            );
        }
    }

    fn secrets(&mut self) {
        let mut declared: Vec<&str> = Vec::new();
        if let Some(secrets) = self.pipeline.node.get("secrets") {
            self.each_once(secrets, "`secrets`", "a secret");
            for (text, span) in texts(secrets) {
                let is_name = |name: &str| names(&format!("${{{name}}}")) == [name];
                let bare = text.trim_start_matches(['$', '{']).trim_end_matches('}');
                if is_name(text) {
                    declared.push(text);
                } else if !text.is_empty() {
                    // Not quoted: someone may have written the secret itself.
                    let hint = if is_name(bare) {
                        format!("write the name alone: \"{bare}\"")
                    } else {
                        "write the name of an environment variable: letters, digits and `_`; its value stays outside"
                            .to_owned()
                    };
                    self.report(Code::ManifestValue, span, "an item of `secrets` is not a name", hint);
                }
            }
        }
        for member in self.pipeline.node.members().iter().filter(|m| m.key != "secrets") {
            if member.key != "source" {
                refuse_references(&member.node, self.file, self.text, &mut self.out);
                continue;
            }
            for part in member.node.members() {
                if part.key == "config" {
                    self.config_references(&part.node, &declared);
                } else {
                    refuse_references(&part.node, self.file, self.text, &mut self.out);
                }
            }
        }
    }

    fn config_references(&mut self, config: &Node, declared: &[&str]) {
        let (text, file, label, out) = (self.text, self.file, self.pipeline.label(), &mut self.out);
        walk(config, &mut |node, value| {
            for name in names(value).into_iter().filter(|n| !n.starts_with("HAKIRI_") && !declared.contains(n)) {
                let hint = match suggest(name, declared.iter().copied()) {
                    Some(meant) => format!("did you mean `${{{meant}}}`? otherwise add \"{name}\" to `secrets`"),
                    None => format!("add it to the pipeline: secrets = [\"{name}\"]"),
                };
                let message = format!("{label} uses the secret `{name}` without declaring it");
                out.push(
                    Problem::new(Code::ManifestSecret, file, reference_span(text, node, name), message).hint(hint),
                );
            }
        });
    }
}
