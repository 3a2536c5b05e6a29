use hakiri_core::codes::Code;
use hakiri_core::schema::{Schema, SchemaVersion};
use hakiri_core::spec::SchemaPolicy;

use super::{schema, shown};
use crate::typing::plan_schema;

fn plan(committed: &[(&str, &str)], seen: &[(&str, &str)], policy: SchemaPolicy) -> Result<String, (Code, String)> {
    let committed = schema(committed);
    let version = SchemaVersion { version: 1, fingerprint: committed.fingerprint().unwrap(), schema: committed };
    plan_schema(Some(&version), &schema(seen), &Schema::default(), policy)
        .map(|s| shown(&s))
        .map_err(|e| (e.code(), e.message().to_owned()))
}

#[test]
fn evolve_widens_and_adds() {
    let planned =
        plan(&[("id", "int64"), ("old", "text")], &[("new", "bool"), ("id", "decimal(21,2)")], SchemaPolicy::Evolve);
    assert_eq!(planned.unwrap(), "id: decimal(21,2), old: text, new: bool");
    let (code, message) = plan(&[("raw", "binary")], &[("raw", "text")], SchemaPolicy::Evolve).unwrap_err();
    assert_eq!((code, message.as_str()), (Code::SchemaType, "column `raw` is binary, and text does not fit into it"));
}

#[test]
fn freeze_names_every_difference() {
    let committed = [("id", "int64"), ("name", "text")];
    let (code, message) =
        plan(&committed, &[("id", "text"), ("new", "bool"), ("name", "null")], SchemaPolicy::Freeze).unwrap_err();
    assert_eq!(code, Code::SchemaFrozen);
    assert_eq!(message, "column `id` is int64, the records need text; column `new` (bool) is new");
    assert_eq!(plan(&committed, &[("name", "null")], SchemaPolicy::Freeze).unwrap(), "id: int64, name: text");
}

#[test]
fn discard_drops_what_is_new_and_refuses_what_is_wider() {
    let committed = [("id", "int64")];
    assert_eq!(plan(&committed, &[("id", "null"), ("new", "bool")], SchemaPolicy::Discard).unwrap(), "id: int64");
    let (code, message) = plan(&committed, &[("id", "text"), ("new", "bool")], SchemaPolicy::Discard).unwrap_err();
    assert_eq!((code, message.as_str()), (Code::SchemaFrozen, "column `id` is int64, the records need text"));
}

#[test]
fn names_that_readers_cannot_tell_apart_are_refused() {
    for (committed, seen) in [
        (&[][..], &[("_hakiri_run", "text")][..]),
        (&[], &[("_Hakiri_x", "text")]),
        (&[], &[("", "text")]),
        (&[], &[("a", "text"), ("A", "text")]),
        (&[], &[("a", "text"), ("a", "text")]),
        (&[("Id", "text")], &[("id", "text")]),
        (&[], &[("s", "list<struct<a: int8, A: int8>>")]),
    ] {
        assert_eq!(
            plan(committed, seen, SchemaPolicy::Evolve).unwrap_err().0,
            Code::SchemaName,
            "{committed:?} {seen:?}"
        );
    }
    assert_eq!(
        plan(&[("id", "text")], &[("ID", "text")], SchemaPolicy::Discard).unwrap(),
        "id: text",
        "a dropped column has no name to clash"
    );
}

#[test]
fn declared_types_win_and_committed_ones_still_join() {
    let declared = schema(&[("price", "decimal(18,2)"), ("unseen", "text")]);
    let seen = schema(&[("price", "text")]);
    assert_eq!(shown(&plan_schema(None, &seen, &declared, SchemaPolicy::Evolve).unwrap()), "price: decimal(18,2)");
}
