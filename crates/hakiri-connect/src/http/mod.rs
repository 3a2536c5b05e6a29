//! The declarative HTTP engine (D6): an API is described in the manifest, or in a file of ours, and never coded.
//!
//! A description names resources. Each becomes a table; resources that are read once per record of another form a tree,
//! and a tree is one step. Records are handed on as the text the API sent, so that no number is rounded on its way.
//!
//! | Module | What it decides |
//! |---|---|
//! | [`config`], [`compile`] | what can be written, and whether it fits together |
//! | [`bounds`] | which range of a cursor is asked for |
//! | [`paginate`], [`extract`], [`template`] | the next page; paths; place-holders |
//! | [`answer`] | what a status, a header or a body means |
//! | [`address`], [`resolve`], [`client`], [`patience`], [`auth`] | what may be connected to, and how a request is sent |
//! | [`read`] | the order of requests |
//! | [`place`] | where in that order a later attempt goes on |
//! | [`post`] | webhooks: the same rules of the network for what is no source |
//! | [`described`] | connectors that are a description with options |
//!
//! Why not code per API: a connector that is data can be checked, listed, diffed and written by people who do not build
//! the binary, and every fix of the engine reaches all of them.

pub mod address;
pub mod answer;
pub mod auth;
pub mod bounds;
pub mod client;
pub mod compile;
pub mod config;
pub mod described;
pub mod extract;
pub mod paginate;
pub mod patience;
mod place;
pub mod post;
pub mod read;
pub mod resolve;
pub mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::plan::PlannedStep;
use hakiri_core::source::{Checkpoint, Connector, Message, SourceContext, SourceStep, SourceTable, TableRequest};
use hakiri_core::time::Tick;
use hakiri_core::window::Window;
use serde::{Deserialize, Serialize};

use self::bounds::{Bounds, Wanted};
use self::client::{Client, Patience};
use self::compile::Site;
pub use self::config::HttpConfig;
use self::read::Reader;
use self::resolve::{Lookup, SystemLookup};

/// A configured HTTP source.
#[derive(Debug)]
pub struct HttpConnector {
    site: Site,
    client: Client,
}

/// What a plan keeps for one step.
#[derive(Debug, Serialize, Deserialize)]
struct StepSource {
    /// The resources whose rows are wanted, by stream index.
    streams: Vec<String>,
    /// The resources to read, with the bounds to send.
    read: BTreeMap<String, Bounds>,
}

impl HttpConnector {
    /// Checks a config and makes a connector of it. Touches nothing.
    ///
    /// # Errors
    /// `HK0403`, naming the key.
    pub fn new(config: HttpConfig) -> Result<Self> {
        Self::with(config, Arc::new(SystemLookup::default()), Patience::default())
    }

    /// Like [`Self::new`], with another way to look names up and other waits.
    ///
    /// # Errors
    /// `HK0403`, naming the key.
    pub fn with(config: HttpConfig, lookup: Arc<dyn Lookup>, patience: Patience) -> Result<Self> {
        let site = compile::compile(config)?;
        let client = Client::new(&site, lookup, patience);
        Ok(Self { site, client })
    }

    fn table(&self, name: &str) -> Result<usize> {
        self.site.find(name).ok_or_else(|| {
            let known = self.site.nodes.iter().map(|n| n.name.as_str());
            crate::registry::unknown(
                Code::SourceUnknownTable,
                &format!("the source has no resource `{name}`"),
                name,
                known,
            )
        })
    }
}

#[async_trait]
impl Connector for HttpConnector {
    async fn discover(&self, _ctx: &SourceContext) -> Result<Vec<SourceTable>> {
        let table = |(index, node): (usize, &compile::Node)| -> Result<SourceTable> {
            let resource = &node.resource;
            Ok(SourceTable {
                name: node.name.clone(),
                primary_key: resource.primary_key.clone(),
                incremental: resource.incremental.as_ref().map(|i| i.field.clone()),
                cursor_kind: resource.incremental.as_ref().map(config::Incremental::cursor_kind),
                declared: node.declared.clone(),
                children: resource
                    .children
                    .iter()
                    .map(|f| (f.clone(), format!("{}_{}", node.name, f.replace('.', "_"))))
                    .collect(),
                group: self.site.nodes[self.site.root(index)].name.clone(),
                ..SourceTable::default()
            })
        };
        self.site.nodes.iter().enumerate().map(table).collect()
    }

