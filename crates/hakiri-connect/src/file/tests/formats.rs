//! What each format gives.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::*;

pub(super) fn parquet_file(rows: i64) -> Vec<u8> {
    let id: ArrayRef = Arc::new((0..rows).collect::<Int64Array>());
    let name: ArrayRef = Arc::new((0..rows).map(|i| (i % 3 != 0).then(|| format!("n{i}"))).collect::<StringArray>());
    let batch = RecordBatch::try_from_iter([("id", id), ("name", name)]).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(40)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test]
async fn every_text_format_reads_the_same_under_every_compression() {
    let formats: [(&str, &str, &[&str]); 4] = [
        ("csv", "a,b\n1,x\n2,\n", &["a=1|b=x", "a=2|b=∅"]),
        ("tsv", "a\tb\n1\tx,y\n", &["a=1|b=x,y"]),
        ("jsonl", "{\"a\": 1}\n\n{\"a\":2}", &["{\"a\": 1}", "{\"a\":2}"]),
        ("json", "[{\"a\":1},\n {\"a\": [2]}]\n", &["{\"a\":1}", "{\"a\": [2]}"]),
    ];
    let everywhere = World::everywhere();
    for ((extension, content, rows), world) in formats.iter().flat_map(|f| everywhere.iter().map(move |w| (*f, w))) {
        let bytes = content.as_bytes();
        let two_members: Vec<u8> = [gzip(&bytes[..3]), gzip(&bytes[3..])].concat();
        let two_frames: Vec<u8> = [zstandard(&bytes[..3]), zstandard(&bytes[3..])].concat();
        for (suffix, packed) in [
            ("", bytes.to_vec()),
            (".gz", gzip(bytes)),
            (".zst", zstandard(bytes)),
            (".2.gz", two_members),
            (".2.zstd", two_frames),
        ] {
            let name = format!("{}.{extension}{}", suffix.len(), suffix.replace(".2", ""));
            let size = packed.len() as u64;
            let given = world.rows(&name, packed).await.unwrap();
            assert_eq!(given.rows, rows, "{name}");
            assert_eq!(given.progress, Progress { requests: 1, bytes: size, bytes_total: size }, "{name}");
            assert!(given.rejected.is_empty() && given.cursor.is_some());
        }
    }
}

#[tokio::test]
async fn csv_cells() {
    let cases: [(&str, &[&str]); 12] = [
        ("\u{feff}a,b\r\n1,2\r\n", &["a=1|b=2"]),
        ("a,b\n\"\",\n", &["a=|b=∅"]),
        ("a,b\n\"x\ny\",\"say \"\"hi\"\"\"\n", &["a=x\ny|b=say \"hi\""]),
        ("a\n\n\n1\n\n\"\"\n", &["a=1", "a="]),
        ("a,b\r1,2\r", &["a=1|b=2"]),
        ("a,b\n1,2", &["a=1|b=2"]),
        ("a,b\n\"1\",\"2\"", &["a=1|b=2"]),
        ("a,b\n,", &["a=∅|b=∅"]),
        ("a,b\n x , \"y\"\n", &["a= x |b= \"y\""]),
        ("a,b\n\"x\"y,2\n", &["a=xy|b=2"]),
        ("\"a,1\",b\n1,2\n", &["a,1=1|b=2"]),
        ("a,b\n", &[]),
    ];
    for (content, rows) in cases {
        let given = World::new().rows("x.csv", content).await.unwrap();
        assert_eq!(given.rows, rows, "{content:?}");
        assert!(given.rejected.is_empty(), "{content:?}");
    }
}

#[tokio::test]
async fn csv_options() {
    let cases: [(Value, &str, &[&str]); 7] = [
        (json!({"delimiter": ";"}), "a;b\n1,5;2\n", &["a=1,5|b=2"]),
        (json!({"quote": "'"}), "a,b\n'1,5',\"\n", &["a=1,5|b=\""]),
        (json!({"quote": ""}), "a,b\n\"1,2\"\n", &["a=\"1|b=2\""]),
        (json!({"header": false}), "1,2\n3,4\n", &["column_1=1|column_2=2", "column_1=3|column_2=4"]),
        (json!({"header": false, "columns": ["x", "y"]}), "1,2\n", &["x=1|y=2"]),
        (json!({"columns": ["x", "y"]}), "a,a\n1,2\n", &["x=1|y=2"]),
        (json!({"null_values": ["NA", "\\N"]}), "a,b,c,d\nNA,\"NA\",,\\N\n", &["a=∅|b=NA|c=|d=∅"]),
    ];
    for (mut config, content, rows) in cases {
        let world = World::new();
        world.put("x.csv", content);
        config["path"] = json!("x.csv");
        assert_eq!(world.run(config.clone()).await.unwrap().rows, rows, "{config}");
    }
    let world = World::new();
    world.put("x.csv", b"a\ncaf\xe9\n");
    assert_eq!(world.run(json!({"path": "x.csv", "encoding": "latin1"})).await.unwrap().rows, ["a=café"]);
}

#[tokio::test]
async fn json_documents() {
    let cases: [(Value, &str, &[&str]); 7] = [
        (json!({}), "{\"a\": {\"b\": 1}}", &["{\"a\": {\"b\": 1}}"]),
        (json!({}), "\u{feff} \n []", &[]),
        (json!({"records": "data"}), "{\"n\": 2, \"data\": [{\"a\":1}], \"z\": [[1]]}", &["{\"a\":1}"]),
        (json!({"records": "d.e"}), "{\"d\": {\"x\": [], \"e\": [{\"a\":\"]}\"}]}}", &["{\"a\":\"]}\"}"]),
        (
            json!({}),
            "[{\"big\": 12345678901234567890123.450, \"e\": \"\\u00e9é\"}]",
            &["{\"big\": 12345678901234567890123.450, \"e\": \"\\u00e9é\"}"],
        ),
        (json!({"records": "a"}), "{\"a\": []}", &[]),
        (json!({"format": "json"}), "[{}]", &["{}"]),
    ];
    for (mut config, content, rows) in cases {
        let world = World::new();
        world.put("x.json", content);
        config["path"] = json!("x.json");
        assert_eq!(world.run(config.clone()).await.unwrap().rows, rows, "{config} {content}");
    }
}

