//! `hakiri deploy TARGET`: from a validated project to the files that run it somewhere else.
//!
//! ```text
//! input       what a generation may depend on: project, manifest texts, place of the folder
//! target      one module per target: what it supports, its limits, its files, its next steps
//!             (systemd, compose, cloudflare, aws)
//! capability  per feature of the manifest, whether a target has it; refuses before anything is written
//! files       relative path → bytes and mode; what a generator gives back
//! template    fills the files that lie beside each generator
//! lock        what was generated last, by hash
//! changes     new files × lock × folder → what would happen to each file, pure
//! folder      reads and writes the folder; the only module here that touches the disk
//! resources   what is created in an account, and what of it is new
//! cost        what that costs a month
//! steps       what puts a target into effect or takes it away, as data
//! runner      carries steps out
//! process     starts a program and hears what it says; the only module here that does
//! elf         whether a program runs where nothing but itself is
//! progress    how far that has come
//! private     addresses that only a private network has
//! ```
//!
//! A generation is a pure function of [`Input`](input::Input): the same project gives the same bytes on every machine
//! (G1), so that generated files can be committed and reviewed, and a difference is always somebody's intention. The
//! manifest's own files are copied beside the rest: what is deployed is what was generated, and the folder is all that
//! a server needs besides the binary and the secrets. Mounting the project's folder instead would be shorter, but then
//! a server runs whatever is checked out there, and no difference would show it.
//!
//! Nothing outside of a target's module asks which target it is.

mod aws;
pub mod capability;
pub mod changes;
mod cloudflare;
mod compose;
pub mod cost;
mod diff;
mod elf;
pub mod files;
pub mod folder;
pub mod input;
pub mod lock;
mod names;
mod private;
mod process;
pub mod progress;
mod refused;
pub mod resources;
pub mod runner;
mod secrets;
pub mod steps;
mod systemd;
pub mod target;
mod template;

pub use self::refused::find;
pub use self::target::Target;
pub use self::template::shell;

/// The version of what is generated, and of the lock file. It changes with the shape of the files, not with every
/// release, so that a new binary alone makes no difference.
pub const FORMAT: u32 = 1;

/// Every target there is a generator for, in the order of the docs.
pub const TARGETS: [&dyn Target; 4] = [&systemd::Systemd, &compose::Compose, &cloudflare::Cloudflare, &aws::Aws];
