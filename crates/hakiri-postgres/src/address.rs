//! The URL of a database.
//!
//! Parsed by hand rather than by a URL library or by the driver: several hosts (`a,b:5433`) and sockets are no URL that a
//! library reads, and the driver takes parameters that Hakiri would silently not obey. What is not known is refused, since
//! a parameter that is overlooked (`sslmode` misspelt, say) is a connection that is weaker than its owner believes.
//!
//! `sslmode`, when the URL does not say, is `verify-full`; `prefer` for a server on this machine (loopback or a socket)
//! unless `sslrootcert` is given. See ADR 0015.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::secret::Secret;
use tokio::sync::OnceCell;
use tokio_postgres::config::{ChannelBinding, TargetSessionAttrs};

use crate::login::{Login, Logins};

const PORT: u16 = 5432;
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest `connect_timeout`, in seconds.
const TIMEOUT_MOST: u64 = 600;
const SHAPE: &str = "write it as postgres://user:password@host:5432/database?sslmode=verify-full";
const ENCODE: &str =
    "write the characters / ? # @ and % in a user name, password or parameter as %2F %3F %23 %40 and %25";
const KNOWN: &str = "known parameters: sslmode, sslrootcert, channel_binding, connect_timeout, options, application_name, target_session_attrs, and host for a socket's folder";

/// What a connection demands of TLS, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server has it, nothing verified.
    Prefer,
    /// TLS, or no connection. The certificate is verified as by `VerifyCa` if `sslrootcert` is given, else not at all:
    /// this keeps out listeners, not somebody in between.
    Require,
    /// TLS with a certificate from a trusted authority, for whatever host.
    VerifyCa,
    /// TLS with a certificate from a trusted authority for this very host.
    VerifyFull,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A name or an IP address.
    Tcp(String),
    /// The folder of a socket.
    Unix(PathBuf),
}

/// The certificate authorities to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those built in and those of the machine.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

/// A database's address. Clones share the TLS settings once they are read, so `sslrootcert` is read once.
#[derive(Clone)]
pub struct Address {
    pub(crate) hosts: Vec<(Host, u16)>,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) database: Option<String>,
    pub(crate) mode: SslMode,
    pub(crate) trust: Option<Trust>,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) timeout: Duration,
    pub(crate) options: Option<String>,
    pub(crate) application: Option<String>,
    pub(crate) session: TargetSessionAttrs,
    pub(crate) logins: Option<Arc<dyn Logins>>,
    pub(crate) tls: Arc<OnceCell<Arc<rustls::ClientConfig>>>,
}

impl Address {
    /// Reads a URL: `postgres://user:password@host:5432/database?parameter=value&…`, also `postgresql://`. User name,
    /// password, database and values are percent-decoded. Several hosts, separated by commas, are tried in turn. A
    /// socket is `postgres://user@/database?host=/folder`, or the folder percent-encoded in place of the host.
    ///
    /// # Errors
    /// `HK1006`, with a hint; the message never quotes the password, also not a part of one that was not encoded.
    pub fn parse(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| wrong("the URL does not begin with postgres://", SHAPE))?;
        if rest.chars().any(|c| c.is_control() || c == ' ') {
            return Err(wrong("the URL holds a space or a control character", ENCODE));
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // An `@` further on is the end of a password whose special characters were not encoded: nothing of the tail may
        // be quoted then.
        if tail.contains(['@', '#']) {
            return Err(wrong("the URL has a # or @ in a place where none can be", ENCODE));
        }
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        if user.is_empty() {
            return Err(wrong("the URL has no user name", SHAPE));
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.contains('/') {
            return Err(wrong("the URL has more than one part behind the host", ENCODE));
        }
        let parameters = Parameters::parse(query)?;
        let hosts = all_hosts(hosts, parameters.host.as_deref())?;
        let mode = parameters.mode(&hosts)?;
        let database = decoded(path)?;
        Ok(Self {
            hosts,
            user: decoded(user)?,
            password: password.filter(|p| !p.is_empty()).map(decoded).transpose()?.map(Secret::new),
            database: Some(database).filter(|d| !d.is_empty()),
            mode,
            trust: parameters.trust,
            channel_binding: parameters.channel_binding.unwrap_or(ChannelBinding::Prefer),
            timeout: parameters.timeout.unwrap_or(TIMEOUT),
            options: parameters.options,
            application: parameters.application,
            session: parameters.session.unwrap_or(TargetSessionAttrs::Any),
            logins: None,
            tls: Arc::default(),
        })
    }

    /// The same address with logins that come from elsewhere: none of them is sent without TLS, except on this machine.
    ///
    /// # Errors
    /// `HK1006` when the URL has a password of its own, or an `sslmode` that does without TLS.
    pub fn with_logins(mut self, logins: Arc<dyn Logins>) -> Result<Self> {
        if self.password.is_some() {
            return Err(wrong(
                "the URL has a password, and says that it comes from elsewhere",
                "leave the password out",
            ));
        }
        if self.mode < SslMode::Require && !self.hosts.iter().all(|(host, _)| host.is_local()) {
            return Err(wrong(
                "the URL would send what stands for a password without TLS",
                "leave sslmode out, or name the certificate authority with sslrootcert=FILE",
            ));
        }
        self.logins = Some(logins);
        Ok(self)
    }

    /// The same address with one login, and no others.
    #[must_use]
    pub fn signed_in_as(&self, login: Login) -> Self {
        Self { user: login.user, password: Some(login.password), logins: None, ..self.clone() }
    }

    /// The user that connects.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password, for those who must take it out of messages.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The database; the server takes one of the user's name when there is none.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// What is demanded of TLS, also where the URL does not say.
    pub fn ssl_mode(&self) -> SslMode {
        self.mode
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.user)?;
        for (i, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match host {
                Host::Tcp(host) if host.contains(':') => write!(f, "{comma}[{host}]:{port}")?,
                Host::Tcp(host) => write!(f, "{comma}{host}:{port}")?,
                Host::Unix(folder) => write!(f, "{comma}{}:{port}", folder.display())?,
            }
        }
        write!(f, "/{}", self.database.as_deref().unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self}, {:?})", self.mode)
    }
}

