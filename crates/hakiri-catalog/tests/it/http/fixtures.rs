//! The golden exchanges: the encoder makes these requests byte for byte, the object gives these answers byte for byte, and
//! the decoder understands them as the fixture says. Version 1 of the protocol is frozen: a change needs another version.
//!
//! `HAKIRI_UPDATE=1` writes them anew, for new ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hakiri_catalog::conformance::Time as _;
use hakiri_catalog::http::protocol::{self, Request};
use hakiri_catalog::records::{Batch, Scan};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Object;

#[derive(Serialize, Deserialize)]
struct Fixture {
    /// What the test does to the object's tables before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    method: String,
    request: Box<RawValue>,
    status: u16,
    response: Box<RawValue>,
    /// What the decoder makes of the response.
    means: String,
}

/// What is asked, in this order, of an object that is empty at first and whose clock stands still.
enum Call {
    Info(Option<&'static str>),
    Read(&'static [&'static str]),
    Write(Vec<(&'static str, Option<i64>)>, Vec<(&'static str, &'static str)>, Vec<&'static str>),
    Scan(&'static str, &'static str, bool, usize, usize),
    /// What our own client never sends.
    Foreign(&'static str, &'static str),
}

impl Call {
    fn request(&self) -> Request {
        let own = |text: &&str| (*text).to_owned();
        match self {
            Self::Info(id) => Request::info(*id).unwrap(),
            Self::Read(keys) => Request::read(&keys.iter().map(own).collect::<Vec<_>>()).unwrap(),
            Self::Write(expect, put, delete) => Request::write(&Batch {
                expect: expect.iter().map(|(key, version)| (own(key), *version)).collect(),
                put: put.iter().map(|(key, text)| (own(key), own(text))).collect(),
                delete: delete.iter().map(own).collect(),
            })
            .unwrap(),
            Self::Scan(from, to, reverse, limit, bytes) => {
                let (from, to) = (own(from), own(to));
                Request::scan(&Scan { from, to, reverse: *reverse, limit: *limit, bytes: *bytes }).unwrap()
            }
            Self::Foreign(method, body) => Request { method, body: body.as_bytes().to_vec() },
        }
    }

