//! What each command takes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand, ValueEnum};

/// `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The project's name, and the folder to make [default: this folder and its name]
    pub name: Option<String>,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The folder to make the project in
    #[arg(default_value = "hakiri-demo")]
    pub dir: PathBuf,
    /// Keep serving the demo's API until Ctrl-C
    #[arg(long)]
    pub serve: bool,
}

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Also reach every source
    #[arg(long)]
    pub connect: bool,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Only these pipelines
    pub pipelines: Vec<String>,
    /// As `run --full`
    #[arg(long)]
    pub full: bool,
    /// Exit with 1 when a run would change a schema or something is left behind
    #[arg(long)]
    pub exit_code: bool,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Only these pipelines
    pub pipelines: Vec<String>,
    /// Read everything anew, in a new generation
    #[arg(long)]
    pub full: bool,
    /// The tick the run stands for [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub tick: Option<String>,
    /// Do what the schedules say is due, and wait for who is at it already, as a task of a cloud does
    #[arg(long, conflicts_with_all = ["full", "tick"])]
    pub due: bool,
    /// When it was woken [default: now]; what is due after it is left for the next
    #[arg(long, value_name = "INSTANT", requires = "due")]
    pub wake: Option<String>,
    /// Succeed once all that is due is committed and reported, also where tables failed: the catalog says which
    #[arg(long, requires = "due")]
    pub orchestrated: bool,
    /// Where catalog and store are.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Rows in a batch from a source; no effect on what is stored
    #[arg(long, value_name = "ROWS", default_value_t = 8192, hide = true)]
    pub batch_rows: usize,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where the status page listens; beyond this machine only with a token in HAKIRI_TOKEN
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8320")]
    pub listen: SocketAddr,
    /// How many pipelines to work on at once; they share --memory
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub workers: usize,
    /// How long what was started may go on after SIGTERM; then it is handed over
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = parse_span)]
    pub grace: Duration,
    /// How long a run whose server died waits for another one
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_span)]
    pub lease: Duration,
}

/// Where catalog and store of a deployment are, for its processes; the manifest says where they are on a laptop.
#[derive(Debug, Clone, Default, Args)]
pub struct PlaceArgs {
    /// The catalog, instead of the manifest's
    #[arg(long, value_name = "URL")]
    pub catalog: Option<String>,
    /// The store, s3://bucket/prefix, instead of the manifest's; its endpoint is AWS_ENDPOINT_URL
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Where it listens; beyond this machine only with a token in HAKIRI_TOKEN
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8321")]
    pub listen: SocketAddr,
    /// Where catalog and store are.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// How long what was started may go on after SIGTERM; then it is handed over
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = parse_span)]
    pub grace: Duration,
    /// How long a run whose worker died waits for another one
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_span)]
    pub lease: Duration,
}

/// `pause` and `resume`.
#[derive(Debug, Args)]
pub struct PipelinesArgs {
    /// The pipelines
    #[arg(required = true)]
    pub pipelines: Vec<String>,
}

/// `cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The pipeline
    pub pipeline: String,
    /// Only if this run is the one under way
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
}

/// `query`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// One SELECT; `-` reads it from stdin
    pub sql: String,
    /// How to print the result
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// A project's folder in a store (a path such as `.`, or s3://bucket/prefix/project), without its catalog
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// The S3 endpoint of --store, if it is not AWS
    #[arg(long, value_name = "URL", requires = "store")]
    pub endpoint: Option<String>,
    /// The region of --store
    #[arg(long, requires = "store")]
    pub region: Option<String>,
}

/// Formats of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// RFC 4180 with a header
    Csv,
    /// One array
    Json,
    /// One object a line
    Ndjson,
    /// One Parquet file
    Parquet,
}

/// `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// A stored table
    #[arg(required_unless_present = "manifest")]
    pub table: Option<String>,
    /// Print the JSON Schema of hakiri.toml
    #[arg(long, conflicts_with = "table")]
    pub manifest: bool,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only these pipelines
    pub pipelines: Vec<String>,
    /// Exit with 1 when a pipeline failed or is late
    #[arg(long)]
    pub exit_code: bool,
    /// Only ask whether a server on this address is alive (for the health checks of containers)
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["pipelines", "exit_code"])]
    pub probe: Option<std::net::SocketAddr>,
}

