use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use hakiri_core::schema::{Field, Schema, Type, to_arrow_schema};
use hakiri_core::source::Rows;
use proptest::prelude::*;

use super::{csv, infer, json, texts};
use crate::typing::{cast_batch, child_columns, decode, decode_lenient, split_children};

/// Scalars of JSON that come close to each other's types.
fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        (any::<i32>(), 0..40u32).prop_map(|(n, e)| format!("{n}e-{e}")),
        (any::<i32>(), 0..80u32).prop_map(|(n, e)| format!("{n}E{e}")),
        "[0-9]{1,3}\\.[0-9]{1,5}"
            .prop_map(|t| format!("{}{t}", if t.starts_with('0') { "" } else { "1" }))
            .prop_filter("grammar", |t| serde_json::from_str::<f64>(t).is_ok()),
        "[a-z\"\\\\é]{0,4}".prop_map(|t| serde_json::to_string(&t).unwrap()),
        "20[0-9]{2}-0[1-9]-[0-3][0-9]".prop_map(|t| format!("\"{t}\"")),
        "(0001|1999|9999)-0[1-9]-1[0-9][T ]1[0-9]:00:00(\\.[0-9]{1,9})?(Z|[+]0[0-9]:30)?"
            .prop_map(|t| format!("\"{t}\"")),
    ]
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec((prop::sample::select(vec!["a", "b", "B", "", "\\u0061"]), inner), 0..3).prop_map(
                |members| format!(
                    "{{{}}}",
                    members.iter().map(|(n, v)| format!("\"{n}\": {v}")).collect::<Vec<_>>().join(",")
                )
            ),
        ]
    })
}

fn record() -> impl Strategy<Value = String> {
    prop::collection::vec((prop::sample::select(vec!["x", "y", "z"]), value()), 0..4).prop_map(|members| {
        format!("{{{}}}", members.iter().map(|(n, v)| format!("\"{n}\":{v}")).collect::<Vec<_>>().join(","))
    })
}

fn rows(records: &[String]) -> Rows {
    json(&records.iter().map(String::as_str).collect::<Vec<_>>())
}

fn sorted(ty: Type) -> Type {
    match ty {
        Type::List { item } => Type::List { item: Box::new(sorted(*item)) },
        Type::Struct { fields } => Type::Struct { fields: sort(fields) },
        other => other,
    }
}

fn sort(fields: Vec<Field>) -> Vec<Field> {
    let mut fields: Vec<Field> = fields.into_iter().map(|f| Field::new(f.name, sorted(f.ty))).collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    fields
}

