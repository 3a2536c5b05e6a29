//! What puts a target into effect from here, or takes it away: data, so that it can be shown, tested and gone on with.
//! [`super::runner`] carries it out.
//!
//! Words of a command may name what an earlier step has learned: `${NAME}`. A person reads and types them as they are,
//! since a shell fills them in the same way.

use super::resources::Resource;
use super::template::shell;

/// What is done from here, in order, and with which programs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Here {
    /// Programs that must be there before anything is started.
    pub tools: Vec<Tool>,
    /// Commands that must succeed before anything is written or started. They change nothing.
    pub checks: Vec<Check>,
    /// The steps. Each may be repeated (G6).
    pub steps: Vec<Step>,
}

/// A program that the steps need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name on the search path.
    pub program: &'static str,
    /// What it does here.
    pub why: &'static str,
    /// Where it comes from.
    pub remedy: &'static str,
}

/// A question whose answer says whether the steps can succeed at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is not so when it fails.
    pub what: &'static str,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What to do then.
    pub remedy: String,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does, for people.
    pub title: String,
    /// How.
    pub act: Act,
}

/// How a step is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Puts this program into the folder, under a name.
    Binary(&'static str),
    /// Writes a file that only the next steps read.
    Write {
        /// Its path in the folder.
        path: &'static str,
        /// What is in it.
        text: String,
    },
    /// Runs a command in the folder.
    Run(Run),
    /// Runs a command whose output is what `${NAME}` stands for in the steps after it. It may be empty only where there
    /// may be nothing ([`Run::fine`]); a step that names it then has nothing to do.
    Learn {
        /// The name.
        name: &'static str,
        /// The command; what it writes to its standard output is not shown.
        run: Run,
    },
    /// Runs a command that must have no output, or nothing after it is done.
    Nothing {
        /// The command.
        run: Run,
        /// What to do when there is some.
        otherwise: String,
    },
    /// Gives the output of a command to another, on its standard input. Nobody sees what it is.
    Pipe {
        /// Program and arguments of the one that says it.
        from: Vec<String>,
        /// The one that is given it.
        to: Run,
    },
    /// Gives the value that a variable of the environment has to a command, on its standard input: what stands among
    /// arguments can be read by every process of the machine.
    Secret {
        /// The variable, and the secret's name there.
        name: String,
        /// Whether the project runs without it.
        optional: bool,
        /// Of fewer characters it has no effect.
        shortest: usize,
        /// Program and arguments.
        command: Vec<String>,
        /// What a person types to give the value.
        by_hand: String,
    },
    /// Gives the values of variables to a command as one JSON object, on its standard input. What is there already and
    /// has no variable here stays.
    Secrets(Document),
}

/// A command and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where its output has one of these, there was nothing left to do, whatever it ended with.
    pub fine: &'static [&'static str],
    /// What to do about what it may say when it fails; the first that fits counts.
    pub remedies: Vec<Remedy>,
    /// What is asked before it, and once more when it failed.
    pub state: Option<State>,
    /// A command that says more about a failure.
    pub explain: Vec<String>,
}

/// What to do when a command fails with certain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// It says one of these.
    pub said: &'static [&'static str],
    /// What to do.
    pub hint: String,
}

/// In which state something must be for a command to be of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Prints the state, as one word.
    pub command: Vec<String>,
    /// What it says when the thing is not there.
    pub absent: &'static [&'static str],
    /// What to do when it is not there.
    pub if_absent: Verdict,
    /// What to do in these states; in all others the command is run.
    pub states: Vec<(&'static str, Verdict)>,
}

/// What a state leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The command is run.
    Go,
    /// There is nothing to do.
    Skip,
    /// Something is under way: this command ends when it has ended, and then the state is asked for again.
    Wait(Vec<String>),
    /// The command would fail, and this is to be done first.
    Refuse(String),
}

/// Secrets that are kept as one JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The variables, which are the names in it, and whether the project runs without each.
    pub names: Vec<(String, bool)>,
    /// Prints the object as it is.
    pub read: Vec<String>,
    /// What that says when there is none yet.
    pub none: &'static [&'static str],
    /// Is given the whole object.
    pub write: Vec<String>,
    /// What to do about what either says when it fails.
    pub remedies: Vec<Remedy>,
}

