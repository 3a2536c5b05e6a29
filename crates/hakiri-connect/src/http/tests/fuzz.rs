//! Arbitrary bytes from an API end in rows or an error, never in a panic.

use hakiri_core::hash::Hash;
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::value::RawValue;

use super::super::config::Paginate;
use super::super::paginate::{Facts, Pager, link_next};
use super::super::{answer, auth, extract, template};
use super::*;

/// JSON and things that look like it, rich in the keys that the engine looks for.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"a\\u0000b\"".to_owned()),
        Just("1e999".to_owned()),
        Just("-0".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("".to_owned()),
        Just("\"http://[::1\"".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
    ];
    let json = scalar.prop_recursive(5, 40, 5, |inner| {
        let key = prop_oneof![
            Just("data"),
            Just("next"),
            Just("more"),
            Just("id"),
            Just("errors"),
            Just("message"),
            Just("0"),
            Just("")
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key, inner), 0..5).prop_map(|m| format!(
                "{{{}}}",
                m.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(",")
            )),
        ]
    });
    prop_oneof![
        4 => json.prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (0_usize..300_000).prop_map(|depth| "[".repeat(depth).into_bytes()),
    ]
}

fn kinds() -> Vec<Paginate> {
    [
        json!({ "page": { "param": "p", "size": 3, "total_pages": "next" } }),
        json!({ "page": { "param": "p", "size": 3 } }),
        json!({ "offset": { "param": "p", "limit": 3, "total": "data.next" } }),
        json!({ "cursor": { "param": "p", "next": "next", "more": "more" } }),
        json!({ "cursor": { "param": "p", "next": "data.0.next" } }),
        json!({ "next_url": { "path": "next" } }),
        json!({ "last_record": { "param": "p", "field": "id", "more": "more" } }),
    ]
    .into_iter()
    .map(|v| serde_json::from_value(v).unwrap())
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers(bytes in body(), status in 100_u16..600, header in "[ -~]{0,40}", extra in body()) {
        let mut headers = HeaderMap::new();
        for name in ["retry-after", "content-type", "x-ratelimit-reset", "x-ratelimit-remaining"] {
            headers.insert(name, HeaderValue::from_str(&header).unwrap());
        }
        let now = Instant::from_millis(NOW);
        let _ = answer::failure(status, &headers, &bytes, now, &str::to_owned);
        let _ = auth::token_failure(status, &bytes);
        let _ = link_next(&header);
        let Ok(root) = answer::json(&HeaderMap::new(), &bytes) else { return Ok(()) };
        let _ = answer::graphql_failure(root, &str::to_owned);
        let _ = auth::token_answer(root, now);
        for path in ["", "data", "data.next", "data.*.id", "*", "*.*", "0", ".", "data..x"] {
            let records = extract::records(root, path).unwrap_or_default();
            for spec in kinds() {
                let mut pager = Pager::new(&spec);
                let facts = Facts { count: records.len(), body: root, last: records.last().copied(), link: None };
                let _ = pager.advance(&spec, &facts, &Hash::of(b"x"));
                let _ = pager.turn(&spec);
            }
            if let Ok(extra) = serde_json::from_slice::<Box<RawValue>>(&extra) {
                for record in records {
                    let extended = extract::extend(record, &[("id".to_owned(), extra.clone()), ("new".to_owned(), extra.clone())]);
                    prop_assert!(serde_json::from_str::<&RawValue>(&extended).is_ok(), "{extended}");
                }
            }
        }
    }

    #[test]
    fn templates(text in "[{}$a.\"\\\\é ]{0,30}") {
        for (open, close) in [("{", "}"), ("{{", "}}")] {
            let whole: String = template::parse(&text, open, close).into_iter().map(|piece| match piece {
                template::Piece::Text(text) => text,
                template::Piece::Hole(name) => format!("{open}{name}{close}"),
            }).collect();
            prop_assert_eq!(whole.replace(' ', ""), text.replace(' ', ""));
        }
    }
}
