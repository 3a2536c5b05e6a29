//! What of a project is beyond AWS, with the limit and what to do: said before a file is written. And what is not refused
//! but to be known.

use hakiri_core::spec::{AwsCatalog, AwsCompute, AwsSpec};

use super::schedule;
use super::settings::{Network, Settings};
use super::shape::Compute;
use super::template;
use crate::deploy::capability::Refusal;
use crate::deploy::input::Input;
use crate::deploy::{private, target};

/// The most that a function may have, in MiB.
const FUNCTION_MOST_MIB: u64 = 10_240;
/// The most that a task may have, in MiB.
const TASK_MOST_MIB: u64 = 122_880;
/// The longest name of a schedule.
const SCHEDULE_NAME: usize = 64;
/// The most resources of a stack.
const RESOURCES: usize = 500;
/// The largest template that CloudFormation takes from a bucket, in bytes.
const TEMPLATE: usize = 1_000_000;
/// The largest that it takes as text, which is how it is given where there is no bucket yet or any more, in bytes.
const TEXT: usize = 51_200;

/// Beginnings of names of variables that the platform sets, or that the AWS clients obey.
const RESERVED: [&str; 5] = ["AWS_", "LAMBDA_", "ECS_", "_HANDLER", "_X_AMZN_"];
/// Variables that are set to something else already.
const TAKEN: [&str; 10] = [
    "HAKIRI_CATALOG",
    "HAKIRI_STORE",
    "HAKIRI_ENV",
    "HAKIRI_SECRETS",
    "HAKIRI_MEMORY",
    "HAKIRI_TOKEN",
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "TZ",
];

/// All that is refused.
pub(super) fn limits(input: &Input<'_>, s: &Settings) -> Vec<Refusal> {
    let none = AwsSpec::default();
    let spec = input.project.deploy.aws.as_ref().unwrap_or(&none);
    let mut out: Vec<Refusal> = target::env_limit(input).into_iter().collect();
    schedules(input, s, &mut out);
    shape(input, spec, &mut out);
    sizes(s, &mut out);
    network(spec, s, &mut out);
    addresses(input, s, &mut out);
    regions(spec, &mut out);
    out.extend(target::certificate_limits(input.scheduled()));
    for name in s.passed.iter().map(|n| n.name.as_str()) {
        if TAKEN.contains(&name) || RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
            out.push(Refusal::new(
                format!("the name {name} of a secret is taken: functions and tasks are given it with another value"),
                "give the secret another name in the manifest",
            ));
        }
    }
    if out.is_empty() {
        whole(input, s, &mut out);
    }
    out
}

fn schedules(input: &Input<'_>, s: &Settings, out: &mut Vec<Refusal>) {
    for pipeline in input.scheduled() {
        let Ok(Some(schedule)) = pipeline.schedule() else { continue };
        if let Err(mut refusal) = schedule::wakes(&schedule) {
            refusal.what = format!("{}, of the pipeline {}", refusal.what, pipeline.id);
            out.push(refusal);
        }
    }
    for pipeline in &s.pipelines {
        // The second of two has `.2` behind the pipeline's id.
        if pipeline.wakes.expressions.len() > 1 && pipeline.id.len() + 2 > SCHEDULE_NAME {
            out.push(Refusal::new(
                format!(
                    "the pipeline {} needs two schedules, and their names would be longer than {SCHEDULE_NAME} characters",
                    pipeline.id
                ),
                format!("give the pipeline an id of {} characters at most", SCHEDULE_NAME - 2),
            ));
        }
    }
    out.extend(target::nothing_wakes(input));
}

/// Settings that contradict each other.
fn shape(input: &Input<'_>, spec: &AwsSpec, out: &mut Vec<Refusal>) {
    for id in &spec.fargate {
        if let Err(error) = input.project.pipeline(id) {
            out.push(Refusal::new(format!("[deploy.aws] fargate: {}", error.message()), error.hint().to_owned()));
        }
    }
    let postgres = super::shape::catalog(spec).chosen == AwsCatalog::Postgres;
    if postgres && spec.compute == Some(AwsCompute::Lambda) {
        out.push(Refusal::new(
            "[deploy.aws] compute is lambda and the catalog a PostgreSQL, whose network functions are not in",
            "leave compute out, so that all pipelines run on Fargate, or set catalog to dynamodb",
        ));
    }
    if !postgres && spec.database_secret_arn.is_some() {
        out.push(Refusal::new(
            "[deploy.aws] catalog is dynamodb, and database_secret_arn names a database for it",
            "leave one of the two out",
        ));
    }
}