/// The parameters as far as the URL has them.
#[derive(Default)]
struct Parameters {
    mode: Option<SslMode>,
    trust: Option<Trust>,
    channel_binding: Option<ChannelBinding>,
    timeout: Option<Duration>,
    options: Option<String>,
    application: Option<String>,
    session: Option<TargetSessionAttrs>,
    host: Option<String>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self> {
        let mut all = Self::default();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                wrong("a parameter of the URL has no value", "write parameters as name=value&name=value")
            })?;
            let value = decoded(value)?;
            match name {
                "sslmode" => once(&mut all.mode, name, ssl_mode(&value)?)?,
                "sslrootcert" if value == "system" => once(&mut all.trust, name, Trust::System)?,
                "sslrootcert" => once(&mut all.trust, name, Trust::File(PathBuf::from(value)))?,
                "channel_binding" => once(&mut all.channel_binding, name, channel_binding(&value)?)?,
                "connect_timeout" => once(&mut all.timeout, name, timeout(&value)?)?,
                "options" => once(&mut all.options, name, value)?,
                "application_name" => once(&mut all.application, name, value)?,
                "target_session_attrs" => once(&mut all.session, name, session(&value)?)?,
                "host" => once(&mut all.host, name, value)?,
                "sslcert" | "sslkey" => {
                    return Err(wrong(
                        &format!("`{name}` is not supported: Hakiri signs in with a password, not with a certificate"),
                        KNOWN,
                    ));
                }
                // Whatever stands here may be a piece of something secret; a plain word is not.
                name if name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') => {
                    return Err(wrong(&format!("the parameter `{name}` of the URL is not known"), KNOWN));
                }
                _ => return Err(wrong("a parameter of the URL is not known", KNOWN)),
            }
        }
        Ok(all)
    }

    /// The mode that the URL says, or the secure default.
    fn mode(&self, hosts: &[(Host, u16)]) -> Result<SslMode> {
        let local = hosts.iter().all(|(host, _)| host.is_local());
        let default = if local && self.trust.is_none() { SslMode::Prefer } else { SslMode::VerifyFull };
        let mode = self.mode.unwrap_or(default);
        // Anybody gets a certificate from a public authority, for some host.
        if self.trust == Some(Trust::System) && mode != SslMode::VerifyFull {
            return Err(wrong(
                "sslrootcert=system says little about a server whose name is not verified",
                "use sslmode=verify-full with it",
            ));
        }
        if mode > SslMode::Prefer && hosts.iter().any(|(host, _)| matches!(host, Host::Unix(_))) {
            return Err(wrong("a socket on this machine has no TLS", "leave sslmode and sslrootcert out"));
        }
        Ok(mode)
    }
}

