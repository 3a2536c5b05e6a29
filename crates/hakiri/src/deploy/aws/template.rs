//! The CloudFormation template, put together of the files in `template/`.
//!
//! Each file is one part of a deployment as it would be written by hand, so that it can be read and linted where it lies.
//! Which of them are needed, and what stands in their places, is decided here.

use hakiri_core::Result;
use hakiri_core::hash::Hash;
use hakiri_core::spec::AwsCatalog;

use super::machine::{self, lines};
use super::policy;
use super::settings::{Function, Network, Settings};
use crate::deploy::input::Input;
use crate::deploy::target;
use crate::deploy::template::{Values, quoted};

/// How long logs are kept, in days.
const RETENTION: u64 = 30;
/// What a function has of disk, for rows on their way that do not fit into its memory, in MiB.
pub(super) const DISK_MIB: u64 = 2_048;
/// Where the image has the certificates of the authority of databases of RDS, which is no public one.
const CA: &str = "/rds-ca.pem";
/// The longest that a function runs, in seconds.
const LONGEST: u64 = 900;

/// The template; without what wakes and runs pipelines when it is not awake, and with all that holds data (G4).
pub(super) fn template(input: &Input<'_>, s: &Settings, awake: bool) -> Result<String> {
    let part = Part { input, s };
    let mut resources = Resources::default();
    let mut outputs = vec![("Bucket", part.bucket())];
    if s.bucket.is_none() {
        resources.add(part.fill(include_str!("template/bucket.yaml"))?);
    }
    match s.catalog.chosen {
        AwsCatalog::Dynamodb => {
            resources.add(part.fill(include_str!("template/table.yaml"))?);
            outputs.push(("Table", "!Ref Table".to_owned()));
        }
        AwsCatalog::Postgres if s.own_database() => {
            resources.add(part.database()?);
            outputs.push(("Database", "!Ref Database".to_owned()));
            outputs.push(("DatabaseSubnets", "!Ref DatabaseSubnets".to_owned()));
        }
        AwsCatalog::Postgres => {}
    }
    if !s.passed.is_empty() {
        resources.add(part.fill(include_str!("template/secret.yaml"))?);
        outputs.push(("Secret", "!GetAtt Secret.Id".to_owned()));
    }
    if s.network == Network::Own && (awake || s.own_database()) {
        resources.add(part.network()?);
    }
    if awake {
        if let Some(function) = s.function {
            resources.add(part.function(function)?);
            outputs.push(("Function", "!Ref Function".to_owned()));
        }
        if s.task.is_some() {
            resources.add(part.task()?);
        }
        resources.add(part.machine()?);
        outputs.push(("Machine", "!Ref Machine".to_owned()));
        resources.add(part.schedules()?);
        outputs.push(("DeadLetters", "!Ref DeadLetters".to_owned()));
        resources.add(part.alarms()?);
    }
    let outputs = outputs.into_iter().flat_map(|(name, value)| [format!("  {name}:"), format!("    Value: {value}")]);
    let takes_image = awake && s.task.is_some();
    let parameters = if takes_image {
        lines(&Values::default().with("foundation", s.foundation()).fill(include_str!("template/parameters.yaml"))?)
    } else {
        Vec::new()
    };
    Values::headed()
        .with("description", part.description())
        .with_lines("parameters", parameters)
        .with_lines("resources", resources.0)
        .with_lines("outputs", std::iter::once("Outputs:".to_owned()).chain(outputs).collect())
        .fill(include_str!("template/template.yaml"))
}

/// The image of tasks.
pub(super) fn dockerfile(s: &Settings) -> Result<String> {
    let region = s.region.as_deref().unwrap_or_default();
    let truststore = match region {
        gov if gov.starts_with("us-gov-") => format!("truststore.pki.{gov}.rds.amazonaws.com"),
        china if china.starts_with("cn-") => format!("rds-truststore.s3.{china}.amazonaws.com.cn"),
        _ => "truststore.pki.rds.amazonaws.com".to_owned(),
    };
    let authority = vec![
        "# The authority of databases of RDS, as AWS publishes it.".to_owned(),
        format!("ADD --chown=65532:65532 https://{truststore}/global/global-bundle.pem {CA}"),
    ];
    Values::headed()
        .with_lines("authority", if s.catalog.chosen == AwsCatalog::Postgres { authority } else { Vec::new() })
        .fill(include_str!("Dockerfile"))
}

