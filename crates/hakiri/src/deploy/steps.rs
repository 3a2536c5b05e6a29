//! What puts a target into effect from here, or takes it away: data, so that it can be shown, tested and gone on with.
//! [`super::runner`] carries it out.

use super::resources::Resource;

/// What is done from here, in order, and with which programs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Here {
    /// Programs that must be there before anything is started.
    pub tools: Vec<Tool>,
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
    Run {
        /// Program and arguments.
        command: Vec<String>,
        /// Where its output has one of these, there was nothing left to do, whatever it ended with.
        fine: &'static [&'static str],
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
    },
}

impl Step {
    /// A command that has to succeed.
    pub fn run(title: impl Into<String>, command: &[&str]) -> Self {
        Self::run_or(title, command, &[])
    }

    /// A command that may also find its work done.
    pub fn run_or(title: impl Into<String>, command: &[&str], fine: &'static [&'static str]) -> Self {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Self { title: title.into(), act: Act::Run { command, fine } }
    }

    /// Whether it need not be repeated once it was done. Secrets are given each time, since what they were is kept
    /// nowhere; files are written each time, since it is quicker than to look.
    pub fn is_remembered(&self) -> bool {
        matches!(self.act, Act::Run { .. })
    }

    /// The command as a person would write it.
    pub fn shown(&self) -> String {
        let words = match &self.act {
            Act::Binary(name) => return format!("cp <the binary> {name}"),
            Act::Write { path, .. } => return format!("write {path}"),
            Act::Run { command, .. } | Act::Secret { command, .. } => command,
        };
        words.iter().map(|word| super::template::shell(word)).collect::<Vec<_>>().join(" ")
    }
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
