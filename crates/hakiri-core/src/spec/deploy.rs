//! `[deploy.<target>]`: what a target cannot know by itself. Everything else is derived from the project, so that a
//! manifest without any of these tables can be deployed.
//!
//! A target that is not built has no table here: its settings are refused as unknown keys instead of being ignored.

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
