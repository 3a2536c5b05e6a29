//! Each permission is there for a call that is made, and each call that is made has its permission (G5).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::machine::{EXECUTION, FARGATE, LAMBDA};
use super::read::all;

/// What each role is granted.
pub fn granted(template: &Value) -> BTreeMap<&str, BTreeSet<String>> {
    let roles = all(template, "AWS::IAM::Role").into_iter();
    roles
        .map(|(id, role)| {
            let policies = role["Policies"].as_array().into_iter().flatten();
            let statements = policies.flat_map(|p| p["PolicyDocument"]["Statement"].as_array().unwrap());
            let actions = statements.flat_map(|statement| match &statement["Action"] {
                Value::Array(items) => items.iter().map(|a| a.as_str().unwrap().to_owned()).collect(),
                one => vec![one.as_str().unwrap().to_owned()],
            });
            (id, actions.collect())
        })
        .collect()
}

/// What each role has to be granted, worked out from what is called.
pub fn used<'t>(template: &'t Value, machine: &Value) -> BTreeMap<&'t str, BTreeSet<String>> {
    let mut out: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut add = |role, actions: &[&str]| {
        out.entry(role).or_default().extend(actions.iter().map(|a| (*a).to_owned()));
    };
    let has_key = template.to_string().contains("arn:aws:kms:");
    // Scheduler: it starts the machine, and sends what it could not deliver.
    for schedule in all(template, "AWS::Scheduler::Schedule").values() {
        assert_eq!(
            (&schedule["Target"]["Arn"]["Ref"], schedule["Target"]["DeadLetterConfig"].is_object()),
            (&"Machine".into(), true)
        );
        add("ScheduleRole", &["states:StartExecution", "sqs:SendMessage"]);
        if has_key {
            add("ScheduleRole", &["kms:Decrypt", "kms:GenerateDataKey"]);
        }
    }
    // The machine: its states, and its log.
    for state in tasks(machine) {
        add(
            "MachineRole",
            match state["Resource"].as_str().unwrap() {
                LAMBDA => &["lambda:InvokeFunction"],
                EXECUTION => &["states:StartExecution"],
                FARGATE => &[
                    "ecs:RunTask",
                    "ecs:DescribeTasks",
                    "ecs:StopTask",
                    "iam:PassRole",
                    "events:DescribeRule",
                    "events:PutRule",
                    "events:PutTargets",
                ],
                _ => &["a call that there is not"],
            },
        );
        if state["Parameters"].get("PropagateTags").is_some() {
            add("MachineRole", &["ecs:TagResource"]);
        }
    }
    add(
        "MachineRole",
        &[
            "logs:CreateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
            "logs:GetLogDelivery",
            "logs:ListLogDeliveries",
            "logs:PutResourcePolicy",
            "logs:UpdateLogDelivery",
        ],
    );
    for function in all(template, "AWS::Lambda::Function").values() {
        add("FunctionRole", &["logs:CreateLogStream", "logs:PutLogEvents"]);
        let environment = function["Environment"]["Variables"].as_object().unwrap();
        let told: BTreeMap<&str, String> = environment.iter().map(|(k, v)| (k.as_str(), v.to_string())).collect();
        process(&told, has_key, &mut |actions| add("FunctionRole", actions));
    }
    for task in all(template, "AWS::ECS::TaskDefinition").values() {
        let container = &task["ContainerDefinitions"][0];
        add("StartRole", &["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]);
        assert_eq!(container["LogConfiguration"]["LogDriver"], "awslogs");
        add("StartRole", &["logs:CreateLogStream", "logs:PutLogEvents"]);
        let environment = container["Environment"].as_array().into_iter().flatten();
        let mut told: BTreeMap<&str, String> =
            environment.map(|e| (e["Name"].as_str().unwrap(), e["Value"].to_string())).collect();
        let substitutions = &all(template, "AWS::StepFunctions::StateMachine")["Machine"]["DefinitionSubstitutions"];
        told.insert("HAKIRI_CATALOG", substitutions["Catalog"].to_string());
        told.insert("HAKIRI_STORE", substitutions["Store"].to_string());
        process(&told, has_key, &mut |actions| add("TaskRole", actions));
    }
    out
}

/// What the binary calls, by what it is told.
fn process(told: &BTreeMap<&str, String>, has_key: bool, add: &mut dyn FnMut(&[&str])) {
    if told.contains_key("HAKIRI_STORE") {
        // The engine's store: `get`, `put`, `delete`, `list`, and the answer to what is not there.
        add(&["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"]);
    }
    if told.contains_key("HAKIRI_SECRETS") {
        add(&["secretsmanager:GetSecretValue"]);
    }
    match told.get("HAKIRI_CATALOG").map(String::as_str) {
        Some(catalog) if catalog.contains("dynamodb://") => {
            let actions = actions_of_the_adapter();
            add(&actions.iter().map(String::as_str).collect::<Vec<_>>());
        }
        Some(catalog) if catalog.contains("auth=rds-iam") => {
            assert!(catalog.contains("admin=${DatabaseSecret.Id}"), "{catalog}");
            add(&["rds-db:connect", "secretsmanager:GetSecretValue"]);
        }
        Some(catalog) => {
            assert!(catalog.contains("rds-secret:"), "{catalog}");
            add(&["secretsmanager:GetSecretValue"]);
        }
        None => {}
    }
    if has_key {
        add(&["kms:Decrypt", "kms:GenerateDataKey"]);
    }
}

/// What the adapter's source calls: operations of its own, and what its transactions are made of.
fn actions_of_the_adapter() -> BTreeSet<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hakiri-catalog/src/dynamodb");
    let mut out = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        let product = text.split("#[cfg(test)]").next().unwrap();
        for call in
            ["GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "DeleteItem", "Scan", "BatchWriteItem"]
        {
            if product.contains(&format!("read(\"{call}\"")) || product.contains(&format!("write(\"{call}\"")) {
                out.insert(format!("dynamodb:{call}"));
            }
        }
        for (part, action) in [
            ("Put", "PutItem"),
            ("Update", "UpdateItem"),
            ("Delete", "DeleteItem"),
            ("ConditionCheck", "ConditionCheckItem"),
            ("Get", "GetItem"),
        ] {
            if product.contains(&format!("json!({{ \"{part}\": ")) {
                out.insert(format!("dynamodb:{action}"));
            }
        }
    }
    out
}

/// All states that call something.
fn tasks(scope: &Value) -> Vec<&Value> {
    let states = scope["States"].as_object().into_iter().flatten();
    states
        .flat_map(|(_, state)| {
            let inner = tasks(&state["ItemProcessor"]);
            std::iter::once(state).filter(|s| s["Type"] == "Task").chain(inner).collect::<Vec<_>>()
        })
        .collect()
}
