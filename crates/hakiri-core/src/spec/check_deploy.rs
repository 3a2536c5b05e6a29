//! What the schema cannot say of `[deploy.*]`: these texts reach files that other programs read, as paths, names and
//! addresses, so that each is held to what all of those programs take the same way.

use std::net::SocketAddr;

use super::check_aws as aws;
use super::check_project::Root;
use super::deploy::deploy_memory_mib;
use super::diagnostic::Problem;
use super::node::Node;
use crate::codes::Code;

/// A key of a target's table, whether a text is right for it, and what to write instead.
type Rule = (&'static str, &'static str, fn(&str) -> bool, &'static str);

const RULES: [Rule; 21] = [
    ("systemd", "user", is_user, "use at most 31 lower-case letters, digits, `-` and `_`, starting with a letter"),
    ("systemd", "binary", is_place, PLACE),
    ("systemd", "dir", is_place, PLACE),
    ("systemd", "listen", is_address, ADDRESS),
    ("systemd", "memory", is_memory, MEMORY),
    ("compose", "image", is_image, "write for example registry.example.com/team/shop:1.0"),
    ("compose", "listen", is_address, ADDRESS),
    ("compose", "memory", is_memory, MEMORY),
    (
        "cloudflare",
        "bucket",
        is_bucket,
        "use 3 to 63 lower-case letters, digits and `-`, the first and the last no `-`",
    ),
    ("cloudflare", "memory", is_memory, MEMORY),
    ("aws", "region", aws::is_region, "write for example eu-central-1"),
    ("aws", "memory", is_memory, MEMORY),
    ("aws", "vpc_id", aws::is_vpc, "write its id, such as vpc-0123456789abcdef0"),
    ("aws", "subnet_ids", aws::is_subnet, "write ids, such as subnet-0123456789abcdef0"),
    ("aws", "security_group_ids", aws::is_group, "write ids, such as sg-0123456789abcdef0"),
    (
        "aws",
        "bucket",
        aws::is_bucket,
        "use 3 to 63 lower-case letters, digits, `-` and `.`, the first and the last a letter or digit",
    ),
    (
        "aws",
        "database_secret_arn",
        aws::is_secret_arn,
        "write arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-XXXXXX",
    ),
    (
        "aws",
        "database_host",
        aws::is_host,
        "write a name or address and, unless it is 5432, a port: db.example.com:5433",
    ),
    ("aws", "database_name", aws::is_database, "use at most 63 letters, digits, `_` and `-`"),
    (
        "aws",
        "kms_key_arn",
        aws::is_key_arn,
        "write arn:aws:kms:REGION:ACCOUNT:key/ID; an alias names no key to a policy",
    ),
    ("aws", "permissions_boundary_arn", aws::is_policy_arn, "write arn:aws:iam::ACCOUNT:policy/NAME"),
];
const PLACE: &str = "write an absolute path of letters, digits, `/`, `.`, `-` and `_`, such as /srv/hakiri/shop";
const ADDRESS: &str = "write an address and a port, such as 127.0.0.1:8320 or [::1]:8320";
const MEMORY: &str = "write for example 1GiB or 512MiB; at least 256MiB";

/// Checks `[deploy]` and each `[env.NAME.deploy]`.
pub(super) fn check_deploy(roots: &[Root<'_>]) -> Vec<Problem> {
    let mut out = Vec::new();
    for Root { file, node } in roots {
        let of_envs = node.get("env").map_or(&[][..], Node::members).iter().filter_map(|env| env.node.get("deploy"));
        for deploy in node.get("deploy").into_iter().chain(of_envs) {
            for (target, key, is_right, hint) in RULES {
                let Some(value) = deploy.get(target).and_then(|t| t.get(key)) else { continue };
                // A list is held to the same, item by item.
                for value in std::iter::once(value).chain(value.items()) {
                    if let Some(text) = value.as_text().filter(|text| !is_right(text)) {
                        let message = format!("`{}` cannot be the {key} of [deploy.{target}]", shown(text));
                        out.push(Problem::new(Code::ManifestValue, *file, value.span.clone(), message).hint(hint));
                    }
                }
            }
            // An environment's table stands for the whole of the project's.
            let aws = deploy.get("aws").filter(|aws| aws.get("database_secret_arn").is_none());
            for key in ["database_host", "database_name"] {
                let Some(value) = aws.and_then(|t| t.get(key)) else { continue };
                let message = format!("{key} of [deploy.aws] belongs to database_secret_arn, which is not given");
                let hint = "set database_secret_arn, which holds the login, or leave it out";
                out.push(Problem::new(Code::ManifestValue, *file, value.span.clone(), message).hint(hint));
            }
            let tags = deploy.get("aws").and_then(|t| t.get("tags")).map_or(&[][..], Node::members);
            let wrong =
                aws::wrong_tags(tags.iter().map(|tag| (tag.key.as_str(), tag.node.as_text().unwrap_or_default())));
            for (place, why) in wrong {
                let Some(tag) = tags.get(place) else { continue };
                let message = format!("`{}` cannot be among the tags of [deploy.aws]: {why}", shown(&tag.key));
                out.push(Problem::new(Code::ManifestValue, *file, tag.key_span.clone(), message).hint(aws::TAGS));
            }
        }
    }
    out
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

fn is_user(text: &str) -> bool {
    (1..=31).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}

/// Not `/` itself, and nothing that a reader would have to resolve: a unit protects places by their names.
fn is_place(text: &str) -> bool {
    text.len() <= 200
        && text.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| {
                !matches!(part, "" | "." | "..")
                    && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
            })
        })
}

fn is_address(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0)
}

fn is_memory(text: &str) -> bool {
    deploy_memory_mib(text).is_some()
}

fn is_bucket(text: &str) -> bool {
    (3..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_image(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains("//")
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':' | '@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_absolute_and_mean_one_thing_everywhere() {
        assert!(is_place("/usr/local/bin/hakiri") && is_place("/srv/a-b_c.d"));
        for wrong in ["/", "", "srv", "/srv/", "/srv//x", "/srv/../etc", "/srv/%i", "/srv/a b", "/srv/$HOME", "/a\nb"] {
            assert!(!is_place(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn buckets_are_named_as_r2_names_them() {
        assert!(is_bucket("lake") && is_bucket("0-a-1") && is_bucket(&"a".repeat(63)));
        for wrong in ["ab", "-ab", "ab-", "a.b", "A-b", "a/b", "${X}", &"a".repeat(64)] {
            assert!(!is_bucket(wrong), "{wrong}");
        }
    }

    #[test]
    fn users_images_and_addresses_cannot_carry_anything_else() {
        assert!(is_user("hakiri") && !is_user("root;x") && !is_user("9x") && !is_user("%u") && !is_user(""));
        assert!(
            is_image("ghcr.io/a/b:1.0") && !is_image("a b") && !is_image("${X}") && !is_image("/x") && !is_image("x:")
        );
        assert!(is_address("[::1]:8320") && !is_address("localhost:8320") && !is_address("127.0.0.1:0"));
    }
}
