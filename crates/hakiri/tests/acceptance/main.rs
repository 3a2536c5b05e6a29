//! Acceptance: the real binary, as a user starts it. `HAKIRI_BIN` names another one (the shipped artifact); tests whose
//! names begin with `artifact_` are run against it by `./x test`.

#![allow(clippy::disallowed_methods)] // tests read files, clocks and the environment

mod behaviour;
mod determinism;
mod files;
mod hostile;
mod http;
mod interop;
mod kill;
mod query;
mod state;
mod store;
mod support;
