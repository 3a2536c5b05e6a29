//! `.hakiri-deploy.lock`: what was generated last, by hash, so that an edit by hand is noticed (G1).
//!
//! It is a file beside the others and not a header in each: a copied manifest has no room for one, and a hash within
//! what it hashes is a riddle. It belongs under version control with the files.

use std::collections::BTreeMap;

use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::FORMAT;
use super::files::Files;

/// The name of the lock file.
pub const LOCK: &str = ".hakiri-deploy.lock";

/// What was generated, for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The version of the generated files and of this file.
    pub format: u32,
    /// The target.
    pub target: String,
    /// The project.
    pub project: String,
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// SHA-256 of each file, by path.
    pub files: BTreeMap<String, Hash>,
}

/// Only the version, which every format has in the same place.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Lock {
    /// For files about to be written.
    pub fn of(target: &str, project: &str, env: Option<&str>, files: &Files) -> Self {
        Self {
            format: FORMAT,
            target: target.to_owned(),
            project: project.to_owned(),
            env: env.map(str::to_owned),
            files: files.iter().map(|(path, file)| (path.to_owned(), Hash::of(&file.bytes))).collect(),
        }
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// `HK0001`.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::new(Code::Internal, format!("the lock file cannot be written: {e}")))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the file of a folder, which must be this deployment's.
    ///
    /// # Errors
    /// `HK1204` for a file that is damaged, newer, or of another target, project or environment.
    pub fn read(bytes: &[u8], target: &str, project: &str, env: Option<&str>) -> Result<Self> {
        let damaged = |e: serde_json::Error| {
            Error::new(Code::DeployLock, format!("{LOCK} cannot be read: {e}"))
                .with_hint("restore it, or delete it and start again with --force")
        };
        let Version { format } = serde_json::from_slice(bytes).map_err(damaged)?;
        if format > FORMAT {
            return Err(Error::new(
                Code::DeployLock,
                format!("{LOCK} has format {format}, this binary knows {FORMAT}"),
            )
            .with_hint("use the newer binary"));
        }
        let lock: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        let of = |target: &str, project: &str, env: Option<&str>| match env {
            Some(env) => format!("{target} for {project} in {env}"),
            None => format!("{target} for {project}"),
        };
        let (there, here) = (of(&lock.target, &lock.project, lock.env.as_deref()), of(target, project, env));
        if there != here {
            return Err(Error::new(Code::DeployLock, format!("the folder holds the files of {there}, not of {here}"))
                .with_hint("choose another folder with --dir, or empty this one"));
        }
        Ok(lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frozen: a later version must read what this one wrote.
    const FROZEN: &str = "{\n  \"format\": 1,\n  \"target\": \"systemd\",\n  \"project\": \"shop\",\n  \"env\": \"staging\",\n  \"files\": {\n    \"a\": \"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\"\n  }\n}\n";

    #[test]
    fn the_frozen_lock_file_is_read_and_written_the_same() {
        let mut files = Files::default();
        files.add("a", "a").unwrap();
        let lock = Lock::of("systemd", "shop", Some("staging"), &files);
        assert_eq!(String::from_utf8(lock.to_bytes().unwrap()).unwrap(), FROZEN);
        assert_eq!(Lock::read(FROZEN.as_bytes(), "systemd", "shop", Some("staging")).unwrap(), lock);
    }

    #[test]
    fn a_lock_of_something_else_is_refused() {
        for (target, project, env) in
            [("compose", "shop", Some("staging")), ("systemd", "x", Some("staging")), ("systemd", "shop", None)]
        {
            let error = Lock::read(FROZEN.as_bytes(), target, project, env).unwrap_err();
            assert_eq!(error.code(), Code::DeployLock, "{error}");
        }
        let newer = FROZEN.replace("\"format\": 1", "\"format\": 2, \"unknown\": []");
        let error = Lock::read(newer.as_bytes(), "systemd", "shop", Some("staging")).unwrap_err();
        assert!(error.message().contains("format 2"), "{error}");
        assert!(Lock::read(b"{", "systemd", "shop", None).is_err());
    }
}
