//! Acceptance: the real binary, as a user starts it. `HAKIRI_BIN` names another one (the shipped artifact); tests whose
//! names begin with `artifact_` are run against it by `./x test`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests read files, clocks and the environment, and fail by panicking"
)]

mod aws;
mod aws_runtime;
mod behaviour;
mod cloudflare;
mod cluster;
mod deploy;
mod deploy_aws;
mod deploy_aws_apply;
mod deploy_cloudflare;
mod determinism;
mod files;
mod files_in_buckets;
mod hostile;
mod http;
mod interop;
mod kill;
mod lambda;
mod page;
mod postgres;
mod postgres_types;
mod query;
mod serve;
mod state;
mod store;
mod support;
mod worker;
