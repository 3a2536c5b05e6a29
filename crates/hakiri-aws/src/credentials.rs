//! What requests are signed with: the chain of `object_store`, with what it reads of the environment said explicitly.
//!
//! In this order: keys in the environment, a token file with a role (web identity), the endpoint that a container is
//! given, the machine's own role. The last one is asked for only where nothing points elsewhere: on a machine with a
//! stand-in, or with `AWS_EC2_METADATA_DISABLED`, nobody answers there, and waiting would hide what is missing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key, AwsCredential, AwsCredentialProvider};
use object_store::{BackoffConfig, ClientOptions, RetryConfig, StaticCredentialProvider};

use crate::Variable;

/// What requests are signed with. Clones share what was fetched.
#[derive(Clone)]
pub struct Credentials(AwsCredentialProvider);

/// There are none: nothing in the environment says where to get them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing;

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there are no credentials for AWS")
    }
}

/// The hint for [`Missing`].
pub const HINT: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment; for a profile: eval \"$(aws configure export-credentials --format env)\"";

/// One request for credentials: whoever gives them is near.
const PATIENCE: Duration = Duration::from_secs(5);

impl Credentials {
    /// As the environment says.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn of(variable: Variable<'_>) -> Result<Self, Missing> {
        if let Some(keys) = keys(variable) {
            return keys.map(Self::fixed);
        }
        let builder = chain(variable).ok_or(Missing)?;
        builder.build().map(|s3| Self(s3.credentials().clone())).map_err(|_| Missing)
    }

    /// Those that never change.
    pub fn fixed(credential: AwsCredential) -> Self {
        Self(Arc::new(StaticCredentialProvider::new(credential)))
    }

    /// For clients that take them from here.
    pub fn provider(&self) -> AwsCredentialProvider {
        Arc::clone(&self.0)
    }

    /// The ones to sign with now.
    ///
    /// # Errors
    /// What is known of why there are none: nothing of what an endpoint of credentials answered.
    pub(crate) async fn get(&self) -> Result<Arc<AwsCredential>, String> {
        let none = |_| "there are no credentials for AWS, or where they come from does not answer".to_owned();
        let credential = self.0.get_credential().await.map_err(none)?;
        // Signers take for granted that a header can hold these.
        let sendable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !sendable(&credential.key_id) || !credential.token.as_deref().is_none_or(sendable) {
            return Err("the credentials for AWS hold characters that cannot be sent".to_owned());
        }
        Ok(credential)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The keys in the environment; of two that belong together one alone is none.
fn keys(variable: Variable<'_>) -> Option<Result<AwsCredential, Missing>> {
    match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (None, None) => None,
        (Some(key_id), Some(secret_key)) => {
            Some(Ok(AwsCredential { key_id, secret_key, token: variable("AWS_SESSION_TOKEN") }))
        }
        _ => Some(Err(Missing)),
    }
}

/// What `object_store` is told of where to get them; none where there is nobody to ask.
fn chain(variable: Variable<'_>) -> Option<AmazonS3Builder> {
    let given: Vec<_> = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", Key::RoleArn),
        ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
        ("AWS_ENDPOINT_URL_STS", Key::StsEndpoint),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Key::ContainerCredentialsRelativeUri),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Key::ContainerCredentialsFullUri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Key::ContainerAuthorizationTokenFile),
    ]
    .into_iter()
    .filter_map(|(name, key)| Some((key, variable(name)?)))
    .collect();
    let has = |key: &Key| given.iter().any(|(given, _)| given == key);
    let pointed = has(&Key::WebIdentityTokenFile) && has(&Key::RoleArn)
        || has(&Key::ContainerCredentialsRelativeUri)
        || has(&Key::ContainerCredentialsFullUri) && has(&Key::ContainerAuthorizationTokenFile);
    let elsewhere = variable("AWS_ENDPOINT_URL").is_some()
        || variable("AWS_ENDPOINT_URL_S3").is_some()
        || variable("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if !pointed && elsewhere {
        return None;
    }
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2.0 };
    let builder = AmazonS3Builder::new()
        // It is never asked for: only the credentials are taken from what is built.
        .with_bucket_name("credentials")
        .with_region(crate::place::region(None, variable).unwrap_or_else(|| "us-east-1".to_owned()))
        .with_client_options(ClientOptions::new().with_timeout(PATIENCE).with_connect_timeout(PATIENCE))
        .with_retry(RetryConfig { backoff, max_retries: 3, retry_timeout: 4 * PATIENCE });
    Some(given.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &'static [(&'static str, &'static str)]) -> Result<Credentials, Missing> {
        let find = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Credentials::of(&find)
    }

    #[test]
    fn nobody_is_asked_where_nobody_can_answer() {
        for set in [
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")][..],
            &[("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1"), ("AWS_ROLE_ARN", "arn")],
            &[("AWS_EC2_METADATA_DISABLED", "True")],
            &[("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")],
            &[("AWS_SECRET_ACCESS_KEY", "sekrit")],
        ] {
            assert_eq!(of(set).err(), Some(Missing), "{set:?}");
        }
        for set in [
            &[][..],
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")],
            &[
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
                ("AWS_ROLE_ARN", "arn"),
                ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ],
            &[("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "sekrit")],
        ] {
            of(set).unwrap();
        }
    }

    #[tokio::test]
    async fn keys_that_cannot_be_sent_are_refused_and_nothing_is_shown() {
        let bad = AwsCredential { key_id: "a\nb".to_owned(), secret_key: "sekrit".to_owned(), token: None };
        let said = format!("{:?}", Credentials::fixed(bad).get().await);
        assert!(said.contains("cannot be sent") && !said.contains("sekrit"), "{said}");
        let good =
            of(&[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "sekrit"), ("AWS_SESSION_TOKEN", "sekrit")])
                .unwrap();
        let got = good.get().await.unwrap();
        assert_eq!((got.key_id.as_str(), got.token.as_deref()), ("AKID", Some("sekrit")));
        assert!(!format!("{good:?}{got:?}").contains("sekrit"));
    }
}
