//! Finding secrets in texts that somebody else wrote (P8).
//!
//! A server that repeats what it was sent seldom repeats it byte by byte: a URL is percent-encoded, a body is JSON, a
//! header is base64. A list of all encodings of a value would grow with every library's set of characters to escape, so
//! a value is looked for the other way round: character by character, in any spelling that stands for the character, in
//! any mixture. Base64 has no such spelling; its texts are made here and looked for in the same way.
//!
//! A value that a text breaks off in (at its end, or at an ellipsis) is found from four characters on. Values of one to
//! three bytes are found only as whole words: anywhere else they would be letters of every other message.

use std::ops::Range;

/// From how many bytes on a value is found inside of words.
pub(super) const LONG: usize = 4;
/// How many characters of base64 inside of a longer text are more than chance: 36 bits.
const CHANCE: usize = 6;
/// How much of the longest spelling of a character can be cut off.
const SPELLING: usize = 12;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What is looked for.
struct Form {
    text: String,
    /// What it takes with it of the text around.
    reach: Reach,
}

#[derive(Clone, Copy, PartialEq)]
enum Reach {
    /// Nothing.
    Itself,
    /// Nothing, and it counts only where no letter or digit stands beside it.
    Word,
    /// The padding behind it.
    Padding,
    /// All characters of base64 around it: it is a piece of a longer text.
    Run,
}

/// Replaces every spelling of the values by `[secret]`.
pub(super) fn redact<'a>(text: &str, values: impl Iterator<Item = &'a str>) -> String {
    let mut found: Vec<Range<usize>> = Vec::new();
    for form in values.flat_map(forms) {
        find(text, &form, &mut found);
    }
    if found.is_empty() {
        return text.to_owned();
    }
    found.sort_unstable_by_key(|r| (r.start, std::cmp::Reverse(r.end)));
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for range in found {
        // What overlaps a value found before is part of the same replacement.
        if range.start >= done {
            out.push_str(text.get(done..range.start).unwrap_or_default());
            out.push_str("[secret]");
        }
        done = done.max(range.end);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

fn forms(value: &str) -> Vec<Form> {
    // Headers and many servers cut white space off.
    let value = value.trim();
    if value.len() < LONG {
        return if value.is_empty() { Vec::new() } else { vec![Form { text: value.to_owned(), reach: Reach::Word }] };
    }
    let mut forms = vec![Form { text: value.to_owned(), reach: Reach::Itself }];
    for alphabet in [STANDARD, URL] {
        forms.push(Form { text: base64(value.as_bytes(), alphabet), reach: Reach::Padding });
        for before in 0..3 {
            let inner = inside(value.as_bytes(), before, alphabet);
            if inner.len() >= CHANCE {
                forms.push(Form { text: inner, reach: Reach::Run });
            }
        }
    }
    forms
}

/// Base64 without padding.
fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=group.len() {
            let six = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
            out.push(char::from(alphabet[six]));
        }
    }
    out
}

/// What is the same of all base64 texts that hold these bytes after `before` others (and any number of threes).
fn inside(bytes: &[u8], before: usize, alphabet: &[u8; 64]) -> String {
    let whole: Vec<u8> = std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
    let mut text = base64(&whole, alphabet);
    if !whole.len().is_multiple_of(3) {
        text.pop();
    }
    let shared = if before == 0 { 0 } else { before + 1 };
    text.get(shared..).unwrap_or_default().to_owned()
}

/// All places of a form.
fn find(text: &str, form: &Form, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let Some(first) = form.text.chars().next() else { return };
    let mut lead = [0; 4];
    let lead = first.encode_utf8(&mut lead).as_bytes()[0];
    let mut at = 0;
    while at < bytes.len() {
        let may = bytes[at] == lead || matches!(bytes[at], b'%' | b'\\' | b'&') || (first == ' ' && bytes[at] == b'+');
        let end = if may { ends(bytes, at, form) } else { None };
        let Some(end) = end else {
            at += 1;
            continue;
        };
        let (mut from, mut to) = (at, end);
        match form.reach {
            Reach::Itself => {}
            Reach::Word if beside(text, from, to) => {
                at += 1;
                continue;
            }
            Reach::Word => {}
            Reach::Padding => to = padding(bytes, to),
            Reach::Run => {
                let run = |b: u8| b.is_ascii_alphanumeric() || b"+/-_".contains(&b);
                from -= bytes[..from].iter().rev().take_while(|b| run(**b)).count();
                to += bytes[to..].iter().take_while(|b| run(**b)).count();
                to = padding(bytes, to);
            }
        }
        found.push(from..to);
        at = to.max(at + 1);
    }
}

