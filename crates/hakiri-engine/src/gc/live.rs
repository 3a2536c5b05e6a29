//! What must stay, read from the catalog and the manifests it names.

use std::collections::BTreeSet;

use hakiri_core::Result;
use hakiri_core::catalog::{Commit, Head, Key, Kind, PageRequest, Record};
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::manifest::FileRef;

use super::{Live, collect};
use crate::Engine;
use crate::read::load_manifest;
use crate::store::StoredFile;

impl Engine {
    /// Deletes files that no commit names and none has named for `grace_ms`; with `dry_run`, says which.
    ///
    /// # Errors
    /// Any store or catalog error.
    pub async fn collect_garbage(&self, grace_ms: i64, dry_run: bool) -> Result<Vec<StoredFile>> {
        let now = self.clock.now();
        let mut forgotten: Vec<Key> = Vec::new();
        let deleted = collect(&self.store, || self.live(grace_ms, &mut forgotten), now, grace_ms, dry_run).await?;
        if !dry_run {
            for key in forgotten {
                let Some(pipeline) = key.parts.first() else { continue };
                let commit = Commit::Forget { pipeline: pipeline.as_str().parse()?, keys: vec![key.clone()] };
                self.catalog.commit(&commit).await?;
            }
        }
        Ok(deleted)
    }

    async fn live(&self, grace_ms: i64, forgotten: &mut Vec<Key>) -> Result<Live> {
        let mut live = Live::default();
        for (_, record) in self.all(Kind::Head).await? {
            let Record::Head(head) = record else { continue };
            self.name_files(&head, &mut live).await?;
        }
        let now = self.clock.now();
        for (key, record) in self.all(Kind::Unnamed).await? {
            let Record::Unnamed(unnamed) = record else { continue };
            if unnamed.since.plus_millis(grace_ms) > now {
                self.name_chain(Some(unnamed.manifest), 0, &mut live.named).await?;
            } else {
                forgotten.push(key);
            }
        }
        Ok(live)
    }

    async fn name_files(&self, head: &Head, live: &mut Live) -> Result<()> {
        live.unfinished.extend(head.unfinished.clone());
        for table in head.tables.values() {
            if let Some(Cursor::Stored { path, .. }) = &table.cursor {
                live.named.insert(path.clone());
            }
            let covers = table.snapshot.as_ref().map_or(0, |s| s.covers);
            self.name_chain(table.manifest.clone(), covers, &mut live.named).await?;
            if let Some(snapshot) = &table.snapshot {
                self.name_chain(Some(snapshot.manifest.clone()), 0, &mut live.named).await?;
            }
        }
        Ok(())
    }

    /// A manifest, its parts, and what hangs on it down to a commit that a snapshot covers.
    async fn name_chain(&self, newest: Option<FileRef>, covers: u64, named: &mut BTreeSet<String>) -> Result<()> {
        let mut next = newest;
        while let Some(file) = next {
            if !named.insert(file.path.clone()) {
                break;
            }
            let manifest = match load_manifest(&self.store, &file).await {
                Ok(manifest) => manifest,
                // What is gone cannot be kept; that a committed file is gone is for readers to say.
                Err(e) if e.code() == Code::StoreMissing => break,
                Err(e) => return Err(e),
            };
            if manifest.seq <= covers {
                break;
            }
            named.extend(manifest.parts.into_iter().map(|p| p.path));
            next = manifest.previous;
        }
        Ok(())
    }

    async fn all(&self, kind: Kind) -> Result<Vec<(Key, Record)>> {
        let mut page = PageRequest { kind, prefix: Vec::new(), after: None, limit: 500, newest_first: false };
        let mut entries = Vec::new();
        loop {
            let listed = self.catalog.list(&page).await?;
            page.after = listed.entries.last().map(|(key, _)| key.clone());
            entries.extend(listed.entries);
            if !listed.more {
                return Ok(entries);
            }
        }
    }
}
