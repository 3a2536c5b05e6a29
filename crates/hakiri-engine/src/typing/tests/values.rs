use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array,
    ListArray, MapBuilder, StringArray, StringBuilder, TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{Decimal256Type, Float32Type, Int32Type, UInt64Type, i256};
use hakiri_core::codes::Code;
use hakiri_core::schema::{Schema, Type, to_arrow, to_arrow_schema};
use hakiri_core::source::Rows;

use super::{csv, infer, json, schema, texts, typed};
use crate::typing::{canonical_text, cast_column, decode, decode_lenient};

fn declared(ty: &str) -> Schema {
    schema(&[("c", ty)])
}

fn one(rows: &Rows, ty: &str) -> Result<String, Code> {
    let schema = declared(ty);
    let batch = decode(rows, &schema).map_err(|e| e.code())?;
    assert_eq!(*batch.schema(), to_arrow_schema(&schema));
    Ok(texts(&batch, 0, &schema.fields[0].ty)[0].clone().unwrap_or("null".to_owned()))
}

#[test]
fn values_become_their_declared_type_or_fail() {
    let bad = Err(Code::SchemaValue);
    let ok = |text: &str| Ok(text.to_owned());
    for (value, ty, expected) in [
        ("1.0", "int8", ok("1")),
        ("128", "int8", bad.clone()),
        ("-1", "uint8", bad.clone()),
        ("18446744073709551615", "uint64", ok("18446744073709551615")),
        ("18446744073709551616", "uint64", bad.clone()),
        ("-9223372036854775808", "int64", ok("-9223372036854775808")),
        ("1.5", "int64", bad.clone()),
        ("12.50", "decimal(4,2)", ok("12.5")),
        ("123.4", "decimal(4,2)", bad.clone()),
        ("1.234", "decimal(4,2)", bad.clone()),
        ("-99.99", "decimal(4,2)", ok("-99.99")),
        ("1e70", "decimal(76,2)", ok(&format!("1{}", "0".repeat(70)))),
        ("0.1", "float64", ok("0.1")),
        ("0.1", "float32", ok("0.1")),
        ("1e400", "float64", bad.clone()),
        ("true", "bool", ok("true")),
        ("TRUE", "bool", bad.clone()),
        ("1", "bool", bad.clone()),
        ("2026-01-31", "date", ok("2026-01-31")),
        ("2026-01-31T00:00:00", "date", bad.clone()),
        ("2026-01-31", "timestamp(s)", ok("2026-01-31T00:00:00")),
        ("2026-01-31T10:00:00", "timestamp(us, utc)", ok("2026-01-31T10:00:00Z")),
        ("2026-01-31T10:00:00Z", "timestamp(us)", bad.clone()),
        ("2026-01-31T10:00:00.5Z", "timestamp(s, utc)", bad.clone()),
        ("1700000000", "timestamp(s, utc)", ok("2023-11-14T22:13:20Z")),
        ("9999-01-01T00:00:00Z", "timestamp(ns, utc)", bad.clone()),
        ("10:00:00.25", "time(ms)", ok("10:00:00.250")),
        ("10:00:00.25", "time(s)", bad.clone()),
        ("1500", "duration(ms)", ok("PT1.5S")),
        ("1.50", "text", ok("1.50")),
    ] {
        assert_eq!(one(&csv("c", &[Some(value)]), ty), expected, "cell {value} as {ty}");
        let quoted = format!("{{\"c\":\"{value}\"}}");
        assert_eq!(one(&json(&[&quoted]), ty), expected, "string {value} as {ty}");
    }
    for (value, ty, expected) in [
        ("1.50", "text", ok("1.5")),
        ("true", "text", ok("true")),
        ("{\"b\": [1.0 ]}", "text", ok("{\"b\":[1]}")),
        ("{\"b\": [1.0 ], \"a\":{}}", "json", ok("{\"b\":[1],\"a\":{}}")),
        ("\"x\"", "json", ok("\"x\"")),
        ("null", "json", ok("null")),
        ("1", "list<int8>", bad.clone()),
        ("[1,null,2]", "list<int8>", ok("[1,null,2]")),
        ("[1,300]", "list<int8>", bad.clone()),
        ("{\"b\":2,\"x\":9,\"b\":3}", "struct<a: int8, b: int8>", ok("{\"a\":null,\"b\":3}")),
        ("1", "binary", bad.clone()),
        ("1", "null", bad.clone()),
        ("\"\\ud800\"", "text", bad),
    ] {
        let record = format!("{{\"c\":{value}}}");
        assert_eq!(one(&json(&[&record]), ty), expected, "{value} as {ty}");
    }
    assert_eq!(one(&csv("c", &[Some("[1, 2]")]), "list<int8>"), ok("[1,2]"));
    assert_eq!(one(&csv("c", &[Some("a b")]), "json"), ok("\"a b\""));
}

