//! Logins that come from elsewhere: asked for each connection, and once more when one was refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hakiri_core::codes::Code;
use hakiri_core::error::Result;
use hakiri_core::secret::Secret;
use hakiri_postgres::{Address, Login, Logins, connect};
use hakiri_sim::door::Door;

/// Gives `canary1`, `canary2`, … one after the other.
#[derive(Debug, Default)]
struct Counted {
    given: AtomicUsize,
    renews: bool,
}

#[async_trait]
impl Logins for Counted {
    async fn login(&self, host: &str, port: u16, user: &str) -> Result<Login> {
        assert!(host == "127.0.0.1" && port > 0, "{host}:{port}");
        let n = self.given.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Login { user: user.to_owned(), password: Secret::new(format!("canary{n}")) })
    }

    async fn refused(&self, address: &Address, login: &Login) -> Result<bool> {
        assert_eq!((address.database(), login.user.as_str()), (Some("postgres"), "guest"));
        Ok(self.renews)
    }
}

/// A door that takes these words from `guest`, and one address of it.
fn door(words: &'static [&'static str], logins: Counted) -> (Door, Address) {
    let url = hakiri_sim::postgres::shared();
    let server = url.rsplit_once('@').unwrap().1.split('/').next().unwrap();
    let door = Door::before(server, move |shown| {
        (shown.user == "guest" && words.contains(&shown.password.as_str())).then(|| "hakiri".to_owned())
    });
    let address = Address::parse(&format!("postgres://guest@127.0.0.1:{}/postgres", door.port)).unwrap();
    (door, address.with_logins(Arc::new(logins)).unwrap())
}

fn words(door: &Door) -> Vec<String> {
    door.shown().into_iter().map(|shown| shown.password).collect()
}

#[tokio::test]
async fn each_connection_gets_a_login_of_its_own() {
    let (door, address) = door(&["canary1", "canary2", "canary3"], Counted::default());
    for _ in 0..3 {
        connect(&address, "test").await.unwrap().query_one("SELECT 1", &[]).await.unwrap();
    }
    assert_eq!(words(&door), ["canary1", "canary2", "canary3"]);
}

#[tokio::test]
async fn a_refused_login_is_replaced_once_where_there_is_another() {
    let (lucky, address) = door(&["canary2"], Counted { renews: true, ..Counted::default() });
    connect(&address, "test").await.unwrap();
    assert_eq!(words(&lucky), ["canary1", "canary2"]);
    for (renews, tries) in [(true, 2), (false, 1)] {
        let (door, address) = door(&[], Counted { renews, ..Counted::default() });
        let error = connect(&address, "test").await.unwrap_err();
        assert_eq!((error.code(), words(&door).len()), (Code::PostgresAuth, tries));
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn what_stands_for_a_password_goes_over_tls_or_stays_on_this_machine() {
    let with = |url: &str| Address::parse(url).unwrap().with_logins(Arc::new(Counted::default())).map(|_| ());
    for url in ["postgres://u@db.example/d", "postgres://u@localhost/d", "postgres://u@db.example/d?sslmode=require"] {
        with(url).unwrap();
    }
    for url in [
        "postgres://u@db.example/d?sslmode=prefer",
        "postgres://u@db.example/d?sslmode=disable",
        "postgres://u@localhost,db.example/d?sslmode=disable",
        "postgres://u:secret@localhost/d",
    ] {
        let error = with(url).unwrap_err();
        assert_eq!(error.code(), Code::PostgresUrl, "{url}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}
