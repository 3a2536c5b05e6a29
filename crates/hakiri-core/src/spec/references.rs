//! `${NAME}` in the texts of a manifest: finding it, and refusing it where nothing would replace it.

use super::diagnostic::Problem;
use super::node::{Data, Node, Span};
use crate::codes::Code;
use crate::secret::{Piece, references};

/// Checks that no text of a node holds a `${NAME}`: it stands where nothing would replace it.
pub(super) fn refuse_references(node: &Node, file: usize, text: &str, out: &mut Vec<Problem>) {
    walk(node, &mut |node, value| {
        for name in names(value) {
            let span = reference_span(text, node, name);
            out.push(
                Problem::new(Code::ManifestSecret, file, span, format!("`${{{name}}}` is not replaced here"))
                    .hint("secrets are replaced only inside source.config"),
            );
        }
    });
}

/// Calls with every text value in a node.
pub(super) fn walk<'n>(node: &'n Node, visit: &mut dyn FnMut(&'n Node, &'n str)) {
    match &node.data {
        Data::Text(text) => visit(node, text),
        Data::List(items) => items.iter().for_each(|n| walk(n, visit)),
        Data::Table(members) => members.iter().for_each(|m| walk(&m.node, visit)),
        _ => {}
    }
}

/// The names that a text refers to, each once.
pub(super) fn names(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for piece in references(text) {
        if let Piece::Name(name) = piece
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// Where `${NAME}` stands in the text of a value; the whole value when escapes hide it.
pub(super) fn reference_span(text: &str, node: &Node, name: &str) -> Span {
    let needle = format!("${{{name}}}");
    match text.get(node.span.clone()).and_then(|t| t.find(&needle)) {
        Some(at) => node.span.start + at..node.span.start + at + needle.len(),
        None => node.span.clone(),
    }
}
