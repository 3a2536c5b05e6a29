//! Logical sizes of rows: how many bytes a row's values are, whatever arrays hold them.
//!
//! Part of the policy (S7): a null is 1, a scalar its width (a bool 1), text and bytes 4 and their length, a list 4 and
//! its items, a struct its fields. Near to what Parquet's plain encoding takes, so that limits in these bytes bound
//! memory.

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::DataType;

/// The logical size of each row of a batch in stored types (see [`super::normal`]).
pub(crate) fn row_bytes(batch: &RecordBatch) -> Vec<u64> {
    let mut sizes = vec![0; batch.num_rows()];
    for column in batch.columns() {
        add(column, &mut sizes);
    }
    sizes
}

/// Adds the size of each value to a row's.
fn add(array: &ArrayRef, sizes: &mut [u64]) {
    let is_null = |row: usize| array.is_null(row);
    let mut put = |size: &dyn Fn(usize) -> u64| {
        for (row, total) in sizes.iter_mut().enumerate() {
            *total += if is_null(row) { 1 } else { size(row) };
        }
    };
    match array.data_type() {
        DataType::LargeUtf8 => {
            let offsets = array.as_string::<i64>().offsets();
            put(&|row| 4 + offsets[row + 1].abs_diff(offsets[row]));
        }
        DataType::LargeBinary => {
            let offsets = array.as_binary::<i64>().offsets();
            put(&|row| 4 + offsets[row + 1].abs_diff(offsets[row]));
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let offsets: Vec<usize> = list.offsets().iter().map(|&o| usize::try_from(o).unwrap_or(0)).collect();
            let (first, last) = (offsets[0], offsets[list.len()]);
            let mut items = vec![0; last - first];
            add(&list.values().slice(first, last - first), &mut items);
            put(&|row| 4 + items[offsets[row] - first..offsets[row + 1] - first].iter().sum::<u64>());
        }
        DataType::Struct(_) => {
            let mut fields = vec![0; array.len()];
            for column in array.as_struct().columns() {
                add(column, &mut fields);
            }
            put(&|row| fields[row]);
        }
        DataType::FixedSizeBinary(width) => {
            let width = u64::from(width.unsigned_abs());
            put(&|_| width);
        }
        other => {
            let width = other.primitive_width().unwrap_or(1) as u64;
            put(&|_| width);
        }
    }
}
