//! Cursors of rows: which rows belong to a window, and how far a table was read (`02`, "Windows and cursors").
//!
//! A day (`date`) is the wall-clock midnight at its start, but it is not over when it starts: rows of today may still
//! come. So the bounds of a window are cut to whole days for a column of days. A run reads the days that are over when
//! it starts, and each day is read once, complete.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use hakiri_core::codes::Code;
use hakiri_core::cursor::{Cursor, CursorKind};
use hakiri_core::error::{Error, Result};
use hakiri_core::schema::Type;
use hakiri_core::window::Window;

use super::decode::Strings;
use super::temporal::DAY_NANOS;
use super::text::step;

/// The kind of cursor that a column of a type gives: integers, timestamps and days, text; none for others.
pub fn cursor_kind_of(ty: &Type) -> Option<CursorKind> {
    match ty {
        Type::Int8
        | Type::Int16
        | Type::Int32
        | Type::Int64
        | Type::Uint8
        | Type::Uint16
        | Type::Uint32
        | Type::Uint64 => Some(CursorKind::Integer),
        Type::Timestamp { .. } | Type::Date => Some(CursorKind::Timestamp),
        Type::Text => Some(CursorKind::Text),
        _ => None,
    }
}

/// The window with its bounds in the zone of the column, where nothing was committed before. The first plan of a table
/// is made before anybody knows whether its timestamps carry a zone, so its bounds only seem to have one. Once there is
/// a lower bound, a committed cursor has fixed the zone, and the window stays as it is.
#[must_use]
pub fn adopt_zone(window: &Window, column: &Type) -> Window {
    let zone = match column {
        Type::Timestamp { utc, .. } => *utc,
        Type::Date => false,
        _ => return window.clone(),
    };
    match window {
        Window::HalfOpen { lo: None, hi: Cursor::Timestamp { nanos, .. } } => {
            Window::HalfOpen { lo: None, hi: Cursor::Timestamp { nanos: *nanos, utc: zone } }
        }
        other => other.clone(),
    }
}

/// The cursor of one row, or `None` for null.
///
/// # Errors
/// `HK0704` if there is no such column, `HK0409` if it cannot be a cursor.
pub fn cursor_of(batch: &RecordBatch, row: usize, column: &str) -> Result<Option<Cursor>> {
    let values = Positions::of(column_of(batch, column)?, column)?;
    Ok(values.get(row))
}

/// Which rows belong to a window: true, false, or null where the row has no cursor (what then happens depends on the
/// table's mode; filters take null for false). Every row belongs to a window without bounds.
///
/// # Errors
/// `HK0704` if there is no such column, `HK0409` if it cannot be a cursor or the window is of another kind or zone.
pub fn window_mask(batch: &RecordBatch, column: &str, window: &Window) -> Result<BooleanArray> {
    if matches!(window, Window::Everything | Window::After { .. }) {
        return Ok(BooleanArray::from(vec![true; batch.num_rows()]));
    }
    let values = Positions::of(column_of(batch, column)?, column)?;
    let window = values.fit(window);
    (0..values.len()).map(|row| values.get_ref(row).map(|p| contains(&window, &p, column)).transpose()).collect()
}

/// The highest cursor of a batch, or `None` if all are null.
///
/// # Errors
/// As [`cursor_of`].
pub fn highest(batch: &RecordBatch, column: &str) -> Result<Option<Cursor>> {
    let values = Positions::of(column_of(batch, column)?, column)?;
    let highest =
        (0..values.len()).filter_map(|row| values.get_ref(row)).reduce(|a, b| if b.is_above(&a) { b } else { a });
    Ok(highest.map(|p| p.to_cursor()))
}

fn column_of<'b>(batch: &'b RecordBatch, column: &str) -> Result<&'b ArrayRef> {
    batch
        .column_by_name(column)
        .ok_or_else(|| Error::new(Code::SchemaKey, format!("the cursor column `{column}` is not among the columns")))
}

/// A position that borrows its text, so that a batch can be compared without a copy of each value.
#[derive(Debug, Clone, Copy)]
enum Position<'a> {
    Integer(i64),
    Timestamp { nanos: i128, utc: bool },
    Text(&'a str),
}

impl Position<'_> {
    fn is_above(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a > b,
            (Self::Timestamp { nanos: a, .. }, Self::Timestamp { nanos: b, .. }) => a > b,
            (Self::Text(a), Self::Text(b)) => a.as_bytes() > b.as_bytes(),
            _ => false,
        }
    }

    fn to_cursor(self) -> Cursor {
        match self {
            Self::Integer(value) => Cursor::Integer { value },
            Self::Timestamp { nanos, utc } => Cursor::Timestamp { nanos, utc },
            Self::Text(value) => Cursor::Text { value: value.to_owned() },
        }
    }
}

