//! GitHub, as a description of its REST API: see `github.toml` beside this file. There is no code of its own.

use std::sync::Arc;

use hakiri_core::error::Result;
use hakiri_core::source::Connector;
use serde_json::Value;

use crate::http::HttpConnector;
use crate::http::described::Description;

/// The name in the manifest.
pub const NAME: &str = "github";
/// One line.
pub const ABOUT: &str = "issues, pull requests, comments and releases of a GitHub repository";

const DESCRIPTION: &str = include_str!("github.toml");

/// The JSON Schema of the config.
pub fn schema() -> Value {
    // A description that cannot be read has no schema; a test holds that it can.
    Description::parse(DESCRIPTION).map_or(Value::Null, |d| d.schema())
}

/// Configures the connector.
///
/// # Errors
/// `HK0403`, naming the option.
pub fn open(config: &Value) -> Result<Arc<dyn Connector>> {
    Ok(Arc::new(HttpConnector::new(Description::parse(DESCRIPTION)?.config(NAME, config)?)?))
}
