//! The binary as the function of a deployment on AWS Lambda, on a local Runtime API that freezes it between invocations,
//! kills it at its deadline and starts it anew after a death; its catalog is a database, its store a bucket.

mod deadline;
mod due;
mod events;
mod pages;
mod secrets;

use crate::support::pg::Db;

/// A pipeline `p` on a database, by the minute, with a table in chunks of so many rows.
fn minutely(more: &str, table: &str) -> String {
    format!(
        "[[pipeline]]\nid = \"p\"\nschedule = \"every 1m\"\nsecrets = [\"DATABASE_URL\"]\n{more}\
         source = {{ connector = \"postgres\", config = {{ url = \"${{DATABASE_URL}}\" }} }}\n[pipeline.table.t]\n{table}\n"
    )
}

/// A table `t` of so many rows.
fn source(rows: u32) -> Db {
    Db::new(&format!(
        "create table t (id int primary key, v text); insert into t select i, 'v' || i from generate_series(1, {rows}) i"
    ))
}
