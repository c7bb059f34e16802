//! A store that is only read, whatever its user does.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{ObjectMeta, ObjectReader, ObjectStore, ObjectWriter};
use crate::{Error, ErrorKind, Result};

/// Passes reads on and refuses writes with [`ErrorKind::ReadOnly`].
pub struct ReadOnlyStore {
    inner: Arc<dyn ObjectStore>,
}

impl ReadOnlyStore {
    /// A view of `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner }
    }
}

fn refuse<T>(what: &str, key: &str) -> Result<T> {
    Err(Error::new(
        ErrorKind::ReadOnly,
        format!("{what} {key}: the store was opened for reading only"),
    ))
}

impl ObjectStore for ReadOnlyStore {
    fn put(&self, key: &str, _: &[u8]) -> Result<()> {
        refuse("write", key)
    }

    fn put_if_absent(&self, key: &str, _: &[u8]) -> Result<()> {
        refuse("write", key)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        refuse("write", key)
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        self.inner.get(key)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.get_range(key, range)
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        self.inner.reader(key)
    }

    fn reader_of(&self, key: &str, size: u64) -> Result<Arc<dyn ObjectReader>> {
        self.inner.reader_of(key, size)
    }

    fn size(&self, key: &str) -> Result<u64> {
        self.inner.size(key)
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        self.inner.list(prefix, after, limit)
    }

    fn delete(&self, key: &str) -> Result<()> {
        refuse("delete", key)
    }

    fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        keys.iter().map(|key| refuse("delete", key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_store::MemoryStore;

    #[test]
    fn nothing_can_be_changed() {
        let inner = Arc::new(MemoryStore::new());
        inner.put("a", b"1").unwrap();
        let store = ReadOnlyStore::new(inner);
        let refused = [
            store.put("a", b"2"),
            store.put_if_absent("b", b"2"),
            store.writer("b").map(drop),
            store.delete("a"),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::ReadOnly);
        }
        assert_eq!(store.get("a").unwrap(), "1");
        assert_eq!(store.list("", "", 9).unwrap().len(), 1);
    }
}
