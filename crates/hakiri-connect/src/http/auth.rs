//! Credentials on requests. Secrets are resolved here, just before they are sent, and nowhere else (P8).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Kind, Result};
use hakiri_core::secret::{Piece, Secrets, references};
use hakiri_core::time::Instant;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;
use url::Url;

use super::config::{Auth, ClientAuth, Grant, KeyPlace, Oauth2};
use super::extract;

/// A token is fetched again this long before it expires, in seconds: clocks differ and requests take time.
const SLACK_SECONDS: i64 = 60;
/// How long a token without `expires_in` is used, in seconds.
const DEFAULT_SECONDS: i64 = 3_600;

/// A token of OAuth 2.0.
#[derive(Clone)]
pub struct Token {
    /// What is sent.
    pub access: String,
    /// A new refresh token, where the server rotates them.
    pub refresh: Option<String>,
    /// When to fetch the next one.
    pub until: Instant,
}

/// Whether all secrets that the credentials name are declared.
pub fn available(auth: &Auth, secrets: &Secrets) -> bool {
    let texts: Vec<&str> = match auth {
        Auth::Bearer(token) => vec![token],
        Auth::Basic(basic) => vec![&basic.username, &basic.password],
        Auth::ApiKey(key) => vec![&key.value],
        Auth::Oauth2(o) => [Some(&o.client_id), o.client_secret.as_ref(), o.refresh_token.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect(),
    };
    texts.iter().flat_map(|text| references(text)).all(|piece| match piece {
        Piece::Name(name) => secrets.get(name).is_some(),
        Piece::Text(_) => true,
    })
}

/// Puts credentials on a request. `token` is the OAuth token, for that kind.
///
/// # Errors
/// `HK0112` for a secret without a value, `HK0403` for one that cannot stand in a header.
pub fn apply(
    auth: &Auth,
    token: Option<&str>,
    url: &mut Url,
    headers: &mut HeaderMap,
    secrets: &Secrets,
) -> Result<()> {
    match auth {
        Auth::Bearer(bearer) => {
            headers.insert(AUTHORIZATION, hidden(&format!("Bearer {}", secrets.resolve_text(bearer)?))?);
        }
        Auth::Basic(basic) => {
            headers.insert(
                AUTHORIZATION,
                basic_header(&secrets.resolve_text(&basic.username)?, &secrets.resolve_text(&basic.password)?)?,
            );
        }
        Auth::ApiKey(key) => {
            let value = secrets.resolve_text(&key.value)?;
            match key.place {
                KeyPlace::Header => {
                    let name = HeaderName::from_bytes(key.name.as_bytes())
                        .map_err(|_| Error::new(Code::SourceConfig, "auth.api_key.name: cannot be a header"))?;
                    headers.insert(name, hidden(&value)?);
                }
                KeyPlace::Query => set_param(url, &key.name, &value),
            }
        }
        Auth::Oauth2(_) => {
            headers.insert(AUTHORIZATION, hidden(&format!("Bearer {}", token.unwrap_or_default()))?);
        }
    }
    Ok(())
}

fn hidden(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Error::new(Code::SourceConfig, "a secret holds characters that cannot stand in a header")
            .with_hint("look for a line break at its end")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn basic_header(name: &str, password: &str) -> Result<HeaderValue> {
    hidden(&format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
}

/// Sets one parameter, in place of any that has its name: a next-page URL may or may not repeat it.
pub fn set_param(url: &mut Url, name: &str, value: &str) {
    let kept: Vec<(String, String)> =
        url.query_pairs().filter(|(k, _)| k != name).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    url.query_pairs_mut().clear().extend_pairs(kept).append_pair(name, value);
}

/// The form and headers of a request for a token. `rotated` is the refresh token that the server gave last.
///
/// # Errors
/// `HK0112` for a secret without a value.
pub fn token_request(oauth: &Oauth2, rotated: Option<&str>, secrets: &Secrets) -> Result<(Vec<u8>, HeaderMap)> {
    let mut headers = HeaderMap::new();
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    match oauth.grant {
        Grant::ClientCredentials => {
            form.append_pair("grant_type", "client_credentials");
        }
        Grant::RefreshToken => {
            let own = secrets.resolve_text(oauth.refresh_token.as_deref().unwrap_or_default())?;
            form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", rotated.unwrap_or(&own));
        }
    }
    if let Some(scope) = &oauth.scope {
        form.append_pair("scope", scope);
    }
    let id = secrets.resolve_text(&oauth.client_id)?;
    let secret = oauth.client_secret.as_deref().map(|s| secrets.resolve_text(s)).transpose()?;
    match oauth.client_auth {
        ClientAuth::Body => {
            form.append_pair("client_id", &id);
            if let Some(secret) = &secret {
                form.append_pair("client_secret", secret);
            }
        }
        ClientAuth::Basic => {
            // RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            headers.insert(AUTHORIZATION, basic_header(&encode(&id), &encode(secret.as_deref().unwrap_or_default()))?);
        }
    }
    headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    Ok((form.finish().into_bytes(), headers))
}

/// Reads the answer to a request for a token.
///
/// # Errors
/// `HK0404` when it holds none.
pub fn token_answer(root: &RawValue, now: Instant) -> Result<Token> {
    let text = |path: &str| extract::at(root, path).ok().and_then(extract::scalar).filter(|t| !t.is_empty());
    let access = text("access_token")
        .ok_or_else(|| Error::new(Code::SourceAuth, "the token endpoint's answer has no `access_token`"))?;
    let seconds = text("expires_in").and_then(|t| t.parse::<f64>().ok()).map_or(DEFAULT_SECONDS, |s| s as i64);
    let used = if seconds > 2 * SLACK_SECONDS { seconds - SLACK_SECONDS } else { seconds / 2 };
    Ok(Token { access, refresh: text("refresh_token"), until: now.plus_millis(used.saturating_mul(1_000)) })
}

/// The error of a token endpoint that refused: its standard error word, nothing else it said.
pub fn token_failure(status: u16, body: &[u8]) -> Error {
    let word = serde_json::from_slice::<&RawValue>(body)
        .ok()
        .and_then(|root| extract::at(root, "error").ok().and_then(extract::scalar))
        .filter(|word| word.len() <= 40 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    let said = word.map(|w| format!(" ({w})")).unwrap_or_default();
    Error::new(Code::SourceAuth, format!("the token endpoint answered with status {status}{said}"))
        .with_kind(Kind::AuthExpired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_before_they_expire() {
        let read = |text: &str| token_answer(&RawValue::from_string(text.to_owned()).unwrap(), Instant::from_millis(0));
        assert_eq!(read(r#"{"access_token":"t","expires_in":3600}"#).unwrap().until.millis(), 3_540_000);
        assert_eq!(read(r#"{"access_token":"t","expires_in":"100"}"#).unwrap().until.millis(), 50_000);
        assert_eq!(read(r#"{"access_token":"t"}"#).unwrap().until.millis(), 3_540_000);
        assert_eq!(read(r#"{"token":"t"}"#).err().unwrap().code(), Code::SourceAuth);
    }

    #[test]
    fn a_refused_token_names_the_standard_word_only() {
        assert_eq!(
            token_failure(400, br#"{"error":"invalid_grant","error_description":"s3cret"}"#).message(),
            "the token endpoint answered with status 400 (invalid_grant)"
        );
        assert_eq!(
            token_failure(400, br#"{"error":"s3cret VALUE"}"#).message(),
            "the token endpoint answered with status 400"
        );
    }

    #[test]
    fn a_parameter_is_set_once() {
        let mut url = Url::parse("https://a/x?key=old&b=1&key=older").unwrap();
        set_param(&mut url, "key", "n&w");
        assert_eq!(url.as_str(), "https://a/x?b=1&key=n%26w");
    }
}
