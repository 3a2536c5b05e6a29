//! Sends requests, and sends again what may be sent again.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};

use hakiri_aws::{Failure, Patience, Protocol, Service};
use hakiri_core::catalog::{CatalogError, CatalogResult};
use hakiri_core::time::Instant;
use serde::Deserialize;
use serde_json::Value;

use super::Settings;
use super::error::{Target, Verdict, never, odd, pause, spread};

/// The largest answer that is read (P7): 16 MB of items, and what JSON adds to them.
const PROTOCOL: Protocol =
    Protocol { service: "dynamodb", target: "DynamoDB_20120810", version: "1.0", answer: 96 << 20 };

/// An answer.
pub(super) struct Answer(hakiri_aws::Answer);

impl Answer {
    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> CatalogResult<T> {
        self.0.parse().ok_or_else(odd)
    }

    pub(super) fn date(&self) -> CatalogResult<Instant> {
        let none = || never("the answer has no date, which leases go by: is it DynamoDB?".to_owned());
        self.0.date().ok_or_else(none)
    }
}

/// Why a write did not go well.
pub(super) enum Refused {
    /// A condition does not hold; nothing was done.
    Unmet,
    /// Anything else.
    Failed(CatalogError),
}

pub(super) struct Client {
    service: Service,
    target: Target,
    /// Differs from one client to the other.
    seed: String,
    sent: AtomicU64,
}

impl Client {
    pub(super) fn new(settings: &Settings, seed: &str, patience: Patience) -> CatalogResult<Self> {
        let table = &settings.table;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if table.is_empty() || table.len() > 255 || !table.chars().all(plain) {
            return Err(never("the table's name is none that DynamoDB takes".to_owned()));
        }
        let service =
            Service::new(&PROTOCOL, &settings.place, settings.credentials.clone(), patience).map_err(never)?;
        let target = Target {
            endpoint: service.endpoint().to_owned(),
            table: table.clone(),
            region: settings.place.region.clone(),
        };
        Ok(Self { service, target, seed: seed.to_owned(), sent: AtomicU64::new(0) })
    }

    pub(super) fn table(&self) -> &str {
        &self.target.table
    }

    /// A request that changes nothing, or that may happen any number of times.
    pub(super) async fn read(&self, operation: &str, body: &Value) -> CatalogResult<Answer> {
        let mut attempt = 0;
        loop {
            let verdict = match self.once(operation, body).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.target.judge(failure),
            };
            let Some(pause) = pause(&verdict, attempt, self.salt()) else {
                return Err(match verdict {
                    Verdict::Busy(e) | Verdict::Refused(e) => e,
                    Verdict::Open { reason, .. } => CatalogError::Unavailable { reason, retry_after: 5 },
                    Verdict::Unmet => odd(),
                });
            };
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// A write: sent again only where the answer says that nothing was done.
    pub(super) async fn write(&self, operation: &str, body: &Value) -> Result<Answer, Refused> {
        let mut attempt = 0;
        loop {
            let verdict = match self.once(operation, body).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.target.judge(failure),
            };
            match (verdict, attempt) {
                (Verdict::Unmet, _) => return Err(Refused::Unmet),
                (Verdict::Refused(e), _) => return Err(Refused::Failed(e)),
                (Verdict::Open { reason, .. }, _) => return Err(Refused::Failed(CatalogError::OutcomeUnknown(reason))),
                (verdict @ Verdict::Busy(_), attempt) => match pause(&verdict, attempt, self.salt()) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => {
                        let Verdict::Busy(e) = verdict else { return Err(Refused::Failed(odd())) };
                        return Err(Refused::Failed(e));
                    }
                },
            }
            attempt += 1;
        }
    }

    /// Waits for about so long.
    pub(super) async fn wait(&self, millis: u64) {
        tokio::time::sleep(spread(millis, self.salt())).await;
    }

    fn salt(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.seed, std::process::id(), self.sent.fetch_add(1, Ordering::Relaxed)).hash(&mut hasher);
        hasher.finish()
    }

    async fn once(&self, operation: &str, body: &Value) -> Result<Answer, Failure> {
        self.service.call(operation, body).await.map(Answer)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.target).finish()
    }
}
