//! The store as a database to query.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider as _, MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::ViewTable;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use hakiri_core::codes::Code;
use hakiri_core::manifest::Part;
use hakiri_core::schema::Schema;
use hakiri_core::view::TableView;
use hakiri_core::{Error, Result};
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use crate::damage::Inspector;
use crate::errors;
use crate::statement::{self, Names};
use crate::table::current::Planner;

const CATALOG: &str = "hakiri";
const SCHEMA: &str = "main";
const STORE: &str = "hakiri://store";

/// What a database may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes that all queries of the database together may hold, roughly; what is above is spilled to `temp_dir` where
    /// the operation can (sorting, merging, grouping), or fails with `HK0804`.
    pub memory_limit: usize,
    /// How many processors may be used. Not used yet: plans have one partition, see [`Database`].
    pub target_partitions: usize,
    /// An existing folder for spilled data. Only queries that spill write to it.
    pub temp_dir: PathBuf,
}

/// The tables of a store, each at one commit, as an SQL database that can only be read.
///
/// # Names
/// Table names and unquoted column names are found in any case; quoted names are exact.
///
/// # Order
/// Without `order by`, rows come in an order that depends on the store and the statement only, never on the number of
/// processors: plans have one partition. That also makes sums of floats reproducible.
pub struct Database {
    context: SessionContext,
    tables: BTreeMap<String, Stored>,
    store: Arc<dyn ObjectStore>,
    root: Path,
}

/// What is known of a table without reading it.
struct Stored {
    schema: Schema,
    parent: Option<String>,
    parts: Vec<Part>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("tables", &self.tables.keys()).finish()
    }
}

/// A running query: its columns, and its rows as they come.
pub struct QueryResult {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub stream: ResultStream,
}

