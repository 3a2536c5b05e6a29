//! Names to addresses, with private addresses taken out before a connection is made.
//!
//! The check sits in the resolver of the HTTP client, so that it sees the addresses that are connected to: a check
//! beside it would ask the name server twice, and a name can answer differently the second time. The binary is linked
//! statically, where the C library's resolver does not work, so names are resolved by a library of our own side.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_private;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Looks names up. Tests bring their own.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// The addresses of a name.
    ///
    /// # Errors
    /// Whatever the name service says.
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, BoxError>;
}

/// Name servers and hosts file of the machine.
#[derive(Default)]
pub struct SystemLookup(OnceLock<TokioResolver>);

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, BoxError> {
        let resolver = match self.0.get() {
            Some(resolver) => resolver,
            None => {
                let mut builder = TokioResolver::builder_tokio()?;
                builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
                self.0.get_or_init(|| builder.build())
            }
        };
        Ok(resolver.lookup_ip(host).await?.into_iter().collect())
    }
}

/// A name has private addresses only. The client finds it in the chain of causes of its own error.
#[derive(Debug)]
pub struct PrivateName;

impl fmt::Display for PrivateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has private addresses only")
    }
}

impl std::error::Error for PrivateName {}

/// A resolver that keeps private addresses from the HTTP client.
pub struct Guarded {
    lookup: Arc<dyn Lookup>,
    allow_private: bool,
}

impl Guarded {
    /// Puts the guard before a look-up.
    pub fn new(lookup: Arc<dyn Lookup>, allow_private: bool) -> Self {
        Self { lookup, allow_private }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, allow_private) = (self.lookup.clone(), self.allow_private);
        Box::pin(async move {
            let found = lookup.lookup(name.as_str()).await?;
            let allowed = filter(found, allow_private)?;
            Ok(Box::new(allowed.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

fn filter(found: Vec<IpAddr>, allow_private: bool) -> Result<Vec<IpAddr>, PrivateName> {
    let any = !found.is_empty();
    let allowed: Vec<IpAddr> = found.into_iter().filter(|ip| allow_private || !is_private(*ip)).collect();
    if any && allowed.is_empty() { Err(PrivateName) } else { Ok(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_taken_out_and_a_name_with_no_other_is_refused() {
        let ips = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(filter(ips(&["127.0.0.1", "8.8.8.8", "::1"]), false).unwrap(), ips(&["8.8.8.8"]));
        assert!(filter(ips(&["::ffff:10.0.0.1"]), false).is_err());
        assert_eq!(filter(ips(&["10.0.0.1"]), true).unwrap(), ips(&["10.0.0.1"]));
        assert!(filter(vec![], false).unwrap().is_empty());
    }
}
