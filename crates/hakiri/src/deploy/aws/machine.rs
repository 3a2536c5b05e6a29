//! The state machine: `hakiri.asl.json`, of the states for what is in use.

use hakiri_core::Result;

use super::settings::{Network, Settings};
use super::shape::Compute;
use crate::deploy::input::Input;
use crate::deploy::target;
use crate::deploy::template::{Values, quoted};

/// The definition. What only the template knows stands in it as `${…}`; see [`substitutions`].
pub(super) fn definition(input: &Input<'_>, s: &Settings) -> Result<String> {
    let (lambda, fargate) = (s.runs_on(Compute::Lambda), s.runs_on(Compute::Fargate));
    let mut states = Vec::new();
    if fargate {
        states.extend(lines(&fargate_state(input, s)?));
    }
    if lambda {
        states.extend(lines(&lambda_states()?));
    }
    Values::headed()
        .with(
            "start",
            if !fargate {
                "Start"
            } else if !lambda {
                "Run"
            } else {
                "Compute"
            },
        )
        .with_lines("choice", if fargate && lambda { lines(include_str!("machine/choice.json")) } else { Vec::new() })
        .with_lines("states", states)
        .fill(include_str!("machine/machine.json"))
}

fn lambda_states() -> Result<String> {
    let task = |fenced: &str| {
        let text = Values::default().with("fenced", fenced).fill(include_str!("machine/task.json"))?;
        Ok::<_, hakiri_core::Error>(lines(&text))
    };
    // A step that another execution has taken over is none of this one's; that the whole run has, the commit says.
    Values::default()
        .with_lines("task", task("Done")?)
        .with_lines("step_task", task("StepDone")?)
        .fill(include_str!("machine/lambda.json"))
}

fn fargate_state(input: &Input<'_>, s: &Settings) -> Result<String> {
    let list = |name: &str, items: Vec<String>| {
        let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
        format!("\"{name}\": [{}],", items.join(", "))
    };
    let (subnets, groups) = places(s);
    let numbered =
        |name: &str, items: &[String]| (1..=items.len()).map(|n| format!("${{{name}{n}}}")).collect::<Vec<_>>();
    let mut network = vec![list("Subnets", numbered("Subnet", &subnets))];
    if !groups.is_empty() {
        network.push(list("SecurityGroups", numbered("SecurityGroup", &groups)));
    }
    network.push(format!("\"AssignPublicIp\": \"{}\"", if s.network == Network::Own { "ENABLED" } else { "DISABLED" }));
    let words: Vec<String> = command(input, s).iter().map(|word| format!("'{word}'")).collect();
    Values::default()
        .with("name", &s.name)
        .with_lines(
            "propagate",
            s.tags.iter().take(1).map(|_| "\"PropagateTags\": \"TASK_DEFINITION\",".to_owned()).collect(),
        )
        .with_lines("network", network)
        .with("command", words.join(", "))
        .fill(include_str!("machine/fargate.json"))
}

/// A task's command, before its place of state and store, its wake and its pipeline.
fn command(input: &Input<'_>, s: &Settings) -> Vec<String> {
    let mut words = vec!["-C".to_owned(), "/project".to_owned()];
    words.extend(target::env_args(input));
    let memory = s.task.map_or(0, |size| size.memory_mib / 2);
    words.extend(["--log-format".to_owned(), "json".to_owned(), "--memory".to_owned(), format!("{memory}MiB")]);
    words.extend(["run", "--due", "--orchestrated"].map(str::to_owned));
    words
}

/// The subnets and the security groups of tasks, as the template writes them.
pub(super) fn places(s: &Settings) -> (Vec<String>, Vec<String>) {
    let quote = |ids: &[String]| ids.iter().map(|id| quoted(id)).collect();
    match &s.network {
        Network::None => (Vec::new(), Vec::new()),
        Network::Own => {
            (vec!["!Ref TaskSubnetA".to_owned(), "!Ref TaskSubnetB".to_owned()], vec!["!Ref TaskGroup".to_owned()])
        }
        Network::Given { subnets, groups, .. } => (quote(subnets), quote(groups)),
    }
}

/// The lines of the template that say what the definition's `${…}` are.
pub(super) fn substitutions(s: &Settings, catalog: &str, store: &str) -> Vec<String> {
    let mut out = vec!["Partition: !Ref AWS::Partition".to_owned()];
    if s.runs_on(Compute::Lambda) {
        out.push("FunctionArn: !GetAtt Function.Arn".to_owned());
    }
    if s.runs_on(Compute::Fargate) {
        out.push("ClusterArn: !GetAtt Cluster.Arn".to_owned());
        let (subnets, groups) = places(s);
        for (name, items) in [("Subnet", subnets), ("SecurityGroup", groups)] {
            out.extend(items.iter().enumerate().map(|(n, item)| format!("{name}{}: {item}", n + 1)));
        }
        out.push(format!("Catalog: {catalog}"));
        out.push(format!("Store: {store}"));
    }
    out
}

pub(super) fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
