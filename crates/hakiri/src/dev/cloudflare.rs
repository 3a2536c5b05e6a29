//! `hakiri dev cloudflare`: the generated Worker, Workflow and Durable Object on real workerd (Miniflare), with this very
//! binary as the process of each container. Only the image, the isolation of containers and Cloudflare's own control plane
//! are not here: see `docs/deploy/cloudflare.md`, "Not proved here".
//!
//! One node process ([`RUNNER`]) is the platform: it bundles the generated folder as it stands, starts workerd on it and
//! answers the few calls of a container engine that workerd makes. It also starts the status page, which reads the same
//! catalog through its public door, as anybody outside would. This module makes its configuration.

use hakiri_core::Result;
use serde_json::{Map, Value, json};

use super::Options;
use super::packages::Node;
use super::process::{Prepared, passed};
use crate::environment::{self, CATALOG_TOKEN};
use crate::printer::Printer;

/// The runner's scripts, by name; the first is the one to start.
const RUNNER: &[(&str, &str)] =
    &[("dev.mjs", include_str!("cloudflare/dev.mjs")), ("standin.mjs", include_str!("cloudflare/standin.mjs"))];

/// What is to know of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The bucket's name.
    pub bucket: String,
    /// Where in it the store is.
    pub store: String,
    /// The `package.json` of what it runs on.
    pub packages: &'static str,
}

pub(super) fn prepare(printer: &Printer, options: &Options, deployment: &Deployment) -> Result<Prepared> {
    let packages = Node::ensure(deployment.packages, printer)?;
    // The public door is closed unless the page needs it, or whoever runs this has a token for it.
    let door = match environment::variable(CATALOG_TOKEN) {
        None if options.page.is_some() => Some(environment::new_id()?),
        own => own,
    };
    Ok(Prepared {
        config: configuration(options, deployment, &packages, door.as_deref())?,
        interpreter: Box::new(move |script| packages.script(script)),
        name: "node",
        scripts: RUNNER,
    })
}

/// What the runner reads.
fn configuration(options: &Options, deployment: &Deployment, packages: &Node, door: Option<&str>) -> Result<Value> {
    let mut secrets: Map<String, Value> =
        options.secrets.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    secrets.extend(door.map(|door| (CATALOG_TOKEN.to_owned(), door.into())));
    let page = options.page.zip(door).map(|(listen, door)| {
        json!({ "listen": listen.to_string(), "args": options.project, "store": deployment.store, "token": door })
    });
    Ok(json!({
        "project_dir": options.generated,
        "work_dir": options.work_dir,
        "node_modules": packages.modules(),
        "binary": environment::executable()?,
        "port": 0,
        "ticks": options.ticks,
        "from": options.from,
        "every_ms": options.every,
        "bucket": deployment.bucket,
        "secrets": secrets,
        "env": passed(),
        "clock": options.ticks.is_none(),
        "page": page,
    }))
}