/// As [`Window::contains`], which is the rule, without a copy of text.
fn contains(window: &Window, position: &Position<'_>, column: &str) -> Result<bool> {
    use std::cmp::Ordering;
    let compare = |bound: &Cursor| -> Result<Ordering> {
        match (position, bound) {
            (Position::Integer(a), Cursor::Integer { value }) => Ok(a.cmp(value)),
            (Position::Timestamp { nanos: a, utc: x }, Cursor::Timestamp { nanos, utc }) if x == utc => {
                Ok(a.cmp(nanos))
            }
            (Position::Text(a), Cursor::Text { value }) => Ok(a.as_bytes().cmp(value.as_bytes())),
            _ => Err(Error::new(
                Code::CursorType,
                format!("the cursor column `{column}` is of another kind or zone than the window's bound ({bound})"),
            )),
        }
    };
    match window {
        Window::Everything | Window::After { .. } => Ok(true),
        Window::HalfOpen { lo, hi } => {
            let above = lo.as_ref().map(compare).transpose()?.is_none_or(Ordering::is_ge);
            Ok(above && compare(hi)?.is_lt())
        }
        Window::Above { lo, hi } => {
            let above = lo.as_ref().map(compare).transpose()?.is_none_or(Ordering::is_gt);
            Ok(above && hi.as_ref().map(compare).transpose()?.is_none_or(Ordering::is_le))
        }
    }
}

/// A column of cursors.
enum Positions<'a> {
    Integers(ArrayRef),
    Days(ArrayRef),
    /// Counts since the epoch, with nanoseconds per count.
    Timestamps {
        counts: ArrayRef,
        step: i128,
        utc: bool,
    },
    Text(Strings<'a>),
}

impl<'a> Positions<'a> {
    fn of(array: &'a ArrayRef, column: &str) -> Result<Self> {
        let cast = |to: DataType| {
            cast_with_options(array, &to, &CastOptions { safe: false, ..CastOptions::default() }).map_err(|_| {
                Error::new(Code::CursorType, format!("a value of the cursor column `{column}` is out of range"))
            })
        };
        match array.data_type() {
            ty if ty.is_integer() => Ok(Self::Integers(cast(DataType::Int64)?)),
            DataType::Timestamp(unit, zone) => {
                Ok(Self::Timestamps { counts: cast(DataType::Int64)?, step: step(*unit), utc: zone.is_some() })
            }
            DataType::Date32 | DataType::Date64 => Ok(Self::Days(cast(DataType::Date32)?)),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(Self::Text(Strings::of(array)?)),
            other => Err(Error::new(
                Code::CursorType,
                format!("the cursor column `{column}` has the type {other}, which has no order to read by"),
            )
            .with_hint("choose a column of whole numbers, timestamps, days or text")),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Integers(a) | Self::Days(a) | Self::Timestamps { counts: a, .. } => a.len(),
            Self::Text(a) => a.len(),
        }
    }

    fn get_ref(&self, row: usize) -> Option<Position<'a>> {
        match self {
            Self::Integers(a) => a.is_valid(row).then(|| Position::Integer(a.as_primitive::<Int64Type>().value(row))),
            Self::Days(a) => {
                let nanos = || i128::from(a.as_primitive::<Date32Type>().value(row)) * DAY_NANOS;
                a.is_valid(row).then(|| Position::Timestamp { nanos: nanos(), utc: false })
            }
            Self::Timestamps { counts: a, step, utc } => {
                let nanos = || i128::from(a.as_primitive::<Int64Type>().value(row)) * step;
                a.is_valid(row).then(|| Position::Timestamp { nanos: nanos(), utc: *utc })
            }
            Self::Text(a) => a.get(row).map(Position::Text),
        }
    }

    fn get(&self, row: usize) -> Option<Cursor> {
        if row < self.len() { self.get_ref(row).map(Position::to_cursor) } else { None }
    }

    /// The window as it applies to this column: see [`adopt_zone`], and whole days for days.
    fn fit(&self, window: &Window) -> Window {
        match self {
            Self::Timestamps { utc, .. } => {
                adopt_zone(window, &Type::Timestamp { unit: hakiri_core::cursor::TimeUnit::Nanosecond, utc: *utc })
            }
            Self::Days(_) => match adopt_zone(window, &Type::Date) {
                Window::HalfOpen { lo, hi } => Window::HalfOpen { lo: lo.map(start_of_day), hi: start_of_day(hi) },
                other => other,
            },
            _ => window.clone(),
        }
    }
}

fn start_of_day(bound: Cursor) -> Cursor {
    match bound {
        Cursor::Timestamp { nanos, utc } => Cursor::Timestamp { nanos: nanos.div_euclid(DAY_NANOS) * DAY_NANOS, utc },
        other => other,
    }
}
