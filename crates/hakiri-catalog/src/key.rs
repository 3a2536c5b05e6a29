//! How a record's key is stored: one text whose byte order is the order of [`Key`]s.
//!
//! `<kind>` and each part are ended by U+0001. Characters up to U+0002 inside a part are written as U+0002 and one
//! more, so that every key is possible, no key is a prefix of a sibling's, and no stored text holds a NUL. Kinds start
//! with a digit, which keeps them in the order of [`Kind`].

use hakiri_core::catalog::{Key, Kind};

const END: char = '\u{1}';
const ESCAPE: char = '\u{2}';

/// All kinds with the text that stands for them.
const KINDS: [(Kind, &str); 8] = [
    (Kind::Head, "0head"),
    (Kind::Plan, "1plan"),
    (Kind::Step, "2step"),
    (Kind::Run, "3run"),
    (Kind::Schema, "4schema"),
    (Kind::Unnamed, "5unnamed"),
    (Kind::Audit, "6audit"),
    (Kind::Setting, "7setting"),
];

/// A key as text.
pub fn encode(key: &Key) -> String {
    prefix(key.kind, &key.parts)
}

/// What all keys of a kind start with whose first parts are these.
pub fn prefix(kind: Kind, parts: &[String]) -> String {
    let kind = KINDS.iter().find(|(k, _)| *k == kind).map_or("8other", |(_, text)| text);
    let mut text = String::with_capacity(kind.len() + 1 + parts.iter().map(|p| p.len() + 1).sum::<usize>());
    text.push_str(kind);
    text.push(END);
    for part in parts {
        for c in part.chars() {
            match c {
                '\u{0}' => text.extend([ESCAPE, '\u{3}']),
                END => text.extend([ESCAPE, '\u{4}']),
                ESCAPE => text.extend([ESCAPE, '\u{5}']),
                c => text.push(c),
            }
        }
        text.push(END);
    }
    text
}

/// The key that a text stands for; none if it is no key.
pub fn decode(text: &str) -> Option<Key> {
    let mut pieces = text.strip_suffix(END)?.split(END);
    let kind = pieces.next()?;
    let (kind, _) = KINDS.iter().find(|(_, text)| *text == kind)?;
    Some(Key { kind: *kind, parts: pieces.map(unescape).collect::<Option<_>>()? })
}

fn unescape(piece: &str) -> Option<String> {
    let mut part = String::with_capacity(piece.len());
    let mut chars = piece.chars();
    while let Some(c) = chars.next() {
        part.push(match c {
            ESCAPE => match chars.next()? {
                '\u{3}' => '\u{0}',
                '\u{4}' => END,
                '\u{5}' => ESCAPE,
                _ => return None,
            },
            c => c,
        });
    }
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind, parts: &[&str]) -> Key {
        Key { kind, parts: parts.iter().map(|p| (*p).to_owned()).collect() }
    }

    #[test]
    fn texts_have_the_order_of_keys_and_come_back() {
        let texts = [
            "",
            "\u{0}",
            "\u{0}\u{0}",
            "\u{1}",
            "\u{1}a",
            "\u{2}",
            "\u{3}",
            "a",
            "a\u{0}",
            "a\u{1}b",
            "ab",
            "b",
            "größe",
            "日本",
            "\u{10ffff}",
        ];
        let mut keys = Vec::new();
        for kind in [Kind::Head, Kind::Step, Kind::Setting] {
            keys.push(key(kind, &[]));
            for a in texts {
                keys.push(key(kind, &[a]));
                keys.extend(texts.map(|b| key(kind, &[a, b])));
            }
        }
        for a in &keys {
            assert_eq!(decode(&encode(a)).as_ref(), Some(a));
            assert!(!encode(a).contains('\u{0}'));
            for b in &keys {
                assert_eq!(a.cmp(b), encode(a).cmp(&encode(b)), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in ["", "head", "0head", "0head\u{1}a", "nope\u{1}", "0head\u{1}\u{2}\u{1}", "0head\u{1}\u{2}x\u{1}"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_prefix_covers_its_keys_and_no_siblings() {
        let p = prefix(Kind::Run, &["crm".to_owned()]);
        assert!(encode(&key(Kind::Run, &["crm", "x"])).starts_with(&p));
        assert!(!encode(&key(Kind::Run, &["crm-2", "x"])).starts_with(&p));
    }
}
