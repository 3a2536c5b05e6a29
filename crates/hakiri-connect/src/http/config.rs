//! The manifest's words for an HTTP source: what stands under `source.config` with `connector = "http"`.
//!
//! These types are the contract with people: every field is documented for `hakiri schema --manifest`, and an unknown
//! key is an error. Texts may hold `${NAME}`: they are resolved when a request is sent and at no other time (P8).
//! What the types cannot say (a parent that does not exist, a cursor that is sent nowhere) is checked by
//! [`super::compile`].

use std::collections::BTreeMap;

use hakiri_core::cursor::CursorKind;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Settings of an HTTP source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// What every path is appended to: `https://api.example.com/v1`. No query.
    pub base_url: String,
    /// How requests prove who they are. Absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Send requests without credentials when a secret that `auth` names is not declared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auth_optional: bool,
    /// Headers of every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Query parameters of the first request of every resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Scalar>,
    /// Allow loopback, private and link-local addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_private: bool,
    /// How long one request may take, body included: `30s`, `5m`. Default: `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// The largest answer, in bytes after decompression. Default: 64 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_response_bytes: Option<u64>,
    /// At most this many requests in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_per_second: Option<u32>,
    /// At most this many requests in a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<u32>,
    /// What can be read, by name. Each becomes a table.
    pub resources: BTreeMap<String, Resource>,
}

/// One thing that can be read, and the table it becomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Appended to `base_url`. `{orders.id}` makes one sequence of requests per record of `orders`; the field is a
    /// path with dots.
    pub path: String,
    /// `GET` or `POST`.
    #[serde(default)]
    pub method: Method,
    /// Query parameters of the first request of a sequence. Values may hold `{orders.id}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Scalar>,
    /// The JSON body of a POST. Texts may hold `{{cursor}}`, `{{page}}`, `{{offset}}`, `{{size}}`, `{{lower}}`,
    /// `{{upper}}` and `{{orders.id}}`. A member that is nothing but a place-holder keeps the value's type, and is left
    /// out while there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Where the records are in the answer, as a path with dots (`data.items`, `edges.*.node`). Absent: the answer is
    /// the array of records, or the one record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<String>,
    /// Whether a `records` path that is null or absent means "none" instead of an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub records_optional: bool,
    /// Leave out records in which this path exists and is neither null nor false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_if: Option<String>,
    /// The columns that name a record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<String>,
    /// How the next page is asked for. Absent: one request is all.
    #[serde(default, skip_serializing_if = "Paginate::is_none", deserialize_with = "paginate")]
    pub paginate: Paginate,
    /// How to ask for only what changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental: Option<Incremental>,
    /// At most this many pages in a run, over all parents. Default: 10 000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_requests: Option<u64>,
    /// At most this many records in a run, over all parents. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_rows: Option<u64>,
    /// Statuses that mean "nothing here" (for a child: of this parent): counted, not an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_status: Vec<u16>,
    /// Arrays of objects in the records that become tables of their own, as paths with dots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// Fields of the parent's record that each record gets: `{ order_id = "id" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub include: BTreeMap<String, String>,
    /// Types of columns that win over what would be inferred: `{ price = "decimal(18,2)" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
}

/// The request's method. Only these two read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Method {
    /// Parameters in the query.
    #[default]
    #[serde(rename = "GET")]
    Get,
    /// Parameters in the query, in the body, or both.
    #[serde(rename = "POST")]
    Post,
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Text; may hold `${NAME}`.
    Text(String),
}

impl Scalar {
    /// As it stands in a query.
    pub fn text(&self) -> String {
        match self {
            Self::Bool(b) => b.to_string(),
            Self::Integer(n) => n.to_string(),
            Self::Text(t) => t.clone(),
        }
    }
}

/// How requests prove who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// `Authorization: Bearer …`.
    Bearer(String),
    /// `Authorization: Basic …`.
    Basic(Basic),
    /// A key in a header or in the query.
    ApiKey(ApiKey),
    /// A token that is fetched, kept until it expires, and fetched again.
    Oauth2(Box<Oauth2>),
}

/// A user's name and password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The name.
    pub username: String,
    /// The password; may be empty.
    #[serde(default)]
    pub password: String,
}

/// A key in a header or in the query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The header's or the parameter's name.
    pub name: String,
    /// The key.
    pub value: String,
    /// Where it goes. A header, if the API offers the choice: queries end up in logs.
    #[serde(default, rename = "in")]
    pub place: KeyPlace,
}

/// Where an API key goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// In a header.
    #[default]
    Header,
    /// In the query.
    Query,
}

