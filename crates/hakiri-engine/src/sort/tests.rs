//! The order is a function of the rows: the budget and the batches cannot be seen (S8, S9).

#![allow(clippy::disallowed_methods)] // looks for named temporary files

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, Int64Array, LargeStringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use hakiri_core::codes::Code;
use hakiri_core::schema::{Field, Type, to_arrow_schema};
use proptest::prelude::*;

use super::*;

/// Key, cursor, arrival.
type Row = (String, Option<i64>, i64);

fn schema() -> Schema {
    Schema::new(vec![Field::new("at", Type::Int64), Field::new("id", Type::Text), Field::new("arrival", Type::Int64)])
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.1))),
        Arc::new(LargeStringArray::from_iter_values(rows.iter().map(|r| &r.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))),
    ];
    RecordBatch::try_new(Arc::new(to_arrow_schema(&schema())), columns).unwrap()
}

fn unbatch(batch: &RecordBatch) -> Vec<Row> {
    let (at, id) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i64>());
    let arrival = batch.column(2).as_primitive::<Int64Type>();
    (0..batch.num_rows())
        .map(|i| (id.value(i).to_owned(), at.is_valid(i).then(|| at.value(i)), arrival.value(i)))
        .collect()
}

fn sorted(rows: &[Row], size: usize, cursor: Option<&str>, dedupe: bool, budget: usize) -> (Vec<Row>, bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = Sorter::new(&schema(), &["id".to_owned()], cursor, dedupe, budget, dir.path().to_owned()).unwrap();
    for chunk in rows.chunks(size) {
        sorter.push(batch(chunk)).unwrap();
    }
    let spilled = sorter.has_spilled();
    let batches: Vec<RecordBatch> = sorter.finish().unwrap().map(|b| b.unwrap()).collect();
    assert!(batches.iter().all(|b| (1..=buffer::CHUNK_ROWS).contains(&b.num_rows())));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    (batches.iter().flat_map(unbatch).collect(), spilled)
}

/// The same, the plain way.
fn expected(rows: &[Row], by_cursor: bool, dedupe: bool) -> Vec<Row> {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| (&a.0, a.1.filter(|_| by_cursor), a.2).cmp(&(&b.0, b.1.filter(|_| by_cursor), b.2)));
    if dedupe {
        rows.reverse();
        rows.dedup_by(|a, b| a.0 == b.0);
        rows.reverse();
    }
    rows
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = ("[ab]{0,2}", prop::option::of(-2..3_i64));
    prop::collection::vec(row, 0..400)
        .prop_map(|rows| rows.into_iter().zip(0..).map(|((id, at), n)| (id, at, n)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_budget_and_any_batches_give_one_order(
        rows in any_rows(), size in prop::sample::select(vec![1_usize, 7, 100, 1000]), by_cursor: bool, dedupe: bool,
    ) {
        let cursor = by_cursor.then_some("at");
        let expected = expected(&rows, by_cursor, dedupe);
        for budget in [0, 30_000, 1 << 30] {
            let (got, spilled) = sorted(&rows, size, cursor, dedupe, budget);
            prop_assert_eq!(&got, &expected);
            prop_assert!(budget > 0 || spilled || rows.is_empty());
        }
    }
}

#[test]
fn many_runs_are_merged_in_levels() {
    // 5,000 runs: three levels.
    let rows: Vec<Row> = (0..5_000).map(|n| (format!("{}", n * 7919 % 1000), Some(n * 31 % 5), n)).collect();
    for dedupe in [false, true] {
        let (got, spilled) = sorted(&rows, 1, Some("at"), dedupe, 0);
        assert!(spilled);
        assert_eq!(got, expected(&rows, true, dedupe));
    }
}

#[test]
fn text_is_ordered_by_its_bytes_and_several_columns_in_their_order() {
    let rows: Vec<Row> =
        ["b", "a\0", "é", "a", "B", ""].into_iter().zip(0..).map(|(id, n)| (id.to_owned(), None, n)).collect();
    let ids: Vec<String> = sorted(&rows, 2, None, false, 0).0.into_iter().map(|r| r.0).collect();
    assert_eq!(ids, ["", "B", "a", "a\0", "b", "é"]);

    let mut sorter =
        Sorter::new(&schema(), &["arrival".to_owned(), "id".to_owned()], None, false, 1 << 20, "".into()).unwrap();
    sorter.push(batch(&[("b".into(), None, 2), ("b".into(), None, -1), ("a".into(), None, 2)])).unwrap();
    let got: Vec<Row> = sorter.finish().unwrap().flat_map(|b| unbatch(&b.unwrap())).collect();
    assert_eq!(got, [("b".into(), None, -1), ("a".into(), None, 2), ("b".into(), None, 2)]);
}

#[test]
fn a_null_key_is_refused_by_name_and_count_never_by_value() {
    let schema = schema();
    let mut sorter = Sorter::new(&schema, &["id".to_owned(), "at".to_owned()], None, true, 1 << 20, "".into()).unwrap();
    let error =
        sorter.push(batch(&[("secret".into(), None, 0), ("b".into(), Some(1), 1), ("c".into(), None, 2)])).unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::RecordWithoutKey, "2 records have no value in the key column `at`")
    );
    let mut sorter = Sorter::new(&schema, &["none".to_owned()], None, true, 1 << 20, "".into()).unwrap();
    sorter.push(batch(&[])).unwrap();
    assert_eq!(sorter.push(batch(&[("b".into(), Some(1), 1)])).unwrap_err().code(), Code::SchemaKey);
    let empty = Sorter::new(&Schema::default(), &["none".to_owned()], Some("at"), true, 0, "".into()).unwrap();
    assert_eq!(empty.finish().unwrap().count(), 0, "without rows there need not be columns");
}

