//! What the config means for one table: defaults filled in, contradictions refused, formats told from names.

use std::collections::BTreeMap;

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

use super::bucket;
use super::config::{Compression, Encoding, FileConfig, Format, Overrides};
use super::place::SCHEME;
use crate::registry::unknown;

/// The largest value of a CSV cell and the largest JSON record, unless the manifest says otherwise: 16 MiB (P7).
const DEFAULT_MAX_VALUE_BYTES: u64 = 16 << 20;
/// What `max_value_bytes` may be raised to: 1 GiB.
const HIGHEST_MAX_VALUE_BYTES: u64 = 1 << 30;

/// How the files of one table are read: everything decided but what a file's extension decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableOptions {
    pub(super) path: String,
    pub(super) format: Option<Format>,
    pub(super) compression: Compression,
    pub(super) encoding: Encoding,
    /// `None`: as the format says.
    pub(super) delimiter: Option<u8>,
    pub(super) quote: Option<u8>,
    pub(super) header: bool,
    pub(super) columns: Option<Vec<String>>,
    pub(super) null_values: Vec<String>,
    /// The segments of `records`; none: the document itself.
    pub(super) records: Vec<String>,
    pub(super) max_value_bytes: usize,
}

/// What one file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) format: Format,
    /// Never `Auto`.
    pub(super) compression: Compression,
}

impl TableOptions {
    /// What a file is, by the options and its name.
    ///
    /// # Errors
    /// `HK0602` when neither says so, or for Parquet inside gzip or zstd.
    pub(super) fn kind(&self, path: &str) -> Result<Kind> {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let (stem, by_name) = split_compression(&name);
        let compression = if self.compression == Compression::Auto { by_name } else { self.compression };
        let format = match self.format.or_else(|| split_format(stem).1) {
            Some(format) => format,
            None => {
                return Err(Error::new(Code::FileFormat, "the format cannot be told from the file's name").at(path));
            }
        };
        if format == Format::Parquet && compression != Compression::None {
            return Err(Error::new(Code::FileFormat, "parquet inside gzip or zstd is not supported")
                .at(path)
                .with_hint("decompress the file: parquet compresses inside"));
        }
        Ok(Kind { format, compression })
    }
}

fn split_compression(name: &str) -> (&str, Compression) {
    for (extension, compression) in
        [(".gz", Compression::Gzip), (".zst", Compression::Zstd), (".zstd", Compression::Zstd)]
    {
        if let Some(stem) = name.strip_suffix(extension) {
            return (stem, compression);
        }
    }
    (name, Compression::None)
}

fn split_format(name: &str) -> (&str, Option<Format>) {
    for (extension, format) in [
        (".csv", Format::Csv),
        (".tsv", Format::Tsv),
        (".tab", Format::Tsv),
        (".jsonl", Format::Jsonl),
        (".ndjson", Format::Jsonl),
        (".json", Format::Json),
        (".parquet", Format::Parquet),
    ] {
        if let Some(stem) = name.strip_suffix(extension) {
            return (stem, Some(format));
        }
    }
    (name, None)
}

/// The tables of a config, checked.
#[derive(Debug, Clone)]
pub(super) enum Tables {
    /// One path: the table has whatever name it is asked for by.
    One(Box<TableOptions>, String),
    /// Several, by name.
    Many(BTreeMap<String, TableOptions>),
}

