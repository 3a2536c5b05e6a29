//! The project's secrets in one secret of Secrets Manager: a JSON object of names and texts.
//!
//! Read when the first of them is wanted, again when what is known is older than five minutes, and at once when a source
//! refused a credential ([`SecretSource::refresh`]). When it cannot be read again, what is known goes on being used: the
//! service's bad hour is no reason to stop, and a value that was changed shows as a refusal.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hakiri_aws::secrets::Stored;
use hakiri_core::codes::Code;
use hakiri_core::secret::{Secret, Secrets};
use hakiri_core::time::{Clock, Instant};
use hakiri_core::{Error, Result};
use hakiri_engine::engine::SecretSource;
use tokio::sync::Mutex;

use crate::environment::{EnvironmentSecrets, variable};
use crate::logging;

/// The variable with the secret's ARN.
const VARIABLE: &str = "HAKIRI_SECRETS";

/// How long what was read counts as fresh.
const FRESH_MS: i64 = 5 * 60_000;

/// How long after a change whoever is refused may still have used what was there before: a step takes a while.
const RECENT_MS: i64 = 60 * 60_000;

/// How long after it could not be read again until the next try.
const PAUSE_MS: i64 = 30_000;

/// Where the process's secrets come from: the environment, and behind it the secret that `HAKIRI_SECRETS` names.
///
/// # Errors
/// `HK0115` when the variable is no ARN of a secret, or there are no credentials.
pub fn secrets(environment: EnvironmentSecrets, clock: &Arc<dyn Clock>) -> Result<Arc<dyn SecretSource>> {
    let Some(arn) = variable(VARIABLE) else { return Ok(Arc::new(environment)) };
    let stored = Stored::new(&arn, &variable).map_err(|e| e.at(VARIABLE))?;
    Ok(Arc::new(Managed { environment, stored, clock: clock.clone(), known: Mutex::default() }))
}

#[derive(Debug)]
struct Managed {
    environment: EnvironmentSecrets,
    stored: Stored,
    clock: Arc<dyn Clock>,
    known: Mutex<Option<Known>>,
}

/// What was read.
#[derive(Debug)]
struct Known {
    values: BTreeMap<String, Secret>,
    /// When to read again.
    until: Instant,
    /// When it was last found that a value had changed.
    changed: Option<Instant>,
}

impl Managed {
    /// Reads the secret, and notes whether any value differs from what was known.
    async fn read(&self, known: &mut Option<Known>) -> Result<()> {
        let values = values(&self.stored.read().await?)?;
        let now = self.clock.now();
        let changed = match known.as_ref() {
            Some(known) if known.values == values => known.changed,
            Some(_) => Some(now),
            None => None,
        };
        if known.is_none() || changed == Some(now) {
            // No line of the log may hold one, those that were never used included.
            logging::keep_secret(Secrets::new(values.clone()));
        }
        *known = Some(Known { values, until: now.plus_millis(FRESH_MS), changed });
        Ok(())
    }
}

#[async_trait]
impl SecretSource for Managed {
    async fn secrets(&self, names: &[String]) -> Result<Secrets> {
        let first = self.environment.secrets(names).await?;
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        match known.as_mut() {
            None => self.read(&mut known).await?,
            // A clock that went back says nothing about age.
            Some(old) if now >= old.until || old.until.millis() - now.millis() > FRESH_MS => {
                old.until = now.plus_millis(PAUSE_MS);
                if let Err(e) = self.read(&mut known).await {
                    tracing::warn!(code = %e.code(), "going on with the secrets as they were read before: {e}");
                }
            }
            Some(_) => {}
        }
        let wanted = |name: &String| names.contains(name) || name.starts_with("HAKIRI_");
        let values = known.iter().flat_map(|known| &known.values).filter(|(name, _)| wanted(name));
        Ok(first.or(Secrets::new(values.map(|(name, value)| (name.clone(), value.clone())))))
    }

    async fn refresh(&self) -> Result<bool> {
        let mut known = self.known.lock().await;
        self.read(&mut known).await?;
        // Of several steps that were refused at once, each has used the old value, and only one finds the new one.
        let changed = known.as_ref().and_then(|known| known.changed);
        Ok(changed.is_some_and(|at| self.clock.now().millis() - at.millis() < RECENT_MS))
    }
}

/// The values of a JSON object of texts. Empty ones are none, as in the environment.
fn values(secret: &Secret) -> Result<BTreeMap<String, Secret>> {
    // The parser's own message could quote it.
    let object: BTreeMap<String, String> = serde_json::from_str(secret.expose())
        .map_err(|_| Error::new(Code::SecretsShape, "the project's secret is not a JSON object of texts"))?;
    Ok(object
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, Secret::new(value)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_and_are_never_quoted() {
        let read = values(&Secret::new(r#"{"A":"one","B":""}"#)).unwrap();
        assert_eq!(read, [("A".to_owned(), Secret::new("one"))].into());
        for text in ["sekrit", r#"["sekrit"]"#, r#"{"A":{"B":"sekrit"}}"#, r#"{"sekrit":1}"#] {
            let error = values(&Secret::new(text)).unwrap_err();
            assert_eq!(error.code(), Code::SecretsShape);
            assert!(!format!("{error:?}").contains("sekrit"), "{error:?}");
        }
    }
}
