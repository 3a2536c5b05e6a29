//! Makes `AND` and `OR` decide row by row whether their second operand is computed at all.
//!
//! `a AND b`, where `b` may fail, becomes `CASE WHEN NOT a THEN false ELSE a AND b END`, and likewise for `OR`: `CASE` is
//! evaluated on exactly the rows that need it. Done after simplification, which would undo it.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, lit, when};

/// The expression with every fallible second operand guarded.
pub(super) fn guarded(expr: Expr) -> Result<Expr> {
    expr.transform_up(|expr| match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) if may_fail(&right)? => {
            let decided =
                if op == Operator::And { left.as_ref().clone().is_false() } else { left.as_ref().clone().is_true() };
            let both = Expr::BinaryExpr(BinaryExpr { left, op, right });
            Ok(Transformed::yes(when(decided, lit(op == Operator::Or)).otherwise(both)?))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// Whether computing it can fail on some value: casts, divisions, functions.
fn may_fail(expr: &Expr) -> Result<bool> {
    expr.exists(|e| {
        Ok(match e {
            Expr::Cast(_) | Expr::ScalarFunction(_) | Expr::Negative(_) => true,
            Expr::BinaryExpr(binary) => !infallible(binary.op),
            _ => false,
        })
    })
}

fn infallible(op: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom | And | Or)
}
