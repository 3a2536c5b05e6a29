//! `hakiri dev TARGET`: the generated project, run on this machine by the real parts of the platform, without an account.
//!
//! ```text
//! packages    node packages in the cache, installed at first use
//! lines       what the parts say, in one stream
//! cloudflare  the target: workerd with the generated Worker, its containers as processes of this binary
//! ```

pub mod cloudflare;
pub mod lines;
pub mod packages;
