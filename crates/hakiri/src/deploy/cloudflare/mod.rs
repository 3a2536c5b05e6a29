//! Cloudflare (Topology 3): a trigger wakes a Workflow, which drives the binary in a container; the catalog is a Durable
//! Object and the store an R2 bucket.
//!
//! The TypeScript in `src/` is the same for every project and type-checks where it lies; `project.ts` is what differs.
//! Store and catalog of the manifest are those of a laptop or a server: here the deployment brings its own, so that the
//! manifest is the same everywhere. There is one trigger, every minute, and a table in the catalog of who is due
//! (ADR 0021): folding the pipelines' own schedules into few triggers would say the same less exactly.

mod apply;
mod cost;
mod limits;

use std::collections::{BTreeMap, BTreeSet};

use hakiri_core::Result;
use hakiri_core::spec::{CloudflareSpec, PipelineSpec, deploy_memory_mib};

use self::limits::Size;
use super::FORMAT;
use super::capability::{Feature, Refusal, Support};
use super::cost::Cost;
use super::files::Files;
use super::input::{Input, buckets};
use super::progress::PROGRESS;
use super::resources::{Resource, SECRET};
use super::secrets::{self, Needed};
use super::steps::{Here, Removal};
use super::target::{self, Local, Target};
use super::template::Values;
use crate::dev::Platform;
use crate::dev::cloudflare::Deployment;
use crate::environment::CATALOG_TOKEN;

/// The longest name: with `-runner` it is still one that every part of the platform takes.
const NAME_LIMIT: usize = 56;
/// Where the project lies in the image.
const PROJECT: &str = "/project";
/// When a container sleeps of which nobody asks anything, and which nobody told to end.
const SLEEP_AFTER: &str = "2m";
/// How long a container goes on with what it has started after it was told to end. The Runner kills it some time after
/// that (`GRACE` in `runner.ts`), and in between lies the handing over: see the test.
const GRACE_SECONDS: u64 = 8;
/// What the container needs for the bucket.
const R2: [&str; 3] = ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_ENDPOINT"];
/// What the Worker wakes itself by.
const TRIGGER: &str = "* * * * *";

const OWN_CATALOG: &str = "The project's Durable Object takes its place.";
const OWN_STORE: &str = "The deployment's R2 bucket takes its place.";

/// The Worker's code, the same for every project.
const CODE: [(&str, &str); 9] = [
    ("catalog.ts", include_str!("src/catalog.ts")),
    ("create.ts", include_str!("src/create.ts")),
    ("drive.ts", include_str!("src/drive.ts")),
    ("env.ts", include_str!("src/env.ts")),
    ("index.ts", include_str!("src/index.ts")),
    ("records.ts", include_str!("src/records.ts")),
    ("runner.ts", include_str!("src/runner.ts")),
    ("wakes.ts", include_str!("src/wakes.ts")),
    ("workflow.ts", include_str!("src/workflow.ts")),
];

/// The target.
#[derive(Debug)]
pub struct Cloudflare;

/// What the manifest leaves open, decided.
struct Settings {
    /// Of the Worker; the others' are made of it.
    name: String,
    bucket: String,
    /// Where in the bucket: with an environment and a bucket of one's own, in a place of its own, since both
    /// environments could name the same bucket.
    store: String,
    size: Size,
    memory_mib: u64,
    /// What the pipelines that run there need, by name.
    passed: Vec<Needed>,
    /// The buckets that pipelines read files from, other than the store.
    read: Vec<String>,
}

impl Settings {
    fn of(input: &Input<'_>) -> Self {
        const NONE: &CloudflareSpec = &CloudflareSpec { bucket: None, instance_type: None, memory: None };
        let spec = input.project.deploy.cloudflare.as_ref().unwrap_or(NONE);
        let name = input.name(NAME_LIMIT);
        let size = Size::of(spec.instance_type.unwrap_or_default());
        let bucket = spec.bucket.clone().unwrap_or_else(|| name.clone());
        let read = input.scheduled().into_iter().flat_map(buckets).filter(|read| *read != bucket).map(str::to_owned);
        let read: BTreeSet<String> = read.collect();
        Self {
            read: read.into_iter().collect(),
            store: match (&spec.bucket, &input.project.env) {
                (Some(_), Some(_)) => format!("s3://{bucket}/{name}"),
                _ => format!("s3://{bucket}"),
            },
            bucket,
            size,
            memory_mib: spec.memory.as_deref().and_then(deploy_memory_mib).unwrap_or(size.memory_mib),
            passed: secrets::of_pipelines(input, input.scheduled()),
            name,
        }
    }

    fn workflow(&self) -> String {
        format!("{}-run", self.name)
    }

    /// What the token for the buckets has to be allowed.
    fn token(&self) -> String {
        let read = match &self.read[..] {
            [] => String::new(),
            read => format!(", and read {} of this account, where files are read", read.join(" and ")),
        };
        format!("of an R2 API token that may read and write objects of the bucket {}{read}", self.bucket)
    }

