//! A store that is another one but for a few calls, for tests of what is built on one.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

use super::{ObjectMeta, ObjectReader, ObjectStore, ObjectWriter};
use crate::Result;

/// Which calls of a store are done otherwise: those that are implemented. All others go to the store inside.
#[allow(missing_docs)]
pub trait Wrapper: Send + Sync {
    /// The store inside.
    fn inner(&self) -> &dyn ObjectStore;

    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        self.inner().put(key, data)
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        self.inner().put_if_absent(key, data)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        self.inner().writer(key)
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        self.inner().get(key)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner().get_range(key, range)
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        self.inner().reader(key)
    }

    fn size(&self, key: &str) -> Result<u64> {
        self.inner().size(key)
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        self.inner().list(prefix, after, limit)
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.inner().delete(key)
    }

    fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        keys.iter().map(|key| self.delete(key)).collect()
    }
}

/// The store that a [`Wrapper`] makes of the one inside.
pub struct Wrapped<W>(pub W);

impl<W> Deref for Wrapped<W> {
    type Target = W;

    fn deref(&self) -> &W {
        &self.0
    }
}

impl<W: Wrapper> ObjectStore for Wrapped<W> {
    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        self.0.put(key, data)
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        self.0.put_if_absent(key, data)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        self.0.writer(key)
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        self.0.get(key)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.0.get_range(key, range)
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        self.0.reader(key)
    }

    fn size(&self, key: &str) -> Result<u64> {
        self.0.size(key)
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        self.0.list(prefix, after, limit)
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.0.delete(key)
    }

    fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        self.0.delete_many(keys)
    }
}
