//! What linters of templates miss: schedules that cannot be read, data that is not kept, places that were not filled, and
//! what belongs to the account of whoever made it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::read::{self, all};

/// What holds data, and is kept when the stack goes (G4).
const DATA: [&str; 6] = [
    "AWS::DynamoDB::Table",
    "AWS::RDS::DBInstance",
    "AWS::RDS::DBSubnetGroup",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::SecretsManager::Secret",
];
/// What takes no tags, or none of its own.
const TAGLESS: [&str; 8] = [
    "AWS::EC2::Route",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::Lambda::Permission",
    "AWS::S3::BucketPolicy",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::SecretTargetAttachment",
    "AWS::IAM::Policy",
];
/// Attributes that are read of others, by type.
const ATTRIBUTES: [(&str, &[&str]); 14] = [
    ("AWS::CloudWatch::Alarm", &["Arn"]),
    ("AWS::DynamoDB::Table", &["Arn"]),
    ("AWS::ECS::Cluster", &["Arn"]),
    ("AWS::IAM::Role", &["Arn"]),
    ("AWS::Lambda::Function", &["Arn"]),
    ("AWS::Logs::LogGroup", &["Arn"]),
    ("AWS::RDS::DBInstance", &["DbiResourceId", "Endpoint.Address", "Endpoint.Port"]),
    ("AWS::S3::Bucket", &["Arn"]),
    ("AWS::SQS::Queue", &["Arn", "QueueName"]),
    ("AWS::Scheduler::ScheduleGroup", &["Arn"]),
    ("AWS::SecretsManager::Secret", &["Id"]),
    ("AWS::ECR::Repository", &["Arn", "RepositoryUri"]),
    ("AWS::StepFunctions::StateMachine", &["Arn"]),
    ("AWS::EC2::VPC", &[]),
];
const PSEUDO: [&str; 5] = ["AWS::AccountId", "AWS::Partition", "AWS::Region", "AWS::StackName", "AWS::URLSuffix"];

/// Everything that is wrong with a template and the machine beside it.
pub fn problems(text: &str, machine: &str) -> Vec<String> {
    let template = read::template(text);
    let mut out = Vec::new();
    let left = text.replace("{{resolve:secretsmanager:", "");
    if left.contains("{{") {
        out.push("`{{` is left in the template".to_owned());
    }
    references(&template, &template["Resources"], &mut out);
    references(&template, &template["Outputs"], &mut out);
    for (id, resource) in template["Resources"].as_object().unwrap() {
        let kind = resource["Type"].as_str().unwrap();
        if DATA.contains(&kind)
            && (resource["DeletionPolicy"] != "RetainExceptOnCreate" || resource["UpdateReplacePolicy"] != "Retain")
        {
            out.push(format!("{id} holds data and is not kept"));
        }
        if kind == "AWS::Logs::LogGroup" && resource["Properties"]["RetentionInDays"].as_u64().is_none() {
            out.push(format!("{id} is kept for ever"));
        }
    }
    let wanted: BTreeSet<&str> = machine.split("${").skip(1).filter_map(|rest| rest.split('}').next()).collect();
    for (id, properties) in all(&template, "AWS::StepFunctions::StateMachine") {
        let given = properties["DefinitionSubstitutions"].as_object().unwrap();
        let given: BTreeSet<&str> = given.keys().map(String::as_str).collect();
        if wanted != given {
            out.push(format!("{id} is given {given:?} and needs {wanted:?}"));
        }
    }
    schedules(&template, &mut out);
    out.extend(names(&template));
    out
}

/// Names that are set, against the longest that each service takes.
fn names(template: &Value) -> Vec<String> {
    let limits = [
        ("AWS::Lambda::Function", "FunctionName", 64),
        ("AWS::StepFunctions::StateMachine", "StateMachineName", 80),
        ("AWS::Scheduler::ScheduleGroup", "Name", 64),
        ("AWS::Scheduler::Schedule", "Name", 64),
        ("AWS::ECS::Cluster", "ClusterName", 255),
        ("AWS::ECS::TaskDefinition", "Family", 255),
        ("AWS::CloudWatch::Alarm", "AlarmName", 255),
        ("AWS::SecretsManager::Secret", "Name", 512),
        ("AWS::ECR::Repository", "RepositoryName", 256),
    ];
    let mut out = Vec::new();
    for (kind, key, most) in limits {
        for (id, properties) in all(template, kind) {
            let name = properties[key].as_str().unwrap_or_default();
            if !(1..=most).contains(&name.len()) {
                out.push(format!("{id} is called `{name}`"));
            }
        }
    }
    out
}

