//! The command line: every flag is defined here once; help and completions come from it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::exit::Exit;

/// Pull records from APIs, databases and files into a plain Parquet store.
#[derive(Debug, Parser)]
#[command(name = "hakiri", version, propagate_version = true, max_term_width = 100, disable_help_subcommand = true)]
#[command(
    after_help = "Examples:\n  hakiri demo                      see it work, offline\n  hakiri init shop && cd shop      start a project\n  hakiri run                       run all its pipelines\n  hakiri query \"select 1\"          SQL over what was stored"
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// The project's folder [default: this folder or the nearest one above it with a hakiri.toml]
    #[arg(long, short = 'C', global = true, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// The environment: `[env.NAME]` of the manifest
    #[arg(long, global = true, value_name = "NAME")]
    pub env: Option<String>,
    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Print errors and data only
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Memory for rows on their way, such as 512MiB (at least 64MiB); beyond it they go to temporary files
    #[arg(long, global = true, value_name = "SIZE", default_value = "512MiB", value_parser = parse_size)]
    pub memory: usize,
    /// Worker threads, 1 to 256 [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub threads: Option<usize>,
    /// Also log to stderr, in this format [default: text for `serve`, no log for the others; HAKIRI_LOG filters]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Formats of the log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One object a line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new project
    #[command(after_help = "Example:\n  hakiri init shop && cd shop && hakiri run")]
    Init(InitArgs),
    /// Show what Hakiri does, on real data, offline
    #[command(after_help = "Example:\n  hakiri demo")]
    Demo(DemoArgs),
    /// Check the manifest, and with --connect the sources
    #[command(after_help = "Examples:\n  hakiri check\n  hakiri check --connect")]
    Check(CheckArgs),
    /// Show what a run would read and write, without any side effect
    #[command(after_help = "Examples:\n  hakiri plan\n  hakiri plan shop --exit-code")]
    Plan(PlanArgs),
    /// Run pipelines now
    #[command(
        after_help = "Examples:\n  hakiri run\n  hakiri run shop --full\n  hakiri run shop --tick 2026-01-31T12:00:00Z"
    )]
    Run(RunArgs),
    /// Run pipelines by their schedules until the process is asked to end
    #[command(
        after_help = "Examples:\n  hakiri serve\n  HAKIRI_TOKEN=… hakiri serve --listen 0.0.0.0:8320\n\nSeveral servers share the work when [catalog] url names a PostgreSQL database and [context] path a bucket."
    )]
    Serve(ServeArgs),
    /// Carry out operations that are asked for over HTTP
    #[command(
        after_help = "Example:\n  HAKIRI_TOKEN=… hakiri worker --listen 0.0.0.0:8080 --catalog http://catalog.hakiri --store s3://bucket\n\nIt is what the containers of `hakiri deploy` run: POST /v1/begin, /v1/step and /v1/commit, each repeatable."
    )]
    Worker(WorkerArgs),
    /// Start no new runs of pipelines by schedule; a run under way goes on
    #[command(after_help = "Example:\n  hakiri pause shop")]
    Pause(PipelinesArgs),
    /// Let paused pipelines run again; `catch_up` says what becomes of missed ticks
    #[command(after_help = "Example:\n  hakiri resume shop")]
    Resume(PipelinesArgs),
    /// End a pipeline's unfinished run without committing anything of it
    #[command(after_help = "Example:\n  hakiri cancel shop")]
    Cancel(CancelArgs),
    /// Query the store with SQL
    #[command(
        after_help = "Examples:\n  hakiri query \"select count(*) from shop_orders\"\n  hakiri query --format csv \"select * from shop_orders\" > orders.csv\n  hakiri query --store s3://bucket/prefix/shop \"select 1\""
    )]
    Query(QueryArgs),
    /// List the tables of the store
    #[command(after_help = "Example:\n  hakiri tables --json")]
    Tables,
    /// Show a table's columns, or the JSON Schema of the manifest
    #[command(after_help = "Examples:\n  hakiri schema shop_orders\n  hakiri schema --manifest > hakiri.schema.json")]
    Schema(SchemaArgs),
    /// Show what each pipeline is doing and what is wrong
    #[command(
        after_help = "Examples:\n  hakiri status\n  hakiri status shop --json\n  hakiri status --exit-code || notify-someone\n  hakiri status --probe 127.0.0.1:8320"
    )]
    Status(StatusArgs),
    /// List past and unfinished runs
    #[command(after_help = "Examples:\n  hakiri runs shop --limit 5\n  hakiri runs --follow")]
    Runs(RunsArgs),
    /// Show what was logged
    #[command(
        after_help = "Examples:\n  hakiri logs --level warn\n  hakiri logs shop --follow\n  hakiri logs --run run-01HF7YAT000EHSQYTMAS6Z17BF --json\n\nWith --json one object a line. The log is .hakiri/log/: at most 8 files of 4 MiB."
    )]
    Logs(LogsArgs),
    /// Show or set how far tables have been read
    #[command(
        subcommand,
        after_help = "Examples:\n  hakiri state show\n  hakiri state rewind shop.orders 2026-01-31T00:00:00Z\n  hakiri state reset shop.orders"
    )]
    State(StateCommand),
    /// Drop a pipeline's tables, or one table
    #[command(after_help = "Examples:\n  hakiri drop shop.orders\n  hakiri drop shop --yes")]
    Drop(DropArgs),
    /// Put snapshots of current rows in the place of the runs of keyed tables
    #[command(
        after_help = "Examples:\n  hakiri compact\n  hakiri compact shop.orders --json\n\nThe files of the runs stay until `hakiri gc`."
    )]
    Compact(CompactArgs),
    /// Delete files that no commit names
    #[command(after_help = "Example:\n  hakiri gc --grace 7d --dry-run")]
    Gc(GcArgs),
    /// Generate what runs this project on a server or in a cloud, and apply it
    #[command(
        after_help = "Examples:\n  hakiri deploy systemd            a hardened unit, for one server or several\n  hakiri deploy compose --plan     what would be written, as a diff\n  hakiri deploy systemd --env staging\n  hakiri deploy cloudflare --apply  Worker, Workflow, containers and bucket, by wrangler\n\nTargets: systemd, compose, cloudflare. Any other cloud runs the first two on its machines; `hakiri deploy gcp` says how."
    )]
    Deploy(DeployArgs),
    /// Run a deployment's generated project on this machine, without an account
    #[command(
        after_help = "Examples:\n  hakiri dev cloudflare\n  hakiri dev cloudflare --ticks 5\n\nReal workerd runs the generated Worker, Workflow and Durable Object; each container is a process of this binary. State is kept in .hakiri/dev. Needs node 20 or newer; the packages are installed once, into the cache."
    )]
    Dev(DevArgs),
    /// Take a deployment away; what holds data stays unless it is named
    #[command(
        after_help = "Examples:\n  hakiri destroy cloudflare               what would be lost, and nothing else\n  hakiri destroy cloudflare --yes         nothing runs any more; catalog and bucket stay\n  hakiri destroy cloudflare --yes --with-data"
    )]
    Destroy(DestroyArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  hakiri completions bash > ~/.local/share/bash-completion/completions/hakiri")]
    Completions(CompletionsArgs),
}

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

