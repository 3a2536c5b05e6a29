//! Catalogs at AWS by their URL:
//!
//! - `dynamodb://TABLE`, with `?region=` where the environment names none or another;
//! - `postgres://USER@HOST:PORT/DATABASE?auth=rds-iam`, with `&region=` where the host's name does not say it: the password
//!   is a token, made for each connection. `&admin=ARN` names the secret of who may make that user, if it is not there;
//! - `rds-secret:ARN`: user, password, host, port and database are what that secret says, with `?host=`, `&port=`,
//!   `&dbname=` for one that holds user and password alone, and the parameters of a PostgreSQL URL.

use std::sync::Arc;

use hakiri_aws::credentials::{self, Credentials};
use hakiri_aws::secrets::Stored;
use hakiri_aws::{Place, place};
use hakiri_catalog::RecordCatalog;
use hakiri_catalog::dynamodb::{self, DynamoDb, Settings};
use hakiri_core::catalog::CatalogResult;
use hakiri_core::codes::Code;
use hakiri_core::error::Kind;
use hakiri_core::{Error, Result};
use hakiri_postgres::Address;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::logins::{Found, Iam, Kept};
use crate::environment::variable;

/// A table of DynamoDB, and whose items are meant.
pub type Table = Settings;

/// Opens it, and creates the project's catalog in it.
///
/// # Errors
/// Any catalog error.
pub async fn open(table: Table, new_id: &str) -> CatalogResult<RecordCatalog<DynamoDb>> {
    dynamodb::open(table, new_id).await
}

/// Opens it for reading.
///
/// # Errors
/// Any catalog error.
pub async fn open_reader(table: Table) -> CatalogResult<RecordCatalog<DynamoDb>> {
    dynamodb::open_reader(table).await
}

/// The table of a URL `dynamodb://TABLE`; none for another URL.
///
/// # Errors
/// `HK0110` for a URL that says something else besides or no region, `HK0204` without credentials.
pub fn table(url: &str, project: &str) -> Result<Option<Table>> {
    let Some(rest) = url.strip_prefix("dynamodb://") else { return Ok(None) };
    let (table, query) = rest.split_once('?').unwrap_or((rest, ""));
    let ([asked], others) = take(query, ["region"]);
    if !others.is_empty() {
        return Err(shape("the URL of a table has a parameter that is not known"));
    }
    let table = table.strip_suffix('/').unwrap_or(table).to_owned();
    let region = place::region(asked.as_deref(), &variable)
        .ok_or_else(|| shape("the URL of a table names no region, and neither does the environment"))?;
    let place = Place { region, endpoint: place::endpoint("DYNAMODB", &variable) };
    Ok(Some(Table { table, project: project.to_owned(), place, credentials: credentials(Code::CatalogUnavailable)? }))
}

fn shape(what: &str) -> Error {
    Error::new(Code::ManifestValue, what).with_hint("write dynamodb://TABLE or dynamodb://TABLE?region=eu-central-1")
}

fn credentials(code: Code) -> Result<Credentials> {
    let none = |e: credentials::Missing| Error::new(code, e.to_string()).with_kind(Kind::Usage);
    Credentials::of(&variable).map_err(|e| none(e).with_hint(credentials::HINT))
}

/// The address of a database whose logins come from AWS; none for another URL.
///
/// # Errors
/// `HK1006` for a URL that cannot be used, `HK1003` without credentials for tokens; for a secret as [`Stored::read`], and
/// `HK0116` where it does not say where the database is.
pub async fn database(url: &str) -> Result<Option<Address>> {
    if let Some(rest) = url.strip_prefix("rds-secret:") {
        let (arn, query) = rest.split_once('?').unwrap_or((rest, ""));
        return kept(Stored::new(arn, &variable)?, query).await.map(Some);
    }
    let Some((start, query)) = url.split_once('?') else { return Ok(None) };
    let ([auth, region, admin], others) = take(query, ["auth", "region", "admin"]);
    let Some(auth) = auth else { return Ok(None) };
    if auth != "rds-iam" {
        return Err(Error::new(Code::PostgresUrl, "the URL's parameter `auth` is not known")
            .with_hint("write auth=rds-iam, or leave it out and give a password"));
    }
    let address = Address::parse(&format!("{start}{}", again(&others)))?;
    let admin = admin.map(|arn| Stored::new(&arn, &variable)).transpose()?;
    let iam = Iam::new(credentials(Code::PostgresAuth)?, place::region(region.as_deref(), &variable), admin)?;
    address.with_logins(Arc::new(iam)).map(Some)
}

/// The address in a secret, with what a query says instead.
async fn kept(stored: Stored, query: &str) -> Result<Address> {
    let ([host, port, dbname], others) = take(query, ["host", "port", "dbname"]);
    let found = Found::of(&stored.read().await?)?;
    let missing = |what: &str| {
        Error::new(Code::SecretsShape, format!("the secret does not say the database's {what}")).with_hint(format!(
            "add it to the URL, rds-secret:ARN?{what}=…, or to a deployment by database_host and database_name"
        ))
    };
    let host = host.or(found.host).ok_or_else(|| missing("host"))?;
    let port = port.or(found.port.map(|port| port.to_string())).unwrap_or_else(|| "5432".to_owned());
    let database = dbname.or(found.database).ok_or_else(|| missing("dbname"))?;
    let plain = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (user, database) = (plain(&found.login.user), plain(&database));
    let address = Address::parse(&format!("postgres://{user}@{host}:{port}/{database}{}", again(&others)))?;
    address.with_logins(Arc::new(Kept::new(stored, found.login)))
}

/// Takes parameters out of a query by their names; what is left is as it was.
fn take<'a, const N: usize>(query: &'a str, names: [&str; N]) -> ([Option<String>; N], Vec<&'a str>) {
    let (mut taken, mut others) = ([const { None }; N], Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match names.iter().zip(&mut taken).find(|(known, _)| **known == name) {
            Some((_, taken)) => *taken = Some(value.to_owned()),
            None => others.push(pair),
        }
    }
    (taken, others)
}

/// What is left of a query, as the end of a URL.
fn again(others: &[&str]) -> String {
    if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_ours_are_taken_out_and_the_others_stay() {
        let (taken, others) = take("sslmode=require&auth=rds-iam&x=a%20b&region", ["auth", "region"]);
        assert_eq!(taken, [Some("rds-iam".to_owned()), Some(String::new())]);
        assert_eq!(again(&others), "?sslmode=require&x=a%20b");
        assert_eq!(again(&[]), "");
    }

    #[tokio::test]
    async fn other_urls_are_not_ours() {
        for url in ["postgres://u@h/d", "postgres://u@h/d?sslmode=require", "postgres://u:p@h/d"] {
            assert!(table(url, "shop").unwrap().is_none() && database(url).await.unwrap().is_none(), "{url}");
        }
        for (url, code) in
            [("postgres://u@h/d?auth=kerberos", Code::PostgresUrl), ("rds-secret:shop", Code::SecretsRefused)]
        {
            assert_eq!(database(url).await.unwrap_err().code(), code, "{url}");
        }
        assert_eq!(table("dynamodb://t?regio=x", "shop").unwrap_err().code(), Code::ManifestValue);
    }
}
