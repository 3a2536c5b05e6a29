//! Windows: the range of a cursor that a run reads of a table (`02`, "Windows and cursors").
//!
//! A window is fixed in the plan, so that every attempt, on every target, reads the same range (P1, P2).

use serde::{Deserialize, Serialize};

use crate::codes::Code;
use crate::cursor::{Cursor, CursorKind};
use crate::error::{Error, Result};
use crate::spec::{Distance, Mode};
use crate::time::Tick;

/// Re-read or held back by default on a timestamp cursor: five minutes, in nanoseconds.
const DEFAULT_DISTANCE_NANOS: i128 = 5 * 60 * 1_000_000_000;

/// What a run reads of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "read", rename_all = "snake_case")]
pub enum Window {
    /// Everything; the run takes the place of what was there.
    Everything,
    /// `[lo, hi)` on a timestamp cursor. No `lo`: from the beginning.
    HalfOpen {
        /// First instant that belongs to it.
        lo: Option<Cursor>,
        /// First instant that does not.
        hi: Cursor,
    },
    /// `(lo, hi]` on an integer or text cursor. No `hi`: to the end of what the source has.
    Above {
        /// Last position that does not belong to it.
        lo: Option<Cursor>,
        /// Last position that does.
        hi: Option<Cursor>,
    },
    /// From an opaque position to wherever the source now is.
    After {
        /// The position.
        position: Option<Cursor>,
    },
}

/// What decides a window.
#[derive(Debug, Clone)]
pub struct WindowInput<'a> {
    /// The kind of cursor; none for a full load.
    pub kind: Option<CursorKind>,
    /// The table's mode.
    pub mode: Mode,
    /// The committed cursor: the last upper bound.
    pub committed: Option<&'a Cursor>,
    /// The run's tick.
    pub tick: Tick,
    /// `lag` of the table.
    pub lag: Option<&'a Distance>,
    /// `settle` of the table.
    pub settle: Option<&'a Distance>,
    /// The highest position there is, for an integer cursor of a source that can tell.
    pub highest: Option<&'a Cursor>,
    /// Whether the timestamps of the committed cursor carry a zone; true when nothing is committed.
    pub utc: bool,
}

/// The window of a run.
///
/// # Errors
/// `HK0110` for a `lag` or `settle` that the mode or the kind does not take; `HK0409` when the committed cursor is of
/// another kind.
pub fn window(input: &WindowInput<'_>) -> Result<Window> {
    let Some(kind) = input.kind else {
        return Ok(Window::Everything);
    };
    if input.mode == Mode::Replace {
        return Ok(Window::Everything);
    }
    if let Some(committed) = input.committed
        && committed.kind() != kind
    {
        return Err(Error::new(
            Code::CursorType,
            format!("the committed cursor is of kind {:?}, the table's is {kind:?}", committed.kind()),
        ));
    }
    if input.mode == Mode::Append && input.lag.is_some() {
        return Err(Error::new(Code::ManifestValue, "`lag` is not allowed in mode append: rows would be read twice")
            .with_hint("use `settle`, or mode = \"merge\" with a primary key"));
    }
    if input.mode == Mode::Merge && input.settle.is_some() {
        return Err(Error::new(Code::ManifestValue, "`settle` is not allowed in mode merge").with_hint("use `lag`"));
    }
    if matches!(kind, CursorKind::Text | CursorKind::Opaque) && (input.lag.is_some() || input.settle.is_some()) {
        return Err(Error::new(
            Code::ManifestValue,
            "`lag` and `settle` need a cursor that can be counted: a timestamp or an integer",
        )
        .with_hint("remove them: there is no distance on this table's cursor"));
    }
    match kind {
        CursorKind::Timestamp => {
            let (lag, settle) = match input.mode {
                Mode::Append => (0, nanos(input.settle)?.unwrap_or(DEFAULT_DISTANCE_NANOS)),
                _ => (nanos(input.lag)?.unwrap_or(DEFAULT_DISTANCE_NANOS), 0),
            };
            let utc = match input.committed {
                Some(Cursor::Timestamp { utc, .. }) => *utc,
                _ => input.utc,
            };
            let hi = i128::from(input.tick.millis()) * 1_000_000 - settle;
            let lo = match input.committed {
                Some(Cursor::Timestamp { nanos, .. }) => Some(Cursor::Timestamp { nanos: (*nanos).min(hi) - lag, utc }),
                _ => None,
            };
            Ok(Window::HalfOpen { lo, hi: Cursor::Timestamp { nanos: hi, utc } })
        }
        CursorKind::Integer => {
            let lag = if input.mode == Mode::Append { 0 } else { units(input.lag)?.unwrap_or(0) };
            let settle = if input.mode == Mode::Append { units(input.settle)?.unwrap_or(0) } else { 0 };
            let lo = match input.committed {
                Some(Cursor::Integer { value }) => Some(Cursor::Integer { value: value.saturating_sub(lag) }),
                _ => None,
            };
            let hi = match input.highest {
                Some(Cursor::Integer { value }) => Some(Cursor::Integer { value: value.saturating_sub(settle) }),
                _ => None,
            };
            Ok(Window::Above { lo, hi })
        }
        CursorKind::Text => Ok(Window::Above { lo: input.committed.cloned(), hi: None }),
        CursorKind::Opaque => Ok(Window::After { position: input.committed.cloned() }),
    }
}

