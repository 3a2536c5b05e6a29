//! How many transitions of the state machine a wake takes, which is what Step Functions is paid for, and how many calls
//! of the function: counted on the generated definition itself, so that the cost follows whatever becomes of the
//! machine.
//!
//! It is no interpreter: tasks are not run. The answers of the function are given, all goes well, and each state that is
//! entered counts once, as do those of each element of a `Map`.

use serde_json::Value;

/// More states than any machine of ours enters for a wake without a fault, those of a `Map`'s elements apart.
const MOST: usize = 10_000;

/// What a wake finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake<'w> {
    /// Nothing is due.
    Nothing,
    /// One run of so many steps, and then nothing: after a commit the machine asks once more.
    Run { steps: usize },
    /// A task does it all.
    Task(&'w str),
}

/// What a wake takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// States that are entered.
    pub(super) transitions: usize,
    /// Calls of the function.
    pub(super) calls: usize,
}

/// What a wake takes; none where the definition leads nowhere.
pub(super) fn taken(machine: &Value, wake: Wake<'_>) -> Option<Taken> {
    let mut walk = Walk { wake, has_begun: false, taken: Taken::default() };
    walk.all(machine)?;
    Some(walk.taken)
}

struct Walk<'w> {
    wake: Wake<'w>,
    has_begun: bool,
    taken: Taken,
}

impl Walk<'_> {
    fn all(&mut self, machine: &Value) -> Option<()> {
        let mut name = machine.get("StartAt")?.as_str()?;
        // What the function has answered last: all that a choice looks at, but for the input.
        let mut answer = "";
        for _ in 0..MOST {
            let state = machine.get("States")?.get(name)?;
            self.taken.transitions += 1;
            match state.get("Type")?.as_str()? {
                "Succeed" => return Some(()),
                "Fail" => return None,
                "Task" => answer = self.answer(state),
                "Map" => self.elements(state)?,
                "Choice" => {
                    name = self.chosen(state, answer)?;
                    continue;
                }
                _ => {}
            }
            if state.get("End").and_then(Value::as_bool) == Some(true) {
                return Some(());
            }
            name = state.get("Next")?.as_str()?;
        }
        None
    }

    fn elements(&mut self, map: &Value) -> Option<()> {
        let Wake::Run { steps } = self.wake else { return None };
        // All are alike.
        let before = self.taken;
        self.all(map.get("ItemProcessor")?)?;
        let times = |before: usize, after: usize| before + (after - before) * steps;
        self.taken.transitions = times(before.transitions, self.taken.transitions);
        self.taken.calls = times(before.calls, self.taken.calls);
        Some(())
    }

    fn answer(&mut self, task: &Value) -> &'static str {
        // What names no operation calls something else.
        let Some(op) = task.pointer("/Parameters/Payload/op").and_then(Value::as_str) else { return "nothing" };
        self.taken.calls += 1;
        match (op, self.wake) {
            ("begin", Wake::Run { .. }) if !self.has_begun => {
                self.has_begun = true;
                "steps"
            }
            ("step", _) => "done",
            // Another tick may be due meanwhile: the engine never answers that none is.
            ("commit", _) => "begin",
            _ => "nothing",
        }
    }

    fn chosen<'s>(&self, choice: &'s Value, answer: &str) -> Option<&'s str> {
        let compute = if let Wake::Task(word) = self.wake { word } else { "" };
        let holds = |rule: &&Value| {
            let is_input = rule.get("Variable").and_then(Value::as_str) == Some("$.compute");
            rule.get("StringEquals").and_then(Value::as_str) == Some(if is_input { compute } else { answer })
        };
        let rule = choice.get("Choices")?.as_array()?.iter().find(holds);
        rule.map_or_else(|| choice.get("Default"), |rule| rule.get("Next"))?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_that_are_entered_count_and_those_of_elements_for_each() {
        let machine = json!({ "StartAt": "Which", "States": {
            "Which": { "Type": "Choice", "Default": "Begin", "Choices": [
                { "Variable": "$.compute", "StringEquals": "task", "Next": "Whole" }] },
            "Whole": { "Type": "Task", "Next": "Done" },
            "Begin": { "Type": "Task", "Parameters": { "Payload": { "op": "begin" } }, "Next": "After" },
            "After": { "Type": "Choice", "Default": "Wrong", "Choices": [
                { "Variable": "$.a", "StringEquals": "steps", "Next": "Steps" },
                { "Variable": "$.a", "StringEquals": "nothing", "Next": "Done" }] },
            "Steps": { "Type": "Map", "Next": "Commit", "ItemProcessor": { "StartAt": "Step", "States": {
                "Step": { "Type": "Task", "Parameters": { "Payload": { "op": "step" } }, "Next": "Over" },
                "Over": { "Type": "Pass", "End": true } } } },
            "Commit": { "Type": "Task", "Parameters": { "Payload": { "op": "commit" } }, "Next": "AfterCommit" },
            "AfterCommit": { "Type": "Choice", "Default": "Wrong", "Choices": [
                { "Variable": "$.a", "StringEquals": "begin", "Next": "Begin" },
                { "Variable": "$.a", "StringEquals": "nothing", "Next": "Done" }] },
            "Done": { "Type": "Succeed" },
            "Wrong": { "Type": "Fail" }
        } });
        let of = |wake| taken(&machine, wake).map(|taken| (taken.transitions, taken.calls));
        assert_eq!(of(Wake::Nothing), Some((4, 1)));
        assert_eq!(of(Wake::Task("task")), Some((3, 0)));
        // Which, Begin, After, Steps, two of each element, Commit, AfterCommit, Begin, After, Done.
        assert_eq!(of(Wake::Run { steps: 1 }), Some((11, 4)));
        assert_eq!(of(Wake::Run { steps: 5 }), Some((19, 8)));
        // Many tables are no going round and round.
        assert_eq!(of(Wake::Run { steps: 2 * MOST }), Some((9 + 4 * MOST, 3 + 2 * MOST)));
        // What leads nowhere, or round and round.
        assert_eq!(taken(&json!({ "StartAt": "A", "States": {} }), Wake::Nothing), None);
        let round = json!({ "StartAt": "A", "States": { "A": { "Type": "Pass", "Next": "A" } } });
        assert_eq!(taken(&round, Wake::Nothing), None);
    }
}
