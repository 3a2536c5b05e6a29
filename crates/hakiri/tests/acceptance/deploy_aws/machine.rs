//! What linters of state machines miss: states that nothing leads to, paths that are not there in what the function really
//! answers, the names of services, and places that were not filled.
//!
//! The machine is walked over the recorded answers of the function, each in every place where it may come: every path is
//! read, and what is not there is a problem.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// The answers of each operation.
const ANSWERS: &str = include_str!("answers.json");
/// The services that a state may call, and what each answers where the machine does not look into it.
const SERVICES: [&str; 3] = [LAMBDA, FARGATE, EXECUTION];
pub const LAMBDA: &str = "arn:aws:states:::lambda:invoke";
pub const FARGATE: &str = "arn:aws:states:::ecs:runTask.sync";
pub const EXECUTION: &str = "arn:aws:states:::states:startExecution";
/// The function's longest call, in seconds: what waits for it has to wait longer.
const LONGEST: u64 = 900;
/// What else the function may end with, and where the machine has to go on then.
const FENCED: &str = "Hakiri.Fenced";
const TRANSIENT: [&str; 11] = [
    "Hakiri.Transient",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Runtime.Unknown",
    "Sandbox.Timedout",
    "States.Timeout",
];

/// What an orchestrator does: the operation (or all steps), its answer, and what is called then.
const OBEYED: [(&str, &str, &str); 15] = [
    ("begin", "steps", "steps"),
    ("begin", "commit", "commit"),
    ("begin", "wait", "begin"),
    ("begin", "follow", "another execution"),
    ("begin", "nothing", "end"),
    ("step", "done", "end"),
    ("step", "fail", "end"),
    ("step", "again", "step"),
    ("step", "wait", "step"),
    ("steps", "more", "hand_over"),
    ("steps", "no more", "commit"),
    ("hand_over", "begin", "another execution"),
    ("commit", "begin", "begin"),
    ("commit", "wait", "commit"),
    ("commit", "nothing", "end"),
];

