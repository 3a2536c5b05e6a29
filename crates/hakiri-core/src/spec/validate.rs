//! A [`Node`] against a JSON Schema: every mistake, each at its place.
//!
//! It knows the keywords that `schemars` writes for types like ours: `$ref`, `properties`, `additionalProperties`,
//! `required`, `enum`, `const`, `oneOf`, `anyOf`, `allOf`, `type`, `items`, `minItems`, `minLength`, `maxLength`,
//! `minimum`, `maximum`, and `format` for the widths of integers. `pattern` is not read: the types behind a schema check
//! their own text and say more about it than a pattern can. Not a general validator, because one of those says "is not
//! valid under any of the given schemas" where a person needs "did you mean".

use serde_json::Value;

use super::diagnostic::Problem;
use super::node::{Data, Member, Node};
use super::suggest::{did_you_mean, list, suggest};
use crate::codes::Code;

/// How deep schemas may refer to one another.
const MAX_DEPTH: usize = 300;

/// A schema with the definitions it refers to.
pub(super) struct Validator<'a> {
    root: &'a Value,
    file: usize,
    /// For definitions by name: what a person calls the place. Unknown keys that such a definition has are explained by
    /// it ("belongs into …").
    places: &'a [(&'a str, &'a str)],
}

impl<'a> Validator<'a> {
    pub fn new(root: &'a Value, file: usize, places: &'a [(&'a str, &'a str)]) -> Self {
        Self { root, file, places }
    }

    /// Checks a node against the whole schema. `label` is what the node is called.
    pub fn check(&self, node: &Node, label: &str) -> Vec<Problem> {
        let mut out = Vec::new();
        self.node(node, self.root, label, 0, &mut out);
        out
    }

