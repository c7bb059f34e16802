//! A transactional key-value store whose durable home is an object store.
//!
//! SmartEngine is a log-structured merge tree that a program carries inside. It keeps its data and its log in a bucket of S3, or in a folder, and
//! takes the machine that it runs on for a cache: lose the disk, open the same URL elsewhere, and everything that was acknowledged is there.
//! Transactions are those of a relational database: four isolation levels, locks on rows and on the gaps between them, deadlock detection, savepoints,
//! two-phase commit. It is the engine under SmartEngine for MySQL and knows nothing of MySQL.
//!
//! # Is it for you?
//!
//! It is, if one process at a time writes the data, and
//! - compute should be apart from storage: a server that can be thrown away, with a bucket that cannot;
//! - several keys change together, by many threads at once, and readers want to see one moment of it all;
//! - there is more data than memory, or more than disk.
//!
//! It is not, if several machines have to write to the same data (a store has one writer; a second one takes it over, and the first is told so), if
//! other machines have to read along with the writer, or if a map in memory with a file beside it would do.
//!
//! # A whole program
//!
//! ```
//! use smartengine::{Durability, Engine, ErrorKind, Index, Isolation, LockMode, Options, View};
//!
//! # fn main() -> smartengine::Result<()> {
//! # let (local, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
//! # let (disk, url) = (local.path(), format!("file://{}", bucket.path().display()));
//! // `disk` is a directory for what may be lost; `url` is s3://bucket/prefix or file:///absolute/path.
//! let engine = Engine::open(Options::at_url(disk, &url)?)?;
//!
//! // Data is in indexes. Their ids go where they are found again.
//! let stock = engine.create_index()?;
//! let mut txn = engine.begin(Isolation::RepeatableRead);
//! txn.insert(&Index::DICTIONARY.key("stock"), &stock.id().to_be_bytes())?;
//! txn.insert(&stock.key("apples"), b"12")?;
//! txn.insert(&stock.key("pears"), b"7")?;
//! txn.set_durability(Durability::Object);
//! txn.commit()?; // It is in the bucket now.
//!
//! // Change a row: lock it, then look at its newest version.
//! let mut sale = engine.begin(Isolation::RepeatableRead);
//! sale.lock(&stock.key("pears"), LockMode::Exclusive)?;
//! let pears = sale.get(&stock.key("pears"), View::Newest)?;
//! assert_eq!(pears.as_deref(), Some(&b"7"[..]));
//! sale.put(&stock.key("pears"), b"6")?;
//!
//! // Others see the stock as it was, and wait for the row if they want to change it.
//! let mut other = engine.begin(Isolation::RepeatableRead);
//! let error = other.try_lock(&stock.key("pears"), LockMode::Exclusive).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::LockNotAvailable);
//! let mut seen = Vec::new();
//! let mut cursor = other.cursor(&stock.all(), View::Snapshot)?;
//! cursor.seek_to_first()?;
//! while cursor.valid() {
//!     seen.push((cursor.rest().to_vec(), cursor.value().to_vec()));
//!     cursor.next()?;
//! }
//! assert_eq!(seen[1], (b"pears".to_vec(), b"7".to_vec()));
//! sale.commit()?;
//!
//! // What is left of transactions and cursors keeps the directory locked.
//! drop((cursor, txn, sale, other));
//! engine.close()
//! # }
//! ```
//!
//! `engine/examples/bank.rs` is a program to run: two transfers at once, and their result seen from another disk.
//!
//! # Where things are
//!
//! | you want to | look at |
//! | --- | --- |
//! | open a store, and tune it | [`Options`], [`Engine::open`] |
//! | name keys and ranges of them | [`Index`], [`KeyRange`] |
//! | read and write | [`Transaction`], [`Cursor`], [`Isolation`], [`View`] |
//! | write many keys in one call | [`Transaction::apply`], [`Write`] |
//! | read rows through secondary indexes, and lock them | [`Reader`] |
//! | commit together with another system | [`Transaction::prepare`], [`Engine::take_prepared`] |
//! | know what happens inside | [`Engine::stats`], [`Engine::status`], [`Engine::locks`], [`Engine::object_store_stats`] |
//! | handle an error | [`ErrorKind`]: what to do about each |
//! | bring a store of another kind | [`object_store`] |
//! | look into a store without opening it | [`inspect`] |
//! | see how a program survives failures | [`failpoint`] |
//!
//! # What is lost when
//!
//! By what a commit waits for before it is acknowledged:
//!
//! | lost | [`WalSync::EachSecond`] | [`WalSync::EachCommit`], the default | [`Durability::Object`] |
//! | --- | --- | --- | --- |
//! | the process | nothing | nothing | nothing |
//! | the machine's power | about the last second | nothing | nothing |
//! | the disk, with a store at a URL | what was not sent yet: [`Options::wal_upload_interval`], 200 ms | the same | nothing |
//! | the disk, without a URL | everything | everything | everything: the store is on it |
//!
//! What is lost is always the end: of the commits, a prefix is kept, and each of them whole. While the store does not answer, commits that need it
//! wait, and the others go on until [`Options::max_unuploaded_wal`] bytes of log wait for it. A write to the local log that fails ends all writing, with
//! [`ErrorKind::ReadOnly`]: nothing is acknowledged that may not have been kept.
//!
//! Who writes to a store by URL owns it until another opens it. That one takes it over, and from then on the first fails with
//! [`ErrorKind::Fenced`]; there is no lease and no clock in it. It rests on one promise of the store's, that a key is created once
//! (`If-None-Match: *`). Each open tries that out first, and refuses a store that does not keep it.
//!
//! # Features
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `s3` | stores at `s3://` URLs; it compiles tokio, TLS and the S3 client along |
//! | `failpoints` | points at which tests make a run fail ([`failpoint`]); not for what is installed |
//!
//! # How it is built
//!
//! All calls block, from any thread; only the S3 client has an asynchronous runtime, inside. Layers, each depending only on those below it:
//! `db` → `txn`, `flush`, `compaction`, `gc` → `remote_wal`, `output` → `wal`, `memtable`, `sst`, `manifest` → `cache`, `iter` → `object_store` →
//! `format`, `env` → `types`. The header of each module's source says what it promises and what a crash leaves; `engine/docs/adr/` has the decisions.
#![deny(missing_docs)]

mod cache;
mod compaction;
mod db;
mod env;
mod error;
mod flush;
mod format;
// Not in a release: what else calls a function changes what the compiler inlines of it.
mod format_versions;
#[cfg(debug_assertions)]
mod fuzz;
mod gc;
pub mod inspect;
#[doc(hidden)]
pub mod internals;
mod iter;
mod manifest;
mod memtable;
pub mod object_store;
mod options;
mod output;
mod remote_wal;
mod sst;
mod txn;
mod types;
mod wal;

pub use db::{
    Cursor, DEFAULT_LOCK_WAIT, Engine, EngineStats, Entry, Isolation, LevelStats,
    PreparedTransaction, RangeStats, ReadSpec, Reader, RowLocator, RowWait, SeekTo, Transaction,
    Value, View, Write,
};
pub use env::failpoint;
use error::ResultExt;
pub use error::{Error, ErrorKind, Result};
pub use format_versions::FORMAT_VERSIONS;
pub use options::{Durability, Options, UserVersionCheck, WalSync};
pub use remote_wal::RemoteWalStats;
pub use sst::Compression;
pub use txn::TxnId;
pub use txn::locks::{Granted, LockInfo, LockKind, LockMode, LockWait, TxnInfo, WaitObserver};
pub use types::{Index, KeyBounds, KeyRange, MAX_KEY_LEN, SeqNo};
