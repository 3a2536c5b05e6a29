//! The parts of a table as one scan.
//!
//! All sizes are known from the manifests, so nothing is listed and no object is asked for its size. The parts are one
//! file group in the order of their commits and rows: what comes out has the order of the store, whatever the number of
//! processors.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use hakiri_core::manifest::Part;
use object_store::path::Path;

use super::adapter::AdapterFactory;

/// The hidden column with the number of the commit that a row comes from.
pub(super) const SEQ: &str = "_hakiri_seq";

/// How much is read of the end of a part at once: the footer and the page index of most parts.
const FOOTER_BYTES: usize = 64 * 1024;

/// The parts of all layers.
#[derive(Debug)]
pub(super) struct Parts {
    schema: TableSchema,
    files: Vec<PartitionedFile>,
    store: ObjectStoreUrl,
}

impl Parts {
    /// A scan that shows every part in the file schema, and [`SEQ`] after it.
    pub(super) fn new(file_schema: SchemaRef, store: ObjectStoreUrl) -> Self {
        let seq = Arc::new(Field::new(SEQ, DataType::UInt64, false));
        Self {
            schema: TableSchema::builder(file_schema).with_table_partition_cols(vec![seq]).build(),
            files: Vec::new(),
            store,
        }
    }

    /// Adds a part of a commit. Parts without rows are left out.
    pub(super) fn add(&mut self, root: &Path, part: &Part, seq: u64) {
        if part.rows == 0 {
            return;
        }
        let mut file = PartitionedFile::new("", part.bytes).with_partition_values(vec![ScalarValue::UInt64(Some(seq))]);
        file.object_meta.location = root.parts().chain(Path::from(part.path.as_str()).parts()).collect();
        self.files.push(file);
    }
}

#[async_trait]
impl TableProvider for Parts {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // Filters are not taken here: they stay above the scan, and the physical optimizer hands them to the Parquet reader
    // as a hint for row groups and pages to skip.
    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema().project(columns)?),
                None => self.schema(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(TableParquetOptions::default())
            .with_metadata_size_hint(FOOTER_BYTES);
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_group(FileGroup::new(self.files.clone()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_preserve_order(true)
            .with_expr_adapter(Some(Arc::new(AdapterFactory)))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
