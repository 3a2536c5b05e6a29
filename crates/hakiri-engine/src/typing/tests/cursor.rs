use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Int16Array, LargeStringArray, RecordBatch, TimestampMillisecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use hakiri_core::codes::Code;
use hakiri_core::cursor::{Cursor, CursorKind};
use hakiri_core::schema::Type;
use hakiri_core::window::Window;

use crate::typing::{cursor_kind_of, cursor_of, highest, window_mask};

const DAY: i128 = 86_400_000_000_000;

fn batch(array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("c", array, true)]).unwrap()
}

fn at(nanos: i128, utc: bool) -> Cursor {
    Cursor::Timestamp { nanos, utc }
}

fn bits(mask: &BooleanArray) -> Vec<Option<bool>> {
    mask.iter().collect()
}

#[test]
fn timestamps_of_any_unit_are_compared_by_instant() {
    let millis =
        batch(Arc::new(TimestampMillisecondArray::from(vec![Some(1), Some(2), None, Some(3)]).with_timezone("UTC")));
    let window = Window::HalfOpen { lo: Some(at(2_000_000, true)), hi: at(3_000_000, true) };
    assert_eq!(bits(&window_mask(&millis, "c", &window).unwrap()), [Some(false), Some(true), None, Some(false)]);
    assert_eq!(highest(&millis, "c").unwrap(), Some(at(3_000_000, true)));
    assert_eq!(cursor_of(&millis, 2, "c").unwrap(), None);
    assert_eq!(cursor_of(&millis, 9, "c").unwrap(), None);
    let before_epoch = batch(Arc::new(TimestampNanosecondArray::from(vec![-1])));
    assert_eq!(cursor_of(&before_epoch, 0, "c").unwrap(), Some(at(-1, false)));
}

#[test]
fn zones_do_not_mix_but_the_first_window_takes_the_columns() {
    let naive = batch(Arc::new(TimestampMillisecondArray::from(vec![1, 5])));
    let first = Window::HalfOpen { lo: None, hi: at(2_000_000, true) };
    assert_eq!(bits(&window_mask(&naive, "c", &first).unwrap()), [Some(true), Some(false)]);
    let later = Window::HalfOpen { lo: Some(at(0, true)), hi: at(2_000_000, true) };
    assert_eq!(window_mask(&naive, "c", &later).unwrap_err().code(), Code::CursorType);
}

#[test]
fn days_are_read_once_when_they_are_over() {
    let days = batch(Arc::new(Date32Array::from(vec![9, 10, 11])));
    let noon = |day: i128| day * DAY + DAY / 2;
    let mask = |lo: Option<i128>, hi: i128| {
        bits(&window_mask(&days, "c", &Window::HalfOpen { lo: lo.map(|n| at(n, false)), hi: at(hi, false) }).unwrap())
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    };
    assert_eq!(mask(None, noon(10)), [true, false, false]);
    assert_eq!(mask(Some(noon(10)), noon(10) + 1), [false, false, false]);
    assert_eq!(mask(Some(noon(10) + 1), noon(11)), [false, true, false]);
}

#[test]
fn integers_and_text_are_open_below() {
    let integers = batch(Arc::new(Int16Array::from(vec![Some(-1), Some(5), None, Some(7)])));
    let window = Window::Above { lo: Some(Cursor::Integer { value: -1 }), hi: Some(Cursor::Integer { value: 5 }) };
    assert_eq!(bits(&window_mask(&integers, "c", &window).unwrap()), [Some(false), Some(true), None, Some(false)]);
    assert_eq!(bits(&window_mask(&integers, "c", &Window::Everything).unwrap()), [Some(true); 4]);
    let text = batch(Arc::new(LargeStringArray::from(vec!["Z", "a", "é"])));
    assert_eq!(highest(&text, "c").unwrap(), Some(Cursor::Text { value: "é".to_owned() }));
    let window = Window::Above { lo: Some(Cursor::Text { value: "Z".to_owned() }), hi: None };
    assert_eq!(bits(&window_mask(&text, "c", &window).unwrap()), [Some(false), Some(true), Some(true)]);
}

#[test]
fn what_cannot_be_a_cursor_is_refused() {
    let large = batch(Arc::new(UInt64Array::from(vec![u64::MAX])));
    assert_eq!(highest(&large, "c").unwrap_err().code(), Code::CursorType);
    let booleans = batch(Arc::new(BooleanArray::from(vec![true])));
    assert_eq!(highest(&booleans, "c").unwrap_err().code(), Code::CursorType);
    assert_eq!(highest(&booleans, "x").unwrap_err().code(), Code::SchemaKey);
    assert_eq!(cursor_kind_of(&Type::Date), Some(CursorKind::Timestamp));
    assert_eq!(cursor_kind_of(&Type::Float64), None);
}
