//! The JSON Schema of the manifest.

use schemars::schema_for;
use serde_json::{Map, Value, json};

use super::ManifestFile;
use crate::source::ConnectorInfo;

/// What a person calls the place that a definition of the schema describes; for "belongs into".
pub(super) const PLACES: [(&str, &str); 11] = [
    ("PipelineSpec", "[[pipeline]], above its [pipeline.table.…]"),
    ("TableSpec", "[pipeline.table.<name>]"),
    ("SourceSpec", "source"),
    ("ProjectSpec", "[project] of hakiri.toml"),
    ("ContextSpec", "[context] of hakiri.toml"),
    ("CatalogSpec", "[catalog] of hakiri.toml"),
    ("SystemdSpec", "[deploy.systemd] of hakiri.toml"),
    ("ComposeSpec", "[deploy.compose] of hakiri.toml"),
    ("CloudflareSpec", "[deploy.cloudflare] of hakiri.toml"),
    ("AwsSpec", "[deploy.aws] of hakiri.toml"),
    ("EnvSpec", "[env.<name>] of hakiri.toml"),
];

/// The schema of [`ManifestFile`], with `source.config` left open.
pub(super) fn base_schema() -> Value {
    schema_for!(ManifestFile).to_value()
}

/// One JSON Schema (2020-12) for a whole manifest: what `hakiri schema --manifest` prints and editors complete from.
/// Each connector's `config` is an alternative, chosen by `source.connector`.
pub fn json_schema(connectors: &[ConnectorInfo]) -> Value {
    let mut schema = base_schema();
    schema["title"] = json!("Hakiri manifest");
    if connectors.is_empty() {
        return schema;
    }
    let mut alternatives = Vec::with_capacity(connectors.len());
    let mut definitions = Map::new();
    for connector in connectors {
        let mut config = connector.config_schema.clone();
        move_definitions(&mut config, connector.name, &mut definitions);
        let needs_config = config.get("required").and_then(Value::as_array).is_some_and(|r| !r.is_empty());
        let required = if needs_config { json!(["connector", "config"]) } else { json!(["connector"]) };
        alternatives.push(json!({
            "description": connector.about,
            "type": "object",
            "properties": { "connector": { "const": connector.name }, "config": config },
            "required": required,
            "additionalProperties": false,
        }));
    }
    if let Some(defs) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        let description = defs.get("SourceSpec").and_then(|s| s.get("description")).cloned().unwrap_or_default();
        defs.insert("SourceSpec".to_owned(), json!({ "description": description, "oneOf": alternatives }));
        defs.extend(definitions);
    }
    schema
}

/// Moves a connector's definitions to the root, under its name, and turns its references to them.
fn move_definitions(config: &mut Value, connector: &str, definitions: &mut Map<String, Value>) {
    let own = config.as_object_mut().and_then(|c| {
        c.shift_remove("$schema");
        c.shift_remove("$defs")
    });
    rename_references(config, connector);
    if let Some(Value::Object(own)) = own {
        for (name, mut definition) in own {
            rename_references(&mut definition, connector);
            definitions.insert(format!("{connector}.{name}"), definition);
        }
    }
}

fn rename_references(value: &mut Value, connector: &str) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(target) if key == "$ref" => {
                        if let Some(name) = target.strip_prefix("#/$defs/") {
                            *target = format!("#/$defs/{connector}.{name}");
                        }
                    }
                    other => rename_references(other, connector),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| rename_references(v, connector)),
        _ => {}
    }
}
