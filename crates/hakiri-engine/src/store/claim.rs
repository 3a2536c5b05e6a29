//! The marker (`_hakiri.json`): which catalog governs a store (S11), and whether the store keeps create-only writes.

use bytes::Bytes;
use hakiri_core::canonical::to_canonical_json;
use hakiri_core::codes::Code;
use hakiri_core::layout::MARKER;
use hakiri_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Backend, Created, Store};

/// The version of the store's layout that this binary writes, and the highest it works with.
pub const STORE_FORMAT: u64 = 1;

#[derive(Serialize, Deserialize)]
struct Marker {
    format: u64,
    catalog: String,
}

impl Store {
    /// Makes sure that this catalog governs the store, and makes it so where none does yet. To be called once by every
    /// process that writes; costs a read and one conditional write.
    ///
    /// In a bucket a second create-only write of the marker must be refused: a store that carries it out instead cannot
    /// keep data files immutable. It is of the same bytes, so that nothing changes where it is not refused, and a marker
    /// that this call created is removed again.
    ///
    /// # Errors
    /// `HK0302` for the store of another catalog, `HK0303` for a bucket that ignores conditions, `HK0306` for a marker
    /// that cannot be read, `HK0307` for a newer format; `HK0304`, `HK0308`, `HK0301`.
    pub async fn claim(&self, catalog: &str) -> Result<()> {
        // Looked at before anything is written: a store that ignores conditions would lose a foreign marker.
        let there = self.get(MARKER).await?;
        if let Some(there) = &there {
            judge(there, catalog).map_err(|e| e.at(format!("{}/{MARKER}", self.location())))?;
        }
        let bytes = Bytes::from(to_canonical_json(&Marker { format: STORE_FORMAT, catalog: catalog.to_owned() })?);
        let mut ours = false;
        if there.is_none() {
            match self.create(MARKER, bytes.clone()).await? {
                Created::New => ours = true,
                Created::Existing(there) => {
                    judge(&there, catalog).map_err(|e| e.at(format!("{}/{MARKER}", self.location())))?
                }
            }
        }
        let Backend::Bucket(bucket) = &self.0 else { return Ok(()) };
        if bucket.refuses_overwrite(MARKER, there.unwrap_or(bytes)).await? {
            return Ok(());
        }
        if ours {
            self.delete(MARKER).await?;
        }
        Err(Error::new(Code::StoreUnsafe, "a create-only write replaced an object that exists").at(self.location()))
    }
}

/// Whether a marker lets this catalog and this binary in.
fn judge(bytes: &[u8], catalog: &str) -> Result<()> {
    // The format first and alone: nothing else of a newer one need be readable.
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format > STORE_FORMAT => {
            return Err(Error::new(
                Code::StoreNewer,
                format!("the store has format {format}, this binary knows {STORE_FORMAT}"),
            ));
        }
        _ => {}
    }
    match serde_json::from_value::<Marker>(value) {
        Ok(marker) if marker.catalog == catalog => Ok(()),
        Ok(_) => Err(Error::new(Code::StoreForeign, "the store is governed by another catalog")),
        Err(_) => Err(Error::new(Code::StoreDamaged, "the store's marker cannot be read")
            .with_hint("restore it, or use another path: it says which catalog governs the store")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_lets_in_its_own_catalog_only() {
        assert!(judge(br#"{"catalog":"a","format":1}"#, "a").is_ok());
        for (text, code) in [
            (r#"{"catalog":"b","format":1}"#, Code::StoreForeign),
            (r#"{"format":2,"governor":"c"}"#, Code::StoreNewer),
            (r#"{"catalog":"a"}"#, Code::StoreDamaged),
            ("", Code::StoreDamaged),
        ] {
            assert_eq!(judge(text.as_bytes(), "a").unwrap_err().code(), code, "{text}");
        }
    }
}
