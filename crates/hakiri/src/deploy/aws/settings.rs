//! What the manifest leaves open, decided: all that the generator, `--apply` and the plan have to agree on.

use std::collections::{BTreeMap, BTreeSet};

use hakiri_core::spec::{AwsCatalog, AwsSpec, NotifyEvent, PipelineSpec, deploy_memory_mib};

use super::schedule::{self, Wakes};
use super::shape::{self, Choice, Compute};
use crate::deploy::input::{Input, bucket_keys};
use crate::deploy::secrets::{self, Needed};
use crate::notify::wants;

/// The longest name of what is created: with `-foundation` it is within the 64 characters of a function's or a
/// schedule group's.
pub(in crate::deploy) const NAME_LIMIT: usize = 52;
/// What a function may use unless the manifest says otherwise, in MiB.
const FUNCTION_MIB: u64 = 1_024;
/// The same for a task.
const TASK_MIB: u64 = 2_048;

/// The decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deploy) struct Settings {
    /// Of the stack, the function, the machine, the group of schedules, the cluster, the task and the secret.
    pub(in crate::deploy) name: String,
    /// The region of `[deploy.aws]`; none means that of the credentials.
    pub(in crate::deploy) region: Option<String>,
    /// Where the state lives, and why.
    pub(in crate::deploy) catalog: Choice<AwsCatalog>,
    /// The secret that tells an existing database.
    pub(in crate::deploy) database_secret: Option<String>,
    /// What that secret does not say, or says otherwise, as the query of a URL.
    pub(in crate::deploy) database_query: String,
    /// The pipelines that are woken, in the manifest's order.
    pub(in crate::deploy) pipelines: Vec<Woken>,
    /// What the function does; none when nothing needs one.
    pub(in crate::deploy) function: Option<Function>,
    /// The size of a task; none when no pipeline runs on Fargate.
    pub(in crate::deploy) task: Option<Size>,
    /// Where tasks and database are.
    pub(in crate::deploy) network: Network,
    /// An existing bucket that is the store.
    pub(in crate::deploy) bucket: Option<String>,
    /// Where in the bucket: with an environment and a bucket of one's own in a place of its own, since both environments
    /// could name the same bucket.
    pub(in crate::deploy) prefix: Option<String>,
    /// The buckets that pipelines read files from, each with the keys and patterns of keys in it. The store's may be among
    /// them: its rights end at the project's folder.
    pub(in crate::deploy) read: BTreeMap<String, BTreeSet<String>>,
    /// What the pipelines that are woken and the webhook need, by name: the keys of the secret. Without any there is no
    /// secret.
    pub(in crate::deploy) passed: Vec<Needed>,
    /// Whether a webhook hears of alarms.
    pub(in crate::deploy) notify: bool,
    pub(in crate::deploy) kms_key: Option<String>,
    pub(in crate::deploy) boundary: Option<String>,
    pub(in crate::deploy) tags: BTreeMap<String, String>,
}

/// A pipeline that is woken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deploy) struct Woken {
    /// Its id.
    pub(in crate::deploy) id: String,
    /// What runs it, and why.
    pub(in crate::deploy) compute: Choice<Compute>,
    /// What wakes it; none when that is refused.
    pub(in crate::deploy) wakes: Wakes,
}

/// What the function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::deploy) enum Function {
    /// The three operations, and telling the webhook of alarms: of this memory in MiB.
    Runs(u64),
    /// Only the latter: it has no rights on the store and the catalog.
    Tells,
}

impl Function {
    /// Its memory in MiB.
    pub(in crate::deploy) fn memory_mib(self) -> u64 {
        match self {
            Self::Runs(memory) => memory,
            Self::Tells => 256,
        }
    }
}

/// The size of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::deploy) struct Size {
    /// In MiB.
    pub(in crate::deploy) memory_mib: u64,
    /// In 1,024ths of a processor.
    pub(in crate::deploy) cpu: u64,
}

/// Where tasks and database are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deploy) enum Network {
    /// Nothing needs one.
    None,
    /// One of the deployment's own: its tasks have public addresses, its database has none.
    Own,
    /// An existing one: nothing of it is created, and no task has a public address.
    Given {
        /// Its id.
        vpc: String,
        subnets: Vec<String>,
        /// None means the network's default group.
        groups: Vec<String>,
    },
}