    pub(super) fn problem(&self, code: Code, node: &Node, message: String) -> Problem {
        Problem::new(code, self.file, node.span.clone(), message)
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        for _ in 0..16 {
            match schema.get("$ref").and_then(Value::as_str).and_then(|r| self.root.pointer(r.strip_prefix('#')?)) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    fn node(&self, node: &Node, schema: &'a Value, label: &str, depth: usize, out: &mut Vec<Problem>) {
        if depth > MAX_DEPTH {
            return;
        }
        if schema == &Value::Bool(false) {
            out.push(self.problem(Code::ManifestValue, node, format!("{label} is not allowed here")));
        }
        let Some(rules) = schema.as_object() else { return };
        if rules.contains_key("$ref") {
            let target = self.resolve(schema);
            if !std::ptr::eq(target, schema) {
                self.node(node, target, label, depth + 1, out);
            }
        }
        for part in array(schema, "allOf") {
            self.node(node, part, label, depth + 1, out);
        }
        if let Some(choices) = self.choices(schema) {
            self.choice(node, &choices, label, out);
            return;
        }
        for keyword in ["anyOf", "oneOf"] {
            let branches: Vec<&'a Value> = array(schema, keyword).iter().collect();
            if !branches.is_empty() {
                self.alternatives(node, &branches, label, depth, out);
            }
        }
        if let Some(expected) = rules.get("const")
            && *expected != node.to_json()
        {
            out.push(self.problem(Code::ManifestValue, node, format!("{label} must be {expected}")));
        }
        if !types_of(schema).is_empty() && !types_of(schema).iter().any(|t| is_of(node, t)) {
            out.push(self.wrong_type(node, &self.describe(schema), label));
            return;
        }
        match &node.data {
            Data::Number(number) => self.number(node, number, schema, label, out),
            Data::Text(text) => self.text(node, text, schema, label, out),
            Data::List(items) => {
                if let Some(least) = rules.get("minItems").and_then(Value::as_u64).filter(|n| (items.len() as u64) < *n)
                {
                    out.push(self.problem(
                        Code::ManifestValue,
                        node,
                        format!("{label} needs at least {least} item{}", if least == 1 { "" } else { "s" }),
                    ));
                }
                if let Some(rule) = rules.get("items") {
                    items.iter().for_each(|item| self.node(item, rule, &item_label(item, label), depth + 1, out));
                }
            }
            Data::Table(members) => self.table(node, members, schema, label, depth, out),
            Data::Null | Data::Bool(_) => {}
        }
    }

    fn wrong_type(&self, node: &Node, expected: &str, label: &str) -> Problem {
        let problem =
            self.problem(Code::ManifestType, node, format!("{label} is {}, but takes {expected}", node.kind()));
        match (&node.data, expected) {
            (Data::Table(_), "a list") if label == "`pipeline`" => {
                problem.hint("write `[[pipeline]]`, with two brackets, for each pipeline")
            }
            (Data::Text(text), "a list") => problem.hint(format!("write it as a list: [{}]", quoted(text))),
            (Data::Text(text), "a whole number") if text.parse::<i64>().is_ok() => {
                problem.hint("write the number without quotes")
            }
            (Data::Text(text), "true or false") if matches!(text.as_str(), "true" | "false") => {
                problem.hint(format!("write {text} without quotes"))
            }
            (Data::Number(n), "text") => problem.hint(format!("write it as text: \"{n}\"")),
            (Data::Bool(b), "text") => problem.hint(format!("write it as text: \"{b}\"")),
            _ => problem.hint(format!("write {expected} here")),
        }
    }

    fn table(
        &self,
        node: &Node,
        members: &[Member],
        schema: &'a Value,
        label: &str,
        depth: usize,
        out: &mut Vec<Problem>,
    ) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let rest = schema.get("additionalProperties");
        let mut misspelt = Vec::new();
        for member in members {
            let name = format!("`{}`", member.key);
            match (properties.and_then(|p| p.get(&member.key)), rest) {
                (Some(rule), _) => self.node(&member.node, rule, &name, depth + 1, out),
                (None, Some(Value::Bool(false))) => {
                    let known: Vec<&str> = properties.into_iter().flatten().map(|(k, _)| k.as_str()).collect();
                    misspelt.extend(suggest(&member.key, known.iter().copied()));
                    out.push(self.unknown_key(member, &known, label));
                }
                (None, Some(rule)) => self.node(&member.node, rule, &name, depth + 1, out),
                (None, None) => {}
            }
        }
        for key in array(schema, "required").iter().filter_map(Value::as_str) {
            // A misspelt key is one mistake, not two.
            if !members.iter().any(|m| m.key == key) && !misspelt.contains(&key) {
                let about = properties.and_then(|p| p.get(key)).and_then(|p| self.about(p));
                let hint = about.map_or_else(|| format!("add `{key}`"), |about| format!("add `{key}`: {about}"));
                out.push(
                    self.problem(Code::ManifestMissing, node, format!("{label} lacks the key `{key}`")).hint(hint),
                );
            }
        }
    }

    /// The first sentence of a schema's description.
    fn about(&self, schema: &'a Value) -> Option<String> {
        let text = [schema, self.resolve(schema)].into_iter().find_map(|s| s.get("description")?.as_str())?;
        let line = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let sentence = line.split(". ").next().unwrap_or_default().trim_end_matches('.');
        let mut chars = sentence.chars();
        chars.next().map(|c| c.to_lowercase().chain(chars).collect())
    }

    fn unknown_key(&self, member: &Member, known: &[&str], label: &str) -> Problem {
        let problem = Problem::new(
            Code::ManifestUnknownKey,
            self.file,
            member.key_span.clone(),
            format!("{label} has no key `{}`", member.key),
        );
        if let Some(meant) = suggest(&member.key, known.iter().copied()) {
            return problem.hint(format!("did you mean `{meant}`?"));
        }
        let has = |name: &str| {
            self.root.pointer(&format!("/$defs/{name}/properties")).is_some_and(|p| p.get(&member.key).is_some())
        };
        if let Some((_, place)) = self.places.iter().find(|(name, _)| has(name)) {
            return problem.hint(format!("`{}` belongs into {place}", member.key));
        }
        problem.hint(match known {
            [] => "remove it: nothing can stand here".to_owned(),
            known => format!("use one of: {}", list(known.iter().copied())),
        })
    }

    /// The texts a schema allows, when it allows nothing but certain texts (and null).
    fn choices(&self, schema: &'a Value) -> Option<Vec<&'a str>> {
        let schema = self.resolve(schema);
        if let Some(only) = schema.get("const") {
            return Some(vec![only.as_str()?]);
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return values.iter().filter(|v| !v.is_null()).map(Value::as_str).collect();
        }
        let branches = ["oneOf", "anyOf"].into_iter().map(|k| array(schema, k)).find(|b| !b.is_empty())?;
        let branches = branches.iter().filter(|b| types_of(b) != ["null"]);
        Some(branches.map(|b| self.choices(b)).collect::<Option<Vec<_>>>()?.concat())
    }

    fn choice(&self, node: &Node, choices: &[&str], label: &str, out: &mut Vec<Problem>) {
        match &node.data {
            Data::Text(text) if choices.contains(&text.as_str()) => {}
            Data::Text(text) => out.push(
                self.problem(Code::ManifestValue, node, format!("{label} cannot be {}", quoted(text)))
                    .hint(did_you_mean(text, choices.iter().copied())),
            ),
            // An optional choice may be null in JSON.
            Data::Null => {}
            _ => out.push(
                self.problem(Code::ManifestType, node, format!("{label} is {}, but takes text", node.kind()))
                    .hint(format!("use one of: {}", list(choices.iter().copied()))),
            ),
        }
    }

    fn alternatives(&self, node: &Node, branches: &[&'a Value], label: &str, depth: usize, out: &mut Vec<Problem>) {
        let fitting: Vec<&'a Value> = branches.iter().copied().filter(|b| self.fits_type(node, b, 0)).collect();
        if fitting.is_empty() {
            let mut kinds: Vec<String> = branches.iter().map(|b| self.describe(b)).filter(|k| k != "null").collect();
            kinds.dedup();
            out.push(self.wrong_type(node, &kinds.join(" or "), label));
            return;
        }
        let choices: Option<Vec<Vec<&str>>> = fitting.iter().map(|b| self.choices(b)).collect();
        if let Some(choices) = choices {
            return self.choice(node, &choices.concat(), label, out);
        }
        let mut best: Option<(Likeness, Vec<Problem>)> = None;
        for branch in &fitting {
            let mut problems = Vec::new();
            self.node(node, branch, label, depth + 1, &mut problems);
            if problems.is_empty() {
                return;
            }
            let (tags, known) = self.likeness(node, branch);
            let score = (tags, known, std::cmp::Reverse(problems.len()));
            if best.as_ref().is_none_or(|(other, _)| score > *other) {
                best = Some((score, problems));
            }
        }
        let Some(((tags, known, _), problems)) = best else {
            return;
        };
        // A table that looks like none of the alternatives: name the keys that choose between them.
        if let (0, 0, Data::Table(members), true) = (tags, known, &node.data, fitting.len() > 1) {
            let mut keys: Vec<&str> = fitting
                .iter()
                .filter_map(|b| self.resolve(b).get("properties")?.as_object())
                .flatten()
                .map(|(k, _)| k.as_str())
                .collect();
            keys.dedup();
            if members.is_empty() {
                out.push(
                    self.problem(Code::ManifestMissing, node, format!("{label} is empty"))
                        .hint(format!("use one of: {}", list(keys))),
                );
                return;
            }
            out.extend(members.iter().map(|m| self.unknown_key(m, &keys, label)));
            return;
        }
        out.extend(problems);
    }

    /// How much a table looks like what a schema describes: members equal to a constant, and known keys.
    fn likeness(&self, node: &Node, schema: &'a Value) -> (usize, usize) {
        let Some(properties) = self.resolve(schema).get("properties").and_then(Value::as_object) else {
            return (0, 0);
        };
        let known = || node.members().iter().filter_map(|m| Some((m, properties.get(&m.key)?)));
        let tags = known().filter(|(m, rule)| rule.get("const").is_some_and(|c| *c == m.node.to_json())).count();
        (tags, known().count())
    }

    fn fits_type(&self, node: &Node, schema: &'a Value, depth: usize) -> bool {
        let schema = self.resolve(schema);
        if depth > 8 {
            return true;
        }
        let types = types_of(schema);
        if !types.is_empty() {
            return types.iter().any(|t| is_of(node, t));
        }
        if let Some(only) = schema.get("const") {
            return only.is_string() == node.as_text().is_some();
        }
        match ["anyOf", "oneOf"].into_iter().map(|k| array(schema, k)).find(|b| !b.is_empty()) {
            Some(branches) => branches.iter().any(|b| self.fits_type(node, b, depth + 1)),
            None => true,
        }
    }

    /// What a schema takes, in words.
    fn describe(&self, schema: &'a Value) -> String {
        let schema = self.resolve(schema);
        let mut kinds: Vec<String> = types_of(schema)
            .into_iter()
            .map(|t| match t {
                "string" => "text",
                "integer" => "a whole number",
                "number" => "a number",
                "boolean" => "true or false",
                "array" => "a list",
                "object" => "a table",
                other => other,
            })
            .map(str::to_owned)
            .collect();
        if kinds.is_empty() {
            kinds = ["anyOf", "oneOf"].into_iter().flat_map(|k| array(schema, k)).map(|b| self.describe(b)).collect();
            kinds.dedup();
        }
        if kinds.len() > 1 {
            kinds.retain(|k| k != "null");
        }
        if kinds.is_empty() { "another value".to_owned() } else { kinds.join(" or ") }
    }
}

fn array<'v>(schema: &'v Value, key: &str) -> &'v [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn types_of(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_of(node: &Node, ty: &str) -> bool {
    match (&node.data, ty) {
        (Data::Null, "null")
        | (Data::Bool(_), "boolean")
        | (Data::Text(_), "string")
        | (Data::List(_), "array")
        | (Data::Table(_), "object") => true,
        (Data::Number(n), "integer") => !n.is_f64(),
        (Data::Number(_), "number") => true,
        _ => false,
    }
}

/// What an item of a list is called.
fn item_label(item: &Node, list: &str) -> String {
    match (list, item.text("id")) {
        ("`pipeline`", Some(id)) => format!("the pipeline `{id}`"),
        ("`pipeline`", None) => "a pipeline".to_owned(),
        _ => format!("an item of {list}"),
    }
}

/// A text in quotes, shortened: what stands in a message is not to fill a screen.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("\"{}{}\"", short.escape_debug(), if short.len() < text.len() { "…" } else { "" })
}

/// How much a table looks like an alternative: tags that fit, known keys, and (fewer is more) problems.
type Likeness = (usize, usize, std::cmp::Reverse<usize>);
