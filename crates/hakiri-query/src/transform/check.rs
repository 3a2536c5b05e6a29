//! What a transform may say, as far as its syntax tells.

use std::ops::ControlFlow;

use datafusion::execution::SessionState;
use datafusion::logical_expr::Volatility;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Statement, TableFactor,
    TableWithJoins, Visit as _, Visitor,
};
use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

/// The one table that a transform reads.
pub(super) const INPUT: &str = "input";

/// The `SELECT`, if that is all there is.
pub(super) fn row_by_row<'a>(statements: &'a [Statement], state: &SessionState) -> Result<&'a Select> {
    let query = match statements {
        [Statement::Query(query)] => query,
        [] => return Err(invalid("there is no statement")),
        [_] => return Err(invalid("only `select` is allowed")),
        _ => return Err(invalid("several statements are not allowed")),
    };
    let SetExpr::Select(select) = query.body.as_ref() else { return Err(of_body(&query.body)) };
    of_query(query)?;
    of_select(select)?;
    of_from(&select.from)?;
    for item in &select.projection {
        of_item(item)?;
    }
    let mut expressions = Expressions { state, queries: 0 };
    match query.visit(&mut expressions) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(select),
    }
}

pub(super) fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::TransformInvalid, what)
}

fn refuse(found: bool, what: &str) -> Result<()> {
    if found { Err(invalid(format!("`{what}` is not allowed"))) } else { Ok(()) }
}

fn of_body(body: &SetExpr) -> Error {
    match body {
        SetExpr::SetOperation { op, .. } => invalid(format!("`{}` is not allowed", op.to_string().to_lowercase())),
        SetExpr::Values(_) => invalid("`values` is not allowed"),
        SetExpr::Query(_) => invalid("a select in parentheses is not allowed"),
        _ => invalid("only `select` is allowed"),
    }
}

fn of_query(query: &Query) -> Result<()> {
    refuse(query.with.is_some(), "with")?;
    refuse(query.order_by.is_some(), "order by")?;
    refuse(query.limit_clause.is_some(), "limit")?;
    refuse(query.fetch.is_some(), "fetch")?;
    refuse(!query.locks.is_empty(), "for update")?;
    refuse(query.for_clause.is_some(), "for")?;
    refuse(query.settings.is_some(), "settings")?;
    refuse(query.format_clause.is_some(), "format")?;
    refuse(!query.pipe_operators.is_empty(), "|>")
}

fn of_select(select: &Select) -> Result<()> {
    refuse(select.distinct.is_some(), "distinct")?;
    refuse(select.top.is_some(), "top")?;
    refuse(select.select_modifiers.is_some(), "select with modifiers")?;
    refuse(select.into.is_some(), "into")?;
    refuse(!select.lateral_views.is_empty(), "lateral view")?;
    refuse(select.prewhere.is_some(), "prewhere")?;
    refuse(!select.connect_by.is_empty(), "connect by")?;
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
    };
    refuse(grouped, "group by")?;
    refuse(!select.cluster_by.is_empty(), "cluster by")?;
    refuse(!select.distribute_by.is_empty(), "distribute by")?;
    refuse(!select.sort_by.is_empty(), "sort by")?;
    refuse(select.having.is_some(), "having")?;
    refuse(!select.named_window.is_empty(), "window")?;
    refuse(select.qualify.is_some(), "qualify")?;
    refuse(select.value_table_mode.is_some(), "select as")
}

fn of_from(from: &[TableWithJoins]) -> Result<()> {
    let from = match from {
        [from] => from,
        [] => return Err(invalid("`from input` is missing")),
        _ => return Err(invalid("joins are not allowed: read from `input` alone")),
    };
    if !from.joins.is_empty() {
        return Err(invalid("joins are not allowed: read from `input` alone"));
    }
    match &from.relation {
        TableFactor::Table {
            name,
            args: None,
            version: None,
            sample: None,
            json_path: None,
            with_ordinality: false,
            partitions,
            with_hints,
            index_hints,
            ..
        } if partitions.is_empty() && with_hints.is_empty() && index_hints.is_empty() => match simple(name) {
            Some(table) if table.value.eq_ignore_ascii_case(INPUT) => Ok(()),
            _ => Err(invalid("the only table is `input`").with_hint("write `from input`")),
        },
        TableFactor::Derived { .. } => Err(invalid("a subquery is not allowed")),
        _ => Err(invalid("the only table is `input`").with_hint("write `from input`")),
    }
}

fn of_item(item: &SelectItem) -> Result<()> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        | SelectItem::ExprWithAlias { .. }
        | SelectItem::Wildcard(_)
        | SelectItem::QualifiedWildcard(..) => Ok(()),
        // Functions that are refused anyway are named as such, not for the lack of a name.
        SelectItem::UnnamedExpr(Expr::Function(_) | Expr::Subquery(_)) => Ok(()),
        SelectItem::UnnamedExpr(_) => Err(unnamed()),
        SelectItem::ExprWithAliases { .. } => Err(invalid("an expression has several names")),
    }
}

fn unnamed() -> Error {
    invalid("an expression has no name").with_hint("write `expression as name`")
}

fn simple(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [part] => part.as_ident(),
        _ => None,
    }
}

struct Expressions<'a> {
    state: &'a SessionState,
    queries: usize,
}

impl Visitor for Expressions<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Self::Break> {
        self.queries += 1;
        if self.queries > 1 {
            ControlFlow::Break(Box::new(invalid("a subquery is not allowed")))
        } else {
            ControlFlow::Continue(())
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let refused = match expr {
            Expr::Function(function) => self.function(function),
            Expr::Exists { .. } | Expr::InSubquery { .. } | Expr::Subquery(_) => {
                Some(invalid("a subquery is not allowed"))
            }
            _ => None,
        };
        refused.map_or(ControlFlow::Continue(()), |e| ControlFlow::Break(Box::new(e)))
    }

    fn post_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        if select
            .projection
            .iter()
            .any(|item| matches!(item, SelectItem::UnnamedExpr(Expr::Function(_) | Expr::Subquery(_))))
        {
            return ControlFlow::Break(Box::new(unnamed()));
        }
        ControlFlow::Continue(())
    }
}

impl Expressions<'_> {
    fn function(&self, function: &Function) -> Option<Error> {
        let name = function.name.to_string().replace('"', "").to_lowercase();
        let refused = |what: &str| Some(invalid(format!("{what} `{name}` is not allowed")));
        if function.over.is_some() {
            return refused("the window function");
        }
        if !function.within_group.is_empty() || function.filter.is_some() {
            return refused("the aggregate function");
        }
        if let Some(scalar) = self.state.scalar_functions().get(&name) {
            return if scalar.signature().volatility == Volatility::Immutable {
                None
            } else {
                refused("the volatile function")
            };
        }
        if self.state.aggregate_functions().contains_key(&name) {
            return refused("the aggregate function");
        }
        if self.state.window_functions().contains_key(&name) {
            return refused("the window function");
        }
        if name == "unnest" || self.state.table_functions().contains_key(&name) {
            return refused("the table function");
        }
        if self.state.higher_order_functions().contains_key(&name) {
            return None;
        }
        let known: Vec<&str> = self.state.scalar_functions().keys().map(String::as_str).collect();
        Some(Error::new(Code::QueryTable, format!("there is no function `{name}`")).with_hint(
            match crate::errors::did_you_mean(&name, &known) {
                hint if hint.starts_with("did you mean") => hint,
                _ => "use another function".to_owned(),
            },
        ))
    }
}
