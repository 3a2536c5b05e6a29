//! Where a large table is cut, so that a step is little enough to be read again (E4).
//!
//! Contract: the ranges are disjoint, ascend, and cover every key there can be; each holds `chunk_rows` rows of the
//! snapshot they were made in, the last one the rest. They are a function of the rows alone: the server's estimates,
//! which depend on when it last looked, have no say. A table (or a window) of fewer rows is one range and costs one
//! walk along as much of the key's index.
//!
//! Why not ranges of equal width between the lowest and the highest key, which cost nothing: keys are not evenly spread,
//! and of two steps one would have all the rows. Why not physical places (`ctid`): they do not follow the key, so that
//! concatenated parts would not be in its order (S8), and rows move.

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

use super::session::Session;
use super::sql::{KeyColumn, Range, bound_row, column, filter, key_row};

/// The most steps of one table: a plan is one document.
const MAX_STEPS: usize = 10_000;

/// The ranges of a table. `conditions` say which of its rows count.
///
/// # Errors
/// `HK0405` for more than [`MAX_STEPS`]; those of the server.
pub(super) async fn ranges(
    session: &Session,
    from: &str,
    key: &[KeyColumn],
    conditions: &[String],
    chunk_rows: u64,
) -> Result<Vec<Range>> {
    let mut bounds: Vec<Vec<String>> = Vec::new();
    while let Some(bound) = next_bound(session, from, key, conditions, bounds.last(), chunk_rows).await? {
        bounds.push(bound);
        if bounds.len() >= MAX_STEPS {
            return Err(Error::new(
                Code::SourceLimit,
                format!("the table would be read in more than {MAX_STEPS} steps"),
            )
            .with_hint("raise `chunk_rows`"));
        }
    }
    Ok(between(key, bounds))
}

/// The key of the first row behind a range, if it is not the last.
async fn next_bound(
    session: &Session,
    from: &str,
    key: &[KeyColumn],
    conditions: &[String],
    last: Option<&Vec<String>>,
    chunk_rows: u64,
) -> Result<Option<Vec<String>>> {
    let mut conditions = conditions.to_vec();
    // The row at the last bound belongs to this range. What is searched lies above it, so that a key of which only the
    // first columns count moves on too.
    let offset = match last {
        Some(last) => {
            conditions.push(format!("{} > {}", key_row(key), bound_row(key, last)));
            chunk_rows - 1
        }
        None => chunk_rows,
    };
    // Names with `t.` in front: a bare one would mean the text in the list.
    let names: Vec<String> = key.iter().map(|c| column(&c.name)).collect();
    let texts: Vec<String> = key.iter().map(|c| format!("{}::{}::pg_catalog.text", column(&c.name), c.cast)).collect();
    let sql = format!(
        "SELECT {} FROM {from}{} ORDER BY {} OFFSET {offset} LIMIT 1",
        texts.join(", "),
        filter(&conditions),
        names.join(", ")
    );
    let rows = session.rows(&sql).await?;
    Ok(rows.into_iter().next().and_then(|row| row.into_iter().collect()))
}

fn between(key: &[KeyColumn], bounds: Vec<Vec<String>>) -> Vec<Range> {
    if bounds.is_empty() {
        return vec![Range::default()];
    }
    let starts = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
    let ends = bounds.iter().cloned().map(Some).chain(std::iter::once(None));
    starts.zip(ends).map(|(from, below)| Range { key: key.to_vec(), from, below }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_ranges_have_no_bound_and_the_inner_ones_touch() {
        let key = [KeyColumn { name: "id".into(), cast: "pg_catalog.int8".into() }];
        let ranges = between(&key, vec![vec!["10".into()], vec!["20".into()]]);
        let texts: Vec<Vec<String>> = ranges.iter().map(Range::conditions).collect();
        assert_eq!(
            texts,
            [
                vec!["(t.\"id\") < ('10'::pg_catalog.int8)"],
                vec!["(t.\"id\") >= ('10'::pg_catalog.int8)", "(t.\"id\") < ('20'::pg_catalog.int8)"],
                vec!["(t.\"id\") >= ('20'::pg_catalog.int8)"],
            ]
        );
        assert_eq!(between(&key, Vec::new()), [Range::default()]);
    }
}
