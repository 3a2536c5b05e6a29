//! Tokens and sessions: who may look where the address is not loopback, or where a token was set.
//!
//! Programs send `Authorization: Bearer TOKEN`. Browsers cannot, so a form takes the token once and answers with a cookie
//! that proves that its holder knew it, without holding it: an instant and its HMAC under the token. So the server keeps no
//! sessions, several servers with one token accept each other's, and a new token ends them all.
//!
//! Every comparison is of HMACs and constant in time; a wrong guess also waits ([`super::routes`]).

use hakiri_core::secret::Secret;
use hakiri_core::time::Instant;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The cookie's name.
pub const COOKIE: &str = "hakiri_session";
/// How long a session lasts, in milliseconds.
pub const SESSION_MS: i64 = 12 * 3_600_000;
/// The shortest token that is accepted, in bytes.
pub const MIN_TOKEN: usize = 16;

/// Whether a text is the token.
pub fn is_token(token: &Secret, given: &str) -> bool {
    // Hashed first, so that neither length nor content of the token shows in the time it takes.
    match (hash(token, "hakiri token"), hash(&Secret::new(given), "hakiri token")) {
        (Some(wanted), Some(given)) => given.verify_slice(&wanted.finalize().into_bytes()).is_ok(),
        _ => false,
    }
}

/// A new session's cookie value; none only where HMAC refuses a key, which it never does.
pub fn session(token: &Secret, now: Instant) -> Option<String> {
    let until = now.plus_millis(SESSION_MS).millis();
    let mac = hash(token, &format!("hakiri session {until}"))?.finalize().into_bytes();
    Some(format!("{until}.{}", hex(&mac)))
}

/// Whether a cookie value is a session that has not ended.
pub fn is_session(token: &Secret, value: &str, now: Instant) -> bool {
    let Some((until, mac)) = value.split_once('.') else { return false };
    let (Ok(until), Some(mac)) = (until.parse::<i64>(), unhex(mac)) else { return false };
    let fresh = (now.millis()..=now.plus_millis(SESSION_MS).millis()).contains(&until);
    fresh && hash(token, &format!("hakiri session {until}")).is_some_and(|wanted| wanted.verify_slice(&mac).is_ok())
}

/// The session in a `Cookie` header.
pub fn cookie(header: &str) -> Option<&str> {
    header.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn hash(key: &Secret, text: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).ok()?;
    mac.update(text.as_bytes());
    Some(mac)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    (digits.len() == 64).then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Secret::new("correct horse battery");
        assert!(is_token(&token, "correct horse battery"));
        for wrong in ["", "correct horse batter", "correct horse battery ", "Correct horse battery"] {
            assert!(!is_token(&token, wrong), "{wrong}");
        }
    }

    #[test]
    fn a_session_ends_cannot_be_lengthened_and_dies_with_the_token() {
        let (token, now) = (Secret::new("correct horse battery"), Instant::from_millis(1_800_000_000_000));
        let value = session(&token, now).unwrap();
        assert!(is_session(&token, &value, now) && is_session(&token, &value, now.plus_millis(SESSION_MS)));
        assert!(!is_session(&token, &value, now.plus_millis(SESSION_MS + 1)));
        assert!(!is_session(&Secret::new("another token of ours"), &value, now));
        let (until, mac) = value.split_once('.').unwrap();
        let longer = format!("{}.{mac}", until.parse::<i64>().unwrap() + 1);
        for forged in [longer.as_str(), "", ".", "1.2", until, &format!("{until}."), &format!("{until}.é{mac}")] {
            assert!(!is_session(&token, forged, now.plus_millis(-2)), "{forged}");
        }
        assert!(!value.contains("horse"));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        assert_eq!(cookie("a=b; hakiri_session=1.2; c=d"), Some("1.2"));
        assert_eq!(cookie("xhakiri_session=1; hakiri_sessions=2"), None);
    }
}