#[test]
fn slices_of_a_large_batch_do_not_count_as_the_whole() {
    let rows: Vec<Row> = (0..100_000).map(|n| (format!("key {n}"), Some(n), n)).collect();
    let whole = batch(&rows);
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = Sorter::new(&schema(), &["id".to_owned()], None, false, 64 << 20, dir.path().to_owned()).unwrap();
    for at in (0..100_000).step_by(100) {
        sorter.push(whole.slice(at, 100)).unwrap();
    }
    assert!(!sorter.has_spilled());
    let batches: Vec<RecordBatch> = sorter.finish().unwrap().map(|b| b.unwrap()).collect();
    assert_eq!(concat_batches(whole.schema_ref(), &batches).unwrap().num_rows(), 100_000);
}

#[test]
fn large_values_are_sorted_in_small_batches() {
    let rows: Vec<Row> = (0..64).map(|n| (format!("{:02}{}", n * 37 % 64, "x".repeat(1 << 18)), None, n)).collect();
    let (got, spilled) = sorted(&rows, 4, None, false, 8 << 20);
    assert!(spilled);
    assert_eq!(got, expected(&rows, false, false));
}

proptest! {
    #[test]
    fn ascending_holds_for_rows_that_sorting_would_leave_as_they_are(
        ids in proptest::collection::vec(0_u8..40, 1..30), ordered: bool, size in 1_usize..9
    ) {
        let mut ids = ids;
        if ordered {
            ids.sort_unstable();
            ids.dedup();
        }
        let rows: Vec<Row> = ids.iter().zip(0..).map(|(id, at)| (format!("{id:03}"), Some(-at), at)).collect();
        let mut ascending = Ascending::new(&["id".to_owned()]);
        rows.chunks(size).for_each(|rows| ascending.observe(&batch(rows)));
        let strictly = ids.windows(2).all(|pair| pair[0] < pair[1]);
        prop_assert_eq!(ascending.holds_for(&schema()), strictly);
        if strictly {
            prop_assert_eq!(sorted(&rows, size, Some("at"), true, 1 << 20).0, rows);
        }
    }
}

#[test]
fn rows_are_not_in_order_where_their_key_is_of_another_type_or_absent() {
    let rows = [("1".to_owned(), Some(1), 1), ("2".to_owned(), None, 2)];
    let mut ascending = Ascending::new(&["id".to_owned()]);
    ascending.observe(&batch(&rows));
    assert!(ascending.holds_for(&schema()));
    // "10" comes before "9" as text, after it as a number.
    let other = Schema::new(vec![Field::new("id", Type::Int64)]);
    assert!(!ascending.holds_for(&other) && !ascending.holds_for(&Schema::default()));
    ascending.give_up();
    assert!(!ascending.holds_for(&schema()));
    let with_null = |key: &str| {
        let mut ascending = Ascending::new(&[key.to_owned()]);
        ascending.observe(&batch(&rows));
        ascending.holds_for(&schema())
    };
    assert!(!with_null("at") && !with_null("nobody"));
    assert!(!Ascending::new(&[]).holds_for(&schema()), "nothing to be ordered by");
}