#[test]
fn errors_name_the_column_and_never_the_value() {
    let error =
        decode(&json(&[r#"{"c":{"a":[{"b":"secret"}]}}"#]), &declared("struct<a: list<struct<b: int8>>>")).unwrap_err();
    assert_eq!(error.message(), "column `c.a[].b`: a value is not of type int8");
    let error = decode(&typed("c", Arc::new(StringArray::from(vec!["secret"]))), &declared("int8")).unwrap_err();
    assert_eq!(error.message(), "column `c`: a value is not of type int8");
}

#[test]
fn bad_rows_can_be_left_out() {
    let rows = json(&[r#"{"c":1}"#, "{", r#"{"c":"x"}"#, "[]", r#"{"c":2}"#]);
    let decoded = decode_lenient(&rows, &declared("int64")).unwrap();
    assert_eq!(texts(&decoded.batch, 0, &Type::Int64), [Some("1".to_owned()), Some("2".to_owned())]);
    assert_eq!(decoded.kept.iter().flatten().collect::<Vec<_>>(), [true, false, false, false, true]);
    let codes: Vec<_> = decoded.rejected.iter().map(|(row, e)| (*row, e.code())).collect();
    assert_eq!(codes, [(1, Code::RecordShape), (2, Code::SchemaValue), (3, Code::RecordShape)]);
    assert_eq!(decode(&rows, &declared("int64")).unwrap_err().code(), Code::RecordShape);

    let typed_rows = typed("c", Arc::new(Int64Array::from(vec![1, 300, 2])));
    let decoded = decode_lenient(&typed_rows, &declared("int8")).unwrap();
    assert_eq!((decoded.batch.num_rows(), decoded.rejected.len(), decoded.rejected[0].0), (2, 1, 1));
    let cells = csv("c", &[Some("x"), None, Some("3")]);
    let decoded = decode_lenient(&cells, &declared("int8")).unwrap();
    assert_eq!((decoded.batch.num_rows(), decoded.rejected[0].0), (2, 0));
}

#[test]
fn columns_come_in_the_order_of_the_schema() {
    let schema = schema(&[("b", "text"), ("missing", "list<int8>"), ("a", "int64")]);
    let batch = decode(&json(&[r#"{"a":1,"extra":[],"b":"x"}"#, "{}"]), &schema).unwrap();
    assert_eq!(*batch.schema(), to_arrow_schema(&schema));
    assert_eq!(texts(&batch, 0, &Type::Text), [Some("x".to_owned()), None]);
    assert_eq!(batch.column(1).null_count(), 2);
    let none = decode(&json(&["{}", "{}"]), &Schema::default()).unwrap();
    assert_eq!((none.num_rows(), none.num_columns()), (2, 0));
}

#[test]
fn typed_values_are_stored_in_the_one_type_or_fail() {
    let ok = |text: &str| Ok(text.to_owned());
    let bad = Err(Code::SchemaValue);
    let cases: Vec<(ArrayRef, &str, Result<String, Code>)> = vec![
        (Arc::new(StringArray::from(vec!["x"])), "text", ok("x")),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), "decimal(20,0)", ok("18446744073709551615")),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), "text", ok("18446744073709551615")),
        (Arc::new(Int64Array::from(vec![300])), "int8", bad.clone()),
        (Arc::new(Float64Array::from(vec![1.5])), "int64", bad.clone()),
        (Arc::new(Float64Array::from(vec![2.0])), "int64", ok("2")),
        (Arc::new(Float64Array::from(vec![1e300])), "text", ok("1e300")),
        (Arc::new(Float64Array::from(vec![0.1])), "json", ok("0.1")),
        (Arc::new(Float64Array::from(vec![f64::NAN])), "json", ok("\"NaN\"")),
        (Arc::new(Float32Array::from(vec![0.1])), "text", ok("0.1")),
        (
            Arc::new(Decimal128Array::from(vec![1250]).with_precision_and_scale(10, 3).unwrap()),
            "decimal(10,2)",
            ok("1.25"),
        ),
        (
            Arc::new(Decimal128Array::from(vec![1255]).with_precision_and_scale(10, 3).unwrap()),
            "decimal(10,2)",
            bad.clone(),
        ),
        (Arc::new(Decimal128Array::from(vec![1250]).with_precision_and_scale(10, 3).unwrap()), "text", ok("1.25")),
        (
            Arc::new(TimestampSecondArray::from(vec![1]).with_timezone("+02:00")),
            "timestamp(us, utc)",
            ok("1970-01-01T00:00:01Z"),
        ),
        (Arc::new(TimestampSecondArray::from(vec![i64::MAX / 1000])), "timestamp(ns)", bad.clone()),
        (Arc::new(Date32Array::from(vec![1])), "timestamp(ns, utc)", ok("1970-01-02T00:00:00Z")),
        (Arc::new(Date32Array::from(vec![2_000_000])), "timestamp(ns, utc)", bad.clone()),
        (Arc::new(Date32Array::from(vec![1])), "json", ok("\"1970-01-02\"")),
        (Arc::new(StringArray::from(vec!["1"])), "json", ok("\"1\"")),
        (Arc::new(StringArray::from(vec!["007"])), "int64", bad.clone()),
        (Arc::new(BinaryArray::from_vec(vec![b"x"])), "binary", Err(Code::SchemaUnsupported)),
        (
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])])),
            "list<text>",
            ok("[\"1\",null]"),
        ),
        (Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])])), "json", ok("[1,null]")),
    ];
    for (array, ty, expected) in cases {
        if expected == Err(Code::SchemaUnsupported) {
            // Bytes have no text: only that they are stored can be seen.
            let batch = decode(&typed("c", array), &declared(ty)).unwrap();
            assert_eq!(batch.column(0).as_binary::<i64>().value(0), b"x");
            continue;
        }
        let shown = format!("{array:?} as {ty}");
        assert_eq!(one(&typed("c", array), ty), expected, "{shown}");
    }
}

