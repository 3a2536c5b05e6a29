//! What is particular to PostgreSQL: its schema, its rights, its clock, its connections.

use std::time::Duration;

use hakiri_catalog::conformance::fixture::{dump, pipeline, run, whole};
use hakiri_catalog::conformance::{Bench, CASES, Setup};
use hakiri_catalog::postgres::{self, Postgres};
use hakiri_catalog::records::{Records, Written};
use hakiri_catalog::{Catalog, CatalogError, RecordCatalog};
use hakiri_sim::postgres::{Options, Server, shared};

use crate::database::{InDatabase, client, project, schema};
use crate::ports::{self, put, version};

async fn open(project: &str) -> RecordCatalog<Postgres> {
    postgres::open(&shared(), project, "me").await.unwrap()
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, CatalogError>, says: &str) -> u64 {
    match result {
        Err(CatalogError::Unavailable { reason, retry_after }) if reason.contains(says) => retry_after,
        other => panic!("{other:?} does not say {says}"),
    }
}

#[tokio::test]
async fn eight_who_open_at_once_create_one_catalog() {
    let project = project();
    let opening: Vec<_> = (0..8)
        .map(|i| {
            let project = project.clone();
            tokio::spawn(async move { postgres::open(&shared(), &project, &format!("made by {i}")).await.unwrap() })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for catalog in opening {
        ids.insert(catalog.await.unwrap().info().await.unwrap().id);
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn projects_in_one_database_do_not_see_each_other() {
    let (a, b) = (open(&project()).await, open(&project()).await);
    whole(&a, 1, 1).await.unwrap();
    assert_eq!(dump(&b).await, []);
    whole(&b, 1, 1).await.unwrap();
    assert_eq!(dump(&a).await.len(), dump(&b).await.len());
}

#[tokio::test]
async fn a_newer_catalog_is_left_alone() {
    let (project, sql) = (project(), client(&shared()).await);
    let before = open(&project).await;
    sql.batch_execute(&format!("UPDATE {}.catalog SET version = 2", schema(&project))).await.unwrap();
    let newer = Some(CatalogError::Newer { found: 2, known: 1 });
    assert_eq!(postgres::open(&shared(), &project, "x").await.err(), newer);
    assert_eq!(postgres::open_reader(&shared(), &project).await.err(), newer);
    assert_eq!(before.info().await.err(), newer);
    // A process that was there before the migration no longer finds what it writes with.
    sql.batch_execute(&format!("DROP FUNCTION {}.write_1", schema(&project))).await.unwrap();
    let refused = before.acquire(&pipeline(), &run(1), 60_000).await;
    assert!(matches!(refused, Err(CatalogError::Corrupt(_))), "{refused:?}");
}

#[tokio::test]
async fn a_schema_of_somebody_elses_is_refused_and_an_empty_one_is_used() {
    let (project, sql) = (project(), client(&shared()).await);
    let schema = schema(&project);
    sql.batch_execute(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.orders (id int)")).await.unwrap();
    for opened in [postgres::open(&shared(), &project, "x").await, postgres::open_reader(&shared(), &project).await] {
        assert!(matches!(opened, Err(CatalogError::Corrupt(_))), "{opened:?}");
    }
    sql.batch_execute(&format!("DROP TABLE {schema}.orders")).await.unwrap();
    assert!(matches!(postgres::open_reader(&shared(), &project).await, Err(CatalogError::NotFound(_))));
    whole(&open(&project).await, 1, 1).await.unwrap();
}

#[tokio::test]
async fn rights_are_asked_for_only_where_they_are_needed() {
    let (project, sql) = (project(), client(&shared()).await);
    let schema = schema(&project);
    let (owner, reader) =
        (format!("owner_{}", project.replace('-', "_")), format!("reader_{}", project.replace('-', "_")));
    sql.batch_execute(&format!("CREATE ROLE {owner} LOGIN; CREATE ROLE {reader} LOGIN")).await.unwrap();
    let url = |user: &str| shared().replace("hakiri@", &format!("{user}@"));

    // Nobody may create a schema without the right to; who has one made for them needs no more.
    let says = "permission denied for database";
    assert_eq!(unavailable(postgres::open(&url(&owner), &project, "x").await, says), 0);
    assert!(matches!(postgres::open_reader(&url(&reader), &project).await, Err(CatalogError::NotFound(_))));
    sql.batch_execute(&format!("CREATE SCHEMA {schema} AUTHORIZATION {owner}")).await.unwrap();
    let catalog = postgres::open(&url(&owner), &project, "x").await.unwrap();
    whole(&catalog, 1, 1).await.unwrap();

    assert_eq!(unavailable(postgres::open_reader(&url(&reader), &project).await, "permission denied for schema"), 0);
    sql.batch_execute(&format!(
        "GRANT USAGE ON SCHEMA {schema} TO {reader}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}"
    ))
    .await
    .unwrap();
    let reading = postgres::open_reader(&url(&reader), &project).await.unwrap();
    assert_eq!(dump(&reading).await, dump(&catalog).await);
    assert_eq!(unavailable(reading.acquire(&pipeline(), &run(2), 60_000).await, "permission denied"), 0);
    sql.batch_execute(&format!("DROP SCHEMA {schema} CASCADE; DROP ROLE {owner}; DROP ROLE {reader}")).await.unwrap();
}

#[tokio::test]
async fn what_will_not_pass_by_itself_has_no_time_to_wait() {
    assert_eq!(unavailable(postgres::open("mysql://x", "p", "x").await, "HK1006"), 0);
    assert_eq!(unavailable(postgres::open(&shared(), "no project", "x").await, "project name"), 0);
    assert_eq!(unavailable(postgres::open("postgres://u@/d?host=/nowhere", "p", "x").await, "HK1001"), 5);
}

#[tokio::test]
async fn a_write_is_durable_whatever_the_database_says() {
    let (project, sql) = (project(), client(&shared()).await);
    open(&project).await;
    let call = format!("SELECT {}.write_1('{{}}', '{{}}', '{{k}}', '{{t}}', '{{}}')", schema(&project));
    for (before, within) in
        [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
    {
        // What holds at the end of the transaction is what its commit goes by.
        sql.batch_execute(&format!("SET synchronous_commit = {before}; BEGIN; {call}")).await.unwrap();
        let row = sql.query_one("SELECT current_setting('synchronous_commit')", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), within);
        sql.batch_execute("COMMIT").await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_ordered_by_bytes_and_bounds_may_hold_a_nul() {
    let sql = client(&shared()).await;
    let linguistic: bool = sql.query_one("SELECT 'a' < 'B'", &[]).await.unwrap().get(0);
    assert!(linguistic, "the test's server would not show a missing collation");
    ports::keys_are_ordered_by_bytes_and_bounds_may_hold_a_nul(open(&project()).await.records()).await;
}

#[tokio::test]
async fn a_page_ends_where_its_bytes_do() {
    ports::a_page_ends_where_its_bytes_do(open(&project()).await.records()).await;
}

#[tokio::test]
async fn texts_of_many_mebibytes_come_back() {
    ports::texts_of_many_mebibytes_come_back(open(&project()).await.records()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_expect_each_others_key_to_be_absent_one_is_refused() {
    let project = project();
    let (one, two) = (open(&project).await, open(&project).await);
    ports::of_two_that_expect_each_others_key_to_be_absent_one_is_refused(one.records(), two.records()).await;
}

#[tokio::test]
async fn a_version_never_comes_again() {
    ports::a_version_never_comes_again(open(&project()).await.records()).await;
}

/// The suite's races where every transaction of the database has another isolation level by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_races_are_won_under_any_isolation_level() {
    for level in ["repeatable%5C%20read", "serializable"] {
        let url = format!("{}?options=-c%20default_transaction_isolation%3D{level}", shared());
        let sql = client(&url).await;
        let row = sql.query_one("SELECT current_setting('transaction_isolation')", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0).replace(' ', "%5C%20"), level);
        let setup = Elsewhere(url);
        for case in
            CASES.iter().filter(|c| c.name.contains("racing") || c.name == "eight_workers_swap_a_hundred_times_each")
        {
            (case.run)(&setup).await;
        }
    }
}

/// Catalogs behind a URL, with the server's own clock.
struct Elsewhere(String);

#[async_trait::async_trait]
impl Setup for Elsewhere {
    async fn bench(&self) -> Bench {
        let (url, project) = (self.0.clone(), project());
        let open = async |url: &str, project: &str| postgres::open(url, project, "x").await.unwrap();
        Bench {
            catalog: std::sync::Arc::new(open(&url, &project).await),
            reopen: Box::new(move || std::sync::Arc::new(crate::database::now(open(&url, &project)))),
            ..InDatabase { pooled: false }.bench().await
        }
    }
}

#[tokio::test]
async fn leases_expire_by_the_servers_own_clock() {
    let catalog = open(&project()).await;
    let sql = client(&shared()).await;
    let clock = async || -> i64 {
        let sql = sql.query_one("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8", &[]).await;
        sql.unwrap().get(0)
    };
    let (before, now, after) = (clock().await, catalog.info().await.unwrap().now.millis(), clock().await);
    assert!((before - 1..=after).contains(&now), "{before} {now} {after}");
    ports::held_and_lapsed(&catalog).await;
}

/// The process of the server that waits for the write lock of a project.
async fn waiting(sql: &tokio_postgres::Client, project: &str) -> i32 {
    for _ in 0..500 {
        let call = format!("SELECT {}.write_1%", schema(project));
        let found = sql
            .query_opt("SELECT pid FROM pg_stat_activity WHERE query LIKE $1 AND wait_event_type = 'Lock'", &[&call])
            .await
            .unwrap();
        if let Some(row) = found {
            return row.get(0);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody waits");
}

#[tokio::test]
async fn what_a_failure_says_of_a_write_is_what_happened() {
    let (project, sql) = (project(), client(&shared()).await);
    let catalog = open(&project).await;
    let lock =
        format!("BEGIN; SELECT pg_advisory_xact_lock(1212895817, '{}.records'::regclass::oid::int)", schema(&project));
    let holder = client(&shared()).await;
    for (end, known) in [("pg_cancel_backend", true), ("pg_terminate_backend", false)] {
        holder.batch_execute(&lock).await.unwrap();
        let writer = catalog.clone();
        let write = tokio::spawn(async move { writer.records().write(&put("k", "x")).await });
        let pid = waiting(&sql, &project).await;
        sql.query(&format!("SELECT {end}($1)"), &[&pid]).await.unwrap();
        let outcome = write.await.unwrap();
        match known {
            true => assert!(matches!(outcome, Err(CatalogError::Unavailable { .. })), "{outcome:?}"),
            false => assert!(matches!(outcome, Err(CatalogError::OutcomeUnknown(_))), "{outcome:?}"),
        }
        holder.batch_execute("ROLLBACK").await.unwrap();
        // The caller reads, and finds that it did not happen.
        assert_eq!(version(catalog.records(), "k").await, None);
    }
    // Nobody waits for ever for somebody who holds the lock.
    holder.batch_execute(&lock).await.unwrap();
    assert_eq!(unavailable(catalog.records().write(&put("k", "x")).await, "HK1008"), 5);
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(catalog.records().write(&put("k", "x")).await, Ok(Written::Done));
}

#[tokio::test]
async fn connections_that_ended_while_idle_are_made_anew() {
    let mut server = Server::start(&Options::default());
    let catalog = postgres::open(&server.url(), "shop", "x").await.unwrap();
    // Several connections lie idle.
    let reads: Vec<_> = (0..8)
        .map(|_| {
            let catalog = catalog.clone();
            tokio::spawn(async move { catalog.info().await.unwrap() })
        })
        .collect();
    for read in reads {
        read.await.unwrap();
    }
    let sql = client(&server.url()).await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hakiri catalog'";
    let connections: i64 = sql.query_one(count, &[]).await.unwrap().get(0);
    assert!((1..=4).contains(&connections), "{connections}");
    server.restart();
    whole(&catalog, 1, 1).await.unwrap();
    server.kill();
    assert_eq!(unavailable(catalog.info().await, "HK1001"), 5);
    server.restart();
    whole(&catalog, 2, 1).await.unwrap();
}