/// `runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Only these pipelines
    pub pipelines: Vec<String>,
    /// At most this many of each
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    /// Then print each run that is new or changed, until Ctrl-C; with --json one object a line
    #[arg(long, short)]
    pub follow: bool,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Only what concerns these pipelines
    pub pipelines: Vec<String>,
    /// Only what concerns this run
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// At most this many lines, the newest
    #[arg(long, default_value_t = 200)]
    pub limit: usize,
    /// Only what is at least this bad
    #[arg(long, value_enum, default_value_t = Level::Debug)]
    pub level: Level,
    /// Then print what is added, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
}

/// How bad a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    /// For finding a defect
    Debug,
    /// What happened
    Info,
    /// What may pass
    Warn,
    /// What failed
    Error,
}

/// `state`.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Show the cursor of every table
    #[command(after_help = "Example:\n  hakiri state show shop.orders")]
    Show {
        /// Only these: `pipeline` or `pipeline.table`
        what: Vec<String>,
    },
    /// Set a table's cursor back: the next run reads again from there
    #[command(after_help = "Example:\n  hakiri state rewind shop.orders 2026-01-31T00:00:00Z")]
    Rewind {
        /// `pipeline.table`
        table: String,
        /// The position, as `state show` prints it
        to: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Forget a table's cursor: the next run reads everything anew
    #[command(after_help = "Example:\n  hakiri state reset shop.orders")]
    Reset {
        /// `pipeline.table`
        table: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// `drop`.
#[derive(Debug, Args)]
pub struct DropArgs {
    /// `pipeline` or `pipeline.table`
    pub what: String,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// `compact`.
#[derive(Debug, Args)]
pub struct CompactArgs {
    /// Only these: `pipeline` or `pipeline.table`; a table is compacted with its children and parents
    pub what: Vec<String>,
}

/// `gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// How long files must have been unnamed
    #[arg(long, default_value = "7d")]
    pub grace: String,
    /// Only list them
    #[arg(long)]
    pub dry_run: bool,
}

/// `deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Where to: systemd, compose, cloudflare or aws
    pub target: String,
    /// Only show what would be written, created and paid for
    #[arg(long, conflicts_with = "apply")]
    pub plan: bool,
    /// Also put it into effect; systemd and compose refuse, since that happens on the server
    #[arg(long)]
    pub apply: bool,
    /// The folder to write to [default: deploy/TARGET in the project, deploy/TARGET-ENV with --env]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Overwrite files that were changed by hand
    #[arg(long)]
    pub force: bool,
    /// Exit with 1 when the files are not as they should be
    #[arg(long, requires = "plan")]
    pub exit_code: bool,
}

/// `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// What to run: cloudflare or aws
    pub target: String,
    /// So many ticks one after the other, without waiting for the clock, then end
    #[arg(long, value_name = "N")]
    pub ticks: Option<u32>,
    /// The time of the first of them [default: such that the last one is now]
    #[arg(long, value_name = "TIME", requires = "ticks")]
    pub from: Option<String>,
    /// How far apart they are
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_span)]
    pub every: Duration,
    /// Where the status page is [default: 127.0.0.1:8320, none with --ticks]
    #[arg(long, value_name = "ADDRESS")]
    pub page: Option<SocketAddr>,
    /// The folder of the generated files to run [default: as for `deploy`, if it is there]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Forget the catalog and the bucket of earlier local runs
    #[arg(long)]
    pub fresh: bool,
}

/// `destroy`.
#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// What was deployed to: systemd, compose, cloudflare or aws
    pub target: String,
    /// Do it
    #[arg(long)]
    pub yes: bool,
    /// Also destroy what holds data: the catalog and the store
    #[arg(long)]
    pub with_data: bool,
    /// The folder of the generated files [default: as for `deploy`]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Also where this folder does not know what was deployed, or knows something else: by the manifest as it is now
    #[arg(long)]
    pub force: bool,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `20s`, `5m`: at least a second, at most a day.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let millis = hakiri_core::schedule::parse_duration(text).map_err(|e| format!("{e}; {}", e.hint()))?;
    match u64::try_from(millis) {
        Ok(millis @ 1_000..=86_400_000) => Ok(Duration::from_millis(millis)),
        _ => Err("write from 1s to 1d".to_owned()),
    }
}

/// `512MiB`, `1GiB`, `64MB` or a number of bytes; at least 64 MiB.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..digits].parse().map_err(|_| "write for example 512MiB".to_owned())?;
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => return Err(format!("`{other}` is not a unit; write for example 512MiB")),
    };
    let bytes = number.saturating_mul(unit);
    if bytes < 64 << 20 { Err("at least 64MiB is needed".to_owned()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_a_floor() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert!(parse_size("63MiB").is_err() && parse_size("1X").is_err() && parse_size("").is_err());
    }
}
