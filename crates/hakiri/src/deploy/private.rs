//! Addresses that only a private network or one machine has. Judged by the text alone: nothing is looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hakiri_core::spec::PipelineSpec;
use hakiri_core::url::Authority;
use serde_json::Value;

use super::input::Input;

/// The keys of a source's config that hold an address.
const KEYS: [&str; 4] = ["url", "base_url", "token_url", "endpoint"];
/// What a host is called that is none.
const SOCKET: &str = "a socket of this machine";
/// Endings of names that no public resolver knows.
const ENDINGS: [&str; 7] = [".internal", ".local", ".localhost", ".lan", ".home.arpa", ".intranet", ".corp"];

/// Where these pipelines of a project, or its webhook, name such an address: what names it, and the host.
pub fn hosts<'p>(input: &Input<'_>, pipelines: impl IntoIterator<Item = &'p PipelineSpec>) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for pipeline in pipelines {
        out.extend(of_pipeline(pipeline).into_iter().map(|host| (format!("the pipeline {}", pipeline.id), host)));
    }
    if let Some(host) = input.project.notify.as_ref().and_then(|n| private(&n.webhook)) {
        out.push(("[notify] webhook".to_owned(), host));
    }
    out
}

/// The hosts of such addresses that a pipeline names.
pub fn of_pipeline(pipeline: &PipelineSpec) -> Vec<String> {
    let mut found = Vec::new();
    urls(&pipeline.source.config, &mut found);
    found.into_iter().filter_map(private).collect()
}

/// Whether a private host is the very machine that asks.
pub fn is_this_machine(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback() || ip.is_unspecified(),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            host == SOCKET || name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// The texts of a config that are addresses.
pub fn urls<'v>(value: &'v Value, out: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if KEYS.contains(&key.as_str()) => out.push(text),
                    other => urls(other, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| urls(item, out)),
        _ => {}
    }
}

/// The host of a URL, if it is one that cannot be reached from elsewhere. What a secret decides cannot be judged.
fn private(url: &str) -> Option<String> {
    // PostgreSQL takes several hosts; each may be asked.
    Authority::of(url)?
        .hosts
        .split(',')
        .map(without_port)
        .find(|host| !host.contains("${") && is_private(host))
        .map(|host| if host.is_empty() { SOCKET.to_owned() } else { host.to_owned() })
}

fn without_port(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((inner, _)) => inner,
        None => host.split(':').next().unwrap_or(host),
    }
}

fn is_private(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => is_private_v4(ip),
        Ok(IpAddr::V6(ip)) => is_private_v6(ip),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            !name.contains('.') || ENDINGS.iter().any(|ending| name.ends_with(ending))
        }
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || (a == 100 && b & 0xc0 == 64)
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let first = ip.segments()[0];
    ip.is_loopback()
        || ip.is_unspecified()
        || first & 0xfe00 == 0xfc00
        || first & 0xffc0 == 0xfe80
        || ip.to_ipv4_mapped().is_some_and(is_private_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_private_by_its_text() {
        for (url, host) in [
            ("postgres://u:${P}@localhost:5432/db", "localhost"),
            ("postgres://u@10.1.2.3/db", "10.1.2.3"),
            ("postgres://u@a.example,db.prod.internal:5433/x", "db.prod.internal"),
            ("http://192.168.0.7:9000/x", "192.168.0.7"),
            ("http://[::1]:9000", "::1"),
            ("https://[fd00::1]/", "fd00::1"),
            ("https://100.64.0.1/", "100.64.0.1"),
            ("postgres://db/x", "db"),
            ("https://Files.LOCAL./x", "Files.LOCAL."),
            ("postgres:///x?host=/run/postgresql", "a socket of this machine"),
        ] {
            assert_eq!(private(url).as_deref(), Some(host), "{url}");
        }
        for (host, itself) in [
            ("localhost", true),
            ("127.0.0.2", true),
            ("::1", true),
            ("0.0.0.0", true),
            (SOCKET, true),
            ("10.0.0.7", false),
            ("db", false),
        ] {
            assert_eq!(is_this_machine(host), itself, "{host}");
        }
        for url in [
            "https://api.example.com",
            "postgres://u@db.example.com/x",
            "${DATABASE_URL}",
            "https://${HOST}/x",
            "https://100.128.0.1",
            "http://[2606:4700::1111]/",
            "https://8.8.8.8/x",
            "/items",
        ] {
            assert_eq!(private(url), None, "{url}");
        }
    }
}