impl Settings {
    pub(in crate::deploy) fn of(input: &Input<'_>) -> Self {
        let none = AwsSpec::default();
        let spec = input.project.deploy.aws.as_ref().unwrap_or(&none);
        let name = input.name(NAME_LIMIT);
        let scheduled = input.scheduled();
        let pipelines: Vec<Woken> = scheduled.iter().map(|pipeline| woken(spec, pipeline)).collect();
        let runs_on = |compute| pipelines.iter().any(|p| p.compute.chosen == compute);
        let memory = spec.memory.as_deref().and_then(deploy_memory_mib);
        let catalog = shape::catalog(spec);
        let notify = input.project.notify.as_ref().is_some_and(|notify| wants(notify, NotifyEvent::Alarm));
        let task = runs_on(Compute::Fargate).then(|| Size::of(memory.unwrap_or(TASK_MIB)));
        let needs_network = task.is_some() || is_own_database(spec, catalog.chosen);
        Self {
            region: spec.region.clone(),
            database_secret: spec.database_secret_arn.clone(),
            database_query: database_query(spec),
            function: match (runs_on(Compute::Lambda), notify) {
                (true, _) => Some(Function::Runs(memory.unwrap_or(FUNCTION_MIB))),
                (false, true) => Some(Function::Tells),
                (false, false) => None,
            },
            network: match &spec.vpc_id {
                _ if !needs_network => Network::None,
                None => Network::Own,
                Some(vpc) => Network::Given {
                    vpc: vpc.clone(),
                    subnets: spec.subnet_ids.clone(),
                    groups: spec.security_group_ids.clone(),
                },
            },
            prefix: (spec.bucket.is_some() && input.project.env.is_some()).then(|| name.clone()),
            read: read(&scheduled),
            bucket: spec.bucket.clone(),
            passed: secrets::of_pipelines(input, scheduled),
            kms_key: spec.kms_key_arn.clone(),
            boundary: spec.permissions_boundary_arn.clone(),
            tags: spec.tags.clone(),
            name,
            catalog,
            pipelines,
            task,
            notify,
        }
    }

    /// The first stack: the place for the code, and for the image where there is one.
    pub(in crate::deploy) fn foundation(&self) -> String {
        format!("{}-foundation", self.name)
    }

    /// Whether some pipeline is run by this.
    pub(in crate::deploy) fn runs_on(&self, compute: Compute) -> bool {
        self.pipelines.iter().any(|p| p.compute.chosen == compute)
    }

    /// Whether the catalog is a table of DynamoDB.
    pub(in crate::deploy) fn has_table(&self) -> bool {
        self.catalog.chosen == AwsCatalog::Dynamodb
    }

    /// Whether the deployment has a database of its own.
    pub(in crate::deploy) fn own_database(&self) -> bool {
        self.catalog.chosen == AwsCatalog::Postgres && self.database_secret.is_none()
    }
}

fn is_own_database(spec: &AwsSpec, catalog: AwsCatalog) -> bool {
    catalog == AwsCatalog::Postgres && spec.database_secret_arn.is_none()
}

fn database_query(spec: &AwsSpec) -> String {
    let (host, port) = match spec.database_host.as_deref().map(|host| host.split_once(':').ok_or(host)) {
        Some(Ok((host, port))) => (Some(host), Some(port)),
        Some(Err(host)) => (Some(host), None),
        None => (None, None),
    };
    let all = [("host", host), ("port", port), ("dbname", spec.database_name.as_deref())];
    all.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}&"))).collect()
}

fn read(pipelines: &[&PipelineSpec]) -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (bucket, key) in pipelines.iter().flat_map(|p| bucket_keys(p)) {
        out.entry(bucket.to_owned()).or_default().insert(key.to_owned());
    }
    out
}

fn woken(spec: &AwsSpec, pipeline: &PipelineSpec) -> Woken {
    let wakes = pipeline.schedule().ok().flatten().and_then(|s| schedule::wakes(&s).ok());
    Woken {
        id: pipeline.id.as_str().to_owned(),
        compute: shape::compute(spec, pipeline),
        wakes: wakes.unwrap_or_default(),
    }
}

impl Size {
    /// The task of so much memory, with a processor for every 4 GiB of it, or for more where there is none of that.
    pub(super) fn of(memory_mib: u64) -> Self {
        let all = [256, 512, 1_024, 2_048, 4_096, 8_192, 16_384].map(|cpu| Self { memory_mib, cpu });
        let found = all.iter().find(|size| size.cpu * 4 >= memory_mib && size.exists());
        *found.or_else(|| all.iter().rfind(|size| size.exists())).unwrap_or(&all[0])
    }

    /// Whether there is such a task.
    pub(super) fn exists(self) -> bool {
        let (least, most, step) = memory_range(self.cpu);
        let small = self.cpu == 256 && self.memory_mib == 512;
        small || (self.memory_mib >= least && self.memory_mib <= most && self.memory_mib.is_multiple_of(step))
    }
}

/// What a task of so many processors may have, in MiB: at least, at most, and in which steps.
fn memory_range(cpu: u64) -> (u64, u64, u64) {
    match cpu {
        256 => (1_024, 2_048, 1_024),
        512 => (1_024, 4_096, 1_024),
        1_024 => (2_048, 8_192, 1_024),
        2_048 => (4_096, 16_384, 1_024),
        4_096 => (8_192, 30_720, 1_024),
        8_192 => (16_384, 61_440, 4_096),
        _ => (32_768, 122_880, 8_192),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_as_many_processors_as_its_memory_may_have() {
        for (memory_mib, cpu) in [
            (512, 256),
            (1_024, 256),
            (2_048, 512),
            (4_096, 1_024),
            (5_120, 2_048),
            (8_192, 2_048),
            (16_384, 4_096),
            (30_720, 8_192 / 2),
            (32_768, 8_192),
            (36_864, 8_192),
            (122_880, 16_384),
        ] {
            let size = Size::of(memory_mib);
            assert!(size.exists() && size.cpu == cpu, "{size:?} is not of {cpu}");
        }
        for none in [256, 768, 1_536, 33_792, 65_000, 131_072] {
            assert!(!Size::of(none).exists(), "{none}");
        }
    }
}
