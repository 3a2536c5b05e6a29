//! AWS: a template for CloudFormation and a state machine beside it.
//!
//! ```text
//! shape      what runs each pipeline and where the state lives, by a table
//! schedule   Hakiri's schedules in the language of EventBridge Scheduler
//! settings   what the manifest leaves open, decided; all others go by it
//! limits     what is refused, before anything is written
//! template   the template, of the files in template/
//! policy     what each process may do, of the files in policy/
//! machine    the state machine, of the files in machine/
//! readme     what a person needs to know in the folder
//! resources  what there is in the account then
//! cost, walk what that costs a month
//! cli        the commands of the aws command line, and what is known of how they fail
//! apply      which of them put it there and take it away
//! ```
//!
//! Plain CloudFormation and not CDK: nothing has to be installed to make, read or compare it (ADR 0027).

pub(in crate::deploy) mod settings;
pub(in crate::deploy) mod shape;

mod apply;
mod cli;
mod cost;
mod limits;
mod machine;
mod policy;
mod readme;
mod resources;
mod schedule;
mod template;
mod walk;

use std::collections::BTreeSet;

use hakiri_core::Result;
use hakiri_core::spec::PipelineSpec;

use self::settings::Settings;
use super::capability::{Feature, Refusal, Support};
use super::cost::Cost;
use super::files::Files;
use super::input::Input;
use super::progress::PROGRESS;
use super::resources::Resource;
use super::steps::{Here, Removal};
use super::target::{Local, Target};
use super::template::Values;
use crate::dev::Platform;
use crate::dev::aws::Deployment;

const OWN_CATALOG: &str = "A table of DynamoDB, or a database of RDS, takes its place.";
const OWN_STORE: &str = "The deployment's S3 bucket takes its place.";

/// The target.
#[derive(Debug)]
pub struct Aws;

impl Target for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn topology(&self, _: &Input<'_>) -> &'static str {
        "4"
    }

    fn supports(&self, feature: Feature) -> Support {
        match feature {
            Feature::Schedules => Support::With("To the minute; what is more often is refused."),
            Feature::ByHand => Support::With("Nothing wakes them there."),
            Feature::LocalFiles => Support::No {
                why: "a function has no files of this machine",
                instead: "put the files into a bucket of S3 and write path = \"s3://bucket/…\", or use `hakiri deploy \
                          systemd` or `compose` where they lie",
            },
            Feature::NetworkSources => {
                Support::With("Over the internet, or with `vpc_id` in that network. Files in buckets are those of S3.")
            }
            Feature::SqliteCatalog | Feature::PostgresCatalog => Support::With(OWN_CATALOG),
            Feature::FolderStore | Feature::BucketStore => Support::With(OWN_STORE),
            Feature::Notify => Support::With("`late` is noticed only while a run is awake; alarms are told as well."),
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
        files.add("template.yaml", template::template(input, &s, true)?)?;
        files.add("foundation.yaml", template::foundation(input, &s)?)?;
        files.add("hakiri.asl.json", machine::definition(input, &s)?)?;
        files.add("cdk/hakiri.ts", Values::headed().with("name", &s.name).fill(include_str!("cdk/hakiri.ts"))?)?;
        if s.task.is_some() {
            files.add("Dockerfile", template::dockerfile(&s)?)?;
            files.add(".dockerignore", Values::headed().fill(include_str!("dockerignore"))?)?;
            files.add("state/.keep", Values::headed().fill(include_str!("keep"))?)?;
        }
        files.add(".gitignore", Values::headed().with("progress", PROGRESS).fill(include_str!("gitignore"))?)?;
        for (path, text) in input.copies() {
            files.add(&format!("code/{path}"), text)?;
        }
        if let Some(example) = readme::example(&s)? {
            files.add("secrets.example.json", example)?;
        }
        files.add("README.md", readme::readme(input, &s, self.notes(input))?)?;
        Ok(files)
    }

    fn next(&self, input: &Input<'_>) -> Vec<String> {
        apply::by_hand(&Settings::of(input))
    }

    fn resources(&self, input: &Input<'_>) -> Vec<Resource> {
        resources::resources(&Settings::of(input))
    }

    fn cost(&self, input: &Input<'_>) -> Result<Option<Cost>> {
        cost::cost(input, &Settings::of(input)).map(Some)
    }

    fn apply(&self, input: &Input<'_>) -> Result<Option<Here>> {
        Ok(Some(apply::here(&Settings::of(input))))
    }

    fn removal(&self, input: &Input<'_>, with_data: bool) -> Result<Removal> {
        apply::removal(input, &Settings::of(input), with_data)
    }

    fn local(&self, input: &Input<'_>) -> Option<Local> {
        let s = Settings::of(input);
        let secrets = s.passed.into_iter().map(|needed| needed.name).collect();
        let buckets: BTreeSet<String> = s.read.into_keys().chain(s.bucket).collect();
        let buckets = buckets.into_iter().collect();
        let database = s.database_secret.is_some();
        Some(Local {
            secrets,
            platform: Platform::Aws(Deployment { name: s.name, region: s.region, buckets, database }),
        })
    }

    fn notes(&self, input: &Input<'_>) -> Vec<String> {
        limits::notes(input, &Settings::of(input))
    }
}
