//! A table of DynamoDB, shared by any number of machines and projects. See ADR 0024.
//!
//! DynamoDB sees neither several items at one moment nor more than 100 of them in a transaction, and a commit may touch
//! more. So one item, the root, counts the writes of a project, and everything rests on it:
//!
//! - A write learns the revision, then reads the versions it expects, and then changes all items in one transaction that
//!   demands the same revision still and raises it. What it compared therefore still holds when it writes (C1, C4).
//! - A read learns the revision, reads, and looks at the root again: the same revision, the same moment.
//! - A write that does not fit into a transaction lays its items aside and then raises the revision with a note of where
//!   they lie, which is the commit. Whoever sees the note carries the write out before anything else, as often as it
//!   takes; each step demands that the note is still there.
//!
//! Every read is strongly consistent. A write is sent again only when the answer says that nothing was done; without an
//! answer it is [`CatalogError::OutcomeUnknown`] (C8). One that arrives late finds another revision, or is the write.
//!
//! The clock is the header `Date` of the answers: whole seconds. A lease may seem to last up to a second longer or
//! shorter than it does; its safety is the epoch alone (C3).

mod batches;
mod client;
mod error;
mod layout;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use hakiri_aws::{Credentials, Patience};
use hakiri_core::catalog::{CatalogError, CatalogResult, Info};
use hakiri_core::id::ProjectName;
#[cfg(feature = "conformance")]
use hakiri_core::time::Clock;
use hakiri_core::time::Instant;

use crate::RecordCatalog;
use crate::records::{Batch, Entry, Moment, Records, Scan, Scanned, Version, Written};
use client::{Client, Refused};
use error::{never, odd};
use layout::{Body, FORMAT, KEY, Place, ROOT, Root, Stored};

/// How many keys one batch may touch: so many short records fit into one transaction.
const MAX_BATCH: usize = 90;

/// How often a read or a write starts over when others write at the same time.
const ATTEMPTS: u32 = 100;

/// Where the catalog is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The table, whose keys are `pk` and `sk`, both of the type S.
    pub table: String,
    /// The project: its items in the table are its own.
    pub project: String,
    /// Region and endpoint.
    pub place: hakiri_aws::Place,
    /// What requests are signed with.
    pub credentials: Credentials,
}

/// Opens the catalog of a project in a table, or creates it there; the table itself is never created. `new_id` becomes
/// the identity of a catalog that is created here; it must be unique in the world.
///
/// # Errors
/// `Unavailable` when DynamoDB is out of reach (with the seconds to wait, or 0 when waiting will not help: no such table,
/// wrong credentials, a missing right), `Newer` when a newer version made the catalog, `Corrupt` when the table holds
/// something else.
pub async fn open(settings: Settings, new_id: &str) -> CatalogResult<RecordCatalog<DynamoDb>> {
    open_with(settings, new_id, Patience::default()).await
}

/// As [`open`], with another patience.
///
/// # Errors
/// As [`open`].
pub async fn open_with(settings: Settings, new_id: &str, patience: Patience) -> CatalogResult<RecordCatalog<DynamoDb>> {
    DynamoDb::open(&settings, Some(new_id), patience).await.map(RecordCatalog::new)
}

/// Opens the catalog of a project for reading: nothing is created, and every write is refused.
///
/// # Errors
/// As [`open`]; `NotFound` when there is no catalog in the table.
pub async fn open_reader(settings: Settings) -> CatalogResult<RecordCatalog<DynamoDb>> {
    DynamoDb::open(&settings, None, Patience::default()).await.map(RecordCatalog::new)
}

/// Records in DynamoDB. Clones share the connections.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    client: Arc<Client>,
    project: Arc<str>,
    id: Arc<str>,
    /// Names this writer's large writes; none for a reader.
    writer: Option<Arc<str>>,
    /// A revision that was the current one at some time, with all of its write carried out; at first none that is.
    known: Arc<AtomicI64>,
    #[cfg(feature = "conformance")]
    clock: Option<Arc<dyn Clock>>,
}

