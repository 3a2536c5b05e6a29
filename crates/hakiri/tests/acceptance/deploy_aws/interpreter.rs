//! The machine on an interpreter that is not the stand-in's: it obeys how many steps run at once, and reads paths strictly.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::lint::tools;
use super::{DIR, by_the_hour, machine, read};
use crate::support::{Project, text};

/// What came of a machine with these answers.
fn run(definition: &Path, compute: &str, answers: &Value) -> Value {
    let node = std::env::var("HAKIRI_TEST_NODE").expect("HAKIRI_TEST_NODE is not set: run the tests with ./x test");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/acceptance/deploy_aws/interpreter.mjs");
    let input = json!({ "pipeline": "api", "wake": "2026-11-28T15:00:00Z", "compute": compute });
    let mut command = Command::new(format!("{node}/node_modules/.bin/node"));
    command.arg(script).arg(tools()).arg(definition).arg(json!({ "input": input, "answers": answers }).to_string());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn another_interpreter_goes_the_same_ways() {
    let project = Project::new(&by_the_hour("${SHOP_DATABASE}"));
    project.hakiri(&["deploy", "aws"]).expect(0);
    let definition = text(&project, "deploy/aws/hakiri.asl.json");
    let substituted = machine::substituted(&definition, &read::substitutions(&read::of(&project, DIR)));
    project.write("machine.json", &substituted);
    let definition = project.path().join("machine.json");

    let steps = |steps: &[u32], more: bool| json!({ "next": "steps", "run": "r", "epoch": 1, "steps": steps, "more": more, "concurrency": 2, "spent": 100 });
    let (done, nothing) = (json!([{ "next": "done" }]), json!({ "next": "nothing", "spent": 100 }));
    let wait = json!({ "next": "wait", "seconds": 1, "spent": 20 });

    // A lease that is held, steps that wait, go on, are tried again and are another's, a commit in two, and the end.
    let ran = run(
        &definition,
        "lambda",
        &json!({
            "begin": [wait, steps(&[0, 1, 2, 3], false), nothing],
            "step 0": [{ "next": "wait", "seconds": 1 }, { "next": "done" }],
            "step 1": ["Hakiri.Transient", "Runtime.ExitError", { "next": "fail", "code": "HK0702" }],
            "step 2": [{ "next": "again" }, { "next": "done" }],
            "step 3": ["Hakiri.Fenced"],
            "commit": [{ "next": "wait", "seconds": 1 }, { "next": "begin" }],
        }),
    );
    assert_eq!((&ran["ended"], &ran["most"]), (&json!("succeeded"), &json!(2)), "{ran}");
    let called = |name: &str| ran["calls"].as_array().unwrap().iter().filter(|call| *call == name).count();
    let times = ["begin", "step 0", "step 1", "step 2", "step 3", "commit"].map(called);
    assert_eq!(times, [3, 2, 3, 2, 1, 2], "{ran}");

    // More than a window: the lease is given back, and another execution has the same input.
    let ran = run(
        &definition,
        "lambda",
        &json!({
            "begin": [steps(&[0], true)], "step 0": done, "hand_over": [{ "next": "begin" }],
        }),
    );
    assert_eq!(ran["calls"], json!(["begin", "step 0", "hand_over"]));
    let expected = json!([{ "StateMachineArn": "the-machine", "Input": {
        "pipeline": "api", "wake": "2026-11-28T15:00:00Z", "compute": "lambda",
        "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": "the-execution",
    } }]);
    assert_eq!(ran["others"], expected);
    let ran = run(&definition, "lambda", &json!({ "begin": [{ "next": "follow" }] }));
    assert_eq!((&ran["ended"], ran["others"].as_array().unwrap().len()), (&json!("succeeded"), 1), "{ran}");

    // What is permanent ends in failure, at once, as does what is never over, and what nobody knows.
    for (answer, ended, calls) in [
        (json!("Hakiri.Permanent"), "Hakiri.Permanent", 1),
        (json!("Hakiri.Transient"), "Hakiri.Transient", 9),
        (json!("Hakiri.Fenced"), "succeeded", 1),
        (json!({ "next": "dance", "spent": 0 }), "Hakiri.Answer", 1),
    ] {
        let ran = run(&definition, "lambda", &json!({ "begin": [answer] }));
        assert_eq!((ran["ended"].as_str(), ran["calls"].as_array().unwrap().len()), (Some(ended), calls), "{ran}");
    }

    // A task is given its command.
    let ran = run(&definition, "fargate", &json!({}));
    assert_eq!(ran["ended"], "succeeded");
    let command = ran["others"][0]["Overrides"]["ContainerOverrides"][0]["Command"].as_array().unwrap().clone();
    let words: Vec<&str> = command.iter().map(|word| word.as_str().unwrap()).collect();
    let expected = "-C /project --log-format json --memory 1024MiB run --due --orchestrated --catalog the-Catalog --store \
                    the-Store --wake 2026-11-28T15:00:00Z api";
    assert_eq!(words.join(" "), expected);
}
