//! The process environment, the wall clock and the few random bytes Hakiri needs: the only module that reads them.

#![allow(clippy::disallowed_methods)] // this is the module that owns them

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hakiri_core::codes::Code;
use hakiri_core::secret::{Secret, Secrets};
use hakiri_core::time::{Clock, Instant};
use hakiri_core::{Error, Result};
use hakiri_engine::engine::SecretSource;

/// The wall clock: for logs, which are about this machine. Everything else takes [`clock`].
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Instant::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that was at `origin` when the wall's was at `from`, and goes `speed` times as fast: days in minutes, for tests
/// of schedules through the real binary.
#[derive(Debug)]
struct FastClock {
    origin: i64,
    from: i64,
    speed: i64,
}

impl Clock for FastClock {
    fn now(&self) -> Instant {
        let real = SystemClock.now().millis() - self.from;
        Instant::from_millis(self.origin.saturating_add(real.saturating_mul(self.speed)))
    }

    fn sleep_for(&self, millis: u64) -> Duration {
        // Rounded up, so that nobody wakes before the time and goes round.
        Duration::from_millis(millis.div_ceil(self.speed.unsigned_abs()))
    }
}

/// The process's clock: the wall's, or with `HAKIRI_CLOCK=<origin ms>,<wall ms>,<speed>` a faster one.
pub fn clock() -> Arc<dyn Clock> {
    let fast = variable("HAKIRI_CLOCK").and_then(|text| {
        let mut numbers = text.split(',').map(|n| n.trim().parse::<i64>().ok());
        let (origin, from, speed) = (numbers.next()??, numbers.next()??, numbers.next()??);
        (speed > 0).then_some(FastClock { origin, from, speed })
    });
    match fast {
        Some(fast) => Arc::new(fast),
        None => Arc::new(SystemClock),
    }
}

/// A name for this process that no other has, on this machine or another: who holds a claim. Host and process say to a
/// person where to look.
///
/// # Errors
/// `HK0005` when the system has no randomness.
pub fn worker_name() -> Result<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|h| !h.is_empty()).unwrap_or("host");
    let id = new_id()?;
    Ok(format!("{host}.{}.{}", std::process::id(), id.get(..8).unwrap_or(&id)))
}

/// An environment variable, if set and not empty.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// The variable with the token that the public door of a deployed catalog asks for, and that opens it there.
pub const CATALOG_TOKEN: &str = "HAKIRI_CATALOG_TOKEN";

/// The folder the command was started in.
///
/// # Errors
/// `HK0005` when it is gone.
pub fn current_dir() -> Result<PathBuf> {
    std::env::current_dir().map_err(|e| Error::new(Code::Io, format!("the current folder cannot be read: {e}")))
}

/// How this program was started: it need not be on the search path.
pub fn program() -> String {
    std::env::args_os().next().map_or_else(|| "hakiri".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The file that this program is.
///
/// # Errors
/// `HK0005` when the system does not say.
pub fn executable() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Error::new(Code::Io, format!("this program's own file is not known: {e}")))
}

/// The folder for temporary files.
pub fn temp_dir() -> PathBuf {
    std::env::temp_dir()
}

/// The folder for what can be had again: downloads. As the tests' own set-up has it.
///
/// # Errors
/// `HK0005` when no variable says where it is.
pub fn cache_dir() -> Result<PathBuf> {
    let own = variable("HAKIRI_CACHE").map(PathBuf::from);
    let found = own
        .or_else(|| Some(PathBuf::from(variable("XDG_CACHE_HOME")?).join("hakiri")))
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache/hakiri")));
    found.ok_or_else(|| {
        Error::new(Code::Io, "there is no folder for the cache").with_hint("set HOME, or name one in HAKIRI_CACHE")
    })
}

/// Whether a stream is a terminal and may be coloured.
pub fn colours(terminal: bool) -> bool {
    terminal && variable("NO_COLOR").is_none() && variable("TERM").is_none_or(|t| t != "dumb")
}

/// Sixteen random bytes as hex: the identity of a new catalog.
///
/// # Errors
/// `HK0005` when the system has no randomness.
pub fn new_id() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::new(Code::Io, format!("no randomness: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Secrets from the environment, and from `.env` in the project's folder.
#[derive(Debug)]
pub struct EnvironmentSecrets {
    project_dir: PathBuf,
}

impl EnvironmentSecrets {
    /// For a project.
    pub fn new(project_dir: &Path) -> Self {
        Self { project_dir: project_dir.to_owned() }
    }
}

#[async_trait]
impl SecretSource for EnvironmentSecrets {
    async fn secrets(&self, names: &[String]) -> Result<Secrets> {
        let file = if names.is_empty() { BTreeMap::new() } else { dot_env(&self.project_dir.join(".env"))? };
        // Others' variables may hold any bytes; they are none of our business.
        let prefixed = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("HAKIRI_"))?;
            Some((name, Secret::new(value.into_string().ok()?)))
        });
        for name in names {
            if std::env::var_os(name).is_some_and(|value| value.into_string().is_err()) {
                return Err(Error::new(Code::SecretMissing, format!("the value of {name} is not valid UTF-8"))
                    .with_hint(format!("set {name} to text")));
            }
        }
        let declared = names.iter().filter_map(|name| {
            let value = variable(name).or_else(|| file.get(name).cloned())?;
            Some((name.clone(), Secret::new(value)))
        });
        Ok(Secrets::new(prefixed.chain(declared)))
    }
}

/// Reads `NAME=value` lines. Refused when others may read it.
fn dot_env(path: &Path) -> Result<BTreeMap<String, String>> {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(meta) = std::fs::metadata(path) else { return Ok(BTreeMap::new()) };
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(Error::new(Code::SecretFileOpen, format!("{} can be read by other users", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::new(Code::Io, format!("{}: {e}", path.display())))?;
    Ok(parse_dot_env(&text))
}

fn parse_dot_env(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(name, value)| {
            let value = value.trim();
            let quoted = |q: char| value.strip_prefix(q).and_then(|v| v.strip_suffix(q));
            (name.trim().to_owned(), quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_env_lines_are_names_and_values() {
        let map = parse_dot_env("# comment\nA=1\nexport B = \"two words\"\nC='x=y'\n\nnonsense\n");
        let expected = [("A", "1"), ("B", "two words"), ("C", "x=y")];
        assert_eq!(map, expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
    }
}
