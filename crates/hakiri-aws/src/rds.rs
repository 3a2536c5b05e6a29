//! Tokens that databases of RDS take instead of a password: a URL that is signed and never sent as one.
//!
//! `object_store` signs URLs for S3 alone, whose rules differ in what stands for the body. So the few lines that say what
//! is signed are here, over the HMAC and SHA-256 of the libraries; a test compares the tokens with those of AWS's own
//! client for a fixed clock.

use chrono::DateTime;
use hakiri_core::secret::Secret;
use hakiri_core::time::Instant;
use hmac::{Hmac, Mac as _};
use object_store::aws::AwsCredential;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::credentials::Credentials;

/// How long a token may be used to connect, in seconds. A connection lives as long as it lives.
const LIFE: u32 = 900;

/// What AWS leaves as it is in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login<'a> {
    /// The server, as the instance's endpoint names it.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// The user, who must have the role `rds_iam` there.
    pub user: &'a str,
    /// The instance's region.
    pub region: &'a str,
}

/// A token: what the server takes as the password of a user for fifteen minutes, over TLS alone.
///
/// # Errors
/// Why there are no credentials.
pub async fn token(credentials: &Credentials, login: &Login<'_>, now: Instant) -> Result<Secret, String> {
    let credential = credentials.get().await?;
    signed(&credential, login, now).ok_or_else(|| "this machine's clock cannot be right".to_owned())
}

fn signed(credential: &AwsCredential, login: &Login<'_>, now: Instant) -> Option<Secret> {
    let at = DateTime::from_timestamp_millis(now.millis())?;
    let (day, time) = (at.format("%Y%m%d").to_string(), at.format("%Y%m%dT%H%M%SZ").to_string());
    let scope = format!("{day}/{}/rds-db/aws4_request", login.region);
    let name = login.host.to_ascii_lowercase();
    let host = format!("{name}:{}", login.port);
    // The header of such a URL names no port where it is the one that https has anyhow.
    let header = if login.port == 443 { &name } else { &host };
    let credential_of = format!("{}/{scope}", credential.key_id);
    let life = LIFE.to_string();
    let mut query = vec![
        ("Action", "connect"),
        ("DBUser", login.user),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", &credential_of),
        ("X-Amz-Date", &time),
        ("X-Amz-Expires", &life),
        ("X-Amz-SignedHeaders", "host"),
    ];
    if let Some(token) = &credential.token {
        query.push(("X-Amz-Security-Token", token));
    }
    let sent = pairs(&query);
    query.sort_unstable();
    let nothing = hex(&Sha256::digest(b""));
    let request = format!("GET\n/\n{}\nhost:{header}\n\nhost\n{nothing}", pairs(&query));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let first = format!("AWS4{}", credential.secret_key);
    let key = [day.as_str(), login.region, "rds-db", "aws4_request"]
        .iter()
        .try_fold(first.into_bytes(), |key, part| keyed(&key, part))?;
    let signature = hex(&keyed(&key, &text)?);
    Some(Secret::new(format!("{host}/?{sent}&X-Amz-Signature={signature}")))
}

fn keyed(key: &[u8], text: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

fn pairs(query: &[(&str, &str)]) -> String {
    let pairs: Vec<_> =
        query.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY))).collect();
    pairs.join("&")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
