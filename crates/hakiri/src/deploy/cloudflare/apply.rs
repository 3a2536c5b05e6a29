//! What there is in the account, the commands that put it there, and those that take it away: all by wrangler, from the
//! packages of the generated folder.
//!
//! `wrangler delete` takes the Durable Objects with the Worker, and the catalog is one of them. So what is taken away
//! without `--with-data` is all that runs (trigger, Workflow and its instances), while the Worker stays as the keeper of
//! the catalog, asleep and at no cost (G4).

use hakiri_core::Result;

use super::limits::Size;
use super::{CATALOG_TOKEN, Settings, TRIGGER, wrangler};
use crate::deploy::input::Input;
use crate::deploy::resources::{Resource, SECRET};
use crate::deploy::steps::{Act, Here, How, Removal, Step, Tool};

/// The kinds that a deployment has none of any more when it was put to sleep.
const CRON: &str = "cron trigger";
const WORKFLOW: &str = "Workflow";
/// What wrangler says of a bucket that is there already. Names of buckets are the account's own: it cannot be another's.
const THERE: &[&str] = &["already exists", "[code: 10004]"];
/// The shortest token that opens the public door of the catalog, as `index.ts` has it: a shorter one leaves it shut.
pub(super) const CATALOG_TOKEN_SHORTEST: usize = 16;
/// What it says of a Worker, a bucket and a Workflow that are gone: by their codes, since "not found" is also said of
/// accounts and programs, and what is still there must not pass for gone.
const GONE: &[&str] = &["[code: 10007]", "[code: 10006]", "[code: 10200]", "workflow.not_found"];
/// The configuration of a Worker that nothing wakes.
const ASLEEP: &str = "wrangler.asleep.jsonc";

/// What has to be there before anything is started.
pub(super) const TOOLS: [Tool; 2] = [
    Tool {
        program: "npm",
        why: "installs the pinned wrangler into the folder",
        remedy: "install Node.js with npm (any version from 20 on; the one that wrangler needs is among the packages)",
    },
    Tool {
        program: "docker",
        why: "wrangler needs to build the image and to push it",
        remedy: "install Docker and start it, or run this where it is",
    },
];

/// Everything that is created.
pub(super) fn resources(input: &Input<'_>, s: &Settings) -> Vec<Resource> {
    let Size { name: size, vcpu, disk_gb, .. } = s.size;
    let instances = input.scheduled().len();
    let mut out = vec![
        Resource::new("Worker", &s.name, "128 MB; rows never pass it"),
        Resource::new(CRON, TRIGGER, "once a minute, UTC, one of the account's 250"),
        Resource::new("Durable Object", "Catalog", "10 GB, 2 MB a record").bound("CATALOG"),
        Resource::new("Durable Object", "Runner", "one for each pipeline, leads its container").bound("RUNNER"),
        Resource::new(
            WORKFLOW,
            s.workflow(),
            "10,000 steps an instance, 1 MiB a result; one for each pipeline and wake",
        )
        .bound("RUN"),
        Resource::new(
            "container",
            format!("{}-runner", s.name),
            format!(
                "{size}: {vcpu} vCPU, {}, {disk_gb} GB of disk; {instances} at most, {} MiB of each for rows on their way",
                s.size.memory(),
                s.memory_mib / 2
            ),
        ),
        Resource::new("R2 bucket", &s.bucket, "one write a second and key, 5 GiB a part; reached by its S3 address"),
    ];
    out.extend(
        s.needed()
            .into_iter()
            .map(|n| Resource::new(SECRET, n.name, if n.optional { format!("optional: {}", n.what) } else { n.what })),
    );
    out
}

