//! SQL transforms inside a pipeline: `select * exclude (note), lower(email) as email from input where …`.
//!
//! A transform is a pure function of each row (P1): one `SELECT` over `input` with projections, a filter and immutable
//! functions. It is compiled once per step and applied batch by batch, without a runtime, a plan or a table: DataFusion
//! gives the parser, the types and the functions. Running a plan instead would bring batch sizes, threads and memory
//! into what must not depend on them.
//!
//! `AND`, `OR` are evaluated so that `b <> 0 and a / b > 1` never divides by zero, whatever rows stand around it:
//! DataFusion by itself evaluates the second operand for a whole batch unless the first decides all of it, so that the
//! cut of batches could decide whether a run fails. See [`guarded`].

mod check;
mod compiled;
mod guarded;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{DFSchema, DataFusionError, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::Statement;
use hakiri_core::Result;
use hakiri_core::schema::{Schema, from_arrow_schema, to_arrow_schema};
use hakiri_core::transform::{Transform, Transforms};

use self::check::{INPUT, invalid, row_by_row};
use self::compiled::Compiled;
use crate::errors;
use crate::statement::{self, Names};

/// The port [`Transforms`] by DataFusion. Cheap to clone and to share.
#[derive(Clone)]
pub struct SqlTransforms(Arc<SessionState>);

impl fmt::Debug for SqlTransforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqlTransforms")
    }
}

impl Default for SqlTransforms {
    fn default() -> Self {
        Self::new()
    }
}

impl SqlTransforms {
    /// With DataFusion's own functions.
    pub fn new() -> Self {
        let mut config = SessionConfig::new().with_target_partitions(1);
        config.options_mut().sql_parser.enable_ident_normalization = false;
        config.options_mut().sql_parser.parse_float_as_decimal = true;
        Self(Arc::new(SessionStateBuilder::new().with_config(config).with_default_features().build()))
    }

    fn statements(&self, sql: &str, input: &Schema) -> Result<Vec<Statement>> {
        let mut names = Names::default();
        names.add(INPUT);
        names.add_fields(&input.fields);
        statement::parse(statement::words(sql)?, &names)
    }
}

impl Transforms for SqlTransforms {
    fn check(&self, sql: &str) -> Result<()> {
        row_by_row(&self.statements(sql, &Schema::default())?, &self.0).map(|_| ())
    }

    fn compile(&self, sql: &str, input: &Schema) -> Result<Box<dyn Transform>> {
        let statements = self.statements(sql, input)?;
        row_by_row(&statements, &self.0)?;
        let arrow = Arc::new(to_arrow_schema(input));
        let provider =
            Input { state: &self.0, table: provider_as_source(Arc::new(EmptyTable::new(Arc::clone(&arrow)))) };
        let options = ParserOptions {
            enable_ident_normalization: false,
            parse_float_as_decimal: true,
            ..ParserOptions::default()
        };
        let planner = SqlToRel::new_with_options(&provider, options);
        let statement = statements.into_iter().next().ok_or_else(|| invalid("there is no statement"))?;
        let plan = planner.sql_statement_to_plan(statement).map_err(|e| match errors::of_planning(&e) {
            error if error.message().contains("list is empty") => invalid("no column is left"),
            error => error,
        })?;
        self.compiled(plan, arrow).map(|c| Box::new(c) as Box<dyn Transform>)
    }
}

impl SqlTransforms {
    fn compiled(&self, plan: LogicalPlan, input: SchemaRef) -> Result<Compiled> {
        // Types are made to fit (`int = text` and such) as they would be for a query.
        let plan = self
            .0
            .analyzer()
            .execute_and_check(plan, self.0.config_options(), |_, _| {})
            .map_err(|e| errors::of_planning(&e))?;
        let LogicalPlan::Projection(projection) = plan else {
            return Err(invalid("the transform is not a projection"));
        };
        let (filter, below) = match projection.input.as_ref() {
            LogicalPlan::Filter(filter) => (Some(filter.predicate.clone()), filter.input.as_ref()),
            other => (None, other),
        };
        let schema = scanned(below)?;
        let filter = filter.map(|f| self.physical(f, schema)).transpose()?;
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        for expr in projection.expr {
            use datafusion::logical_expr::ExprSchemable as _;
            let (_, field) = expr.to_field(schema).map_err(|e| errors::of_planning(&e))?;
            let name = match &expr {
                Expr::Column(column) => column.name.clone(),
                Expr::Alias(alias) => alias.name.clone(),
                other => {
                    return Err(invalid(format!("the expression `{}` has no name", other.schema_name()))
                        .with_hint("write `expression as name`"));
                }
            };
            fields.push(Field::clone(&field).with_name(name));
            columns.push(self.physical(expr, schema)?);
        }
        let output = from_arrow_schema(&ArrowSchema::new(fields))?;
        let arrow = Arc::new(to_arrow_schema(&output));
        Ok(Compiled { output, arrow, input, filter, columns })
    }

    fn physical(&self, expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = expr.unalias();
        let build = || -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
            let context = SimplifyContext::builder()
                .with_schema(Arc::new(schema.clone()))
                .with_config_options(Arc::clone(self.0.config_options()))
                .build();
            // Some functions exist only as what they are simplified to.
            let expr = guarded::guarded(ExprSimplifier::new(context).simplify(expr)?)?;
            let expr =
                create_physical_expr(&expr, schema, self.0.execution_props(), &PhysicalPlanningContext::default())?;
            // What does not fit is an error, as for casts; DataFusion would wrap around.
            expr.transform_up(|e| match e.downcast_ref::<BinaryExpr>() {
                Some(binary) => {
                    Ok(Transformed::yes(Arc::new(binary.clone().with_fail_on_overflow(true)) as Arc<dyn PhysicalExpr>))
                }
                None => Ok(Transformed::no(e)),
            })
            .data()
        };
        build().map_err(|e| errors::of_planning(&e))
    }
}

/// The schema of `input` under aliases; anything else is not row by row.
fn scanned(plan: &LogicalPlan) -> Result<&DFSchema> {
    let mut below = plan;
    while let LogicalPlan::SubqueryAlias(alias) = below {
        below = alias.input.as_ref();
    }
    match below {
        LogicalPlan::TableScan(_) => Ok(plan.schema()),
        other => Err(invalid(format!(
            "`{}` is not allowed",
            other.display().to_string().split(':').next().unwrap_or_default().to_lowercase()
        ))),
    }
}

/// What the SQL planner asks for: one table, and DataFusion's functions.
struct Input<'a> {
    state: &'a SessionState,
    table: Arc<dyn TableSource>,
}

impl ContextProvider for Input<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>, DataFusionError> {
        if name.table().eq_ignore_ascii_case(INPUT) {
            return Ok(Arc::clone(&self.table));
        }
        Err(DataFusionError::Plan(format!("table '{name}' not found")))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<arrow::datatypes::DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
