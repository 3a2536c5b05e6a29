//! The commands of the `aws` command line (version 1 or 2) that put a stack there, look at it and take it away, and what
//! is known of how they fail.
//!
//! A stack can be where no command helps it on: above all one whose first creation failed, which CloudFormation keeps
//! and never updates. So its state is asked for before it is deployed, and once more when that failed.

use super::settings::Settings;
use crate::deploy::steps::{Act, Remedy, Run, State, Step, Verdict, line};

/// What CloudFormation says of a stack that is not there.
pub(super) const NO_STACK: &[&str] = &["does not exist"];

/// Writes commands for a region.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cli<'s> {
    region: Option<&'s str>,
}

impl<'s> Cli<'s> {
    pub(super) fn of(settings: &'s Settings) -> Self {
        Self { region: settings.region.as_deref() }
    }

    /// Program and arguments.
    pub(super) fn words(self, args: &[&str]) -> Vec<String> {
        let region = self.region.into_iter().flat_map(|region| ["--region", region]);
        std::iter::once("aws").chain(args.iter().copied()).chain(region).map(str::to_owned).collect()
    }

    /// A command, with what is known of all of them.
    pub(super) fn run(self, args: &[&str], fine: &'static [&'static str]) -> Run {
        Run { command: self.words(args), fine, remedies: remedies(), ..Run::default() }
    }

    /// A step that is such a command.
    pub(super) fn step(self, title: impl Into<String>, args: &[&str], fine: &'static [&'static str]) -> Step {
        Step::new(title, Act::Run(self.run(args, fine)))
    }

    /// Learns an output of a stack that is, or may be, there.
    pub(super) fn output(self, title: &str, name: &'static str, stack: &str, output: &str, absent: Absent) -> Step {
        let query = output_query(output);
        let args = ["cloudformation", "describe-stacks", "--stack-name", stack, "--query", &query, "--output", "text"];
        let fine = if absent == Absent::Nothing { NO_STACK } else { &[] };
        Step::new(title, Act::Learn { name, run: self.run(&args, fine) })
    }

    /// Brings a stack to a template: creates or updates it, or finds that there is nothing to do.
    pub(super) fn deploy(self, title: &str, stack: &str, template: &str, more: &[&str], absent: Absent) -> Step {
        let deploy = ["cloudformation", "deploy", "--template-file", template, "--stack-name", stack];
        let args = [&deploy[..], more, &["--no-fail-on-empty-changeset"]].concat();
        let failed = "StackEvents[?ends_with(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]";
        let events = ["cloudformation", "describe-stack-events", "--stack-name", stack, "--query", failed];
        // One page: the latest, which are about this attempt.
        let events = [&events[..], &["--output", "text", "--no-paginate"]].concat();
        let run = Run { state: Some(self.state(stack, absent)), explain: self.words(&events), ..self.run(&args, &[]) };
        Step::new(title, Act::Run(run))
    }

    /// Deletes a stack, and waits until it is gone.
    pub(super) fn delete(self, title: &str, stack: &str) -> [Step; 2] {
        [
            self.step(title, &["cloudformation", "delete-stack", "--stack-name", stack], &[]),
            self.step(format!("{title}, until it is gone"), &self.waiting("delete", stack), NO_STACK),
        ]
    }

    fn waiting<'w>(self, what: &str, stack: &'w str) -> [&'w str; 5] {
        let until = match what {
            "create" => "stack-create-complete",
            "update" => "stack-update-complete",
            _ => "stack-delete-complete",
        };
        ["cloudformation", "wait", until, "--stack-name", stack]
    }

    /// What the states of a stack mean for its deployment.
    ///
    /// `REVIEW_IN_PROGRESS` is not among them: it is a stack of which nothing was created yet, and `deploy` creates it.
    fn state(self, stack: &str, absent: Absent) -> State {
        let ask = ["cloudformation", "describe-stacks", "--stack-name", stack];
        let ask = [&ask[..], &["--query", "Stacks[0].StackStatus", "--output", "text"]].concat();
        let wait = |what: &str| Verdict::Wait(self.words(&self.waiting(what, stack)));
        let again = |what: &str| line(&self.words(&["cloudformation", what, "--stack-name", stack]));
        let gone = line(&self.words(&self.waiting("delete", stack)));
        let delete = format!("delete it with `{} && {gone}`", again("delete-stack"));
        let first = |left: &str| {
            format!(
                "the first creation of the stack {stack} failed, and CloudFormation neither updates nor creates it \
                 before it is deleted. {left}"
            )
        };
        let nothing = match absent {
            // There is nothing in it that runs.
            Absent::Nothing => Verdict::Skip,
            Absent::Create => Verdict::Refuse(first(&format!(
                "Nothing of it runs and no data was in it: what it had created was deleted again. Correct what failed, \
                 and {delete}"
            ))),
        };
        // Whoever takes it away is told as well: to pass by would be to say that nothing runs.
        let remains = |why: &str| {
            Verdict::Refuse(first(&format!(
                "{why}, so that parts of it may still be there, run and hold data. Look first at what there is, with \
                 `{}`, and at what of it holds data (bucket, table or database, secret). Then correct what failed, and \
                 {delete}",
                again("describe-stack-events")
            )))
        };
        let states = vec![
            ("ROLLBACK_COMPLETE", nothing),
            ("ROLLBACK_FAILED", remains("What it had created could not all be deleted again")),
            ("CREATE_FAILED", remains("What it had created was not deleted again")),
            (
                "DELETE_FAILED",
                Verdict::Refuse(format!(
                    "the deletion of the stack {stack} came to a stop. `{}` says at what; correct that, and delete it \
                     with `{} && {gone}`",
                    again("describe-stack-events"),
                    again("delete-stack")
                )),
            ),
            (
                "UPDATE_ROLLBACK_FAILED",
                Verdict::Refuse(format!(
                    "an update of the stack {stack} failed, and so did its rolling back. `{}` says at what; correct \
                     that, and let it go on with `{}`",
                    again("describe-stack-events"),
                    again("continue-update-rollback")
                )),
            ),
            ("CREATE_IN_PROGRESS", wait("create")),
            ("ROLLBACK_IN_PROGRESS", wait("create")),
            ("UPDATE_IN_PROGRESS", wait("update")),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", wait("update")),
            ("UPDATE_ROLLBACK_IN_PROGRESS", wait("update")),
            ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", wait("update")),
            ("DELETE_IN_PROGRESS", wait("delete")),
        ];
        let if_absent = if absent == Absent::Create { Verdict::Go } else { Verdict::Skip };
        State { command: self.words(&ask), absent: NO_STACK, if_absent, states }
    }
}

