//! Files that are damaged, malformed or made to hurt: a clear error with file and line, and nothing of it committed.

use std::os::unix::fs::PermissionsExt as _;

use hakiri_core::Kind;
use proptest::prelude::*;

use super::formats::parquet_file;
use super::*;

/// The error of one file, by code and place; wherever the file is, it is the same.
async fn error(name: &str, content: impl AsRef<[u8]>) -> (Code, String) {
    let [local, remote] = World::everywhere();
    let e = local.rows(name, &content).await.unwrap_err();
    let other = remote.rows(name, content).await.unwrap_err();
    let place = other.place().unwrap_or_default();
    assert_eq!(
        (e.code(), e.kind(), e.message(), e.hint(), e.place()),
        (other.code(), other.kind(), other.message(), other.hint(), place.strip_prefix("s3://bucket/")),
    );
    (e.code(), e.place().unwrap_or_default().to_owned())
}

fn is(code: Code, place: &str) -> (Code, String) {
    (code, place.to_owned())
}

#[tokio::test]
async fn compressed_files_that_end_early_or_are_damaged() {
    let content: String = (-1..20_000).map(|i| format!("{i},{}\n", i * 7919 % 1000)).collect();
    for (name, packed) in [("x.csv.gz", gzip(content.as_bytes())), ("x.csv.zst", zstandard(content.as_bytes()))] {
        for cut in [packed.len() - 1, packed.len() - 5, packed.len() / 2, 5, 1, 0] {
            assert_eq!(error(name, &packed[..cut]).await, is(Code::FileTruncated, name), "{name} cut at {cut}");
        }
        assert_eq!(error(name, content.as_bytes()).await, is(Code::FileMalformed, name));
    }
    let mut damaged = gzip(content.as_bytes());
    let length = damaged.len();
    damaged[length - 8] ^= 1;
    assert_eq!(error("x.csv.gz", damaged).await, is(Code::FileMalformed, "x.csv.gz"));
}

#[tokio::test]
async fn rows_that_cannot_be_used_are_rejected_with_their_line() {
    let given = World::new()
        .rows("x.csv", b"a,b\r\n1,2\r\n\r\n3\r\n\"x\r\ny\",5\r\n6,7,8\r\n9,\xff\r\n10,11\r\n")
        .await
        .unwrap();
    assert_eq!(given.rows, ["a=1|b=2", "a=x\r\ny|b=5", "a=10|b=11"]);
    assert_eq!(
        given.rejected,
        [
            (Code::FileMalformed, "x.csv:4: the row has 1 cells, the file has 2 columns".to_owned()),
            (Code::FileMalformed, "x.csv:7: the row has 3 cells, the file has 2 columns".to_owned()),
            (Code::FileEncoding, "x.csv:8: column 2 of the row is not valid UTF-8".to_owned()),
        ]
    );
    let given = World::new().rows("x.jsonl", b"{\"a\":1}\r\n\n[1]\n{\"a\":\n\xff\n{} {}\n \n{\"a\":2}").await.unwrap();
    assert_eq!(given.rows, ["{\"a\":1}", "{\"a\":2}"]);
    assert_eq!(
        given.rejected,
        [
            (Code::FileMalformed, "x.jsonl:3: the line is JSON, but not an object".to_owned()),
            (Code::FileMalformed, "x.jsonl:4: the line is not valid JSON".to_owned()),
            (Code::FileEncoding, "x.jsonl:5: the line is not valid UTF-8".to_owned()),
            (Code::FileMalformed, "x.jsonl:6: the line is not valid JSON".to_owned()),
        ]
    );
    let given = World::new().rows("x.json", "[{\"a\":1}, 2, {}]").await.unwrap();
    assert_eq!(given.rows, ["{\"a\":1}", "{}"]);
    assert_eq!(given.rejected, [(Code::FileMalformed, "x.json, record 2: the record is not an object".to_owned())]);
}

