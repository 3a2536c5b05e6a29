use std::sync::Arc;

use arrow::array::{DictionaryArray, Int32Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::Int32Type;
use hakiri_core::codes::Code;
use hakiri_core::schema::{Schema, Type};

use super::{csv, infer, inferred_texts, json, schema, shown, typed};
use crate::typing::Inference;

#[test]
fn cells_of_csv_have_the_narrowest_type_that_holds_them() {
    for (cells, expected) in [
        (vec![], "null"),
        (vec!["true", "false"], "bool"),
        (vec!["True"], "text"),
        (vec!["true", "1"], "text"),
        (vec!["1", "-2", "9223372036854775807"], "int64"),
        (vec!["1.0", "1e3"], "int64"),
        (vec!["9223372036854775808"], "decimal(19,0)"),
        (vec!["12345678901234567890123", "1"], "decimal(23,0)"),
        (vec!["1.50", "2.25", "3"], "decimal(21,2)"),
        (vec!["1e-30"], "decimal(38,30)"),
        (vec!["123456789", "1e-30"], "decimal(49,30)"),
        (vec!["1e-70"], "decimal(76,70)"),
        (vec!["1e-70", "1e10"], "text"),
        (vec!["1e300"], "text"),
        (vec!["1", "007"], "text"),
        (vec!["+1"], "text"),
        (vec!["2026-01-31"], "date"),
        (vec!["2026-01-31", "5"], "text"),
        (vec!["2026-01-31", "2026-01-31T10:00:00"], "timestamp(us)"),
        (vec!["2026-01-31", "2026-01-31 10:00:00Z"], "timestamp(us, utc)"),
        (vec!["2026-01-31T10:00:00", "2026-01-31T10:00:00Z"], "text"),
        (vec!["2026-01-31T10:00:00.1234567Z"], "timestamp(ns, utc)"),
        (vec!["2026-01-31T10:00:00.1234560Z"], "timestamp(us, utc)"),
        (vec!["2026-01-31T10:00:00.1234567Z", "0001-01-01T00:00:00Z"], "text"),
        (vec!["0001-01-01T00:00:00.0000000Z"], "timestamp(us, utc)"),
        (vec!["2026-01-31", "soon"], "text"),
        (vec![""], "text"),
    ] {
        let mut with_null: Vec<Option<&str>> = cells.iter().map(|c| Some(*c)).collect();
        with_null.push(None);
        let rows = csv("c", &with_null);
        assert_eq!(shown(&infer(std::slice::from_ref(&rows))), format!("c: {expected}"), "{cells:?}");
        let (_, mut texts) = inferred_texts(&rows);
        assert_eq!(texts.pop(), Some(None));
        if expected == "text" {
            assert_eq!(texts, cells.iter().map(|c| Some((*c).to_owned())).collect::<Vec<_>>(), "text stays as it is");
        }
    }
}

#[test]
fn values_of_json_have_the_narrowest_type_that_holds_them() {
    for (values, expected) in [
        (vec!["1", "2.5", "null"], "decimal(20,1)"),
        (vec!["1.50"], "decimal(20,1)"),
        (vec!["18446744073709551615"], "decimal(20,0)"),
        (vec!["-0"], "int64"),
        (vec!["\"1\""], "text"),
        (vec!["\"true\""], "text"),
        (vec!["1", "\"1\""], "text"),
        (vec!["1e99999999999999"], "text"),
        (vec!["\"2026-01-31\""], "date"),
        (vec!["\"2026-01-31T10:00:00Z\""], "timestamp(us, utc)"),
        (vec!["[]"], "json"),
        (vec!["[null]", "[]"], "json"),
        (vec!["[1]", "[]", "[2.5, null]"], "list<decimal(20,1)>"),
        (vec!["[[1], []]"], "list<list<int64>>"),
        (vec!["[1]", "[\"a\"]"], "list<text>"),
        (vec!["[1]", "[[1]]"], "list<json>"),
        (vec!["{}"], "json"),
        (vec!["{}", "{\"a\":1}"], "struct<a: int64>"),
        (vec!["{\"a\":1}", "{\"b\":\"x\",\"a\":null}"], "struct<a: int64, b: text>"),
        (vec!["{\"a\":null}"], "struct<a: null>"),
        (vec!["{\"a\":1}", "1"], "json"),
        (vec!["{\"a\":1}", "[1]"], "json"),
        (vec!["{\"a\":1,\"A\":2}"], "json"),
        (vec!["{\"\":1}"], "json"),
        (vec!["[{\"a\":1},{\"a\":2.5}]"], "list<struct<a: decimal(20,1)>>"),
    ] {
        let records: Vec<String> = values.iter().map(|v| format!("{{\"c\": {v} }}")).collect();
        let rows = json(&records.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(inferred_texts(&rows).0, expected, "{values:?}");
    }
}

#[test]
fn columns_stand_in_the_order_of_their_first_appearance() {
    let rows = json(&[r#"{"b":1,"a":"x"}"#, "not json", r#"["a"]"#, r#"{"c":true,"a":null,"b":2}"#]);
    assert_eq!(shown(&infer(&[rows])), "b: int64, a: text, c: bool");
}

#[test]
fn declared_columns_are_not_inferred() {
    let mut inference = Inference::new(&schema(&[("price", "decimal(18,2)"), ("extra", "json")]));
    inference.observe(&json(&[r#"{"id":1,"price":"12.50"}"#])).unwrap();
    assert_eq!(shown(&inference.finish().unwrap()), "id: int64, price: decimal(18,2), extra: json");
}

#[test]
fn typed_columns_keep_their_types_and_join() {
    let a = typed("n", Arc::new(Int32Array::from(vec![1])));
    let b = typed("n", Arc::new(Int64Array::from(vec![1])));
    let c = typed("d", Arc::new(DictionaryArray::<Int32Type>::from_iter(["x"])));
    let d = typed("t", Arc::new(TimestampNanosecondArray::from(vec![1]).with_timezone("Europe/Berlin")));
    assert_eq!(shown(&infer(&[a, b, c, d])), "n: int64, d: text, t: timestamp(ns, utc)");
    let text = typed("n", Arc::new(StringArray::from(vec!["x"])));
    let bytes = typed("n", Arc::new(arrow::array::BinaryArray::from_vec(vec![b"x"])));
    let mut inference = Inference::new(&Schema::default());
    inference.observe(&text).unwrap();
    assert_eq!(inference.observe(&bytes).unwrap_err().code(), Code::SchemaType);
}

#[test]
fn what_is_too_wide_or_too_deep_is_bounded() {
    let record = |n: usize| format!("{{{}}}", (0..n).map(|i| format!("\"c{i}\":1")).collect::<Vec<_>>().join(","));
    let (wide, wider) = (record(2_000), record(2_001));
    assert_eq!(infer(&[json(&[&wide])]).fields.len(), 2_000);
    let error = Inference::new(&Schema::default()).observe(&json(&[&wider])).unwrap_err();
    assert_eq!(error.code(), Code::SchemaWide);

    let map = format!("{{\"scores\":{}}}", record(501));
    assert_eq!(shown(&infer(&[json(&[&map])])), "scores: json");

    let sixteen = format!("{{\"c\":{}1{}}}", "[".repeat(16), "]".repeat(16));
    let mut ty = &infer(&[json(&[&sixteen])]).fields[0].ty.clone();
    for _ in 0..16 {
        let Type::List { item } = ty else { panic!("{ty}") };
        ty = item;
    }
    assert_eq!(*ty, Type::Int64);
    let deep = format!("{{\"c\":{}1{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let rows = json(&[&deep]);
    let (ty, texts) = inferred_texts(&rows);
    assert_eq!(ty, format!("{}json{}", "list<".repeat(16), ">".repeat(16)));
    assert!(texts[0].as_ref().unwrap().len() > 100_000);
}
