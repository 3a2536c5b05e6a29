//! What went wrong, as a user is told it.

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Kind};
use hakiri_postgres::{Address, connect, error};
use hakiri_sim::postgres::{Options, Server, shared};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::encrypted;

async fn failing(sql: &str) -> Error {
    let client = connect(&Address::parse(&shared()).unwrap(), "test").await.unwrap();
    error(&client.batch_execute(sql).await.unwrap_err())
}

#[tokio::test]
async fn messages_that_can_hold_values_are_not_shown() {
    for (sql, code) in [
        ("SELECT 'SECRET'::int", Code::PostgresValue),
        ("SELECT ('{\"a\": SECRET}')::jsonb", Code::PostgresValue),
        ("CREATE TEMP TABLE t (a text PRIMARY KEY); INSERT INTO t VALUES ('SECRET'), ('SECRET')", Code::PostgresValue),
        ("CREATE TEMP TABLE t (a text CHECK (a = '')); INSERT INTO t VALUES ('SECRET')", Code::PostgresValue),
        ("DO $$ BEGIN RAISE EXCEPTION 'SECRET'; END $$", Code::PostgresRefused),
        ("SELECT 1 'SECRET' SECRET", Code::PostgresRefused),
    ] {
        let e = failing(sql).await;
        assert_eq!((e.code(), e.kind()), (code, Kind::Permanent), "{sql}: {e:?}");
        assert!(!format!("{e:?} {}", e.hint()).contains("SECRET"), "{sql}: {e:?}");
        assert!(e.message().contains("SQLSTATE"), "{e:?}");
    }
    // What is no value is named.
    let e =
        failing("CREATE TEMP TABLE t (a text CONSTRAINT short CHECK (a = '')); INSERT INTO t VALUES ('SECRET')").await;
    assert!(e.message().contains("table t") && e.message().contains("constraint short"), "{e:?}");
}

#[tokio::test]
async fn a_missing_right_or_object_is_named() {
    let role = format!("nobody_{}", std::process::id());
    let e = failing(&format!(
        "CREATE ROLE {role}; CREATE TEMP TABLE hidden (a int); SET ROLE {role}; SELECT * FROM hidden"
    ))
    .await;
    assert_eq!((e.code(), e.kind()), (Code::PostgresDenied, Kind::Permanent));
    assert!(e.message().contains("permission denied for table hidden"), "{e:?}");
    for (sql, name) in [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT nowhere FROM pg_class", "nowhere"),
        ("SELECT nowhere(1)", "nowhere"),
        ("CREATE TABLE nowhere.t (a int)", "nowhere"),
    ] {
        let e = failing(sql).await;
        assert!(e.code() == Code::PostgresMissing && e.message().contains(name), "{sql}: {e:?}");
    }
    let e = encrypted(&shared().replace("/postgres", "/nowhere")).await.unwrap_err();
    assert!(e.code() == Code::PostgresMissing && e.message().contains("nowhere"), "{e:?}");
    let e = failing("SET transaction_read_only = on; CREATE TABLE t (a int)").await;
    assert!(e.code() == Code::PostgresDenied && e.hint().contains("target_session_attrs"), "{e:?}");
}

#[tokio::test]
async fn what_may_pass_is_transient() {
    for sql in [
        "SET statement_timeout = 10; SELECT pg_sleep(5)",
        "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53100'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '57P03'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '08006'; END $$",
        "SELECT pg_terminate_backend(pg_backend_pid())",
    ] {
        let e = failing(sql).await;
        assert_eq!(e.kind(), Kind::Transient, "{sql}: {e:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_no_reason_to_try_again() {
    let hba = "host all hakiri all trust\nhostssl all ann all trust\nhostnossl all ann all reject\nhost all all all scram-sha-256\n";
    let server = Server::start(&Options { hba: Some(hba.to_owned()), ..Options::default() });
    let client = connect(&Address::parse(&server.url()).unwrap(), "test").await.unwrap();
    client.batch_execute("CREATE ROLE bob LOGIN PASSWORD 'p@ss/word'").await.unwrap();
    assert!(!encrypted(&server.url_of("bob:p%40ss%2Fword", "localhost")).await.unwrap());
    for (login, says) in
        [("bob:SECRET", "bob"), ("bob", "no password"), ("bob:p%40ss%2Fword", ""), ("eve:SECRET", "eve")]
    {
        let url = server.url_of(login, "127.0.0.1");
        if says.is_empty() {
            assert!(encrypted(&url).await.is_ok());
            continue;
        }
        let e = encrypted(&url).await.unwrap_err();
        assert_eq!((e.code(), e.kind()), (Code::PostgresAuth, Kind::AuthExpired), "{e:?}");
        let all = format!("{e:?} {}", e.hint());
        assert!(!all.contains("SECRET") && !all.contains("p@ss"), "{all}");
        assert!(e.message().contains(says) || says == "no password" && e.hint().contains("password"), "{e:?}");
        assert!(e.place().unwrap().starts_with("postgres://"), "{e:?}");
    }
}

#[tokio::test]
async fn out_of_reach_is_told_with_a_reason() {
    // A port that nobody listens on.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let e = encrypted(&format!("postgres://u@127.0.0.1:{free}/d")).await.unwrap_err();
    assert_eq!((e.code(), e.kind()), (Code::PostgresUnreachable, Kind::Transient));
    assert_eq!(e.message(), "nothing listens there");

    // Somebody who takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let held = tokio::spawn(async move {
        let (mut socket, _) = silent.accept().await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    let begun = std::time::Instant::now();
    let e = encrypted(&format!("postgres://u@127.0.0.1:{port}/d?connect_timeout=1")).await.unwrap_err();
    assert!(e.code() == Code::PostgresUnreachable && e.message().contains("within 1 seconds"), "{e:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    held.await.unwrap();

    let e = encrypted("postgres://u@/d?host=/nowhere").await.unwrap_err();
    assert!(e.message().contains("no socket"), "{e:?}");

    // A name that cannot exist (RFC 6761), whether or not there is anybody to ask.
    let e = encrypted("postgres://u@nowhere.invalid/d?connect_timeout=2").await.unwrap_err();
    assert_eq!(e.code(), Code::PostgresUnreachable, "{e:?}");
    // Nor does it keep from the hosts behind it.
    let patient = shared().replace("@", "@nowhere.invalid,") + "?connect_timeout=60&sslmode=disable";
    assert!(!encrypted(&patient).await.unwrap());
}

#[tokio::test]
async fn the_next_host_is_tried() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let address = shared().replace("@", &format!("@127.0.0.1:{free},"));
    assert!(!encrypted(&address).await.unwrap());
    let e = encrypted(&format!("{}?target_session_attrs=read-only", shared())).await.unwrap_err();
    assert!(e.message().contains("target_session_attrs"), "{e:?}");
    assert!(!encrypted(&format!("{}?target_session_attrs=read-write", shared())).await.unwrap());
}

#[tokio::test]
async fn a_session_has_the_name_and_options_that_it_was_given() {
    let url = format!("{}?options=-c%20work_mem%3D3MB", shared());
    let client = connect(&Address::parse(&url).unwrap(), "hakiri test").await.unwrap();
    let row = client
        .query_typed("SELECT current_setting('application_name'), current_setting('work_mem')", &[])
        .await
        .unwrap();
    assert_eq!((row[0].get::<_, &str>(0), row[0].get::<_, &str>(1)), ("hakiri test", "3MB"));
}
