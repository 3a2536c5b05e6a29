//! The manifest: what a person writes in `hakiri.toml` (`02`).
//!
//! These types are the only schema there is (D5): `hakiri schema --manifest` prints them as JSON Schema, and the same
//! JSON Schema drives the diagnostics of [`parse`], so that what is documented, what is accepted and what is reported
//! cannot drift apart.
//!
//! A manifest is read in four stages, and every stage reports all it finds before anything is given up:
//! text to a tree with places (TOML and JSON alike), the tree against the JSON Schema (and each connector's config
//! against its own), what the schema cannot say (ids, schedules, secrets, names, modes), and last the types. A file
//! that cannot be read at all does not hide what is wrong with the others.

mod check_aws;
mod check_deploy;
mod check_pipeline;
mod check_project;
mod deploy;
mod diagnostic;
mod node;
mod parse;
mod project;
mod read_json;
mod read_toml;
mod references;
mod schema;
mod suggest;
mod types;
mod validate;
mod values;

#[cfg(test)]
mod tests;

pub use self::deploy::{
    AwsCatalog, AwsCompute, AwsSpec, CloudflareSpec, ComposeSpec, DeploySpec, InstanceType, LEAST_MEMORY_MIB,
    SystemdSpec, deploy_memory_mib,
};
pub use self::diagnostic::{Diagnostic, Related, Snippet};
pub use self::parse::{ManifestText, parse};
pub use self::project::{NOTIFY_SECRET_DEFAULT, Project};
pub use self::schema::json_schema;
pub use self::types::*;

/// The file at the project's root.
pub const ROOT_FILE: &str = "hakiri.toml";
/// The folder of further files, in which only pipelines may stand.
pub const PIPELINES_FOLDER: &str = "pipelines";

/// What may stand at the top of the root file only, and whether it may stand there in one file only.
const ROOT_KEYS: [(&str, bool); 7] = [
    ("project", true),
    ("context", true),
    ("catalog", true),
    ("notify", true),
    ("moved", false),
    ("deploy", true),
    ("env", true),
];
