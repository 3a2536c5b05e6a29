//! Carries out [`Here`].

use std::collections::BTreeMap;
use std::path::Path;

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};
use serde_json::{Map, Value};

use super::elf;
use super::folder;
use super::process::{self, Call, Said};
use super::progress::Progress;
use super::steps::{Act, Document, Here, Run, State, Step, Verdict, line};
use crate::environment;
use crate::printer::Printer;

/// How often a state is asked for that something else is changing.
const LOOKS: usize = 4;

/// Secrets that have no value and are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Without {
    /// Their names.
    pub names: Vec<String>,
    /// Whether it is known that they have none at the target either.
    pub there: bool,
    /// What a person types in the folder to give them one.
    pub by_hand: String,
}

/// Looks at what the steps need before anything is started: the programs, this binary where it is to run somewhere else,
/// values that would have no effect, and what the steps ask for first.
///
/// # Errors
/// `HK1206` for the first that is missing or of no use.
pub fn look(printer: &Printer, here: &Here) -> Result<()> {
    let path = environment::variable("PATH").unwrap_or_default();
    let is_there = |program: &str| path.split(':').any(|dir| !dir.is_empty() && Path::new(dir).join(program).is_file());
    if let Some(tool) = here.tools.iter().find(|tool| !is_there(tool.program)) {
        return Err(Error::new(Code::DeployTool, format!("there is no `{}`, which {}", tool.program, tool.why))
            .with_hint(format!("{}, and run the command again", tool.remedy)));
    }
    for step in &here.steps {
        match &step.act {
            Act::Binary(_) => {
                let program = environment::executable()?;
                elf::static_x86_64(&folder::head(&program, elf::HEAD)?).map_err(|why| {
                    Error::new(Code::DeployTool, format!("{} cannot run there: {why}", program.display()))
                        .with_hint("run the command with the released binary for Linux on x86-64, which is static")
                })?;
            }
            Act::Secret { name, shortest, .. } => {
                let length = environment::variable(name).map(|value| value.trim().chars().count());
                if let Some(length) = length.filter(|length| length < shortest) {
                    return Err(Error::new(
                        Code::DeployTool,
                        format!("{name} has {length} characters, and with less than {shortest} it has no effect there"),
                    )
                    .with_hint(format!("set {name} to {shortest} random characters or more, or unset it")));
                }
            }
            _ => {}
        }
    }
    for check in &here.checks {
        let shown = line(&check.command);
        let asked = Call { asks: true, is_quiet: true, ..Call::default() };
        // The folder need not be there yet.
        let said = process::call(printer, &environment::current_dir()?, &check.command, asked, &[]);
        let (how, last) = match said {
            Ok(said) if said.status.success() => continue,
            Ok(said) => (format!("failed ({})", said.status), said.last),
            Err(how) => (how, Vec::new()),
        };
        return Err(Error::new(Code::DeployTool, told(&format!("{}: `{shown}` {how}", check.what), &last))
            .with_hint(format!("{}, and run the command again", check.remedy)));
    }
    Ok(())
}

/// Runs the steps that are not done, in the folder. Returns the secrets that have no value and are needed.
///
/// # Errors
/// `HK1207` for a command that fails, `HK0005`.
pub fn run(printer: &Printer, dir: &Path, here: &Here, progress: &mut Progress, again: &str) -> Result<Vec<Without>> {
    let mut without = Vec::new();
    let mut at = Runner { printer, dir, again, learned: BTreeMap::new() };
    for (number, step) in here.steps.iter().enumerate() {
        let number = format!("[{}/{}]", number + 1, here.steps.len());
        if progress.is_done(step) {
            printer.note(&format!("{number} {}: done before", step.title));
            continue;
        }
        let mut value = None;
        if let Act::Secret { name, optional, by_hand, .. } = &step.act {
            value = environment::variable(name);
            if value.is_none() {
                if !optional {
                    let (names, by_hand) = (vec![name.clone()], by_hand.clone());
                    without.push(Without { names, there: false, by_hand });
                }
                continue;
            }
        }
        printer.note(&format!("{number} {}: {}", step.title, step.shown()));
        match &step.act {
            Act::Binary(name) => folder::copy_program(&environment::executable()?, dir, name)?,
            Act::Write { path, text } => folder::put(dir, path, text.as_bytes())?,
            Act::Run(run) => drop(at.command(step, run, Call::default())?),
            Act::Learn { name, run } => {
                let value = match at.learn(step, run) {
                    Ok(value) => value,
                    Err(e) => {
                        // What the steps before it made is not there any more, whatever is remembered of them.
                        progress.forget(dir)?;
                        return Err(e);
                    }
                };
                at.learned.insert(name, value);
            }
            Act::Nothing { run, otherwise } => {
                let said = at.command(step, run, Call { asks: true, ..Call::default() })?;
                let some = said.map(|said| said.answer.trim().to_owned()).filter(|answer| !answer.is_empty());
                if let Some(some) = some {
                    let first: Vec<String> = some.lines().take(1).map(str::to_owned).collect();
                    let message = told(&format!("`{}` has to be empty, and is not:", step.shown()), &first);
                    return Err(Error::new(Code::DeployStep, message)
                        .with_hint(format!("{}; then run `{again}` again", at.filled_text(otherwise))));
                }
            }
            Act::Pipe { from, to } => at.pipe(step, from, to)?,
            Act::Secret { command, .. } => {
                let hidden: Vec<String> = value.iter().cloned().collect();
                let call = Call { stdin: value.as_deref(), hidden: &hidden, ..Call::default() };
                drop(at.command(step, &Run { command: command.clone(), ..Run::default() }, call)?);
            }
            Act::Secrets(document) => without.extend(at.secrets(step, document)?),
        }
        progress.did(dir, step)?;
    }
    Ok(without)
}