    /// What the decoder makes of an answer.
    fn means(&self, status: u16, body: &str) -> String {
        let body = body.as_bytes();
        if status != 200 {
            return format!("{:?}", protocol::problem(body).unwrap());
        }
        match self {
            Self::Info(_) => format!("{:?}", protocol::informed(body)),
            Self::Read(keys) => format!("{:?}", protocol::moment(body, keys.len())),
            Self::Write(..) => format!("{:?}", protocol::written(body)),
            Self::Scan(..) => format!("{:?}", protocol::scanned(body)),
            Self::Foreign(..) => panic!("the object takes what nobody sends"),
        }
    }
}

const ODD: &str = "quote \" slash \\ / tab \t nul \u{0} unit \u{1f} del \u{7f} ä 日 🦀 \u{2028} \u{feff}";

#[rustfmt::skip] // one a line
fn calls() -> Vec<(&'static str, Option<&'static str>, Call)> {
    let big = Some("UPDATE catalog SET revision = '9007199254740992'");
    let newer = Some("UPDATE catalog SET version = 7");
    let back = Some("UPDATE catalog SET version = 1");
    let damage = Some("UPDATE records SET part = 1 WHERE key = 'a'");
    vec![
        ("info-of-nothing", None, Call::Info(None)),
        ("read-of-nothing", None, Call::Read(&["a"])),
        ("write-to-nothing", None, Call::Write(vec![], vec![("a", "x")], vec![])),
        ("info-creates", None, Call::Info(Some("01J8-catalog"))),
        ("info-finds", None, Call::Info(Some("another"))),
        ("info-asks", None, Call::Info(None)),
        ("write-creates", None, Call::Write(vec![("a", None), ("b", None)], vec![("a", "{\"kind\":\"head\"}"), ("b", ODD), ("a\u{1}ä\u{2}\u{3}", "")], vec![])),
        ("write-of-nothing", None, Call::Write(vec![], vec![], vec![])),
        ("write-conflicts-with-one-that-is-there", None, Call::Write(vec![("a", None)], vec![("a", "y")], vec![])),
        ("write-conflicts-with-one-that-is-gone", None, Call::Write(vec![("c", Some(1))], vec![("a", "y")], vec![])),
        ("write-conflicts-with-another-version", None, Call::Write(vec![("a", Some(2))], vec![("a", "y")], vec![])),
        ("write-swaps", None, Call::Write(vec![("a", Some(1)), ("z", None)], vec![("a", "new"), ("c", "c"), ("d", "d")], vec!["d", "z"])),
        ("read-finds", None, Call::Read(&["b", "z", "a", "a\u{1}ä\u{2}\u{3}", "b"])),
        ("read-of-no-keys", None, Call::Read(&[])),
        ("scan-of-all", None, Call::Scan("", "\u{10ffff}", false, 1000, 4 << 20)),
        ("scan-behind-a-key", None, Call::Scan("a\u{0}", "c", false, 10, 1000)),
        ("scan-backwards", None, Call::Scan("", "\u{10ffff}", true, 2, 1000)),
        ("scan-ends-by-bytes", None, Call::Scan("", "\u{10ffff}", false, 10, 1)),
        ("scan-without-bounds", None, Call::Scan("c", "\u{10ffff}", false, usize::MAX, usize::MAX)),
        ("scan-of-nothing", None, Call::Scan("x", "a", false, 10, 1000)),
        ("write-above-a-double", big, Call::Write(vec![("c", Some(3))], vec![("c", "c")], vec![])),
        ("read-above-a-double", None, Call::Read(&["c"])),
        ("write-conflicts-above-a-double", None, Call::Write(vec![("c", Some(9_007_199_254_740_992))], vec![("c", "d")], vec![])),
        ("write-swaps-above-a-double", None, Call::Write(vec![("c", Some(9_007_199_254_740_993))], vec![("c", "d")], vec![])),
        ("read-of-a-newer-one", newer, Call::Read(&["c"])),
        ("read-of-a-known-one", back, Call::Read(&["c"])),
        ("read-of-one-that-is-not-whole", damage, Call::Read(&["a"])),
        ("refused-fields", None, Call::Foreign("read", r#"{"keys":[],"at":1}"#)),
        ("refused-list", None, Call::Foreign("read", r#"{"keys":"a"}"#)),
        ("refused-key", None, Call::Foreign("read", r#"{"keys":[1]}"#)),
        ("refused-nul", None, Call::Foreign("read", r#"{"keys":["a\u0000"]}"#)),
        ("refused-half-a-character", None, Call::Foreign("write", r#"{"expect":[],"put":[["a","\ud83e"]],"delete":[]}"#)),
        ("refused-version", None, Call::Foreign("write", r#"{"expect":[["a",1]],"put":[],"delete":[]}"#)),
        ("refused-pair", None, Call::Foreign("write", r#"{"expect":[],"put":[["a"]],"delete":[]}"#)),
        ("refused-text", None, Call::Foreign("write", r#"{"expect":[],"put":[["a",null]],"delete":[]}"#)),
        ("refused-limit", None, Call::Foreign("scan", r#"{"from":"","to":"","reverse":false,"limit":-1,"bytes":1}"#)),
        ("refused-reverse", None, Call::Foreign("scan", r#"{"from":"","to":"","reverse":0,"limit":1,"bytes":1}"#)),
        ("refused-id", None, Call::Foreign("info", r#"{"new_id":""}"#)),
        ("refused-body", None, Call::Foreign("info", "[]")),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/http/fixtures")
}

/// By the name of their files, which has their number.
fn numbered() -> Vec<(String, Option<&'static str>, Call)> {
    let named = |(i, (name, before, call))| (format!("{:02}-{name}.json", i + 1), before, call);
    calls().into_iter().enumerate().map(named).collect()
}

#[test]
fn requests_are_made_and_answers_understood_as_the_fixtures_say() {
    let mut files: BTreeMap<String, Fixture> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    for (name, before, call) in numbered() {
        let fixture = files.remove(&name).unwrap_or_else(|| panic!("no fixture {name}"));
        let request = call.request();
        assert_eq!((fixture.method.as_str(), fixture.before.as_deref()), (request.method, before), "{name}");
        assert_eq!(fixture.request.get().as_bytes(), request.body, "{name}");
        assert_eq!(call.means(fixture.status, fixture.response.get()), fixture.means, "{name}");
    }
    assert_eq!(files.keys().collect::<Vec<_>>(), Vec::<&String>::new(), "nobody asks for these");
}

#[tokio::test]
async fn the_object_answers_as_the_fixtures_say() {
    let object = Object::new();
    object.stand_still().await;
    for (name, before, call) in numbered() {
        if let Some(sql) = before {
            object.door("sql", sql).await;
        }
        let request = call.request();
        let (status, response) = object.post(&format!("v1/{}", request.method), "1", request.body.clone()).await;
        let path = folder().join(&name);
        if std::env::var_os("HAKIRI_UPDATE").is_some() {
            let fixture = Fixture {
                before: before.map(str::to_owned),
                method: request.method.to_owned(),
                request: RawValue::from_string(String::from_utf8(request.body).unwrap()).unwrap(),
                status,
                means: call.means(status, &response),
                response: RawValue::from_string(response).unwrap(),
            };
            std::fs::write(path, serde_json::to_string_pretty(&fixture).unwrap() + "\n").unwrap();
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let fixture: Fixture = serde_json::from_str(&text).unwrap();
        assert_eq!((status, response.as_str()), (fixture.status, fixture.response.get()), "{name}");
    }
}
