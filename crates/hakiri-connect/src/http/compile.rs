//! From a config to a site: resources as trees of parents and children, everything checked that can be checked
//! without the network (`HK0403`).

use hakiri_core::codes::Code;
use hakiri_core::cursor::CursorKind;
use hakiri_core::error::{Error, Result};
use hakiri_core::schema::{Field, Schema, Type};
use hakiri_core::secret::{self, references};
use url::Url;

use super::config::{Auth, Grant, HttpConfig, Method, Paginate, Resource};
use super::template::{self, Piece};

/// The default of `timeout`, in milliseconds.
const TIMEOUT_MILLIS: i64 = 60_000;
/// The default of `max_response_bytes`.
const MAX_RESPONSE_BYTES: u64 = 64 << 20;
/// The default of `max_requests`.
const MAX_REQUESTS: u64 = 10_000;

/// A checked config.
#[derive(Debug)]
pub struct Site {
    /// As it was written.
    pub config: HttpConfig,
    /// `base_url` without a slash at its end; may hold `${NAME}`.
    pub base: String,
    /// The resources, by name.
    pub nodes: Vec<Node>,
    /// How long a request may take, in milliseconds.
    pub timeout_millis: u64,
    /// The largest answer in bytes.
    pub max_bytes: u64,
    /// The least time between two requests, in milliseconds.
    pub interval_millis: i64,
}

/// A resource in its tree.
#[derive(Debug)]
pub struct Node {
    /// Its name, and the table's.
    pub name: String,
    /// As it was written.
    pub resource: Resource,
    /// The resource whose records it is read for.
    pub parent: Option<usize>,
    /// The path in pieces.
    pub path: Vec<Slot>,
    /// The parameters in pieces, the site's own first.
    pub params: Vec<(String, Vec<Slot>)>,
    /// Paths into its records that resources below it need.
    pub needs: Vec<String>,
    /// The types it declares.
    pub declared: Schema,
    /// The page limit.
    pub max_requests: u64,
}

/// A piece of a path or parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// Text; may hold `${NAME}`.
    Text(String),
    /// A field of an ancestor's record.
    Field {
        /// The ancestor.
        node: usize,
        /// The path in its record.
        field: String,
    },
}

impl Site {
    /// The resources directly below one.
    pub fn below(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(move |i| self.nodes[*i].parent == Some(node))
    }

    /// Whether a resource is somewhere below another.
    pub fn is_below(&self, node: usize, above: usize) -> bool {
        let mut here = self.nodes[node].parent;
        while let Some(i) = here {
            if i == above {
                return true;
            }
            here = self.nodes[i].parent;
        }
        false
    }

    /// The top of a resource's tree.
    pub fn root(&self, node: usize) -> usize {
        let mut here = node;
        while let Some(parent) = self.nodes[here].parent {
            here = parent;
        }
        here
    }

    /// The field of the ancestor `above` that a column of `node` is a copy of, through `include`.
    pub fn inherited(&self, node: usize, column: &str, above: usize) -> Option<String> {
        let parent = self.nodes[node].parent?;
        let field = self.nodes[node].resource.include.get(column)?;
        if parent == above { Some(field.clone()) } else { self.inherited(parent, field, above) }
    }

    /// How many resources are above one.
    pub fn depth(&self, node: usize) -> usize {
        std::iter::successors(self.nodes[node].parent, |i| self.nodes[*i].parent).count()
    }

    /// A resource by name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|n| n.name == name)
    }

    /// What stands in messages for a resource's requests: no query, no credentials, no values of records.
    pub fn label(&self, node: usize) -> String {
        let resource = &self.nodes[node].resource;
        let method = if resource.method == Method::Post { "POST" } else { "GET" };
        format!("{method} {}{}", self.base, resource.path)
    }
}

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::new(Code::SourceConfig, message).with_hint(hint)
}

/// Checks a config.
///
/// # Errors
/// `HK0403`, naming the key.
pub fn compile(config: HttpConfig) -> Result<Site> {
    let base = check_base(&config)?;
    check_auth(config.auth.as_ref())?;
    check_headers(&config)?;
    let timeout = match &config.timeout {
        None => TIMEOUT_MILLIS,
        Some(text) => hakiri_core::schedule::parse_duration(text)
            .ok()
            .filter(|ms| *ms > 0)
            .ok_or_else(|| wrong(format!("timeout: `{text}` is not a duration"), "write for example 30s or 5m"))?,
    };
    if config.resources.is_empty() {
        return Err(wrong("resources: there is none", "describe at least one, with a `path`"));
    }
    let names: Vec<String> = config.resources.keys().cloned().collect();
    let mut nodes = Vec::with_capacity(names.len());
    for (name, resource) in &config.resources {
        nodes.push(node(&config, &names, name, resource)?);
    }
    let interval =
        |count: Option<u32>, period: i64| count.map_or(0, |n| (period + i64::from(n.max(1)) - 1) / i64::from(n.max(1)));
    let interval_millis = interval(config.requests_per_second, 1_000).max(interval(config.requests_per_minute, 60_000));
    let max_bytes = config.max_response_bytes.unwrap_or(MAX_RESPONSE_BYTES).max(1);
    let mut site = Site { base, nodes, timeout_millis: timeout.unsigned_abs(), max_bytes, interval_millis, config };
    connect(&mut site)?;
    Ok(site)
}

