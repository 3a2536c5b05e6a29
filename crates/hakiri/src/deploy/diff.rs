//! The difference of two texts, line by line, in the unified format that `patch` reads.
//!
//! Generated files have a few hundred lines, so that the plain table of longest common subsequences is quick enough and
//! gives the shortest difference. Beyond [`MOST`] lines the file is shown as replaced.

use std::fmt::Write as _;

/// Lines of context around a change.
const CONTEXT: usize = 3;
/// Lines of a file up to which lines are compared.
const MOST: usize = 2000;

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Keep,
    Remove,
    Add,
}

/// The difference, empty where there is none. `None` stands for a file that is not there.
pub fn unified(path: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> String {
    let mut out = String::new();
    if old == new {
        return out;
    }
    let side = |prefix: char, bytes: Option<&[u8]>| match bytes {
        Some(_) => format!("{prefix}/{path}"),
        None => "/dev/null".to_owned(),
    };
    let _ = writeln!(out, "--- {}\n+++ {}", side('a', old), side('b', new));
    let (Ok(old), Ok(new)) = (text(old), text(new)) else {
        out.push_str("(not text)\n");
        return out;
    };
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    hunks(&script(&old, &new), &mut out);
    out
}

fn text(bytes: Option<&[u8]>) -> Result<&str, std::str::Utf8Error> {
    std::str::from_utf8(bytes.unwrap_or_default())
}

/// Every line of both sides, in order, with what happens to it.
fn script<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Op, &'a str)> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[start..], &new[start..]);
    let mut ops: Vec<(Op, &str)> = old[..start].iter().map(|l| (Op::Keep, *l)).collect();
    if a.len() > MOST || b.len() > MOST {
        ops.extend(a.iter().map(|l| (Op::Remove, *l)));
        ops.extend(b.iter().map(|l| (Op::Add, *l)));
        return ops;
    }
    // common[i][j]: how many lines a[i..] and b[j..] have in common, in order.
    let width = b.len() + 1;
    let mut common = vec![0_u16; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            ops.push((Op::Keep, a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            ops.push((Op::Remove, a[i]));
            i += 1;
        } else {
            ops.push((Op::Add, b[j]));
            j += 1;
        }
    }
    ops
}

/// Groups changes that are close to each other, with context.
fn hunks(ops: &[(Op, &str)], out: &mut String) {
    let changed: Vec<usize> = ops.iter().enumerate().filter(|(_, (op, _))| *op != Op::Keep).map(|(i, _)| i).collect();
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for i in changed {
        let (from, to) = (i.saturating_sub(CONTEXT), (i + 1 + CONTEXT).min(ops.len()));
        match groups.last_mut() {
            Some(last) if from <= last.1 => last.1 = to,
            _ => groups.push((from, to)),
        }
    }
    let count = |ops: &[(Op, &str)], without: Op| ops.iter().filter(|(op, _)| *op != without).count();
    for (from, to) in groups {
        let (before, hunk) = (&ops[..from], &ops[from..to]);
        let range = |side_without: Op| {
            let (start, length) = (count(before, side_without), count(hunk, side_without));
            format!("{},{length}", if length == 0 { start } else { start + 1 })
        };
        let _ = writeln!(out, "@@ -{} +{} @@", range(Op::Add), range(Op::Remove));
        for (op, line) in hunk {
            let sign = match op {
                Op::Keep => ' ',
                Op::Remove => '-',
                Op::Add => '+',
            };
            let _ = match line.strip_suffix('\n') {
                Some(line) => writeln!(out, "{sign}{line}"),
                None => writeln!(out, "{sign}{line}\n\\ No newline at end of file"),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(old: &str, new: &str) -> String {
        unified("f", Some(old.as_bytes()), Some(new.as_bytes()))
    }

    #[test]
    fn only_what_changed_is_shown_with_three_lines_around() {
        let old: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n10\n", "\nten\n");
        assert_eq!(of(&old, &new), "--- a/f\n+++ b/f\n@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n");
        assert_eq!(of(&old, &old), "");
    }

    #[test]
    fn new_gone_and_unfinished_files_are_shown() {
        assert_eq!(unified("f", None, Some(b"a\n")), "--- /dev/null\n+++ b/f\n@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(
            unified("f", Some(b"a"), None),
            "--- a/f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n\\ No newline at end of file\n"
        );
        assert!(unified("f", Some(&[0xff]), Some(b"a")).contains("not text"));
    }

    #[test]
    fn changes_far_apart_are_separate_hunks() {
        let old: String = (1..=40).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n5\n", "\n").replace("\n35\n", "\n35\nmore\n");
        assert_eq!(of(&old, &new).matches("@@ -").count(), 2);
    }
}