fn sizes(s: &Settings, out: &mut Vec<Refusal>) {
    if let Some(function) = s.function
        && function.memory_mib() > FUNCTION_MOST_MIB
    {
        out.push(Refusal::new(
            format!(
                "[deploy.aws] memory is {} MiB, and a function has {FUNCTION_MOST_MIB} at most",
                function.memory_mib()
            ),
            // It is one value for both: with a single pipeline left on functions it would be too much again.
            "memory is that of functions and of tasks: set it to 10GiB at most, or compute to fargate, which leaves no \
             functions to have it",
        ));
    }
    if let Some(size) = s.task.filter(|size| !size.exists()) {
        out.push(Refusal::new(
            format!("[deploy.aws] memory is {} MiB, and no size of a Fargate task has that", size.memory_mib),
            match nearest(size.memory_mib) {
                Some(more) => format!("set memory to {more}, the next size that there is"),
                None => format!("set memory to {}GiB at most", TASK_MOST_MIB / 1_024),
            },
        ));
    }
}

/// The smallest memory above this one that a task may have.
fn nearest(memory_mib: u64) -> Option<String> {
    let steps = (memory_mib..=TASK_MOST_MIB).find(|mib| mib % 512 == 0 && super::settings::Size::of(*mib).exists())?;
    Some(if steps % 1_024 == 0 { format!("{}GiB", steps / 1_024) } else { format!("{steps}MiB") })
}

fn network(spec: &AwsSpec, s: &Settings, out: &mut Vec<Refusal>) {
    if spec.vpc_id.is_none() {
        for (key, ids) in [("subnet_ids", &spec.subnet_ids), ("security_group_ids", &spec.security_group_ids)] {
            if !ids.is_empty() {
                out.push(Refusal::new(
                    format!("[deploy.aws] {key} is given, and vpc_id, which they belong to, is not"),
                    format!("set vpc_id, or leave {key} out for a network of the deployment's own"),
                ));
            }
        }
    }
    let Network::Given { subnets, groups, .. } = &s.network else { return };
    if subnets.is_empty() {
        out.push(Refusal::new(
            "[deploy.aws] vpc_id is given without subnet_ids, and nothing says where in that network tasks run",
            "set subnet_ids to subnets that have a way to the sources and to AWS, by NAT or endpoints",
        ));
    }
    if s.own_database() && subnets.len() == 1 {
        out.push(Refusal::new(
            "[deploy.aws] subnet_ids has one subnet, and a database of RDS needs two, in two availability zones",
            "name two subnets, set database_secret_arn for a database that is there, or set catalog to dynamodb",
        ));
    }
    if s.own_database() && groups.is_empty() {
        out.push(Refusal::new(
            "the database is in the network of vpc_id, and no security group says who reaches it",
            "set security_group_ids to a group whose members reach each other on port 5432, set database_secret_arn for a \
             database that is there, or set catalog to dynamodb",
        ));
    }
}

/// Addresses that cannot be reached from where they are asked for.
fn addresses(input: &Input<'_>, s: &Settings, out: &mut Vec<Refusal>) {
    for (pipeline, woken) in input.scheduled().into_iter().zip(&s.pipelines) {
        for host in private::of_pipeline(pipeline) {
            let id = &pipeline.id;
            if private::is_this_machine(&host) {
                out.push(Refusal::new(
                    format!("the pipeline {id} names {host}, which is the function or the task itself there"),
                    "name the host by an address that others reach it by",
                ));
            } else if woken.compute.chosen == Compute::Lambda {
                out.push(Refusal::new(
                    format!("the pipeline {id} names {host}, which functions cannot reach: they are in no private network"),
                    format!(
                        "run it on Fargate, with fargate = [\"{id}\"], vpc_id and subnet_ids, or name a host that can be \
                         reached over the internet"
                    ),
                ));
            } else if s.network == Network::Own {
                out.push(Refusal::new(
                    format!("the pipeline {id} names {host}, which the deployment's own network does not reach"),
                    "set vpc_id and subnet_ids of [deploy.aws] to a network that does, or name a host that can be reached \
                     over the internet",
                ));
            }
        }
    }
    for (what, host) in private::hosts(input, []) {
        out.push(Refusal::new(
            format!("{what} names {host}, which functions cannot reach: they are in no private network"),
            "name a host that can be reached over the internet",
        ));
    }
}

