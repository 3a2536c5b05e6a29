//! What a process at AWS, or one that looks at a deployment there, needs of it: catalogs by URL, and the project's secrets.
//!
//! | Module | What it holds |
//! |---|---|
//! | `catalog` | the forms of a catalog's URL that lead to AWS |
//! | `logins` | who signs in at a database there |
//! | `secrets` | the project's secrets in Secrets Manager, behind the environment's |

mod catalog;
mod logins;
mod secrets;

pub use self::catalog::{Table, database, open, open_reader, table};
pub use self::secrets::secrets;
