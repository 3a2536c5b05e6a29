//! `hakiri schema`: a table's columns, or the JSON Schema of the manifest.

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

use super::open_to_read;
use crate::cli::{GlobalArgs, SchemaArgs};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::world;

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &SchemaArgs) -> Result<Exit> {
    if args.manifest {
        printer.document(&hakiri_core::spec::json_schema(&world::connectors().list()));
        return Ok(Exit::Done);
    }
    let world = match open_to_read(global, printer).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let wanted = args.table.as_deref().unwrap_or_default();
    let heads = world.heads().await?;
    let found = heads.iter().find_map(|h| h.tables.iter().find(|(name, _)| name.as_str().eq_ignore_ascii_case(wanted)));
    let Some((name, table)) = found else {
        let known: Vec<&str> = heads.iter().flat_map(|h| h.tables.keys().map(|t| t.as_str())).collect();
        return Err(Error::new(Code::QueryTable, format!("there is no table `{wanted}`")).with_hint(
            if known.is_empty() {
                "no table is committed yet; run a pipeline first".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            },
        ));
    };
    if printer.json {
        printer.document(&serde_json::json!({ "table": name, "merge": table.merge, "schema": table.schema }));
        return Ok(Exit::Done);
    }
    let Some(version) = &table.schema else { return Ok(Exit::Done) };
    let width = version.schema.fields.iter().map(|f| f.name.chars().count()).max().unwrap_or(0);
    for field in &version.schema.fields {
        let key = if table.merge.primary_key.contains(&field.name) { "  primary key" } else { "" };
        let cursor = if table.merge.cursor.as_ref() == Some(&field.name) { "  cursor" } else { "" };
        printer.data(&format!("{:width$}  {}{key}{cursor}", field.name, field.ty));
    }
    printer.note(&format!("{name}: version {} of the schema", version.version));
    Ok(Exit::Done)
}