/// What is named and not there.
fn references(template: &Value, value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("Ref", Value::String(name)) => reference(template, name, None, out),
                    ("Fn::GetAtt", Value::Array(parts)) => {
                        reference(template, parts[0].as_str().unwrap(), parts[1].as_str(), out);
                    }
                    ("Fn::Sub", Value::String(text)) => {
                        for name in text.split("${").skip(1).filter_map(|rest| rest.split('}').next()) {
                            match name.split_once('.') {
                                Some((id, attribute)) => reference(template, id, Some(attribute), out),
                                None => reference(template, name, None, out),
                            }
                        }
                    }
                    (_, value) => references(template, value, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(template, item, out)),
        Value::String(text) if text.contains("${") => out.push(format!("`{text}` is not substituted")),
        _ => {}
    }
}

fn reference(template: &Value, id: &str, attribute: Option<&str>, out: &mut Vec<String>) {
    let resource = &template["Resources"][id];
    let known = match (attribute, resource["Type"].as_str()) {
        (None, kind) => kind.is_some() || template["Parameters"].get(id).is_some() || PSEUDO.contains(&id),
        (Some(attribute), Some(kind)) => {
            ATTRIBUTES.iter().any(|(known, attributes)| *known == kind && attributes.contains(&attribute))
        }
        (Some(_), None) => false,
    };
    if !known {
        out.push(format!("{id}{} is not there", attribute.map(|a| format!(".{a}")).unwrap_or_default()));
    }
}

fn schedules(template: &Value, out: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for (id, schedule) in all(template, "AWS::Scheduler::Schedule") {
        let expression = schedule["ScheduleExpression"].as_str().unwrap_or_default();
        if let Err(why) = expression_is_right(expression) {
            out.push(format!("{id}: {expression} {why}"));
        }
        if schedule["ScheduleExpressionTimezone"] != "UTC" {
            out.push(format!("{id} is in the zone {}", schedule["ScheduleExpressionTimezone"]));
        }
        if schedule["State"] == "DISABLED" || schedule["FlexibleTimeWindow"]["Mode"] != "OFF" {
            out.push(format!("{id} does not wake on time"));
        }
        if !names.insert(schedule["Name"].as_str().unwrap_or_default()) {
            out.push(format!("{id} is called as another one"));
        }
        let target = &schedule["Target"];
        let input: BTreeMap<String, String> =
            serde_json::from_str(target["Input"].as_str().unwrap_or_default()).unwrap_or_default();
        let keys: Vec<&str> = input.keys().map(String::as_str).collect();
        if keys != ["compute", "pipeline", "wake"] || input["wake"] != "<aws.scheduler.scheduled-time>" {
            out.push(format!("{id} begins with {}", target["Input"]));
        }
        if target["RetryPolicy"]["MaximumRetryAttempts"].as_u64().is_none() || target.get("DeadLetterConfig").is_none()
        {
            out.push(format!("{id} loses wakes"));
        }
    }
}

/// Six fields with numbers in their ranges, one of the days `?`, and no other sign than those that are written here.
fn expression_is_right(expression: &str) -> Result<(), &'static str> {
    let inner = expression.strip_prefix("cron(").and_then(|e| e.strip_suffix(')')).ok_or("is no cron()")?;
    let fields: Vec<&str> = inner.split(' ').collect();
    let ranges = [(0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199)];
    if fields.len() != ranges.len() {
        return Err("has not six fields");
    }
    if (fields[2] == "?") == (fields[4] == "?") {
        return Err("has not one `?` among the days");
    }
    for (field, (low, high)) in fields.iter().zip(ranges) {
        for part in field.split([',', '-', '/']).filter(|part| !["*", "?"].contains(part)) {
            let day = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"].contains(&part) && high == 7;
            let number = part.parse::<u32>().is_ok_and(|n| (low..=high).contains(&n));
            if !day && !number {
                return Err("has a number that is out of range");
            }
        }
    }
    Ok(())
}

/// What should have these tags and has not.
pub fn untagged(template: &Value, key: &str, value: &str) -> Vec<String> {
    let resources = template["Resources"].as_object().unwrap().iter();
    let taggable = resources.filter(|(_, r)| !TAGLESS.contains(&r["Type"].as_str().unwrap()));
    let lacks = |resource: &Value| {
        let mut tags = resource["Properties"]["Tags"].as_array().into_iter().flatten();
        !tags.any(|tag| tag["Key"] == key && tag["Value"] == value)
    };
    taggable.filter(|(_, r)| lacks(r)).map(|(id, _)| id.clone()).collect()
}
