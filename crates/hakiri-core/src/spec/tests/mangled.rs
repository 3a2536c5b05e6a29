//! Whatever is in the files, `parse` answers: no panic, and every diagnostic stands inside its file.

use proptest::prelude::*;

use super::*;

const TOML: &str = r#"[project]
name = "shop"
[[pipeline]]
id = "é-files"
secrets = ["A"]
schedule = "*/5 * * * mon"
tables = ["t", "u"]
source = { connector = "http", config = { base_url = "${A}é", auth = { bearer = "${B}" }, resources.r = { path = "x", paginate = "link_header" } } }
[pipeline.table.t]
primary_key = ["id"]
types = { a = "decimal(1,2)" }
lag = 5
[env.staging.schedule]
x = "every 5m"
[[moved]]
from = "a.b"
to = "c"
"#;
const JSON: &str = r#"{"project": {"name": "shop"}, "pipeline": [{"id": "é", "secrets": [], "table": {"t": {"lag": 1e3, "mode": "merge"}},
  "source": {"connector": "file", "config": {"path": "\u00e9\n", "skip_lines": -1, "format": null}}}], "env": {}}"#;

fn check(name: &str, text: &str) -> Result<(), TestCaseError> {
    let files = texts(&[(name, text)]);
    if let Err(diagnostics) = parse(&files, Some("staging"), &connectors()) {
        prop_assert!(!diagnostics.is_empty());
        for d in diagnostics {
            prop_assert!(d.line >= 1 && d.column >= 1 && d.length >= 1);
            prop_assert!(d.line <= text.matches('\n').count() + 1, "{:?}", d);
            prop_assert!(!d.message.is_empty() && !d.message.contains('\n') && !d.hint.is_empty(), "{:?}", d);
            let _ = d.render(true);
        }
    }
    Ok(())
}

/// Cuts, doubles and replaces pieces of a text at any characters.
fn mangle(text: &str, edits: &[(usize, usize, String)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, length, with) in edits {
        let at = at % (chars.len() + 1);
        let end = (at + length).min(chars.len());
        chars.splice(at..end, with.chars());
    }
    chars.into_iter().collect()
}

fn edits() -> impl Strategy<Value = Vec<(usize, usize, String)>> {
    let with = prop_oneof![
        "[\\[\\]{}\"'=:,.#\n\\\\ $]{0,3}",
        prop::sample::select(vec![
            "1",
            "null",
            "true",
            "\"\"",
            "[]",
            "{}",
            "${X}",
            "é",
            "\u{0}",
            "1e999",
            "-",
            "pipeline",
            "[pipeline]\n",
            "[[table]]\n",
            "99999999999999999999"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop::collection::vec((0..2_000usize, 0..12usize, with), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn toml(edits in edits()) {
        check("hakiri.toml", &mangle(TOML, &edits))?;
    }

    #[test]
    fn json(edits in edits()) {
        check("a.json", &mangle(JSON, &edits))?;
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it(edits in edits()) {
        let text = mangle(JSON, &edits);
        let ours = super::super::read_json::read(&text).map(|n| n.to_json());
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(value) => {
                // We refuse what it takes silently: doubled keys, and integers it would round.
                if let Ok(ours) = ours {
                    prop_assert_eq!(ours, value);
                }
            }
            Err(_) => prop_assert!(ours.is_err() || text.starts_with('\u{feff}'), "{}", text),
        }
    }
}

#[test]
fn deep_nesting_is_refused_not_overflowed() {
    for text in ["[".repeat(200_000), "{\"a\":".repeat(200_000)] {
        assert!(refuse(&[("a.json", &text)], None).contains("nested too deeply"));
    }
    assert!(refuse(&[("hakiri.toml", &format!("a = {}", "[".repeat(200_000)))], None).contains("HK0101"));
    assert!(refuse(&[("hakiri.toml", &format!("[{}a]", "a.".repeat(100_000)))], None).contains("error"));
}
