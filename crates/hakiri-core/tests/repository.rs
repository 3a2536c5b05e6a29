//! Rules of the repository that no compiler holds: which crate may see which, and that generated pages are current.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests read files, clocks and the environment, and fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hakiri_core::codes::Code;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names under `[dependencies]` of a crate's manifest.
fn dependencies(name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
    let manifest: toml_edit::DocumentMut = text.parse().unwrap();
    manifest["dependencies"].as_table().unwrap().iter().map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn the_crates_see_each_other_only_along_the_arrows() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("hakiri-core", &[][..]),
        ("hakiri-aws", &["hakiri-core"]),
        ("hakiri-postgres", &["hakiri-core"]),
        ("hakiri-catalog", &["hakiri-core", "hakiri-aws", "hakiri-postgres"]),
        ("hakiri-connect", &["hakiri-core", "hakiri-postgres"]),
        ("hakiri-engine", &["hakiri-core"]),
        ("hakiri-query", &["hakiri-core"]),
        (
            "hakiri",
            &[
                "hakiri-core",
                "hakiri-aws",
                "hakiri-postgres",
                "hakiri-catalog",
                "hakiri-connect",
                "hakiri-engine",
                "hakiri-query",
            ],
        ),
        // For tests: it may see all, and none may see it other than for tests, which is no key of this table.
        (
            "hakiri-sim",
            &[
                "hakiri-core",
                "hakiri-aws",
                "hakiri-postgres",
                "hakiri-catalog",
                "hakiri-connect",
                "hakiri-engine",
                "hakiri-query",
            ],
        ),
    ]);
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let members: BTreeSet<String> = lock
        .lines()
        .filter_map(|l| l.strip_prefix("name = \"hakiri"))
        .map(|l| format!("hakiri{}", l.trim_end_matches('"')))
        .collect();
    assert_eq!(members, allowed.keys().map(|k| (*k).to_owned()).collect(), "a new crate needs a place in this table");
    for (name, allowed) in allowed {
        let seen: BTreeSet<String> = dependencies(name).into_iter().filter(|d| d.starts_with("hakiri")).collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|a| (*a).to_owned()).collect();
        assert!(seen.is_subset(&allowed), "{name} may see {allowed:?}, not {seen:?}");
    }
}

#[test]
fn heavy_and_outside_dependencies_stay_where_they_belong() {
    for name in ["hakiri-core", "hakiri-catalog", "hakiri-connect", "hakiri-engine", "hakiri"] {
        assert!(!dependencies(name).contains("datafusion"), "only hakiri-query may see DataFusion (ADR 0002)");
    }
    for outside in ["tokio", "reqwest", "object_store", "rusqlite", "tempfile", "tokio-postgres"] {
        assert!(!dependencies("hakiri-core").contains(outside), "the core has no I/O: {outside}");
    }
}

/// The page of a code.
fn page(code: Code) -> String {
    let info = code.info();
    let kind = format!("{:?}", info.kind);
    let kind = kind.split(' ').next().unwrap_or_default();
    let (what, exit) = match kind {
        "Usage" => ("nothing is started", "2"),
        "Interrupted" => ("the work stops; the next run goes on", "130"),
        "Transient" => ("tried again with growing pauses, at most six times in all", "1"),
        "RateLimited" => ("waited out as the source asks", "1"),
        "AuthExpired" => ("the pipeline fails without another try", "1"),
        "SchemaIncompatible" => ("the table fails before anything is committed", "1"),
        _ => ("the table fails without another try", "1"),
    };
    let mut text = String::new();
    let _ = writeln!(text, "# {}: {}\n\n{}\n", info.id, info.title, info.cause);
    let _ = writeln!(
        text,
        "**What to do:** {}.\n\n**What a run does:** {what}. Exit code: {exit} (3 when other tables were committed).",
        info.remedy
    );
    text
}

#[test]
fn every_error_code_has_a_current_page() {
    let folder = root().join("docs/errors");
    let mut pages: BTreeMap<String, String> = Code::ALL.iter().map(|c| (format!("{c}.md"), page(*c))).collect();
    let mut index = String::from(
        "# Error codes\n\nGenerated from the register in `hakiri-core` (`HAKIRI_UPDATE=1` with the test that checks it).\n\n",
    );
    for code in Code::ALL {
        let _ = writeln!(index, "- [{code}]({code}.md) {}", code.info().title);
    }
    pages.insert("README.md".to_owned(), index);
    if std::env::var_os("HAKIRI_UPDATE").is_some() {
        for (name, text) in &pages {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    let on_disk: BTreeMap<String, String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read_to_string(e.path()).unwrap()))
        .collect();
    assert_eq!(on_disk, pages, "run the test with HAKIRI_UPDATE=1");
}

#[test]
fn documents_have_no_gaps() {
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert!(
                    !std::fs::read_to_string(&path).unwrap().contains("@@"),
                    "{} has a place-holder",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn files_stay_small() {
    let mut large = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs")
                && std::fs::read_to_string(&path).unwrap().lines().count() > 600
            {
                large.push(path);
            }
        }
    }
    assert!(large.is_empty(), "split by subject: {large:?}");
}
