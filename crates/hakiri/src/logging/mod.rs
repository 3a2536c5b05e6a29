//! Structured logs: what happened, line by line, for people on stderr and for `hakiri logs` in the project's folder.
//!
//! A line is one flat JSON object: when, how bad, what, and the pipeline, run and step it belongs to, which it inherits from
//! the spans that the engine opens. Flat, because `hakiri logs`, `grep` and a log collector all filter by those fields.
//!
//! Logs are not what anyone should have to read to know what a command did: the [`Printer`](crate::printer::Printer) says
//! that. So a one-shot command logs nothing to stderr that the printer says already; `serve`, and anyone who asks with
//! `--log-format` or `HAKIRI_LOG`, gets the lines there as well.
//!
//! Lines name files, tables and counts, never values of records (P8). The values of secrets that this process has read are
//! looked for in every line, as the last line of defence ([`keep_secret`]).
//!
//! Why not the formats that `tracing-subscriber` brings: they nest the spans, stamp the time from their own clock, and have
//! no place to redact or to cut a line.

pub mod events;
pub mod files;
mod line;

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

use hakiri_core::codes::Code;
use hakiri_core::secret::Secrets;
use hakiri_core::spec::Project;
use hakiri_core::{Error, Result};
use hakiri_engine::engine::SecretSource;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use self::files::Writer;
pub use self::line::text;
use self::line::{Lines, Sink};
use crate::cli::LogFormat;
use crate::environment;

/// What goes into the file, and to the stderr of a server: ours, and what others warn of.
const USUAL: &str = "warn,hakiri=info";
/// What goes to the stderr of a one-shot command: what others warn of. Ours is printed, and not twice.
const ONE_SHOT: &str = "warn,hakiri=off";

/// Secrets that must not be in any line.
static SECRETS: RwLock<Vec<Secrets>> = RwLock::new(Vec::new());
/// The project's log, once it is known which project.
static FILES: OnceLock<Mutex<Writer>> = OnceLock::new();

/// Libraries whose finer messages hold values, and the level they are kept at whatever is asked for.
const QUOTING: [&str; 2] = ["tokio_postgres=info", "postgres_protocol=info"];

/// How a process logs.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// As `--log-format` says.
    pub format: Option<LogFormat>,
    /// Whether the process serves, so that stderr is its log.
    pub serving: bool,
    /// Whether stderr may be coloured.
    pub colour: bool,
}

/// Starts logging; once in a process.
///
/// # Errors
/// `HK0002` for a `HAKIRI_LOG` that is no filter.
pub fn init(settings: Settings) -> Result<()> {
    let asked = environment::variable("HAKIRI_LOG");
    let to_stderr = match (&asked, settings.serving || settings.format.is_some()) {
        (Some(asked), _) => asked,
        (None, true) => USUAL,
        (None, false) => ONE_SHOT,
    };
    let filter = |text: &str| {
        let filter = EnvFilter::try_new(text).map_err(|e| {
            Error::new(Code::Arguments, format!("HAKIRI_LOG: {e}"))
                .with_hint("write for example HAKIRI_LOG=warn,hakiri=debug")
        })?;
        // Below this level these quote what they send, values of records included (P8).
        Ok::<_, Error>(QUOTING.iter().filter_map(|d| d.parse().ok()).fold(filter, EnvFilter::add_directive))
    };
    let stderr = match settings.format {
        Some(LogFormat::Json) => Sink::Json,
        _ => Sink::Text { colour: settings.colour },
    };
    let subscriber = tracing_subscriber::registry()
        .with(Lines::new(stderr).with_filter(filter(to_stderr)?))
        .with(Lines::new(Sink::File).with_filter(filter(asked.as_deref().unwrap_or(USUAL))?));
    // Only a second call can fail, and then the first one's subscriber is in place.
    let _ = subscriber.try_init();
    Ok(())
}

/// Also writes to the project's log from now on, and keeps its secrets out of every line. A log that cannot be written is
/// no reason not to work.
pub async fn to_files(state_dir: &Path, project: &Project, secrets: &dyn SecretSource) {
    keep_secrets(project, secrets).await;
    let _ = FILES.set(Mutex::new(Writer::new(&state_dir.join(files::FOLDER))));
}

/// Keeps the values of a project's secrets, as they are now, out of every line from now on.
pub async fn keep_secrets(project: &Project, secrets: &dyn SecretSource) {
    let of_project = [project.catalog_secrets(), project.notify_secrets()];
    for names in project.pipelines.iter().map(|p| &p.secrets).chain(&of_project) {
        if let Ok(secrets) = secrets.secrets(names).await {
            keep_secret(secrets);
        }
    }
}

/// Keeps these values out of every line from now on.
pub fn keep_secret(secrets: Secrets) {
    SECRETS.write().unwrap_or_else(PoisonError::into_inner).push(secrets);
}

/// A text without the values of known secrets.
fn redact(text: &str) -> String {
    let known = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    known.iter().fold(text.to_owned(), |text, secrets| secrets.redact(&text))
}

fn write_to_file(line: &str) {
    if let Some(files) = FILES.get() {
        files.lock().unwrap_or_else(PoisonError::into_inner).write(line);
    }
}
