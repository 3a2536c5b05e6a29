//! What the function is told by its environment.

use std::path::PathBuf;
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

use crate::cli::{GlobalArgs, LogFormat, PlaceArgs, parse_size, parse_span};

/// The variable with the address of the Runtime API.
pub const API: &str = "AWS_LAMBDA_RUNTIME_API";
/// The variable with the folder that the function's code lies in.
const TASK_ROOT: &str = "LAMBDA_TASK_ROOT";
/// The folder of the manifest, beside the program.
const PROJECT: &str = "project";

/// See the module.
#[derive(Debug)]
pub struct Settings {
    /// As they would be on a command line.
    pub global: GlobalArgs,
    /// Where catalog and store are.
    pub place: PlaceArgs,
    /// How long a run whose process died waits for another one.
    pub lease: Option<Duration>,
}

impl Settings {
    /// From variables.
    ///
    /// # Errors
    /// `HK0002` for one that is missing or cannot be read.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let root = variable(TASK_ROOT).ok_or_else(|| Error::new(Code::Arguments, format!("{TASK_ROOT} is not set")))?;
        let parsed = |name: &str, e: String| Error::new(Code::Arguments, format!("{name}: {e}"));
        let memory = variable("HAKIRI_MEMORY").as_deref().map_or(Ok(512 << 20), parse_size);
        let lease = variable("HAKIRI_LEASE").as_deref().map(parse_span).transpose();
        Ok(Self {
            global: GlobalArgs {
                project: Some(PathBuf::from(root).join(PROJECT)),
                env: variable("HAKIRI_ENV"),
                json: false,
                quiet: true,
                memory: memory.map_err(|e| parsed("HAKIRI_MEMORY", e))?,
                threads: None,
                log_format: Some(LogFormat::Json),
            },
            place: PlaceArgs { catalog: variable("HAKIRI_CATALOG"), store: variable("HAKIRI_STORE") },
            lease: lease.map_err(|e| parsed("HAKIRI_LEASE", e))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn the_project_is_beside_the_program_and_the_rest_is_as_the_template_says() {
        let root = ("LAMBDA_TASK_ROOT", "/var/task");
        let settings = read(&[root, ("HAKIRI_CATALOG", "dynamodb://t"), ("HAKIRI_MEMORY", "1GiB")]).unwrap();
        assert_eq!(settings.global.project, Some(PathBuf::from("/var/task/project")));
        assert_eq!(settings.place.catalog.as_deref(), Some("dynamodb://t"));
        assert_eq!(settings.global.memory, 1 << 30);
        assert_eq!(read(&[root]).unwrap().global.memory, 512 << 20);
        assert_eq!(read(&[]).unwrap_err().code(), Code::Arguments);
        let wrong = read(&[root, ("HAKIRI_MEMORY", "12")]).unwrap_err();
        assert!(wrong.to_string().contains("HAKIRI_MEMORY"), "{wrong}");
    }
}
