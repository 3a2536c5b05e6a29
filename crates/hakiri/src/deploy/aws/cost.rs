//! What the deployment costs a month, from `prices.json`.
//!
//! What is free is free once for the whole account; a project that shares it has less of it.

use hakiri_core::codes::Code;
use hakiri_core::spec::PipelineSpec;
use hakiri_core::{Error, Result};
use serde::Deserialize;

use super::machine;
use super::settings::{Network, Settings};
use super::shape::Compute;
use super::walk::{Wake, taken};
use crate::deploy::cost::{self, Cost, MONTH_DAYS, ticks_of};
use crate::deploy::input::Input;

/// What the database of the template has.
const DATABASE_GB: f64 = 20.0;
/// The images that the repository keeps.
const IMAGES: f64 = 10.0;
const MIB_OF_GB: f64 = 1_024.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prices {
    as_of: String,
    source: String,
    items: cost::Prices,
    per_call: PerCall,
    per_run: PerRun,
    per_idle_wake: PerIdleWake,
    per_task: PerTask,
}

/// One call of the function.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerCall {
    basis: String,
    seconds: f64,
}

/// A run that reads little and commits one table, from the opening of catalog and store to the `begin` that finds
/// nothing more due. That last one reads 2 units of the catalog, and they are within the figure: counted once more, with
/// it, a run took 66 units in a task, and 73 where its operations were called one by one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerRun {
    basis: String,
    catalog_writes: f64,
    catalog_reads: f64,
    store_writes: f64,
    store_reads: f64,
    secret_reads: f64,
    log_bytes: f64,
}

/// A wake that finds nothing due.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerIdleWake {
    catalog_reads: f64,
    store_writes: f64,
    store_reads: f64,
    log_bytes: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerTask {
    basis: String,
    start_seconds: f64,
    run_seconds: f64,
    least_seconds: f64,
    image_gb: f64,
}

/// What a month takes of everything.
#[derive(Debug, Default)]
struct Month {
    runs: f64,
    wakes: f64,
    /// Of them, those that find nothing due.
    idle: f64,
    transitions: f64,
    calls: f64,
    task_seconds: f64,
}

/// The cost of a project as it is deployed.
pub(super) fn cost(input: &Input<'_>, s: &Settings) -> Result<Cost> {
    let prices: Prices = cost::prices(include_str!("prices.json"))?;
    let month = month(input, s, &prices)?;
    let (run, idle, task) = (&prices.per_run, &prices.per_idle_wake, &prices.per_task);
    let of = |per_run: f64, per_idle_wake: f64| month.runs * per_run + month.idle * per_idle_wake;
    let if_so = |so: bool, quantity: f64| if so { quantity } else { 0.0 };
    let table = s.has_table();
    let function_gb = s.function.map_or(0.0, |f| f.memory_mib() as f64 / MIB_OF_GB);
    let (cpu, task_gb) = s.task.map_or((0.0, 0.0), |t| (t.cpu as f64 / 1_024.0, t.memory_mib as f64 / MIB_OF_GB));
    let hours = MONTH_DAYS * 24.0;
    let quantities = [
        ("wakes", month.wakes),
        ("transitions", month.transitions),
        ("function_calls", month.calls),
        ("function_seconds", month.calls * prices.per_call.seconds * function_gb),
        ("task_cpu", month.task_seconds * cpu),
        ("task_memory", month.task_seconds * task_gb),
        ("task_addresses", if_so(s.network == Network::Own, month.task_seconds)),
        ("images", if_so(s.task.is_some(), task.image_gb * IMAGES)),
        ("catalog_writes", if_so(table, of(run.catalog_writes, 0.0))),
        ("catalog_reads", if_so(table, of(run.catalog_reads, idle.catalog_reads))),
        ("database_hours", if_so(s.own_database(), hours)),
        ("database_storage", if_so(s.own_database(), DATABASE_GB)),
        ("store_writes", of(run.store_writes, idle.store_writes)),
        ("store_reads", of(run.store_reads, idle.store_reads)),
        ("secrets", f64::from(u8::from(!s.passed.is_empty()) + u8::from(s.own_database()))),
        ("secret_reads", if_so(!s.passed.is_empty(), month.runs * run.secret_reads)),
        ("logs", of(run.log_bytes, idle.log_bytes) / 1e9),
        ("alarms", super::resources::ALARMS.len() as f64),
    ];
    let items = cost::items(&prices.items, &quantities)?;
    Ok(Cost {
        currency: "USD",
        ticks: cost::rounded(month.runs),
        total: cost::rounded(items.iter().map(|i| i.amount).sum()),
        items,
        assumptions: assumptions(s, &prices, table),
        prices_as_of: prices.as_of,
        source: prices.source,
    })
}

