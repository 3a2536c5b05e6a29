//! Reading one step: a tree of resources, depth first, page by page.
//!
//! The order of requests is fixed by the manifest and the answers (parents in the order they came, children by name),
//! so that every attempt, on every target, asks the same (E6). Nothing is kept but the current page of each level.

mod request;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{LargeStringArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::hash::Hash;
use hakiri_core::source::{Checkpoint, Message, Progress, Rows, SourceContext};
use serde::Deserialize as _;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::answer;
use super::bounds::Bounds;
use super::client::{Answer, Call, Client, Spent};
use super::compile::Site;
use super::config::Method;
use super::extract::{self, Miss};
use super::paginate::{Facts, Pager, link_next};
use super::place::{Counts, Page, Place};

/// What a record's descendants need of it, and of the records above it.
#[derive(Debug)]
struct Parent {
    node: usize,
    fields: BTreeMap<String, Box<RawValue>>,
    above: Option<Arc<Parent>>,
}

/// One sequence of pages that is under way.
#[derive(Debug)]
struct Frame {
    node: usize,
    parent: Option<Arc<Parent>>,
    pager: Pager,
    /// The last URL, which a relative next one is relative to.
    url: Option<Url>,
    /// Records of the current page whose children are still to be read.
    waiting: VecDeque<Arc<Parent>>,
    done: bool,
}

/// Reads the resources of one step.
#[derive(Debug)]
pub struct Reader<'a> {
    site: &'a Site,
    client: &'a Client,
    ctx: &'a SourceContext,
    /// The stream of each resource; none for one that is only read for its children.
    streams: Vec<Option<u32>>,
    bounds: BTreeMap<usize, Bounds>,
    stack: Vec<Frame>,
    counts: Counts,
    spent: Spent,
    queue: VecDeque<Message>,
    /// The root's page whose records are being read.
    page: Option<Page>,
    /// The place that was told last.
    told: Place,
    /// A place within a page that is still to be asked for again.
    again: Option<Place>,
    /// Whether places are told at all: none is that would hold a secret (P8).
    tells: bool,
}

impl<'a> Reader<'a> {
    /// A reader of the tree below `root`, from its start or from a checkpoint. Resources without an entry in `bounds` are
    /// not read.
    ///
    /// # Errors
    /// `HK0406` for a checkpoint that cannot be read; as [`Self::next`] for a first URL that cannot be made.
    pub fn new(
        site: &'a Site,
        client: &'a Client,
        ctx: &'a SourceContext,
        root: usize,
        streams: Vec<Option<u32>>,
        bounds: BTreeMap<usize, Bounds>,
        from: Option<&Checkpoint>,
    ) -> Result<Self> {
        let counts = Counts::new(site.nodes.len());
        let pager = Pager::new(&site.nodes[root].resource.paginate);
        let start = Place { page: pager.position().clone(), within: None, ended: false, counts: counts.clone() };
        let mut reader = Self {
            site,
            client,
            ctx,
            streams,
            bounds,
            stack: Vec::new(),
            counts,
            spent: Spent::default(),
            queue: VecDeque::new(),
            page: None,
            told: start,
            again: None,
            tells: true,
        };
        reader.open(root, None);
        if let Some(from) = from {
            reader.go_on(from)?;
        }
        Ok(reader)
    }

    /// Takes everything before a checkpoint for read.
    fn go_on(&mut self, from: &Checkpoint) -> Result<()> {
        let place = Place::deserialize(&from.place).map_err(|_| changed("is not known to this version"))?;
        let Some(frame) = self.stack.last() else { return Ok(()) };
        // What the next page's URL is relative to, and must not lead away from.
        let url = self.url(frame, &self.site.nodes[frame.node].resource.paginate)?;
        let Some(frame) = self.stack.last_mut() else { return Ok(()) };
        frame.url = Some(url);
        frame.pager = Pager::at(place.page.clone(), &from.seen);
        frame.done = place.ended;
        match place.within {
            Some(_) => self.again = Some(place.clone()),
            None => self.counts = place.counts.clone(),
        }
        self.told = place;
        Ok(())
    }

    /// The next message; nothing after the last.
    ///
    /// # Errors
    /// Any HTTP error; nothing follows it.
    pub async fn next(&mut self) -> Result<Option<Message>> {
        loop {
            if let Some(message) = self.queue.pop_front() {
                return Ok(Some(message));
            }
            if !self.advance().await? {
                if self.counts.skipped > 0 {
                    tracing::info!(answers = self.counts.skipped, "answers whose status the manifest skips");
                }
                return Ok(None);
            }
        }
    }

    /// How many records of a resource have been seen.
    pub fn rows(&self, node: usize) -> u64 {
        self.counts.rows[node]
    }

    fn open(&mut self, node: usize, parent: Option<Arc<Parent>>) {
        let pager = Pager::new(&self.site.nodes[node].resource.paginate);
        self.stack.push(Frame { node, parent, pager, url: None, waiting: VecDeque::new(), done: false });
    }

