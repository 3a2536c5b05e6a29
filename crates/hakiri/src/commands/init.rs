//! `hakiri init`: a new project that runs as it is.

#![allow(clippy::disallowed_methods)] // writes the project's first files

use std::path::Path;

use hakiri_core::codes::Code;
use hakiri_core::id::ProjectName;
use hakiri_core::{Error, Result};

use crate::cli::{GlobalArgs, InitArgs};
use crate::environment;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::project::MANIFEST;

const TEMPLATE: &str = include_str!("../../templates/hakiri.toml");
const SAMPLE: &str = include_str!("../../templates/orders.csv");
const IGNORE: &str = "/.hakiri/\n/.env\n";

/// Runs the command.
pub fn run(global: &GlobalArgs, printer: &Printer, args: &InitArgs) -> Result<Exit> {
    let here = match &global.project {
        Some(dir) => dir.clone(),
        None => environment::current_dir()?,
    };
    let (dir, name) = match &args.name {
        Some(name) => (here.join(name), name.clone()),
        None => {
            let name = here.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
            (here, name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect())
        }
    };
    let name: ProjectName = name.parse().map_err(|e: Error| {
        Error::new(Code::Arguments, e.message().to_owned())
            .with_hint(format!("{}; for example `hakiri init my-shop`", e.hint()))
    })?;
    if dir.join(MANIFEST).exists() {
        return Err(Error::new(Code::Arguments, format!("{} has a {MANIFEST} already", dir.display()))
            .with_hint("choose another name, or edit the one there"));
    }
    write(&dir.join(MANIFEST), &TEMPLATE.replace("{{name}}", name.as_str()))?;
    write(&dir.join("data/orders.csv"), SAMPLE)?;
    if !dir.join(".gitignore").exists() {
        write(&dir.join(".gitignore"), IGNORE)?;
    }
    printer.note(&format!("made the project `{name}` in {}", dir.display()));
    let enter = if args.name.is_some() { format!("cd {name} && ") } else { String::new() };
    printer.note(&format!("next: {enter}hakiri run && hakiri query \"select * from sample_orders\""));
    if printer.json {
        printer.document(&serde_json::json!({ "project": name, "path": dir }));
    }
    Ok(Exit::Done)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let io = |e: std::io::Error| Error::new(Code::Io, format!("{}: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    std::fs::write(path, text).map_err(io)
}
