//! What AWS takes as ids, ARNs, names and tags. All of them reach a template, so that nothing else is let through.

use std::collections::BTreeSet;

/// What a tag may be.
pub(super) const TAGS: &str = "use at most 40 tags, keys of 1 to 128 and values of up to 256 letters, digits, spaces and \
                               `_ . : / = + - @`, no key that begins with `aws:`, and no two that differ in case alone";
const MOST_TAGS: usize = 40;

pub(super) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [country, places @ .., number] = &parts[..] else { return false };
    let word = |w: &str| (2..=16).contains(&w.len()) && w.bytes().all(|b| b.is_ascii_lowercase());
    word(country)
        && (1..=3).contains(&places.len())
        && places.iter().all(|place| word(place))
        && (1..=2).contains(&number.len())
        && is_digits(number)
}

pub(super) fn is_vpc(text: &str) -> bool {
    is_id(text, "vpc-")
}

pub(super) fn is_subnet(text: &str) -> bool {
    is_id(text, "subnet-")
}

pub(super) fn is_group(text: &str) -> bool {
    is_id(text, "sg-")
}

pub(super) fn is_bucket(text: &str) -> bool {
    let part = |p: &str| {
        !p.is_empty()
            && !p.starts_with('-')
            && !p.ends_with('-')
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    (3..=63).contains(&text.len()) && text.split('.').all(part)
}

pub(super) fn is_secret_arn(text: &str) -> bool {
    arn(text, "secretsmanager").is_some_and(|(region, account, rest)| {
        is_region(region) && is_account(account) && rest.strip_prefix("secret:").is_some_and(is_secret)
    })
}

/// A host and perhaps a port. Both become part of a URL.
pub(super) fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "5432"));
    let is_label = |label: &str| is_name(label, "-", 63) && !label.starts_with('-') && !label.ends_with('-');
    host.len() <= 253
        && host.split('.').all(is_label)
        && is_digits(port)
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// What needs no quoting as a database's name, in a URL either.
pub(super) fn is_database(text: &str) -> bool {
    is_name(text, "_-", 63)
}

pub(super) fn is_key_arn(text: &str) -> bool {
    arn(text, "kms").is_some_and(|(region, account, rest)| {
        is_region(region) && is_account(account) && rest.strip_prefix("key/").is_some_and(|id| is_name(id, "-", 64))
    })
}

pub(super) fn is_policy_arn(text: &str) -> bool {
    arn(text, "iam").is_some_and(|(region, account, rest)| {
        region.is_empty()
            && (is_account(account) || account == "aws")
            && rest.strip_prefix("policy/").is_some_and(|name| is_name(name, "/_+=,.@-", 512))
    })
}

/// The places of tags that AWS would refuse, and why.
pub(super) fn wrong_tags<'t>(tags: impl Iterator<Item = (&'t str, &'t str)>) -> Vec<(usize, &'static str)> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for (place, (key, value)) in tags.enumerate() {
        let lower = key.to_lowercase();
        let why = if place >= MOST_TAGS {
            "there are too many"
        } else if lower.starts_with("aws:") {
            "the beginning `aws:` is reserved"
        } else if !(1..=128).contains(&key.chars().count()) || !key.chars().all(is_tag) {
            "its key has a length or a character that AWS refuses"
        } else if value.chars().count() > 256 || !value.chars().all(is_tag) {
            "its value has a length or a character that AWS refuses"
        } else if !seen.insert(lower) {
            "another one differs in case alone, which roles do not take"
        } else {
            continue;
        };
        out.push((place, why));
    }
    out
}

fn is_tag(c: char) -> bool {
    c.is_alphanumeric() || " _.:/=+-@".contains(c)
}

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|id| {
        matches!(id.len(), 8 | 17) && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// Region, account and the rest of an ARN of a service.
fn arn<'t>(text: &'t str, service: &str) -> Option<(&'t str, &'t str, &'t str)> {
    let mut parts = text.splitn(6, ':');
    let (arn, partition, of) = (parts.next()?, parts.next()?, parts.next()?);
    let is_partition = partition == "aws" || partition.strip_prefix("aws-").is_some_and(|p| is_name(p, "-", 20));
    (arn == "arn" && is_partition && of == service).then_some(())?;
    Some((parts.next()?, parts.next()?, parts.next()?))
}

