//! `hakiri dev aws`: the generated templates, deployed through CloudFormation to a stand-in for AWS (MiniStack), with this
//! very binary as the function and as the container of each task, and with a real PostgreSQL where the catalog is one. What
//! only AWS itself has is listed in `docs/deploy/aws.md`, "Not proved here".
//!
//! One Python process ([`SCRIPTS`]) is the platform: it starts the stand-in with what it needs put right, answers what the
//! stand-in asks of a container engine, deploys, and steps time: it reads the deployed schedules and starts executions as
//! the Scheduler would. Permissions are enforced: a role that lacks one fails here too, as far as the stand-in looks. This
//! module makes its configuration.

use hakiri_core::Result;
use serde_json::{Map, Value, json};

use super::Options;
use super::packages::Python;
use super::process::{Prepared, passed};
use crate::environment;
use crate::printer::Printer;

/// The scripts, by name; the first is the one to start.
const SCRIPTS: &[(&str, &str)] = &[
    ("dev.py", include_str!("aws/dev.py")),
    ("standin.py", include_str!("aws/standin.py")),
    ("engine.py", include_str!("aws/engine.py")),
    ("postgres.py", include_str!("aws/postgres.py")),
    ("schedule.py", include_str!("aws/schedule.py")),
    ("stack.py", include_str!("aws/stack.py")),
];
/// What they run on.
const REQUIREMENTS: &str = include_str!("aws/requirements.txt");
/// The name of its folder in the cache.
const PACKAGES: &str = "python-aws";
/// Where the deployment is unless it says otherwise: the stand-in is the same in every region.
const REGION: &str = "us-east-1";

/// What is to know of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The stack's name.
    pub name: String,
    /// The region it asks for.
    pub region: Option<String>,
    /// The buckets that it does not make: those that files are read from, and one of somebody else's for the store.
    pub buckets: Vec<String>,
    /// Whether the catalog is a database of somebody else's.
    pub database: bool,
}

pub(super) fn prepare(printer: &Printer, options: &Options, deployment: &Deployment) -> Result<Prepared> {
    let python = Python::ensure(PACKAGES, REQUIREMENTS, printer)?;
    let secrets: Map<String, Value> =
        options.secrets.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let page = options.page.map(|listen| json!({ "listen": listen.to_string(), "args": options.project }));
    let config = json!({
        "project_dir": options.generated,
        "work_dir": options.work_dir,
        "binary": environment::executable()?,
        "name": deployment.name,
        "region": deployment.region.as_deref().unwrap_or(REGION),
        "ticks": options.ticks,
        "from": options.from,
        "every_ms": options.every,
        "buckets": deployment.buckets,
        "database": deployment.database,
        "secrets": secrets,
        "env": passed(),
        "clock": options.ticks.is_none(),
        "page": page,
    });
    Ok(Prepared {
        config,
        interpreter: Box::new(move |script| python.script(script)),
        name: "python",
        scripts: SCRIPTS,
    })
}