    /// Goes one page further, somewhere in the tree. Returns whether there was one.
    async fn advance(&mut self) -> Result<bool> {
        loop {
            self.ctx.cancel.check()?;
            let Some(mut frame) = self.stack.pop() else {
                return Ok(false);
            };
            if self.stack.is_empty()
                && let Some(checkpoint) = self.checkpoint(&mut frame).await?
            {
                self.stack.push(frame);
                self.queue.push_back(Message::Checkpoint(checkpoint));
                return Ok(true);
            }
            if let Some(parent) = frame.waiting.pop_front() {
                if let Some(page) = self.page.as_mut().filter(|_| self.stack.is_empty()) {
                    page.begun += 1;
                }
                let below: Vec<usize> =
                    self.site.below(frame.node).filter(|node| self.bounds.contains_key(node)).collect();
                self.stack.push(frame);
                for node in below.into_iter().rev() {
                    self.open(node, Some(parent.clone()));
                }
                continue;
            }
            if frame.done {
                continue;
            }
            let label = self.site.label(frame.node);
            self.page(&mut frame, &label).await.map_err(|e| e.at(label.clone()))?;
            self.stack.push(frame);
            return Ok(true);
        }
    }

    /// Where the root is, if that is another place than the one told last.
    async fn checkpoint(&mut self, root: &mut Frame) -> Result<Option<Checkpoint>> {
        if self.again.is_some() {
            return Ok(None);
        }
        let counts = self.counts.clone();
        let place = if root.waiting.is_empty() {
            let mut page = root.pager.position().clone();
            if let (Some(next), Some(last)) = (&page.url, &root.url) {
                // One that must not be followed is refused when it is to be asked for.
                let Ok(next) = self.client.follow(last, next) else { return Ok(None) };
                page.url = Some(next.into());
            }
            Place { page, within: None, ended: root.done, counts }
        } else {
            let Some(page) = &self.page else { return Ok(None) };
            let Some(within) = page.within() else { return Ok(None) };
            Place { page: page.at.clone(), within: Some(within), ended: false, counts }
        };
        if !self.tells || place == self.told {
            return Ok(None);
        }
        // Of a page that is asked for again nothing has been seen.
        let seen = if place.within.is_none() { root.pager.take_fresh() } else { Vec::new() };
        self.told = place;
        for text in self.told.page.given().into_iter().chain(seen.iter().map(String::as_str)) {
            if self.client.redact(text, self.ctx).await != text {
                tracing::debug!(label = %self.site.label(root.node), "a page's address holds a secret: it is read in one go");
                self.tells = false;
                return Ok(None);
            }
        }
        let internal = |e| Error::new(Code::Internal, format!("a place cannot be written: {e}"));
        Ok(Some(Checkpoint { place: serde_json::to_value(&self.told).map_err(internal)?, seen }))
    }

    /// Asks for one page and takes it in.
    async fn page(&mut self, frame: &mut Frame, label: &str) -> Result<()> {
        let node = &self.site.nodes[frame.node];
        if self.counts.pages[frame.node] >= node.max_requests {
            return Err(Error::new(Code::SourceLimit, format!("more than max_requests = {} pages", node.max_requests)));
        }
        self.counts.pages[frame.node] += 1;
        let url = self.url(frame, &node.resource.paginate)?;
        let call = Call {
            method: if node.resource.method == Method::Post { reqwest::Method::POST } else { reqwest::Method::GET },
            headers: self.headers(node.resource.body.is_some())?,
            body: self.body(frame)?,
            url: url.clone(),
            accept: &node.resource.skip_status,
            graphql: node.resource.body.as_ref().is_some_and(|body| body.get("query").is_some_and(Value::is_string)),
            label,
        };
        frame.url = Some(url);
        let answer = self.client.send(&call, self.ctx, &mut self.spent).await;
        self.queue.push_back(Message::Progress(Progress {
            requests: self.spent.requests,
            bytes: self.spent.bytes,
            ..Progress::default()
        }));
        let answer = answer?;
        if self.again.is_some() && (answer.status == 204 || node.resource.skip_status.contains(&answer.status)) {
            return Err(changed("is no longer there"));
        }
        if node.resource.skip_status.contains(&answer.status) {
            self.counts.skipped += 1;
            frame.done = true;
            return Ok(());
        }
        if answer.status == 204 {
            frame.done = true;
            return Ok(());
        }
        match self.again.take() {
            Some(place) => self.take_again(frame, &answer, &place),
            None => self.take(frame, &answer),
        }
    }

    /// Takes a page in of which an earlier attempt has read some: its own rows, and of the first records what is below.
    fn take_again(&mut self, frame: &mut Frame, answer: &Answer, place: &Place) -> Result<()> {
        // Whatever is wrong with it now is found again by the read from the start.
        self.take(frame, answer).map_err(|_| changed("has changed"))?;
        let now = self.page.as_ref().map(|page| &page.digest);
        let known = place.within.as_ref().filter(|within| Some(&within.digest) == now);
        let Some(within) = known else { return Err(changed("has changed")) };
        self.queue.retain(|message| matches!(message, Message::Progress(_)));
        self.counts = place.counts.clone();
        frame.waiting.drain(..within.records.min(frame.waiting.len()));
        if let Some(page) = &mut self.page {
            page.begun = within.records;
        }
        Ok(())
    }