/// The steps of `--apply`.
pub(super) fn steps(s: &Settings) -> Vec<Step> {
    let mut steps = vec![
        Step::new("the binary", Act::Binary("hakiri")),
        install(),
        Step::run_or("the bucket", &["wrangler", "r2", "bucket", "create", &s.bucket], THERE),
        Step::run("the Worker, the Workflow and the image", &["wrangler", "deploy"]),
    ];
    steps.extend(s.needed().into_iter().map(|n| {
        let title = format!("the secret {}", n.name);
        let act = Act::Secret {
            shortest: if n.name == CATALOG_TOKEN { CATALOG_TOKEN_SHORTEST } else { 0 },
            command: ["wrangler", "secret", "put", &n.name].map(str::to_owned).to_vec(),
            by_hand: put(&n.name),
            name: n.name,
            optional: n.optional,
        };
        Step::new(title, act)
    }));
    steps
}

/// What a person types to give a secret its value.
pub(super) fn put(name: &str) -> String {
    format!("npx wrangler secret put {name}")
}

fn install() -> Step {
    Step::run("the packages", &["npm", "install", "--no-audit", "--no-fund"])
}

/// A step as a person types it.
pub(super) fn by_hand(step: &Step) -> String {
    let shown = step.shown();
    if shown.starts_with("wrangler ") { format!("npx {shown}") } else { shown }
}

/// What `hakiri destroy` does.
pub(super) fn removal(input: &Input<'_>, s: &Settings, with_data: bool) -> Result<Removal> {
    let workflow = s.workflow();
    let mut steps = vec![
        install(),
        Step::new("a configuration without a trigger", Act::Write { path: ASLEEP, text: wrangler(input, s, &[])? }),
        // Without the image: Docker is not needed to put something to sleep.
        Step::run("the trigger", &["wrangler", "deploy", "--config", ASLEEP, "--containers-rollout=none"]),
        Step::run_or(
            "the Workflow, with the instances that run",
            &["wrangler", "workflows", "delete", &workflow],
            GONE,
        ),
    ];
    if !with_data {
        return Ok(Removal {
            lost: vec![
                "the trigger: no pipeline runs any more".to_owned(),
                format!(
                    "the Workflow {workflow}, its history and the instances that run; what they did not commit is read \
                     again"
                ),
            ],
            kept: vec![
                format!(
                    "the Worker {} with its catalog and secrets, asleep: it costs nothing but what it stores",
                    s.name
                ),
                format!("the bucket {} with all stored data", s.bucket),
                "`hakiri deploy cloudflare --apply` wakes it again; `--with-data` destroys the rest as well".to_owned(),
            ],
            before: Vec::new(),
            left: resources(input, s).into_iter().filter(|r| ![CRON, WORKFLOW].contains(&r.kind.as_str())).collect(),
            how: How::Here(Here { tools: TOOLS[..1].to_vec(), steps, ..Here::default() }),
        });
    }
    // The bucket before the catalog: if it still holds data the deletion ends here, and what is in it can still be read
    // on by whoever thinks better of it. Nothing writes to it any more, since the trigger went first.
    steps.push(Step::run_or("the bucket, if it is empty", &["wrangler", "r2", "bucket", "delete", &s.bucket], GONE));
    steps.push(Step::run_or(
        "the Worker, with its catalog, secrets and containers",
        &["wrangler", "delete", &s.name, "--force"],
        GONE,
    ));
    Ok(Removal {
        lost: vec![
            format!("the catalog in the Durable Object of {}: how far each table was read, runs, schemas", s.name),
            format!("the bucket {} with all stored data", s.bucket),
            format!("the Workflow {workflow} and its history, the containers, the secrets of the Worker"),
        ],
        kept: vec!["the images that were pushed: `npx wrangler containers images list`".to_owned()],
        before: vec![format!(
            "empty the bucket {} yourself, in the dashboard (R2) or with any client of S3: wrangler deletes only one that \
             is empty, and until it is the catalog stays",
            s.bucket
        )],
        left: Vec::new(),
        how: How::Here(Here { tools: TOOLS[..1].to_vec(), steps, ..Here::default() }),
    })
}
