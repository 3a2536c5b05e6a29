//! Stored tables as DataFusion tables that show their current rows.
//!
//! [`scan`] reads exactly the parts a commit names, without listing a folder; [`adapter`] and [`widen`] show older,
//! narrower parts in the current schema; [`current`] decides in the logical plan which rows are current, so that
//! projections and filters are pushed down where that is valid.

mod adapter;
pub(crate) mod current;
mod scan;
mod widen;