/// The value that JSON text stands for, numbers by their canonical text, without members that are null, last ones
/// first.
fn meaning(raw: &str) -> serde_json::Value {
    use crate::typing::json;
    use serde_json::Value;
    match json::shape(raw) {
        json::Shape::Null => Value::Null,
        // In a text column booleans are strings.
        json::Shape::True => Value::String("true".to_owned()),
        json::Shape::False => Value::String("false".to_owned()),
        json::Shape::Number => {
            let mut text = String::new();
            crate::typing::number::write_canonical(raw, &mut text);
            Value::String(text)
        }
        json::Shape::String => {
            let text = json::string(raw).unwrap();
            match crate::typing::temporal::Temporal::parse(&text) {
                Some(temporal) => Value::String(format!("at {}", temporal.nanos())),
                None => Value::String(text.into_owned()),
            }
        }
        json::Shape::Array => {
            let mut items = Vec::new();
            json::items(raw, &mut |item| items.push(meaning(item))).unwrap();
            Value::Array(items)
        }
        json::Shape::Object => {
            let mut map = serde_json::Map::new();
            json::members(raw, &mut |name, value| drop(map.insert(name.into_owned(), meaning(value)))).unwrap();
            map.retain(|_, v| !v.is_null());
            let mut members: Vec<_> = map.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn types_depend_neither_on_cuts_nor_on_order(records in prop::collection::vec(record(), 0..6), cut in 0..6usize, turn in 0..6usize) {
        let whole = infer(&[rows(&records)]);
        let cut = cut.min(records.len());
        prop_assert_eq!(&infer(&[rows(&records[..cut]), rows(&records[cut..])]), &whole);
        let mut turned = records.clone();
        turned.rotate_left(turn % records.len().max(1));
        turned.reverse();
        prop_assert_eq!(sort(infer(&[rows(&turned)]).fields), sort(whole.fields));
    }

    #[test]
    fn what_was_inferred_decodes_and_means_the_same(records in prop::collection::vec(record(), 1..5)) {
        let given = rows(&records);
        let schema = infer(std::slice::from_ref(&given));
        let batch = decode(&given, &schema).unwrap();
        prop_assert!(*batch.schema() == to_arrow_schema(&schema));
        for (place, field) in schema.fields.iter().enumerate() {
            let as_json = cast_batch(&batch, &Schema::new(vec![Field::new(&field.name, Type::Json)])).unwrap();
            for (row, text) in texts(&as_json, 0, &Type::Json).into_iter().enumerate() {
                let before = meaning(&records[row]).get(&field.name).cloned().unwrap_or_default();
                let after = text.map_or(serde_json::Value::Null, |t| meaning(&t));
                prop_assert_eq!(before, after, "{} {} in {}", place, field.ty, records[row]);
            }
        }
    }

    #[test]
    fn cuts_do_not_change_the_values(records in prop::collection::vec(record(), 2..6), cut in 1..5usize) {
        let schema = infer(&[rows(&records)]);
        let cut = cut.min(records.len());
        let whole = decode(&rows(&records), &schema).unwrap();
        let parts = [decode(&rows(&records[..cut]), &schema).unwrap(), decode(&rows(&records[cut..]), &schema).unwrap()];
        prop_assert_eq!(arrow::compute::concat_batches(&whole.schema(), &parts).unwrap(), whole);
    }

    #[test]
    fn nothing_panics_on_any_text(texts in prop::collection::vec(prop_oneof![".{0,20}", "[\\[\\]{}\",:0-9eE.+\\-\\\\ud8 truefalsn]{0,24}", record()], 0..4), other in record()) {
        let given = rows(&texts);
        let schema = infer(std::slice::from_ref(&given));
        let decoded = decode_lenient(&given, &schema).unwrap();
        prop_assert_eq!(decoded.batch.num_rows() + decoded.rejected.len(), texts.len());
        let other = infer(&[rows(&[other])]);
        prop_assert!(*decode_lenient(&given, &other).unwrap().batch.schema() == to_arrow_schema(&other));
        let key = ["x".to_owned()];
        let child = crate::typing::ChildSpec { field: "y".to_owned(), columns: child_columns("t", &key, "y") };
        let split = split_children(&given, &key, &[child]).unwrap();
        prop_assert_eq!(split.parent.len(), texts.len());
        decode(&split.children[0].rows, &infer(&[split.children[0].rows.clone()])).unwrap();
    }

    #[test]
    fn cells_keep_their_value(cells in prop::collection::vec(prop::option::of(prop_oneof![".{0,6}", scalar().prop_map(|s| s.trim_matches('"').to_owned())]), 0..5)) {
        let cells: Vec<Option<&str>> = cells.iter().map(Option::as_deref).collect();
        let given = csv("c", &cells);
        let schema = infer(std::slice::from_ref(&given));
        let ty = schema.fields[0].ty.clone();
        let batch = decode(&given, &schema).unwrap();
        for (cell, text) in cells.iter().zip(texts(&batch, 0, &ty)) {
            let expected = cell.map(|c| match &ty {
                Type::Int64 | Type::Decimal { .. } => {
                    let mut out = String::new();
                    crate::typing::number::write_canonical(c, &mut out);
                    out
                }
                _ => c.to_owned(),
            });
            if matches!(ty, Type::Timestamp { .. }) {
                let nanos = |t: &str| crate::typing::temporal::Temporal::parse(t).map(|t| t.nanos());
                prop_assert_eq!(cell.and_then(nanos), text.as_deref().and_then(nanos));
            } else {
                prop_assert_eq!(text, expected);
            }
        }
    }
}

#[test]
fn columns_of_text_may_come_and_go() {
    let batch = |name: &str| {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        Rows::Text(RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap())
    };
    let schema = infer(&[batch("a"), batch("b")]);
    assert_eq!(super::shown(&schema), "a: int64, b: int64");
    assert_eq!(texts(&decode(&batch("b"), &schema).unwrap(), 0, &Type::Int64), [None]);
}
