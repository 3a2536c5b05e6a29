//! From an address to a client.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode as Wanted;
use tokio_postgres::{Client, Config, Connection};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::{Address, Host, SslMode};
use crate::login::Login;
use crate::{error, resolve, tls};

/// The oldest server that Hakiri works with: a major version.
pub const OLDEST: u32 = 12;

/// How long sent bytes may stay unacknowledged, and about how long a silent peer may be gone, before the connection
/// counts as lost. Well above a failover of a network, well below a lease.
const SILENCE: Duration = Duration::from_secs(60);

/// The least time for the socket of one address.
const LEAST: Duration = Duration::from_secs(1);

/// Connects. `application` is what the server shows in `pg_stat_activity`, unless the URL says otherwise. A task of the
/// current Tokio runtime moves the bytes; it ends with the client, and silently: whoever waits for an answer is told.
///
/// Takes at most `connect_timeout` (10 seconds) in all, for name, socket, TLS and sign-in, over all hosts.
///
/// # Errors
/// `HK1001` to `HK1003`, `HK1005` (no such database) or `HK1007`, with the address as their place.
pub async fn connect(address: &Address, application: &str) -> Result<Client> {
    Ok(connect_within(address, application).await?.0)
}

/// As [`connect`], but the connection ends with what is returned, also in the middle of an answer. A [`Client`] alone
/// lets its task read on until the answer is complete, which of a large copy takes hours that nobody waits for.
///
/// # Errors
/// As [`connect`].
pub async fn hold(address: &Address, application: &str) -> Result<Held> {
    let (client, task) = connect_within(address, application).await?;
    Ok(Held { client, task })
}

/// A client whose connection ends with it. See [`hold`].
#[derive(Debug)]
pub struct Held {
    client: Client,
    task: AbortHandle,
}

impl std::ops::Deref for Held {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect_within(address: &Address, application: &str) -> Result<(Client, AbortHandle)> {
    match tokio::time::timeout(address.timeout, open(address, application)).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(
            Code::PostgresUnreachable,
            format!("no connection within {} seconds", address.timeout.as_secs()),
        )
        .with_hint("check host, port and firewall; a server that is slow to wake up needs a higher connect_timeout")),
    }
    .map_err(|e| e.at(address.to_string()))
}

async fn open(address: &Address, application: &str) -> Result<(Client, AbortHandle)> {
    let tls = address
        .tls
        .get_or_try_init(|| async {
            let (mode, trust) = (address.mode, address.trust.clone());
            match tokio::task::spawn_blocking(move || tls::config(mode, trust.as_ref())).await {
                Ok(config) => config.map(Arc::new),
                Err(_) => Err(Error::new(Code::Internal, "the thread that read certificates ended")),
            }
        })
        .await?;
    let tls = MakeRustlsConnect::new(tls.as_ref().clone());
    // One by one rather than in the driver's own loop, which tells the last failure only: behind "nothing listens" at
    // the IPv6 address of a host its certificate would go unnoticed. Who answers, even with a refusal, ends the search.
    let mut first = None;
    // A login that was refused is replaced once.
    let mut renewed = false;
    for (host, port) in &address.hosts {
        let ways = match ways(host).await {
            Ok(ways) => ways,
            Err(e) => {
                first.get_or_insert(e);
                continue;
            }
        };
        // A name may have several addresses of which one swallows what is sent to it: the others get their turn.
        let patience =
            (address.timeout / u32::try_from(ways.len() * address.hosts.len()).unwrap_or(u32::MAX)).max(LEAST);
        for way in ways {
            let mut login = login(address, host, *port).await?;
            loop {
                let mut config = config(address, application);
                match way {
                    Way::Unix(folder) => config.host_path(folder).ssl_mode(Wanted::Disable),
                    Way::Tcp(name, ip) => config.host(name).hostaddr(ip),
                };
                if let Some(Login { user, password }) = &login {
                    config.user(user).password(password.expose());
                }
                let e = match config.port(*port).connect_timeout(patience).connect(tls.clone()).await {
                    Ok((client, connection)) => return settle(client, connection),
                    Err(e) => error::at_connect(&e, address),
                };
                match e.code() {
                    Code::PostgresUnreachable => {
                        first.get_or_insert(e);
                        break;
                    }
                    Code::PostgresAuth if !renewed && refused(address, login.as_ref()).await? => {
                        (login, renewed) = (self::login(address, host, *port).await?, true);
                    }
                    _ => return Err(e),
                }
            }
        }
    }
    Err(first.unwrap_or_else(|| Error::new(Code::PostgresUrl, "the URL has no host")))
}

/// The login for a connection, where it does not come from the URL.
async fn login(address: &Address, host: &Host, port: u16) -> Result<Option<Login>> {
    let Some(logins) = &address.logins else { return Ok(None) };
    let host = match host {
        Host::Tcp(name) => name.as_str(),
        Host::Unix(_) => "localhost",
    };
    logins.login(host, port, &address.user).await.map(Some)
}

/// Whether another login may do better than the one that was refused.
async fn refused(address: &Address, login: Option<&Login>) -> Result<bool> {
    match (&address.logins, login) {
        (Some(logins), Some(login)) => logins.refused(address, login).await,
        _ => Ok(false),
    }
}

/// A connection that was made: is it to a server that Hakiri knows?
fn settle<S, T>(client: Client, connection: Connection<S, T>) -> Result<(Client, AbortHandle)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let version = connection.parameter("server_version").unwrap_or_default();
    // What does not begin with a number is some proxy's own version.
    let major = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse::<u32>().ok());
    if major.is_some_and(|major| major < OLDEST) {
        return Err(Error::new(Code::PostgresOld, format!("the server has version {version}")));
    }
    let task = tokio::spawn(async move {
        // Its error is told to those who wait for an answer; with none waiting it is of no interest.
        let _ = connection.await;
    });
    Ok((client, task.abort_handle()))
}

/// One way to a host.
#[derive(Clone, Copy)]
enum Way<'a> {
    Unix(&'a Path),
    /// The name, for the certificate, and where to connect to.
    Tcp(&'a str, IpAddr),
}

async fn ways(host: &Host) -> Result<Vec<Way<'_>>> {
    Ok(match host {
        Host::Unix(folder) => vec![Way::Unix(folder)],
        Host::Tcp(name) => resolve::addresses(name).await?.into_iter().map(|ip| Way::Tcp(name, ip)).collect(),
    })
}

/// What is the same for all hosts.
fn config(address: &Address, application: &str) -> Config {
    let mut config = Config::new();
    config
        .user(&address.user)
        .application_name(address.application.as_deref().unwrap_or(application))
        .tcp_user_timeout(SILENCE)
        .keepalives_idle(SILENCE / 2)
        .keepalives_interval(SILENCE / 6)
        .keepalives_retries(3)
        .channel_binding(address.channel_binding)
        .target_session_attrs(address.session)
        .ssl_mode(match address.mode {
            SslMode::Disable => Wanted::Disable,
            SslMode::Prefer => Wanted::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Wanted::Require,
        });
    if let Some(password) = &address.password {
        config.password(password.expose());
    }
    if let Some(database) = &address.database {
        config.dbname(database);
    }
    if let Some(options) = &address.options {
        config.options(options);
    }
    config
}
