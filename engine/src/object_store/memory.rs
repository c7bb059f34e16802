//! Objects in memory, for tests and for an engine that is to leave nothing behind.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{ObjectMeta, ObjectReader, ObjectStore, ObjectWriter, validate_key};
use crate::{Error, ErrorKind, Result};

type Objects = RwLock<BTreeMap<String, Bytes>>;

/// A store whose objects live as long as it does.
#[derive(Default)]
pub struct MemoryStore {
    objects: Arc<Objects>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store with the same objects, which both change independently from then on.
    pub fn copy(&self) -> Self {
        Self {
            objects: Arc::new(RwLock::new(self.objects.read().clone())),
        }
    }
}

struct MemoryWriter {
    objects: Arc<Objects>,
    key: String,
    data: Vec<u8>,
}

struct MemoryReader {
    key: String,
    data: Bytes,
}

/// The bytes of `range` out of an object's data.
fn slice(key: &str, data: &Bytes, range: Range<u64>) -> Result<Bytes> {
    check_range(key, &range, data.len() as u64)?;
    Ok(data.slice(range.start as usize..range.end as usize))
}

/// Refuses a range that is not one, or that the object of `size` bytes does not hold.
pub(super) fn check_range(key: &str, range: &Range<u64>, size: u64) -> Result<()> {
    if range.start > range.end {
        return Err(Error::invalid(format!(
            "read object {key}: range {}..{} ends before it starts",
            range.start, range.end
        )));
    }
    if range.end > size {
        return Err(Error::corruption(format!(
            "read object {key}: bytes {}..{} asked for, it has {size}",
            range.start, range.end
        )));
    }
    Ok(())
}

fn insert_new(objects: &Objects, key: &str, data: Bytes) -> Result<()> {
    let mut objects = objects.write();
    if objects.contains_key(key) {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("create object {key}: it exists already"),
        ));
    }
    objects.insert(key.to_owned(), data);
    Ok(())
}

impl ObjectStore for MemoryStore {
    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        validate_key(key)?;
        self.objects
            .write()
            .insert(key.to_owned(), Bytes::copy_from_slice(data));
        Ok(())
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        validate_key(key)?;
        insert_new(&self.objects, key, Bytes::copy_from_slice(data))
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        validate_key(key)?;
        Ok(Box::new(MemoryWriter {
            objects: Arc::clone(&self.objects),
            key: key.to_owned(),
            data: Vec::new(),
        }))
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        validate_key(key)?;
        self.objects.read().get(key).cloned().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("read object {key}: there is none"),
            )
        })
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        slice(key, &self.get(key)?, range)
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        Ok(Arc::new(MemoryReader {
            key: key.to_owned(),
            data: self.get(key)?,
        }))
    }

    fn size(&self, key: &str) -> Result<u64> {
        Ok(self.get(key)?.len() as u64)
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        let objects = self.objects.read();
        // Keys with the prefix lie together; begin at whichever of the two bounds is later.
        let from = if after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        Ok(objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, data)| ObjectMeta {
                key: key.clone(),
                size: data.len() as u64,
            })
            .collect())
    }

    fn delete(&self, key: &str) -> Result<()> {
        validate_key(key)?;
        self.objects.write().remove(key);
        Ok(())
    }

    fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        let mut objects = self.objects.write();
        let remove = |key: &String| {
            validate_key(key)?;
            objects.remove(key);
            Ok(())
        };
        keys.iter().map(remove).collect()
    }
}

impl ObjectWriter for MemoryWriter {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.data.extend_from_slice(data);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        insert_new(&self.objects, &self.key, self.data.into())
    }
}

impl ObjectReader for MemoryReader {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        slice(&self.key, &self.data, range)
    }
}
