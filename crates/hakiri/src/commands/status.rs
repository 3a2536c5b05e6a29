//! `hakiri status`: what each pipeline is doing, what is wrong, and what to do about it.

use std::net::SocketAddr;
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::id::PipelineId;
use hakiri_core::{Error, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::open_to_read;
use super::runs::known_pipelines;
use crate::cli::{GlobalArgs, StatusArgs};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::status::{PipelineStatus, Problem, State, Status, gather, text};

/// How long a probed server may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(4);

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &StatusArgs) -> Result<Exit> {
    if let Some(address) = args.probe {
        return probe(printer, address).await;
    }
    let world = match open_to_read(global, printer).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let only: Vec<PipelineId> =
        if args.pipelines.is_empty() { Vec::new() } else { known_pipelines(&world, &args.pipelines).await? };
    let status = gather::gather(&world.engine.project, &*world.engine.catalog, world.now(), &only).await;
    if printer.json {
        printer.document(&status);
    } else {
        print(printer, &status);
    }
    let bad = status.catalog.error.is_some() || status.needing_attention().next().is_some();
    Ok(if args.exit_code && bad { Exit::Failed } else { Exit::Done })
}

fn print(printer: &Printer, status: &Status) {
    if let Some(problem) = &status.catalog.error {
        print_problem(printer, problem, "");
    }
    if status.pipelines.is_empty() {
        printer.note("the manifest has no pipeline yet; add a [[pipeline]] to hakiri.toml");
    }
    let rows: Vec<[String; 6]> = status.pipelines.iter().map(|p| row(p, status)).collect();
    let head = ["PIPELINE", "STATE", "LAST RUN", "ROWS", "NEXT TICK", "SCHEDULE"].map(str::to_owned);
    let mut widths = [0; 6];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    if !rows.is_empty() {
        printer.data(&printer.paint_data(line(&head, &widths, |_, cell| cell).trim_end(), "2"));
    }
    for (pipeline, row) in status.pipelines.iter().zip(&rows) {
        let sgr = match pipeline.state {
            State::Idle => "32",
            State::Running => "34",
            State::Waiting | State::Late => "33",
            State::Failed | State::Partial | State::Unknown => "31",
            State::Paused | State::NeverRan => "2",
        };
        let painted = line(row, &widths, |i, cell| if i == 1 { printer.paint_data(&cell, sgr) } else { cell });
        printer.data(painted.trim_end());
        if let Some(why) = &pipeline.why {
            printer.data(&format!("    {why}"));
        }
        for problem in &pipeline.problems {
            print_problem(printer, problem, "    ");
        }
    }
}

fn line(row: &[String; 6], widths: &[usize; 6], paint: impl Fn(usize, String) -> String) -> String {
    let cells = row.iter().zip(widths).enumerate().map(|(i, (cell, width))| {
        // Numbers stand to the right; colour comes after the padding, which it would count into.
        let padded = if i == 3 { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
        paint(i, padded)
    });
    cells.collect::<Vec<_>>().join("  ")
}

fn row(pipeline: &PipelineStatus, status: &Status) -> [String; 6] {
    let last = pipeline.last_run.as_ref();
    let next = match pipeline.next_ticks.first() {
        Some(tick) => text::relative(*tick, status.at),
        None => "-".to_owned(),
    };
    [
        pipeline.id.to_string(),
        pipeline.state.text().to_owned(),
        last.map_or_else(|| "-".to_owned(), |r| text::relative(r.ended.unwrap_or(r.started), status.at)),
        last.map_or_else(|| "-".to_owned(), |r| text::number(r.rows)),
        next,
        pipeline.schedule.clone().unwrap_or_else(|| "by hand".to_owned()),
    ]
}

fn print_problem(printer: &Printer, problem: &Problem, indent: &str) {
    let subject = problem.subject.as_ref().map(|s| format!("{s}: ")).unwrap_or_default();
    let place = problem.place.as_ref().map(|p| format!("{p}: ")).unwrap_or_default();
    printer.data(&format!("{indent}{} {subject}{place}{}", printer.paint_data(&problem.code, "31"), problem.message));
    printer.data(&format!("{indent}  {} {}", printer.paint_data("help:", "36"), problem.hint));
}

/// Asks a server for its health, with nothing but a socket: a container's health check must not need the manifest, the
/// catalog or a token.
async fn probe(printer: &Printer, address: SocketAddr) -> Result<Exit> {
    match tokio::time::timeout(PROBE_PATIENCE, healthy(address)).await {
        Ok(Ok(())) => {
            printer.note(&format!("{address} is healthy"));
            Ok(Exit::Done)
        }
        Ok(Err(why)) => Err(Error::new(Code::ServeProbe, format!("{address}: {why}"))),
        Err(_) => Err(Error::new(Code::ServeProbe, format!("{address}: no answer in {} s", PROBE_PATIENCE.as_secs()))),
    }
}

async fn healthy(address: SocketAddr) -> std::result::Result<(), String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut start = Vec::new();
        stream.take(64).read_to_end(&mut start).await?;
        Ok::<_, std::io::Error>(start)
    };
    let start = asked.await.map_err(|e| e.kind().to_string())?;
    match start.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
        Some(b"200") => Ok(()),
        Some(status) => Err(format!("status {}", String::from_utf8_lossy(status))),
        None => Err("not an HTTP server".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn a_probe_tells_a_healthy_server_from_any_other() {
        assert_eq!(healthy(answering("HTTP/1.1 200 OK\r\n\r\nok").await).await, Ok(()));
        assert_eq!(healthy(answering("HTTP/1.1 503 x\r\n\r\n").await).await, Err("status 503".to_owned()));
        assert!(healthy(answering("hello").await).await.is_err());
        assert!(healthy(SocketAddr::from(([127, 0, 0, 1], 1))).await.is_err());
    }
}
