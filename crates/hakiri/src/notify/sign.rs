//! The signature of a delivery, as the Standard Webhooks convention has it, which many receivers have a library for:
//! headers `webhook-id`, `webhook-timestamp` (seconds since the epoch) and `webhook-signature`, which is `v1,` and the
//! base64 of HMAC-SHA256 over `id.timestamp.body`. A key written as `whsec_` and base64 stands for those bytes, any other
//! text for itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The headers of a delivery.
pub fn headers(key: Option<&str>, id: &str, seconds: i64, body: &str) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
    ];
    headers.extend(key.and_then(|key| signature(key, id, seconds, body)).map(|s| ("webhook-signature", s)));
    headers
}

/// None only for a key that HMAC would not take, of which there is none.
fn signature(key: &str, id: &str, seconds: i64, body: &str) -> Option<String> {
    let key = match key.strip_prefix("whsec_").map(|k| STANDARD.decode(k)) {
        Some(Ok(bytes)) => bytes,
        _ => key.as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac` over the same texts.
    #[test]
    fn signatures_are_those_of_the_convention() {
        let of = |key: &str| signature(key, "evt_1", 1_700_000_000, "{\"a\":1}").unwrap();
        assert_eq!(of("whsec_c2VjcmV0"), of("secret"), "base64 of `secret`");
        assert_eq!(of("secret"), "v1,YrKHdjs/ZmkKdPXXFLsyEwjK1O/KdKJA+gpL5VtDUsY=");
        assert_ne!(of("secret"), of("other"));
    }

    #[test]
    fn without_a_key_nothing_is_signed() {
        let names = |key| headers(key, "evt_1", 0, "").into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(names(None), ["content-type", "webhook-id", "webhook-timestamp"]);
        assert_eq!(names(Some("k")).last(), Some(&"webhook-signature"));
    }
}