fn check_base(config: &HttpConfig) -> Result<String> {
    let base = config.base_url.trim_end_matches('/').to_owned();
    let has_reference = references(&base).iter().any(|p| matches!(p, secret::Piece::Name(_)));
    if !has_reference {
        // The parser's message is not shown: it may hold the text, and the text a password.
        let url = Url::parse(&base)
            .map_err(|e| wrong(format!("base_url: not a URL ({e})"), "write for example https://api.example.com/v1"))?;
        super::address::gate(&url, true).map_err(|e| wrong(format!("base_url: {e}"), e.hint().to_owned()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("base_url: has a query or a fragment", "move the parameters to `params`"));
        }
    }
    Ok(base)
}

fn check_auth(auth: Option<&Auth>) -> Result<()> {
    match auth {
        Some(Auth::ApiKey(key)) if key.name.is_empty() => {
            Err(wrong("auth.api_key.name: is empty", "name the header or parameter"))
        }
        Some(Auth::Oauth2(oauth)) if oauth.grant == Grant::RefreshToken && oauth.refresh_token.is_none() => Err(wrong(
            "auth.oauth2.refresh_token: is missing",
            "give it as \"${NAME}\", or use grant = \"client_credentials\"",
        )),
        Some(Auth::Oauth2(oauth)) if oauth.grant == Grant::ClientCredentials && oauth.client_secret.is_none() => {
            Err(wrong("auth.oauth2.client_secret: is missing", "give it as \"${NAME}\""))
        }
        _ => Ok(()),
    }
}

fn check_headers(config: &HttpConfig) -> Result<()> {
    for name in config.headers.keys() {
        let fixed = ["host", "content-length", "transfer-encoding", "connection", "accept-encoding"];
        if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err()
            || fixed.contains(&name.to_ascii_lowercase().as_str())
        {
            return Err(wrong(format!("headers.{name}: cannot be set"), "remove it"));
        }
    }
    Ok(())
}

fn node(config: &HttpConfig, names: &[String], name: &str, resource: &Resource) -> Result<Node> {
    let key = |rest: &str| format!("resources.{name}.{rest}");
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        return Err(wrong(format!("resources: `{name}` is not a name"), "use letters, digits, `_` and `-`"));
    }
    if resource.path.contains(['?', '#']) {
        return Err(wrong(format!("{} has a query or a fragment", key("path")), "move the parameters to `params`"));
    }
    if resource.path.split('/').any(|s| matches!(s, "." | "..")) {
        return Err(wrong(format!("{} has a segment `.` or `..`", key("path")), "write the path in full"));
    }
    let path = slots(&resource.path, names, true)
        .map_err(|what| wrong(format!("{}: {what}", key("path")), "write {resource.field}"))?;
    let mut params = Vec::new();
    for (param, value) in
        config.params.iter().filter(|(p, _)| !resource.params.contains_key(*p)).chain(&resource.params)
    {
        let value = slots(&value.text(), names, false)
            .map_err(|what| wrong(format!("{}: {what}", key("params")), "write {resource.field}"))?;
        params.push((param.clone(), value));
    }
    let holes = resource.body.as_ref().map(template::holes).unwrap_or_default();
    if resource.body.is_some() && resource.method == Method::Get {
        return Err(wrong(format!("{} needs a POST", key("body")), "set method = \"POST\""));
    }
    for hole in &holes {
        let known = matches!(hole.as_str(), "cursor" | "page" | "offset" | "size" | "lower" | "upper");
        if !known && field_of(hole, names).is_none() {
            return Err(wrong(
                format!("{}: `{{{{{hole}}}}}` is not known", key("body")),
                "use cursor, page, offset, size, lower, upper, or a field of a parent as {{resource.field}}",
            ));
        }
    }
    check_paginate(&resource.paginate, &holes)
        .map_err(|what| wrong(format!("{}: {what}", key("paginate")), "name the API's parameter"))?;
    if let Some(kind) = resource.incremental.as_ref().and_then(|i| i.kind)
        && kind == CursorKind::Opaque
    {
        return Err(wrong(format!("{} cannot be opaque", key("incremental.kind")), "use timestamp, integer or text"));
    }
    for status in &resource.skip_status {
        if !(400..600).contains(status) {
            return Err(wrong(
                format!("{}: {status} is not an error's status", key("skip_status")),
                "use for example [404, 410]",
            ));
        }
    }
    let types = resource.types.iter().map(|(column, text)| {
        let ty = Type::parse(text)
            .map_err(|e| wrong(format!("{}: {e}", key(&format!("types.{column}"))), e.hint().to_owned()))?;
        Ok(Field::new(column.clone(), ty))
    });
    let declared = Schema::new(types.collect::<Result<_>>()?);
    let max_requests = resource.max_requests.unwrap_or(MAX_REQUESTS);
    Ok(Node {
        name: name.to_owned(),
        resource: resource.clone(),
        parent: None,
        path,
        params,
        needs: Vec::new(),
        declared,
        max_requests,
    })
}

