//! Where a service is. Pure.

use std::net::IpAddr;

use url::{Host, Url};

use crate::Variable;

/// A region and, where it is not the region's own, the address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What requests are signed for, such as `eu-central-1`.
    pub region: String,
    /// Where requests go instead of the region's own address: `https://HOST:PORT`.
    pub endpoint: Option<String>,
}

/// The region: the one asked for, or the environment's.
pub fn region(asked: Option<&str>, variable: Variable<'_>) -> Option<String> {
    asked.map(str::to_owned).or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"))
}

/// The address that the environment gives a service (`DYNAMODB`, `SECRETS_MANAGER`, `S3`, `STS`), as AWS's own clients
/// read it: its own variable first, then the one for all.
pub fn endpoint(service: &str, variable: Variable<'_>) -> Option<String> {
    variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL"))
}

/// Whether a text can be a region: it becomes part of a host's name and of what is signed.
pub fn is_region(text: &str) -> bool {
    !text.is_empty() && text.len() <= 60 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The address of a service in a place. What is wrong is told without quoting it: a password may stand in it.
///
/// # Errors
/// What is wrong with region or endpoint.
pub(crate) fn address(host: &str, place: &Place) -> Result<Url, String> {
    let region = &place.region;
    if !is_region(region) {
        return Err("the region is not one of AWS: it is like eu-central-1".to_owned());
    }
    let Some(endpoint) = &place.endpoint else {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        return Url::parse(&format!("https://{host}.{region}.{domain}/")).map_err(|_| "no such address".to_owned());
    };
    let parsed = Url::parse(endpoint).map_err(|_| format!("the endpoint for {host} is not a URL"))?;
    let plain = parsed.username().is_empty() && parsed.password().is_none();
    let bare = parsed.path() == "/" && parsed.query().is_none() && parsed.fragment().is_none();
    if !matches!(parsed.scheme(), "http" | "https") || !plain || !bare {
        return Err(format!("the endpoint for {host} must be like https://HOST:PORT and no more"));
    }
    Ok(parsed)
}

/// Whether an address is this machine itself, where no proxy stands in between.
pub(crate) fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_own_address_wins_over_the_one_for_all() {
        let both = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some("all".to_owned()),
            "AWS_ENDPOINT_URL_DYNAMODB" => Some("own".to_owned()),
            "AWS_DEFAULT_REGION" => Some("eu-west-2".to_owned()),
            _ => None,
        };
        assert_eq!(endpoint("DYNAMODB", &both).as_deref(), Some("own"));
        assert_eq!(endpoint("SECRETS_MANAGER", &both).as_deref(), Some("all"));
        assert_eq!(endpoint("S3", &|_| None), None);
        assert_eq!(region(None, &both).as_deref(), Some("eu-west-2"));
        assert_eq!(region(Some("eu-north-1"), &both).as_deref(), Some("eu-north-1"));
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_without_being_quoted() {
        let at = |region: &str, endpoint: Option<&str>| {
            let place = Place { region: region.to_owned(), endpoint: endpoint.map(str::to_owned) };
            address("dynamodb", &place).map(|url| url.to_string())
        };
        for (region, endpoint) in [
            ("eu-west-1", "nowhere"),
            ("eu-west-1", "ftp://d.example"),
            ("eu-west-1", "https://me:pa55@d.example"),
            ("eu-west-1", "https://d.example/?x=pa55"),
            ("eu-west-1", "https://d.example/pa55"),
            ("pa55.example/", "https://d.example"),
            ("", "https://d.example"),
        ] {
            let said = at(region, Some(endpoint)).unwrap_err();
            assert!(!said.contains("pa55"), "{said}");
        }
        assert_eq!(at("eu-central-1", None).unwrap(), "https://dynamodb.eu-central-1.amazonaws.com/");
        assert_eq!(at("cn-north-1", None).unwrap(), "https://dynamodb.cn-north-1.amazonaws.com.cn/");
        at("x", Some("http://127.0.0.1:4566")).unwrap();
    }
}
