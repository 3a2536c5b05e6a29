//! Which tables are compacted together, and whether there is anything to do: pure decisions on heads and views.

use std::collections::BTreeMap;

use hakiri_core::catalog::TableHead;
use hakiri_core::hash::Hash;
use hakiri_core::id::TableName;
use hakiri_core::manifest::ParentLink;
use hakiri_core::spec::Mode;
use hakiri_core::view::TableView;

fn link(table: &TableHead) -> Option<&ParentLink> {
    table.merge.parent.as_ref().filter(|link| !link.columns.is_empty())
}

/// The table at the root of a table's parents, and all that hang on it; parents before children. None where there is no
/// rule for a snapshot: the root is not keyed or not in mode merge, a parent is gone, or its key has other columns by now
/// than its children refer to.
pub(super) fn family(tables: &BTreeMap<TableName, TableHead>, of: &TableName) -> Option<Vec<TableName>> {
    let mut root = of;
    // One step more than there are tables is a cycle, which no engine writes.
    for _ in 0..=tables.len() {
        match link(tables.get(root)?) {
            Some(link) => root = &link.table,
            None => break,
        }
    }
    let head = tables.get(root).filter(|head| link(head).is_none())?;
    if head.merge.mode != Mode::Merge || head.merge.primary_key.is_empty() {
        return None;
    }
    let mut members = vec![root.clone()];
    let mut at = 0;
    while let Some(parent) = members.get(at).cloned() {
        let key = &tables.get(&parent)?.merge.primary_key;
        for (name, child) in tables {
            let Some(link) = link(child).filter(|link| link.table == parent) else { continue };
            if link.columns.len() != key.len() {
                return None;
            }
            members.push(name.clone());
        }
        at += 1;
    }
    Some(members)
}

/// Whether all rows of a family lie in snapshots of one commit, or there are none. The root comes first.
pub(super) fn is_compact(views: &[TableView]) -> bool {
    let Some(root) = views.first() else { return true };
    let covers = match root.layers.as_slice() {
        [] => return true,
        [only] if only.snapshot => only.seq,
        _ => return false,
    };
    views.iter().all(|view| match view.layers.as_slice() {
        [] => true,
        [only] => only.snapshot && only.seq == covers,
        _ => false,
    })
}

/// Names what snapshots are made of: the manifests and schemas of a family.
pub(super) fn inputs(views: &[TableView]) -> Hash {
    let mut parts: Vec<&[u8]> = Vec::new();
    for view in views {
        parts.push(view.schema.fingerprint.as_str().as_bytes());
        parts.extend(view.layers.iter().map(|layer| layer.manifest.sha256.as_str().as_bytes()));
    }
    Hash::of_parts(&parts)
}
