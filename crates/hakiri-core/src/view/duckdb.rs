//! The DuckDB view of a table (P6): `views/<table>.sql`, to open the store without Hakiri.
//!
//! The view shows the current rows over exactly the committed files, by the same rules as `hakiri query` (S10, S13): see
//! its `table::current`. It depends on nothing else: a child's view holds its parent's current keys in itself, so views
//! can be loaded in any order, and each is of one commit (S4). Every path is relative to the project's folder in the
//! store, behind `coalesce(getvariable('hakiri_root'), '.')`:
//!
//! ```sql
//! SET VARIABLE hakiri_root = 's3://bucket/prefix/project';
//! .read views/github_issues.sql
//! ```
//!
//! DuckDB evaluates the variable whenever the view is used, also inside the list of files (checked with 1.5.5), so no
//! macro or prepared statement is needed. Parts of one schema are read together, older ones with explicit casts; not
//! with `union_by_name` over all of them, whose casts are not ours and whose commits could not be told apart. Only a part
//! whose schema no manifest names (one of several steps that saw different types) leaves the casts to DuckDB.
//!
//! The text is a pure function of the views: equal commits, equal bytes (P1).

use std::fmt::Write as _;

use super::TableView;
use super::duckdb_cast::{cast, identifier, literal, type_sql};
use crate::hash::Hash;
use crate::id::TableName;
use crate::manifest::Part;
use crate::schema::{DELETED_COLUMN, RUN_COLUMN, Schema, Type};
use crate::spec::Mode;

/// The version of the text's first line.
const FORMAT: u32 = 1;
/// The hidden column with a row's commit.
const SEQ: &str = "_hakiri_seq";
/// Parents of parents are few; more is a cycle, which no engine writes.
const MAX_DEPTH: usize = 32;

/// The view of a table at its commit. `views` are all tables of the commit: a child's view needs its parent's.
/// The first line is `-- hakiri view 1 seq <n>`. A table that is not among the views gives that line alone, with 0.
pub fn view_sql(views: &[TableView], table: &TableName) -> String {
    let Some(view) = views.iter().find(|v| v.table == *table) else {
        return format!("-- hakiri view {FORMAT} seq 0\n");
    };
    let columns: Vec<&str> = view.schema.schema.fields.iter().map(|f| f.name.as_str()).chain([RUN_COLUMN]).collect();
    let shown: Vec<String> = columns.iter().map(|c| identifier(c)).collect();
    format!(
        "-- hakiri view {FORMAT} seq {}\nCREATE OR REPLACE VIEW {} AS\nSELECT {}\nFROM (\n{}\n);\n",
        view.seq,
        identifier(view.table.as_str()),
        shown.join(", "),
        Text { views, view, depth: 0 }.current(&columns, false)
    )
}

/// The text of one table inside a view.
struct Text<'a> {
    views: &'a [TableView],
    view: &'a TableView,
    depth: usize,
}

