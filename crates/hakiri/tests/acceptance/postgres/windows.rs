//! What a run reads of a table that grows: windows of each kind of cursor, and what comes late.

use serde_json::json;

use super::{ids, incremental, tick};
use crate::support::pg::Db;
use crate::support::python;

#[test]
fn a_window_of_instants_takes_its_start_and_leaves_its_end_to_the_next() {
    let db = Db::new(
        "create table t (id int primary key, at timestamptz not null, v int); \
         insert into t values (1, '2026-01-01 00:59:59.999999+00', 1), (2, '2026-01-01 01:00:00+00', 1)",
    );
    let project = db.project("", &incremental("incremental = \"at\"\nlag = \"0s\""));
    tick(&project, "2026-01-01T01:00:00Z");
    assert_eq!(ids(&project, "p_t"), [1], "the row of the tick itself is the next run's");
    db.sql("insert into t values (3, '2026-01-01 02:00:00+00', 1), (4, '2026-01-01 01:59:59.999999+00', 1)");
    tick(&project, "2026-01-01T02:00:00Z");
    assert_eq!(ids(&project, "p_t"), [1, 2, 4], "the row at the lower bound is not lost");
    tick(&project, "2026-01-01T02:00:00.001Z");
    assert_eq!(ids(&project, "p_t"), [1, 2, 3, 4]);
    // Nothing was written twice: each run's parts hold what was new.
    let rows: u64 = project.number("select count(*) from p_t").try_into().unwrap();
    let written = python(
        "import sys, glob, pyarrow.parquet as pq; print(sum(pq.read_metadata(f).num_rows for f in glob.glob(sys.argv[1] + '/tables/p_t/runs/*/part-*')))",
        &[project.store().to_str().unwrap()],
    );
    assert_eq!(written.trim(), rows.to_string());
    // Deletes are not seen; a full run does.
    db.sql("delete from t where id = 1; update t set v = 2, at = '2026-01-01 02:30:00+00' where id = 2");
    tick(&project, "2026-01-01T03:00:00Z");
    assert_eq!(
        project.rows("select id, v from p_t where id <= 2 order by id"),
        [json!({"id": 1, "v": 1}), json!({"id": 2, "v": 2})]
    );
    project.hakiri(&["run", "--full"]).expect(0);
    assert_eq!(ids(&project, "p_t"), [2, 3, 4]);
}

#[test]
fn a_commit_that_comes_late_is_caught_by_lag_and_lost_beyond_it() {
    let db = Db::new("create table t (id int primary key, at timestamptz not null default now())");
    let (inside, beyond) = (db.connect(), db.connect());
    let project = db.project("", &incremental("incremental = \"at\"\nlag = \"10m\""));
    db.sql("insert into t values (1, '2026-01-01 00:30+00')");
    inside.sql("begin; insert into t values (2, '2026-01-01 00:55+00')");
    beyond.sql("begin; insert into t values (3, '2026-01-01 00:45+00')");
    tick(&project, "2026-01-01T01:00:00Z");
    assert_eq!(ids(&project, "p_t"), [1], "what is not committed is not there");
    inside.sql("commit");
    beyond.sql("commit");
    tick(&project, "2026-01-01T02:00:00Z");
    assert_eq!(ids(&project, "p_t"), [1, 2], "ten minutes before one o'clock are read again, and no more");
    project.hakiri(&["run", "--full"]).expect(0);
    assert_eq!(ids(&project, "p_t"), [1, 2, 3]);
}

