//! The files of the demo's project.

#![allow(clippy::disallowed_methods)] // the one module that writes them

use std::path::Path;

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

use crate::project::MANIFEST;

/// Where the airports lie in the project.
pub const AIRPORTS: &str = "data/airports.csv.gz";
/// Where the final query lies in the project.
pub const QUERY: &str = "near.sql";

const TEMPLATE: &str = include_str!("hakiri.toml");
const AIRPORTS_BYTES: &[u8] = include_bytes!("../../../../examples/quakes/airports.csv.gz");
const IGNORE: &str = "/.hakiri/\n";

/// Makes sure that nothing of anyone's is in the folder.
///
/// # Errors
/// `HK0002` when it is not empty or not a folder, `HK0005` when it cannot be read.
pub fn refuse_used(dir: &Path) -> Result<()> {
    let refused = |what: &str| {
        Error::new(Code::Arguments, format!("{} is {what}", dir.display()))
            .with_hint("name a new folder: `hakiri demo DIR`")
    };
    match std::fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                Err(refused("not empty"))
            } else {
                Ok(())
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => Err(refused("not a folder")),
        Err(e) => Err(Error::new(Code::Io, format!("{}: {e}", dir.display()))),
    }
}

/// The manifest for an API at this URL.
pub fn manifest(base_url: &str) -> String {
    TEMPLATE.replace("{{base_url}}", base_url)
}

/// Writes the project's files.
///
/// # Errors
/// `HK0005`.
pub fn make(dir: &Path, base_url: &str) -> Result<()> {
    write(&dir.join(AIRPORTS), AIRPORTS_BYTES)?;
    write(&dir.join(QUERY), super::NEAR.as_bytes())?;
    write(&dir.join(".gitignore"), IGNORE.as_bytes())?;
    write(&dir.join(MANIFEST), manifest(base_url).as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |e: std::io::Error| Error::new(Code::Io, format!("{}: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    std::fs::write(path, bytes).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_folder_is_used() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b");
        refuse_used(&dir).unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        refuse_used(&dir).unwrap();
        make(&dir, "http://127.0.0.1:1").unwrap();
        let error = refuse_used(&dir).unwrap_err();
        assert_eq!((error.code(), error.hint()), (Code::Arguments, "name a new folder: `hakiri demo DIR`"));
        assert_eq!(refuse_used(&dir.join(MANIFEST)).unwrap_err().code(), Code::Arguments);
    }

    #[test]
    fn the_manifest_has_no_error() {
        let text = manifest("http://127.0.0.1:1");
        let files = [hakiri_core::spec::ManifestText { name: MANIFEST.to_owned(), text }];
        let project = hakiri_core::spec::parse(&files, None, &crate::world::connectors().list()).unwrap();
        let ids: Vec<&str> = project.pipelines.iter().map(|p| p.id.as_str()).collect();
        assert_eq!(ids, ["quakes", "airports"]);
    }
}
