//! `[deploy.<target>]`: what a target cannot know by itself. Everything else is derived from the project, so that a
//! manifest without any of these tables can be deployed.
//!
//! A target that is not built has no table here: its settings are refused as unknown keys instead of being ignored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the targets that `hakiri deploy` generates for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploySpec {
    /// A systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<SystemdSpec>,
    /// Docker Compose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compose: Option<ComposeSpec>,
    /// Cloudflare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloudflare: Option<CloudflareSpec>,
    /// AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSpec>,
}

/// `[deploy.systemd]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemdSpec {
    /// An existing user that the unit runs as. Default: one of its own, which the generated files create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the binary lies on the server. Default: `/usr/local/bin/hakiri`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// The project's folder on the server, the only one that the unit may write to. Default: `/var/lib/hakiri/<project>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Where the status page listens, such as `0.0.0.0:8320`. Default: what `hakiri serve` does, on this machine only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// What the service may use at most, such as `2GiB`; half of it is for rows on their way. Default: `1GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

/// `[deploy.compose]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComposeSpec {
    /// The name of the image. Default: derived from the project's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How many servers share the work; more than one needs `[catalog] url` and a bucket. Default: 1, with both 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub replicas: Option<u32>,
    /// Where the status page is published on the host, such as `127.0.0.1:8320`; further replicas take the ports above.
    /// Default: it is not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// What a server may use at most, such as `2GiB`; half of it is for rows on their way. Default: `1GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

/// `[deploy.cloudflare]`. The account is not among them: it is whose credentials the commands are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudflareSpec {
    /// The R2 bucket that is the store. Default: derived from the project's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The size of the containers. Default: `basic`, with 1 GiB of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<InstanceType>,
    /// What a container may use at most, such as `512MiB`; half of it is for rows on their way. Default: all of the
    /// memory that containers of its size have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

/// A size of Cloudflare's containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceType {
    /// 256 MiB of memory.
    Lite,
    /// 1 GiB.
    #[default]
    Basic,
    /// 4 GiB.
    #[serde(rename = "standard-1")]
    Standard1,
    /// 6 GiB.
    #[serde(rename = "standard-2")]
    Standard2,
    /// 8 GiB.
    #[serde(rename = "standard-3")]
    Standard3,
    /// 12 GiB.
    #[serde(rename = "standard-4")]
    Standard4,
}

/// `[deploy.aws]`. The account is not among them: it is whose credentials the commands are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsSpec {
    /// The region, such as `eu-central-1`. Default: that of the credentials the commands are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where the state lives. Default: `dynamodb`; `postgres` with `database_secret_arn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<AwsCatalog>,
    /// What runs all pipelines. Default: Lambda, and Fargate for pipelines that need a network or more than Lambda has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<AwsCompute>,
    /// The pipelines that run on Fargate, where the default is not wanted for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fargate: Vec<String>,
    /// What a function or a task may use at most, such as `2GiB`; half of it is for rows on their way. Default: `1GiB` for a
    /// function, `2GiB` for a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// An existing network, `vpc-…`, for tasks and database. Default: one of the deployment's own, where one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// The subnets of that network that tasks run in, `subnet-…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnet_ids: Vec<String>,
    /// The security groups of that network that tasks are in, `sg-…`. Default: the network's own default group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_group_ids: Vec<String>,
    /// An existing bucket that is the store. Default: one of the deployment's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The ARN of a secret in Secrets Manager that tells an existing PostgreSQL database, with `username`, `password`,
    /// `host`, `port` and `dbname`. The catalog is in that database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_secret_arn: Option<String>,
    /// Where that database is, such as `db.example.com` or `db.example.com:5433`: for a secret that does not say it, such as
    /// one that RDS manages, or says another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_host: Option<String>,
    /// Its name, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_name: Option<String>,
    /// The ARN of a KMS key that encrypts all that is stored. Default: keys of AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    /// The ARN of a policy that bounds every role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions_boundary_arn: Option<String>,
    /// Tags of everything that is created.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Where the state of a deployment on AWS lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AwsCatalog {
    /// A table of DynamoDB.
    Dynamodb,
    /// A database of RDS, or the one of `database_secret_arn`.
    Postgres,
}

/// What runs a pipeline on AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AwsCompute {
    /// A Lambda function, once for each step.
    Lambda,
    /// A task of Fargate, once for each run.
    Fargate,
}

/// The least that a server may be given, in MiB.
pub const LEAST_MEMORY_MIB: u64 = 256;

/// `2GiB` or `512MiB` in MiB; none for anything else, and for less than [`LEAST_MEMORY_MIB`] or more than 1 TiB.
pub fn deploy_memory_mib(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix("GiB") {
        Some(digits) => (digits, 1024),
        None => (text.strip_suffix("MiB")?, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mib = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    (LEAST_MEMORY_MIB..=1 << 20).contains(&mib).then_some(mib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_a_unit_and_bounds() {
        assert_eq!(deploy_memory_mib("2GiB"), Some(2048));
        assert_eq!(deploy_memory_mib("256MiB"), Some(256));
        for wrong in ["255MiB", "2GB", "2", "GiB", "+2GiB", " 2GiB", "2000GiB", "99999999999999999999GiB"] {
            assert_eq!(deploy_memory_mib(wrong), None, "{wrong}");
        }
    }
}
