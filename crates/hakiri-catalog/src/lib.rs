//! The catalog: one set of rules over a small record port, and its adapters
