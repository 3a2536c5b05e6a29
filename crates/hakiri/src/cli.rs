//! The command line: every flag is defined once, here and in [`args`]; help and completions come from it.

mod args;

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

pub use self::args::*;
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
    #[arg(long, global = true, value_name = "SIZE", default_value = "512MiB", value_parser = args::parse_size)]
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
        after_help = "Examples:\n  hakiri deploy systemd            a hardened unit, for one server or several\n  hakiri deploy compose --plan     what would be written, as a diff\n  hakiri deploy systemd --env staging\n  hakiri deploy cloudflare --apply  Worker, Workflow, containers and bucket, by wrangler\n  hakiri deploy aws --apply         functions or tasks, machine and bucket, by the aws program\n\nTargets: systemd, compose, cloudflare, aws. Any other cloud runs the first two on its machines;\n`hakiri deploy gcp` says how."
    )]
    Deploy(DeployArgs),
    /// Run a deployment's generated project on this machine, without an account
    #[command(
        after_help = "Examples:\n  hakiri dev cloudflare\n  hakiri dev aws --ticks 5\n\ncloudflare: real workerd runs the generated Worker, Workflow and Durable Object. Needs node 20 or newer.\naws: a stand-in for AWS takes the generated template and runs its machine, with permissions enforced. Needs Python 3.10 or newer, and PostgreSQL's programs where the catalog is one.\n\nContainers and functions are processes of this binary. State is kept in .hakiri/dev; packages are installed once, into the cache."
    )]
    Dev(DevArgs),
    /// Take a deployment away; what holds data stays unless it is named
    #[command(
        after_help = "Examples:\n  hakiri destroy cloudflare               what would be lost; nothing is done\n  hakiri destroy cloudflare --yes         nothing runs any more; catalog and bucket stay\n  hakiri destroy aws --yes --with-data    everything is gone"
    )]
    Destroy(DestroyArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  hakiri completions bash > ~/.local/share/bash-completion/completions/hakiri")]
    Completions(CompletionsArgs),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn help_names_every_target() {
        for name in ["deploy", "destroy"] {
            let help = command().find_subcommand_mut(name).unwrap().render_long_help().to_string();
            for target in crate::deploy::TARGETS {
                assert!(help.contains(target.name()), "{name} --help does not name {}", target.name());
            }
        }
    }
}
