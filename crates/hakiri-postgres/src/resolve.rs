//! Names to addresses, without the C library.
//!
//! The binary is linked statically, where `getaddrinfo` looks for libraries of the build machine. The driver is therefore
//! always given an IP address to connect to, and the name only for the certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Kind, Result};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;

/// The addresses of a host, to be tried in this order; never none.
pub(crate) async fn addresses(host: &str) -> Result<Vec<IpAddr>> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    // By definition (RFC 6761), and it must work on a machine without a name server.
    if host == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    // Made for each connection, of which there are few: what the machine's files say may have changed.
    let mut builder = TokioResolver::builder_tokio().map_err(|_| {
        Error::new(
            Code::PostgresUnreachable,
            format!("the name {host} cannot be looked up: this machine has no name servers set up"),
        )
        .with_hint("write the server's IP address into the URL, or set up /etc/resolv.conf")
        .with_kind(Kind::Permanent)
    })?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let found: Vec<IpAddr> = match builder.build().lookup_ip(host).await {
        Ok(found) => found.into_iter().collect(),
        Err(e) if e.is_no_records_found() || e.is_nx_domain() => Vec::new(),
        Err(_) => {
            return Err(Error::new(Code::PostgresUnreachable, format!("the name {host} cannot be looked up"))
                .with_hint("check the network and the name servers of this machine"));
        }
    };
    if found.is_empty() {
        // Transient all the same: a database that is being created gets its name a little later.
        return Err(Error::new(Code::PostgresUnreachable, format!("the name {host} is not known"))
            .with_hint("check the host of the URL"));
    }
    Ok(found)
}
