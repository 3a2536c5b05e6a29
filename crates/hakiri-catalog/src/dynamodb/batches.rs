//! How a write is carried out: in one transaction, or in steps that any process can finish.

use std::sync::atomic::{AtomicU64, Ordering};

use hakiri_core::catalog::{CatalogError, CatalogResult};
use serde_json::Value;

use super::DynamoDb;
use super::client::Refused;
use super::layout::{self, Action, Place};
use super::wire;
use crate::records::Version;

impl DynamoDb {
    /// Changes everything in one transaction, if the revision is still the one that is known.
    pub(super) async fn write_at_once(&self, known: Version, actions: &[Action]) -> Result<(), Refused> {
        let root = wire::raise(self.client.table(), &self.project, known, None);
        self.transact(Some(root), actions).await?;
        self.known.store(known + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Lays the changes aside, commits by a note at the root, and carries them out.
    pub(super) async fn write_in_steps(
        &self,
        known: Version,
        actions: Vec<Action>,
        writer: &str,
    ) -> Result<(), Refused> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        self.sweep(known).await.map_err(Refused::Failed)?;
        let batch = layout::batch(known + 1, &format!("{writer}.{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let staged = actions.into_iter().enumerate().map(|(n, action)| layout::staged(&batch, n, action)).collect();
        for group in layout::groups(staged) {
            // Nobody else writes under this name, so that it may happen any number of times.
            let items = wire::transaction(group.iter().map(|a| wire::change(self.client.table(), &self.project, a)));
            self.client.read("TransactWriteItems", &items).await.map_err(Refused::Failed)?;
        }
        let note = wire::transaction([wire::raise(self.client.table(), &self.project, known, Some(&batch))]);
        self.client.write("TransactWriteItems", &note).await?;
        // It is committed, and whoever looks next goes on where this ends. But until that is done it must not count as
        // acknowledged, since a read of one record does not wait for it.
        let open = |e: CatalogError| CatalogError::OutcomeUnknown(format!("a large write is not finished: {e}"));
        self.settle(&batch).await.map_err(|e| Refused::Failed(open(e)))?;
        self.known.store(known + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Carries out a large write that is committed, or finds that it has been. Several may do so at once: while the note
    /// is there nobody writes anything else, and each step demands the note.
    pub(super) async fn settle(&self, batch: &str) -> CatalogResult<()> {
        let mut done = Vec::new();
        let mut actions = Vec::new();
        for item in self.waiting(batch, &format!("{batch}~")).await? {
            let (staged, action) = layout::unstaged(item)?;
            done.push(staged);
            actions.push(action);
        }
        for group in layout::groups(actions) {
            let noted = wire::noted(self.client.table(), &self.project, batch);
            match self.transact_again(noted, &group).await {
                Ok(()) => {}
                Err(Refused::Unmet) => return Ok(()),
                Err(Refused::Failed(e)) => return Err(e),
            }
        }
        match self.transact_again(wire::finish(self.client.table(), &self.project, batch), &[]).await {
            // What is left behind is swept away by the next large write.
            Ok(()) => drop(self.forget(done).await),
            Err(Refused::Unmet) => {}
            Err(Refused::Failed(e)) => return Err(e),
        }
        Ok(())
    }

    /// Removes what large writes left behind that were never committed: their revision has gone to another.
    async fn sweep(&self, known: Version) -> CatalogResult<()> {
        let (from, to) = (layout::batches(0), layout::batches(known + 1));
        let mut left = Vec::new();
        for mut item in self.waiting(&from, &to).await? {
            left.push(layout::take_text(&mut item, "sk")?);
        }
        self.forget(left).await
    }

    async fn forget(&self, staged: Vec<String>) -> CatalogResult<()> {
        let gone = staged.into_iter().map(|sort| Action { place: Place::Batches, sort, put: None }).collect();
        for group in layout::groups(gone).into_iter().filter(|group| !group.is_empty()) {
            let items = wire::transaction(group.iter().map(|a| wire::change(self.client.table(), &self.project, a)));
            self.client.read("TransactWriteItems", &items).await?;
        }
        Ok(())
    }

    /// The items that wait in a range.
    async fn waiting(&self, from: &str, to: &str) -> CatalogResult<Vec<layout::Item>> {
        let (mut items, mut start) = (Vec::new(), None);
        loop {
            let body = wire::waiting(self.client.table(), &self.project, from, to, start);
            let answer = self.client.read("Query", &body).await?;
            let page: wire::Page = answer.parse()?;
            items.extend(page.items);
            start = page.last;
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    async fn transact(&self, root: Option<Value>, actions: &[Action]) -> Result<(), Refused> {
        let changes = actions.iter().map(|action| wire::change(self.client.table(), &self.project, action));
        let body = wire::transaction(root.into_iter().chain(changes));
        self.client.write("TransactWriteItems", &body).await.map(drop)
    }

    /// A step that may happen any number of times: after an unknown outcome it is done again.
    async fn transact_again(&self, root: Value, actions: &[Action]) -> Result<(), Refused> {
        for _ in 0..3 {
            match self.transact(Some(root.clone()), actions).await {
                Err(Refused::Failed(CatalogError::OutcomeUnknown(_))) => self.client.wait(200).await,
                other => return other,
            }
        }
        let reason = "a large write could not be finished yet".to_owned();
        Err(Refused::Failed(CatalogError::Unavailable { reason, retry_after: 5 }))
    }
}
