//! From windows to the bounds that are sent: what a run asks of each resource of a tree.
//!
//! A bound only saves reading: the engine drops every row outside of the window. So whenever it is not certain that a
//! bound is safe, none is sent. Lower bounds are rounded down and lowered by one unit of their format, upper bounds
//! rounded up, since APIs differ between `>` and `≥` and in the precision they compare with (`02`).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::error::{Error, Result};
use hakiri_core::window::Window;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compile::Site;
use super::config::{BoundFormat, Incremental};

/// What is sent for one resource: numbers or texts, ready to be written. Part of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The lower bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<Value>,
    /// The upper bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<Value>,
}

/// A requested table: its window, and whether it is windowed by the field that the API filters by.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The window.
    pub window: &'a Window,
    /// The table's cursor column.
    pub incremental: Option<&'a str>,
}

/// The bounds of every resource of a tree that needs reading, by its place in the site.
///
/// A parent is bounded only if every wanted table below it takes its cursor from the parent's (through `include`): any
/// other child needs all parents, whatever the parent's own window is.
///
/// # Errors
/// `HK0403` when a window cannot be written in the resource's format.
pub fn of_tree(site: &Site, wanted: &BTreeMap<usize, Wanted<'_>>) -> Result<BTreeMap<usize, Bounds>> {
    let mut needed: Vec<usize> = Vec::new();
    for &node in wanted.keys() {
        let mut here = Some(node);
        while let Some(i) = here {
            if !needed.contains(&i) {
                needed.push(i);
            }
            here = site.nodes[i].parent;
        }
    }
    needed.sort_unstable();
    let mut out = BTreeMap::new();
    for node in needed {
        let resource = &site.nodes[node].resource;
        let mut bounds = Bounds::default();
        if let Some(incremental) = &resource.incremental {
            if let Some(window) = joint_window(site, node, &incremental.field, wanted) {
                bounds = write(incremental, &window)?;
            }
            if bounds.lower.is_none() {
                bounds.lower = incremental.initial.as_ref().map(|v| serde_json::to_value(v).unwrap_or(Value::Null));
            }
        }
        out.insert(node, bounds);
    }
    Ok(out)
}

/// The smallest window that holds those of all wanted tables that depend on this resource; nothing when there is none.
fn joint_window(site: &Site, node: usize, field: &str, wanted: &BTreeMap<usize, Wanted<'_>>) -> Option<Window> {
    let mut joint: Option<Window> = None;
    for (&table, want) in wanted {
        let follows = if table == node {
            want.incremental == Some(field)
        } else if site.is_below(table, node) {
            want.incremental.is_some_and(|column| site.inherited(table, column, node).as_deref() == Some(field))
        } else {
            continue;
        };
        if !follows {
            return None;
        }
        joint = Some(match joint {
            None => want.window.clone(),
            Some(window) => union(&window, want.window)?,
        });
    }
    joint.filter(|w| !matches!(w, Window::Everything))
}

fn union(a: &Window, b: &Window) -> Option<Window> {
    let pick =
        |x: &Cursor, y: &Cursor, keep: Ordering| x.compare(y).map(|o| if o == keep { x.clone() } else { y.clone() });
    let lower = |x: &Option<Cursor>, y: &Option<Cursor>| match (x, y) {
        (Some(x), Some(y)) => pick(x, y, Ordering::Less),
        _ => None,
    };
    match (a, b) {
        (Window::HalfOpen { lo: x, hi: p }, Window::HalfOpen { lo: y, hi: q }) => {
            Some(Window::HalfOpen { lo: lower(x, y), hi: pick(p, q, Ordering::Greater)? })
        }
        (Window::Above { lo: x, hi: p }, Window::Above { lo: y, hi: q }) => {
            let hi = match (p, q) {
                (Some(p), Some(q)) => Some(pick(p, q, Ordering::Greater)?),
                _ => None,
            };
            Some(Window::Above { lo: lower(x, y), hi })
        }
        _ => None,
    }
}

