//! Canonical JSON (S5): one byte sequence for one value, so that a hash of it means something.
//!
//! Keys are sorted by their UTF-8 bytes at every depth, there is no insignificant white space, numbers are integers,
//! and the text ends with one newline. A float is refused: its text depends on who prints it.

use serde::Serialize;
use serde_json::Value;

use crate::codes::Code;
use crate::error::{Error, Result};

/// The canonical bytes of a serializable value.
///
/// # Errors
/// `HK0001` when the value holds a float or cannot be represented in JSON.
pub fn to_canonical_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let value =
        serde_json::to_value(value).map_err(|e| Error::new(Code::Internal, format!("cannot write as JSON: {e}")))?;
    let mut out = Vec::with_capacity(256);
    write(&value, &mut out)?;
    out.push(b'\n');
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push(b'{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                scalar(&Value::String(key.clone()), out)?;
                out.push(b':');
                write(&map[key], out)?;
            }
            out.push(b'}');
            Ok(())
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
            Ok(())
        }
        Value::Number(n) if n.is_f64() => Err(Error::new(Code::Internal, format!("a float ({n}) in canonical JSON"))),
        other => scalar(other, out),
    }
}

fn scalar(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(out, value).map_err(|e| Error::new(Code::Internal, format!("cannot write as JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_at_every_depth_and_the_text_ends_with_a_newline() {
        let bytes = to_canonical_json(&json!({"b": [{"z": null, "a": "é\n"}], "a": -1})).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "{\"a\":-1,\"b\":[{\"a\":\"é\\n\",\"z\":null}]}\n");
    }

    #[test]
    fn floats_are_refused() {
        assert_eq!(to_canonical_json(&json!({"a": 1.5})).unwrap_err().code(), Code::Internal);
    }
}