impl Tables {
    /// Checks a config.
    ///
    /// # Errors
    /// `HK0403` with the key.
    pub(super) fn new(config: &FileConfig) -> Result<Self> {
        match (&config.path, config.tables.is_empty()) {
            (None, true) => Err(wrong("path", "there is neither `path` nor `tables`")
                .with_hint("write for example path = \"data/*.csv\"")),
            (Some(_), false) => Err(wrong("path", "`path` and `tables` exclude each other")
                .with_hint("move `path` into a table of `tables`")),
            (Some(path), true) => {
                let options = resolve("", path, [config.options(), Overrides::default()])?;
                let name = config.table.clone().unwrap_or_else(|| table_name(path));
                if name.is_empty() {
                    return Err(wrong("table", "the name is empty"));
                }
                Ok(Self::One(Box::new(options), name))
            }
            (None, false) if config.table.is_some() => Err(wrong("table", "`table` and `tables` exclude each other")),
            (None, false) => config
                .tables
                .iter()
                .map(|(name, table)| {
                    let options =
                        resolve(&format!("tables.{name}."), &table.path, [table.options(), config.options()])?;
                    Ok((name.clone(), options))
                })
                .collect::<Result<_>>()
                .map(Self::Many),
        }
    }

    /// The names and options, sorted by name.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = (&str, &TableOptions)> + Send + '_> {
        match self {
            Self::One(options, name) => Box::new(std::iter::once((name.as_str(), options.as_ref()))),
            Self::Many(tables) => Box::new(tables.iter().map(|(name, options)| (name.as_str(), options))),
        }
    }

    /// The options of a table that was asked for.
    ///
    /// # Errors
    /// `HK0402` when there are `tables` and this is none of them.
    pub(super) fn get(&self, name: &str) -> Result<&TableOptions> {
        match self {
            Self::One(options, _) => Ok(options),
            Self::Many(tables) => tables.get(name).ok_or_else(|| {
                unknown(
                    Code::SourceUnknownTable,
                    &format!("the source has no table `{name}`"),
                    name,
                    tables.keys().map(String::as_str),
                )
            }),
        }
    }
}

fn wrong(key: &str, text: &str) -> Error {
    Error::new(Code::SourceConfig, text).at(format!("source.config.{key}"))
}