/// The first stack.
pub(super) fn foundation(input: &Input<'_>, s: &Settings) -> Result<String> {
    let part = Part { input, s };
    let image = s.task.is_some();
    let repository = if image { lines(&part.fill(include_str!("template/repository.yaml"))?) } else { Vec::new() };
    let output = ["Repository:", "  Value: !GetAtt Repository.RepositoryUri"].map(str::to_owned).to_vec();
    part.values()
        .with_lines("repository", repository)
        .with_lines("repository_output", if image { output } else { Vec::new() })
        .in_use(include_str!("template/foundation.yaml"))
        .fill(include_str!("template/foundation.yaml"))
}

/// Parts with an empty line between them.
#[derive(Default)]
struct Resources(Vec<String>);

impl Resources {
    fn add(&mut self, text: String) {
        if !self.0.is_empty() {
            self.0.push(String::new());
        }
        self.0.extend(lines(&text));
    }
}

/// What the parts are made of.
#[derive(Clone, Copy)]
struct Part<'a> {
    input: &'a Input<'a>,
    s: &'a Settings,
}

impl Part<'_> {
    /// Of the project, for people.
    fn description(self) -> String {
        quoted(&format!("Hakiri: {}", target::title(self.input)))
    }

    /// What every part may have a place for.
    fn values(self) -> Values {
        let s = self.s;
        let key = s.kms_key.as_deref().map(quoted);
        let of_key = |lines: &[&str]| -> Vec<String> {
            key.iter().flat_map(|key| lines.iter().map(move |line| line.replace("KEY", key))).collect()
        };
        let or = |with: &[&str], without: &[&str]| {
            if key.is_some() { of_key(with) } else { without.iter().map(|line| (*line).to_owned()).collect() }
        };
        let boundary = s.boundary.iter().map(|arn| format!("PermissionsBoundary: {}", quoted(arn))).collect();
        Values::headed()
            .with("name", &s.name)
            .with("description", self.description())
            .with("retention", RETENTION.to_string())
            .with_lines("tags", tags(s.tags.iter()))
            // What a network is made of has no other name than its tag.
            .with_lines(
                "named_tags",
                tags([(&"Name".to_owned(), &s.name)].into_iter().chain(s.tags.iter().filter(|t| t.0 != "Name"))),
            )
            .with_lines("boundary", boundary)
            .with_lines("key_id", of_key(&["KmsKeyId: KEY"]))
            .with_lines(
                "bucket_encryption",
                or(
                    &[
                        "- ServerSideEncryptionByDefault:",
                        "    SSEAlgorithm: aws:kms",
                        "    KMSMasterKeyID: KEY",
                        "  BucketKeyEnabled: true",
                    ],
                    &["- ServerSideEncryptionByDefault:", "    SSEAlgorithm: AES256"],
                ),
            )
            .with_lines(
                "table_encryption",
                of_key(&["SSESpecification:", "  SSEEnabled: true", "  SSEType: KMS", "  KMSMasterKeyId: KEY"]),
            )
            .with_lines(
                "repository_encryption",
                of_key(&["EncryptionConfiguration:", "  EncryptionType: KMS", "  KmsKey: KEY"]),
            )
            .with_lines("queue_encryption", or(&["KmsMasterKeyId: KEY"], &["SqsManagedSseEnabled: true"]))
    }

    /// A part that needs nothing else.
    fn fill(self, text: &str) -> Result<String> {
        self.fill_with(text, Values::default())
    }

    fn fill_with(self, text: &str, values: Values) -> Result<String> {
        self.values().in_use(text).and(values).fill(text)
    }

    fn bucket(self) -> String {
        self.s.bucket.as_deref().map_or_else(|| "!Ref Bucket".to_owned(), quoted)
    }

    /// Where the store is, as a value of the template.
    fn store(self) -> String {
        match (&self.s.bucket, &self.s.prefix) {
            (None, _) => "!Sub \"s3://${Bucket}\"".to_owned(),
            (Some(bucket), None) => quoted(&format!("s3://{bucket}")),
            (Some(bucket), Some(prefix)) => quoted(&format!("s3://{bucket}/{prefix}")),
        }
    }

    /// Where the catalog is, likewise.
    fn catalog(self) -> String {
        match (self.s.catalog.chosen, &self.s.database_secret) {
            (AwsCatalog::Dynamodb, _) => "!Sub \"dynamodb://${Table}\"".to_owned(),
            (AwsCatalog::Postgres, Some(arn)) => {
                quoted(&format!("rds-secret:{arn}?{}sslrootcert={CA}", self.s.database_query))
            }
            // The administrator's login is taken where the other one is refused, to make it: nobody else reaches the
            // database.
            (AwsCatalog::Postgres, None) => quoted(&format!(
                "postgres://hakiri@${{Database.Endpoint.Address}}:${{Database.Endpoint.Port}}/hakiri?auth=rds-iam\
                 &admin=${{DatabaseSecret.Id}}&sslrootcert={CA}"
            ))
            .replacen('"', "!Sub \"", 1),
        }
    }

    fn network(self) -> Result<String> {
        let mut text = self.fill(include_str!("template/network.yaml"))?;
        if self.s.catalog.chosen == AwsCatalog::Dynamodb {
            text.push_str(&self.fill(include_str!("template/network-table.yaml"))?);
        }
        if self.s.own_database() {
            text.push_str(&self.fill(include_str!("template/network-database.yaml"))?);
        }
        Ok(text)
    }

    fn database(self) -> Result<String> {
        let item = |items: Vec<String>| items.into_iter().map(|item| format!("- {item}")).collect();
        let (subnets, groups) = match &self.s.network {
            Network::Own => (
                vec!["!Ref DatabaseSubnetA".to_owned(), "!Ref DatabaseSubnetB".to_owned()],
                vec!["!Ref DatabaseGroup".to_owned()],
            ),
            Network::None | Network::Given { .. } => machine::places(self.s),
        };
        let password = "!Sub \"{{resolve:secretsmanager:${DatabaseSecret}:SecretString:password}}\"";
        let values = Values::default()
            .with("master_password", password)
            .with_lines("database_subnets", item(subnets))
            .with_lines("database_groups", item(groups));
        self.fill_with(include_str!("template/database.yaml"), values)
    }

    fn function(self, function: Function) -> Result<String> {
        let memory = function.memory_mib();
        let mut environment: Vec<(&str, String)> = Vec::new();
        let (timeout, disk, what) = match function {
            Function::Runs(_) => {
                environment.push(("HAKIRI_CATALOG", self.catalog()));
                environment.push(("HAKIRI_STORE", self.store()));
                let what = "Runs the steps of pipelines, and tells the webhook of alarms where there is one.";
                (LONGEST, DISK_MIB, what)
            }
            Function::Tells => (60, 512, "Tells the webhook of alarms; it has no rights on the store and the catalog."),
        };
        environment.push(("HAKIRI_MEMORY", quoted(&format!("{}MiB", memory / 2))));
        environment.extend(self.shared_environment());
        let variables = environment.iter().map(|(name, value)| format!("    {name}: {value}"));
        let head = ["Environment:", "  Variables:"].map(str::to_owned);
        let values = Values::default()
            .with("what", what)
            .with("memory", memory.to_string())
            .with("timeout", timeout.to_string())
            .with("disk", disk.to_string())
            .with_lines("environment", head.into_iter().chain(variables).collect())
            .with_lines("statements", policy::of_function(self.input, self.s, function)?);
        self.fill_with(include_str!("template/function.yaml"), values)
    }

    /// What functions and tasks are both told.
    fn shared_environment(self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        if let Some(env) = &self.input.project.env {
            out.push(("HAKIRI_ENV", quoted(env)));
        }
        if !self.s.passed.is_empty() {
            out.push(("HAKIRI_SECRETS", "!GetAtt Secret.Id".to_owned()));
        }
        out
    }

    fn task(self) -> Result<String> {
        let size = self.s.task.unwrap_or(super::settings::Size { memory_mib: 0, cpu: 0 });
        let secrets = self.shared_environment().into_iter().filter(|(name, _)| *name == "HAKIRI_SECRETS");
        let mut environment: Vec<String> =
            secrets.flat_map(|(name, value)| [format!("  - Name: {name}"), format!("    Value: {value}")]).collect();
        if !environment.is_empty() {
            environment.insert(0, "Environment:".to_owned());
        }
        let values = Values::default()
            .with("cpu", size.cpu.to_string())
            .with("memory", size.memory_mib.to_string())
            .with("stop", target::STOP_SECONDS.to_string())
            .with_lines("environment", environment)
            .with_lines("statements", policy::of_pipelines(self.input, self.s)?);
        self.fill_with(include_str!("template/task.yaml"), values)
    }

    fn machine(self) -> Result<String> {
        let values = Values::default()
            .with_lines("substitutions", machine::substitutions(self.s, &self.catalog(), &self.store()))
            .with_lines("statements", policy::of_machine(self.s)?);
        self.fill_with(include_str!("template/machine.yaml"), values)
    }

    fn schedules(self) -> Result<String> {
        let values = Values::default().with_lines("key_statement", policy::key(self.s, &["sqs"])?);
        let mut text = self.fill_with(include_str!("template/schedules.yaml"), values)?;
        for (pipeline, spec) in self.s.pipelines.iter().zip(self.input.scheduled()) {
            for (n, expression) in pipeline.wakes.expressions.iter().enumerate() {
                let (suffix, second) = if n == 0 { (String::new(), "") } else { (format!(".{}", n + 1), "Second") };
                let input = serde_json::json!({
                    "pipeline": pipeline.id, "wake": "<aws.scheduler.scheduled-time>", "compute": pipeline.compute.chosen.word()
                });
                let values = Values::default()
                    .with("id", format!("{}{second}", logical_id(&pipeline.id)))
                    .with("schedule", format!("{}{suffix}", pipeline.id))
                    .with("description", quoted(spec.schedule.as_deref().unwrap_or_default()))
                    .with("expression", expression)
                    .with("input", input.to_string());
                text.push_str(&values.fill(include_str!("template/schedule.yaml"))?);
            }
        }
        Ok(text)
    }

    fn alarms(self) -> Result<String> {
        let executions = |id, suffix, metric, what: &str| Alarm {
            id,
            suffix,
            metric,
            namespace: "AWS/States",
            dimension: "StateMachineArn",
            value: "!Ref Machine",
            statistic: "Sum",
            what: format!("{what}: its last lines say why, and the next wake takes the run over"),
        };
        let all = [
            executions("RunsFailed", "failed", "ExecutionsFailed", "an execution failed"),
            executions("RunsTimedOut", "timed-out", "ExecutionsTimedOut", "an execution took longer than a day"),
            executions("RunsAborted", "aborted", "ExecutionsAborted", "an execution was aborted"),
            Alarm {
                id: "WakesLost",
                suffix: "dead-letters",
                metric: "ApproximateNumberOfMessagesVisible",
                namespace: "AWS/SQS",
                dimension: "QueueName",
                value: "!GetAtt DeadLetters.QueueName",
                statistic: "Maximum",
                what: "a wake could not be delivered: the message says why, and is removed by hand".to_owned(),
            },
        ];
        let mut text = String::new();
        for alarm in all {
            let head = if text.is_empty() { "# What the binary cannot tell itself.\n" } else { "" };
            text.push_str(head);
            text.push_str(&self.alarm(&alarm)?);
            if self.s.notify {
                text.push_str(
                    &Values::default().with("id", alarm.id).fill(include_str!("template/alarm-permission.yaml"))?,
                );
            }
        }
        Ok(text)
    }

    fn alarm(self, alarm: &Alarm) -> Result<String> {
        let actions = ["AlarmActions:", "  - !GetAtt Function.Arn"].map(str::to_owned).to_vec();
        let values = Values::default()
            .with("id", alarm.id)
            .with("suffix", alarm.suffix)
            .with("description", quoted(&format!("{}: {}", target::title(self.input), alarm.what)))
            .with("namespace", alarm.namespace)
            .with("metric", alarm.metric)
            .with("dimension", alarm.dimension)
            .with("value", alarm.value)
            .with("statistic", alarm.statistic)
            .with_lines("actions", if self.s.notify { actions } else { Vec::new() });
        self.fill_with(include_str!("template/alarm.yaml"), values)
    }
}

