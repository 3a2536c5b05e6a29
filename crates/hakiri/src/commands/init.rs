//! `hakiri init`: a new project that runs as it is.

#![allow(clippy::disallowed_methods)] // writes the project's first files

use std::io::Write as _;
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
    // The manifest first: where there is one, nothing at all is touched.
    if !create(&dir.join(MANIFEST), &TEMPLATE.replace("{{name}}", name.as_str()))? {
        return Err(Error::new(Code::Arguments, format!("{} has a {MANIFEST} already", dir.display()))
            .with_hint("choose another name, or edit the one there"));
    }
    let mut kept = Vec::new();
    for (file, text) in [("data/orders.csv", SAMPLE), (".gitignore", IGNORE)] {
        if !create(&dir.join(file), text)? {
            printer.note(&format!("kept {file}, which was there already"));
            kept.push(file);
        }
    }
    printer.note(&format!("made the project `{name}` in {}", dir.display()));
    let enter = if args.name.is_some() { format!("cd {name} && ") } else { String::new() };
    printer.note(&format!("next: {enter}hakiri run && hakiri query \"select * from sample_orders\""));
    if printer.json {
        printer.document(&serde_json::json!({ "project": name, "path": dir, "kept": kept }));
    }
    Ok(Exit::Done)
}

/// Writes a new file. Whatever is there under its name stays: then it is false.
fn create(path: &Path, text: &str) -> Result<bool> {
    let io = |e: std::io::Error| Error::new(Code::Io, format!("{}: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    match std::fs::File::create_new(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true).map_err(io),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(io(e)),
    }
}
