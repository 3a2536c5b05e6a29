//! A database of a test's own on the shared server.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::Project;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A connection of a test's. Dropped, it rolls back.
pub struct Connection {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Connection {
    pub fn open(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls)).unwrap();
        runtime.spawn(connection);
        Self { runtime, client }
    }

    /// Runs statements; the rows they give, as the server prints them.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let messages =
            self.runtime.block_on(self.client.simple_query(sql)).unwrap_or_else(|e| panic!("{sql}: {e} {e:?}"));
        let row = |m: &SimpleQueryMessage| match m {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
            _ => None,
        };
        messages.iter().filter_map(row).collect()
    }

    /// The one value of a query.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        self.sql(sql).remove(0).remove(0).unwrap()
    }
}

/// A database that goes with its test.
pub struct Db {
    pub name: String,
    pub connection: Connection,
}

impl Db {
    /// Of the server's own encoding and linguistic order of texts.
    pub fn new(setup: &str) -> Self {
        Self::with("", setup)
    }

    /// With further options of `create database`.
    pub fn with(options: &str, setup: &str) -> Self {
        let name = format!("hakiri_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Connection::open(&hakiri_sim::postgres::shared()).sql(&format!("create database {name} {options}"));
        let connection = Connection::open(&url_of(&name, None));
        let db = Self { name, connection };
        db.sql(setup);
        db
    }

    /// The URL of the superuser.
    pub fn url(&self) -> String {
        url_of(&self.name, None)
    }

    /// The URL of another user, with a password.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        url_of(&self.name, Some((user, password)))
    }

    /// Where its server listens.
    pub fn address(&self) -> String {
        let url = url::Url::parse(&self.url()).unwrap();
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
    }

    /// Its URL by way of another address.
    pub fn url_at(&self, address: &str) -> String {
        let mut url = url::Url::parse(&self.url()).unwrap();
        let (host, port) = address.split_once(':').unwrap();
        url.set_host(Some(host)).unwrap();
        url.set_port(Some(port.parse().unwrap())).unwrap();
        url.into()
    }

    #[track_caller]
    pub fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.connection.sql(sql)
    }

    /// A second connection.
    pub fn connect(&self) -> Connection {
        Connection::open(&self.url())
    }

    /// A project with one pipeline `p` on this database, its manifest going on with `more`.
    pub fn project(&self, config: &str, more: &str) -> Project {
        let project = Project::new(&manifest(config, more));
        secret(&project, &self.url());
        project
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let sql = format!("drop database {} with (force)", self.name);
        Connection::open(&hakiri_sim::postgres::shared()).sql(&sql);
    }
}

/// `config` is what stands beside the URL, as TOML with a comma in front.
pub fn manifest(config: &str, more: &str) -> String {
    format!(
        "[[pipeline]]\nid = \"p\"\nsecrets = [\"DATABASE_URL\"]\n\
         source = {{ connector = \"postgres\", config = {{ url = \"${{DATABASE_URL}}\"{config} }} }}\n{more}\n"
    )
}

/// Gives a project the URL of its database.
pub fn secret(project: &Project, url: &str) {
    project.write(".env", format!("DATABASE_URL={url}\n"));
    let path = project.path().join(".env");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn url_of(database: &str, user: Option<(&str, &str)>) -> String {
    let mut url = url::Url::parse(&hakiri_sim::postgres::shared()).unwrap();
    url.set_path(database);
    if let Some((user, password)) = user {
        url.set_username(user).unwrap();
        url.set_password(Some(password)).unwrap();
    }
    url.set_query(Some("sslmode=disable"));
    url.to_string()
}
