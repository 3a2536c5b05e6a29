//! `GetSecretValue` of Secrets Manager.

use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::secret::Secret;
use serde::Deserialize;
use serde_json::json;

use crate::service::{Answer, Failure, Problem};
use crate::{Credentials, Patience, Place, Protocol, Service, Variable, credentials, place};

/// A secret holds 64 KiB; JSON may write each byte as six.
const MANAGER: Protocol =
    Protocol { service: "secretsmanager", target: "secretsmanager", version: "1.1", answer: 1 << 20 };

/// How often a secret is asked for that was not given for a reason that may pass, and how long the pauses between are.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// One secret.
#[derive(Debug)]
pub struct Stored {
    service: Service,
    arn: String,
}

#[derive(Deserialize)]
struct Value {
    #[serde(rename = "SecretString")]
    text: Option<String>,
}

impl Stored {
    /// The secret of an ARN (`arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME`), whose region it names.
    ///
    /// # Errors
    /// `HK0115` when it is no such ARN, or there are no credentials.
    pub fn new(arn: &str, variable: Variable<'_>) -> Result<Self> {
        let parts: Vec<_> = arn.splitn(7, ':').collect();
        let region = match parts[..] {
            ["arn", _, "secretsmanager", region, _, "secret", name] if !name.is_empty() => region,
            _ => {
                let shape = "write arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME, as the console shows it";
                return Err(Error::new(Code::SecretsRefused, "the ARN is not one of a secret").with_hint(shape));
            }
        };
        let place = Place { region: region.to_owned(), endpoint: place::endpoint("SECRETS_MANAGER", variable) };
        let credentials = Credentials::of(variable)
            .map_err(|e| Error::new(Code::SecretsRefused, e.to_string()).with_hint(credentials::HINT))?;
        let service = Service::new(&MANAGER, &place, credentials, Patience::default())
            .map_err(|reason| Error::new(Code::SecretsRefused, reason))?;
        Ok(Self { service, arn: arn.to_owned() })
    }

    /// Its current value. Asked for up to three times.
    ///
    /// # Errors
    /// `HK0114` when the service is out of reach, `HK0115` when it does not give the secret, `HK0116` when there is none
    /// in it that is text.
    pub async fn read(&self) -> Result<Secret> {
        let body = json!({ "SecretId": self.arn });
        let mut pauses = PAUSES.iter();
        loop {
            match self.service.call("GetSecretValue", &body).await {
                Ok(answer) => return text(&answer).map_err(|e| e.at(self.name())),
                Err(failure) => {
                    let (error, again) = judged(failure);
                    match pauses.next().filter(|_| again) {
                        Some(pause) => tokio::time::sleep(*pause).await,
                        None => return Err(error.at(self.name())),
                    }
                }
            }
        }
    }

    /// The name in the ARN, for messages: an account's number is nobody's business in a log.
    fn name(&self) -> String {
        format!("secret {}", self.arn.rsplit(':').next().unwrap_or_default())
    }
}

fn text(answer: &Answer) -> Result<Secret> {
    let odd = || Error::new(Code::SecretsShape, "the secret holds no text");
    answer.parse::<Value>().and_then(|value| value.text).map(Secret::new).ok_or_else(odd)
}

/// What a failure means, and whether to try again.
fn judged(failure: Failure) -> (Error, bool) {
    let away = |reason: String| Error::new(Code::SecretsUnavailable, reason);
    match failure {
        Failure::Unsent { reason, lasting: true } | Failure::Unreadable(reason) => {
            (Error::new(Code::SecretsRefused, reason), false)
        }
        Failure::Unsent { reason, lasting: false } | Failure::Lost(reason) => (away(reason), true),
        // Whoever waited that long already does not wait for as long again.
        Failure::Silent(reason) => (away(reason), false),
        Failure::Answered(problem) => answered(&problem),
    }
}

fn answered(problem: &Problem) -> (Error, bool) {
    let code = problem.code.as_str();
    let refused = |text: String| (Error::new(Code::SecretsRefused, text), false);
    match code {
        _ if problem.status >= 500 => {
            (Error::new(Code::SecretsUnavailable, format!("the service answers {}", problem.status)), true)
        }
        "ThrottlingException" | "TooManyRequestsException" | "LimitExceededException" | "RequestLimitExceeded" => {
            (Error::new(Code::SecretsUnavailable, "the service takes no more requests at present"), true)
        }
        "ResourceNotFoundException" => refused("there is no such secret, or it has no value yet".to_owned()),
        "InvalidRequestException" => refused("the secret is to be deleted".to_owned()),
        "DecryptionFailure" => refused("the secret's key does not open it".to_owned()),
        "AccessDeniedException" => refused("the credentials may not read the secret".to_owned()),
        "" => refused(format!("what answers is not Secrets Manager (status {})", problem.status)),
        code => refused(format!("the secret is not given ({code})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbCdEf";

    fn variable(name: &str) -> Option<String> {
        let value = match name {
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "x",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn an_arn_says_where_its_secret_is() {
        let stored = Stored::new(ARN, &variable).unwrap();
        assert_eq!(stored.service.endpoint(), "https://secretsmanager.eu-west-1.amazonaws.com");
        assert_eq!(stored.name(), "secret shop-AbCdEf");
        for wrong in ["shop", "arn:aws:s3:::bucket", "arn:aws:secretsmanager:eu-west-1:1:secret:", &ARN[4..]] {
            assert_eq!(Stored::new(wrong, &variable).unwrap_err().code(), Code::SecretsRefused, "{wrong}");
        }
        assert_eq!(Stored::new(ARN, &|_| None).map(|_| ()).ok(), Some(()));
        let nobody = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "http://127.0.0.1:1".to_owned());
        assert_eq!(Stored::new(ARN, &nobody).unwrap_err().code(), Code::SecretsRefused);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let of = |status, body: &str| judged(Failure::Answered(Problem::new(status, body.as_bytes().to_vec())));
        for (status, kind, code, again) in [
            (500, "InternalServiceError", Code::SecretsUnavailable, true),
            (400, "ThrottlingException", Code::SecretsUnavailable, true),
            (400, "AccessDeniedException", Code::SecretsRefused, false),
            (400, "ResourceNotFoundException", Code::SecretsRefused, false),
            (403, "", Code::SecretsRefused, false),
        ] {
            let (error, tried) = of(status, &format!(r#"{{"__type":"{kind}","message":"sekrit"}}"#));
            assert_eq!((error.code(), tried), (code, again), "{kind}");
            assert!(!format!("{error:?}").contains("sekrit"));
        }
        assert!(judged(Failure::Lost("x".to_owned())).1);
        assert!(!judged(Failure::Silent("x".to_owned())).1);
    }
}
