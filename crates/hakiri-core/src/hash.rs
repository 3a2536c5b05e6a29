//! SHA-256, the only hash that names or checks bytes.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 as 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Hash(String);

impl Hash {
    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(Sha256::digest(bytes).as_slice())
    }

    /// The hash of parts that are each preceded by their length, so that no two lists of parts share one.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self::from_digest(hasher.finalize().as_slice())
    }

    /// A finished digest of 32 bytes.
    pub fn from_digest(digest: &[u8]) -> Self {
        use fmt::Write as _;
        let mut hex = String::with_capacity(digest.len() * 2);
        for byte in digest {
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 16 digits: what file names carry (S2).
    pub fn short(&self) -> &str {
        &self.0[..self.0.len().min(16)]
    }

    /// The first ten bytes, for identifiers that take that much entropy.
    pub fn first_ten_bytes(&self) -> [u8; 10] {
        let mut out = [0; 10];
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = self.0.get(2 * i..2 * i + 2).and_then(|d| u8::from_str_radix(d, 16).ok()).unwrap_or(0);
        }
        out
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}