/// A secret's name with the six characters that the service adds: without them a policy would not name it. Those that RDS
/// manages begin with `rds!`.
fn is_secret(text: &str) -> bool {
    text.rsplit_once('-').is_some_and(|(name, end)| {
        is_name(name, "/_+=.@!-", 512) && end.len() == 6 && end.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && is_digits(text)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn is_name(text: &str, besides: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || besides.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_regions_are_those_of_aws() {
        for right in ["eu-central-1", "us-gov-west-1", "ap-southeast-2", "us-iso-east-1"] {
            assert!(is_region(right), "{right}");
        }
        for wrong in
            ["", "eu", "eu-central", "EU-central-1", "eu-central-1 ", "eu-${x}-1", "a-b-c-d-e-1", "eu-central-x"]
        {
            assert!(!is_region(wrong), "{wrong}");
        }
        assert!(is_vpc("vpc-0123456789abcdef0") && is_vpc("vpc-1a2b3c4d") && is_subnet("subnet-1a2b3c4d"));
        for wrong in ["vpc-", "vpc-xyzxyzxy", "subnet-1a2b3c4d", "vpc-1a2b3c4d5", "vpc-0123456789ABCDEF0", "vpc-${Id}"]
        {
            assert!(!is_vpc(wrong), "{wrong}");
        }
        assert!(is_group("sg-1a2b3c4d") && !is_group("1a2b3c4d"));
        assert!(is_bucket("acme.data-lake") && is_bucket("0ab"));
        for wrong in ["ab", "A-bc", "a..b", ".ab", "ab-", "a_b", "a/b", "${X}", &"a".repeat(64)] {
            assert!(!is_bucket(wrong), "{wrong}");
        }
    }

    #[test]
    fn arns_are_of_their_service_and_carry_nothing_else() {
        assert!(is_secret_arn("arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/shop-AbCdEf"));
        assert!(is_secret_arn("arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-01ab-23cd-AbCdEf"));
        assert!(is_key_arn("arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-0123"));
        assert!(is_policy_arn("arn:aws:iam::123456789012:policy/team/Boundary"));
        assert!(is_policy_arn("arn:aws:iam::aws:policy/PowerUserAccess"));
        for wrong in [
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:",
            "arn:aws:secretsmanager:eu-central-1:12345678901:secret:x",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a b-AbCdEf",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/shop",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:*-AbCdEf",
            "arn:aws:ssm:eu-central-1:123456789012:secret:x-AbCdEf",
            "prod/shop",
            "arn:aws:secretsmanager:*:123456789012:secret:x-AbCdEf",
        ] {
            assert!(!is_secret_arn(wrong), "{wrong}");
        }
        assert!(!is_key_arn("arn:aws:kms:eu-central-1:123456789012:alias/x"));
        assert!(!is_policy_arn("arn:aws:iam::123456789012:role/x"));
    }

    #[test]
    fn a_database_is_where_a_host_and_perhaps_a_port_say() {
        for right in ["db.example.com", "db.example.com:5433", "10.0.0.7", "db"] {
            assert!(is_host(right), "{right}");
        }
        for wrong in [
            "", "db.", ":5432", "db:", "db:0", "db:65536", "db:+1", "a b", "a@b", "a/b", "a&b", "a..b", "-a", "[::1]",
            "${X}",
        ] {
            assert!(!is_host(wrong), "{wrong}");
        }
        assert!(is_database("hakiri") && is_database("Hakiri_2-x"));
        for wrong in ["", "a b", "a&b", "a'b", "a/b", "${X}", &"a".repeat(64)] {
            assert!(!is_database(wrong), "{wrong}");
        }
    }

    #[test]
    fn tags_are_those_that_every_service_takes() {
        let wrong =
            |tags: &[(&str, &str)]| wrong_tags(tags.iter().copied()).into_iter().map(|w| w.0).collect::<Vec<_>>();
        assert!(wrong(&[("team", "data"), ("Kostenstelle", "Größe 12/A"), ("a:b", "")]).is_empty());
        assert_eq!(
            wrong(&[("aws:x", "1"), ("", "1"), ("a\"b", "1"), ("a", "x\ny"), ("A b", "1"), ("a B", "2")]),
            [0, 1, 2, 3, 5]
        );
        let many: Vec<String> = (0..41).map(|n| format!("t{n}")).collect();
        assert_eq!(wrong_tags(many.iter().map(|t| (t.as_str(), ""))).len(), 1);
    }
}
