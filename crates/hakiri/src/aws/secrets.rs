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
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbCdEf";
    const NAME: &str = "A_TOKEN_OF_THIS_TEST";

    /// Stands until it is set.
    #[derive(Debug)]
    struct Stopped(AtomicI64);

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            Instant::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    /// A Secrets Manager with one secret, out of order while it holds none, and whoever asks it.
    struct Double {
        value: Arc<std::sync::Mutex<Option<&'static str>>>,
        asked: Arc<AtomicUsize>,
        clock: Arc<Stopped>,
        managed: Managed,
    }

    impl Double {
        fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let value = Arc::new(std::sync::Mutex::new(None));
            let asked = Arc::new(AtomicUsize::new(0));
            let (held, count) = (value.clone(), asked.clone());
            std::thread::spawn(move || {
                for mut stream in listener.incoming().map_while(std::result::Result::ok) {
                    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                    while !request.ends_with(b"}") {
                        let n = stream.read(&mut buffer).unwrap();
                        assert!(n > 0);
                        request.extend_from_slice(&buffer[..n]);
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let held: Option<&str> = *held.lock().unwrap();
                    let (status, body) = held.map_or((503, String::new()), |value| {
                        let secret = serde_json::json!({ NAME: value }).to_string();
                        (200, serde_json::json!({ "SecretString": secret }).to_string())
                    });
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
                }
            });
            let variable = |name: &str| match name {
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("x".to_owned()),
                "AWS_ENDPOINT_URL_SECRETS_MANAGER" => Some(url.clone()),
                _ => None,
            };
            let clock = Arc::new(Stopped(AtomicI64::new(1_800_000_000_000)));
            let managed = Managed {
                environment: EnvironmentSecrets::new(std::path::Path::new("/nonexistent")),
                stored: Stored::new(ARN, &variable).unwrap(),
                clock: clock.clone(),
                known: Mutex::default(),
            };
            Self { value, asked, clock, managed }
        }

        fn holds(&self, value: Option<&'static str>) {
            *self.value.lock().unwrap() = value;
        }

        fn pass(&self, millis: i64) {
            self.clock.0.fetch_add(millis, Ordering::SeqCst);
        }

        /// What a step is given, and how often the service has been asked by then.
        async fn given(&self) -> (String, usize) {
            let secrets = self.managed.secrets(&[NAME.to_owned()]).await.unwrap();
            (secrets.get(NAME).unwrap().expose().to_owned(), self.asked.load(Ordering::SeqCst))
        }
    }

    fn is(value: &str, asked: usize) -> (String, usize) {
        (value.to_owned(), asked)
    }

    #[tokio::test]
    async fn what_was_read_is_used_for_five_minutes_and_read_again_then() {
        let double = Double::new();
        double.holds(Some("one"));
        assert_eq!(double.given().await, is("one", 1));
        double.holds(Some("two"));
        double.pass(FRESH_MS - 1);
        assert_eq!(double.given().await, is("one", 1));
        double.pass(1);
        assert_eq!(double.given().await, is("two", 2));
        // What was read anew is as fresh as what was read first.
        double.pass(FRESH_MS - 1);
        assert_eq!(double.given().await, is("two", 2));
    }

    #[tokio::test]
    async fn what_is_known_is_used_while_the_service_is_away() {
        let double = Double::new();
        // Without anything known there is nothing to go on with. A try is three requests.
        let error = double.managed.secrets(&[NAME.to_owned()]).await.unwrap_err();
        assert_eq!((error.code(), double.asked.swap(0, Ordering::SeqCst)), (Code::SecretsUnavailable, 3));
        double.holds(Some("one"));
        assert_eq!(double.given().await, is("one", 1));
        double.holds(None);
        double.pass(FRESH_MS);
        assert_eq!(double.given().await, is("one", 4));
        // Not every step waits for it: it is left alone for a while.
        double.holds(Some("two"));
        double.pass(PAUSE_MS - 1);
        assert_eq!(double.given().await, is("one", 4));
        double.pass(1);
        assert_eq!(double.given().await, is("two", 5));
    }

    #[tokio::test]
    async fn a_clock_that_went_back_does_not_keep_what_is_old() {
        let double = Double::new();
        double.holds(Some("one"));
        assert_eq!(double.given().await, is("one", 1));
        double.holds(Some("two"));
        double.pass(-24 * 3_600_000);
        assert_eq!(double.given().await, is("two", 2));
        double.pass(FRESH_MS - 1);
        assert_eq!(double.given().await, is("two", 2));
    }

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
