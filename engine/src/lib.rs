//! A transactional log-structured key-value store whose durable home is an object store.
//!
//! Layers, each depending only on those below it:
//! `db` → `txn`, `flush`, `compaction`, `gc` → `remote_wal`, `output` → `wal`, `memtable`, `sst`, `manifest` → `cache`, `iter` → `object_store` → `format`, `env` → `types`.
#![deny(missing_docs)]

pub mod cache;
pub mod compaction;
mod db;
pub mod env;
mod error;
pub mod flush;
pub mod format;
// Not in a release: what else calls a function changes what the compiler inlines of it.
#[cfg(debug_assertions)]
#[doc(hidden)]
pub mod fuzz;
pub mod gc;
pub mod inspect;
pub mod iter;
pub mod manifest;
mod memtable;
pub mod object_store;
pub mod options;
pub mod output;
pub mod remote_wal;
pub mod sst;
pub mod txn;
pub mod types;
pub mod wal;

pub use db::{
    Cursor, DEFAULT_LOCK_WAIT, Engine, EngineStats, Entry, Isolation, LevelStats,
    PreparedTransaction, RangeStats, ReadSpec, Reader, RowLocator, RowWait, SeekTo, Transaction,
    Value, View, Write,
};
pub use error::{Error, ErrorKind, Result, ResultExt};
pub use options::{Durability, Options, WalSync};
pub use txn::locks::{Granted, LockInfo, LockKind, LockMode, LockWait, TxnInfo, WaitObserver};
pub use types::{Index, KeyBounds, KeyRange};
