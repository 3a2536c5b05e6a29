//! What goes in comes out, in memory and on disk.

#![allow(clippy::disallowed_methods)] // looks for named temporary files

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, DictionaryArray, Int64Array, StringArray, StringViewArray};
use arrow::datatypes::{Field, Int32Type, Schema as ArrowSchema};
use hakiri_core::codes::Code;
use proptest::prelude::*;

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn rows(kind: u8, from: i64, count: usize) -> Rows {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter((from..).take(count).map(|n| (n % 3 != 0).then_some(n))));
    let texts = (from..).take(count).map(|n| Some(format!("text {n}")));
    match kind {
        0 => Rows::Typed(batch(vec![("n", numbers)])),
        1 => {
            let texts: DictionaryArray<Int32Type> =
                texts.map(|t| t.unwrap()).collect::<Vec<_>>().iter().map(String::as_str).collect();
            Rows::Typed(batch(vec![("d", Arc::new(texts)), ("n", numbers)]))
        }
        2 => Rows::Typed(batch(vec![("v", Arc::new(StringViewArray::from_iter(texts)))])),
        3 => Rows::Text(batch(vec![("a", Arc::new(StringArray::from_iter(texts)))])),
        _ => Rows::Json(batch(vec![("json", Arc::new(StringArray::from_iter(texts)))])),
    }
}

fn same(a: &[Rows], b: &[Rows]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            let ((kind_a, a), (kind_b, b)) = (parts(a), parts(b));
            kind_a == kind_b && a == b && a.schema() == b.schema()
        })
}

fn all(spool: &Spool) -> Vec<Rows> {
    spool.replay().unwrap().map(|r| r.unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn rows_come_out_as_they_went_in(kinds in prop::collection::vec((0..5_u8, 0..20_usize), 0..24), budget in prop::sample::select(vec![0_usize, 3_000, 1 << 30])) {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(budget, dir.path().to_owned());
        let mut expected = Vec::new();
        for (at, (kind, count)) in kinds.into_iter().enumerate() {
            let pushed = rows(kind, at as i64 * 100, count);
            spool.push(pushed.clone()).unwrap();
            if count > 0 {
                expected.push(pushed);
            }
            // Replays in between neither disturb nor miss anything.
            prop_assert!(same(&all(&spool), &expected));
        }
        prop_assert!(same(&all(&spool), &expected) && same(&all(&spool), &expected));
        prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no file has a name");
        prop_assert!(spool.has_spilled() == (budget == 0 && !expected.is_empty()) || budget == 3_000);
    }
}

#[test]
fn schemas_with_equal_columns_and_other_metadata_stay_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(0, dir.path().to_owned());
    let plain = rows(0, 0, 3);
    let Rows::Typed(b) = &plain else { panic!() };
    let field =
        Field::new("n", b.column(0).data_type().clone(), true).with_metadata([("a".to_owned(), "b".to_owned())].into());
    let marked =
        Rows::Typed(RecordBatch::try_new(Arc::new(ArrowSchema::new(vec![field])), b.columns().to_vec()).unwrap());
    let expected = [plain.clone(), marked.clone(), marked, plain];
    for rows in &expected {
        spool.push(rows.clone()).unwrap();
    }
    assert!(same(&all(&spool), &expected));
}

#[test]
fn slices_spill_only_their_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(0, dir.path().to_owned());
    let Rows::Typed(large) = rows(0, 0, 100_000) else { panic!() };
    for at in 0..100 {
        spool.push(Rows::Typed(large.slice(at * 1000, 10))).unwrap();
    }
    let written = spool.file.as_ref().unwrap().open_range().end;
    assert!(written < 100_000, "{written}");
    assert_eq!(all(&spool)[99].len(), 10);
}

#[test]
fn a_missing_folder_and_a_full_disk_have_their_codes() {
    let mut spool = Spool::new(0, "/nowhere/at/all".into());
    assert_eq!(spool.push(rows(0, 0, 1)).unwrap_err().code(), Code::Io);
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert_eq!(temp::temp_failed(&full).code(), Code::StoreFull);
}

/// The engine holds spools and their rows across awaits.
#[test]
fn spools_can_be_sent_and_shared() {
    fn sendable<T: Send>() {}
    sendable::<Spool>();
    sendable::<Replay<'_>>();
    sendable::<crate::sort::Sorted>();
    sendable::<crate::sort::Sorter>();
    sendable::<crate::write::PartWriter>();
}
