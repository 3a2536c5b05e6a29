//! What the state machine asks of the function, and what it is answered: the operations of `05`, cut to what the history
//! of one execution holds. Decisions only.

use hakiri_core::codes::Code;
use hakiri_core::error::Kind;
use hakiri_core::id::RunId;
use hakiri_core::ops::{AfterBegin, AfterCommit, AfterStep, BeginRequest, CommitRequest, StepRequest};
use hakiri_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::alarm::Alarm;

/// Steps that are handed out at once: a map inside of the machine, whose events are all in one history.
pub const WINDOW: usize = 400;
/// Events of an execution's history that are planned with, of the 25,000 after which it is ended. The rest is for retries
/// and for steps that are told to wait.
pub const BUDGET: u64 = 20_000;
/// Events of a `begin` and its `commit`.
const ROUND: u64 = 40;
/// Events of a step: 11 when it goes well at once, and some nine for each time that it is told to wait or to go on.
const STEP: u64 = 40;
/// Events of a `begin` that has to wait.
const WAITING: u64 = 20;
/// Windows are not made smaller than this for what is left of a history: another execution has a whole one.
const SMALLEST: u64 = 100;

/// What the function is asked.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// An operation, from the state machine.
    Operation(Operation),
    /// An alarm of the platform.
    Alarm(Alarm),
}

/// An operation.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// What is due?
    Begin {
        /// The contract's request.
        #[serde(flatten)]
        request: BeginRequest,
        /// How much of its history the execution has used, by this function's own counting.
        #[serde(default)]
        spent: u64,
    },
    /// Carries out a step.
    Step(StepRequest),
    /// Commits.
    Commit(CommitRequest),
    /// Gives back the lease, so that another execution goes on at once; unless another worker is at one of the steps.
    HandOver(CommitRequest),
}

/// What the state machine does next.
#[derive(Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(Deserialize))]
#[serde(tag = "next", rename_all = "snake_case")]
pub enum Answer {
    /// `step` for each of these; then, if there are more, `hand_over` and another execution, else `commit`.
    Steps { run: RunId, epoch: u64, steps: Vec<u32>, more: bool, concurrency: u32, spent: u64 },
    /// `commit`.
    Commit { run: RunId, epoch: u64, spent: u64 },
    /// The same again after this long.
    Wait {
        seconds: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        spent: Option<u64>,
    },
    /// The end.
    Nothing {
        #[serde(skip_serializing_if = "Option::is_none")]
        spent: Option<u64>,
    },
    /// Another execution, since this one's history is nearly full.
    Follow,
    /// `begin`.
    Begin,
    /// The step is finished.
    Done,
    /// The step again, at once.
    Again,
    /// The step failed for good; the run goes on.
    Fail { code: String },
}

/// Reads an event.
///
/// # Errors
/// `HK1114` for what is none.
pub fn read(bytes: &[u8]) -> Result<Event> {
    let wrong = |e: &dyn std::fmt::Display| Error::new(Code::WorkerRequest, format!("the event cannot be read: {e}"));
    let value: Value = serde_json::from_slice(bytes).map_err(|e| wrong(&e))?;
    if value.get("source").and_then(Value::as_str) == Some("aws.cloudwatch") && value.get("alarmData").is_some() {
        return Alarm::read(value).map(Event::Alarm).map_err(|e| wrong(&e));
    }
    serde_json::from_value(value).map(Event::Operation).map_err(|e| wrong(&e))
}

/// How many steps a `begin` may hand out in an execution that has spent so much; none where another one is to go on. An
/// execution that has spent nothing always goes on, so that each does something.
pub fn room(spent: u64) -> Option<usize> {
    let steps = BUDGET.saturating_sub(spent.saturating_add(ROUND)) / STEP;
    (spent == 0 || steps >= SMALLEST).then(|| usize::try_from(steps).unwrap_or(WINDOW).clamp(1, WINDOW))
}