#[test]
fn structs_and_maps_are_cast_by_name() {
    let narrow = schema(&[("s", "struct<b: int8, a: null>")]);
    let wide = Type::parse("struct<a: list<text>, b: int64, c: bool>").unwrap();
    let batch = decode(&json(&[r#"{"s":{"b":5}}"#, "{}"]), &narrow).unwrap();
    let cast = cast_column(batch.column(0), &narrow.fields[0].ty, &wide, "s").unwrap();
    assert_eq!(*cast.data_type(), to_arrow(&wide));
    assert_eq!(cast.as_struct().column(1).as_primitive::<arrow::datatypes::Int64Type>().value(0), 5);
    assert!(cast.is_null(1));

    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("k");
    map.values().append_value("v");
    map.append(true).unwrap();
    let rows = typed("c", Arc::new(map.finish()));
    let inferred = infer(std::slice::from_ref(&rows));
    let batch = decode(&rows, &inferred).unwrap();
    let shown = texts(&batch, 0, &inferred.fields[0].ty)[0].clone().unwrap();
    assert!(shown.starts_with("[{\"key") && shown.ends_with("\":\"v\"}]"), "{shown}");
}

#[test]
fn stored_values_are_exact() {
    let batch = decode(&csv("c", &[Some("-1e60")]), &declared("decimal(76,10)")).unwrap();
    let expected = i256::from_string(&format!("-1{}", "0".repeat(70))).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Decimal256Type>().value(0), expected);
    let batch = decode(&csv("c", &[Some("18446744073709551615")]), &declared("uint64")).unwrap();
    assert_eq!(batch.column(0).as_primitive::<UInt64Type>().value(0), u64::MAX);
    let batch = decode(&csv("c", &[Some("16777217.000001")]), &declared("float32")).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Float32Type>().value(0), 16_777_218.0, "rounded once");
}

#[test]
fn a_value_has_one_text_whichever_type_it_was_stored_as() {
    for (values, types) in [
        ("1", &["int8", "uint64", "float32", "float64", "decimal(3,2)", "decimal(60,20)"][..]),
        ("0.5", &["float32", "float64", "decimal(3,2)", "decimal(60,20)"]),
        ("2026-01-31T10:00:00.500Z", &["timestamp(ms, utc)", "timestamp(us, utc)", "timestamp(ns, utc)"]),
        ("2026-01-31T00:00:00", &["timestamp(s)", "timestamp(ns)"]),
    ] {
        for ty in types {
            let batch = decode(&csv("c", &[Some(values)]), &declared(ty)).unwrap();
            assert_eq!(canonical_text(batch.column(0)).unwrap().value(0), values, "{ty}");
        }
    }
}