fn padding(bytes: &[u8], mut to: usize) -> usize {
    loop {
        match &bytes[to..] {
            [b'=', ..] => to += 1,
            [b'%', b'3', b'D' | b'd', ..] => to += 3,
            _ => return to,
        }
    }
}

/// Whether a letter or digit stands beside a range.
fn beside(text: &str, from: usize, to: usize) -> bool {
    let before = text.get(..from).and_then(|t| t.chars().next_back());
    let after = text.get(to..).and_then(|t| t.chars().next());
    before.is_some_and(char::is_alphanumeric) || after.is_some_and(char::is_alphanumeric)
}

/// Where a form that starts here ends, if it does: the farthest place.
fn ends(text: &[u8], at: usize, form: &Form) -> Option<usize> {
    let mut places = vec![at];
    for (matched, c) in form.text.chars().enumerate() {
        let mut next = Vec::new();
        for place in &places {
            spelled(text, *place, c, &mut next);
        }
        if next.is_empty() {
            let cut = if matched >= LONG { places.iter().filter_map(|p| cut(text, *p)).max() } else { None };
            return cut;
        }
        next.sort_unstable();
        next.dedup();
        places = next;
    }
    places.last().copied()
}

/// Where the text breaks off, if it does here or within a spelling that starts here.
fn cut(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    let stops =
        |i: usize| rest[i..].is_empty() || rest[i..].starts_with("…".as_bytes()) || rest[i..].starts_with(b"...");
    let end = (0..=rest.len().min(SPELLING)).find(|i| stops(*i))?;
    (end == 0 || matches!(rest[0], b'%' | b'\\' | b'&')).then_some(at + end)
}

/// Where a character ends that is spelled here, in whatever way.
fn spelled(text: &[u8], at: usize, c: char, ends: &mut Vec<usize>) {
    let rest = &text[at..];
    // Itself, each byte percent-encoded or not.
    let mut buffer = [0; 4];
    let mut places = vec![at];
    for byte in c.encode_utf8(&mut buffer).bytes() {
        places = places.into_iter().flat_map(|p| byte_ends(text, p, byte)).collect();
    }
    ends.append(&mut places);
    match rest.first() {
        Some(b'+') if c == ' ' => ends.push(at + 1),
        Some(b'&') => {
            let names: &[&str] = match c {
                '&' => &["&amp;", "&#38;"],
                '<' => &["&lt;", "&#60;"],
                '>' => &["&gt;", "&#62;"],
                '"' => &["&quot;", "&#34;"],
                '\'' => &["&#39;", "&#x27;", "&apos;"],
                _ => &[],
            };
            ends.extend(names.iter().filter(|n| rest.starts_with(n.as_bytes())).map(|n| at + n.len()));
        }
        Some(b'\\') => escaped(text, at, c, ends),
        _ => {}
    }
}

/// A byte as it is or as `%41`; `%2541` is the same, encoded twice.
fn byte_ends(text: &[u8], at: usize, byte: u8) -> Vec<usize> {
    let mut ends = Vec::new();
    if text.get(at) == Some(&byte) {
        ends.push(at + 1);
    }
    if text.get(at) == Some(&b'%') {
        let mut digits = at + 1;
        loop {
            if hex(text, digits, 2) == Some(u32::from(byte)) {
                ends.push(digits + 2);
            }
            if !text[digits.min(text.len())..].starts_with(b"25") {
                break;
            }
            digits += 2;
        }
    }
    ends
}