#[tokio::test]
async fn csv_files_that_fail_as_a_whole() {
    assert_eq!(error("x.csv", "a,b,a\n").await, is(Code::FileHeader, "x.csv:1"));
    assert_eq!(error("x.csv", "\n\na,,b\n").await, is(Code::FileHeader, "x.csv:3"));
    assert_eq!(error("x.csv", b"a,\xff\n").await, is(Code::FileEncoding, "x.csv:1"));
    assert_eq!(error("x.csv", b"\xff\xfea\0,\0b\0").await, is(Code::FileEncoding, "x.csv"));
    assert_eq!(error("x.csv", "a,b\n1,2\n3,\"never closed\n5,6\n7,8\n").await, is(Code::FileMalformed, "x.csv:3"));
    let given = World::new().rows("x.csv", "").await.unwrap();
    assert_eq!((given.rows.len(), given.notes), (0, vec!["`x.csv` is empty".to_owned()]));
}

#[tokio::test]
async fn json_documents_that_fail_as_a_whole() {
    for (content, code, place) in [
        ("[{\"a\":1},\n{\"a\":2}", Code::FileMalformed, "x.json:2"),
        ("[{\"a\":1},\n{\"a\":", Code::FileMalformed, "x.json:2"),
        ("[{\"a\":1}]]", Code::FileMalformed, "x.json:1"),
        ("{\"a\":1}\n{\"a\":2}\n", Code::FileMalformed, "x.json:2"),
        ("[{\"a\":1} {\"a\":2}]", Code::FileMalformed, "x.json:1"),
        ("", Code::FileMalformed, "x.json"),
        ("  \n ", Code::FileMalformed, "x.json"),
        ("<!doctype html><title>Log in</title>", Code::FileMalformed, "x.json"),
        ("17", Code::FileMalformed, "x.json"),
    ] {
        assert_eq!(error("x.json", content).await, is(code, place), "{content}");
    }
    assert_eq!(error("x.json", b"[{\"a\":\"\xff\"}]").await, is(Code::FileEncoding, "x.json:1"));
    let world = World::new();
    for (content, place) in [
        ("{\"data\": {\"s3cr3t\": []}}", "x.json:1"),
        ("{\"data\": \"s3cr3t\"}", "x.json:1"),
        ("{\"other\": 1}", "x.json"),
        ("{\"data\": [], \"data\": []}", "x.json"),
        ("{\"data\": [{}]", "x.json:1"),
        ("[]", "x.json"),
    ] {
        world.put("x.json", content);
        let e = world.run(json!({"path": "x.json", "records": "data"})).await.unwrap_err();
        assert_eq!((e.code(), e.place()), (Code::FileMalformed, Some(place)), "{content}: {e:?}");
        assert!(!format!("{e:?}").contains("s3cr3t"), "{e:?}");
    }
}

#[tokio::test]
async fn values_above_the_limit_stop_the_file() {
    let large = "x".repeat((16 << 20) + 1);
    for (name, content, place) in [
        ("x.csv", format!("a\n1\n\"{large}\"\n"), "x.csv:3"),
        ("x.jsonl", format!("{{}}\n{{\"a\":\"{large}\"}}\n"), "x.jsonl:2"),
        ("x.json", format!("[{{}},{{\"a\":\"{large}\"}}]"), "x.json, record 2"),
    ] {
        assert_eq!(error(name, content).await, is(Code::SourceLimit, place));
    }
    // Just as many are allowed, and what is passed over on the way to the records does not count.
    let world = World::new();
    for (name, content) in
        [("x.csv", "a\n12345\n"), ("x.jsonl", "{   }"), ("x.json", "{\"skip\": \"1234567890\", \"r\": [{   }, {}]}")]
    {
        world.put(name, content);
        assert!(
            !world.run(json!({"path": name, "max_value_bytes": 5, "records": "r"})).await.unwrap().rows.is_empty(),
            "{name}"
        );
        world.put(name, content.replace("12345\n", "123456\n").replace("{   }", "{    }"));
        let e = world.run(json!({"path": name, "max_value_bytes": 5, "records": "r"})).await.unwrap_err();
        assert_eq!(e.code(), Code::SourceLimit, "{name}");
    }
    let e = error("x.csv", vec![b','; 200_000]).await;
    assert_eq!(e, is(Code::FileHeader, "x.csv:1"));
}