    /// Takes an answer in: rows to the queue, records to their children, the pager on.
    fn take(&mut self, frame: &mut Frame, answer: &Answer) -> Result<()> {
        let node = &self.site.nodes[frame.node];
        let root = answer::json(&answer.headers, &answer.body)?;
        let path = node.resource.records.as_deref().unwrap_or_default();
        let records = match extract::records(root, path) {
            Ok(records) => records,
            Err(_) if node.resource.records_optional => Vec::new(),
            Err(Miss::Null) if path.is_empty() => {
                return Err(Error::new(Code::HttpShape, "the answer is null instead of records")
                    .with_hint("set records_optional = true if the API means that there are none"));
            }
            Err(miss) => return Err(extract::shape("the records", path, &miss)),
        };
        self.records(frame, &records)?;
        let link = answer.headers.get_all("link").iter().filter_map(|v| v.to_str().ok()).find_map(link_next);
        let facts = Facts { count: records.len(), body: root, last: records.last().copied(), link };
        let mut at = frame.pager.position().clone();
        if at.url.is_some() {
            // As it was given it may be relative to the page before.
            at.url = frame.url.clone().map(Into::into);
        }
        frame.done = !frame.pager.advance(&node.resource.paginate, &facts, &Hash::of(&answer.body))?;
        if self.stack.is_empty() {
            // Of the records alone: what is around them may be of the moment.
            let digest = Hash::of_parts(&records.iter().map(|record| record.get().as_bytes()).collect::<Vec<_>>());
            self.page = Some(Page { at, digest, begun: 0 });
        }
        Ok(())
    }

    fn take_rows(&mut self, stream: u32, rows: &mut Vec<String>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let schema = Arc::new(Schema::new(vec![Field::new("json", DataType::LargeUtf8, false)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(LargeStringArray::from_iter_values(rows.drain(..)))])
            .map_err(|e| Error::new(Code::Internal, format!("a batch of records cannot be made: {e}")))?;
        self.queue.push_back(Message::Rows { stream, rows: Rows::Json(batch) });
        Ok(())
    }

    /// Records to rows, and to parents where something is read for each of them.
    fn records(&mut self, frame: &mut Frame, records: &[&RawValue]) -> Result<()> {
        let node = &self.site.nodes[frame.node];
        let stream = self.streams[frame.node];
        let is_parent = self.site.below(frame.node).any(|below| self.bounds.contains_key(&below));
        let extra = included(&node.resource.include, frame.parent.as_deref());
        let mut rows = Vec::new();
        for (index, record) in records.iter().enumerate() {
            if extract::kind(record) != "an object" {
                let reason = format!(
                    "page {}, record {} is {} instead of an object",
                    self.counts.pages[frame.node],
                    index + 1,
                    extract::kind(record)
                );
                let error = Error::new(Code::HttpShape, reason.clone()).at(self.site.label(frame.node));
                match stream {
                    Some(stream) => self.queue.push_back(Message::Rejected { stream, reason, error }),
                    None => return Err(error),
                }
                continue;
            }
            if node.resource.skip_if.as_deref().is_some_and(|path| is_there(record, path)) {
                continue;
            }
            self.counts.rows[frame.node] += 1;
            if let Some(max) = node.resource.max_rows.filter(|max| self.counts.rows[frame.node] > *max) {
                return Err(Error::new(Code::SourceLimit, format!("more than max_rows = {max} records")));
            }
            if is_parent {
                let fields = node
                    .needs
                    .iter()
                    .filter_map(|path| Some((path.clone(), extract::at(record, path).ok()?.to_owned())))
                    .collect();
                frame.waiting.push_back(Arc::new(Parent { node: frame.node, fields, above: frame.parent.clone() }));
            }
            if let Some(stream) = stream {
                rows.push(extract::extend(record, &extra));
                if rows.len() >= self.ctx.batch_rows.max(1) {
                    self.take_rows(stream, &mut rows)?;
                }
            }
        }
        stream.map_or(Ok(()), |stream| self.take_rows(stream, &mut rows))
    }
}

/// The members that each record of a child gets from its parent's record; null where the parent has none.
fn included(include: &BTreeMap<String, String>, parent: Option<&Parent>) -> Vec<(String, Box<RawValue>)> {
    let value =
        |field: &String| parent.and_then(|p| p.fields.get(field)).cloned().unwrap_or_else(|| RawValue::NULL.to_owned());
    include.iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

/// Whether a path exists and is neither null nor false.
fn is_there(record: &RawValue, path: &str) -> bool {
    extract::at(record, path).is_ok_and(|raw| !extract::is_null(raw) && raw.get() != "false")
}

/// That the place to go on from is not what it was: the step starts again.
fn changed(what: &str) -> Error {
    Error::new(Code::SourceChanged, format!("the page from which the step was to go on {what}"))
}