/// A definition with its substitutions, as the service has it.
pub fn substituted(text: &str, substitutions: &BTreeMap<String, String>) -> String {
    substitutions.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

/// Everything that is wrong with a definition.
pub fn problems(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for sign in ["${", "{{", "}}}}"] {
        if text.contains(sign) {
            out.push(format!("`{sign}` is left in the definition"));
        }
    }
    let definition: Value = match serde_json::from_str(text) {
        Ok(definition) => definition,
        Err(e) => return vec![e.to_string()],
    };
    if definition["TimeoutSeconds"].as_u64().is_none() {
        out.push("the machine has no TimeoutSeconds".to_owned());
    }
    structure(&definition, "the machine", &mut out);
    if out.is_empty() {
        let mut walk = Walk { answers: serde_json::from_str(ANSWERS).unwrap(), ..Walk::default() };
        for compute in ["lambda", "fargate"] {
            let input = json!({ "pipeline": "api", "wake": "2026-11-28T15:00:00Z", "compute": compute });
            walk.scope(&definition, input, &context());
        }
        for name in states(&definition) {
            if !walk.entered.contains(&name) && !name.starts_with("Unknown") {
                walk.problems.insert(format!("{name} is never entered"));
            }
        }
        out.extend(walk.problems);
    }
    out
}

/// All names of states, those of inner machines too.
fn states(scope: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for (name, state) in scope["States"].as_object().into_iter().flatten() {
        out.push(name.clone());
        out.extend(states(&state["ItemProcessor"]));
    }
    out
}

/// Where a state leads to.
fn leads(state: &Value) -> Vec<&str> {
    let one = ["Next", "Default"].into_iter().filter_map(|key| state[key].as_str());
    let many = ["Choices", "Catch"].into_iter().flat_map(|key| state[key].as_array().into_iter().flatten());
    one.chain(many.filter_map(|item| item["Next"].as_str())).collect()
}

fn structure(scope: &Value, of: &str, out: &mut Vec<String>) {
    let Some(states) = scope["States"].as_object() else { return out.push(format!("{of} has no states")) };
    let mut reached = BTreeSet::new();
    let mut next = vec![scope["StartAt"].as_str().unwrap_or_default()];
    while let Some(name) = next.pop() {
        match states.get(name) {
            None => out.push(format!("{of} leads to `{name}`, which is not there")),
            Some(state) if reached.insert(name) => next.extend(leads(state)),
            Some(_) => {}
        }
    }
    for (name, state) in states {
        if !reached.contains(name.as_str()) {
            out.push(format!("nothing leads to {name}"));
        }
        let kind = state["Type"].as_str().unwrap_or_default();
        let ends = [state.get("Next").is_some(), state["End"] == true].into_iter().filter(|e| *e).count();
        let expected = usize::from(!["Choice", "Succeed", "Fail"].contains(&kind));
        if ends != expected {
            out.push(format!("{name} has {ends} of Next and End"));
        }
        if kind == "Choice" && state.get("Default").is_none() {
            out.push(format!("{name} has no Default"));
        }
        if kind == "Task" {
            task(name, state, out);
        }
        if kind == "Map" {
            structure(&state["ItemProcessor"], name, out);
        }
    }
}

fn task(name: &str, state: &Value, out: &mut Vec<String>) {
    let resource = state["Resource"].as_str().unwrap_or_default();
    if !SERVICES.contains(&resource) {
        out.push(format!("{name} calls `{resource}`"));
    }
    let timeout = state["TimeoutSeconds"].as_u64().unwrap_or_default();
    if timeout == 0 || (resource == LAMBDA && timeout <= LONGEST) {
        out.push(format!("{name} waits {timeout} seconds"));
    }
    let named = |key: &str| -> BTreeSet<&str> {
        let items = state[key].as_array().into_iter().flatten();
        items.flat_map(|item| item["ErrorEquals"].as_array().into_iter().flatten()).filter_map(Value::as_str).collect()
    };
    if named("Retry").is_empty() {
        out.push(format!("{name} is not tried again"));
    }
    if resource == LAMBDA {
        let (retried, caught) = (named("Retry"), named("Catch"));
        for error in TRANSIENT.iter().filter(|error| !retried.contains(**error)) {
            out.push(format!("{name} is not tried again after {error}"));
        }
        if !caught.contains(FENCED) {
            out.push(format!("{name} does not end well when another execution has taken over"));
        }
        if retried.contains("Hakiri.Permanent") || caught.contains("Hakiri.Permanent") || caught.contains("States.ALL")
        {
            out.push(format!("{name} hides what is permanent"));
        }
    }
}

fn context() -> Value {
    json!({
        "Execution": { "Id": "arn:aws:states:eu-central-1:123456789012:execution:hakiri-shop:x" },
        "StateMachine": { "Id": "arn:aws:states:eu-central-1:123456789012:stateMachine:hakiri-shop" },
    })
}

#[derive(Default)]
struct Walk {
    answers: BTreeMap<String, Vec<Value>>,
    entered: BTreeSet<String>,
    seen: BTreeSet<String>,
    problems: BTreeSet<String>,
}

impl Walk {
    /// Walks every way through a machine.
    fn scope(&mut self, scope: &Value, input: Value, context: &Value) {
        let mut next = vec![(scope["StartAt"].as_str().unwrap().to_owned(), input)];
        while let Some((name, data)) = next.pop() {
            if self.seen.insert(format!("{name} {data}")) {
                self.entered.insert(name.clone());
                let state = &scope["States"][&name];
                let ways = self.state(&name, state, &data, context);
                self.calls(&name, scope, state, &ways, context);
                next.extend(ways);
            }
        }
    }

    /// Whether what is called next is what each answer says.
    fn calls(&mut self, name: &str, scope: &Value, state: &Value, ways: &[(String, Value)], context: &Value) {
        let answered = match state["Type"].as_str().unwrap() {
            "Map" => "steps",
            "Task" if state["Resource"] == LAMBDA => state["Parameters"]["Payload"]["op"].as_str().unwrap_or_default(),
            _ => return,
        };
        // What is caught comes last: the end, whatever was asked.
        let caught = state["Catch"].as_array().map_or(0, Vec::len);
        let (answers, caught) = ways.split_at(ways.len() - caught);
        for (next, data) in answers {
            let answer = match answered {
                "begin" => data["begin"]["answer"]["next"].as_str(),
                "commit" => data["commit"]["answer"]["next"].as_str(),
                "step" => data["result"]["answer"]["next"].as_str(),
                "steps" => Some(if data["begin"]["answer"]["more"] == true { "more" } else { "no more" }),
                _ => Some("begin"),
            };
            let answer = answer.unwrap_or_default();
            let expected = OBEYED.iter().find(|(op, said, _)| (*op, *said) == (answered, answer)).map(|row| row.2);
            let called = self.next_call(scope, next, data, context);
            if expected != Some(called.as_str()) {
                self.problems.insert(format!("{name}: after `{answer}` of {answered} comes {called}"));
            }
        }
        for (next, data) in caught {
            let called = self.next_call(scope, next, data, context);
            if called != "end" {
                self.problems.insert(format!("{name}: after another has taken over comes {called}"));
            }
        }
    }

    /// What is called from a state on.
    fn next_call(&mut self, scope: &Value, name: &str, data: &Value, context: &Value) -> String {
        let state = &scope["States"][name];
        let ends = state["End"] == true || ["Succeed", "Fail"].iter().any(|kind| state["Type"] == *kind);
        match state["Type"].as_str().unwrap() {
            "Task" => state["Parameters"]["Payload"]["op"].as_str().unwrap_or("another execution").to_owned(),
            "Map" => "steps".to_owned(),
            _ if ends => "end".to_owned(),
            _ => {
                let ways = self.state(name, state, data, context);
                ways.first().map(|(next, data)| self.next_call(scope, next, data, context)).unwrap_or_default()
            }
        }
    }

    /// Where a state leads to with some data, and with which.
    fn state(&mut self, name: &str, state: &Value, data: &Value, context: &Value) -> Vec<(String, Value)> {
        let to = |data: Value| state["Next"].as_str().map(|next| (next.to_owned(), data));
        match state["Type"].as_str().unwrap() {
            "Pass" => to(placed(state, data, state["Result"].clone())).into_iter().collect(),
            "Wait" => {
                let seconds = self.read(name, state["SecondsPath"].as_str().unwrap_or_default(), data, context);
                if !seconds.is_u64() {
                    self.problems.insert(format!("{name} waits for {seconds}"));
                }
                to(data.clone()).into_iter().collect()
            }
            "Choice" => self.choice(name, state, data, context),
            "Task" => {
                let parameters = self.filled(name, &state["Parameters"], data, context);
                let mut out = Vec::new();
                for answer in self.results(name, state, &parameters) {
                    let result = match state.get("ResultSelector") {
                        Some(selector) => self.filled(name, selector, &answer, context),
                        None => answer,
                    };
                    out.extend(to(placed(state, data, result)));
                }
                for catch in state["Catch"].as_array().into_iter().flatten() {
                    let caught = json!({ "Error": "x", "Cause": "y" });
                    out.push((catch["Next"].as_str().unwrap().to_owned(), placed(catch, data, caught)));
                }
                out
            }
            "Map" => {
                let items = self.read(name, state["ItemsPath"].as_str().unwrap_or("$"), data, context);
                let at_once = self.read(name, state["MaxConcurrencyPath"].as_str().unwrap_or_default(), data, context);
                if !items.is_array() || !at_once.is_u64() {
                    self.problems.insert(format!("{name} goes over {items}, {at_once} at once"));
                }
                for item in items.as_array().into_iter().flatten() {
                    let mut context = context.clone();
                    context["Map"] = json!({ "Item": { "Index": 0, "Value": item } });
                    let input = self.filled(name, &state["ItemSelector"], data, &context);
                    self.scope(&state["ItemProcessor"], input, &context);
                }
                to(placed(state, data, json!([]))).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn choice(&mut self, name: &str, state: &Value, data: &Value, context: &Value) -> Vec<(String, Value)> {
        for choice in state["Choices"].as_array().into_iter().flatten() {
            let value = self.read(name, choice["Variable"].as_str().unwrap_or_default(), data, context);
            let wanted = choice.get("StringEquals").or(choice.get("BooleanEquals"));
            if wanted == Some(&value) {
                return vec![(choice["Next"].as_str().unwrap().to_owned(), data.clone())];
            }
        }
        let default = state["Default"].as_str().unwrap();
        if default.starts_with("Unknown") {
            self.problems.insert(format!("{name} does not know an answer: {data}"));
        }
        vec![(default.to_owned(), data.clone())]
    }

    /// What a call may answer.
    fn results(&mut self, name: &str, state: &Value, parameters: &Value) -> Vec<Value> {
        match state["Resource"].as_str().unwrap() {
            LAMBDA => {
                let op = parameters["Payload"]["op"].as_str().unwrap_or_default();
                let answers = self.answers.get(op).cloned().unwrap_or_default();
                if answers.is_empty() {
                    self.problems.insert(format!("{name} asks for `{op}`"));
                }
                let expected: &[&str] = match op {
                    "begin" => &["op", "pipeline", "spent", "wake"],
                    "step" => &["epoch", "op", "pipeline", "run", "step"],
                    _ => &["epoch", "op", "pipeline", "run"],
                };
                let given: Vec<&String> =
                    parameters["Payload"].as_object().into_iter().flatten().map(|p| p.0).collect();
                if given.iter().map(|g| g.as_str()).collect::<BTreeSet<_>>() != expected.iter().copied().collect() {
                    self.problems.insert(format!("{name} sends {given:?}"));
                }
                answers.into_iter().map(|answer| json!({ "StatusCode": 200, "Payload": answer })).collect()
            }
            FARGATE => {
                let command = &parameters["Overrides"]["ContainerOverrides"][0]["Command"];
                let words: Vec<&str> = command.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                if !words.ends_with(&["--wake", "2026-11-28T15:00:00Z", "api"]) || !words.contains(&"--orchestrated") {
                    self.problems.insert(format!("{name} runs {command}"));
                }
                vec![json!({ "TaskArn": "x" })]
            }
            _ => {
                if parameters["Input"]["pipeline"] != "api" || parameters["Input"]["wake"].as_str().is_none() {
                    self.problems.insert(format!("{name} goes on with {parameters}"));
                }
                vec![json!({ "ExecutionArn": "x" })]
            }
        }
    }

    /// The value of a path. Nothing there is a problem: the service ends the execution.
    fn read(&mut self, name: &str, path: &str, data: &Value, context: &Value) -> Value {
        let (root, rest) = match path.strip_prefix("$$") {
            Some(rest) => (context, rest),
            None => (data, path.strip_prefix('$').unwrap_or("?")),
        };
        let pointer = rest.replace('.', "/");
        match root.pointer(&pointer) {
            Some(value) => value.clone(),
            None => {
                self.problems.insert(format!("{name} reads {path}, which is not there"));
                Value::Null
            }
        }
    }

    /// A template of parameters, filled.
    fn filled(&mut self, name: &str, template: &Value, data: &Value, context: &Value) -> Value {
        match template {
            Value::Object(map) => {
                let mut out = serde_json::Map::new();
                for (key, value) in map {
                    let (key, value) = match (key.strip_suffix(".$"), value.as_str()) {
                        (Some(key), Some(path)) => (key, self.expression(name, path, data, context)),
                        _ => (key.as_str(), self.filled(name, value, data, context)),
                    };
                    out.insert(key.to_owned(), value);
                }
                Value::Object(out)
            }
            Value::Array(items) => items.iter().map(|item| self.filled(name, item, data, context)).collect(),
            other => {
                if other.as_str().is_some_and(|text| text.starts_with("$.") || text.starts_with("$$.")) {
                    self.problems.insert(format!("{name} has the path {other} as a text"));
                }
                other.clone()
            }
        }
    }

    /// A path, or a list of texts and paths.
    fn expression(&mut self, name: &str, text: &str, data: &Value, context: &Value) -> Value {
        let Some(list) = text.strip_prefix("States.Array(").and_then(|t| t.strip_suffix(')')) else {
            return self.read(name, text, data, context);
        };
        let words = list.split(", ").map(|word| match word.strip_prefix('\'').and_then(|w| w.strip_suffix('\'')) {
            Some(word) => json!(word),
            None => self.read(name, word, data, context),
        });
        words.collect::<Vec<_>>().into()
    }
}

/// The data of a state with its result where `ResultPath` says.
fn placed(state: &Value, data: &Value, result: Value) -> Value {
    match state.get("ResultPath") {
        Some(Value::Null) => data.clone(),
        Some(path) => {
            let key = path.as_str().and_then(|p| p.strip_prefix("$.")).unwrap();
            let mut data = data.clone();
            data[key] = result;
            data
        }
        None => result,
    }
}
