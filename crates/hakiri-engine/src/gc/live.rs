//! What must stay, read from the catalog and the manifests it names.

use std::collections::{BTreeMap, BTreeSet};

use hakiri_core::Result;
use hakiri_core::catalog::{Commit, Head, Key, Kind, PageRequest, Record};
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::manifest::FileRef;

use super::{Live, collect};
use crate::Engine;
use crate::read::load_manifest;
use crate::store::{Store, StoredFile};

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
        let mut chains = Chains::default();
        for (_, record) in self.all(Kind::Head).await? {
            let Record::Head(head) = record else { continue };
            self.name_files(&head, &mut live, &mut chains).await?;
        }
        let now = self.clock.now();
        for (key, record) in self.all(Kind::Unnamed).await? {
            let Record::Unnamed(unnamed) = record else { continue };
            if unnamed.since.plus_millis(grace_ms) > now {
                chains.name(&self.store, Some(unnamed.manifest), unnamed.above, &mut live.named).await?;
            } else {
                forgotten.push(key);
            }
        }
        Ok(live)
    }

    async fn name_files(&self, head: &Head, live: &mut Live, chains: &mut Chains) -> Result<()> {
        live.unfinished.extend(head.unfinished.clone());
        for table in head.tables.values() {
            if let Some(Cursor::Stored { path, .. }) = &table.cursor {
                live.named.insert(path.clone());
            }
            let covers = table.snapshot.as_ref().map_or(0, |s| s.covers);
            chains.name(&self.store, table.manifest.clone(), covers, &mut live.named).await?;
            if let Some(snapshot) = &table.snapshot {
                chains.name(&self.store, Some(snapshot.manifest.clone()), 0, &mut live.named).await?;
            }
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

/// What is known of a manifest.
#[derive(Debug)]
struct Known {
    seq: u64,
    parts: Vec<String>,
    previous: Option<FileRef>,
}

/// The manifests that were read, each once; none where it is gone. That one is named does not mean that what is behind
/// it is: a head names the manifest at which its snapshot makes it stop, and not the parts of it, while those may still
/// have their grace. So every chain is walked to its own end.
#[derive(Debug, Default)]
struct Chains(BTreeMap<String, Option<Known>>);

impl Chains {
    /// Names a manifest, its parts, and what hangs on it down to the commit `covers`. The manifest of that commit stays
    /// too: readers know by it where to stop.
    async fn name(
        &mut self,
        store: &Store,
        newest: Option<FileRef>,
        covers: u64,
        named: &mut BTreeSet<String>,
    ) -> Result<()> {
        let mut next = newest;
        while let Some(file) = next {
            named.insert(file.path.clone());
            if !self.0.contains_key(&file.path) {
                let known = match load_manifest(store, &file).await {
                    Ok(m) => Some(Known {
                        seq: m.seq,
                        parts: m.parts.into_iter().map(|p| p.path).collect(),
                        previous: m.previous,
                    }),
                    // What is gone cannot be kept; that a committed file is gone is for readers to say.
                    Err(e) if e.code() == Code::StoreMissing => None,
                    Err(e) => return Err(e),
                };
                self.0.insert(file.path.clone(), known);
            }
            let Some(Some(known)) = self.0.get_mut(&file.path) else { break };
            if known.seq <= covers {
                break;
            }
            // Once is enough.
            named.extend(std::mem::take(&mut known.parts));
            next = known.previous.clone();
        }
        Ok(())
    }
}
