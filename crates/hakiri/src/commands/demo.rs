//! `hakiri demo`: the whole way from an API and a file to an answer, on real data, offline.
//!
//! It makes a project, runs it, lets some records change, runs it again and asks a question, and says each step before it
//! happens. Runs and queries are those of the real commands; only the API is the demo's own ([`crate::demo`]). All
//! numbers that it prints were counted, by the API or by the runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hakiri_core::catalog::RunReport;
use hakiri_core::codes::Code;
use hakiri_core::ops::Manual;
use hakiri_core::source::Cancel;
use hakiri_core::{Error, Result};
use hakiri_engine::engine::Events;
use hakiri_query::{Database, OutputFormat, write_results};
use indicatif::HumanCount;
use serde::Serialize;
use serde_json::{Value, json};

use super::run::{run_one, summarise};
use super::{count, open_to_read, open_to_write, query};
use crate::cli::{DemoArgs, Format, GlobalArgs};
use crate::demo::NEAR;
use crate::demo::feed::{Feed, Revision};
use crate::demo::files;
use crate::demo::server::{Served, Server};
use crate::environment;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::progress::Bars;
use crate::project::MANIFEST;

/// What `demo --json` prints.
#[derive(Debug, Serialize)]
struct Output {
    /// The project's folder.
    project: PathBuf,
    /// Records that the API has.
    api_records: usize,
    first: Pass,
    changed: Vec<Revision>,
    second: Pass,
    query: Answer,
    /// The commands to try next.
    next: Vec<String>,
}

/// A run of all pipelines, as the API and as the runs themselves saw it.
#[derive(Debug, Serialize)]
struct Pass {
    api: Served,
    runs: Vec<RunReport>,
}

/// The final query's rows.
#[derive(Debug, Serialize)]
struct Answer {
    before_the_changes: Vec<Value>,
    rows: Vec<Value>,
}

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &DemoArgs) -> Result<Exit> {
    let shown = global.project.as_ref().map_or_else(|| args.dir.clone(), |base| base.join(&args.dir));
    let dir = environment::current_dir()?.join(&shown);
    files::refuse_used(&dir)?;
    let server = Server::start(Feed::shipped()?).await?;
    let demo =
        Demo { global: GlobalArgs { project: Some(dir.clone()), env: None, ..global.clone() }, printer, server, shown };
    demo.say("Everything here happens on this machine, without the internet.");

    demo.make(&dir)?;
    demo.title(2, "running both pipelines: everything is new");
    let first = match demo.pass().await? {
        Ok(pass) => pass,
        Err(exit) => return Ok(exit),
    };
    let before = demo.rows().await?;
    let changed = demo.change()?;
    demo.title(4, "running both again: only what changed is read");
    let second = match demo.pass().await? {
        Ok(pass) => pass,
        Err(exit) => return Ok(exit),
    };
    let rows = demo.ask(&before).await?;
    let next = demo.next();
    if printer.json {
        let query = Answer { before_the_changes: before, rows };
        printer.document(&Output {
            project: dir,
            api_records: demo.server.records(),
            first,
            changed,
            second,
            query,
            next,
        });
    }
    if args.serve {
        demo.serve().await?;
    }
    Ok(Exit::Done)
}

struct Demo<'a> {
    /// The flags, for the demo's project.
    global: GlobalArgs,
    printer: &'a Printer,
    server: Server,
    /// The project's folder as the user named it.
    shown: PathBuf,
}