impl Run {
    /// A command of which nothing is known.
    pub fn new(command: &[&str]) -> Self {
        Self { command: command.iter().map(|word| (*word).to_owned()).collect(), ..Self::default() }
    }
}

impl Step {
    /// A step.
    pub fn new(title: impl Into<String>, act: Act) -> Self {
        Self { title: title.into(), act }
    }

    /// A command that has to succeed.
    pub fn run(title: impl Into<String>, command: &[&str]) -> Self {
        Self::run_or(title, command, &[])
    }

    /// A command that may also find its work done.
    pub fn run_or(title: impl Into<String>, command: &[&str], fine: &'static [&'static str]) -> Self {
        Self::new(title, Act::Run(Run { fine, ..Run::new(command) }))
    }

    /// Whether it need not be repeated once it was done. Secrets are given each time, since what they were is kept
    /// nowhere; files are written each time, since it is quicker than to look; what was learned may have changed.
    pub fn is_remembered(&self) -> bool {
        matches!(self.act, Act::Run(_))
    }

    /// The command as a person would write it.
    pub fn shown(&self) -> String {
        match &self.act {
            Act::Binary(name) => format!("cp <the binary> {name}"),
            Act::Write { path, .. } => format!("write {path}"),
            Act::Run(run) | Act::Nothing { run, .. } => line(&run.command),
            Act::Learn { name, run } => format!("{name}=$({})", line(&run.command)),
            Act::Pipe { from, to } => format!("{} | {}", line(from), line(&to.command)),
            Act::Secret { command, .. } => line(command),
            Act::Secrets(document) => format!("{} <secrets.json", line(&document.write)),
        }
    }
}

/// The line of a shell that is this command.
pub fn line(words: &[String]) -> String {
    let word = |word: &String| match word.contains("${") || is_clearer_quoted(word) {
        true => quoted(word),
        false => shell(word),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A word within double quotes: a shell fills in `${NAME}` there, and reads these signs as they are only after a backslash.
fn quoted(word: &str) -> String {
    let escaped = word.chars().flat_map(|c| matches!(c, '"' | '\\' | '`').then_some('\\').into_iter().chain([c]));
    format!("\"{}\"", escaped.collect::<String>())
}

/// Whether a word has single quotes, and no sign that means something within double ones.
fn is_clearer_quoted(word: &str) -> bool {
    word.contains('\'') && !word.contains(['$', '`', '"', '\\', '!'])
}

/// What becomes of a deployment that is taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// What is gone then, and cannot be brought back.
    pub lost: Vec<String>,
    /// What stays (G4).
    pub kept: Vec<String>,
    /// What a person has to do first, since no step does it.
    pub before: Vec<String>,
    /// What of the target's resources there is afterwards.
    pub left: Vec<Resource>,
    /// How it is done.
    pub how: How,
}

impl Removal {
    /// One that is done on a server, of which nothing is remembered here.
    pub fn there(lost: Vec<String>, kept: Vec<String>, commands: Vec<String>) -> Self {
        Self { lost, kept, before: Vec::new(), left: Vec::new(), how: How::There(commands) }
    }
}

/// Where commands run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// On a server, by its administrator.
    There(Vec<String>),
    /// Here.
    Here(Here),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_as_a_shell_takes_it() {
        let run = |words: &[&str]| Run::new(words);
        for (act, shown) in [
            (Act::Run(run(&["a", "it's", "x${B}\"y"])), "a \"it's\" \"x${B}\\\"y\""),
            (Act::Run(run(&["it's $B", "$B", "c`d"])), r"'it'\''s $B' '$B' 'c`d'"),
            (Act::Learn { name: "B", run: run(&["a", "--query", "x[0]"]) }, "B=$(a --query 'x[0]')"),
            (Act::Pipe { from: vec!["a".into()], to: run(&["b", "${B}"]) }, "a | b \"${B}\""),
        ] {
            let step = Step::new("t", act);
            assert_eq!(step.shown(), shown);
            assert_eq!(step.is_remembered(), matches!(step.act, Act::Run(_)));
        }
    }
}
