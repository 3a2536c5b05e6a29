//! The bytes of writer policy v1: frozen (S7), and independent of how rows came (S9).

#![allow(clippy::disallowed_methods)] // reads and renews the fixtures

mod data;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, DictionaryArray, Float64Array, Int64Array, LargeStringArray, ListArray, StringArray,
    StringViewArray, TimestampSecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int32Type, TimestampMillisecondType};
use bytes::Bytes;
use hakiri_core::codes::Code;
use hakiri_core::cursor::TimeUnit;
use hakiri_core::schema::{Field, Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::*;
use data::{every_type, rows, scalars};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/write/tests/parquet-v1.json");

fn run() -> RunId {
    "run-01HF7YAT00VSNDMVY55PWSWY7D".parse().unwrap()
}

/// The parts of some batches.
fn encode(schema: &Schema, run: Option<&RunId>, batches: impl IntoIterator<Item = RecordBatch>) -> Vec<Encoded> {
    let mut encoder = Encoder::new(schema, run).unwrap();
    let mut parts: Vec<Encoded> = batches.into_iter().flat_map(|b| encoder.push(&b).unwrap()).collect();
    parts.extend(encoder.finish().unwrap());
    parts
}

fn cut(batch: &RecordBatch, size: usize) -> impl Iterator<Item = RecordBatch> + '_ {
    (0..batch.num_rows()).step_by(size).map(move |at| batch.slice(at, size.min(batch.num_rows() - at)))
}

fn hashes(parts: &[Encoded]) -> Vec<String> {
    parts.iter().map(|p| Hash::of(&p.bytes).to_string()).collect()
}

fn read(part: &Encoded) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(part.bytes.clone())).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(|b| b.unwrap()).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn column(ty: Type, array: impl Array + 'static) -> (Schema, RecordBatch) {
    let batch = RecordBatch::try_from_iter_with_nullable([("a", Arc::new(array) as ArrayRef, true)]).unwrap();
    (Schema::new(vec![Field::new("a", ty)]), batch)
}

/// Each case: a name, a schema, rows, whether there is a run.
fn cases() -> Vec<(String, Schema, RecordBatch, bool)> {
    let mut cases: Vec<(String, Schema, RecordBatch, bool)> = scalars()
        .into_iter()
        .map(|ty| {
            let schema = Schema::new(vec![Field::new("a", ty.clone())]);
            (ty.to_string(), schema.clone(), rows(&schema, 2_000, 1), true)
        })
        .collect();
    let all = every_type();
    cases.push(("every type, nested".to_owned(), all.clone(), rows(&all, 1_500, 2), true));
    cases.push(("a snapshot, without a run".to_owned(), all.clone(), rows(&all, 100, 3), false));
    let wide = Schema::new(vec![
        Field::new("id", Type::Int64),
        Field::new("name", Type::Text),
        Field::new("x", Type::Float64),
    ]);
    cases.push(("several chunks, pages and row groups".to_owned(), wide.clone(), rows(&wide, 150_000, 4), true));
    let large = LargeStringArray::from_iter_values((0..20).map(|n| format!("{n}").repeat(3 << 20)));
    let (schema, batch) = column(Type::Text, large);
    cases.push(("large values, several parts".to_owned(), schema, batch, true));
    cases
}

