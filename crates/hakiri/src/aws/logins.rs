//! Who signs in at a database of RDS.

use std::fmt;

use async_trait::async_trait;
use hakiri_aws::secrets::Stored;
use hakiri_aws::{Credentials, place, rds};
use hakiri_core::codes::Code;
use hakiri_core::secret::{Secret, Secrets};
use hakiri_core::time::Clock as _;
use hakiri_core::{Error, Result};
use hakiri_postgres::{Address, Login, Logins};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::environment::SystemClock;
use crate::logging;

/// Tokens of IAM: each lasts fifteen minutes, so that each connection gets one of its own.
///
/// In a new database nobody may use them yet, and nobody else reaches it to change that. So there may be a second secret,
/// the one that RDS keeps for whom it made the database for: when a token is refused, its login makes the user.
#[derive(Debug)]
pub(super) struct Iam {
    credentials: Credentials,
    /// For hosts whose names do not say it.
    region: Option<String>,
    /// Who may make users, until it has done so.
    admin: Mutex<Option<Stored>>,
}

impl Iam {
    /// `region` is for hosts whose name holds none.
    pub(super) fn new(credentials: Credentials, region: Option<String>, admin: Option<Stored>) -> Result<Self> {
        if region.as_deref().is_some_and(|region| !place::is_region(region)) {
            return Err(
                Error::new(Code::PostgresUrl, "the region is not one of AWS").with_hint("write region=eu-central-1")
            );
        }
        Ok(Self { credentials, region, admin: Mutex::new(admin) })
    }
}

/// The region in the name of an instance: `NAME.ID.REGION.rds.amazonaws.com`.
fn region_of(host: &str) -> Option<&str> {
    let lower = host.strip_suffix(".cn").unwrap_or(host).strip_suffix(".rds.amazonaws.com")?;
    lower.rsplit('.').next().filter(|region| place::is_region(region))
}

#[async_trait]
impl Logins for Iam {
    async fn login(&self, host: &str, port: u16, user: &str) -> Result<Login> {
        let region = region_of(host).or(self.region.as_deref()).ok_or_else(|| {
            Error::new(Code::PostgresUrl, "neither the host's name nor the environment says the database's region")
                .with_hint("add region=REGION to the URL, or set AWS_REGION")
        })?;
        let login = rds::Login { host, port, user, region };
        // What the server compares the token's time with is its own clock, so that ours must be the wall's.
        let token = rds::token(&self.credentials, &login, SystemClock.now()).await;
        let password = token.map_err(|reason| Error::new(Code::PostgresUnreachable, reason))?;
        Ok(Login { user: user.to_owned(), password })
    }

    async fn refused(&self, address: &Address, login: &Login) -> Result<bool> {
        let mut admin = self.admin.lock().await;
        let Some(stored) = &*admin else { return Ok(false) };
        let sql = new_user(&login.user, address.database().unwrap_or(&login.user))?;
        let address = address.signed_in_as(Found::of(&stored.read().await?)?.login);
        let client = hakiri_postgres::connect(&address, "hakiri set-up").await?;
        client.batch_execute(&sql).await.map_err(|e| hakiri_postgres::error(&e))?;
        tracing::info!("made the user {} in the database, who signs in with tokens", login.user);
        *admin = None;
        Ok(true)
    }
}

/// What lets a user sign in with tokens and make the catalog's schema. It may be carried out again, and by several at once.
fn new_user(user: &str, database: &str) -> Result<String> {
    let plain = |text: &str| {
        !text.is_empty()
            && text.len() <= 63
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    if !plain(user) || !plain(database) {
        return Err(Error::new(Code::PostgresUrl, "a user is made only where its name and the database's are plain")
            .with_hint("use letters, digits, `_` and `-` in both"));
    }
    Ok(format!(
        "SELECT pg_advisory_xact_lock(5154); \
         DO $$ BEGIN CREATE ROLE \"{user}\" LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; \
         GRANT rds_iam TO \"{user}\"; GRANT CONNECT, CREATE ON DATABASE \"{database}\" TO \"{user}\""
    ))
}

/// What the secret of a database holds.
pub(super) struct Found {
    pub(super) login: Login,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) database: Option<String>,
}

impl Found {
    /// # Errors
    /// `HK0116`, which quotes nothing of it.
    pub(super) fn of(secret: &Secret) -> Result<Self> {
        #[derive(Deserialize)]
        struct Fields {
            username: String,
            password: String,
            host: Option<String>,
            port: Option<Port>,
            dbname: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Port {
            Number(u16),
            Text(String),
        }
        let fields: Fields = serde_json::from_str(secret.expose()).map_err(|_| {
            Error::new(Code::SecretsShape, "the database's secret is not a JSON object with username and password")
        })?;
        let password = Secret::new(fields.password);
        logging::keep_secret(Secrets::new([("password".to_owned(), password.clone())]));
        let port = fields.port.and_then(|port| match port {
            Port::Number(port) => Some(port),
            Port::Text(text) => text.parse().ok(),
        });
        let login = Login { user: fields.username, password };
        Ok(Self { login, host: fields.host, port, database: fields.dbname })
    }
}

/// A user and a password in a secret, which somebody changes from time to time.
pub(super) struct Kept {
    stored: Stored,
    now: Mutex<Login>,
}

impl Kept {
    pub(super) fn new(stored: Stored, login: Login) -> Self {
        Self { stored, now: Mutex::new(login) }
    }
}

#[async_trait]
impl Logins for Kept {
    async fn login(&self, _: &str, _: u16, _: &str) -> Result<Login> {
        Ok(self.now.lock().await.clone())
    }

    async fn refused(&self, _: &Address, login: &Login) -> Result<bool> {
        let mut now = self.now.lock().await;
        // Another connection may have been refused before, and have found the new one.
        if *now == *login {
            *now = Found::of(&self.stored.read().await?)?.login;
        }
        Ok(*now != *login)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.stored).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_name_says_its_region() {
        assert_eq!(region_of("shop.abc.eu-west-1.rds.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region_of("shop.abc.cn-north-1.rds.amazonaws.com.cn"), Some("cn-north-1"));
        assert_eq!(region_of("db.internal"), None);
    }

    #[test]
    fn what_a_databases_secret_holds_is_read_and_never_quoted() {
        let of = |text: &str| Found::of(&Secret::new(text));
        let whole =
            of(r#"{"username":"u","password":"p","host":"h","port":5433,"dbname":"d","engine":"postgres"}"#).unwrap();
        assert_eq!((whole.login.user.as_str(), whole.host.as_deref(), whole.port), ("u", Some("h"), Some(5433)));
        let bare = of(r#"{"username":"u","password":"p","port":"5433"}"#).unwrap();
        assert_eq!((bare.port, bare.database), (Some(5433), None));
        for text in ["sekrit", r#"{"password":"sekrit"}"#, r#"{"username":"u","password":["sekrit"]}"#] {
            let error = of(text).map(|_| ()).unwrap_err();
            assert_eq!(error.code(), Code::SecretsShape);
            assert!(!format!("{error:?}").contains("sekrit"), "{error:?}");
        }
    }
}