    /// Everything that `wrangler secret put` is run for.
    fn needed(&self) -> Vec<Needed> {
        let own = |name: &str, what: &str, optional| Needed { name: name.to_owned(), what: what.to_owned(), optional };
        let mut out = vec![
            own(R2[0], &self.token(), false),
            own(R2[1], "of the same token", false),
            own(R2[2], "https://ACCOUNT.r2.cloudflarestorage.com, with the id of the account", false),
        ];
        out.extend(self.passed.iter().cloned());
        out.push(own(CATALOG_TOKEN, "opens the catalog to whoever knows it; at least 16 characters", true));
        out
    }

    /// The image's command.
    fn command(&self, input: &Input<'_>) -> Vec<String> {
        let mut args = vec!["/hakiri".to_owned(), "-C".to_owned(), PROJECT.to_owned()];
        args.extend(target::env_args(input));
        args.extend(["--log-format".to_owned(), "json".to_owned(), "--memory".to_owned()]);
        args.push(format!("{}MiB", self.memory_mib / 2));
        args.extend(["worker".to_owned(), "--grace".to_owned(), format!("{GRACE_SECONDS}s")]);
        let rest = ["--listen", "0.0.0.0:8080", "--catalog", "http://catalog.hakiri", "--store", &self.store];
        args.extend(rest.map(str::to_owned));
        args
    }
}

fn ids<'p>(pipelines: &[&'p PipelineSpec]) -> Vec<&'p str> {
    pipelines.iter().map(|p| p.id.as_str()).collect()
}

/// The names of the secrets that each container is given: those of its own pipeline, and the webhook's.
fn given<'p>(input: &Input<'p>) -> BTreeMap<&'p str, Vec<String>> {
    let names = |pipeline| secrets::of_pipelines(input, [pipeline]).into_iter().map(|n| n.name).collect();
    input.scheduled().into_iter().map(|pipeline| (pipeline.id.as_str(), names(pipeline))).collect()
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::json!(value).to_string()
}

/// `project.ts`: JSON's texts and lists are those of TypeScript, with the same escapes.
fn project_ts(input: &Input<'_>) -> Result<String> {
    Values::headed()
        .with("project", json(input.project.name.as_str()))
        .with("build", json(&crate::project::build(input.project.env.as_deref(), input.manifest)))
        .with("pipelines", json(&ids(&input.scheduled())))
        .with("secrets", json(&given(input)))
        .with("sleep_after", json(SLEEP_AFTER))
        .fill(include_str!("project.ts"))
}

/// The configuration of wrangler, with these triggers.
fn wrangler(input: &Input<'_>, settings: &Settings, triggers: &[&str]) -> Result<String> {
    Values::headed()
        .with("name", json(&settings.name))
        .with("workflow", json(&settings.workflow()))
        .with("container", json(&format!("{}-runner", settings.name)))
        .with("instance_type", json(settings.size.name))
        .with("instances", input.scheduled().len().max(1).to_string())
        .with("triggers", json(triggers))
        .fill(include_str!("wrangler.jsonc"))
}