#[test]
fn a_window_of_integers_ends_at_the_highest_of_the_plan_and_lag_counts_in_them() {
    let db = Db::new(
        "create table t (id int primary key, seq bigint, note text); \
         insert into t select i, i * 10 from generate_series(1, 5) i; insert into t values (100, null, 'old')",
    );
    let project = db.project("", &incremental("incremental = \"seq\"\nlag = 10"));
    let late = db.connect();
    late.sql("begin; insert into t values (6, 45)");
    project.run();
    assert_eq!(ids(&project, "p_t"), [1, 2, 3, 4, 5, 100], "a row without a cursor is read every time");
    late.sql("commit");
    db.sql("insert into t values (7, 60), (8, 39); update t set note = 'new' where id = 100");
    project.run();
    assert_eq!(ids(&project, "p_t"), [1, 2, 3, 4, 5, 6, 7, 100], "39 is more than ten below 50");
    assert_eq!(project.rows("select note from p_t where id = 100"), [json!({"note": "new"})]);
}

#[test]
fn a_row_without_a_cursor_is_refused_in_append() {
    let db = Db::new("create table t (id int, seq int); insert into t values (1, 1), (2, null)");
    let project = db.project("", &incremental("mode = \"append\"\nincremental = \"seq\""));
    project.hakiri(&["run"]).expect(1).says("HK0408");
    db.sql("delete from t where seq is null");
    project.run();
    db.sql("insert into t values (1, 2)");
    project.run();
    project.run();
    assert_eq!(
        project.rows("select id, seq from p_t order by seq"),
        [json!({"id": 1, "seq": 1}), json!({"id": 1, "seq": 2})]
    );
}

#[test]
fn text_and_uuid_cursors_go_by_bytes_whatever_the_collation() {
    // In a linguistic order `B` lies between `a` and `c`; by bytes it is the first.
    let db = Db::new(
        "create table t (id int primary key, k text not null, u uuid); insert into t values (1, 'a'), (2, 'B')",
    );
    let project = db.project("", &incremental("incremental = \"k\""));
    project.run();
    db.sql("insert into t values (3, 'Z'), (4, 'ab')");
    project.run();
    assert_eq!(ids(&project, "p_t"), [1, 2, 4], "`Z` is below `a`: it would be a late row");
    let project = db.project("", &incremental("incremental = \"u\""));
    db.sql("update t set u = ('00000000-0000-0000-0000-00000000000' || id)::uuid");
    project.run();
    db.sql("insert into t values (5, '', '00000000-0000-0000-0000-000000000005')");
    project.run();
    assert_eq!(ids(&project, "p_t"), [1, 2, 3, 4, 5]);
}

#[test]
fn timestamps_without_a_zone_and_days_have_windows_of_their_own() {
    let db = Db::new(
        "create table t (id int primary key, at timestamp, day date); \
         insert into t values (1, '2026-01-01 00:30', '2026-01-01'), (2, '2026-01-01 01:30', '2026-01-02')",
    );
    let at = db.project("", &incremental("incremental = \"at\"\nlag = \"0s\""));
    tick(&at, "2026-01-01T01:00:00Z");
    assert_eq!(ids(&at, "p_t"), [1]);
    tick(&at, "2026-01-01T02:00:00Z");
    assert_eq!(ids(&at, "p_t"), [1, 2]);
    let day = db.project("", &incremental("incremental = \"day\"\nlag = \"0s\""));
    tick(&day, "2026-01-02T10:00:00Z");
    assert_eq!(ids(&day, "p_t"), [1], "a day is read when it is over");
    tick(&day, "2026-01-03T00:00:00Z");
    assert_eq!(ids(&day, "p_t"), [1, 2]);
}

#[test]
fn a_cursor_that_has_no_order_or_is_no_column_is_refused() {
    let db =
        Db::new("create table t (id int primary key, n numeric(10,0), at timestamptz); insert into t values (1, 5)");
    let project = db.project("", &incremental("incremental = \"n\""));
    project.hakiri(&["run"]).expect(1).says("HK0409").says("`n` has the type numeric(10,0)").says("bigint");
    let project = db.project("", &incremental("incremental = \"updated\""));
    project.hakiri(&["run"]).expect(1).says("HK0704").says("the columns are: id, n, at");
    let project = db.project(", tables = { t = { casts = { n = \"bigint\" } } }", &incremental("incremental = \"n\""));
    project.run();
    assert_eq!(ids(&project, "p_t"), [1]);
}