impl DynamoDb {
    async fn open(settings: &Settings, new_id: Option<&str>, patience: Patience) -> CatalogResult<Self> {
        let project: ProjectName =
            settings.project.parse().map_err(|e: hakiri_core::error::Error| never(format!("{}: {e}", e.code())))?;
        let mut records = Self {
            client: Arc::new(Client::new(settings, new_id.unwrap_or("reader"), patience)?),
            project: project.to_string().into(),
            id: Arc::from(""),
            writer: new_id.map(|id| format!("{id}.{}", std::process::id()).into()),
            known: Arc::new(AtomicI64::new(-1)),
            #[cfg(feature = "conformance")]
            clock: None,
        };
        let root = match (records.look().await?.0, new_id) {
            (Some(root), _) => root,
            (None, Some(id)) => records.create(id).await?,
            (None, None) => return Err(CatalogError::NotFound(format!("a catalog in the table {}", settings.table))),
        };
        if root.pending.is_none() {
            records.known.store(root.revision, Ordering::Relaxed);
        }
        records.id = root.id.into();
        Ok(records)
    }

    /// Takes the time from a clock instead. For tests only, so that they can let an hour pass.
    #[cfg(feature = "conformance")]
    #[must_use]
    pub fn with_test_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The root as it is now, and the time; none where there is no catalog.
    async fn look(&self) -> CatalogResult<(Option<Root>, Instant)> {
        let body = wire::get(self.client.table(), &self.project, Place::Catalog, ROOT);
        let answer = self.client.read("GetItem", &body).await?;
        let root = answer.parse::<wire::Got>()?.item.map(Root::of).transpose()?;
        Ok((root, self.time(&answer)?))
    }

    /// When it was answered.
    fn time(&self, answer: &client::Answer) -> CatalogResult<Instant> {
        let now = answer.date()?;
        #[cfg(feature = "conformance")]
        let now = self.clock.as_ref().map_or(now, |clock| clock.now());
        Ok(now)
    }

    /// Whoever comes second finds what the first one made, and so does one whose answer was lost.
    async fn create(&self, id: &str) -> CatalogResult<Root> {
        let body = wire::create(self.client.table(), &self.project, Root::new_item(id));
        match self.client.write("PutItem", &body).await {
            Ok(_) | Err(Refused::Unmet | Refused::Failed(CatalogError::OutcomeUnknown(_))) => {}
            Err(Refused::Failed(e)) => return Err(e),
        }
        let unmade = || CatalogError::Unavailable { reason: "the catalog is not made yet".to_owned(), retry_after: 1 };
        self.look().await?.0.ok_or_else(unmade)
    }

    /// As [`Self::look`], of this catalog and no other.
    async fn root(&self) -> CatalogResult<(Root, Instant)> {
        let (root, now) = self.look().await?;
        let root = root.ok_or_else(|| CatalogError::Corrupt("the catalog is gone from its table".to_owned()))?;
        if *root.id != *self.id {
            return Err(CatalogError::Corrupt("another catalog has taken the place of this one".to_owned()));
        }
        Ok((root, now))
    }

    /// As [`Self::root`], with no large write under way, and noted as known; and whether there was none from the start.
    async fn settled(&self) -> CatalogResult<(Root, Instant, bool)> {
        // Its writer is probably at it: it has the first chances to finish.
        for (look, millis) in [20, 50, 100, 200, 0, 0].into_iter().enumerate() {
            let (root, now) = self.root().await?;
            match &root.pending {
                None => {
                    self.known.store(root.revision, Ordering::Relaxed);
                    return Ok((root, now, look == 0));
                }
                Some(batch) if millis == 0 => self.settle(batch).await.map_err(unfinished)?,
                Some(_) => self.client.wait(millis).await,
            }
        }
        Err(busy())
    }

    /// Items of one place by their sort keys; those that are there, in no order.
    async fn items(&self, place: Place, keys: &BTreeSet<&str>, versions: bool) -> CatalogResult<Vec<layout::Item>> {
        let mut items = Vec::new();
        // A key that is too long is none of a record's, and not one to ask for.
        let keys: Vec<_> = keys.iter().filter(|key| !key.is_empty() && key.len() <= KEY).collect();
        for chunk in keys.chunks(100) {
            let keys = chunk.iter().map(|sort| layout::key(&self.project, place, sort));
            let mut rest = Some(wire::wanted(self.client.table(), keys, versions));
            let mut attempt = 0;
            while let Some(wanted) = rest {
                let answer = self.client.read("BatchGetItem", &wanted).await?;
                let found: wire::Found = answer.parse()?;
                let some = found.responses.values().any(|items| !items.is_empty());
                items.extend(found.responses.into_values().flatten());
                rest = wire::unprocessed(found.unprocessed);
                if rest.is_some() && !some {
                    // Nothing came of it: DynamoDB is asked for more than it gives at present.
                    attempt += 1;
                    if attempt > 12 {
                        return Err(busy());
                    }
                    self.client.wait(20 << attempt.min(6)).await;
                }
            }
        }
        Ok(items)
    }