impl Target for Cloudflare {
    fn name(&self) -> &'static str {
        "cloudflare"
    }

    fn topology(&self, _: &Input<'_>) -> &'static str {
        "3"
    }

    fn supports(&self, feature: Feature) -> Support {
        match feature {
            Feature::Schedules => Support::With("To the minute; what is more often is refused."),
            Feature::ByHand => Support::With("Nothing wakes them there."),
            Feature::LocalFiles => Support::No {
                why: "a container has no files of this machine",
                instead: "put the files into an R2 bucket and write path = \"s3://bucket/…\", or use `hakiri deploy \
                          systemd` or `compose` where they lie",
            },
            Feature::NetworkSources => Support::With(
                "Over the internet; addresses of a private network are refused. Files in buckets are those of R2.",
            ),
            Feature::SqliteCatalog | Feature::PostgresCatalog => Support::With(OWN_CATALOG),
            Feature::FolderStore | Feature::BucketStore => Support::With(OWN_STORE),
            Feature::Notify => Support::With("`late` is noticed only while a container is awake."),
            Feature::Transforms | Feature::Secrets | Feature::Environments | Feature::Renames => Support::Yes,
        }
    }

    fn runs(&self, pipeline: &PipelineSpec) -> bool {
        pipeline.schedule.is_some()
    }

    fn limits(&self, input: &Input<'_>) -> Vec<Refusal> {
        limits::limits(input, &Settings::of(input))
    }

    fn generate(&self, input: &Input<'_>) -> Result<Files> {
        let s = Settings::of(input);
        let mut files = Files::default();
        for (name, text) in CODE {
            let head =
                format!("// Generated by `hakiri deploy cloudflare`, format {FORMAT}: the same for every project.");
            files.add(&format!("src/{name}"), format!("{head}\n{text}"))?;
        }
        files.add("src/project.ts", project_ts(input)?)?;
        files.add("wrangler.jsonc", wrangler(input, &s, &[TRIGGER])?)?;
        let head = format!("\"//\": \"Generated by `hakiri deploy cloudflare`, format {FORMAT}.\"");
        files.add("package.json", include_str!("package.json").replacen('{', &format!("{{\n  {head},"), 1))?;
        let head = format!("// Generated by `hakiri deploy cloudflare`, format {FORMAT}.");
        files.add("tsconfig.json", format!("{head}\n{}", include_str!("tsconfig.json")))?;
        let docker = Values::headed().with("entrypoint", json(&s.command(input)));
        files.add("Dockerfile", docker.fill(include_str!("Dockerfile"))?)?;
        files.add(".dockerignore", Values::headed().fill(include_str!("dockerignore"))?)?;
        files.add("state/.keep", Values::headed().fill(include_str!("keep"))?)?;
        let ignored = Values::headed().with("progress", PROGRESS).fill(include_str!("gitignore"))?;
        files.add(".gitignore", ignored)?;
        for (path, text) in input.copies() {
            files.add(&path, text)?;
        }
        let example = Values::headed().with_lines("names", secrets::example(&s.needed()));
        files.add("secrets.example", example.fill(include_str!("secrets.example"))?)?;
        let resources: Vec<String> = self
            .resources(input)
            .iter()
            .filter(|r| r.kind != SECRET)
            .map(|r| format!("| {} | `{}`{} | {} |", r.kind, r.name, bound(r), r.limit))
            .collect();
        let readme = Values::headed()
            .with("title", target::title(input))
            .with_lines("steps", self.next(input))
            .with_lines("notes", self.notes(input).into_iter().map(|note| format!("- {note}.")).collect())
            .with_lines("names", secrets::rows(&s.needed()))
            .with_lines("resources", resources)
            .with("name", &s.name)
            .with("bucket", &s.bucket)
            .with("workflow", s.workflow())
            .with("store", format!("{}/{}", s.store, input.project.name))
            .with("env", target::env_words(input))
            .fill(include_str!("README.md"))?;
        files.add("README.md", readme)?;
        Ok(files)
    }

    fn next(&self, input: &Input<'_>) -> Vec<String> {
        let s = Settings::of(input);
        // As `--apply` does it, for people: what needs a file or a value is said by the README.
        let mut steps: Vec<String> =
            apply::steps(&s).iter().filter(|step| step.is_remembered()).map(apply::by_hand).collect();
        let secrets = s.needed().into_iter().filter(|n| !n.optional);
        steps.extend(secrets.map(|n| apply::put(&n.name)));
        steps
    }

    fn resources(&self, input: &Input<'_>) -> Vec<Resource> {
        apply::resources(input, &Settings::of(input))
    }

    fn notes(&self, input: &Input<'_>) -> Vec<String> {
        target::never_run(input).into_iter().collect()
    }

    fn cost(&self, input: &Input<'_>) -> Result<Option<Cost>> {
        cost::cost(input, Settings::of(input).size).map(Some)
    }

    fn local(&self, input: &Input<'_>) -> Option<Local> {
        let s = Settings::of(input);
        let secrets = s.passed.into_iter().map(|n| n.name).collect();
        let packages = include_str!("package.json");
        let platform = Platform::Workerd(Deployment { bucket: s.bucket, store: s.store, packages });
        Some(Local { secrets, platform })
    }

    fn apply(&self, input: &Input<'_>) -> Result<Option<Here>> {
        let settings = Settings::of(input);
        Ok(Some(Here { tools: apply::TOOLS.to_vec(), steps: apply::steps(&settings), ..Here::default() }))
    }

    fn removal(&self, input: &Input<'_>, with_data: bool) -> Result<Removal> {
        apply::removal(input, &Settings::of(input), with_data)
    }
}

fn bound(resource: &Resource) -> String {
    resource.binding.as_ref().map(|b| format!(" as `{b}`")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_code_is_in_the_folder() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/deploy/cloudflare/src");
        let mut there: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".ts") && !name.starts_with("project."))
            .collect();
        there.sort();
        assert_eq!(there, CODE.map(|(name, _)| name.to_owned()));
    }

    #[test]
    fn the_shortest_token_is_that_of_the_door() {
        let door = format!("const SHORTEST_TOKEN = {};", apply::CATALOG_TOKEN_SHORTEST);
        assert!(include_str!("src/index.ts").contains(&door), "{door}");
    }

    #[test]
    fn a_container_has_handed_over_before_it_is_killed() {
        let runner = include_str!("src/runner.ts");
        let killed = runner.lines().find_map(|l| l.strip_prefix("const GRACE = ")?.split(';').next()).unwrap();
        let killed: u64 = killed.trim().replace('_', "").parse().unwrap();
        // The handing over of what is left, and the last answers: five seconds each at most, see `worker`.
        let longest = (GRACE_SECONDS + 10) * 1_000;
        assert!(killed >= longest, "the Runner kills after {killed} ms, the worker takes up to {longest} ms");
    }
}
