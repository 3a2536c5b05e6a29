//! One guarded POST that is not a source's: a webhook. Same rules of the network, none of a source's patience: who sends
//! decides when to try again.

use std::sync::Arc;
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::secret::Secrets;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::address;
use super::client::{guarded, unreachable};
use super::resolve::SystemLookup;

/// Posts to URLs that people configured.
#[derive(Debug)]
pub struct Poster {
    http: reqwest::Client,
    allow_private: bool,
}

impl Poster {
    /// `timeout` is for a whole delivery. `allow_private` lets loopback and private addresses through.
    ///
    /// # Errors
    /// `HK0001` when the library cannot make a client.
    pub fn new(allow_private: bool, timeout: Duration) -> Result<Self> {
        Ok(Self { http: guarded(Arc::new(SystemLookup::default()), allow_private, timeout)?, allow_private })
    }

    /// Sends a body and answers with the status, whatever it is. The answer's body is not read. Secrets are only needed
    /// to keep them out of errors.
    ///
    /// # Errors
    /// `HK0403` for what is no URL of http, `HK0508` for a private address, `HK0502` without an answer.
    pub async fn post(&self, url: &str, headers: &[(&str, String)], body: String, secrets: &Secrets) -> Result<u16> {
        let url = Url::parse(url).map_err(|_| Error::new(Code::SourceConfig, "the webhook is not a URL"))?;
        address::gate(&url, self.allow_private)?;
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let pair = (HeaderName::try_from(*name), HeaderValue::try_from(value));
            let (Ok(name), Ok(value)) = pair else {
                return Err(Error::new(Code::SourceConfig, format!("the header {name} cannot be sent")));
            };
            all.insert(name, value);
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let sent = self.http.post(url).headers(all).body(body).send().await;
        Ok(sent.map_err(|e| unreachable(&e, &host, secrets))?.status().as_u16())
    }
}
