//! A transactional log-structured key-value store whose durable home is an object store.
//!
//! Layers, each depending only on those below it:
//! `db` → `txn`, `flush`, `compaction`, `gc` → `wal`, `memtable`, `sst`, `manifest` → `cache`, `iter` → `object_store` → `format`, `env` → `types`.
#![deny(missing_docs)]

pub mod cache;
pub mod env;
mod error;
pub mod format;
pub mod iter;
pub mod manifest;
pub mod memtable;
pub mod object_store;
pub mod sst;
pub mod txn;
pub mod types;
pub mod wal;

pub use error::{Error, ErrorKind, Result, ResultExt};
