//! Targets that people ask for and that there is no generator for: what to use instead.
//!
//! Hakiri is one static binary, so that every cloud with Linux machines runs it; what is missing there is only the
//! wiring. A refusal therefore always ends with a command that works.

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

use super::{TARGETS, Target};

/// A target without a generator.
struct Elsewhere {
    /// What people call it; the first is shown.
    names: &'static [&'static str],
    /// Its own name.
    title: &'static str,
    /// What runs Hakiri there.
    on: &'static str,
    /// Whether that is a machine of one's own (systemd) or something that runs images (Compose).
    command: &'static str,
}

const SERVER: &str = "hakiri deploy systemd";
const IMAGE: &str = "hakiri deploy compose";

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        names: &["gcp", "google", "gce", "gke", "cloudrun", "cloud-run"],
        title: "Google Cloud",
        on: "a Compute Engine machine",
        command: SERVER,
    },
    Elsewhere {
        names: &["azure", "aks", "azure-container-apps"],
        title: "Azure",
        on: "a virtual machine",
        command: SERVER,
    },
    Elsewhere {
        names: &["fly", "fly.io", "flyio"],
        title: "Fly",
        on: "a machine with a volume and Docker",
        command: IMAGE,
    },
    Elsewhere { names: &["render"], title: "Render", on: "a server that runs Docker", command: IMAGE },
    Elsewhere { names: &["railway"], title: "Railway", on: "a server that runs Docker", command: IMAGE },
    Elsewhere {
        names: &["kubernetes", "k8s", "helm", "openshift"],
        title: "Kubernetes",
        on: "a machine beside the cluster",
        command: IMAGE,
    },
    Elsewhere { names: &["heroku"], title: "Heroku", on: "a server that runs Docker", command: IMAGE },
    Elsewhere {
        names: &["digitalocean", "do", "hetzner", "linode", "vultr", "ovh", "oracle"],
        title: "this provider",
        on: "a virtual machine",
        command: SERVER,
    },
    Elsewhere {
        names: &["docker", "docker-compose", "podman", "swarm", "docker-swarm"],
        title: "Docker by itself",
        on: "a server that runs Docker",
        command: IMAGE,
    },
    Elsewhere { names: &["nomad"], title: "Nomad", on: "a server", command: SERVER },
    Elsewhere { names: &["server", "vm", "ec2", "vps", "linux"], title: "a plain server", on: "it", command: SERVER },
];

/// The target of this name.
///
/// # Errors
/// `HK1201`; the message names the topology to use and the hint the command that generates it.
pub fn find(name: &str) -> Result<&'static dyn Target> {
    let asked = name.to_ascii_lowercase();
    if let Some(target) = TARGETS.into_iter().find(|t| t.name() == asked) {
        return Ok(target);
    }
    let Some(found) = ELSEWHERE.iter().find(|e| e.names.contains(&asked.as_str())) else {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
        let known: Vec<&str> = TARGETS.iter().map(|t| t.name()).collect();
        return Err(Error::new(Code::DeployTarget, format!("there is no target `{shown}`"))
            .with_hint(format!("use one of: {}", known.join(", "))));
    };
    let other = if found.command == SERVER { IMAGE } else { SERVER };
    Err(Error::new(
        Code::DeployTarget,
        format!(
            "there is no generator for {asked}: run Hakiri on {} as Topology 2 (one server), or as Topology 2.5 (several \
             servers, with [catalog] url and a bucket)",
            found.on
        ),
    )
    .with_hint(format!("`{}` generates either for {}; so does `{other}`", found.command, found.title)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_both_topologies_and_a_command_that_exists() {
        let mut seen = std::collections::BTreeSet::new();
        for name in ELSEWHERE.iter().flat_map(|e| e.names) {
            assert!(seen.insert(*name), "{name} is there twice");
            let error = find(name).unwrap_err();
            assert_eq!(error.code(), Code::DeployTarget);
            assert!(error.message().contains("Topology 2 ") && error.message().contains("Topology 2.5"), "{error}");
            for command in [SERVER, IMAGE] {
                assert!(error.hint().contains(command), "{}", error.hint());
                find(command.rsplit(' ').next().unwrap()).unwrap();
            }
        }
        assert!(find("K8S").is_err() && find("nonsense").unwrap_err().hint().contains("systemd, compose, cloudflare"));
        assert!(TARGETS.iter().all(|t| !seen.contains(t.name())), "a target cannot be both");
    }
}