/// Fails when a byte of any part changes. A change on purpose is a new policy; fixtures that were wrong before the first
/// release are renewed with `HAKIRI_RENEW_FIXTURES=1`.
#[test]
fn parts_have_their_frozen_bytes() {
    let mut found = BTreeMap::new();
    for (name, schema, batch, with_run) in cases() {
        let run = run();
        found.insert(name, hashes(&encode(&schema, with_run.then_some(&run), [batch])));
    }
    if std::env::var_os("HAKIRI_RENEW_FIXTURES").is_some() {
        std::fs::write(FIXTURES, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let frozen: BTreeMap<String, Vec<String>> = serde_json::from_slice(&std::fs::read(FIXTURES).unwrap()).unwrap();
    for (name, hashes) in &frozen {
        assert_eq!(found.get(name), Some(hashes), "{name}: the bytes of policy v1 are frozen");
    }
    assert_eq!(found.len(), frozen.len());
}

#[test]
fn what_was_written_is_read_again() {
    for (name, schema, batch, _) in cases() {
        let parts = encode(&schema, Some(&run()), [batch.clone()]);
        let read: Vec<RecordBatch> = parts.iter().map(read).collect();
        let read = concat_batches(read[0].schema_ref(), &read).unwrap();
        assert_eq!(read.num_rows(), batch.num_rows(), "{name}");
        let stored = normal::normalise(&batch, &normal::stored_schema(&schema).unwrap()).unwrap();
        for (at, field) in stored.schema_ref().fields().iter().enumerate() {
            assert_eq!(read.column(at), stored.column(at), "{name}: {}", field.name());
            assert_eq!(read.schema_ref().field(at), field.as_ref(), "{name}");
        }
        let ours = read.column_by_name("_hakiri_run").unwrap().as_string::<i64>();
        assert!(ours.iter().all(|r| r == Some(run().as_str())), "{name}");
    }
}

#[test]
fn the_footer_says_what_it_should_and_no_more() {
    let schema = every_type();
    let parts = encode(&schema, Some(&run()), [rows(&schema, 10, 1)]);
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parts[0].bytes.clone())).unwrap();
    let file = builder.metadata().file_metadata();
    assert_eq!(file.created_by(), Some("hakiri parquet-v1"));
    let keys: Vec<&str> = file.key_value_metadata().unwrap().iter().map(|kv| kv.key.as_str()).collect();
    assert_eq!(keys, ["ARROW:schema"]);
    assert_eq!(builder.metadata().num_row_groups(), 1);
    assert!(builder.metadata().row_group(0).columns().iter().all(|c| c.bloom_filter_offset().is_none()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// S9: whatever the batches were.
    #[test]
    fn bytes_do_not_depend_on_batches(seed: u64, sizes in prop::collection::vec(1..3_000_usize, 1..6)) {
        let schema = every_type();
        let batch = rows(&schema, 700, seed);
        let whole = hashes(&encode(&schema, Some(&run()), [batch.clone()]));
        let mut at = 0;
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            let size = (*size).min(batch.num_rows() - at);
            pieces.push(batch.slice(at, size));
            at += size;
            if at == batch.num_rows() {
                break;
            }
        }
        prop_assert_eq!(&hashes(&encode(&schema, Some(&run()), pieces)), &whole);
        prop_assert_eq!(&hashes(&encode(&schema, Some(&run()), cut(&batch, 1))), &whole);
        prop_assert_eq!(&hashes(&encode(&schema, Some(&run()), cut(&batch, 7))), &whole);
    }
}

#[test]
fn bytes_do_not_depend_on_batches_across_chunks_groups_and_parts() {
    let schema = Schema::new(vec![
        Field::new("id", Type::Int64),
        Field::new("tags", Type::List { item: Box::new(Type::Text) }),
        Field::new("name", Type::Text),
    ]);
    let batch = rows(&schema, 140_000, 5);
    let expected = hashes(&encode(&schema, Some(&run()), [batch.clone()]));
    for size in [1, 7, 8_192, 10_000] {
        assert_eq!(hashes(&encode(&schema, Some(&run()), cut(&batch, size))), expected, "{size}");
    }
    // 5 MiB each: chunks, groups and parts end by bytes.
    let large = LargeStringArray::from_iter((0..30).map(|n| (n % 7 > 0).then(|| format!("{n}").repeat(5 << 19))));
    let (schema, batch) = column(Type::Text, large);
    let parts = encode(&schema, None, [batch.clone()]);
    assert!(parts.len() > 1);
    assert_eq!(parts.iter().map(|p| p.rows).sum::<u64>(), 30);
    for size in [1, 4, 29] {
        assert_eq!(hashes(&encode(&schema, None, cut(&batch, size))), hashes(&parts), "{size}");
    }
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let schema = every_type();
    let batch = rows(&schema, 300, 6);
    let alone = hashes(&encode(&schema, Some(&run()), [batch.clone()]));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4)
            .map(|n| {
                scope.spawn({
                    let (schema, batch) = (&schema, &batch);
                    move || hashes(&encode(schema, Some(&run()), cut(batch, n * 50)))
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}

/// All arrays that stand for one type give the same bytes.
#[test]
fn array_types_do_not_show() {
    let texts = vec![Some("a"), None, Some("b"), Some("a")];
    let (schema, plain) = column(Type::Text, LargeStringArray::from(texts.clone()));
    let expected = hashes(&encode(&schema, None, [plain]));
    let dictionary: DictionaryArray<Int32Type> = texts.clone().into_iter().collect();
    let others: [ArrayRef; 3] =
        [Arc::new(StringArray::from(texts.clone())), Arc::new(StringViewArray::from(texts)), Arc::new(dictionary)];
    for other in others {
        let batch = RecordBatch::try_from_iter_with_nullable([("a", other, true)]).unwrap();
        assert_eq!(hashes(&encode(&schema, None, [batch])), expected);
    }
    let lists = || vec![Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(2)])];
    let (schema, list) =
        column(Type::List { item: Box::new(Type::Int32) }, ListArray::from_iter_primitive::<Int32Type, _, _>(lists()));
    let large = arrow::array::LargeListArray::from_iter_primitive::<Int32Type, _, _>(lists());
    assert_eq!(hashes(&encode(&schema, None, [column(Type::Null, large).1])), hashes(&encode(&schema, None, [list])));
    // A bitmap without a null, and values behind nulls.
    let (schema, plain) = column(Type::Int64, Int64Array::from(vec![1, 2]));
    let bitmap = Int64Array::new(vec![1, 2].into(), Some(arrow::buffer::NullBuffer::new_valid(2)));
    assert_eq!(hashes(&encode(&schema, None, [column(Type::Null, bitmap).1])), hashes(&encode(&schema, None, [plain])));
    let hidden = |v| Int64Array::new(vec![1, v].into(), Some(vec![true, false].into()));
    assert_eq!(
        hashes(&encode(&schema, None, [column(Type::Null, hidden(7)).1])),
        hashes(&encode(&schema, None, [column(Type::Null, hidden(0)).1]))
    );
}

#[test]
fn nans_are_one_seconds_are_milliseconds_and_missing_columns_null() {
    let odd = [0x7ff8_0000_0000_0001, 0xfff8_0000_0000_0000].map(f64::from_bits);
    let (schema, batch) = column(Type::Float64, Float64Array::from(odd.to_vec()));
    let back = read(&encode(&schema, None, [batch])[0]);
    assert!(back.column(0).as_primitive::<Float64Type>().values().iter().all(|v| v.to_bits() == 0x7ff8_0000_0000_0000));

    let seconds = Type::Timestamp { unit: TimeUnit::Second, utc: false };
    let (schema, batch) = column(seconds.clone(), TimestampSecondArray::from(vec![1]));
    assert_eq!(
        read(&encode(&schema, None, [batch])[0]).column(0).as_primitive::<TimestampMillisecondType>().value(0),
        1_000
    );
    let (schema, batch) = column(seconds, TimestampSecondArray::from(vec![i64::MAX]));
    let error = Encoder::new(&schema, None).unwrap().push(&batch).unwrap_err();
    assert_eq!(error.code(), Code::SchemaValue);
    assert!(!format!("{error:?}").contains(&i64::MAX.to_string()));

    let schema = Schema::new(vec![Field::new("b", Type::Text), Field::new("a", Type::Int64)]);
    let batch = column(Type::Null, Int64Array::from(vec![5])).1;
    let back = read(&encode(&schema, None, [batch.clone()])[0]);
    assert!(back.column(0).is_null(0) && back.column(1).is_valid(0));
    let other = Schema::new(vec![Field::new("b", Type::Text)]);
    assert_eq!(
        Encoder::new(&other, None).unwrap().push(&batch).unwrap_err().code(),
        Code::Internal,
        "no column is lost silently"
    );
    let narrow = Schema::new(vec![Field::new("a", Type::Int8)]);
    assert_eq!(
        Encoder::new(&narrow, None).unwrap().push(&batch).unwrap_err().code(),
        Code::Internal,
        "types are converted elsewhere"
    );
}

#[tokio::test]
async fn parts_are_named_counted_and_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::local(dir.path(), "shop").unwrap();
    let schema = every_type();
    let folder = layout::run(&"crm_a".parse().unwrap(), &run());
    let writer = PartWriter::new(&store, folder.clone(), 3, &schema, Some(&run())).unwrap();
    assert_eq!(writer.finish().await.unwrap(), [], "no rows, no parts");

    let (schema, large) =
        column(Type::Text, LargeStringArray::from_iter_values((0..30).map(|n| format!("{n}").repeat(5 << 19))));
    let mut earlier = None;
    for _ in 0..2 {
        let mut writer = PartWriter::new(&store, folder.clone(), 3, &schema, Some(&run())).unwrap();
        for batch in cut(&large, 4) {
            writer.write(&batch).await.unwrap();
        }
        let parts = writer.finish().await.unwrap();
        assert!(parts.len() > 1);
        for (number, part) in (0..).zip(&parts) {
            assert_eq!(part.path, layout::part(&folder, 3, number, &part.sha256));
            assert_eq!(part.schema, schema.fingerprint().unwrap());
            let file = hakiri_core::manifest::FileRef { path: part.path.clone(), sha256: part.sha256.clone() };
            assert_eq!(store.get_verified(&file).await.unwrap().len() as u64, part.bytes);
        }
        assert_eq!(parts.iter().map(|p| p.rows).sum::<u64>(), 30);
        // S1: done again, the same files.
        assert_eq!(earlier.get_or_insert_with(|| parts.clone()), &parts);
        assert_eq!(store.list("").await.unwrap().len(), parts.len());
    }
}

/// P6: other readers see every type (`HAKIRI_TEST_PYTHON`, which `./x test` sets, has pyarrow and DuckDB).
#[test]
fn pyarrow_and_duckdb_read_every_type() {
    let python = std::env::var("HAKIRI_TEST_PYTHON").expect("HAKIRI_TEST_PYTHON is not set: run ./x test");
    let schema = every_type();
    let batch = rows(&schema, 500, 7);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("part.parquet");
    std::fs::write(&path, &encode(&schema, Some(&run()), [batch])[0].bytes).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/write/tests/readers.py");
    let output = std::process::Command::new(python).arg(script).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: BTreeMap<String, [String; 2]> = serde_json::from_slice(&output.stdout).unwrap();
    let seen = |name: &str| found.iter().find(|(k, _)| k.ends_with(name) && k.starts_with('c')).unwrap().1.clone();
    for (column, pyarrow, duckdb) in [
        ("timestamp(s)", "timestamp[ms]", "TIMESTAMP"),
        ("timestamp(ns)", "timestamp[ns]", "TIMESTAMP_NS"),
        ("timestamp(us, utc)", "timestamp[us, tz=UTC]", "TIMESTAMP WITH TIME ZONE"),
        ("time(s)", "time32[ms]", "TIME"),
        ("date", "date32[day]", "DATE"),
        ("decimal(38,10)", "decimal128(38, 10)", "DECIMAL(38,10)"),
        ("decimal(5,-2)", "decimal128(7, 0)", "DECIMAL(7,0)"),
        ("uint64", "uint64", "UBIGINT"),
        ("text", "large_string", "VARCHAR"),
        ("binary(16)", "fixed_size_binary[16]", "BLOB"),
        ("null", "bool", "BOOLEAN"),
        // Parquet has no durations: plain integers but for readers of the Arrow schema.
        ("duration(us)", "duration[us]", "BIGINT"),
    ] {
        assert_eq!(seen(column), [pyarrow, duckdb], "{column}");
    }
}
