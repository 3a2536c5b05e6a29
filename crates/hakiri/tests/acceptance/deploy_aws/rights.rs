//! Each permission is there for a call that is made, and each call that is made has its permission, on what it is made to and
//! on nothing else (G5).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::machine::{EXECUTION, FARGATE, LAMBDA};
use super::read::all;

/// An action, and what it is done to: `Table.Arn` for an attribute, `Machine` for a `!Ref`, the text of a `!Sub`, and behind ` if ` the keys of the
/// conditions.
pub type Right = (String, String);
pub type Rights<'t> = BTreeMap<&'t str, BTreeSet<Right>>;

/// What each role is granted.
pub fn granted(template: &Value) -> Rights<'_> {
    let roles = all(template, "AWS::IAM::Role").into_iter();
    let of = |role: &Value| {
        let policies = role["Policies"].as_array().into_iter().flatten();
        policies.flat_map(|p| p["PolicyDocument"]["Statement"].as_array().unwrap()).flat_map(of_statement).collect()
    };
    roles.map(|(id, role)| (id, of(role))).collect()
}

fn of_statement(statement: &Value) -> Vec<Right> {
    for key in statement.as_object().unwrap().keys() {
        assert!(["Effect", "Action", "Resource", "Condition"].contains(&key.as_str()), "{statement}");
    }
    assert_eq!(statement["Effect"], "Allow");
    let each = |value: &Value| match value {
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    let conditions = statement["Condition"].as_object().into_iter().flat_map(|all| all.values());
    let keys: Vec<&str> = conditions.flat_map(|c| c.as_object().unwrap().keys()).map(String::as_str).collect();
    let condition = if keys.is_empty() { String::new() } else { format!(" if {}", keys.join(" and ")) };
    let resources: Vec<String> = each(&statement["Resource"]).iter().map(|r| named(r) + &condition).collect();
    let pairs = each(&statement["Action"]).into_iter().flat_map(|action| {
        resources.clone().into_iter().map(move |resource| (action.as_str().unwrap().to_owned(), resource))
    });
    pairs.collect()
}

/// A value of a template, in short.
fn named(value: &Value) -> String {
    match (value.as_str(), value["Fn::Sub"].as_str(), value["Fn::GetAtt"].as_array()) {
        (Some(text), ..) | (_, Some(text), _) => text.to_owned(),
        (.., Some(parts)) => format!("{}.{}", parts[0].as_str().unwrap(), parts[1].as_str().unwrap()),
        _ => value["Ref"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned(),
    }
}

/// The actions alone.
pub fn actions(rights: &BTreeSet<Right>) -> BTreeSet<&str> {
    rights.iter().map(|(action, _)| action.as_str()).collect()
}

const ACCOUNT: &str = "${AWS::Region}:${AWS::AccountId}";

/// What each role has to be granted, worked out from what is called, and from the manifest where files are read.
pub fn used<'t>(template: &'t Value, machine: &Value, manifest: &str) -> Rights<'t> {
    let mut out: Rights<'_> = BTreeMap::new();
    let mut add = |role, resource: &str, actions: &[&str]| {
        out.entry(role).or_default().extend(actions.iter().map(|a| ((*a).to_owned(), resource.to_owned())));
    };
    let machines = all(template, "AWS::StepFunctions::StateMachine");
    let name = machines["Machine"]["StateMachineName"].as_str().unwrap();
    let at = |service: &str, rest: &str| format!("arn:${{AWS::Partition}}:{service}:{ACCOUNT}:{rest}");
    let text = template.to_string();
    let key = text.find("arn:aws:kms:").map(|start| text[start..].split('"').next().unwrap().to_owned());
    let key = key.map(|key| format!("{key} if kms:ViaService"));
    // Scheduler: it starts the machine, and sends what it could not deliver.
    for schedule in all(template, "AWS::Scheduler::Schedule").values() {
        assert_eq!(
            (&schedule["Target"]["Arn"]["Ref"], schedule["Target"]["DeadLetterConfig"].is_object()),
            (&"Machine".into(), true)
        );
        add("ScheduleRole", "Machine", &["states:StartExecution"]);
        add("ScheduleRole", "DeadLetters.Arn", &["sqs:SendMessage"]);
        if let Some(key) = &key {
            add("ScheduleRole", key, &["kms:Decrypt", "kms:GenerateDataKey"]);
        }
    }
    // The machine: its states, and its log.
    for state in tasks(machine) {
        match state["Resource"].as_str().unwrap() {
            LAMBDA => add("MachineRole", "Function.Arn", &["lambda:InvokeFunction"]),
            EXECUTION => {
                add("MachineRole", &at("states", &format!("stateMachine:{name}")), &["states:StartExecution"]);
            }
            FARGATE => {
                for revision in ["", ":*"] {
                    let family = at("ecs", &format!("task-definition/{name}{revision}"));
                    add("MachineRole", &format!("{family} if ecs:cluster"), &["ecs:RunTask"]);
                }
                let started = at("ecs", &format!("task/{name}/*"));
                add("MachineRole", &started, &["ecs:DescribeTasks", "ecs:StopTask"]);
                for role in ["TaskRole", "StartRole"] {
                    add("MachineRole", &format!("{role}.Arn if iam:PassedToService"), &["iam:PassRole"]);
                }
                let rule = at("events", "rule/StepFunctionsGetEventsForECSTaskRule");
                add("MachineRole", &rule, &["events:DescribeRule", "events:PutRule", "events:PutTargets"]);
                if state["Parameters"].get("PropagateTags").is_some() {
                    add("MachineRole", &format!("{started} if ecs:CreateAction"), &["ecs:TagResource"]);
                }
            }
            other => add("MachineRole", other, &["a call that there is not"]),
        }
    }
    // Deliveries of logs have no names.
    add(
        "MachineRole",
        "*",
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
    let process = Process { project: "test", key: key.as_deref(), manifest };
    for function in all(template, "AWS::Lambda::Function").values() {
        add("FunctionRole", "FunctionLogs.Arn", &["logs:CreateLogStream", "logs:PutLogEvents"]);
        let environment = function["Environment"]["Variables"].as_object().unwrap();
        let told: BTreeMap<&str, String> = environment.iter().map(|(k, v)| (k.as_str(), named(v))).collect();
        process.rights(&told, &mut |resource, actions| add("FunctionRole", resource, actions));
    }
    for task in all(template, "AWS::ECS::TaskDefinition").values() {
        let container = &task["ContainerDefinitions"][0];
        // Whoever may log in to the registry is told by no name.
        add("StartRole", "*", &["ecr:GetAuthorizationToken"]);
        let image = at("ecr", &format!("repository/{name}"));
        add("StartRole", &image, &["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]);
        assert_eq!(container["LogConfiguration"]["LogDriver"], "awslogs");
        add("StartRole", "TaskLogs.Arn", &["logs:CreateLogStream", "logs:PutLogEvents"]);
        let environment = container["Environment"].as_array().into_iter().flatten();
        let mut told: BTreeMap<&str, String> =
            environment.map(|e| (e["Name"].as_str().unwrap(), named(&e["Value"]))).collect();
        let substitutions = &machines["Machine"]["DefinitionSubstitutions"];
        told.insert("HAKIRI_CATALOG", named(&substitutions["Catalog"]));
        told.insert("HAKIRI_STORE", named(&substitutions["Store"]));
        process.rights(&told, &mut |resource, actions| add("TaskRole", resource, actions));
    }
    out
}

/// What is known of the binary that runs pipelines.
struct Process<'a> {
    project: &'a str,
    key: Option<&'a str>,
    manifest: &'a str,
}

impl Process<'_> {
    /// What it calls, by what it is told.
    fn rights(&self, told: &BTreeMap<&str, String>, add: &mut dyn FnMut(&str, &[&str])) {
        if let Some(store) = told.get("HAKIRI_STORE") {
            // The engine's store: `get`, `put`, `delete`, `list`, and the answer to what is not there.
            let objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"];
            let place = store.strip_prefix("s3://").unwrap();
            if place == "${Bucket}" {
                add(&format!("${{Bucket.Arn}}/{}/*", self.project), &objects);
                add("Bucket.Arn", &["s3:ListBucket"]);
            } else {
                add(&format!("arn:${{AWS::Partition}}:s3:::{place}/{}/*", self.project), &objects);
                let bucket = place.split('/').next().unwrap();
                add(&format!("arn:${{AWS::Partition}}:s3:::{bucket}"), &["s3:ListBucket"]);
            }
            for read in self.manifest.split("path = \"s3://").skip(1).filter_map(|rest| rest.split('"').next()) {
                let (read, is_source) = (read.split('*').next().unwrap(), read.contains('*'));
                // The one that is none is the store that is for elsewhere.
                if is_source {
                    add(&format!("arn:${{AWS::Partition}}:s3:::{read}*"), &["s3:GetObject"]);
                    let bucket = read.split('/').next().unwrap();
                    add(&format!("arn:${{AWS::Partition}}:s3:::{bucket}"), &["s3:ListBucket"]);
                }
            }
        }
        if let Some(secret) = told.get("HAKIRI_SECRETS") {
            add(secret, &["secretsmanager:GetSecretValue"]);
        }
        match told.get("HAKIRI_CATALOG").map(String::as_str) {
            Some(catalog) if catalog.contains("dynamodb://") => {
                let actions = actions_of_the_adapter();
                assert_eq!(catalog, "dynamodb://${Table}");
                add("Table.Arn", &actions.iter().map(String::as_str).collect::<Vec<_>>());
            }
            Some(catalog) if catalog.contains("auth=rds-iam") => {
                assert!(catalog.contains("://hakiri@") && catalog.contains("admin=${DatabaseSecret.Id}"), "{catalog}");
                let user = "dbuser:${Database.DbiResourceId}/hakiri";
                add(&format!("arn:${{AWS::Partition}}:rds-db:{ACCOUNT}:{user}"), &["rds-db:connect"]);
                add("DatabaseSecret.Id", &["secretsmanager:GetSecretValue"]);
            }
            Some(catalog) => {
                let secret = catalog.strip_prefix("rds-secret:").unwrap_or_else(|| panic!("{catalog}"));
                add(secret.split('?').next().unwrap(), &["secretsmanager:GetSecretValue"]);
            }
            None => {}
        }
        if let Some(key) = self.key {
            add(key, &["kms:Decrypt", "kms:GenerateDataKey"]);
        }
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