/// What picks an output of a stack. A list, which is empty where it has none: of a single one that is not there the
/// command line writes `None`.
pub(super) fn output_query(output: &str) -> String {
    format!("Stacks[].Outputs[?OutputKey=='{output}'].OutputValue")
}

/// What a deployment of a stack that is not there, or of which only a failed attempt is, is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// It creates it.
    Create,
    /// It only takes away, and there is nothing.
    Nothing,
}

/// How to give the command line what it needs to be anybody.
pub(super) const CREDENTIALS: &str = "give the aws command line credentials (`aws sso login` or `aws configure`; \
    AWS_PROFILE; or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) and a region ([deploy.aws] region, or AWS_DEFAULT_REGION)";

/// What may be said by any of the commands, and what to do about it.
pub(super) fn remedies() -> Vec<Remedy> {
    const REGION: &[&str] = &["You must specify a region"];
    const EXPIRED: &[&str] =
        &["ExpiredToken", "RequestExpired", "InvalidClientTokenId", "Unable to locate credentials"];
    const DENIED: &[&str] = &["AccessDenied", "UnauthorizedOperation", "is not authorized to perform"];
    const ENGINE: &[&str] = &["Cannot connect to the Docker daemon", "permission denied while trying to connect"];
    let remedy = |said, hint: &str| Remedy { said, hint: hint.to_owned() };
    vec![
        remedy(REGION, "set [deploy.aws] region in hakiri.toml, or AWS_DEFAULT_REGION"),
        remedy(EXPIRED, CREDENTIALS),
        remedy(DENIED, "allow what the message names to whoever `aws sts get-caller-identity` says this is"),
        remedy(ENGINE, "start Docker, or run this where it runs"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_stack_is_judged_by_its_whole_name() {
        let cli = Cli { region: Some("eu-central-1") };
        let of = |absent, state: &str| {
            let known = cli.state("hakiri-shop", absent).states;
            known.into_iter().find(|(name, _)| *name == state).map_or(Verdict::Go, |(_, verdict)| verdict)
        };
        // All that the API names.
        for (state, create, nothing) in [
            ("CREATE_COMPLETE", "go", "go"),
            ("CREATE_FAILED", "refuse", "refuse"),
            ("CREATE_IN_PROGRESS", "wait", "wait"),
            ("DELETE_COMPLETE", "go", "go"),
            ("DELETE_FAILED", "refuse", "refuse"),
            ("DELETE_IN_PROGRESS", "wait", "wait"),
            ("REVIEW_IN_PROGRESS", "go", "go"),
            ("ROLLBACK_COMPLETE", "refuse", "skip"),
            ("ROLLBACK_FAILED", "refuse", "refuse"),
            ("ROLLBACK_IN_PROGRESS", "wait", "wait"),
            ("UPDATE_COMPLETE", "go", "go"),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "wait", "wait"),
            ("UPDATE_FAILED", "go", "go"),
            ("UPDATE_IN_PROGRESS", "wait", "wait"),
            ("UPDATE_ROLLBACK_COMPLETE", "go", "go"),
            ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "wait", "wait"),
            ("UPDATE_ROLLBACK_FAILED", "refuse", "refuse"),
            ("UPDATE_ROLLBACK_IN_PROGRESS", "wait", "wait"),
            ("IMPORT_COMPLETE", "go", "go"),
        ] {
            let word = |verdict: Verdict| match verdict {
                Verdict::Go => "go",
                Verdict::Skip => "skip",
                Verdict::Wait(_) => "wait",
                Verdict::Refuse(_) => "refuse",
            };
            assert_eq!(
                (word(of(Absent::Create, state)), word(of(Absent::Nothing, state))),
                (create, nothing),
                "{state}"
            );
        }
        let Verdict::Refuse(hint) = of(Absent::Create, "ROLLBACK_COMPLETE") else { panic!("not refused") };
        let delete = "aws cloudformation delete-stack --stack-name hakiri-shop --region eu-central-1 && aws \
                      cloudformation wait stack-delete-complete --stack-name hakiri-shop --region eu-central-1";
        assert!(hint.contains(delete) && hint.contains("Nothing of it runs"), "{hint}");
        let events = "with `aws cloudformation describe-stack-events --stack-name hakiri-shop --region eu-central-1`";
        for state in ["ROLLBACK_FAILED", "CREATE_FAILED"] {
            let Verdict::Refuse(hint) = of(Absent::Create, state) else { panic!("{state} is not refused") };
            assert!(hint.contains("may still be there, run and hold data") && hint.contains(events), "{hint}");
            assert!(hint.contains("what of it holds data") && hint.contains(delete), "{hint}");
            assert!(!hint.contains("Nothing of it runs"), "{hint}");
        }
    }
}
