//! How many transitions of the state machine a wake takes, which is what Step Functions is paid for: counted on the
//! generated definition itself, so that the cost follows whatever becomes of the machine.
//!
//! It is no interpreter: tasks are not run. The answers of the function are given, all goes well, and each state that is
//! entered counts once, as do those of each element of a `Map`.

use serde_json::Value;

/// More states than any machine of ours enters for a wake without a fault.
const MOST: usize = 10_000;

/// What a wake finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake<'w> {
    /// Nothing is due.
    Nothing,
    /// One run of so many steps, and then nothing.
    Run { steps: usize },
    /// A task does it all.
    Task(&'w str),
}

/// The transitions of a wake; none where the definition leads nowhere.
pub(super) fn transitions(machine: &Value, wake: Wake<'_>) -> Option<usize> {
    let mut walk = Walk { wake, has_begun: false, count: 0 };
    walk.all(machine)?;
    Some(walk.count)
}

struct Walk<'w> {
    wake: Wake<'w>,
    has_begun: bool,
    count: usize,
}

impl Walk<'_> {
    fn all(&mut self, machine: &Value) -> Option<()> {
        let mut name = machine.get("StartAt")?.as_str()?;
        // What the function has answered last: all that a choice looks at, but for the input.
        let mut answer = "";
        loop {
            let state = machine.get("States")?.get(name)?;
            self.count += 1;
            if self.count > MOST {
                return None;
            }
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
    }

    fn elements(&mut self, map: &Value) -> Option<()> {
        let Wake::Run { steps } = self.wake else { return None };
        // All are alike.
        let before = self.count;
        self.all(map.get("ItemProcessor")?)?;
        self.count = before + (self.count - before) * steps;
        Some(())
    }

    fn answer(&mut self, task: &Value) -> &'static str {
        let op = task.pointer("/Parameters/Payload/op").and_then(Value::as_str).unwrap_or_default();
        match (op, self.wake) {
            ("begin", Wake::Run { .. }) if !self.has_begun => {
                self.has_begun = true;
                "steps"
            }
            ("step", _) => "done",
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
            "Steps": { "Type": "Map", "Next": "Begin", "ItemProcessor": { "StartAt": "Step", "States": {
                "Step": { "Type": "Task", "Parameters": { "Payload": { "op": "step" } }, "Next": "Over" },
                "Over": { "Type": "Pass", "End": true } } } },
            "Done": { "Type": "Succeed" },
            "Wrong": { "Type": "Fail" }
        } });
        assert_eq!(transitions(&machine, Wake::Nothing), Some(4));
        assert_eq!(transitions(&machine, Wake::Task("task")), Some(3));
        // Which, Begin, After, Steps, two of each element, Begin, After, Done.
        assert_eq!(transitions(&machine, Wake::Run { steps: 1 }), Some(9));
        assert_eq!(transitions(&machine, Wake::Run { steps: 5 }), Some(17));
        // What leads nowhere, or round and round.
        assert_eq!(transitions(&json!({ "StartAt": "A", "States": {} }), Wake::Nothing), None);
        let round = json!({ "StartAt": "A", "States": { "A": { "Type": "Pass", "Next": "A" } } });
        assert_eq!(transitions(&round, Wake::Nothing), None);
    }
}
