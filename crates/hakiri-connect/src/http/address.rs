//! Which addresses a source may connect to (`HK0508`): pure decisions, checked for literals before a request and for
//! names on the very addresses that are connected to.
//!
//! The list says what is allowed rather than what is known to be bad: of IPv6, only global unicast. An address that
//! embeds an IPv4 address (mapped, compatible, NAT64, 6to4) is judged by the embedded one, since a gateway may unwrap it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use url::{Host, Url};

/// Whether an address is none that a public API can have.
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)            // this network, private, loopback, multicast, reserved, broadcast
            | (100, 64..=127, _)                    // carrier-grade NAT; a cloud's metadata service among them
            | (169, 254, _)                         // link-local; metadata services
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) // protocol assignments, documentation
            | (192, 88, 99)                         // 6to4 relays
            | (198, 18 | 19, _) // benchmarks
    ) || ip == Ipv4Addr::new(168, 63, 129, 16) // a cloud's wire server on a public-looking address
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let low = Ipv4Addr::from(((u32::from(s[6])) << 16) | u32::from(s[7]));
    match s {
        // ::/96 (unspecified, loopback, IPv4-compatible), ::ffff:0:0/96 (mapped), ::ffff:0:0:0/96 (translated).
        [0, 0, 0, 0, 0, 0, ..] => true,
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => is_private_v4(low),
        // 64:ff9b::/96, NAT64 with the well-known prefix.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_private_v4(low),
        // 2002::/16, 6to4.
        [0x2002, high, mid, ..] => is_private_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(mid))),
        // 2001::/23 (Teredo and other assignments), documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => true,
        // Global unicast is 2000::/3; everything else is local, multicast or unassigned.
        [first, ..] => !(0x2000..=0x3fff).contains(&first),
    }
}

/// Checks a URL before anything is sent to it: scheme, host, and the address where the host is one. The URL parser has
/// turned every notation of an address (decimal, octal, hexadecimal, short) into the address.
///
/// # Errors
/// `HK0403` for another scheme or no host, `HK0508` for a private address.
pub fn gate(url: &Url, allow_private: bool) -> Result<()> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::new(Code::SourceConfig, format!("`{}` is not a scheme that can be read", url.scheme()))
            .with_hint("use a URL that begins with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::new(Code::SourceConfig, "a URL holds a user name or password")
            .with_hint("use `auth = { basic = { … } }`"));
    }
    let ip = match url.host() {
        None => return Err(Error::new(Code::SourceConfig, "a URL has no host")),
        Some(Host::Domain(_)) => return Ok(()),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
    };
    if !allow_private && is_private(ip) {
        return Err(private(&ip.to_string()));
    }
    Ok(())
}

/// The error for a host with private addresses only.
pub fn private(host: &str) -> Error {
    Error::new(Code::HttpForbiddenAddress, format!("{host} is a private address, or a name for one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_a_private_address_is_refused() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "3232235777",
            "0xC0A80101",
            "169.254.169.254",
            "0xA9FEA9FE",
            "2852039166",
            "0251.0376.0251.0376",
            "169.254.1.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "168.63.129.16",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "①②⑦.⓪.⓪.①",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[::ffff:0:10.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[2002:a9fe:a9fe::1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[febf::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[100::1]",
            "[4000::1]",
        ] {
            let url = Url::parse(&format!("http://{host}:8080/x")).unwrap_or_else(|e| panic!("{host}: {e}"));
            let error = gate(&url, false).err().unwrap_or_else(|| panic!("{host} passed"));
            assert_eq!(error.code(), Code::HttpForbiddenAddress, "{host}");
            assert!(gate(&url, true).is_ok(), "{host} with allow_private");
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for host in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "169.253.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "[2606:4700::1111]",
            "[64:ff9b::8.8.8.8]",
            "[::ffff:8.8.8.8]",
            "[2002:808:808::1]",
            "api.example.com",
            "localhost",
        ] {
            assert!(gate(&Url::parse(&format!("https://{host}/")).unwrap(), false).is_ok(), "{host}");
        }
    }

    #[test]
    fn other_schemes_and_credentials_in_urls_are_refused() {
        for url in [
            "ftp://example.com/",
            "file:///etc/passwd",
            "data:,x",
            "https://user:pw@example.com/",
            "https://user@example.com/",
        ] {
            assert_eq!(gate(&Url::parse(url).unwrap(), true).unwrap_err().code(), Code::SourceConfig, "{url}");
        }
    }
}
