//! A database of its own in the PostgreSQL server of the test run.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Gone when dropped.
pub struct Database {
    server: url::Url,
    name: String,
}

impl Database {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = url::Url::parse(&hakiri_sim::postgres::shared()).unwrap();
        let name = format!("acceptance_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let database = Self { server, name };
        psql(database.server.as_str(), &format!("create database {}", database.name));
        database
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.into()
    }

    /// Where its server listens.
    pub fn address(&self) -> String {
        format!("{}:{}", self.server.host_str().unwrap(), self.server.port().unwrap())
    }

    /// Its URL by way of another address.
    pub fn url_at(&self, address: &str) -> String {
        let mut url = url::Url::parse(&self.url()).unwrap();
        let (host, port) = address.split_once(':').unwrap();
        url.set_host(Some(host)).unwrap();
        url.set_port(Some(port.parse().unwrap())).unwrap();
        url.into()
    }

    /// Runs SQL in it; what it prints, unaligned.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        psql(&self.url(), sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("drop database if exists {} with (force)", self.name);
        let _ = Command::new("psql").args(["-qXAt", "-d", self.server.as_str(), "-c", &sql]).output();
    }
}

#[track_caller]
fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql").args(["-qXAt", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
