//! A few connections, made when they are needed and used again.
//!
//! The last one given back is the first one taken: a decision reads and then writes, so that the write goes over a
//! connection that has just answered, and a dead one is found by a read, which can be repeated.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hakiri_core::catalog::CatalogError;
use hakiri_postgres::Address;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::error::{Failure, unavailable};

/// How many connections one process has at most (P7); a server has a hundred by default for everybody.
const CONNECTIONS: usize = 4;

/// How long a statement may take, and so may waiting for a connection: well above the ten seconds that a write waits
/// for its lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// A value of a statement and its type. Types are given so that no statement is prepared by name, which a pooler in
/// transaction mode would lose.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The connections to a database.
pub(super) struct Pool {
    address: Address,
    idle: Mutex<Vec<Client>>,
    permits: Semaphore,
}

impl Pool {
    pub(super) fn new(address: Address) -> Self {
        Self { address, idle: Mutex::default(), permits: Semaphore::new(CONNECTIONS) }
    }

    /// Runs a statement that changes nothing; once more when a connection that lay idle turns out to be dead.
    pub(super) async fn read(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        let taken = self.take().await?;
        let was_idle = taken.was_idle;
        match taken.run(sql, parameters).await {
            Err(e) if was_idle && e.lost() => {
                // The others have lain idle longer.
                self.idle().clear();
                self.take().await?.run(sql, parameters).await
            }
            result => result,
        }
    }

    /// Runs a statement that changes something, once.
    pub(super) async fn write(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        self.take().await?.run(sql, parameters).await
    }

    /// A connection for one's own use, given back by [`Taken::give_back`] only: dropped otherwise, so that none with a
    /// statement or a transaction under way is used by anybody else.
    pub(super) async fn take(&self) -> Result<Taken<'_>, Failure> {
        let away =
            |reason: &str| Failure::Unsent(CatalogError::Unavailable { reason: reason.to_owned(), retry_after: 1 });
        let permit = tokio::time::timeout(PATIENCE, self.permits.acquire())
            .await
            .map_err(|_| away("all connections to the database are in use"))?
            .map_err(|_| away("the catalog is closed"))?;
        let idle = {
            let mut idle = self.idle();
            idle.retain(|client| !client.is_closed());
            idle.pop()
        };
        let was_idle = idle.is_some();
        let client = match idle {
            Some(client) => client,
            None => hakiri_postgres::connect(&self.address, "hakiri catalog")
                .await
                .map_err(|e| Failure::Unsent(unavailable(&e)))?,
        };
        Ok(Taken { pool: self, client, was_idle, _permit: permit })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        // Nothing under the lock can panic half way.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.address).finish()
    }
}

/// A connection out of the pool.
pub(super) struct Taken<'a> {
    pool: &'a Pool,
    client: Client,
    was_idle: bool,
    _permit: SemaphorePermit<'a>,
}

impl Taken<'_> {
    /// Runs one statement and gives the connection back if it is sound.
    async fn run(self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        let result = self.query(sql, parameters).await;
        match &result {
            Ok(_) => self.give_back(),
            Err(Failure::Sent(_)) if !result.as_ref().is_err_and(Failure::lost) => self.give_back(),
            Err(_) => {}
        }
        result
    }

    /// Runs one statement.
    pub(super) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        match tokio::time::timeout(PATIENCE, self.client.query_typed(sql, parameters)).await {
            Ok(result) => result.map_err(Failure::Sent),
            Err(_) => Err(Failure::Silent),
        }
    }

    /// Runs statements without parameters, of which more than one may stand in a text.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        match tokio::time::timeout(PATIENCE, self.client.batch_execute(sql)).await {
            Ok(result) => result.map_err(Failure::Sent),
            Err(_) => Err(Failure::Silent),
        }
    }

    /// Gives it back, to be used again.
    pub(super) fn give_back(self) {
        self.pool.idle().push(self.client);
    }
}
