//! `hakiri dev TARGET`: the generated project, run on this machine by the real parts of the platform, without an account.
//!
//! ```text
//! packages    packages for node and Python in the cache, installed at first use
//! process     the process that is the platform: its scripts, its configuration, its end
//! lines       what the parts say, in one stream
//! cloudflare  workerd with the generated Worker, its containers as processes of this binary
//! aws         a stand-in for AWS with the generated template deployed to it, functions and tasks as processes of this
//!             binary
//! ```

pub mod aws;
pub mod cloudflare;
pub mod lines;
pub mod packages;
mod process;

use std::net::SocketAddr;
use std::path::PathBuf;

use hakiri_core::Result;

use crate::printer::Printer;

/// What a local run is told.
#[derive(Debug)]
pub struct Options {
    /// The generated folder.
    pub generated: PathBuf,
    /// Where its state is kept: catalog, bucket, logs.
    pub work_dir: PathBuf,
    /// The values of the project's secrets, by name.
    pub secrets: Vec<(String, String)>,
    /// So many ticks, one after the other, without waiting for the clock; none: by the clock, until interrupted.
    pub ticks: Option<u32>,
    /// The time of the first of them, in milliseconds.
    pub from: Option<i64>,
    /// How far apart they are, in milliseconds.
    pub every: i64,
    /// Where the status page is.
    pub page: Option<SocketAddr>,
    /// Arguments of the binary that choose the project for the page.
    pub project: Vec<String>,
}

/// What runs a target's files on this machine, and what it has to know of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platform {
    /// The runtime of Workers.
    Workerd(cloudflare::Deployment),
    /// The stand-in for AWS.
    Aws(aws::Deployment),
}

/// Runs it; ends with the last tick, or when interrupted. Blocks.
///
/// # Errors
/// `HK1220` for packages, `HK1221` when a part does not start or ends by itself.
pub fn run(printer: &Printer, options: &Options, platform: &Platform) -> Result<()> {
    let prepared = match platform {
        Platform::Workerd(deployment) => cloudflare::prepare(printer, options, deployment)?,
        Platform::Aws(deployment) => aws::prepare(printer, options, deployment)?,
    };
    process::run(printer, &options.work_dir, prepared)
}
