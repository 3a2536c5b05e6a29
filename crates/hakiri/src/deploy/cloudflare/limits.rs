//! What of a project is beyond the platform, with the limit and what to do: said before a file is written.

use hakiri_core::spec::InstanceType;
use hakiri_core::time::Tick;

use super::Settings;
use crate::deploy::capability::Refusal;
use crate::deploy::input::Input;
use crate::deploy::{private, target};

/// The trigger's grain, in milliseconds.
const MINUTE: i64 = 60_000;

/// Variables that the Worker gives to the container, or that are its own.
const RESERVED: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "HAKIRI_TOKEN",
    super::CATALOG_TOKEN,
    super::R2[0],
    super::R2[1],
    super::R2[2],
];

/// What a container of some size has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    /// As the configuration calls it.
    pub(super) name: &'static str,
    pub(super) vcpu: f64,
    pub(super) memory_mib: u64,
    pub(super) disk_gb: u32,
}

/// All sizes, the smallest first.
const SIZES: [(InstanceType, Size); 6] = [
    (InstanceType::Lite, Size { name: "lite", vcpu: 0.0625, memory_mib: 256, disk_gb: 2 }),
    (InstanceType::Basic, Size { name: "basic", vcpu: 0.25, memory_mib: 1_024, disk_gb: 4 }),
    (InstanceType::Standard1, Size { name: "standard-1", vcpu: 0.5, memory_mib: 4_096, disk_gb: 8 }),
    (InstanceType::Standard2, Size { name: "standard-2", vcpu: 1.0, memory_mib: 6_144, disk_gb: 12 }),
    (InstanceType::Standard3, Size { name: "standard-3", vcpu: 2.0, memory_mib: 8_192, disk_gb: 16 }),
    (InstanceType::Standard4, Size { name: "standard-4", vcpu: 4.0, memory_mib: 12_288, disk_gb: 20 }),
];

impl Size {
    /// The size of a name.
    pub(super) fn of(instance: InstanceType) -> Self {
        SIZES.iter().find(|(i, _)| *i == instance).map_or(SIZES[1].1, |(_, size)| *size)
    }

    /// Its memory as people read it.
    pub(super) fn memory(self) -> String {
        match self.memory_mib {
            mib if mib % 1_024 == 0 => format!("{} GiB", mib / 1_024),
            mib => format!("{mib} MiB"),
        }
    }
}

/// All that is refused.
pub(super) fn limits(input: &Input<'_>, settings: &Settings) -> Vec<Refusal> {
    let mut out: Vec<Refusal> = target::env_limit(input).into_iter().collect();
    schedules(input, &mut out);
    if settings.memory_mib > settings.size.memory_mib {
        let larger = SIZES.iter().find(|(_, size)| size.memory_mib >= settings.memory_mib);
        out.push(Refusal::new(
            format!(
                "[deploy.cloudflare] memory is {} MiB, and a container of the size {} has {}",
                settings.memory_mib,
                settings.size.name,
                settings.size.memory()
            ),
            match larger {
                Some((_, size)) => format!("set instance_type to {}, or memory to less", size.name),
                None => "set memory to 12GiB at most, which the size standard-4 has".to_owned(),
            },
        ));
    }
    for (what, host) in private::hosts(input, input.scheduled()) {
        out.push(Refusal::new(
            format!("{what} names {host}, which containers cannot reach: they have no private network"),
            "name a host that can be reached over the internet, with TLS and a password, or deploy with `hakiri deploy \
             systemd` or `compose` within that network",
        ));
    }
    out.extend(target::certificate_limits(input.scheduled()));
    for name in settings.passed.iter().map(|n| &n.name).filter(|n| RESERVED.contains(&n.as_str())) {
        out.push(Refusal::new(
            format!("the name {name} of a secret is taken: the Worker gives it to the container with another value"),
            "give the secret another name in the manifest",
        ));
    }
    out
}

/// Between two ticks, and that there is one at all.
fn schedules(input: &Input<'_>, out: &mut Vec<Refusal>) {
    for pipeline in input.scheduled() {
        let Ok(Some(schedule)) = pipeline.schedule() else { continue };
        let first = schedule.next_after(Tick::from_millis(0));
        let between = first.and_then(|first| Some(schedule.next_after(first)?.millis() - first.millis()));
        if between.is_some_and(|between| between < MINUTE) {
            out.push(Refusal::new(
                format!(
                    "`{schedule}` of the pipeline {} is more often than once a minute, the most a trigger does",
                    pipeline.id
                ),
                "use `every 1m` or more, for this deployment alone in [env.NAME.schedule]",
            ));
        }
    }
    out.extend(target::nothing_wakes(input));
}
