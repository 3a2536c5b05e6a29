use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, DurationMillisecondArray, Float32Array, Float64Array,
    Int64Array, LargeStringArray, ListArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Int32Type};

use super::*;

fn shown(array: ArrayRef, style: Style, json: bool) -> Vec<Option<String>> {
    let field = Field::new("x", array.data_type().clone(), true);
    texts(&array, &field, style, json).unwrap().iter().map(|t| t.map(str::to_owned)).collect()
}

#[test]
fn every_type_has_its_text() {
    let decimals = Arc::new(Decimal128Array::from(vec![150, -5, 0, 10000]).with_precision_and_scale(20, 2).unwrap());
    let table: Vec<(ArrayRef, &[&str], &[&str])> = vec![
        (Arc::new(Int64Array::from(vec![i64::MIN, 0])), &["-9223372036854775808", "0"], &["-9223372036854775808", "0"]),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), &["18446744073709551615"], &["18446744073709551615"]),
        (decimals, &["1.50", "-0.05", "0.00", "100.00"], &["1.5", "-0.05", "0", "100"]),
        (
            Arc::new(Float64Array::from(vec![1.0, -0.0, 1.5e300, 0.1, 1e20, f64::NAN, f64::NEG_INFINITY, 1e-7])),
            &["1.0", "-0.0", "1.5e300", "0.1", "1e20", "NaN", "-Infinity", "1e-7"],
            &["1", "0", "1.5e300", "0.1", "100000000000000000000", "NaN", "-Infinity", "0.0000001"],
        ),
        (Arc::new(Float32Array::from(vec![0.1, 16777216.0])), &["0.1", "16777216.0"], &["0.1", "16777216"]),
        (Arc::new(Date32Array::from(vec![0, -1])), &["1970-01-01", "1969-12-31"], &["1970-01-01", "1969-12-31"]),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![-500_000, 1_704_067_200_000_000, 1]).with_timezone("UTC")),
            &["1969-12-31T23:59:59.500Z", "2024-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z"],
            &["1969-12-31T23:59:59.500Z", "2024-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z"],
        ),
        (Arc::new(TimestampSecondArray::from(vec![-1])), &["1969-12-31T23:59:59"], &["1969-12-31T23:59:59"]),
        (
            Arc::new(TimestampNanosecondArray::from(vec![1])),
            &["1970-01-01T00:00:00.000000001"],
            &["1970-01-01T00:00:00.000000001"],
        ),
        (Arc::new(Time64MicrosecondArray::from(vec![43_200_500_000])), &["12:00:00.500"], &["12:00:00.500"]),
        (Arc::new(DurationMillisecondArray::from(vec![1500, -20_000])), &["PT1.5S", "PT-20S"], &["PT1.5S", "PT-20S"]),
        (Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]])), &["00ff"], &["00ff"]),
    ];
    for (array, stored, canonical) in table {
        let some = |texts: &[&str]| texts.iter().map(|t| Some((*t).to_owned())).collect::<Vec<_>>();
        assert_eq!(shown(Arc::clone(&array), Style::Stored, false), some(stored), "{}", array.data_type());
        assert_eq!(shown(Arc::clone(&array), Style::Canonical, false), some(canonical), "{}", array.data_type());
    }
}

#[test]
fn nested_values_are_json_with_exact_numbers() {
    let list: ArrayRef =
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]));
    let text: ArrayRef = Arc::new(LargeStringArray::from(vec![Some("a\"\n"), None, Some("é")]));
    let float: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 1.5, 2.0]));
    let field = |name: &str, array: &ArrayRef| Arc::new(Field::new(name, array.data_type().clone(), true));
    let fields = vec![field("l", &list), field("t", &text), field("f", &float)];
    let array: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![list, text, float], None));
    assert_eq!(
        shown(array, Style::Stored, true),
        [r#"{"l":[1,null],"t":"a\"\n","f":"NaN"}"#, r#"{"l":null,"t":null,"f":1.5}"#, r#"{"l":[],"t":"é","f":2.0}"#]
            .map(|t| Some(t.to_owned()))
    );
}
