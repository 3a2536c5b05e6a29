//! The forms of results.

use arrow::array::{Array, RecordBatch};
use hakiri_core::cursor::TimeUnit;
use hakiri_core::schema::{Field, Type};
use hakiri_core::spec::Mode;
use hakiri_query::{OutputFormat, write_results};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{Store, columns, print};

fn store() -> Store {
    let schema = columns(&[
        ("id", Type::Int64),
        ("amount", Type::Decimal { precision: 38, scale: 2 }),
        ("text", Type::Text),
        ("at", Type::Timestamp { unit: TimeUnit::Microsecond, utc: true }),
        ("day", Type::Date),
        ("doc", Type::Json),
        ("s", Type::Struct { fields: vec![Field::new("n", Type::Uint64)] }),
    ]);
    let mut store = Store::new();
    store.table("t", Mode::Append, &[], &schema);
    store.run("t", 1, &schema, &[r#"{"id":9223372036854775807,"amount":"123456789012345678901234567890123456.70","text":"a,\"b\"\nc","at":"2024-01-01T00:00:00.5Z","day":"2024-02-29","doc":"{\"a\": [1.50]}","s":{"n":18446744073709551615}}
{"id":1,"text":""}"#]);
    store
}

#[tokio::test]
async fn csv_tells_null_from_empty_and_quotes() {
    let csv = print(&store().database(), "select * exclude (_hakiri_run) from t", OutputFormat::Csv).await.unwrap();
    assert_eq!(
        csv,
        "id,amount,text,at,day,doc,s\n9223372036854775807,123456789012345678901234567890123456.70,\"a,\"\"b\"\"\nc\",2024-01-01T00:00:00.500Z,2024-02-29,\"{\"\"a\"\": [1.50]}\",\"{\"\"n\"\":18446744073709551615}\"\n1,,\"\",,,,\n"
    );
}

#[tokio::test]
async fn json_keeps_all_digits() {
    let store = store();
    let sql = "select * exclude (_hakiri_run) from t";
    let first = r#"{"id":9223372036854775807,"amount":123456789012345678901234567890123456.70,"text":"a,\"b\"\nc","at":"2024-01-01T00:00:00.500Z","day":"2024-02-29","doc":{"a": [1.50]},"s":{"n":18446744073709551615}}"#;
    let second = r#"{"id":1,"amount":null,"text":"","at":null,"day":null,"doc":null,"s":null}"#;
    assert_eq!(print(&store.database(), sql, OutputFormat::Ndjson).await.unwrap(), format!("{first}\n{second}\n"));
    assert_eq!(print(&store.database(), sql, OutputFormat::Json).await.unwrap(), format!("[\n{first},\n{second}\n]\n"));
    assert_eq!(print(&store.database(), "select id from t where false", OutputFormat::Json).await.unwrap(), "[]\n");
    assert_eq!(
        print(
            &store.database(),
            "select a.id, b.id from t a join t b on a.id = b.id where a.id = 1",
            OutputFormat::Ndjson
        )
        .await
        .unwrap(),
        "{\"id\":1,\"id_2\":1}\n"
    );
}

#[tokio::test]
async fn the_table_is_aligned_and_harmless() {
    let store = store();
    let table =
        print(&store.database(), "select id % 10 as n, text, 'é' as e from t", OutputFormat::Table).await.unwrap();
    assert_eq!(table, "n | text    | e\n--+---------+--\n7 | a,\"b\"↵c | é\n1 |         | é\n");
    let long =
        print(&store.database(), "select repeat('x', 100) as x, chr(27) || '[2J' as e, null as n", OutputFormat::Table)
            .await
            .unwrap();
    let row = long.lines().nth(2).unwrap();
    assert!(row.starts_with(&format!("{}… | \u{fffd}[2J", "x".repeat(59))) && row.ends_with("NULL"), "{row}");
    assert_eq!(
        print(&store.database(), "select id from t where false", OutputFormat::Table).await.unwrap(),
        "id\n--\n"
    );
    let many =
        print(&store.database(), "select value as v from generate_series(1, 2500)", OutputFormat::Table).await.unwrap();
    assert!(many.lines().count() == 2502 && many.lines().nth(2) == Some("   1") && many.lines().last() == Some("2500"));
}

#[tokio::test]
async fn rows_are_counted_and_parquet_reads_back() {
    let store = store();
    let mut out = Vec::new();
    let rows = write_results(store.database().query("select * from t").await.unwrap(), OutputFormat::Parquet, &mut out)
        .await
        .unwrap();
    assert_eq!(rows, 2);
    let batches: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(out))
        .unwrap()
        .build()
        .unwrap()
        .map(|b| b.unwrap())
        .collect();
    assert_eq!((batches.len(), batches[0].num_rows(), batches[0].column(1).null_count()), (1, 2, 1));
}