    async fn probe(&self, ctx: &SourceContext) -> Result<String> {
        let Some(root) = self.site.nodes.iter().position(|n| n.parent.is_none()) else {
            return Err(Error::new(Code::SourceConfig, "there is no resource that can be read by itself"));
        };
        let wanted = BTreeMap::from([(root, Wanted { window: &Window::Everything, incremental: None })]);
        let bounds = bounds::of_tree(&self.site, &wanted)?;
        let mut streams = vec![None; self.site.nodes.len()];
        streams[root] = Some(0);
        let mut reader = Reader::new(&self.site, &self.client, ctx, root, streams, bounds, None)?;
        // The first message tells about the first page; later pages are not asked for.
        reader.next().await?;
        Ok(format!("{} answered, with {} records on its first page", self.site.label(root), reader.rows(root)))
    }

    async fn plan(&self, tables: &[TableRequest], _tick: Tick, _ctx: &SourceContext) -> Result<Vec<SourceStep>> {
        let mut trees: BTreeMap<usize, BTreeMap<usize, &TableRequest>> = BTreeMap::new();
        for request in tables {
            let node = self.table(&request.name)?;
            trees.entry(self.site.root(node)).or_default().insert(node, request);
        }
        let mut steps = Vec::new();
        for (root, requests) in trees {
            let wanted: BTreeMap<usize, Wanted<'_>> = requests
                .iter()
                .map(|(node, request)| {
                    (*node, Wanted { window: &request.window, incremental: request.incremental.as_deref() })
                })
                .collect();
            let read = bounds::of_tree(&self.site, &wanted)?;
            let mut order: Vec<usize> = requests.keys().copied().collect();
            order.sort_by_key(|node| (self.site.depth(*node), *node));
            let name = |node: &usize| self.site.nodes[*node].name.clone();
            let streams: Vec<String> = order.iter().map(name).collect();
            let source = StepSource {
                streams: streams.clone(),
                read: read.iter().map(|(node, bounds)| (name(node), bounds.clone())).collect(),
            };
            let source = serde_json::to_value(source)
                .map_err(|e| Error::new(Code::Internal, format!("a step cannot be written: {e}")))?;
            steps.push(SourceStep {
                name: name(&root),
                tables: streams,
                source,
                upper: BTreeMap::new(),
                replaces: Default::default(),
            });
        }
        Ok(steps)
    }

    async fn read<'a>(
        &'a self,
        step: &'a PlannedStep,
        from: Option<&'a Checkpoint>,
        ctx: &'a SourceContext,
    ) -> Result<BoxStream<'a, Result<Message>>> {
        let source = StepSource::deserialize(&step.source)
            .map_err(|e| Error::new(Code::Internal, format!("the step cannot be read: {e}")))?;
        let mut streams = vec![None; self.site.nodes.len()];
        for (stream, name) in (0_u32..).zip(&source.streams) {
            streams[self.table(name)?] = Some(stream);
        }
        let mut bounds = BTreeMap::new();
        for (name, bound) in source.read {
            bounds.insert(self.table(&name)?, bound);
        }
        let Some(root) = bounds.keys().map(|node| self.site.root(*node)).next() else {
            return Ok(stream::empty().boxed());
        };
        let reader = Reader::new(&self.site, &self.client, ctx, root, streams, bounds, from)?;
        Ok(stream::try_unfold(
            reader,
            |mut reader| async move { Ok(reader.next().await?.map(|message| (message, reader))) },
        )
        .boxed())
    }
}
