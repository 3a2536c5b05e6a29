//! The config of the `file` connector as it is written; what it means for a table is decided in `options`.
//!
//! The same options stand on the source and on each of its `tables`; a table's own win. They are written out twice by
//! a macro instead of flattened, because serde cannot refuse unknown keys in a flattened struct, and a misspelt
//! `delimiter` must not be ignored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Rows of cells, separated by commas.
    Csv,
    /// Rows of cells, separated by tabs.
    Tsv,
    /// One JSON object per line.
    Jsonl,
    /// One JSON document that holds the records.
    Json,
    /// Apache Parquet.
    Parquet,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As its extension says: `.gz`, `.zst` or `.zstd`, otherwise none.
    #[default]
    Auto,
    /// Not compressed.
    None,
    /// Gzip, also of several members.
    Gzip,
    /// Zstandard, also of several frames.
    Zstd,
}

/// How text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum Encoding {
    /// UTF-8; a byte order mark at the start is skipped.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// ISO 8859-1: each byte is the character of that number.
    #[serde(rename = "latin1")]
    Latin1,
}

macro_rules! with_options {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            /// The format. Default: as the extension says, also inside `.gz` and `.zst`.
            #[serde(default)]
            pub format: Option<Format>,
            /// The compression. Default: as the extension says.
            #[serde(default)]
            pub compression: Option<Compression>,
            /// The encoding of text. Default: `utf-8`.
            #[serde(default)]
            pub encoding: Option<Encoding>,
            /// CSV: the character between cells, one ASCII character. Default: `,` (CSV), a tab (TSV).
            #[serde(default)]
            pub delimiter: Option<String>,
            /// CSV: the character around cells, one ASCII character; doubled inside. `""`: none. Default: `"`.
            #[serde(default)]
            pub quote: Option<String>,
            /// CSV: whether the first row holds the names of the columns. Default: true.
            #[serde(default)]
            pub header: Option<bool>,
            /// CSV: names of the columns, instead of those of the header. Without either: `column_1`, `column_2` …
            #[serde(default)]
            pub columns: Option<Vec<String>>,
            /// CSV: what an unquoted cell holds when there is no value. A quoted cell is always a value. Default: `[""]`.
            #[serde(default)]
            pub null_values: Option<Vec<String>>,
            /// JSON documents: the path with dots to the array of records. Default: the document is the array, or the
            /// one record.
            #[serde(default)]
            pub records: Option<String>,
            /// The largest CSV cell and the largest JSON record, in bytes; a CSV row may have four times as many.
            /// Default: 16 MiB, at most 1 GiB.
            #[serde(default)]
            #[schemars(range(min = 1, max = 1_073_741_824))]
            pub max_value_bytes: Option<u64>,
        }

        impl $name {
            /// The options alone.
            pub(super) fn options(&self) -> Overrides<'_> {
                Overrides {
                    format: self.format,
                    compression: self.compression,
                    encoding: self.encoding,
                    delimiter: self.delimiter.as_deref(),
                    quote: self.quote.as_deref(),
                    header: self.header,
                    columns: self.columns.as_deref(),
                    null_values: self.null_values.as_deref(),
                    records: self.records.as_deref(),
                    max_value_bytes: self.max_value_bytes,
                }
            }
        }
    };
}

with_options! {
    /// The config of the `file` connector: one table by `path`, or several by `tables`.
    FileConfig {
        /// A file or a pattern (`*`, `**`, `?`, `[abc]`), relative to the project's folder, or `s3://bucket/key`, also
        /// with a pattern in the key. `~` is not expanded; names that start with a dot match only a pattern that has the
        /// dot.
        #[serde(default)]
        path: Option<String>,
        /// The name of the table that `path` gives. Default: made of the path.
        #[serde(default)]
        table: Option<String>,
        /// Several tables, by name, instead of `path`.
        #[serde(default)]
        tables: BTreeMap<String, FileTable>,
    }
}

with_options! {
    /// One of several tables.
    FileTable {
        /// A file or a pattern (`*`, `**`, `?`, `[abc]`), relative to the project's folder, or `s3://bucket/key`.
        path: String,
    }
}

/// The options as written, before defaults.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Overrides<'a> {
    pub(super) format: Option<Format>,
    pub(super) compression: Option<Compression>,
    pub(super) encoding: Option<Encoding>,
    pub(super) delimiter: Option<&'a str>,
    pub(super) quote: Option<&'a str>,
    pub(super) header: Option<bool>,
    pub(super) columns: Option<&'a [String]>,
    pub(super) null_values: Option<&'a [String]>,
    pub(super) records: Option<&'a str>,
    pub(super) max_value_bytes: Option<u64>,
}
