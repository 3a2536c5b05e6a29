//! Names of what a deployment creates (G3): derived from project and environment, of a given length at most, and never
//! those of another project.
//!
//! `shop` in `staging` may not be called what the project `shop-staging` is: wherever a name does not spell project and
//! environment unambiguously, eight digits of a hash over both go between them. A registry of names would do without,
//! but two machines that never met would have to share it.

use hakiri_core::hash::Hash;

/// The prefix of every name.
const PREFIX: &str = "hakiri-";

/// `hakiri-shop`; in an environment `hakiri-shop-<hash>-staging`; shortened where it is longer than `limit`, which is at
/// least 31.
pub fn name(project: &str, env: Option<&str>, limit: usize) -> String {
    let plain = format!("{PREFIX}{project}");
    if env.is_none() && plain.len() <= limit {
        return plain;
    }
    let hash = Hash::of_parts(&[project.as_bytes(), env.unwrap_or_default().as_bytes()]);
    let tag = hash.as_str().get(..8).unwrap_or_default();
    let suffix = match env {
        Some(env) => format!("-{tag}-{}", simple(env)),
        None => format!("-{tag}"),
    };
    // Half of what is left at least is the project's; the hash keeps apart what is cut.
    let suffix: String = suffix.chars().take(limit - PREFIX.len() - 3).collect();
    let suffix = suffix.trim_end_matches('-');
    let room = limit - PREFIX.len() - suffix.len();
    let kept: String = project.chars().take(room).collect();
    format!("{PREFIX}{}{suffix}", kept.trim_end_matches('-'))
}

/// Lower-case letters, digits and `-`: what every system takes.
fn simple(env: &str) -> String {
    env.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_in_an_environment_is_not_the_project_called_like_it() {
        assert_eq!(name("shop", None, 31), "hakiri-shop");
        let staging = name("shop", Some("staging"), 63);
        assert!(staging.starts_with("hakiri-shop-") && staging.ends_with("-staging"), "{staging}");
        assert_ne!(staging, name("shop-staging", None, 63));
        assert_ne!(name("a-b", Some("c"), 63), name("a", Some("b-c"), 63));
        assert_ne!(name("a", Some("B"), 63), name("a", Some("b"), 63));
    }

    #[test]
    fn names_are_never_longer_than_their_limit_and_stay_apart() {
        let long = "a".repeat(39);
        for limit in [31, 63] {
            let mut seen = std::collections::BTreeSet::new();
            for project in [format!("{long}x"), format!("{long}y"), "shop".to_owned()] {
                for env in [None, Some("staging"), Some("an-environment-with-a-very-long-name-indeed")] {
                    let name = name(&project, env, limit);
                    assert!(name.len() <= limit && !name.ends_with('-'), "{name}");
                    assert!(seen.insert(name), "twice");
                }
            }
        }
    }
}