/// OAuth 2.0 without a person present (RFC 6749, sections 4.4 and 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oauth2 {
    /// Where tokens are given out. May be on another host than `base_url`.
    pub token_url: String,
    /// The client's id.
    pub client_id: String,
    /// The client's secret; some public clients have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// The scopes to ask for, with spaces between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Which grant.
    #[serde(default)]
    pub grant: Grant,
    /// The refresh token, for that grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// How the client's secret is sent to `token_url`.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// Which grant of OAuth 2.0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// The client's own credentials.
    #[default]
    ClientCredentials,
    /// A long-lived refresh token.
    RefreshToken,
}

/// How a client proves itself at the token endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// In the form.
    #[default]
    Body,
    /// As a Basic header.
    Basic,
}

/// How the next page is asked for. In a POST, `param` may be absent when the body holds the place-holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Paginate {
    /// One request is all.
    #[default]
    None,
    /// Numbered pages.
    Page(ByPage),
    /// Offset and limit.
    Offset(ByOffset),
    /// The answer holds a token for the next page.
    Cursor(ByCursor),
    /// The answer holds the next page's URL. It must be on the same host.
    NextUrl(ByNextUrl),
    /// The next page's URL is in the header `Link` with `rel="next"`. It must be on the same host.
    LinkHeader(ByLink),
    /// The next page begins after the last record of this one.
    LastRecord(ByLastRecord),
}

impl Paginate {
    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Also takes a bare name (`paginate = "link_header"`), which people write where nothing needs to be set.
fn paginate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Paginate, D::Error> {
    let value = match Value::deserialize(deserializer)? {
        Value::String(name) if name != "none" => {
            Value::Object([(name, Value::Object(serde_json::Map::new()))].into_iter().collect())
        }
        other => other,
    };
    serde_json::from_value(value).map_err(serde::de::Error::custom)
}

/// When numbered or counted pages end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// At a page that is empty or holds fewer records than asked for. A first page that is short is believed only after
    /// a second request: the API may cap the size below what was asked.
    #[default]
    Short,
    /// At an empty page only: for APIs that filter after cutting pages.
    Empty,
}

/// Numbered pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByPage {
    /// The query parameter of the page's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// The first page's number. Default: 1.
    #[serde(default = "one")]
    pub start: i64,
    /// The query parameter of the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_param: Option<String>,
    /// How many records to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub size: Option<u64>,
    /// Where the answer says how many pages there are. When given, it decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_pages: Option<String>,
    /// When it ends otherwise.
    #[serde(default)]
    pub stop: Stop,
}

fn one() -> i64 {
    1
}

/// Offset and limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByOffset {
    /// The query parameter of the offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// The query parameter of the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_param: Option<String>,
    /// How many records to ask for.
    #[schemars(range(min = 1))]
    pub limit: u64,
    /// Where the answer says how many records there are. When given, it decides, together with an empty page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// When it ends otherwise.
    #[serde(default)]
    pub stop: Stop,
}

/// A token in the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByCursor {
    /// The query parameter that takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// Where the answer holds it. Null, absent, false or empty: the last page.
    pub next: String,
    /// Where the answer says whether there is more.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "has_more")]
    pub more: Option<String>,
}

/// A URL in the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByNextUrl {
    /// Where the answer holds it. Null, absent or empty: the last page.
    pub path: String,
}

/// The header `Link`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByLink {}

/// After the last record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByLastRecord {
    /// The query parameter that takes the last record's field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// The field, as a path with dots.
    pub field: String,
    /// Where the answer says whether there is more. Absent: it ends at an empty page.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "has_more")]
    pub more: Option<String>,
}

/// How to ask for only what changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Incremental {
    /// The column by which the table is incremental.
    pub field: String,
    /// The query parameter of the lower bound. Absent: in the body as `{{lower}}`, or not sent at all; rows outside of
    /// the window are dropped anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// The query parameter of the upper bound, if the API has one; in the body `{{upper}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_param: Option<String>,
    /// How bounds are written.
    #[serde(default)]
    pub format: BoundFormat,
    /// Sent as the lower bound by the first run, for APIs that insist on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Scalar>,
    /// The kind of the column where the format does not tell: `unix` and `unix_ms` mean an integer column unless this
    /// says `timestamp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CursorKind>,
}

/// How a bound is written in a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoundFormat {
    /// `2026-01-31T12:00:00Z`.
    #[default]
    Rfc3339,
    /// `2026-01-31`.
    Date,
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// The column's own whole number.
    Integer,
    /// The column's own text.
    Text,
}

impl Incremental {
    /// The kind of the cursor.
    pub fn cursor_kind(&self) -> CursorKind {
        self.kind.unwrap_or(match self.format {
            BoundFormat::Rfc3339 | BoundFormat::Date => CursorKind::Timestamp,
            BoundFormat::Unix | BoundFormat::UnixMs | BoundFormat::Integer => CursorKind::Integer,
            BoundFormat::Text => CursorKind::Text,
        })
    }
}
