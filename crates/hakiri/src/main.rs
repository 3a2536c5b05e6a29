//! The `hakiri` command: one file per command in `commands/`, one [`Printer`](printer::Printer) that owns both output
//! streams, one [`World`](world::World) that owns everything outside of the process.

#![cfg_attr(test, allow(clippy::disallowed_methods))] // tests may touch files and the clock

mod aws;
mod cli;
mod commands;
mod demo;
mod deploy;
mod dev;
mod environment;
mod exit;
mod lambda;
mod lock;
mod logging;
mod notify;
mod printer;
mod progress;
mod project;
mod serve;
mod signals;
mod status;
mod worker;
mod world;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if lambda::is_called() {
        return lambda::main();
    }
    let args = match cli::parse() {
        Ok(args) => args,
        Err(code) => return code.into(),
    };
    let printer = printer::Printer::new(&args.global);
    let serving = matches!(args.command, cli::Command::Serve(_) | cli::Command::Worker(_));
    let logged = logging::init(logging::Settings { format: args.global.log_format, serving, colour: printer.colour });
    if let Err(e) = logged {
        printer.error(&e);
        return exit::Exit::of(&e).into();
    }
    match run_on(args.global.threads, commands::dispatch(args, &printer)) {
        Ok(exit::Exit::Done) if printer.has_lost() => exit::Exit::Failed.into(),
        Ok(exit) => exit.into(),
        Err(e) => {
            printer.error(&e);
            exit::Exit::of(&e).into()
        }
    }
}

/// Runs what the process is for, on its threads.
fn run_on<T>(threads: Option<usize>, work: impl Future<Output = hakiri_core::Result<T>>) -> hakiri_core::Result<T> {
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads.max(1)).enable_all().build();
    let runtime = runtime
        .map_err(|e| hakiri_core::Error::new(hakiri_core::codes::Code::Io, format!("cannot start threads: {e}")))?;
    let result = runtime.block_on(work);
    // A blocking read of a source that was given up must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    result
}