/// Writes a window in a resource's format.
///
/// # Errors
/// `HK0403` when the format cannot express this kind of cursor.
pub fn write(incremental: &Incremental, window: &Window) -> Result<Bounds> {
    let format = incremental.format;
    Ok(match window {
        Window::Everything => Bounds::default(),
        Window::HalfOpen { lo, hi } => Bounds {
            lower: lo.as_ref().map(|lo| position(lo, format, Side::BelowInclusive)).transpose()?,
            upper: Some(position(hi, format, Side::AboveExclusive)?),
        },
        Window::Above { lo, hi } => Bounds {
            // The position itself is already one below the first that is wanted.
            lower: lo.as_ref().map(|lo| position(lo, format, Side::BelowExclusive)).transpose()?,
            upper: hi.as_ref().map(|hi| position(hi, format, Side::AboveInclusive)).transpose()?,
        },
        Window::After { position: at } => {
            Bounds { lower: at.as_ref().map(|at| position(at, format, Side::BelowExclusive)).transpose()?, upper: None }
        }
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    BelowInclusive,
    BelowExclusive,
    AboveExclusive,
    AboveInclusive,
}

fn position(cursor: &Cursor, format: BoundFormat, side: Side) -> Result<Value> {
    match cursor {
        Cursor::Integer { value } => match format {
            BoundFormat::Rfc3339 | BoundFormat::Date => {
                Err(Error::new(Code::SourceConfig, "an integer cursor cannot be sent as a date or time")
                    .with_hint("set incremental.format = \"integer\", \"unix\" or \"unix_ms\""))
            }
            _ => Ok(Value::from(match side {
                Side::BelowInclusive => value.saturating_sub(1),
                Side::AboveInclusive => value.saturating_add(1),
                Side::BelowExclusive | Side::AboveExclusive => *value,
            })),
        },
        Cursor::Timestamp { nanos, utc } => {
            const SECOND: i128 = 1_000_000_000;
            let unit = match format {
                BoundFormat::Date => 86_400 * SECOND,
                BoundFormat::UnixMs => 1_000_000,
                _ => SECOND,
            };
            let units = match side {
                Side::BelowInclusive | Side::BelowExclusive => nanos.div_euclid(unit) - 1,
                Side::AboveExclusive | Side::AboveInclusive => (nanos + unit - 1).div_euclid(unit),
            };
            let out_of_range = || Error::new(Code::SourceConfig, "the window lies outside of the calendar");
            let count = i64::try_from(units).map_err(|_| out_of_range())?;
            let time = || {
                i64::try_from(units * (unit / 1_000_000))
                    .ok()
                    .and_then(chrono::DateTime::from_timestamp_millis)
                    .ok_or_else(out_of_range)
            };
            Ok(match format {
                BoundFormat::Rfc3339 | BoundFormat::Text => {
                    let shape = if *utc { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S" };
                    Value::String(time()?.format(shape).to_string())
                }
                BoundFormat::Date => Value::String(time()?.format("%Y-%m-%d").to_string()),
                BoundFormat::Unix | BoundFormat::UnixMs | BoundFormat::Integer => Value::from(count),
            })
        }
        Cursor::Text { value } | Cursor::Opaque { value } => Ok(Value::String(value.clone())),
        Cursor::Stored { .. } => Err(Error::new(Code::SourceConfig, "a stored cursor cannot be sent to an API")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn incremental(format: BoundFormat) -> Incremental {
        Incremental { field: "f".into(), param: None, upper_param: None, format, initial: None, kind: None }
    }

    #[test]
    fn bounds_are_rounded_outwards() {
        let ts = |millis: i128, utc| Cursor::Timestamp { nanos: millis * 1_000_000, utc };
        let window = Window::HalfOpen { lo: Some(ts(1_700_000_000_500, true)), hi: ts(1_700_000_100_001, true) };
        let both = |format| {
            let b = write(&incremental(format), &window).unwrap();
            (b.lower.unwrap(), b.upper.unwrap())
        };
        assert_eq!(both(BoundFormat::Rfc3339), (json!("2023-11-14T22:13:19Z"), json!("2023-11-14T22:15:01Z")));
        assert_eq!(both(BoundFormat::Unix), (json!(1_699_999_999), json!(1_700_000_101)));
        assert_eq!(both(BoundFormat::UnixMs), (json!(1_700_000_000_499_i64), json!(1_700_000_100_001_i64)));
        assert_eq!(both(BoundFormat::Date), (json!("2023-11-13"), json!("2023-11-15")));
        let local = Window::HalfOpen { lo: None, hi: ts(0, false) };
        assert_eq!(
            write(&incremental(BoundFormat::Rfc3339), &local).unwrap(),
            Bounds { lower: None, upper: Some(json!("1970-01-01T00:00:00")) }
        );
        let before = Window::HalfOpen { lo: Some(ts(-1, true)), hi: ts(0, true) };
        assert_eq!(write(&incremental(BoundFormat::Unix), &before).unwrap().lower, Some(json!(-2)));
    }

    #[test]
    fn sequences_and_texts() {
        let int = |value| Some(Cursor::Integer { value });
        let b = write(&incremental(BoundFormat::Integer), &Window::Above { lo: int(7), hi: int(9) }).unwrap();
        assert_eq!(b, Bounds { lower: Some(json!(7)), upper: Some(json!(10)) });
        assert_eq!(
            write(&incremental(BoundFormat::Rfc3339), &Window::Above { lo: int(7), hi: None }).unwrap_err().code(),
            Code::SourceConfig
        );
        let text = Window::Above { lo: Some(Cursor::Text { value: "k".into() }), hi: None };
        assert_eq!(
            write(&incremental(BoundFormat::Text), &text).unwrap(),
            Bounds { lower: Some(json!("k")), upper: None }
        );
    }
}
