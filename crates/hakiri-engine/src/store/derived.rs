//! Which derived file wins (S4): a pure decision on the bytes that are there and the bytes to be written.

use bytes::Bytes;
use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

/// What precedes the number in the first line of files that are not JSON.
const STAMP: &str = "-- seq ";

/// The number of the commit that a derived file is of, if one can be read.
pub(super) fn seq_of(bytes: &[u8]) -> Option<u64> {
    let first = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    if bytes.first() == Some(&b'{') {
        let value: serde_json::Value = serde_json::from_slice(first).or_else(|_| serde_json::from_slice(bytes)).ok()?;
        return value.get("seq")?.as_u64();
    }
    std::str::from_utf8(first).ok()?.strip_prefix(STAMP)?.trim().parse().ok()
}

/// The bytes with their number in them.
pub(super) fn stamped(bytes: Bytes, seq: u64) -> Result<Bytes> {
    match seq_of(&bytes) {
        Some(found) if found == seq => Ok(bytes),
        None if bytes.first() != Some(&b'{') => Ok([format!("{STAMP}{seq}\n").as_bytes(), &bytes].concat().into()),
        found => Err(Error::new(Code::Internal, format!("a derived file of the commit {seq} says {found:?}"))),
    }
}

/// Whether `new`, of the commit `seq`, takes the place of what is there.
pub(super) fn replaces(current: Option<&[u8]>, new: &[u8], seq: u64) -> bool {
    match current {
        None => true,
        Some(current) => current != new && seq_of(current).is_none_or(|there| there <= seq),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_read_from_json_json_lines_and_sql() {
        assert_eq!(seq_of(b"{\"a\":1,\"seq\":7}\n"), Some(7));
        assert_eq!(seq_of(b"{\n  \"seq\": 7\n}\n"), Some(7));
        assert_eq!(seq_of(b"{\"seq\":9,\"version\":1}\n{\"seq\":9,\"version\":2}\n"), Some(9));
        assert_eq!(seq_of(b"-- seq 12\nCREATE VIEW"), Some(12));
        for other in [&b"{}"[..], b"", b"CREATE VIEW", b"-- seq\n", b"{\"seq\":-1}", b"\xff"] {
            assert_eq!(seq_of(other), None);
        }
    }

    #[test]
    fn text_is_stamped_once_and_json_must_bring_its_number() {
        let once = stamped(Bytes::from_static(b"SELECT 1\n"), 3).unwrap();
        assert_eq!(once, "-- seq 3\nSELECT 1\n");
        assert_eq!(stamped(once.clone(), 3).unwrap(), once);
        assert_eq!(stamped(once, 4).unwrap_err().code(), Code::Internal);
        assert_eq!(stamped(Bytes::from_static(b"{\"a\":1}"), 3).unwrap_err().code(), Code::Internal);
    }

    #[test]
    fn only_an_older_or_equal_commit_is_replaced_and_the_same_bytes_never() {
        let at = |seq: u64, text: &str| format!("-- seq {seq}\n{text}").into_bytes();
        assert!(replaces(None, &at(3, "a"), 3));
        assert!(replaces(Some(&at(2, "a")), &at(3, "a"), 3));
        assert!(replaces(Some(&at(3, "b")), &at(3, "a"), 3), "a newer binary may derive other bytes from one commit");
        assert!(!replaces(Some(&at(3, "a")), &at(3, "a"), 3));
        assert!(!replaces(Some(&at(4, "a")), &at(3, "a"), 3));
        assert!(replaces(Some(b"edited by hand"), &at(3, "a"), 3));
    }
}