/// What is named by an ARN has to be where the rest is.
fn regions(spec: &AwsSpec, out: &mut Vec<Refusal>) {
    let region_of = |arn: &str| arn.split(':').nth(3).unwrap_or_default().to_owned();
    let named = [("kms_key_arn", &spec.kms_key_arn), ("database_secret_arn", &spec.database_secret_arn)];
    let named: Vec<(&str, String)> =
        named.into_iter().filter_map(|(key, arn)| Some((key, region_of(arn.as_deref()?)))).collect();
    let wanted = spec.region.clone().or_else(|| named.first().map(|(_, region)| region.clone()));
    for (key, region) in named {
        if Some(&region) != wanted.as_ref() {
            out.push(Refusal::new(
                format!(
                    "[deploy.aws] {key} is in {region}, and the deployment in {}",
                    wanted.as_deref().unwrap_or_default()
                ),
                format!("set region to {region}, or {key} to one in the deployment's region"),
            ));
        }
    }
}

/// What only the whole template shows.
fn whole(input: &Input<'_>, s: &Settings, out: &mut Vec<Refusal>) {
    let Ok(text) = template::template(input, s, true) else { return };
    let resources = text.lines().filter(|line| line.starts_with("    Type: AWS::")).count();
    if resources > RESOURCES {
        out.push(Refusal::new(
            format!("{resources} resources would be in the stack, and CloudFormation takes {RESOURCES}"),
            "split the project in two; each schedule is a resource",
        ));
    }
    if text.len() > TEMPLATE {
        out.push(Refusal::new(
            format!("the template would have {} bytes, and CloudFormation takes {TEMPLATE}", text.len()),
            "split the project in two, or give fewer tags: they stand at every resource",
        ));
    }
    // Neither goes by way of a bucket: the one makes it, and `destroy` must not need it.
    let as_text = [
        ("foundation.yaml", template::foundation(input, s)),
        ("the template of what holds data alone, which `hakiri destroy` deploys,", template::template(input, s, false)),
    ];
    for (what, text) in as_text {
        let bytes = text.map_or(0, |text| text.len());
        if bytes > TEXT {
            out.push(Refusal::new(
                format!("{what} would have {bytes} bytes, and CloudFormation takes {TEXT} without a bucket"),
                "give fewer or shorter tags: they stand at every resource",
            ));
        }
    }
}

/// What is to be known, as sentences without their full stop.
pub(super) fn notes(input: &Input<'_>, s: &Settings) -> Vec<String> {
    let catalog = match (s.catalog.chosen, s.own_database()) {
        (AwsCatalog::Dynamodb, _) => "a table of DynamoDB",
        (AwsCatalog::Postgres, true) => "a PostgreSQL of RDS",
        (AwsCatalog::Postgres, false) => "the database that database_secret_arn tells",
    };
    let mut out = vec![format!("The catalog is {catalog}: {}", s.catalog.why)];
    for pipeline in &s.pipelines {
        out.push(format!("{} runs on {}: {}", pipeline.id, pipeline.compute.chosen.title(), pipeline.compute.why));
    }
    for (pipeline, spec) in s.pipelines.iter().zip(input.scheduled()).filter(|(p, _)| !p.wakes.exact) {
        out.push(format!(
            "{} is also woken between the ticks of `{}`, by {}, and then finds nothing due",
            pipeline.id,
            spec.schedule.as_deref().unwrap_or_default(),
            pipeline.wakes.expressions.join(" and ")
        ));
    }
    out.extend(target::never_run(input));
    let spec = input.project.deploy.aws.as_ref();
    if s.network == Network::None && spec.is_some_and(|spec| spec.vpc_id.is_some()) {
        out.push("vpc_id has no effect: nothing of this deployment is in a network".to_owned());
    }
    if s.network == Network::Own && s.database_secret.is_some() {
        out.push(
            "The database of database_secret_arn has to be reachable from the internet: vpc_id is not given".to_owned(),
        );
    }
    if let Network::Given { .. } = s.network {
        out.push(
            "The subnets need a way to AWS and to the sources, by NAT or endpoints: no task has a public address"
                .to_owned(),
        );
    }
    if s.kms_key.is_some() {
        out.push(
            "The policy of the key has to let the account's roles use it, and the service logs of the region: \
             CloudFormation cannot add to it"
                .to_owned(),
        );
    }
    out
}
