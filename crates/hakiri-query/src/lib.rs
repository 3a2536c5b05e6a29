//! SQL over the store and inside pipelines