fn month(input: &Input<'_>, s: &Settings, prices: &Prices) -> Result<Month> {
    let wrong = |what: String| Error::new(Code::Internal, what);
    let definition: serde_json::Value = serde_json::from_str(&machine::definition(input, s)?)
        .map_err(|e| wrong(format!("hakiri.asl.json is no JSON: {e}")))?;
    let count = |wake| {
        let taken = taken(&definition, wake);
        let counts = taken.map(|taken| (taken.transitions as f64, taken.calls as f64));
        counts.ok_or_else(|| wrong(format!("hakiri.asl.json leads nowhere for {wake:?}")))
    };
    let mut month = Month::default();
    for (spec, woken) in input.scheduled().into_iter().zip(&s.pipelines) {
        let runs = ticks_of(spec)?;
        let wakes: f64 = woken.wakes.expressions.iter().map(|expression| wakes_of(expression)).sum();
        let idle = (wakes - runs).max(0.0);
        month.runs += runs;
        month.wakes += wakes;
        month.idle += idle;
        let mut add = |times: f64, (transitions, calls): (f64, f64)| {
            month.transitions += times * transitions;
            month.calls += times * calls;
        };
        match woken.compute.chosen {
            Compute::Lambda => {
                add(runs, count(Wake::Run { steps: steps_of(spec) })?);
                add(idle, count(Wake::Nothing)?);
            }
            Compute::Fargate => {
                let task = &prices.per_task;
                let lasts = |seconds: f64| (task.start_seconds + seconds).max(task.least_seconds);
                add(wakes, count(Wake::Task(Compute::Fargate.word()))?);
                month.task_seconds += runs * lasts(task.run_seconds) + idle * lasts(0.0);
            }
        }
    }
    Ok(month)
}

/// The steps of a run that does not cut its tables: one for each.
fn steps_of(spec: &PipelineSpec) -> usize {
    spec.tables.as_ref().map_or(1, Vec::len).max(spec.table.len()).max(1)
}

fn assumptions(s: &Settings, prices: &Prices, table: bool) -> Vec<String> {
    let (call, run, task) = (&prices.per_call, &prices.per_run, &prices.per_task);
    let mut out = Vec::new();
    if s.runs_on(Compute::Lambda) {
        out.push(format!(
            "a run calls the function for its begin, each of its tables and its commit, and once more to ask whether \
             another tick is due, {} s each ({}); a table that reads much takes longer",
            call.seconds, call.basis
        ));
    }
    if s.runs_on(Compute::Fargate) {
        out.push(format!(
            "a task takes {} s to start and {} s to run ({}); one that reads much takes longer",
            task.start_seconds, task.run_seconds, task.basis
        ));
    }
    let catalog = if table {
        format!("{} units written and {} read in the catalog, ", run.catalog_writes, run.catalog_reads)
    } else {
        String::new()
    };
    out.push(format!(
        "a run takes {catalog}{} writes and {} reads of the store ({})",
        run.store_writes, run.store_reads, run.basis
    ));
    out.push("what is free is free once for the whole account".to_owned());
    out.push("stored data is not in it: it grows with what is read, and costs by GB and month".to_owned());
    out
}

/// How often a month an expression of the Scheduler fires, of those that we write.
fn wakes_of(expression: &str) -> f64 {
    let inner = expression.strip_prefix("cron(").and_then(|e| e.strip_suffix(')')).unwrap_or_default();
    let fields: Vec<&str> = inner.split(' ').collect();
    let [minutes, hours, days, months, week_days, _] = fields[..] else { return 0.0 };
    let part = |field: &str, low: u32, high: u32| f64::from(named(field, low, high)) / f64::from(high - low + 1);
    let of_days = part(days, 1, 31) * part(week_days, 0, 6);
    part(minutes, 0, 59) * 60.0 * part(hours, 0, 23) * 24.0 * of_days * part(months, 1, 12) * MONTH_DAYS
}

/// How many of a field's numbers it names. Names of days count as what they are: a range of them begins with the first.
fn named(field: &str, low: u32, high: u32) -> u32 {
    const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    let number = |text: &str| {
        let day = || DAYS.iter().position(|day| *day == text).and_then(|n| u32::try_from(n).ok());
        text.parse().ok().or_else(day)
    };
    let of_part = |part: &str| -> Option<u32> {
        if matches!(part, "*" | "?") {
            return Some(high - low + 1);
        }
        if let Some((first, step)) = part.split_once('/') {
            let (first, step) = (number(first)?, number(step)?);
            return Some((high.checked_sub(first)? / step.max(1)) + 1);
        }
        match part.split_once('-') {
            Some((first, last)) => Some(number(last)?.checked_sub(number(first)?)? + 1),
            None => number(part).map(|_| 1),
        }
    };
    field.split(',').filter_map(of_part).sum()
}