#[tokio::test]
async fn parquet_that_is_none() {
    let good = parquet_file(100);
    for bad in [&b""[..], b"PAR1", b"a,b\n1,2\n", &good[..good.len() / 2], &good[4..]] {
        assert_eq!(error("x.parquet", bad).await, is(Code::FileMalformed, "x.parquet"));
    }
}

#[tokio::test]
async fn files_that_are_not_there_or_not_readable() {
    let world = World::new();
    let e = world.run(json!({"path": "no/*.csv"})).await.unwrap_err();
    assert_eq!(e.code(), Code::FileNotFound);
    assert!(e.message().contains("`no/*.csv`") && e.message().contains(world.dir.path().to_str().unwrap()), "{e}");
    let e = world.run(json!({"path": "~/x.csv"})).await.unwrap_err();
    assert_eq!((e.code(), e.hint()), (Code::FileNotFound, "`~` is not expanded: write the whole path"));
    world.put("folder/x.csv", "");
    let e = world.run(json!({"path": "folder/"})).await.unwrap_err();
    assert_eq!((e.code(), e.hint()), (Code::FileNotFound, "it is a folder: write for example path = \"folder/*.csv\""));
    world.put("x.txt", "");
    assert_eq!(world.run(json!({"path": "x.txt"})).await.unwrap_err().code(), Code::FileFormat);
    world.put("x.csv", "a\n1\n");
    std::fs::set_permissions(world.path("x.csv"), std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(world.path("x.csv")).is_err() {
        let e = world.run(json!({"path": "x.csv"})).await.unwrap_err();
        assert_eq!((e.code(), e.kind()), (Code::Io, Kind::Permanent));
    }
}

#[tokio::test]
async fn links_are_followed_and_paths_may_lead_out() {
    let (world, other) = (World::new(), World::new());
    other.put("o.csv", "a\n1\n");
    std::os::unix::fs::symlink(other.path("o.csv"), world.path("link.csv")).unwrap();
    std::os::unix::fs::symlink(other.path("none.csv"), world.path("broken.csv")).unwrap();
    assert_eq!(world.run(json!({"path": "*.csv"})).await.unwrap().rows, ["a=1"]);
    assert_eq!(world.run(json!({"path": other.path("*.csv")})).await.unwrap().rows, ["a=1"]);
}

#[tokio::test]
async fn cancelling_stops_and_so_does_a_reader_that_goes_away() {
    let world = World::new();
    world.put("x.csv", format!("a\n{}", "1\n".repeat(200_000)));
    let window = Window::After { position: None };
    let (connector, step) = world.plan(json!({"path": "x.csv"}), window.clone()).await.unwrap();
    {
        let (planned, context) = (planned(step.clone(), window.clone()), world.context());
        let mut stream = connector.read(&planned, None, &context).await.unwrap();
        assert!(stream.next().await.unwrap().is_ok());
    }
    world.cancel.cancel();
    let (given, e) = world.read(&connector, step, window).await;
    assert_eq!((given.rows.len(), e.unwrap().code()), (0, Code::Interrupted));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// No bytes make a reader panic or give something after an error; a thread that dies would be `HK0001`.
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "[\\[\\]{}\",:a1\n\r \\\\]{0,80}".prop_map(String::into_bytes),
            (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| {
                let mut bytes = gzip(b"a,b\n1,2\n");
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes
            }),
        ],
        format in prop::sample::select(vec!["csv", "tsv", "jsonl", "json", "parquet"]),
        compression in prop::sample::select(vec!["none", "gzip", "zstd"]),
        records in prop::sample::select(vec!["", "a", "a.a"]),
        batch_rows in 1_usize..4,
    ) {
        let compression = if format == "parquet" { "none" } else { compression };
        let mut world = World::new();
        world.batch_rows = batch_rows;
        world.put("x", &bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(world.run(json!({"path": "x", "format": format, "compression": compression, "records": records})));
        if let Err(e) = result {
            prop_assert!(!matches!(e.code(), Code::Internal | Code::SourceChanged), "{:?}", e);
        }
    }
}
