//! What the deployment costs a month, from `prices.json`.
//!
//! The included quantities are those of the whole account; a project that shares it has fewer of them.

use hakiri_core::Result;
use serde::Deserialize;

use super::limits::Size;
use crate::deploy::cost::{self, Cost, Item, MONTH_DAYS, ticks_a_month};
use crate::deploy::input::Input;

/// A Durable Object is charged as if it had this much memory, in GB.
const OBJECT_GB: f64 = 0.128;
/// The wakes of a mean month: one a minute.
const WAKES: f64 = MONTH_DAYS * 24.0 * 60.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prices {
    as_of: String,
    source: String,
    plan: Plan,
    items: cost::Prices,
    per_tick: PerTick,
    per_wake: PerWake,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    what: String,
    month: f64,
}

/// What a tick takes that reads little and commits one table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerTick {
    basis: String,
    awake_seconds: f64,
    container_requests: f64,
    catalog_requests: f64,
    workflow_steps: f64,
    worker_cpu_ms: f64,
    rows_read: f64,
    rows_written: f64,
    store_writes: f64,
    store_reads: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerWake {
    rows_read: f64,
    worker_cpu_ms: f64,
}

/// The cost of a project in containers of this size.
pub(super) fn cost(input: &Input<'_>, size: Size) -> Result<Cost> {
    let prices: Prices = cost::prices(include_str!("prices.json"))?;
    let tick = &prices.per_tick;
    let ticks = ticks_a_month(input.project)?;
    let awake = ticks * tick.awake_seconds;
    // Each container is led by a Durable Object that is awake as long as it is.
    let quantities = [
        ("worker_requests", WAKES + ticks),
        ("worker_cpu", WAKES * prices.per_wake.worker_cpu_ms + ticks * tick.worker_cpu_ms),
        ("object_requests", WAKES + ticks * (tick.container_requests + tick.catalog_requests)),
        ("object_duration", awake * 2.0 * OBJECT_GB),
        ("rows_read", WAKES * prices.per_wake.rows_read + ticks * tick.rows_read),
        ("rows_written", ticks * tick.rows_written),
        ("container_cpu", awake * size.vcpu),
        ("container_memory", awake * size.memory_mib as f64 / 1024.0),
        ("container_disk", awake * f64::from(size.disk_gb)),
        ("store_writes", ticks * tick.store_writes),
        ("store_reads", ticks * tick.store_reads),
    ];
    let mut items = vec![Item {
        what: prices.plan.what,
        quantity: 1.0,
        unit: "month".to_owned(),
        included: 0.0,
        amount: prices.plan.month,
    }];
    items.extend(cost::items(&prices.items, &quantities)?);
    Ok(Cost {
        currency: "USD",
        prices_as_of: prices.as_of,
        source: prices.source,
        ticks: cost::rounded(ticks),
        total: cost::rounded(items.iter().map(|i| i.amount).sum()),
        items,
        assumptions: vec![
            format!(
                "a tick is {} s of a container awake, its start included, {} steps of the Workflow, {} requests to the \
                 catalog and {} rows written there ({}); a tick that reads much takes longer",
                tick.awake_seconds, tick.workflow_steps, tick.catalog_requests, tick.rows_written, tick.basis
            ),
            "CPU is charged for all the time awake, which is the most it can be; what is free is free once for the \
             whole account"
                .to_owned(),
            "stored data is not in it: it grows with what is read, and costs by GB and month in R2".to_owned(),
        ],
    })
}
