//! Exit codes: what scripts and CI jobs rely on.

use std::process::ExitCode;

use hakiri_core::Error;
use hakiri_core::catalog::RunStatus;
use hakiri_core::error::Kind;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The work failed: source, data, schema.
    Failed = 1,
    /// Wrong usage or manifest: nothing was started.
    Usage = 2,
    /// Some tables were committed, some were not.
    Partial = 3,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The code for an error.
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            Kind::Usage => Self::Usage,
            Kind::Interrupted => Self::Interrupted,
            _ => Self::Failed,
        }
    }

    /// The code for a run.
    pub fn of_run(status: RunStatus) -> Self {
        match status {
            RunStatus::Succeeded => Self::Done,
            RunStatus::Partial => Self::Partial,
            RunStatus::Failed | RunStatus::Cancelled | RunStatus::Running => Self::Failed,
        }
    }

    /// The code for several pipelines' runs: all well, all failed, or partial.
    pub fn of_all(exits: &[Self]) -> Self {
        match exits {
            [] => Self::Done,
            exits if exits.iter().all(|e| e == &exits[0]) => exits[0],
            exits if exits.contains(&Self::Interrupted) => Self::Interrupted,
            _ => Self::Partial,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