#[cfg(test)]
mod tests {
    use hakiri_core::spec::{ManifestText, parse};

    use super::*;

    /// The items of a plan, by what they are, for a pipeline with this schedule, tables and settings.
    fn plan(schedule: &str, tables: &str, settings: &str) -> std::collections::BTreeMap<String, f64> {
        let text = format!(
            "[project]\nname = \"p\"\n[deploy.aws]\n{settings}\n[[pipeline]]\nid = \"a\"\nschedule = \"{schedule}\"\ntables = [{tables}]\n\
             source = {{ connector = \"postgres\", config = {{ url = \"postgres://u@db.example.com/x\" }} }}\n"
        );
        let manifest = [ManifestText::new("hakiri.toml", text)];
        let project = parse(&manifest, None, &crate::world::connectors().list()).unwrap();
        let input = Input { project: &project, manifest: &manifest, project_from_files: None };
        let cost = cost(&input, &Settings::of(&input)).unwrap();
        let sum: f64 = cost.items.iter().map(|item| item.amount).sum();
        assert!((cost.total - sum).abs() < 0.001 && !cost.lines().is_empty());
        cost.items.into_iter().map(|item| (item.what, item.quantity)).collect()
    }

    #[test]
    fn what_runs_where_decides_what_is_paid_for() {
        let near = |found: f64, expected: f64| (found - expected).abs() < expected.abs() * 0.001;
        let one = plan("every 15m", "\"x\"", "");
        assert!(near(one["Lambda requests"], 4.0 * 2_920.0) && near(one["Lambda duration"], 4.0 * 2_920.0), "{one:?}");
        // Start, Begin, AfterBegin, Steps, three for the table, AfterSteps, Commit, AfterCommit, Begin, AfterBegin,
        // Done.
        assert!(near(one["Step Functions, Standard"], 13.0 * 2_920.0), "{one:?}");
        assert!(near(one["DynamoDB write units"], 54.0 * 2_920.0), "{one:?}");
        assert!(
            !one.keys().any(|what| what.contains("Fargate") || what.contains("RDS") || what.contains("ECR")),
            "{one:?}"
        );
        // Two more tables are two more calls and six more transitions of each run.
        let three = plan("every 15m", "\"x\", \"y\", \"z\"", "");
        let more = |what: &str| (three[what] - one[what]) / 2_920.0;
        assert!(near(more("Lambda requests"), 2.0) && near(more("Step Functions, Standard"), 6.0), "{three:?}");
        // Woken each minute for a tick every seven: what finds nothing due is a call as well.
        let often = plan("every 7m", "\"x\"", "");
        let ticks = 43_800.0 / 7.0;
        assert!(near(often["EventBridge Scheduler"], 43_800.0), "{often:?}");
        assert!(near(often["Lambda requests"], 43_800.0 + 3.0 * ticks), "{often:?}");
        // A task is a minute at least, also where it finds nothing due; the smallest for 2 GiB has half a processor.
        let task = plan("every 7m", "\"x\"", "compute = \"fargate\"");
        assert!(
            near(task["Fargate CPU"], 43_800.0 * 60.0 * 0.5) && near(task["Fargate memory"], 43_800.0 * 60.0 * 2.0)
        );
        assert!(near(task["public addresses of tasks"], 43_800.0 * 60.0) && !task.contains_key("Lambda requests"));
        let given =
            "catalog = \"postgres\"\nvpc_id = \"vpc-0123456789abcdef0\"\nsubnet_ids = [\"subnet-0123456789abcdef0\"]";
        let database = plan("0 3 * * *", "\"x\"", given);
        assert!(near(database["RDS db.t4g.micro, one zone"], 730.0) && !database.contains_key("DynamoDB write units"));
        assert!(!database.contains_key("public addresses of tasks"), "{database:?}");
    }

    #[test]
    fn an_expression_fires_as_often_as_it_says() {
        for (expression, expected) in [
            ("cron(0/15 * * * ? *)", 2_920.0),
            ("cron(* * * * ? *)", 43_800.0),
            ("cron(0 0/6 * * ? *)", 4.0 * MONTH_DAYS),
            ("cron(0,30 9-17 ? * MON-FRI *)", 2.0 * 9.0 * MONTH_DAYS * 5.0 / 7.0),
            ("cron(0 0 ? * THU *)", MONTH_DAYS / 7.0),
            ("cron(5 3 1 1,7 ? *)", MONTH_DAYS / 31.0 / 6.0),
            ("rate(1 hour)", 0.0),
        ] {
            let found = wakes_of(expression);
            assert!((found - expected).abs() < 0.01, "{expression}: {found} and not {expected}");
        }
    }
}
