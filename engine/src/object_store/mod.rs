//! Where objects live: a flat map from key to immutable bytes, as S3 offers it and no more.
//!
//! Keys are `/`-separated ASCII paths without a leading slash ("sst/00000000000000000042.sst"). Nothing above this trait may assume
//! a file system. All calls block; a backend that is asynchronous inside hides its runtime.
//!
//! # By URL
//!
//! - `file:///absolute/path` - a directory of this machine.
//! - `memory://` - nothing that outlives the process.
//! - `s3://bucket/prefix?name=value&…` - a bucket of S3 or of a server that speaks S3's protocol, and everything under a prefix in it, with the crate's
//!   feature `s3`. Parameters: `endpoint`, `region`, `path_style` (true, false), `ca` (a file), `timeout_ms`, `deadline_ms`, `max_connections`; each
//!   is the field of [`StoreOptions`] of that name. Values may be percent-encoded.
//!
//! A URL is shown in variables, logs and process lists, so it never holds credentials: one that seems to is refused, unrepeated. Credentials come from
//! where the tools of the store find them: of S3 the environment, a profile, or the machine's role.
//!
//! [`Options::at_url`](crate::Options::at_url) opens an engine on such a store. [`open_store_for_reading`] is for [`inspect`](crate::inspect).
//!
//! # Of another kind
//!
//! Whatever implements [`ObjectStore`] can be [`Options::store`](crate::Options::store). Set [`Options::remote_wal`](crate::Options::remote_wal) beside it
//! if it is to outlive the local disk: an open tries then whether [`ObjectStore::put_if_absent`] keeps its promise.
//!
//! A call that fails with [`crate::ErrorKind::Unavailable`] may have done its work all the same: its answer may be what was lost.

mod fault;
mod key;
mod local;
mod memory;
mod meter;
mod metered;
mod options;
mod prefetch;
mod probe;
mod read_only;
#[cfg(feature = "s3")]
mod s3;
#[cfg(test)]
mod tests;
mod url;
mod wrapped;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::Result;

pub use meter::{RequestKind, RequestStats, Service};
pub use options::StoreOptions;
pub(crate) use parts::*;
pub use url::{open_store, open_store_for_reading, open_store_with};

/// What the engine takes of it besides.
pub(crate) mod parts {
    pub use super::fault::{Fault, FaultStore, Operation, Rule};
    pub use super::key::{MAX_OBJECT_KEY_LEN, validate_key};
    pub use super::local::LocalStore;
    pub use super::memory::MemoryStore;
    pub use super::meter::{Meter, Request};
    pub use super::metered::MeteredStore;
    pub use super::prefetch::{Pending, Prefetcher};
    pub use super::probe::probe_put_if_absent;
    pub use super::read_only::ReadOnlyStore;
    #[cfg(feature = "s3")]
    pub use super::s3::S3Store;
    pub use super::url::{S3Location, is_distant, place_of};
    pub use super::wrapped::{Wrapped, Wrapper};
}

/// What a listing says about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The object's key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A store of immutable objects.
pub trait ObjectStore: Send + Sync {
    /// Creates or replaces an object. When it returns the object is durable; a crash leaves the old, the new or no object, never a part.
    fn put(&self, key: &str, data: &[u8]) -> Result<()>;
    /// Creates an object unless the key is taken: [`crate::ErrorKind::AlreadyExists`]. Of several concurrent callers exactly one succeeds.
    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()>;
    /// Starts a large object that is written in pieces and appears whole at [`ObjectWriter::finish`], or never. Never replaces one.
    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>>;
    /// The whole object. [`crate::ErrorKind::NotFound`] if there is none.
    fn get(&self, key: &str) -> Result<Bytes>;
    /// The bytes of `range`; it is an error ([`crate::ErrorKind::Corruption`]) if the object ends before the range does.
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes>;
    /// Opens an object for repeated ranged reads, so that a backend can keep what it needs for that (a file descriptor, say). A backend that
    /// keeps nothing finds out at the first read that there is no object, or that it was deleted since.
    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>>;
    /// The same for an object that is known to be there and to have `size` bytes, so that a backend need not ask.
    fn reader_of(&self, key: &str, size: u64) -> Result<Arc<dyn ObjectReader>> {
        let _ = size;
        self.reader(key)
    }
    /// The size of an object in bytes.
    fn size(&self, key: &str) -> Result<u64>;
    /// Up to `limit` objects whose keys begin with `prefix` and are greater than `after`, in ascending order of key.
    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>>;
    /// Removes an object. Removing one that is not there is not an error.
    fn delete(&self, key: &str) -> Result<()>;
    /// Removes many objects, with as few requests as the backend can; one result for each key, in their order, as by [`ObjectStore::delete`]. In which order
    /// they go, and what a crash leaves of them, is not said.
    fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        keys.iter().map(|key| self.delete(key)).collect()
    }
    /// What counts this store's requests, if it does that itself; [`MeteredStore::wrap`] gives any store one.
    #[doc(hidden)]
    fn meter(&self) -> Option<Arc<Meter>> {
        None
    }
}

/// An object being written.
pub trait ObjectWriter: Send {
    /// Adds bytes at the end.
    fn append(&mut self, data: &[u8]) -> Result<()>;
    /// Makes the object appear, durable. Dropping the writer instead leaves nothing.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// An object opened for reading.
pub trait ObjectReader: Send + Sync {
    /// The bytes of `range`; it is an error ([`crate::ErrorKind::Corruption`]) if the object ends before the range does.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;
    /// The same for bytes that will not be wanted again soon: a cache on the way does not keep them.
    fn read_once(&self, range: Range<u64>) -> Result<Bytes> {
        self.read(range)
    }
    /// Says that the bytes read there are not what was written: a cache on the way drops them. `true` if one did, so that another read may help.
    fn forget(&self, range: Range<u64>) -> bool {
        let _ = range;
        false
    }
}