/// Puts the options together; of the two levels the first wins.
fn resolve(prefix: &str, path: &str, levels: [Overrides<'_>; 2]) -> Result<TableOptions> {
    let [own, outer] = levels;
    let key = |name: &str| format!("{prefix}{name}");
    if path.is_empty() {
        return Err(wrong(&key("path"), "the path is empty"));
    }
    if path.contains("${") {
        // The path of a file is kept in plans and cursors, where no secret may be (P8).
        return Err(wrong(&key("path"), "a path cannot hold `${…}`")
            .with_hint("write the path itself, relative to the project's folder"));
    }
    if path.starts_with(SCHEME) {
        bucket::split(path).map_err(|(what, hint)| wrong(&key("path"), what).with_hint(hint))?;
    } else if let Some((scheme, _)) = path.split_once("://")
        && scheme.chars().all(|c| c.is_ascii_alphanumeric())
    {
        return Err(wrong(&key("path"), &format!("`{scheme}://` is not a place that files are read from")).with_hint(
            "use a path of this machine or s3://bucket/inbox/*.csv; for an API there is the connector `http`",
        ));
    }
    glob::Pattern::new(path).map_err(|e| wrong(&key("path"), &format!("the pattern cannot be read: {}", e.msg)))?;
    let one_ascii = |name: &str, text: Option<&str>| match text.map(str::as_bytes) {
        None => Ok(None),
        Some([byte]) if byte.is_ascii() && !matches!(byte, b'\r' | b'\n') => Ok(Some(*byte)),
        Some(_) => Err(wrong(&key(name), "this takes one ASCII character, not a line break")),
    };
    let delimiter = one_ascii("delimiter", own.delimiter.or(outer.delimiter))?;
    let quote = match own.quote.or(outer.quote) {
        Some("") => None,
        quote => Some(one_ascii("quote", quote)?.unwrap_or(b'"')),
    };
    let format = own.format.or(outer.format);
    if quote.is_some() && quote == Some(delimiter.unwrap_or(b',')) {
        return Err(wrong(&key("quote"), "`quote` and `delimiter` are the same character"));
    }
    let columns = own.columns.or(outer.columns).map(<[String]>::to_vec);
    if let Some(columns) = &columns
        && let Err(problem) = check_columns(columns)
    {
        return Err(wrong(&key("columns"), &problem));
    }
    let records: Vec<String> = match own.records.or(outer.records) {
        None | Some("") => Vec::new(),
        Some(path) => path.split('.').map(str::to_owned).collect(),
    };
    if records.iter().any(String::is_empty) {
        return Err(
            wrong(&key("records"), "the path has an empty segment").with_hint("write for example \"data.items\"")
        );
    }
    let max_value_bytes = own.max_value_bytes.or(outer.max_value_bytes).unwrap_or(DEFAULT_MAX_VALUE_BYTES);
    if !(1..=HIGHEST_MAX_VALUE_BYTES).contains(&max_value_bytes) {
        return Err(
            wrong(&key("max_value_bytes"), "the limit is out of range").with_hint("use 1 to 1073741824 (1 GiB)")
        );
    }
    Ok(TableOptions {
        path: path.to_owned(),
        format,
        compression: own.compression.or(outer.compression).unwrap_or_default(),
        encoding: own.encoding.or(outer.encoding).unwrap_or_default(),
        delimiter,
        quote,
        header: own.header.or(outer.header).unwrap_or(true),
        columns,
        null_values: own.null_values.or(outer.null_values).map_or_else(|| vec![String::new()], <[String]>::to_vec),
        records,
        max_value_bytes: usize::try_from(max_value_bytes).unwrap_or(usize::MAX),
    })
}

/// Whether names can be those of columns: there are some, none is empty, none comes twice.
///
/// # Errors
/// What is wrong. Names of columns are not values, and may be told.
pub(super) fn check_columns(names: &[String]) -> std::result::Result<(), String> {
    if names.is_empty() {
        return Err("there are no columns".into());
    }
    let mut seen = std::collections::HashMap::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("the name of column {} is empty", i + 1));
        }
        if let Some(first) = seen.insert(name.as_str(), i + 1) {
            let shown: String = name.chars().take(60).collect();
            return Err(format!("the columns {first} and {} are both named `{shown}`", i + 1));
        }
    }
    Ok(())
}