impl Host {
    /// Whether what is sent there stays on this machine.
    fn is_local(&self) -> bool {
        match self {
            Host::Unix(_) => true,
            Host::Tcp(host) => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
            }
        }
    }
}

fn all_hosts(listed: &str, folder: Option<&str>) -> Result<Vec<(Host, u16)>> {
    if let Some(folder) = folder {
        // `postgres://user@:5433/database?host=/folder`: a port may stand alone.
        let (none, port) = listed.split_once(':').map_or((listed, None), |(none, port)| (none, Some(port)));
        if !none.is_empty() || !folder.starts_with('/') {
            return Err(wrong(
                "the parameter `host` of the URL is not the folder of a socket",
                "write a host before the /, and use the parameter only for a folder",
            ));
        }
        return Ok(vec![(Host::Unix(PathBuf::from(folder)), port.map_or(Ok(PORT), port_number)?)]);
    }
    let hosts: Vec<_> = listed.split(',').map(host).collect::<Result<_>>()?;
    if hosts.len() > 1 && hosts.iter().any(|(host, _)| matches!(host, Host::Unix(_))) {
        return Err(wrong("the URL has both a socket and another host", "use one of them"));
    }
    Ok(hosts)
}

fn host(text: &str) -> Result<(Host, u16)> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) =
                rest.split_once(']').ok_or_else(|| wrong("an IPv6 address of the URL has no closing ]", SHAPE))?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':').ok_or_else(|| wrong("a port of the URL is not a number", SHAPE))?),
            };
            if ip.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong("what stands in [ ] in the URL is not an IPv6 address", SHAPE));
            }
            (ip.to_owned(), port)
        }
        None => {
            let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
            (decoded(name)?, port)
        }
    };
    let port = port.map_or(Ok(PORT), port_number)?;
    if name.starts_with('/') {
        return Ok((Host::Unix(PathBuf::from(name)), port));
    }
    if name.is_empty() {
        return Err(wrong("the URL has no host", SHAPE));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':')) {
        return Err(wrong("the host of the URL has a character that no host name has", ENCODE));
    }
    Ok((Host::Tcp(name.to_ascii_lowercase()), port))
}

fn port_number(text: &str) -> Result<u16> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(wrong("a port of the URL is not a number from 1 to 65535", ENCODE)),
    }
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(wrong(&format!("the parameter `{name}` of the URL is given twice"), "remove one of the two")),
    }
}

fn ssl_mode(value: &str) -> Result<SslMode> {
    Ok(match value {
        "disable" => SslMode::Disable,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            return Err(wrong(
                "sslmode has a value that is not known",
                "use disable, prefer, require, verify-ca or verify-full",
            ));
        }
    })
}

fn channel_binding(value: &str) -> Result<ChannelBinding> {
    Ok(match value {
        "disable" => ChannelBinding::Disable,
        "prefer" => ChannelBinding::Prefer,
        "require" => ChannelBinding::Require,
        _ => return Err(wrong("channel_binding has a value that is not known", "use disable, prefer or require")),
    })
}

fn session(value: &str) -> Result<TargetSessionAttrs> {
    Ok(match value {
        "any" => TargetSessionAttrs::Any,
        "read-write" => TargetSessionAttrs::ReadWrite,
        "read-only" => TargetSessionAttrs::ReadOnly,
        _ => {
            return Err(wrong(
                "target_session_attrs has a value that is not known",
                "use any, read-write or read-only",
            ));
        }
    })
}

fn timeout(value: &str) -> Result<Duration> {
    match value.parse() {
        Ok(seconds) if (1..=TIMEOUT_MOST).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong("connect_timeout is not a number of seconds from 1 to 600", "leave it out for 10 seconds")),
    }
}

/// Percent-decodes; `+` stays, as in PostgreSQL's own reading of such URLs.
fn decoded(text: &str) -> Result<String> {
    let bad =
        || wrong("the URL has a % that two hexadecimal digits do not follow, or bytes that are not UTF-8", ENCODE);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else { return Err(bad()) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| bad())?);
    }
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    if text.contains('\0') {
        return Err(wrong("the URL holds a NUL", ENCODE));
    }
    Ok(text)
}

fn wrong(message: &str, hint: &str) -> Error {
    Error::new(Code::PostgresUrl, message).with_hint(hint)
}

#[cfg(test)]
mod tests;
