//! From an address to a client.

use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use tokio_postgres::config::SslMode as Wanted;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::{Address, Host, SslMode};
use crate::{error, resolve, tls};

/// The oldest server that Hakiri works with: a major version.
pub const OLDEST: u32 = 12;

/// How long sent bytes may stay unacknowledged, and about how long a silent peer may be gone, before the connection
/// counts as lost. Well above a failover of a network, well below a lease.
const SILENCE: Duration = Duration::from_secs(60);

/// Connects. `application` is what the server shows in `pg_stat_activity`, unless the URL says otherwise. A task of the
/// current Tokio runtime moves the bytes; it ends with the client, and silently: whoever waits for an answer is told.
///
/// Takes at most `connect_timeout` (10 seconds) in all, for name, socket, TLS and sign-in, over all hosts.
///
/// # Errors
/// `HK1001` to `HK1003`, `HK1005` (no such database) or `HK1007`, with the address as their place.
pub async fn connect(address: &Address, application: &str) -> Result<Client> {
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

async fn open(address: &Address, application: &str) -> Result<Client> {
    let config = config(address, application).await?;
    let tls = address
        .tls
        .get_or_try_init(|| async {
            let (mode, trust) = (address.mode, address.trust.clone());
            match tokio::task::spawn_blocking(move || tls::config(mode, trust.as_ref())).await {
                Ok(config) => config.map(std::sync::Arc::new),
                Err(_) => Err(Error::new(Code::Internal, "the thread that read certificates ended")),
            }
        })
        .await?;
    let tls = MakeRustlsConnect::new(tls.as_ref().clone());
    let (client, connection) = config.connect(tls).await.map_err(|e| error::at_connect(&e, address))?;
    let version = connection.parameter("server_version").unwrap_or_default();
    // What does not begin with a number is some proxy's own version.
    let major = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse::<u32>().ok());
    if major.is_some_and(|major| major < OLDEST) {
        return Err(Error::new(Code::PostgresOld, format!("the server has version {version}")));
    }
    tokio::spawn(async move {
        // Its error is told to those who wait for an answer; with none waiting it is of no interest.
        let _ = connection.await;
    });
    Ok(client)
}

async fn config(address: &Address, application: &str) -> Result<Config> {
    let mut config = Config::new();
    let mut ways = 0;
    let mut unknown = None;
    for (host, port) in &address.hosts {
        match host {
            Host::Unix(folder) => {
                config.host_path(folder).port(*port);
                ways += 1;
            }
            Host::Tcp(name) => match resolve::addresses(name).await {
                Ok(ips) => {
                    for ip in ips {
                        config.host(name).hostaddr(ip).port(*port);
                        ways += 1;
                    }
                }
                // The other hosts are there for this.
                Err(e) => unknown = Some(e),
            },
        }
    }
    if ways == 0 {
        return Err(unknown.unwrap_or_else(|| Error::new(Code::PostgresUrl, "the URL has no host")));
    }
    config
        .user(&address.user)
        .application_name(address.application.as_deref().unwrap_or(application))
        // A name may have several addresses of which one swallows what is sent to it: the others get their turn.
        .connect_timeout((address.timeout / ways).max(Duration::from_secs(1)))
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
    // The driver would hand a socket to TLS where only TCP has it.
    if address.hosts.iter().any(|(host, _)| matches!(host, Host::Unix(_))) {
        config.ssl_mode(Wanted::Disable);
    }
    if let Some(password) = &address.password {
        config.password(password.expose());
    }
    if let Some(database) = &address.database {
        config.dbname(database);
    }
    if let Some(options) = &address.options {
        config.options(options);
    }
    Ok(config)
}
