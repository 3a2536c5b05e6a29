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

/// Where code may be about AWS: the target, its local run, the entry point of a function there, what the process needs of
/// it at run time, and the catalog's adapter.
const OF_AWS: [&str; 8] = [
    "hakiri-aws/",
    "hakiri-catalog/src/dynamodb/",
    "hakiri-sim/",
    "hakiri/src/aws/",
    "hakiri/src/lambda",
    "hakiri/src/deploy/aws",
    "hakiri/src/dev/aws",
    "hakiri/tests/",
];

/// Files elsewhere that may name a part of AWS, and why.
const NAMES_AWS: [(&str, &str); 9] = [
    ("hakiri-core/src/codes.rs", "texts of errors, which say what to do on each platform"),
    ("hakiri-core/src/spec/check_aws.rs", "forms of the manifest's [deploy.aws]"),
    ("hakiri-core/src/spec/check_deploy.rs", "the hints for them"),
    ("hakiri-core/src/spec/check_project.rs", "the forms of a catalog's URL"),
    ("hakiri-core/src/spec/deploy.rs", "the manifest's [deploy.aws]"),
    ("hakiri-core/src/retry.rs", "a test that the hint of HK0912 names a way out"),
    ("hakiri-core/src/view/duckdb_cast.rs", "a lambda of DuckDB's SQL"),
    ("hakiri-catalog/src/lib.rs", "the adapter's module"),
    ("hakiri/src/main.rs", "the entry point of a function"),
];

/// The lines of code of a text that are about AWS: names of its services, and decisions whether it is there. Uses of what
/// a module of AWS offers (`aws::…`) are none: they are the same wherever the process runs.
fn about_aws(text: &str) -> Vec<&str> {
    let services =
        ["dynamodb", "lambda", "fargate", "secretsmanager", "secrets_manager", "stepfunctions", "rds-", "rds_"];
    let about = |line: &&str| {
        let lower = line.trim().to_lowercase();
        let named = services.iter().any(|service| {
            // Not within a word: `backwards_` and the like.
            lower.match_indices(service).any(|(at, _)| !lower[..at].ends_with(|c: char| c.is_ascii_alphabetic()))
        });
        let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '_').collect();
        let decides = words.iter().any(|word| ["if", "match", "else"].contains(word));
        let asks = words.iter().any(|word| ["aws", "is_aws", "on_aws", "at_aws", "aws:"].contains(word));
        !lower.starts_with("//") && (named || decides && asks)
    };
    text.lines().filter(about).collect()
}

#[test]
fn nothing_asks_whether_it_is_at_aws_outside_of_the_code_for_it() {
    for about in
        ["if aws {", "} else if self.is_aws() {", "Self::Lambda => 1,", "let x = \"rds-secret:\";", "match on_aws {"]
    {
        assert_eq!(about_aws(about).len(), 1, "{about}");
    }
    for other in
        ["// if aws", "if let Some(t) = aws::table(url)? {", "use object_store::aws::AmazonS3;", "fn backwards_()"]
    {
        assert!(about_aws(other).is_empty(), "{other}");
    }
    let mut wrong = Vec::new();
    let mut named = BTreeSet::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let shown = path.strip_prefix(root().join("crates")).unwrap().to_str().unwrap().to_owned();
            let test = shown.contains("/tests/") || shown.contains("/conformance/");
            if !shown.ends_with(".rs") || test || OF_AWS.iter().any(|allowed| shown.starts_with(allowed)) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = about_aws(&text);
            match NAMES_AWS.iter().find(|(file, _)| *file == shown) {
                Some((file, _)) if !lines.is_empty() => drop(named.insert(*file)),
                _ => wrong.extend(lines.iter().map(|line| format!("{shown}: {}", line.trim()))),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "say it in the code for AWS, or in a word that is right everywhere:\n{}",
        wrong.join("\n")
    );
    let listed: BTreeSet<&str> = NAMES_AWS.iter().map(|(file, _)| *file).collect();
    assert_eq!(named, listed, "a file of the list says nothing of AWS any more");
}