impl Demo<'_> {
    fn say(&self, text: &str) {
        self.printer.note(text);
    }

    fn title(&self, step: u32, text: &str) {
        self.say(&format!("\n{}", self.printer.paint(&format!("{step}. {text}"), "1")));
    }

    /// A path in the project as the user would write it.
    fn path(&self, name: &str) -> String {
        self.shown.join(name).display().to_string()
    }

    fn make(&self, dir: &Path) -> Result<()> {
        self.title(1, &format!("making a project in {}", self.shown.display()));
        let url = self.server.base_url();
        files::make(dir, &url)?;
        self.say(&format!(
            "   {url}/events is an API with {} from the USGS, in pages",
            count(self.server.records() as u64, "earthquake")
        ));
        self.say(&format!("   {} is a list of airports", self.path(files::AIRPORTS)));
        self.say(&format!("   {} says how to read both:", self.path(MANIFEST)));
        self.say("");
        for line in files::manifest(&url).lines() {
            self.say(format!("   {} {line}", self.printer.paint("|", "2")).trim_end());
        }
        Ok(())
    }

    /// Runs all pipelines once, as `hakiri run` does. The inner error is how to end when one did not succeed.
    async fn pass(&self) -> Result<Result<Pass, Exit>> {
        let before = self.server.served();
        let bars: Arc<dyn Events> = Arc::new(Bars::new(self.printer));
        let world = match open_to_write(&self.global, self.printer, bars, Cancel::default()).await? {
            Ok(world) => world,
            Err(exit) => return Ok(Err(exit)),
        };
        let tick = world.now();
        let mut runs = Vec::new();
        for pipeline in world.pipelines(&[])? {
            let reports = run_one(&world, &pipeline, tick, Some(Manual { tick: Some(tick), full: false })).await?;
            reports.iter().for_each(|report| summarise(self.printer, report));
            runs.extend(reports);
        }
        let api = self.server.served().since(before);
        let (requests, all) = (count(api.requests, "request"), count(self.server.records() as u64, "record"));
        self.say(&format!("the API answered {requests} with {} of its {all}", HumanCount(api.records)));
        let exits: Vec<Exit> = runs.iter().map(|r| Exit::of_run(r.status)).collect();
        Ok(match Exit::of_all(&exits) {
            Exit::Done => Ok(Pass { api, runs }),
            exit => {
                if self.printer.json {
                    self.printer.document(&json!({ "runs": runs }));
                }
                Err(exit)
            }
        })
    }

    fn change(&self) -> Result<Vec<Revision>> {
        self.title(3, "changing some earthquakes at the API (made up for this demo: not findings of the USGS)");
        let changed = self.server.revise(environment::clock().now())?;
        for r in &changed {
            let reviewed = if r.reviewed { "; reviewed, with one more product" } else { "" };
            let (id, place, before, after) = (&r.id, &r.place, r.mag_before, r.mag_after);
            self.say(&format!("   {id}, {place}: magnitude {before:.1} is now {after:.1}{reviewed}"));
        }
        Ok(changed)
    }

    async fn database(&self) -> Result<Database> {
        match open_to_read(&self.global, self.printer).await? {
            Ok(world) => query::of_project(&self.global, &world).await,
            Err(_) => Err(Error::new(Code::Internal, "the demo's manifest has errors")),
        }
    }

    /// The final query's rows as JSON.
    async fn rows(&self) -> Result<Vec<Value>> {
        let result = self.database().await?.query(NEAR).await?;
        let mut text = Vec::new();
        write_results(result, OutputFormat::Json, &mut text).await?;
        serde_json::from_slice(&text).map_err(|_| Error::new(Code::Internal, "the query's result is not JSON"))
    }

    /// Prints the final query's result, or returns its rows where the output is JSON.
    async fn ask(&self, before: &[Value]) -> Result<Vec<Value>> {
        self.title(5, "asking both in SQL: which airport of each state has the most earthquakes within 100 km?");
        self.say(&format!("   the statement is in {}", self.path(files::QUERY)));
        let rows = if self.printer.json {
            self.rows().await?
        } else {
            query::print(&self.database().await?, NEAR, Format::Table).await?;
            Vec::new()
        };
        if let Some((row, alaska)) = before.iter().zip(1..).find_map(|(r, n)| (r["state"] == "AK").then_some((n, r))) {
            let (quakes, products) = (&alaska["quakes"], &alaska["products"]);
            self.say(&format!(
                "before the changes, Alaska (AK) was in row {row}, with {quakes} quakes and {products} products"
            ));
        }
        Ok(rows)
    }

    /// How to start this program on the demo's project.
    fn hakiri(&self) -> String {
        format!("{} -C {}", shell(&environment::program()), shell(&self.shown.display().to_string()))
    }

    /// The commands to try next. They work from the folder in which the demo was started, when its API is gone.
    fn next(&self) -> Vec<String> {
        let hakiri = self.hakiri();
        let next = vec![
            format!("{hakiri} tables"),
            format!(
                "{hakiri} query \"select mag, place['description'] as place from quakes_events order by mag desc limit 5\""
            ),
            format!("{hakiri} runs"),
        ];
        self.say(&format!("\n{}", self.printer.paint("try next:", "1")));
        next.iter().for_each(|command| self.say(&format!("  {command}")));
        next
    }

    async fn serve(&self) -> Result<()> {
        let (url, hakiri) = (self.server.base_url(), self.hakiri());
        self.say(&format!("\nserving {url}/events until Ctrl-C; meanwhile, elsewhere: {hakiri} run"));
        tokio::signal::ctrl_c().await.map_err(|e| Error::new(Code::Io, format!("cannot wait for Ctrl-C: {e}")))
    }
}

/// A word for the shell.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::shell;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(shell("hakiri-demo"), "hakiri-demo");
        assert_eq!(shell("my demo"), "'my demo'");
        assert_eq!(shell("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell(""), "''");
    }
}