/// A character behind a backslash, as in JSON and in programs; behind several where JSON is within JSON.
fn escaped(text: &[u8], at: usize, c: char, ends: &mut Vec<usize>) {
    let slashes = text[at..].iter().take_while(|b| **b == b'\\').count();
    if c == '\\' {
        ends.extend((2..=slashes).map(|n| at + n));
    }
    let behind = at + slashes;
    let Some(sign) = text.get(behind) else { return };
    let short = match sign {
        b'"' | b'\'' | b'/' => char::from(*sign),
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'0' => '\0',
        _ => '\\',
    };
    if c == short && c != '\\' {
        ends.push(behind + 1);
    }
    if *sign == b'x' && hex(text, behind + 1, 2) == Some(u32::from(c)) {
        ends.push(behind + 3);
    }
    if *sign != b'u' {
        return;
    }
    if text.get(behind + 1) == Some(&b'{') {
        let digits = text[behind + 2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if text.get(behind + 2 + digits) == Some(&b'}') && hex(text, behind + 2, digits) == Some(u32::from(c)) {
            ends.push(behind + 3 + digits);
        }
        return;
    }
    let mut units = [0; 2];
    let mut place = at;
    for unit in c.encode_utf16(&mut units) {
        let slashes = text[place..].iter().take_while(|b| **b == b'\\').count();
        let digits = place + slashes + 1;
        if slashes == 0 || text.get(digits - 1) != Some(&b'u') || hex(text, digits, 4) != Some(u32::from(*unit)) {
            return;
        }
        place = digits + 4;
    }
    ends.push(place);
}

fn hex(text: &[u8], at: usize, digits: usize) -> Option<u32> {
    let text = std::str::from_utf8(text.get(at..at + digits)?).ok()?;
    if text.bytes().all(|b| b.is_ascii_hexdigit()) { u32::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, value: &str) -> String {
        redact(text, std::iter::once(value))
    }

    #[test]
    fn every_spelling_of_a_value_is_found() {
        let value = "p@ss/w+rd é\"\\=&x\n🔑!";
        for (name, spelled) in [
            ("itself", value.to_owned()),
            ("form", "p%40ss%2Fw%2Brd+%C3%A9%22%5C%3D%26x%0A%F0%9F%94%91%21".to_owned()),
            ("path", "p@ss%2Fw+rd%20%C3%A9%22%5C=&x%0A%F0%9F%94%91!".to_owned()),
            ("lower case", "p%40ss%2fw%2brd%20%c3%a9%22%5c%3d%26x%0a%f0%9f%94%91!".to_owned()),
            ("twice", "p%2540ss%252Fw%252Brd%2520%25C3%25A9%2522%255C%253D%2526x%250A%25F0%259F%2594%2591!".to_owned()),
            ("json", r#"p@ss/w+rd é\"\\=&x\n🔑!"#.to_owned()),
            ("ascii json", r#"p@ss\/w+rd \u00e9\"\\=\u0026x\n\uD83D\uDD11!"#.to_owned()),
            ("json in json", r#"p@ss/w+rd é\\\"\\\\=&x\\n🔑!"#.to_owned()),
            ("debug", format!("{value:?}").trim_matches('"').to_owned()),
            ("html", "p@ss/w+rd é&quot;\\=&amp;x\n🔑!".to_owned()),
        ] {
            assert_eq!(one(&format!("got <{spelled}> back"), value), "got <[secret]> back", "{name}");
        }
    }

    #[test]
    fn base64_is_found_alone_and_inside_of_longer_texts() {
        // Signs of both alphabets, and all three lengths of padding.
        for (value, texts) in [
            ("s3cr3t-c", &["czNjcjN0LWM=", "czNjcjN0LWM", "czNjcjN0LWM%3D"][..]),
            ("s3cr3t-ca", &["czNjcjN0LWNh"]),
            ("s3cr", &["czNjcg==", "czNjcg", "czNjcg%3D%3D"]),
            ("\u{3ff}??>>", &["z78/Pz4+", "z78_Pz4-", "z78%2FPz4%2B"]),
        ] {
            for text in texts {
                assert_eq!(one(&format!("got `{text}`"), value), "got `[secret]`", "{value} as {text}");
            }
        }
        // user:s3cr3t-canary, us:s3cr3t-canary, u:s3cr3t-canary
        for text in ["dXNlcjpzM2NyM3QtY2FuYXJ5", "dXM6czNjcjN0LWNhbmFyeQ==", "dTpzM2NyM3QtY2FuYXJ5"] {
            assert_eq!(one(&format!("Basic {text}, no"), "s3cr3t-canary"), "Basic [secret], no");
        }
    }

    #[test]
    fn a_value_that_is_cut_off_is_found() {
        for text in ["got s3cr3t-ca", "got s3cr3t-ca…", "got s3cr3t-ca...", "got s3cr3t%2"] {
            let clean = one(text, "s3cr3t-canary");
            assert!(clean.starts_with("got [secret]") && !clean.contains("s3c"), "{clean}");
        }
        assert_eq!(one("a s3c", "s3cr3t-canary"), "a s3c", "three characters are chance");
        assert_eq!(one("s3cr3t-cow says", "s3cr3t-canary"), "s3cr3t-cow says");
    }

    #[test]
    fn short_values_are_words_and_overlapping_values_leave_nothing() {
        assert_eq!(one("pin 42, not 142 or 42nd; key=42&a=1", "42"), "pin [secret], not 142 or 42nd; key=[secret]&a=1");
        assert_eq!(one("anything", ""), "anything");
        assert_eq!(redact("xabcdefghix", ["abcdef", "defghi"].into_iter()), "x[secret]x");
        assert_eq!(redact("é abcd é", ["abcd"].into_iter()), "é [secret] é");
    }

    #[test]
    fn texts_without_secrets_stay() {
        for text in ["", "100% of é\\u00", "\\", "%", "%2", "&", "a\\u{1f511", "日本 + \\\\"] {
            assert_eq!(one(text, "some-secret"), text);
        }
    }
}