    /// One record and the root in one request, where that is enough. A single item is of one moment by itself, and current
    /// where no large write waits to change it: such a one is acknowledged only when it is carried out. Not for several:
    /// DynamoDB looks at each item at a moment of its own, so that the root says nothing of the others.
    async fn single(&self, key: &str) -> CatalogResult<Option<Moment>> {
        let keys = [(Place::Records, key), (Place::Catalog, ROOT)];
        let keys = keys.iter().map(|(place, sort)| layout::key(&self.project, *place, sort));
        let answer = self.client.read("BatchGetItem", &wire::wanted(self.client.table(), keys, false)).await?;
        let now = self.time(&answer)?;
        let found: wire::Found = answer.parse()?;
        let (mut root, mut record) = (None, None);
        let place = layout::text(Place::Catalog.partition(&self.project));
        for item in found.responses.into_values().flatten() {
            if item.get("pk") == Some(&place) { root = Some(Root::of(item)?) } else { record = Some(Stored::of(item)?) }
        }
        let Some(root) = root.filter(|root| root.pending.is_none() && *root.id == *self.id) else { return Ok(None) };
        if wire::unprocessed(found.unprocessed).is_some() {
            return Ok(None);
        }
        let entry = match record.map(|stored| (stored.version, stored.body)) {
            Some((_, Body::Parts { .. })) => return Ok(None),
            Some((version, Body::Here(text))) => Some(Entry { version, text }),
            None => None,
        };
        self.known.store(root.revision, Ordering::Relaxed);
        Ok(Some(Moment { now, entries: vec![entry] }))
    }

    /// The records of some keys.
    async fn stored<'a>(
        &self,
        keys: impl Iterator<Item = &'a str>,
        versions: bool,
    ) -> CatalogResult<BTreeMap<String, Stored>> {
        let keys: BTreeSet<_> = keys.collect();
        let items = self.items(Place::Records, &keys, versions).await?;
        items.into_iter().map(|item| Stored::of(item).map(|stored| (stored.key.clone(), stored))).collect()
    }

    /// The texts of records, put together; none for one of which a part is missing.
    async fn texts(&self, records: Vec<Stored>) -> CatalogResult<Vec<(String, Version, Option<String>)>> {
        let names: Vec<_> = records.iter().flat_map(Stored::parts).collect();
        let names: BTreeSet<_> = names.iter().map(String::as_str).collect();
        let mut parts = BTreeMap::new();
        for mut item in self.items(Place::Parts, &names, false).await? {
            parts.insert(layout::take_text(&mut item, "sk")?, layout::take_text(&mut item, "text")?);
        }
        let whole = |stored: Stored| {
            let names = stored.parts();
            let text = match stored.body {
                Body::Here(text) => Some(text),
                Body::Parts { bytes, .. } => {
                    let text: Option<String> = names.iter().map(|name| parts.get(name).map(String::as_str)).collect();
                    text.filter(|text| text.len() == bytes)
                }
            };
            (stored.key, stored.version, text)
        };
        Ok(records.into_iter().map(whole).collect())
    }

    /// Lets others get on before a further attempt; the revision that it goes by. What was the current one before the pause is
    /// not any more where many write, and an attempt with it would be lost from the start.
    async fn start(&self, attempt: u32) -> CatalogResult<Version> {
        if attempt > 1 {
            self.client.wait(u64::from(attempt.min(25)) * 4).await;
            self.settled().await?;
        }
        Ok(self.known.load(Ordering::Relaxed))
    }

    /// The records of a page: those of a range until limit and bytes are reached, and whether there are more.
    async fn page(&self, scan: &Scan) -> CatalogResult<(Vec<Stored>, bool)> {
        let (mut found, mut bytes, mut start) = (Vec::new(), 0, None);
        let Some(range) = layout::range(scan) else { return Ok((found, false)) };
        loop {
            // The bounds that are not wanted, and one more, which tells whether there is more.
            let limit = (scan.limit - found.len()).saturating_add(3);
            let body = wire::query(self.client.table(), &self.project, &range, limit, scan.reverse, start);
            let answer = self.client.read("Query", &body).await?;
            let page: wire::Page = answer.parse()?;
            for item in page.items {
                let stored = Stored::of(item)?;
                if range.without.contains(&Some(stored.key.as_str())) {
                    continue;
                }
                if found.len() >= scan.limit || bytes >= scan.bytes {
                    return Ok((found, true));
                }
                bytes += stored.bytes();
                found.push(stored);
            }
            start = page.last;
            if start.is_none() {
                return Ok((found, false));
            }
        }
    }
}

