//! `.hakiri-deploy.progress`: how far putting the files into effect has come, beside their lock (G6).
//!
//! It is about this machine's attempts and not under version control. Without it everything is done again, which is
//! slower and not wrong.

use std::path::Path;

use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::folder;
use super::resources::Resource;
use super::steps::Step;

/// The name of the file.
pub const PROGRESS: &str = ".hakiri-deploy.progress";

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What the steps were done for; those of something else are not done.
    #[serde(default)]
    key: Option<Hash>,
    /// The steps of an attempt that has not come to its end.
    #[serde(default)]
    done: Vec<Hash>,
    /// What the last attempt that came to its end created.
    #[serde(default)]
    pub created: Vec<Resource>,
    /// What an attempt that did not come to its end may have created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    begun: Vec<Resource>,
}

impl Progress {
    /// What a folder's file says; nothing where there is none, or none that can be read.
    ///
    /// # Errors
    /// `HK0005`.
    pub fn read(dir: &Path) -> Result<Self> {
        let bytes = folder::read(dir, PROGRESS)?;
        Ok(bytes.and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default())
    }

    /// Forgets the steps that were done for something else.
    pub fn begin(&mut self, key: &Hash) {
        if self.key.as_ref() != Some(key) {
            self.key = Some(key.clone());
            self.done.clear();
        }
    }

    /// Whether a step was done.
    pub fn is_done(&self, step: &Step) -> bool {
        step.is_remembered() && self.done.contains(&name(step))
    }

    /// Remembers a step.
    ///
    /// # Errors
    /// `HK0005`.
    pub fn did(&mut self, dir: &Path, step: &Step) -> Result<()> {
        if !step.is_remembered() {
            return Ok(());
        }
        self.done.push(name(step));
        self.write(dir)
    }

    /// Forgets all steps of this attempt: the next one starts anew.
    ///
    /// # Errors
    /// `HK0005`.
    pub fn forget(&mut self, dir: &Path) -> Result<()> {
        self.done.clear();
        self.write(dir)
    }

    /// Remembers what the next steps create, before the first of them.
    ///
    /// # Errors
    /// `HK0005`.
    pub fn creates(&mut self, dir: &Path, resources: Vec<Resource>) -> Result<()> {
        self.begun = resources;
        self.write(dir)
    }

    /// What there is or may be by what was done from here: none where nothing was.
    pub fn deployed(&self) -> Vec<&Resource> {
        let mut out: Vec<&Resource> = self.created.iter().collect();
        out.extend(self.begun.iter().filter(|new| !self.created.iter().any(|old| old.is(new))));
        out
    }

    /// All steps are done: the next attempt starts anew.
    ///
    /// # Errors
    /// `HK0005`.
    pub fn end(&mut self, dir: &Path, created: Vec<Resource>) -> Result<()> {
        *self = Self { key: None, done: Vec::new(), created, begun: Vec::new() };
        self.write(dir)
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::new(Code::Internal, format!("{PROGRESS} cannot be written: {e}")))?;
        folder::put(dir, PROGRESS, &bytes)
    }
}

fn name(step: &Step) -> Hash {
    Hash::of_parts(&[step.title.as_bytes(), step.shown().as_bytes()])
}