/// The name of the table that a path gives: the file's name without what tells format and compression; of a pattern
/// the part before the first wildcard, else the folder's name; with everything but letters, digits and `_` as `_`.
fn table_name(path: &str) -> String {
    for (i, part) in path.rsplit('/').enumerate() {
        let stem = if i == 0 {
            let (stem, _) = split_compression(part);
            split_format(stem).0
        } else {
            part
        };
        let literal = stem.split(['*', '?', '[']).next().unwrap_or_default();
        let name: String = literal.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = name.trim_matches('_');
        if !name.is_empty() {
            return if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name.to_owned() };
        }
    }
    "files".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tables(config: serde_json::Value) -> Result<Tables> {
        Tables::new(&crate::registry::parse_config("file", &config)?)
    }

    #[test]
    fn the_name_of_a_table_is_made_of_its_path() {
        for (path, name) in [
            ("data/airports.csv.gz", "airports"),
            ("data/*.csv", "data"),
            ("data/**/*.parquet", "data"),
            ("in/sales-2024-*.jsonl.zst", "sales_2024"),
            ("*.csv", "files"),
            ("../x/my.data.csv", "my_data"),
            ("data/2024.csv", "_2024"),
            ("s3://bucket/inbox/*.csv", "inbox"),
            ("s3://my-bucket/*.csv", "my_bucket"),
            ("/", "files"),
        ] {
            assert_eq!(table_name(path), name, "{path}");
        }
    }

    #[test]
    fn the_extension_tells_format_and_compression_unless_the_config_does() {
        let Tables::One(auto, _) = tables(json!({"path": "*"})).unwrap() else { panic!() };
        let kind = |path: &str| auto.kind(path).map(|k| (k.format, k.compression)).map_err(|e| e.code());
        assert_eq!(kind("a/B.CSV"), Ok((Format::Csv, Compression::None)));
        assert_eq!(kind("b.tsv.gz"), Ok((Format::Tsv, Compression::Gzip)));
        assert_eq!(kind("b.ndjson.zst"), Ok((Format::Jsonl, Compression::Zstd)));
        assert_eq!(kind("b.json.zstd"), Ok((Format::Json, Compression::Zstd)));
        assert_eq!(kind("b.parquet"), Ok((Format::Parquet, Compression::None)));
        assert_eq!(kind("b.parquet.gz"), Err(Code::FileFormat));
        assert_eq!(kind("b.txt"), Err(Code::FileFormat));
        assert_eq!(kind("csv"), Err(Code::FileFormat));
        let Tables::One(set, _) = tables(json!({"path": "*", "format": "csv", "compression": "none"})).unwrap() else {
            panic!()
        };
        assert_eq!(set.kind("b.txt.gz").unwrap(), Kind { format: Format::Csv, compression: Compression::None });
    }

    #[test]
    fn a_table_overrides_the_source() {
        let all = tables(json!({"delimiter": ";", "quote": "", "tables": {
            "a": {"path": "a.csv"}, "b": {"path": "b.csv", "delimiter": "|", "null_values": ["NA"], "records": "x.y"}}}))
        .unwrap();
        let (a, b) = (all.get("a").unwrap(), all.get("b").unwrap());
        assert_eq!((a.delimiter, a.quote, a.null_values.as_slice()), (Some(b';'), None, [String::new()].as_slice()));
        assert_eq!((b.delimiter, b.records.len(), b.null_values[0].as_str()), (Some(b'|'), 2, "NA"));
        assert_eq!(all.get("c").unwrap_err().code(), Code::SourceUnknownTable);
        let one = tables(json!({"path": "a.csv"})).unwrap();
        assert!(one.get("whatever").is_ok());
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_key() {
        for (config, key) in [
            (json!({}), "path"),
            (json!({"path": ""}), "path"),
            (json!({"path": "a", "tables": {"b": {"path": "c"}}}), "path"),
            (json!({"table": "a", "tables": {"b": {"path": "c"}}}), "table"),
            (json!({"path": "a[.csv"}), "path"),
            (json!({"path": "${HAKIRI_DIR}/a.csv"}), "path"),
            (json!({"path": "gs://bucket/a.csv"}), "path"),
            (json!({"path": "s3://bucket"}), "path"),
            (json!({"path": "s3://bucket/"}), "path"),
            (json!({"path": "s3:///a.csv"}), "path"),
            (json!({"path": "s3://buck*/a.csv"}), "path"),
            (json!({"path": "s3://bucket//a.csv"}), "path"),
            (json!({"path": "s3://bucket/a/../b.csv"}), "path"),
            (json!({"path": "s3://bucket/inbox/"}), "path"),
            (json!({"path": "s3://bucket/a[.csv"}), "path"),
            (json!({"path": "a", "delimiter": ";;"}), "delimiter"),
            (json!({"path": "a", "delimiter": "é"}), "delimiter"),
            (json!({"path": "a", "delimiter": "'", "quote": "'"}), "quote"),
            (json!({"path": "a", "columns": ["x", "x"]}), "columns"),
            (json!({"path": "a", "columns": []}), "columns"),
            (json!({"path": "a", "records": "a..b"}), "records"),
            (json!({"path": "a", "max_value_bytes": 0}), "max_value_bytes"),
            (json!({"tables": {"b": {"path": "c", "quote": "\n"}}}), "tables.b.quote"),
        ] {
            let e = tables(config.clone()).unwrap_err();
            assert_eq!(
                (e.code(), e.place()),
                (Code::SourceConfig, Some(format!("source.config.{key}").as_str())),
                "{config}"
            );
        }
    }
}
