//! What `hakiri demo` shows: a small API over real data, a project that reads it, and made-up revisions of six records.
//!
//! The demo itself (its steps and its words) is `commands/demo.rs`; it runs and queries through the same functions as
//! the real commands. Here is only what a real project would have outside of Hakiri:
//!
//! | module | is |
//! |---|---|
//! | [`feed`] | the API's records and answers, pure |
//! | [`server`] | the same over HTTP, on the loopback address only |
//! | [`files`] | the project's files |
//!
//! The data is in the binary, so that the demo needs neither a checkout nor the internet. Its source and licence are in
//! `examples/quakes/README.md`.

pub mod feed;
pub mod files;
pub mod server;

/// The demo's last step: one statement over the tables of both pipelines.
pub const NEAR: &str = include_str!("near.sql");

#[cfg(test)]
mod tests {
    #[test]
    fn the_query_is_the_documented_one() {
        let readme = include_str!("../../../../examples/quakes/README.md");
        assert!(readme.contains(super::NEAR.trim_end()));
    }
}
