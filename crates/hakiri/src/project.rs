//! Finding and reading the manifest's files. What they mean is decided in `hakiri_core::spec`.

#![allow(clippy::disallowed_methods)] // the one place that reads manifests

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::source::Connectors;
use hakiri_core::spec::{Diagnostic, ManifestText, Project, parse};
use hakiri_core::{Error, Result};

use crate::cli::{GlobalArgs, PlaceArgs};
use crate::environment;

/// The manifest's file.
pub const MANIFEST: &str = "hakiri.toml";

/// A project as it lies on disk.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its folder.
    pub dir: PathBuf,
    /// The folder for state that is always local: `.hakiri` in it, unless it cannot be written to.
    pub state_dir: PathBuf,
    /// Its manifest.
    pub project: Arc<Project>,
}

impl Loaded {
    /// With catalog and store where a deployment has them.
    pub fn placed(&mut self, place: &PlaceArgs) {
        let project = Arc::make_mut(&mut self.project);
        if let Some(url) = &place.catalog {
            (project.catalog.url, project.catalog.path) = (Some(url.clone()), None);
        }
        if let Some(store) = &place.store {
            let context = &mut project.context;
            (context.path, context.endpoint, context.region) = (Some(store.clone()), None, None);
        }
    }
}

/// Why a project could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// There is none, or it cannot be read.
    Error(Error),
    /// The manifest has errors: all of them.
    Invalid(Vec<Diagnostic>),
}

impl From<Error> for LoadError {
    fn from(e: Error) -> Self {
        Self::Error(e)
    }
}

/// The project's folder: the one given, or the nearest with a manifest.
///
/// # Errors
/// `HK0004`.
pub fn find(args: &GlobalArgs) -> Result<PathBuf> {
    if let Some(dir) = &args.project {
        return if dir.join(MANIFEST).is_file() {
            std::fs::canonicalize(dir).map_err(|e| Error::new(Code::Io, format!("{}: {e}", dir.display())))
        } else {
            Err(Error::new(Code::NoProject, format!("{} has no {MANIFEST}", dir.display())))
        };
    }
    let here = environment::current_dir()?;
    here.ancestors().find(|dir| dir.join(MANIFEST).is_file()).map(Path::to_owned).ok_or_else(|| {
        Error::new(Code::NoProject, format!("neither {} nor a folder above it has a {MANIFEST}", here.display()))
    })
}

/// Reads and checks the manifest: `hakiri.toml`, then `pipelines/*.toml` and `*.json` by name.
///
/// # Errors
/// See [`LoadError`].
pub fn load(args: &GlobalArgs, connectors: &dyn Connectors) -> Result<Loaded, LoadError> {
    let dir = find(args)?;
    let project = parse(&texts(&dir)?, args.env.as_deref(), &connectors.list()).map_err(LoadError::Invalid)?;
    Ok(Loaded { state_dir: dir.join(".hakiri"), dir, project: Arc::new(project) })
}

/// The manifest's files as they are, in the order they are read in.
///
/// # Errors
/// `HK0005`, `HK0101` for one that is not text.
pub fn texts(dir: &Path) -> Result<Vec<ManifestText>> {
    std::iter::once(MANIFEST.to_owned()).chain(further(dir)).map(|name| read(dir, name)).collect()
}

/// The files of `pipelines/`, by name.
fn further(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("pipelines")) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml") || name.ends_with(".json"))
        .map(|name| format!("pipelines/{name}"))
        .collect();
    names.sort_unstable();
    names
}

/// Which manifest a deployment was generated from, and for which environment: the same in the Worker that was generated and
/// in the binary beside it, so that each can tell whether the other one is newer.
pub fn build(env: Option<&str>, manifest: &[ManifestText]) -> String {
    let mut parts: Vec<&[u8]> = vec![env.unwrap_or_default().as_bytes()];
    parts.extend(manifest.iter().flat_map(|f| [f.name.as_bytes(), f.text.as_bytes()]));
    Hash::of_parts(&parts).short().to_owned()
}

/// What changes whenever one of the manifest's files does, whether or not it can be read as one.
pub fn fingerprint(dir: &Path) -> Hash {
    let files = std::iter::once(MANIFEST.to_owned()).chain(further(dir));
    let parts: Vec<Vec<u8>> = files
        .flat_map(|name| {
            let bytes = std::fs::read(dir.join(&name)).unwrap_or_default();
            [name.into_bytes(), bytes]
        })
        .collect();
    Hash::of_parts(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn read(dir: &Path, name: String) -> Result<ManifestText> {
    let bytes = std::fs::read(dir.join(&name)).map_err(|e| Error::new(Code::Io, format!("{name}: {e}")))?;
    let text =
        String::from_utf8(bytes).map_err(|_| Error::new(Code::ManifestSyntax, format!("{name} is not valid UTF-8")))?;
    Ok(ManifestText { name, text })
}