fn check_paginate(paginate: &Paginate, holes: &[String]) -> std::result::Result<(), String> {
    let sent = |param: &Option<String>, hole: &str| {
        if param.is_some() || holes.iter().any(|h| h == hole) {
            Ok(())
        } else {
            Err(format!("`param` is missing, and no `{{{{{hole}}}}}` stands in the body"))
        }
    };
    match paginate {
        Paginate::None | Paginate::NextUrl(_) | Paginate::LinkHeader(_) => Ok(()),
        Paginate::Page(p) => sent(&p.param, "page"),
        Paginate::Offset(o) if o.limit == 0 => Err("limit: is zero".to_owned()),
        Paginate::Offset(o) => sent(&o.param, "offset"),
        Paginate::Cursor(c) => sent(&c.param, "cursor"),
        Paginate::LastRecord(l) => sent(&l.param, "cursor"),
    }
}

/// The resource and the field that a hole names.
fn field_of(hole: &str, names: &[String]) -> Option<(usize, String)> {
    let (resource, field) = hole.split_once('.')?;
    let node = names.iter().position(|n| n == resource)?;
    (!field.is_empty()).then(|| (node, field.to_owned()))
}

fn slots(text: &str, names: &[String], strict: bool) -> std::result::Result<Vec<Slot>, String> {
    template::parse(text, "{", "}")
        .into_iter()
        .map(|piece| match piece {
            Piece::Text(text)
                if strict
                    && references(&text)
                        .iter()
                        .any(|p| matches!(p, secret::Piece::Text(t) if t.contains(['{', '}']))) =>
            {
                Err("a brace opens or closes nothing".to_owned())
            }
            Piece::Text(text) => Ok(Slot::Text(text)),
            Piece::Hole(hole) => match field_of(&hole, names) {
                Some((node, field)) => Ok(Slot::Field { node, field }),
                None if strict => Err(format!("`{{{hole}}}` names no resource and field of this source")),
                None => Ok(Slot::Text(format!("{{{hole}}}"))),
            },
        })
        .collect()
}

/// Finds every resource's parent, refuses circles, and notes which fields are needed of whom.
fn connect(site: &mut Site) -> Result<()> {
    let names: Vec<String> = site.nodes.iter().map(|n| n.name.clone()).collect();
    let uses: Vec<Vec<(usize, String)>> = site
        .nodes
        .iter()
        .map(|node| {
            let slots = node.path.iter().chain(node.params.iter().flat_map(|(_, v)| v));
            let mut uses: Vec<(usize, String)> = slots
                .filter_map(|s| if let Slot::Field { node, field } = s { Some((*node, field.clone())) } else { None })
                .collect();
            let body = node.resource.body.as_ref().map(template::holes).unwrap_or_default();
            uses.extend(body.iter().filter_map(|hole| field_of(hole, &names)));
            uses
        })
        .collect();
    // A resource is placed once all resources it uses are; what can never be placed is part of a circle.
    let mut placed = vec![false; site.nodes.len()];
    loop {
        let ready = (0..site.nodes.len()).find(|i| !placed[*i] && uses[*i].iter().all(|(used, _)| placed[*used]));
        let Some(node) = ready else { break };
        placed[node] = true;
        let mut used: Vec<usize> = uses[node].iter().map(|(i, _)| *i).collect();
        used.sort_unstable();
        used.dedup();
        if !used.is_empty() {
            let parent = used.iter().copied().find(|p| used.iter().all(|u| u == p || site.is_below(*p, *u)));
            site.nodes[node].parent = Some(parent.ok_or_else(|| {
                let list: Vec<String> = used.iter().map(|i| format!("`{}`", names[*i])).collect();
                wrong(
                    format!(
                        "resources.{}: uses {}, of which none is below the others",
                        names[node],
                        list.join(" and ")
                    ),
                    "a resource has one parent; use fields of that one and of its own parents",
                )
            })?);
        }
    }
    if let Some(stuck) = placed.iter().position(|p| !p) {
        return Err(wrong(
            format!("resources.{}: its parents form a circle", names[stuck]),
            "remove one of the {resource.field} references",
        ));
    }
    for (node, uses) in uses.into_iter().enumerate() {
        for (used, field) in uses {
            site.nodes[used].needs.push(field);
        }
        let included: Vec<String> = site.nodes[node].resource.include.values().cloned().collect();
        match site.nodes[node].parent {
            Some(parent) => site.nodes[parent].needs.extend(included),
            None if included.is_empty() => {}
            None => {
                return Err(wrong(
                    format!("resources.{}.include: the resource has no parent", names[node]),
                    "use a field of the parent in `path`",
                ));
            }
        }
    }
    for node in &mut site.nodes {
        node.needs.sort_unstable();
        node.needs.dedup();
    }
    Ok(())
}
