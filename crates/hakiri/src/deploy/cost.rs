//! What a deployment costs a month, before it does: quantities from the schedules and what a tick takes, prices from a
//! dated file beside the target.

use std::collections::BTreeMap;

use hakiri_core::codes::Code;
use hakiri_core::spec::{PipelineSpec, Project};
use hakiri_core::time::Tick;
use hakiri_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The mean month in days.
pub const MONTH_DAYS: f64 = 365.0 / 12.0;
const DAY_MILLIS: i64 = 86_400_000;
/// From when on ticks are counted: a first of January, so that the year after it has every month once.
const FROM: i64 = 1_767_225_600_000;
/// So many ticks say how often a schedule fires; those that fire less often are counted for a whole year.
const ENOUGH: u32 = 20_000;

/// What a month costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// The currency of all amounts.
    pub currency: &'static str,
    /// When the prices were noted.
    pub prices_as_of: String,
    /// Where they can be read, and who noted them.
    pub source: String,
    /// Runs a month of all pipelines.
    pub ticks: f64,
    /// What is charged for, item by item.
    pub items: Vec<Item>,
    /// All of it.
    pub total: f64,
    /// What was taken for granted.
    pub assumptions: Vec<String>,
}

/// One thing that is charged for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// What it is.
    pub what: String,
    /// How much of it a month.
    pub quantity: f64,
    /// In which unit.
    pub unit: String,
    /// How much of it costs nothing.
    pub included: f64,
    /// What the rest costs.
    pub amount: f64,
}

/// A price, as the dated files have them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    what: String,
    unit: String,
    included: f64,
    per: f64,
    price: f64,
}

/// Prices by name.
pub type Prices = BTreeMap<String, Price>;

/// A target's `prices.json`.
///
/// # Errors
/// `HK0001` when the file and its reader do not fit.
pub fn prices<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::new(Code::Internal, format!("prices.json: {e}")))
}

/// What these quantities cost, by the names of their prices; of what there is nothing of, nothing is said.
///
/// # Errors
/// `HK0001` for a quantity without a price.
pub fn items(prices: &Prices, quantities: &[(&str, f64)]) -> Result<Vec<Item>> {
    let used = quantities.iter().filter(|(_, quantity)| *quantity > 0.0);
    used.map(|(name, quantity)| {
        let price = prices.get(*name);
        let price = price.ok_or_else(|| Error::new(Code::Internal, format!("prices.json has no `{name}`")))?;
        Ok(Item {
            what: price.what.clone(),
            quantity: rounded(*quantity),
            unit: price.unit.clone(),
            included: price.included,
            amount: rounded((quantity - price.included).max(0.0) / price.per * price.price),
        })
    })
    .collect()
}

/// To four places: what is behind them is the arithmetic's and not the estimate's.
pub fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

/// How often a month the pipelines with a schedule run, together.
///
/// # Errors
/// As [`PipelineSpec::schedule`].
pub fn ticks_a_month(project: &Project) -> Result<f64> {
    project.pipelines.iter().map(ticks_of).sum()
}

/// How often a month a pipeline runs; never without a schedule.
///
/// # Errors
/// As [`PipelineSpec::schedule`].
pub fn ticks_of(pipeline: &PipelineSpec) -> Result<f64> {
    let Some(schedule) = pipeline.schedule()? else { return Ok(0.0) };
    let (mut at, mut ticks) = (Tick::from_millis(FROM), 0_u32);
    let end = FROM + 365 * DAY_MILLIS;
    while let Some(next) = schedule.next_after(at).filter(|t| t.millis() <= end) {
        (at, ticks) = (next, ticks + 1);
        if ticks == ENOUGH {
            let days = (at.millis() - FROM) as f64 / DAY_MILLIS as f64;
            return Ok(f64::from(ticks) / days * MONTH_DAYS);
        }
    }
    Ok(f64::from(ticks) / 12.0)
}

impl Cost {
    /// The lines that people read.
    pub fn lines(&self) -> Vec<String> {
        let mut out = vec![format!(
            "about {:.2} {} a month for {} ticks; prices as of {}, {}",
            self.total,
            self.currency,
            number(self.ticks),
            self.prices_as_of,
            self.source
        )];
        for item in &self.items {
            let free =
                if item.included > 0.0 { format!(", {} of it free", number(item.included)) } else { String::new() };
            out.push(format!("  {:>8.2}  {}: {} {}{free}", item.amount, item.what, number(item.quantity), item.unit));
        }
        out.extend(self.assumptions.iter().map(|a| format!("  assumed: {a}")));
        out
    }
}

/// A quantity as people read it.
fn number(quantity: f64) -> String {
    if quantity > 0.0 && quantity < 10.0 && quantity.fract() != 0.0 {
        format!("{quantity:.1}")
    } else {
        indicatif::HumanCount(quantity.round() as u64).to_string()
    }
}

#[cfg(test)]
mod tests {
    use hakiri_core::spec::{ManifestText, parse};

    use super::*;

    fn ticks(schedule: &str) -> f64 {
        let text = format!(
            "[project]\nname = \"p\"\n[[pipeline]]\nid = \"a\"\nsource = {{ connector = \"file\", config = {{ path = \"a.csv\" }} }}\nschedule = \"{schedule}\"\n"
        );
        let project =
            parse(&[ManifestText::new("hakiri.toml", text)], None, &crate::world::connectors().list()).unwrap();
        ticks_a_month(&project).unwrap()
    }

    #[test]
    fn ticks_are_those_of_a_mean_month() {
        for (schedule, expected) in [
            ("every 1m", 43_800.0),
            ("every 15m", 2_920.0),
            ("0 * * * *", 730.0),
            ("0 3 * * *", MONTH_DAYS),
            ("0 0 1 1 *", 1.0 / 12.0),
            ("every 3650d", 0.0),
        ] {
            let found = ticks(schedule);
            assert!((found - expected).abs() < 0.5, "{schedule}: {found}");
        }
    }
}