/// What is watched.
struct Alarm {
    id: &'static str,
    suffix: &'static str,
    metric: &'static str,
    namespace: &'static str,
    dimension: &'static str,
    value: &'static str,
    statistic: &'static str,
    what: String,
}

fn tags<'t>(tags: impl Iterator<Item = (&'t String, &'t String)>) -> Vec<String> {
    let items: Vec<String> = tags
        .flat_map(|(key, value)| [format!("  - Key: {}", quoted(key)), format!("    Value: {}", quoted(value))])
        .collect();
    if items.is_empty() { items } else { std::iter::once("Tags:".to_owned()).chain(items).collect() }
}

/// The logical id of a pipeline's schedule. It depends on the pipeline alone, so that no other pipeline's coming or going
/// makes CloudFormation replace it. It takes letters and digits only: `a-b` becomes `AB`, and where that could be
/// another's as well, some digits of a hash keep them apart.
pub(super) fn logical_id(pipeline: &str) -> String {
    let mut out = "Schedule".to_owned();
    let mut clear = true;
    for (n, word) in pipeline.split(['-', '_']).enumerate() {
        let mut chars = word.chars();
        let first = chars.next();
        clear &= n == 0 || first.is_some_and(|c| c.is_ascii_lowercase());
        out.extend(first.iter().flat_map(|c| c.to_uppercase()));
        out.extend(chars);
    }
    if !clear || pipeline.contains('_') {
        let hash = Hash::of(pipeline.as_bytes());
        out.push('H');
        out.push_str(hash.as_str().get(..8).unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hakiri_core::spec::{ManifestText, parse};

    use super::*;

    /// The logical ids of a template's resources, with the line of each one's type.
    fn resources(text: &str) -> BTreeSet<(String, String)> {
        let lines: Vec<&str> = text.lines().collect();
        let pairs = lines.windows(2).filter(|pair| pair[1].starts_with("    Type: "));
        pairs.map(|pair| (pair[0].trim().to_owned(), pair[1].trim().to_owned())).collect()
    }

    #[test]
    fn asleep_a_stack_is_its_data_under_the_same_names_and_nothing_that_runs() {
        for (settings, kept) in [
            ("", &["Bucket:", "BucketPolicy:", "Table:", "Secret:"][..]),
            ("bucket = \"acme-lake\"", &["Table:", "Secret:"]),
            (
                "catalog = \"postgres\"",
                &["Bucket:", "Database:", "DatabaseSecret:", "Network:", "TaskGroup:", "Secret:"],
            ),
        ] {
            let text = format!(
                "[project]\nname = \"shop\"\n[notify]\nwebhook = \"${{HOOK}}\"\n[deploy.aws]\n{settings}\n[[pipeline]]\nid = \"a\"\n\
                 schedule = \"every 1h\"\nsource = {{ connector = \"file\", config = {{ path = \"s3://in/a.csv\" }} }}\n"
            );
            let manifest = [ManifestText::new("hakiri.toml", text)];
            let project = parse(&manifest, None, &crate::world::connectors().list()).unwrap();
            let input = Input { project: &project, manifest: &manifest, project_from_files: None };
            let s = Settings::of(&input);
            let (awake, asleep) = (template(&input, &s, true).unwrap(), template(&input, &s, false).unwrap());
            let (all, left) = (resources(&awake), resources(&asleep));
            assert!(left.is_subset(&all) && left.len() < all.len(), "{settings}: {left:?}");
            for id in kept {
                assert!(left.iter().any(|(left, _)| left == id), "{settings}: {id} of {left:?}");
            }
            for runs in ["Lambda", "StepFunctions", "Scheduler", "ECS", "IAM", "SQS", "CloudWatch", "Logs"] {
                assert!(!left.iter().any(|(_, kind)| kind.contains(&format!("::{runs}::"))), "{settings}: {left:?}");
            }
            assert!(!asleep.contains("ImageUri"));
        }
    }

    #[test]
    fn each_pipeline_has_a_logical_id_of_its_own() {
        let ids = ["a-b", "ab", "a_b", "a-b-c", "a-bc", "a1", "a-1", "1", "a--b", "a-", "a-b-", "b"];
        let all: std::collections::BTreeSet<String> = ids.iter().map(|id| logical_id(id)).collect();
        assert_eq!(all.len(), ids.len(), "{all:?}");
        assert!(all.iter().all(|id| id.chars().all(|c| c.is_ascii_alphanumeric())), "{all:?}");
        assert_eq!(logical_id("shop-orders"), "ScheduleShopOrders");
    }
}