/// What the machine is told of `begin`'s answer, where there is room for so many steps.
pub fn after_begin(answer: AfterBegin, room: usize, spent: u64) -> Answer {
    match answer {
        AfterBegin::Steps { run, epoch, mut steps, concurrency } => {
            let more = steps.len() > room;
            steps.truncate(room);
            let spent = spent + ROUND + STEP * steps.len() as u64;
            Answer::Steps { run, epoch, steps, more, concurrency, spent }
        }
        AfterBegin::Commit { run, epoch } => Answer::Commit { run, epoch, spent: spent + ROUND },
        AfterBegin::Wait { seconds } => Answer::Wait { seconds, spent: Some(spent + WAITING) },
        AfterBegin::Nothing { .. } => Answer::Nothing { spent: Some(spent) },
    }
}

/// What the machine is told of a step. Why it failed is in the catalog.
pub fn after_step(answer: AfterStep) -> Answer {
    match answer {
        AfterStep::Done => Answer::Done,
        AfterStep::Wait { seconds } => Answer::Wait { seconds, spent: None },
        AfterStep::Again => Answer::Again,
        AfterStep::Fail { failure } => Answer::Fail { code: failure.code },
    }
}

/// What the machine is told of a commit. The report is in the catalog.
pub fn after_commit(answer: &AfterCommit) -> Answer {
    match answer {
        AfterCommit::Begin { .. } => Answer::Begin,
        AfterCommit::Nothing { .. } => Answer::Nothing { spent: None },
        AfterCommit::Wait { seconds } => Answer::Wait { seconds: *seconds, spent: None },
    }
}

/// What the machine tells errors apart by: those it tries again, the one that ends it well, and those that end it badly.
pub fn error_type(e: &Error) -> &'static str {
    match e.kind() {
        _ if e.code() == Code::CatalogFenced => "Hakiri.Fenced",
        Kind::Transient | Kind::RateLimited { .. } | Kind::Interrupted => "Hakiri.Transient",
        Kind::AuthExpired | Kind::Permanent | Kind::SchemaIncompatible | Kind::Usage => "Hakiri.Permanent",
    }
}