impl fmt::Debug for QueryResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryResult").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Batches with our errors: `HK0804`, or one of the store's (`HK03…`).
pub struct ResultStream(BoxStream<'static, Result<RecordBatch>>);

impl Stream for ResultStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl Database {
    /// A database of some tables, whose parts lie under `root` in `store`. Nothing is read yet.
    ///
    /// # Errors
    /// `HK0001` when a view contradicts itself, `HK0005` when `temp_dir` cannot be used.
    pub fn new(views: Vec<TableView>, store: Arc<dyn ObjectStore>, root: Path, options: Options) -> Result<Self> {
        let pool = TrackConsumersPool::new(FairSpillPool::new(options.memory_limit), std::num::NonZeroUsize::MIN);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(
                DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![options.temp_dir])),
            )
            .with_object_store_registry(Arc::new(OnlyStore(store.clone())))
            .build_arc()
            .map_err(|e| errors::of_running(&e))?;
        let context = SessionContext::new_with_config_rt(config(options.memory_limit), runtime);
        let internal = |e: DataFusionError| Error::new(Code::Internal, errors::reason(&e));
        let url = ObjectStoreUrl::parse(STORE).map_err(internal)?;
        let planner = Planner::new(&views, url, root.clone());
        let (mut tables, mut schemas) = (BTreeMap::new(), BTreeMap::new());
        for view in &views {
            let plan = planner.table(view).map_err(|e| internal(e).at(format!("table {}", view.table)))?;
            let provider: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, None));
            tables.insert(view.table.to_string(), provider);
            let stored = Stored {
                schema: view.schema.schema.clone(),
                parent: view.merge.parent.as_ref().map(|link| link.table.to_string()),
                parts: view.layers.iter().flat_map(|layer| layer.parts.iter().cloned()).collect(),
            };
            schemas.insert(view.table.to_string(), stored);
        }
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(Tables(tables))).map_err(internal)?;
        context.register_catalog(CATALOG, Arc::new(catalog));
        Ok(Self { context, tables: schemas, store, root })
    }

    /// The names of the tables, sorted.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Starts a query: one `SELECT`, `WITH`, `VALUES`, `EXPLAIN`, `DESCRIBE table` or `SHOW TABLES`.
    ///
    /// # Errors
    /// `HK0801` for syntax, with line and column; `HK0802` for names that do not exist; `HK0803` for anything but one
    /// statement that only reads; `HK0804` when it cannot be carried out.
    pub async fn query(&self, sql: &str) -> Result<QueryResult> {
        let words = statement::words(sql)?;
        statement::starts_reading(&words)?;
        let mut names = Names::default();
        let mut read = Vec::new();
        for (table, stored) in self.tables.iter().filter(|(table, _)| statement::mentions(&words, table)) {
            names.add(table);
            names.add_fields(&stored.schema.fields);
            read.push(table.as_str());
        }
        let inspector = Arc::new(self.inspector(read));
        let mut statement = statement::only_reading(statement::parse(words, &names)?)?;
        if matches!(statement, Statement::ShowTables { .. }) {
            // DataFusion's own would list its information schema too.
            let list = format!(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = '{SCHEMA}' ORDER BY table_name"
            );
            statement = statement::only_reading(statement::parse(statement::words(&list)?, &Names::default())?)?;
        }
        let statement = DfStatement::Statement(Box::new(statement));
        self.check_tables(&statement).await?;
        let plan = self.context.state().statement_to_plan(statement).await.map_err(|e| errors::of_planning(&e))?;
        // The second lock on the same door: the plan, not the text, decides what is done.
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        options
            .verify_plan(&plan)
            .map_err(|_| Error::new(Code::QueryForbidden, "the statement does more than read"))?;
        let frame = self.context.execute_logical_plan(plan).await.map_err(|e| errors::of_planning(&e))?;
        let stream = match frame.execute_stream().await {
            Ok(stream) => stream,
            Err(e) => return Err(inspector.explain(errors::of_planning(&e)).await),
        };
        let schema = stream.schema();
        let stream = stream.then(move |batch| {
            let inspector = Arc::clone(&inspector);
            async move {
                match batch {
                    Ok(batch) => Ok(batch),
                    Err(e) => Err(inspector.explain(errors::of_running(&e)).await),
                }
            }
        });
        Ok(QueryResult { schema, stream: ResultStream(stream.boxed()) })
    }

    /// What looks at the parts of these tables and of their parents, which decide about their rows.
    fn inspector<'a>(&'a self, mut tables: Vec<&'a str>) -> Inspector {
        let mut at = 0;
        while let Some(table) = tables.get(at) {
            let parent = self.tables.get(*table).and_then(|stored| stored.parent.as_deref());
            if let Some(parent) = parent.filter(|parent| !tables.contains(parent)) {
                tables.push(parent);
            }
            at += 1;
        }
        let parts = tables.iter().filter_map(|table| self.tables.get(*table)).flat_map(|s| s.parts.iter().cloned());
        Inspector { store: Arc::clone(&self.store), root: self.root.clone(), parts: parts.collect() }
    }

    /// Says which table there is not, before DataFusion says so in its words.
    async fn check_tables(&self, statement: &DfStatement) -> Result<()> {
        let (references, _) = resolve_table_references(statement, false).map_err(|e| errors::of_planning(&e))?;
        for reference in references {
            let found = match &reference {
                TableReference::Bare { table } => {
                    // Functions such as `generate_series`; none of them reads a file.
                    let function = self.context.state_ref().read().table_functions().contains_key(table.as_ref());
                    function || self.tables.keys().any(|t| t.eq_ignore_ascii_case(table))
                }
                // `main.t`, `hakiri.main.t` and the information schema.
                other => self.context.table_provider(other.clone()).await.is_ok(),
            };
            if !found {
                let known: Vec<&str> = self.tables().collect();
                return Err(Error::new(
                    Code::QueryTable,
                    format!("there is no table `{}`", reference.to_string().replace('"', "")),
                )
                .with_hint(errors::did_you_mean(reference.table(), &known)));
            }
        }
        Ok(())
    }
}

/// One partition: see [`Database`]. Literals with a point are decimals, as the columns they meet.
fn config(memory_limit: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_information_schema(true)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.parse_float_as_decimal = true;
    // The default would be most of a small limit.
    options.execution.sort_spill_reservation_bytes = (memory_limit / 16).min(10 << 20);
    options.execution.time_zone = None;
    config
}

/// The tables, found in any case.
#[derive(Debug)]
struct Tables(BTreeMap<String, Arc<dyn TableProvider>>);

impl Tables {
    fn find(&self, name: &str) -> Option<&Arc<dyn TableProvider>> {
        self.0
            .get(name)
            .or_else(|| self.0.iter().find(|(stored, _)| stored.eq_ignore_ascii_case(name)).map(|(_, table)| table))
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(self.find(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}

/// A registry with the one store, and no local files beside it.
struct OnlyStore(Arc<dyn ObjectStore>);

impl fmt::Debug for OnlyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnlyStore")
    }
}

impl ObjectStoreRegistry for OnlyStore {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        if url.as_str().trim_end_matches('/') == STORE {
            return Ok(Arc::clone(&self.0));
        }
        Err(DataFusionError::Plan("files and URLs cannot be read here".to_owned()))
    }
}