#[tokio::test]
async fn parquet_keeps_its_types() {
    for world in World::everywhere() {
        let bytes = parquet_file(100);
        let size = bytes.len() as u64;
        let given = world.rows("x.parquet", bytes).await.unwrap();
        assert_eq!(given.rows.len(), 100);
        assert_eq!((given.rows[0].as_str(), given.rows[99].as_str()), ("id=0|name=∅", "id=99|name=∅"));
        assert_eq!(given.rows[50], "id=50|name=n50");
        assert_eq!(given.batches, 3, "one per row group");
        assert_eq!(given.progress, Progress { requests: 1, bytes: size, bytes_total: size });
    }
}

#[tokio::test]
async fn the_rows_do_not_depend_on_the_batch_size() {
    let mut csv = String::from("id,text\n");
    let mut jsonl = String::new();
    for i in 0..500 {
        csv.push_str(&format!("{i},\"line\n{i}\"\n"));
        jsonl.push_str(&format!("{{\"id\":{i}}}\n"));
        if i % 50 == 0 {
            csv.push_str("one cell too few\n");
            jsonl.push_str("nonsense\n");
        }
    }
    let json = format!("[{}]", (0..500).map(|i| format!("{{\"id\":{i}}}")).collect::<Vec<_>>().join(","));
    for (name, content) in [
        ("x.csv", csv.into_bytes()),
        ("x.jsonl", jsonl.into_bytes()),
        ("x.json", json.into_bytes()),
        ("x.parquet", parquet_file(500)),
    ] {
        let mut world = World::new();
        world.put(name, content);
        let mut all = Vec::new();
        for batch_rows in [0, 1, 7, 8192] {
            world.batch_rows = batch_rows;
            let given = world.run(json!({ "path": name })).await.unwrap();
            assert_eq!(given.rows.len(), 500);
            all.push((given.rows, given.rejected, given.cursor));
        }
        assert!(all.windows(2).all(|w| w[0] == w[1]), "{name}");
    }
}

#[tokio::test]
async fn batches_are_bounded_by_bytes_too() {
    let cell = "x".repeat(3 << 20);
    let given = World::new().rows("x.csv", format!("a\n{cell}\n{cell}\n{cell}\n{cell}\n")).await.unwrap();
    assert_eq!((given.rows.len(), given.batches), (4, 2));
}

#[tokio::test]
async fn each_file_of_a_table_has_its_own_columns_and_files_are_read_in_order() {
    let world = World::new();
    world
        .put("d/b.csv", "b,a\n3,4\n")
        .put("d/a.csv", "a\n1\n")
        .put("d/.hidden.csv", "a\nno\n")
        .put("d/sub/c.csv", "a\nno\n")
        .put("d/x.csv/y", "");
    let given = world.run(json!({"path": "./d/*.csv"})).await.unwrap();
    assert_eq!(given.rows, ["a=1", "b=3|a=4"]);
    assert_eq!(given.step, "t: 2 files");
    let given = world.run(json!({"path": "d/**/c.csv"})).await.unwrap();
    assert_eq!(given.rows, ["a=no"]);
    world.put("d/[1].csv", "a\nbracket\n");
    assert_eq!(world.run(json!({"path": "d/[1].csv"})).await.unwrap().rows, ["a=bracket"]);
}

#[tokio::test]
async fn discover_and_probe() {
    let world = World::new();
    world.put("a.csv", "a\n1\n").put("b.jsonl", "{}");
    let config = json!({"tables": {"b": {"path": "b.jsonl"}, "a": {"path": "*.csv"}}});
    let connector = FileConnector::new(crate::registry::parse_config("file", &config).unwrap()).unwrap();
    let tables = connector.discover(&world.context()).await.unwrap();
    assert_eq!(tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(tables.iter().all(|t| t.cursor_kind == Some(CursorKind::Opaque) && !t.any_name));
    assert_eq!(connector.probe(&world.context()).await.unwrap(), "2 tables, 2 files, 6 bytes");
    remove(&world.path("a.csv"));
    assert_eq!(connector.probe(&world.context()).await.unwrap_err().code(), Code::FileNotFound);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Cells written with quotes come back as they were, whatever they hold; unquoted empty ones are null.
    #[test]
    fn csv_round_trip(rows in prop::collection::vec(prop::collection::vec(prop::option::of("[a-c,\"\n\r;é]{0,6}"), 3), 0..12)) {
        let mut text = String::from("a,b,c\r\n");
        for row in &rows {
            let cells: Vec<String> = row.iter().map(|c| c.as_ref().map_or(String::new(), |c| format!("\"{}\"", c.replace('"', "\"\"")))).collect();
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
        let expected: Vec<String> = rows
            .iter()
            .map(|r| ["a", "b", "c"].iter().zip(r).map(|(n, c)| format!("{n}={}", c.as_deref().unwrap_or("∅"))).collect::<Vec<_>>().join("|"))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let given = runtime.block_on(World::new().rows("x.csv", text)).unwrap();
        prop_assert_eq!(given.rows, expected);
    }
}