impl Text<'_> {
    fn schema(&self) -> &Schema {
        &self.view.schema.schema
    }

    /// A query for the current rows: some columns, and the commit if `seq`. The rest that deciding takes is read too.
    fn current(&self, columns: &[&str], seq: bool) -> String {
        let mut needed: Vec<&str> = columns.to_vec();
        let mut need = |name: &'_ str| match self.schema().field(name) {
            Some(field) if !needed.contains(&field.name.as_str()) => {
                needed.push(&field.name);
                true
            }
            found => found.is_some(),
        };
        let hidden = self.schema().field(DELETED_COLUMN).is_some_and(|f| f.ty == Type::Bool) && need(DELETED_COLUMN);
        let link = self.view.merge.parent.as_ref().filter(|l| !l.columns.is_empty());
        for name in link.iter().flat_map(|l| &l.columns) {
            need(name);
        }
        let merge = self.needs_merge();
        let mut order = Vec::new();
        if merge {
            for name in &self.view.merge.primary_key {
                need(name);
            }
            if let Some(cursor) = self.view.merge.cursor.as_deref().filter(|c| need(c)) {
                order.push(format!("{} DESC NULLS LAST", identifier(cursor)));
            }
            order.push(format!("{} DESC", identifier(SEQ)));
        }
        let with_seq = seq || merge || link.is_some();
        let mut sql = format!("SELECT * FROM (\n{}\n) AS r{}", self.rows(&needed, with_seq), self.depth);
        if let Some(link) = link {
            let _ = write!(sql, "\n{}", self.semi_join(link));
        }
        let mut clauses = String::new();
        if merge {
            let keys: Vec<String> = self.view.merge.primary_key.iter().map(|k| identifier(k)).collect();
            let _ = write!(
                clauses,
                "\nQUALIFY row_number() OVER (PARTITION BY {} ORDER BY {}) = 1",
                keys.join(", "),
                order.join(", ")
            );
        }
        sql.push_str(&clauses);
        if hidden {
            // Around the merge, not inside it: a deleted version must first win over the older ones.
            sql = format!("SELECT * FROM (\n{sql}\n) WHERE {} IS NOT TRUE", identifier(DELETED_COLUMN));
        }
        sql
    }

    /// Whether several versions of a key can be there.
    fn needs_merge(&self) -> bool {
        let merge = &self.view.merge;
        let keyed =
            merge.mode == Mode::Merge && !merge.primary_key.is_empty() && has_all(self.view, &merge.primary_key);
        // Children whose key holds their parent's are of one commit by the join, and a commit holds a key once.
        let of_parent = merge
            .parent
            .as_ref()
            .is_some_and(|l| !l.columns.is_empty() && l.columns.iter().all(|c| merge.primary_key.contains(c)));
        keyed && !of_parent && self.view.layers.iter().filter(|l| !l.parts.is_empty()).count() > 1
    }

    fn semi_join(&self, link: &crate::manifest::ParentLink) -> String {
        let parent = self.views.iter().find(|v| v.table == link.table).filter(|_| self.depth < MAX_DEPTH);
        // A table without rows may not have the columns of its key yet.
        let parent = parent.filter(|p| has_all(p, &p.merge.primary_key) && has_all(self.view, &link.columns));
        let Some(parent) = parent else { return "WHERE false".to_owned() };
        let (rows, depth) = (format!("r{}", self.depth), self.depth + 1);
        let keys: Vec<&str> = parent.merge.primary_key.iter().map(String::as_str).collect();
        // A snapshot of children says "current as of what it covers": they stay so until their parent changes.
        let covered = self.view.layers.iter().filter(|l| l.snapshot).map(|l| l.seq).max().unwrap_or(0);
        let mut on = vec![format!("{rows}.{seq} = greatest(p{depth}.{seq}, {covered})", seq = identifier(SEQ))];
        for (own, key) in link.columns.iter().zip(&keys) {
            let (from, to) = (self.schema().field(own), parent.schema.schema.field(key));
            let value = match (from, to) {
                // Each table widens on its own: keys are compared as the parent's types.
                (Some(from), Some(to)) if from.ty != to.ty => {
                    format!("TRY_CAST({rows}.{} AS {})", identifier(own), type_sql(&to.ty))
                }
                _ => format!("{rows}.{}", identifier(own)),
            };
            on.push(format!("{value} = p{depth}.{}", identifier(key)));
        }
        let parents = Text { views: self.views, view: parent, depth }.current(&keys, true);
        format!("SEMI JOIN (\n{parents}\n) AS p{depth} ON {}", on.join(" AND "))
    }

    /// All rows of all layers.
    fn rows(&self, columns: &[&str], with_seq: bool) -> String {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for layer in &self.view.layers {
            for part in layer.parts.iter().filter(|p| p.rows > 0) {
                let (seq, schema) = (with_seq.then_some(layer.seq), self.known(&part.schema));
                match groups.last_mut() {
                    Some(g) if g.seq == seq && g.schema == schema && g.snapshot == layer.snapshot => g.parts.push(part),
                    _ => groups.push(Group { seq, schema, snapshot: layer.snapshot, parts: vec![part] }),
                }
            }
        }
        if groups.is_empty() {
            return format!("{} WHERE false", self.nulls(columns, with_seq));
        }
        groups.iter().map(|g| self.group(g, columns)).collect::<Vec<_>>().join("\nUNION ALL\n")
    }

    /// The schema with a fingerprint, if a manifest has it.
    fn known(&self, fingerprint: &Hash) -> Option<&Schema> {
        let versions = self.view.layers.iter().map(|l| &l.schema).chain([&self.view.schema]);
        versions.into_iter().find(|v| v.fingerprint == *fingerprint).map(|v| &v.schema)
    }

    fn group(&self, group: &Group<'_>, columns: &[&str]) -> String {
        let Some(stored) = group.schema else { return self.unknown(group, columns) };
        let mut select = Vec::new();
        for name in columns {
            let value = match (self.schema().field(name), stored.field(name)) {
                (Some(to), Some(from)) => cast(&identifier(name), &from.ty, &to.ty, 0),
                (Some(to), None) => cast("NULL", &Type::Null, &to.ty, 0),
                (None, _) if group.snapshot => "CAST(NULL AS VARCHAR)".to_owned(),
                (None, _) => identifier(name),
            };
            select.push(aliased(&value, name));
        }
        select.extend(group.seq.map(|seq| aliased(&format!("CAST({seq} AS UBIGINT)"), SEQ)));
        format!("SELECT {} FROM read_parquet([{}])", select.join(", "), files(&group.parts))
    }

    /// Parts whose schema is only known to be narrower than the current one: columns by name, casts by DuckDB.
    fn unknown(&self, group: &Group<'_>, columns: &[&str]) -> String {
        let mut select: Vec<String> = columns
            .iter()
            .map(|name| aliased(&format!("CAST({} AS {})", identifier(name), self.type_of(name)), name))
            .collect();
        select.extend(group.seq.map(|seq| aliased(&format!("CAST({seq} AS UBIGINT)"), SEQ)));
        format!(
            "SELECT {} FROM ({} WHERE false UNION ALL BY NAME SELECT * FROM read_parquet([{}], union_by_name = true))",
            select.join(", "),
            self.nulls(columns, false),
            files(&group.parts)
        )
    }

    /// One row of nulls of the right types.
    fn nulls(&self, columns: &[&str], with_seq: bool) -> String {
        let mut select: Vec<String> =
            columns.iter().map(|name| aliased(&format!("CAST(NULL AS {})", self.type_of(name)), name)).collect();
        select.extend(with_seq.then(|| aliased("CAST(NULL AS UBIGINT)", SEQ)));
        format!("SELECT {}", select.join(", "))
    }

    fn type_of(&self, name: &str) -> String {
        self.schema().field(name).map_or_else(|| "VARCHAR".to_owned(), |f| type_sql(&f.ty))
    }
}

