//! A set of generated files.

use std::collections::BTreeMap;

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

/// Files by their path relative to the folder they are written to, with `/`. Sorted, so that every list of them is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, File>);

impl Files {
    /// Adds a file that everybody may read.
    ///
    /// # Errors
    /// `HK0001` for a path that leads out of the folder, is the lock file's, or is there already.
    pub fn add(&mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Result<()> {
        let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let file = File { bytes: bytes.into(), mode: 0o644 };
        if !inside || path == super::lock::LOCK || self.0.insert(path.to_owned(), file).is_some() {
            return Err(Error::new(Code::Internal, format!("a generator gave the file `{path}`")));
        }
        Ok(())
    }

    /// The files in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &File)> {
        self.0.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// One file.
    pub fn get(&self, path: &str) -> Option<&File> {
        self.0.get(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_lands_outside_of_the_folder_or_on_the_lock() {
        let mut files = Files::default();
        for wrong in ["/etc/passwd", "../x", "a/../x", "a//b", "", super::super::lock::LOCK] {
            assert!(files.add(wrong, "").is_err(), "{wrong}");
        }
        files.add("project/hakiri.toml", "").unwrap();
        assert!(files.add("project/hakiri.toml", "").is_err(), "one path, one file");
    }
}
