//! A catalog behind HTTP: a Durable Object of the Worker that `hakiri deploy cloudflare` makes. See ADR 0020.
//!
//! The object keeps the same versioned texts as the other adapters and compares versions in one transaction of its own;
//! each method is one request. There are two doors to it, which speak the same: the private host name that only the
//! container of the deployment can reach, and a public address behind a token.
//!
//! What is sent has an outcome that is known only when the answer is there. So a write that got no answer, or one that
//! something in between made up, is [`CatalogError::OutcomeUnknown`] (C8) and is never sent again from here; a read is.

mod client;
mod error;
pub mod protocol;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hakiri_core::catalog::{CatalogError, CatalogResult, Info};
use hakiri_core::secret::Secret;
use hakiri_core::time::Instant;

use crate::RecordCatalog;
use crate::records::{Batch, Moment, Records, Scan, Scanned, Written};
use client::Client;
use error::Failure;
use protocol::{Informed, Request};

/// How many keys one batch may touch: what the object does well within the time that the platform gives a request.
const MAX_BATCH: usize = 1000;

/// How patient a client is.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// How long a request may take, with its answer: a large one over a slow line too.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), patience: Duration::from_secs(60) }
    }
}

/// Opens the catalog at an address (`https://WORKER/catalog`, or the private `http://catalog.hakiri`), or creates it.
/// `new_id` becomes the identity of a catalog that is created here, and is not used otherwise; it must be unique in the
/// world. A proxy that the environment names is used.
///
/// # Errors
/// `Unavailable` when it is out of reach (with the seconds to wait, or 0 when waiting will not help: a wrong address or
/// token), `Newer` when a newer version made the catalog, `Corrupt` when its answer makes no sense.
pub async fn open(url: &str, token: Option<Secret>, new_id: &str) -> CatalogResult<RecordCatalog<Http>> {
    open_with(url, token, new_id, Options::default()).await
}

/// As [`open`], with options.
///
/// # Errors
/// As [`open`].
pub async fn open_with(
    url: &str,
    token: Option<Secret>,
    new_id: &str,
    options: Options,
) -> CatalogResult<RecordCatalog<Http>> {
    Http::open(Client::new(url, token, &options)?, Some(new_id)).await.map(RecordCatalog::new)
}

/// Opens the catalog at an address without creating one.
///
/// # Errors
/// As [`open`]; `NotFound` when there is no catalog.
pub async fn open_reader(url: &str, token: Option<Secret>) -> CatalogResult<RecordCatalog<Http>> {
    Http::open(Client::new(url, token, &Options::default())?, None).await.map(RecordCatalog::new)
}

/// Records behind HTTP. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Http {
    client: Arc<Client>,
    id: Arc<str>,
}

impl Http {
    async fn open(client: Client, new_id: Option<&str>) -> CatalogResult<Self> {
        let informed = informed(&client, new_id).await?;
        Ok(Self { client: Arc::new(client), id: informed.id.into() })
    }
}

/// Creating may be repeated: whoever comes second finds what the first one made.
async fn informed(client: &Client, new_id: Option<&str>) -> CatalogResult<Informed> {
    protocol::informed(&client.read(Request::info(new_id)?).await.map_err(Failure::told)?)
}

#[async_trait]
impl Records for Http {
    async fn read(&self, keys: &[String]) -> CatalogResult<Moment> {
        let body = self.client.read(Request::read(keys)?).await.map_err(Failure::told)?;
        protocol::moment(&body, keys.len())
    }

    async fn write(&self, batch: &Batch) -> CatalogResult<Written> {
        let body = self.client.once(&Request::write(batch)?).await.map_err(Failure::written)?;
        // It has ended well: an answer that cannot be read is no reason to say that it did not.
        protocol::written(&body).map_err(|e| Failure::Unreadable(e).written())
    }

    async fn scan(&self, scan: &Scan) -> CatalogResult<Scanned> {
        let body = self.client.read(Request::scan(scan)?).await.map_err(Failure::told)?;
        protocol::scanned(&body)
    }

    async fn info(&self) -> CatalogResult<Info> {
        let Informed { version, id, now } = informed(&self.client, None).await?;
        if id != *self.id {
            return Err(CatalogError::Corrupt("another catalog has taken the place of this one".to_owned()));
        }
        Ok(Info { adapter: "durable-object", version, id, now: Instant::from_millis(now) })
    }

    fn max_batch(&self) -> usize {
        MAX_BATCH
    }
}