/// What the steps of one attempt share.
struct Runner<'r> {
    printer: &'r Printer,
    dir: &'r Path,
    again: &'r str,
    /// What `${NAME}` stands for.
    learned: BTreeMap<&'static str, String>,
}

impl Runner<'_> {
    /// Runs a command in the state that it needs; none where there was nothing to do.
    fn command(&self, step: &Step, run: &Run, call: Call<'_>) -> Result<Option<Said>> {
        let Some(words) = self.filled(&run.command) else {
            self.printer.note("  there is nothing of it");
            return Ok(None);
        };
        if let Some(state) = &run.state
            && !self.is_ready(step, run, state)?
        {
            return Ok(None);
        }
        let mut listen: Vec<&'static str> = run.fine.to_vec();
        listen.extend(run.remedies.iter().flat_map(|remedy| remedy.said));
        let said = process::call(self.printer, self.dir, &words, call, &listen)
            .map_err(|how| self.failed(step, &how, &[], None))?;
        if said.status.success() || said.has(run.fine) {
            return Ok(Some(said));
        }
        let mut last = said.last.clone();
        last.extend(self.explained(&run.explain));
        // What the thing is like now says more than what the command has said.
        let refused = run.state.as_ref().and_then(|state| match self.verdict(run, state) {
            Ok(Verdict::Refuse(hint)) => Some(hint),
            _ => None,
        });
        let known = || run.remedies.iter().find(|r| said.has(r.said)).map(|r| r.hint.clone());
        let hint = refused.or_else(known);
        Err(self.failed(step, &format!("failed ({}); its last lines:", said.status), &last, hint.as_deref()))
    }

    /// Whether the command is to be run, after what is under way.
    fn is_ready(&self, step: &Step, run: &Run, state: &State) -> Result<bool> {
        for _ in 0..LOOKS {
            match self
                .verdict(run, state)
                .map_err(|(how, last, hint)| self.failed(step, &how, &last, hint.as_deref()))?
            {
                Verdict::Go => return Ok(true),
                Verdict::Skip => {
                    self.printer.note("  there is nothing to do");
                    return Ok(false);
                }
                Verdict::Wait(wait) => {
                    self.printer.note(&format!("  something is under way; until it has ended: {}", line(&wait)));
                    // How it ended is what the state says next.
                    let _ = process::call(self.printer, self.dir, &wait, Call::default(), &[]);
                }
                Verdict::Refuse(hint) => {
                    return Err(self.failed(step, "cannot be run as things are", &[], Some(&hint)));
                }
            }
        }
        Err(self.failed(step, "cannot be run: something else is under way, again and again", &[], None))
    }

    fn verdict(&self, run: &Run, state: &State) -> std::result::Result<Verdict, (String, Vec<String>, Option<String>)> {
        let shown = line(&state.command);
        let mut listen: Vec<&'static str> = state.absent.to_vec();
        listen.extend(run.remedies.iter().flat_map(|remedy| remedy.said));
        let asked = Call { asks: true, is_quiet: true, ..Call::default() };
        let said = process::call(self.printer, self.dir, &state.command, asked, &listen)
            .map_err(|how| (format!("was not run, since `{shown}` {how}"), Vec::new(), None))?;
        if said.status.success() {
            let answer = said.answer.trim();
            return Ok(state.states.iter().find(|(name, _)| *name == answer).map_or(Verdict::Go, |(_, v)| v.clone()));
        }
        if said.has(state.absent) {
            return Ok(state.if_absent.clone());
        }
        let how = format!("was not run, since `{shown}` failed ({}); its last lines:", said.status);
        let hint = run.remedies.iter().find(|r| said.has(r.said)).map(|r| r.hint.clone());
        Err((how, said.last, hint))
    }

    /// What another command says of a failure, line by line; none where that fails as well.
    fn explained(&self, command: &[String]) -> Vec<String> {
        let Some(words) = self.filled(command).filter(|words| !words.is_empty()) else { return Vec::new() };
        let asked = Call { asks: true, is_quiet: true, ..Call::default() };
        let said = process::call(self.printer, self.dir, &words, asked, &[]);
        let answer = said.map(|said| said.answer).unwrap_or_default();
        let lines =
            answer.lines().map(|line| line.chars().filter(|c| *c == '\t' || !c.is_control()).collect::<String>());
        lines.filter(|line| !line.trim().is_empty()).take(LOOKS * 2).collect()
    }

    /// What a command answers; nothing only where that is fine.
    fn learn(&self, step: &Step, run: &Run) -> Result<String> {
        let said = self.command(step, run, Call { asks: true, ..Call::default() })?;
        let answer = said.map(|said| said.answer).unwrap_or_default();
        match answer.trim() {
            "" if run.fine.is_empty() => Err(self.failed(step, "answers nothing", &[], None)),
            value => Ok(value.to_owned()),
        }
    }

    fn pipe(&self, step: &Step, from: &[String], to: &Run) -> Result<()> {
        let Some(words) = self.filled(from) else {
            self.printer.note("  there is nothing of it");
            return Ok(());
        };
        let source = Run { command: words, remedies: to.remedies.clone(), ..Run::default() };
        let said = self.command(step, &source, Call { asks: true, ..Call::default() })?;
        let value = said.map(|said| said.answer).unwrap_or_default();
        let hidden = [value.clone()];
        let call = Call { stdin: Some(&value), hidden: &hidden, ..Call::default() };
        self.command(step, to, call).map(drop)
    }

    /// Brings the values of the variables into the document. Returns what has no value in either.
    fn secrets(&self, step: &Step, document: &Document) -> Result<Option<Without>> {
        let read = Run {
            command: document.read.clone(),
            fine: document.none,
            remedies: document.remedies.clone(),
            ..Run::default()
        };
        let said = self.command(step, &read, Call { asks: true, ..Call::default() })?;
        let there = said.map(|said| said.answer).unwrap_or_default();
        let there = if there.trim().is_empty() { "{}" } else { there.trim() };
        // Not the parser's words: they may repeat what stands there.
        let old: Map<String, Value> = serde_json::from_str(there).map_err(|_| {
            let hint = format!("look at it, and put an object such as secrets.example.json there: {}", step.shown());
            self.failed(step, "was not run, since what is there is not a JSON object of texts", &[], Some(&hint))
        })?;
        let given = document.names.iter().filter_map(|(name, _)| Some((name.clone(), environment::variable(name)?)));
        let mut new = old.clone();
        new.extend(given.map(|(name, value)| (name, Value::String(value))));
        if new == old {
            self.printer.note("  nothing here that is not there");
        } else {
            let hidden: Vec<String> = new.values().filter_map(|v| v.as_str().map(str::to_owned)).collect();
            let text = Value::Object(new.clone()).to_string();
            let call = Call { stdin: Some(&text), hidden: &hidden, ..Call::default() };
            let write = Run { command: document.write.clone(), remedies: document.remedies.clone(), ..Run::default() };
            self.command(step, &write, call)?;
        }
        let has = |name: &str| new.get(name).and_then(Value::as_str).is_some_and(|value| !value.is_empty());
        let names: Vec<String> =
            document.names.iter().filter(|(name, optional)| !optional && !has(name)).map(|(n, _)| n.clone()).collect();
        let by_hand = self.filled_text(&step.shown());
        Ok((!names.is_empty()).then_some(Without { names, there: true, by_hand }))
    }

    /// The words with what was learned; none where one of them is of something that is not there.
    fn filled(&self, words: &[String]) -> Option<Vec<String>> {
        let names = |word: &str, name: &str| word.contains(&format!("${{{name}}}"));
        let nothing = |word: &String| self.learned.iter().any(|(name, value)| value.is_empty() && names(word, name));
        (!words.iter().any(nothing)).then(|| words.iter().map(|word| self.filled_text(word)).collect())
    }

    fn filled_text(&self, text: &str) -> String {
        let fill = |text: String, (name, value): (&&str, &String)| text.replace(&format!("${{{name}}}"), value);
        self.learned.iter().fold(text.to_owned(), fill)
    }

    fn failed(&self, step: &Step, how: &str, last: &[String], hint: Option<&str>) -> Error {
        let message = told(&format!("`{}` {how}", step.shown()), last);
        let again = self.again;
        Error::new(Code::DeployStep, message).with_hint(match hint {
            Some(hint) => format!("{}; then run `{again}` again", self.filled_text(hint)),
            None if step.is_remembered() => format!("correct it and run `{again}` again: it goes on with this step"),
            None => format!("correct it and run `{again}` again"),
        })
    }
}

/// A message with the lines of a program below it.
fn told(message: &str, lines: &[String]) -> String {
    lines.iter().fold(message.to_owned(), |message, line| format!("{message}\n  | {line}"))
}
