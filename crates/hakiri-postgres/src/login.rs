//! Who signs in where that is not for ever: a password that is made for each connection, or one that is kept elsewhere
//! and changed there.

use std::fmt;

use async_trait::async_trait;
use hakiri_core::error::Result;
use hakiri_core::secret::Secret;

use crate::address::Address;

/// A user and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password, or what the server takes for one.
    pub password: Secret,
}

/// Where logins come from; asked for each connection to each host.
#[async_trait]
pub trait Logins: Send + Sync + fmt::Debug {
    /// The login for a connection. `user` is the URL's.
    ///
    /// # Errors
    /// Why there is none.
    async fn login(&self, host: &str, port: u16, user: &str) -> Result<Login>;

    /// The server refused a login. Whether the next one may do better: it is asked for and tried once.
    ///
    /// # Errors
    /// Why that is not known.
    async fn refused(&self, _address: &Address, _login: &Login) -> Result<bool> {
        Ok(false)
    }
}