/// `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Where it listens; beyond this machine only with a token in HAKIRI_TOKEN
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8321")]
    pub listen: SocketAddr,
    /// The catalog, instead of the manifest's
    #[arg(long, value_name = "URL")]
    pub catalog: Option<String>,
    /// The store, s3://bucket/prefix, instead of the manifest's; its endpoint is AWS_ENDPOINT_URL
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
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
    /// Where to: systemd, compose or cloudflare
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
    /// What to run: cloudflare
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
    /// What was deployed to: systemd, compose or cloudflare
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

/// Parses the command line. Help and version are a success, anything wrong is usage.
///
/// # Errors
/// The exit code; the message is printed already.
pub fn parse() -> Result<Cli, Exit> {
    Cli::try_parse().map_err(|e| {
        let _ = e.print();
        if e.use_stderr() { Exit::Usage } else { Exit::Done }
    })
}

/// The command for completions and reference.
pub fn command() -> clap::Command {
    Cli::command()
}

/// `20s`, `5m`: at least a second, at most a day.
fn parse_span(text: &str) -> Result<Duration, String> {
    let millis = hakiri_core::schedule::parse_duration(text).map_err(|e| format!("{e}; {}", e.hint()))?;
    match u64::try_from(millis) {
        Ok(millis @ 1_000..=86_400_000) => Ok(Duration::from_millis(millis)),
        _ => Err("write from 1s to 1d".to_owned()),
    }
}

/// `512MiB`, `1GiB`, `64MB` or a number of bytes; at least 64 MiB.
fn parse_size(text: &str) -> Result<usize, String> {
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
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn sizes_have_units_and_a_floor() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert!(parse_size("63MiB").is_err() && parse_size("1X").is_err() && parse_size("").is_err());
    }
}
