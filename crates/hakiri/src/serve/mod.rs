//! `hakiri serve`: what runs as long as the process does.

pub mod http;
