//! Sources: files, the declarative HTTP engine and the connectors described on it