/// Parts that one `read_parquet` reads.
struct Group<'a> {
    seq: Option<u64>,
    schema: Option<&'a Schema>,
    snapshot: bool,
    parts: Vec<&'a Part>,
}

fn has_all(view: &TableView, columns: &[String]) -> bool {
    columns.iter().all(|name| view.schema.schema.field(name).is_some())
}

fn aliased(value: &str, name: &str) -> String {
    let name = identifier(name);
    if value == name { name } else { format!("{value} AS {name}") }
}

fn files(parts: &[&Part]) -> String {
    let files = parts
        .iter()
        .map(|p| format!("\n  coalesce(getvariable('hakiri_root'), '.') || {}", literal(&format!("/{}", p.path))));
    format!("{}\n", files.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{FileRef, Merge};
    use crate::schema::{Field, SchemaVersion};
    use crate::view::Layer;

    fn view(mode: Mode, seqs: &[u64]) -> TableView {
        let schema = Schema::new(vec![Field::new("id", Type::Int64), Field::new("it's \"x\"", Type::Text)]);
        let schema = SchemaVersion { version: 1, fingerprint: schema.fingerprint().unwrap(), schema };
        let layer = |seq: &u64| Layer {
            manifest: FileRef { path: format!("tables/t/runs/{seq}/manifest.json"), sha256: Hash::of(b"m") },
            seq: *seq,
            snapshot: false,
            schema: schema.clone(),
            parts: vec![Part {
                path: format!("tables/t/runs/{seq}/part.parquet"),
                rows: 1,
                bytes: 1,
                sha256: Hash::of(b"p"),
                schema: schema.fingerprint.clone(),
            }],
        };
        TableView {
            table: "t".parse().unwrap(),
            pipeline: "p".parse().unwrap(),
            seq: 7,
            schema: schema.clone(),
            merge: Merge { mode, primary_key: vec!["id".to_owned()], cursor: None, parent: None },
            layers: seqs.iter().map(layer).collect(),
        }
    }

    #[test]
    fn an_appended_table_is_one_read() {
        let view = view(Mode::Append, &[3, 7]);
        let expected = r#"-- hakiri view 1 seq 7
CREATE OR REPLACE VIEW "t" AS
SELECT "id", "it's ""x""", "_hakiri_run"
FROM (
SELECT * FROM (
SELECT "id", "it's ""x""", "_hakiri_run" FROM read_parquet([
  coalesce(getvariable('hakiri_root'), '.') || '/tables/t/runs/3/part.parquet',
  coalesce(getvariable('hakiri_root'), '.') || '/tables/t/runs/7/part.parquet'
])
) AS r0
);
"#;
        assert_eq!(view_sql(std::slice::from_ref(&view), &view.table), expected);
    }

    #[test]
    fn a_merge_of_one_run_needs_no_window_and_an_empty_table_no_file() {
        let sql = |view: TableView| view_sql(std::slice::from_ref(&view), &view.table);
        assert!(!sql(view(Mode::Merge, &[3])).contains("QUALIFY"));
        assert!(
            sql(view(Mode::Merge, &[3, 7]))
                .contains("QUALIFY row_number() OVER (PARTITION BY \"id\" ORDER BY \"_hakiri_seq\" DESC) = 1")
        );
        let empty = sql(view(Mode::Merge, &[]));
        assert!(empty.contains("CAST(NULL AS BIGINT) AS \"id\"") && !empty.contains("read_parquet"), "{empty}");
        assert_eq!(view_sql(&[], &"t".parse().unwrap()), "-- hakiri view 1 seq 0\n");
    }
}