impl Window {
    /// Whether a row with this cursor belongs to the window.
    ///
    /// # Errors
    /// `HK0409` when the row's cursor cannot be compared with the bounds.
    pub fn contains(&self, position: &Cursor) -> Result<bool> {
        let compare = |bound: &Cursor| {
            position.compare(bound).ok_or_else(|| {
                Error::new(
                    Code::CursorType,
                    format!("a cursor of kind {:?} cannot be compared with the window's ({bound})", position.kind()),
                )
            })
        };
        match self {
            Self::Everything | Self::After { .. } => Ok(true),
            Self::HalfOpen { lo, hi } => {
                let above = lo.as_ref().map(&compare).transpose()?.is_none_or(std::cmp::Ordering::is_ge);
                Ok(above && compare(hi)?.is_lt())
            }
            Self::Above { lo, hi } => {
                let above = lo.as_ref().map(&compare).transpose()?.is_none_or(std::cmp::Ordering::is_gt);
                Ok(above && hi.as_ref().map(&compare).transpose()?.is_none_or(std::cmp::Ordering::is_le))
            }
        }
    }

    /// The committed cursor after a run that read this window, given the highest position among its rows.
    pub fn cursor_after(&self, before: Option<&Cursor>, highest: Option<&Cursor>) -> Option<Cursor> {
        match self {
            Self::Everything => None,
            Self::HalfOpen { hi, .. } | Self::Above { hi: Some(hi), .. } => later(before, Some(hi)),
            Self::Above { hi: None, .. } => later(before, highest),
            Self::After { position } => highest.or(position.as_ref()).cloned(),
        }
    }
}

/// The later of two positions: a cursor never goes back by itself.
fn later(a: Option<&Cursor>, b: Option<&Cursor>) -> Option<Cursor> {
    match (a, b) {
        (Some(a), Some(b)) if a.compare(b).is_some_and(std::cmp::Ordering::is_gt) => Some(a.clone()),
        (a, b) => b.or(a).cloned(),
    }
}

fn nanos(distance: Option<&Distance>) -> Result<Option<i128>> {
    match distance {
        None => Ok(None),
        Some(Distance::Duration(text)) => Ok(Some(i128::from(crate::schedule::parse_duration(text)?) * 1_000_000)),
        Some(Distance::Units(_)) => Err(Error::new(Code::ManifestValue, "a timestamp cursor needs a duration")
            .with_hint("write for example \"5m\"")),
    }
}

fn units(distance: Option<&Distance>) -> Result<Option<i64>> {
    match distance {
        None => Ok(None),
        Some(Distance::Units(n)) => Ok(Some(i64::try_from(*n).unwrap_or(i64::MAX))),
        Some(Distance::Duration(_)) => {
            Err(Error::new(Code::ManifestValue, "an integer cursor needs a number").with_hint("write for example 1000"))
        }
    }
}

#[cfg(test)]
mod tests;
