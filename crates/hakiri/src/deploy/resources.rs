//! What a target creates, for people to see before it does.

use serde::{Deserialize, Serialize};

/// The kind of a resource that is a secret: it is gone with what it was given to.
pub const SECRET: &str = "secret";

/// Something that a target creates somewhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// What it is there.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// By which name the others see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<String>,
    /// What it can hold or do at most.
    pub limit: String,
}

impl Resource {
    /// One without a binding.
    pub fn new(kind: &str, name: impl Into<String>, limit: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), name: name.into(), binding: None, limit: limit.into() }
    }

    /// Whether it is the same one, whatever its limit.
    pub fn is(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name == other.name
    }

    /// With the name by which the others see it.
    #[must_use]
    pub fn bound(mut self, binding: &str) -> Self {
        self.binding = Some(binding.to_owned());
        self
    }
}

/// What would happen to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Not created from this folder before.
    Create,
    /// Created, and now of another limit or binding.
    Change,
    /// As it was created.
    Same,
    /// Created, and no longer wanted: it stays until somebody removes it.
    Leave,
}

impl Mark {
    /// The sign before a line.
    pub fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Change => '~',
            Self::Same => '=',
            Self::Leave => '-',
        }
    }
}

/// A resource and what would happen to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Marked {
    /// The resource.
    #[serde(flatten)]
    pub resource: Resource,
    /// What would happen.
    pub change: Mark,
}

/// Compares what is wanted with what was created from here last.
pub fn marked(wanted: Vec<Resource>, created: &[Resource]) -> Vec<Marked> {
    let left: Vec<Marked> = created
        .iter()
        .filter(|old| !wanted.iter().any(|new| new.is(old)))
        .map(|old| Marked { resource: old.clone(), change: Mark::Leave })
        .collect();
    let mut out: Vec<Marked> = wanted
        .into_iter()
        .map(|new| {
            let change = match created.iter().find(|old| old.is(&new)) {
                None => Mark::Create,
                Some(old) if *old == new => Mark::Same,
                Some(_) => Mark::Change,
            };
            Marked { resource: new, change }
        })
        .collect();
    out.extend(left);
    out
}

/// What was created, other than secrets, and is not among what is named now: whoever takes the named away leaves it.
pub fn others<'r>(deployed: &[&'r Resource], named: &[Resource]) -> Vec<&'r Resource> {
    let is_other = |old: &&&Resource| old.kind != SECRET && !named.iter().any(|new| new.is(old));
    deployed.iter().filter(is_other).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_created_under_another_name_is_found() {
        let old = [Resource::new("a", "1", "x"), Resource::new(SECRET, "s", "x"), Resource::new("b", "1", "x")];
        let named = [Resource::new("a", "1", "y"), Resource::new("b", "2", "x"), Resource::new("c", "1", "x")];
        assert_eq!(others(&old.iter().collect::<Vec<_>>(), &named), [&old[2]]);
    }

    #[test]
    fn resources_are_known_by_kind_and_name() {
        let resource = |kind, name, limit| Resource::new(kind, name, limit);
        let old = [resource("a", "1", "x"), resource("a", "2", "x"), resource("b", "1", "x")];
        let new = vec![resource("a", "1", "x"), resource("b", "1", "y"), resource("c", "1", "x")];
        let found: Vec<(String, Mark)> =
            marked(new, &old).into_iter().map(|m| (m.resource.kind + &m.resource.name, m.change)).collect();
        let expected = [("a1", Mark::Same), ("b1", Mark::Change), ("c1", Mark::Create), ("a2", Mark::Leave)];
        assert_eq!(found, expected.map(|(n, m)| (n.to_owned(), m)));
    }
}
