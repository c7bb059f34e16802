//! Tests of SSTs as a whole: builder, reader and iterator against an ordered map.

mod behaviour;
mod block;
mod corruption;
mod golden;
mod model;
mod verify;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;
use crate::cache::BlockCache;
use crate::iter::InternalIterator;
use crate::object_store::{ObjectReader, ObjectWriter};
use crate::types::{InternalKeyBuf, SeqNo, ValueKind};
use crate::{Error, Result};

/// An object in memory: what a builder wrote, and what a reader reads.
#[derive(Clone, Default)]
pub(super) struct MemoryObject(Arc<Mutex<Option<Bytes>>>);

struct MemoryWriter {
    object: MemoryObject,
    bytes: Vec<u8>,
}

impl ObjectWriter for MemoryWriter {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        *self.object.0.lock().unwrap() = Some(self.bytes.into());
        Ok(())
    }
}

struct MemoryReader(Bytes);

impl ObjectReader for MemoryReader {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.end > self.0.len() as u64 || range.start > range.end {
            return Err(Error::corruption("the object ends before the range does"));
        }
        Ok(self.0.slice(range.start as usize..range.end as usize))
    }
}

impl MemoryObject {
    pub(super) fn writer(&self) -> Box<dyn ObjectWriter> {
        Box::new(MemoryWriter {
            object: self.clone(),
            bytes: Vec::new(),
        })
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.0
            .lock()
            .unwrap()
            .clone()
            .expect("the object is finished")
    }
}

pub(super) fn open_bytes(
    bytes: Bytes,
    cache: &Arc<BlockCache>,
    file_id: u64,
) -> Result<Arc<SstReader>> {
    let size = bytes.len() as u64;
    SstReader::open(Arc::new(MemoryReader(bytes)), file_id, size, cache.clone()).map(Arc::new)
}

/// One entry as tests write it.
pub(super) type Entry = (InternalKeyBuf, Vec<u8>);

pub(super) fn entry(user: &[u8], seq: SeqNo, kind: ValueKind, value: &[u8]) -> Entry {
    (InternalKeyBuf::new(user, seq, kind), value.to_vec())
}

pub(super) fn build(entries: &[Entry], options: SstOptions) -> (Bytes, SstSummary) {
    let object = MemoryObject::default();
    let mut builder = SstBuilder::new(object.writer(), options);
    for (key, value) in entries {
        builder.add(key.as_bytes(), value).unwrap();
    }
    let summary = builder.finish().unwrap();
    let bytes = object.bytes();
    assert_eq!(bytes.len() as u64, summary.size);
    (bytes, summary)
}

/// All entries, read forward.
pub(super) fn collect(iter: &mut impl InternalIterator) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    iter.seek_to_first()?;
    while iter.valid() {
        entries.push((
            InternalKeyBuf::from_encoded(iter.key()),
            iter.value().to_vec(),
        ));
        iter.next()?;
    }
    Ok(entries)
}