fn busy() -> CatalogError {
    CatalogError::Unavailable { reason: "too many writers at once".to_owned(), retry_after: 1 }
}

/// Somebody else's large write is in the way, and could not be carried out from here.
fn unfinished(e: CatalogError) -> CatalogError {
    match e {
        CatalogError::Unavailable { reason, retry_after } => CatalogError::Unavailable {
            reason: format!("a large write was left unfinished, and cannot be finished from here: {reason}"),
            retry_after: retry_after.max(5),
        },
        e => e,
    }
}

fn broken() -> CatalogError {
    CatalogError::Corrupt("a record in the table is not whole".to_owned())
}

#[async_trait]
impl Records for DynamoDb {
    async fn read(&self, keys: &[String]) -> CatalogResult<Moment> {
        if let [key] = keys
            && (1..=KEY).contains(&key.len())
            && let Some(moment) = self.single(key).await?
        {
            return Ok(moment);
        }
        for attempt in 0..ATTEMPTS {
            let known = self.start(attempt).await?;
            let stored = self.stored(keys.iter().map(String::as_str), false).await?;
            let split = stored.values().any(|stored| matches!(stored.body, Body::Parts { .. }));
            let found = self.texts(stored.into_values().collect()).await?;
            let (root, now, quiet) = self.settled().await?;
            // A single item is of one moment by itself, and current where no large write waited to change it.
            if root.revision != known && (split || keys.len() > 1 || !quiet) {
                continue;
            }
            let mut entries = BTreeMap::new();
            for (key, version, text) in found {
                entries.insert(key, Entry { version, text: text.ok_or_else(broken)? });
            }
            return Ok(Moment { now, entries: keys.iter().map(|key| entries.get(key).cloned()).collect() });
        }
        Err(busy())
    }

    async fn write(&self, batch: &Batch) -> CatalogResult<Written> {
        let Some(writer) = &self.writer else { return Err(never("the catalog is open for reading only".to_owned())) };
        // The last of several texts for a key counts, and what is deleted as well is gone.
        let delete: BTreeSet<&str> = batch.delete.iter().map(String::as_str).collect();
        let put: BTreeMap<&str, &str> = batch
            .put
            .iter()
            .map(|(key, text)| (key.as_str(), text.as_str()))
            .filter(|(key, _)| !delete.contains(key))
            .collect();
        if let Some(key) = put.keys().find(|key| key.is_empty() || key.len() > KEY) {
            return Err(never(format!("a key of {} bytes is not one that DynamoDB takes", key.len())));
        }
        let delete: Vec<&str> = delete.into_iter().collect();
        for attempt in 0..ATTEMPTS {
            let known = self.start(attempt).await?;
            let keys = batch.expect.iter().map(|(key, _)| key.as_str());
            let old = self.stored(keys.chain(put.keys().copied()).chain(delete.iter().copied()), true).await?;
            if batch.expect.iter().any(|(key, version)| old.get(key).map(|stored| stored.version) != *version) {
                return Ok(Written::Conflict);
            }
            let mut groups = layout::groups(layout::actions(&put, &delete, &old, known + 1));
            let outcome = match groups.pop() {
                Some(only) if groups.is_empty() => self.write_at_once(known, &only).await,
                last => self.write_in_steps(known, groups.into_iter().chain(last).flatten().collect(), writer).await,
            };
            match outcome {
                Ok(()) => return Ok(Written::Done),
                Err(Refused::Unmet) => drop(self.settled().await?),
                Err(Refused::Failed(e)) => return Err(e),
            }
        }
        Err(busy())
    }

    async fn scan(&self, scan: &Scan) -> CatalogResult<Scanned> {
        for attempt in 0..ATTEMPTS {
            let known = self.start(attempt).await?;
            let (records, more) = self.page(scan).await?;
            let found = self.texts(records).await?;
            if self.settled().await?.0.revision != known {
                continue;
            }
            let whole = |(key, _, text): (String, Version, Option<String>)| Ok((key, text.ok_or_else(broken)?));
            return Ok(Scanned { entries: found.into_iter().map(whole).collect::<CatalogResult<_>>()?, more });
        }
        Err(busy())
    }

    async fn info(&self) -> CatalogResult<Info> {
        let (root, now) = self.root().await?;
        Ok(Info { adapter: "dynamodb", version: u64::try_from(FORMAT).map_err(|_| odd())?, id: root.id, now })
    }

    fn max_batch(&self) -> usize {
        MAX_BATCH
    }
}