/// An error in one line: code, what happened, what to do.
pub fn error_message(e: &Error) -> String {
    let line = format!("{}: {e}; {}", e.code(), e.hint());
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use hakiri_core::time::Instant;
    use serde_json::json;

    use super::*;

    fn run() -> RunId {
        RunId::new(&"shop".parse().unwrap(), &"api".parse().unwrap(), Instant::from_millis(0), 0)
    }

    fn begun(steps: u32, room: usize, spent: u64) -> Value {
        let answer = AfterBegin::Steps { run: run(), epoch: 3, steps: (0..steps).collect(), concurrency: 4 };
        serde_json::to_value(after_begin(answer, room, spent)).unwrap()
    }

    #[test]
    fn steps_are_handed_out_in_windows_and_what_they_will_take_is_counted() {
        let answer = begun(3, room(0).unwrap(), 0);
        let expected = json!({ "next": "steps", "run": run(), "epoch": 3, "steps": [0, 1, 2], "more": false, "concurrency": 4, "spent": 160 });
        assert_eq!(answer, expected);
        let answer = begun(401, room(0).unwrap(), 0);
        assert_eq!((answer["steps"].as_array().unwrap().len(), &answer["more"]), (400, &json!(true)));
        assert_eq!(begun(400, room(0).unwrap(), 0)["more"], false);
        assert!(answer["spent"].as_u64().unwrap() < BUDGET, "a whole window fits into a history");
        assert!(answer.to_string().len() < 16 << 10, "far below what a state may hold");
    }

    #[test]
    fn a_window_shrinks_to_what_is_left_and_a_full_history_is_followed_by_another() {
        assert_eq!(room(10_000), Some(249));
        assert_eq!((room(15_960), room(15_961)), (Some(100), None));
        assert_eq!((room(BUDGET), room(u64::MAX)), (None, None));
        // However a run goes on, no execution is planned beyond its budget.
        for before in (1..BUDGET).step_by(7) {
            if let Some(room) = room(before) {
                assert!(begun(5_000, room, before)["spent"].as_u64().unwrap() <= BUDGET, "{before}");
            }
        }
    }

    #[test]
    fn every_answer_says_what_is_next_and_little_else() {
        let of = |answer: Answer| serde_json::to_value(answer).unwrap();
        let failure = Error::new(Code::StepCut, "x").to_failure();
        assert_eq!(
            of(after_begin(AfterBegin::Commit { run: run(), epoch: 1 }, 1, 5)),
            json!({ "next": "commit", "run": run(), "epoch": 1, "spent": 45 })
        );
        let wait = AfterBegin::Wait { seconds: 5 };
        assert_eq!(of(after_begin(wait, 1, 5)), json!({ "next": "wait", "seconds": 5, "spent": 25 }));
        let due = Some(Instant::from_millis(0));
        assert_eq!(of(after_begin(AfterBegin::Nothing { due }, 1, 5)), json!({ "next": "nothing", "spent": 5 }));
        assert_eq!(of(after_step(AfterStep::Done)), json!({ "next": "done" }));
        assert_eq!(of(after_step(AfterStep::Again)), json!({ "next": "again" }));
        assert_eq!(of(after_step(AfterStep::Wait { seconds: 7 })), json!({ "next": "wait", "seconds": 7 }));
        assert_eq!(of(after_step(AfterStep::Fail { failure })), json!({ "next": "fail", "code": "HK0912" }));
        assert_eq!(of(after_commit(&AfterCommit::Wait { seconds: 1 })), json!({ "next": "wait", "seconds": 1 }));
        assert_eq!(of(Answer::Follow), json!({ "next": "follow" }));
        assert_eq!(of(Answer::Begin), json!({ "next": "begin" }));
    }

    /// The answers that the tests of the generated machine go over are answers of ours, field by field.
    #[test]
    fn the_machine_is_tested_with_answers_that_there_are() {
        let text =
            include_str!("../../tests/acceptance/deploy_aws/answers.json").replace("0123456789abcdef", run().as_str());
        let recorded: std::collections::BTreeMap<String, Vec<Value>> = serde_json::from_str(&text).unwrap();
        for answer in recorded.into_values().flatten() {
            let read: Answer = serde_json::from_value(answer.clone()).unwrap_or_else(|e| panic!("{answer}: {e}"));
            assert_eq!(serde_json::to_value(read).unwrap(), answer);
        }
    }

    #[test]
    fn events_are_the_machines_requests_and_what_is_none_is_refused() {
        let request = |value: Value| read(value.to_string().as_bytes());
        let begin = json!({ "op": "begin", "pipeline": "api", "wake": "2026-11-28T09:00:00Z", "spent": 7 });
        let Ok(Event::Operation(Operation::Begin { request: begun, spent: 7 })) = request(begin) else { panic!() };
        assert_eq!((begun.pipeline.as_str(), begun.manual), ("api", None));
        let step = json!({ "op": "step", "pipeline": "api", "run": run(), "epoch": 1, "step": 4 });
        assert!(matches!(
            request(step),
            Ok(Event::Operation(Operation::Step(StepRequest { step: 4, deadline: None, .. })))
        ));
        for op in ["commit", "hand_over"] {
            assert!(request(json!({ "op": op, "pipeline": "api", "run": run(), "epoch": 1 })).is_ok());
        }
        let literal = json!({ "op": "begin", "pipeline": "api", "wake": "<aws.scheduler.scheduled-time>" });
        for wrong in [literal, json!({ "op": "drop" }), json!({}), json!(["begin"])] {
            let e = request(wrong).unwrap_err();
            assert_eq!((e.code(), error_type(&e)), (Code::WorkerRequest, "Hakiri.Permanent"));
        }
    }

    #[test]
    fn errors_are_told_apart_by_what_the_machine_does_about_them() {
        let of = |code, kind: Option<Kind>| {
            let e = Error::new(code, "x");
            error_type(&kind.map_or(e.clone(), |kind| e.with_kind(kind)))
        };
        assert_eq!(of(Code::CatalogFenced, None), "Hakiri.Fenced");
        assert_eq!(of(Code::CatalogFenced, Some(Kind::Transient)), "Hakiri.Fenced");
        assert_eq!(of(Code::Io, None), "Hakiri.Transient");
        assert_eq!(of(Code::HttpRateLimited, Some(Kind::RateLimited { seconds: 9 })), "Hakiri.Transient");
        assert_eq!(of(Code::Interrupted, None), "Hakiri.Transient");
        assert_eq!(of(Code::PostgresAuth, None), "Hakiri.Permanent");
        let message = error_message(&Error::new(Code::Io, "a\nb").at("/x").with_hint("do"));
        assert_eq!(message, "HK0005: /x: a b; do");
    }
}
