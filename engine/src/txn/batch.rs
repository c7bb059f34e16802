//! A transaction's own writes, in key order, before they are committed.
//!
//! Every write is an entry of a skip list with a sequence number from [`OWN_WRITE_SEQ`] up, so that the transaction's readers merge
//! it with committed data as the newest versions. A later write of the same key is a further, newer entry. Rolling back to a
//! savepoint kills the entries written since; what they covered shows again. At commit the newest live entry of each key is encoded.

use std::sync::Arc;

use super::record::OpWriter;
use crate::memtable::{InsertHint, MemIter, NodeRef, SkipList};
use crate::types::{KeyRef, OWN_WRITE_SEQ, ValueKind, encode_trailer, user_key_of};

/// First chunk of a batch's arena, in bytes.
const FIRST_CHUNK: usize = 2 << 10;

/// The writes of one transaction.
pub struct Batch {
    list: Arc<SkipList>,
    written: Vec<NodeRef>,
    next: u64,
    hint: InsertHint,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            list: Arc::new(SkipList::new(FIRST_CHUNK)),
            written: Vec::new(),
            next: OWN_WRITE_SEQ,
            hint: InsertHint::default(),
        }
    }
}

impl Batch {
    /// Sets a key's value.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.write(key, ValueKind::Put, value);
    }

    /// Removes a key.
    pub fn delete(&mut self, key: &[u8]) {
        self.write(key, ValueKind::Delete, &[]);
    }

    fn write(&mut self, key: &[u8], kind: ValueKind, value: &[u8]) {
        let key = KeyRef {
            user: key,
            trailer: encode_trailer(self.next, kind),
        };
        self.written
            .push(self.list.insert(key, value, &mut self.hint));
        self.next += 1;
    }

    /// What the transaction last wrote to a key, if anything.
    pub fn get(&self, key: &[u8]) -> Option<(ValueKind, &[u8])> {
        if self.written.is_empty() {
            return None;
        }
        let (found, value) = self.list.first_at_or_after(KeyRef::before(key))?;
        if user_key_of(found) != key {
            return None;
        }
        Some((KeyRef::decode(found).kind()?, value))
    }

    /// Whether nothing is written, or all of it was rolled back.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// Number of writes that were not rolled back, several of one key counted each.
    pub fn len(&self) -> usize {
        self.written.len()
    }

    /// Bytes of memory it takes.
    pub fn allocated(&self) -> usize {
        self.list.allocated() + self.written.capacity() * size_of::<NodeRef>()
    }

    /// The place to which [`Batch::rollback_to`] can return.
    pub fn savepoint(&self) -> usize {
        self.written.len()
    }

    /// Undoes every write since `savepoint`.
    pub fn rollback_to(&mut self, savepoint: usize) {
        for node in self.written.drain(savepoint.min(self.written.len())..) {
            self.list.kill(node);
        }
    }

    /// An iterator over all live entries, also those written after its creation.
    pub fn iter(&self) -> MemIter {
        MemIter::over(self.list.clone())
    }

    /// An iterator that stands on what the transaction last wrote to a key, if it wrote anything.
    pub fn find(&self, key: &[u8]) -> Option<MemIter> {
        if self.written.is_empty() {
            return None;
        }
        MemIter::find_in(&self.list, key)
    }

    /// Calls `each` with the newest live entry of every key, in key order.
    pub fn for_each_newest(&self, mut each: impl FnMut(&[u8], ValueKind, &[u8])) {
        let mut last = None;
        for (encoded, value) in self.list.entries() {
            let key = KeyRef::decode(encoded);
            // Of several entries of one key the newest comes first.
            if last.replace(key.user) == Some(key.user) {
                continue;
            }
            // Every entry was written by `write`, so its kind is known.
            if let Some(kind) = key.kind() {
                each(key.user, kind, value);
            }
        }
    }

    /// Appends its operations to `ops`.
    pub fn encode(&self, ops: &mut OpWriter) {
        self.for_each_newest(|key, kind, value| ops.push(kind, key, value));
    }

    /// Forgets everything, keeping what memory can be kept.
    pub fn clear(&mut self) {
        const KEEP: usize = 1024;
        self.hint = InsertHint::default();
        self.written.clear();
        self.written.shrink_to(KEEP);
        if !self.list.is_empty() {
            match Arc::get_mut(&mut self.list) {
                Some(list) => list.clear(),
                // A cursor or a value that was read still looks at it.
                None => self.list = Arc::new(SkipList::new(FIRST_CHUNK)),
            }
        }
        self.next = OWN_WRITE_SEQ;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iter::InternalIterator;

    fn contents(batch: &Batch) -> Vec<(Vec<u8>, ValueKind, Vec<u8>)> {
        let mut all = Vec::new();
        batch.for_each_newest(|key, kind, value| all.push((key.to_vec(), kind, value.to_vec())));
        all
    }

    #[test]
    fn newest_write_of_a_key_counts() {
        let mut batch = Batch::default();
        batch.put(b"b", b"1");
        batch.put(b"a", b"2");
        batch.put(b"b", b"3");
        batch.delete(b"c");
        assert_eq!(batch.get(b"b"), Some((ValueKind::Put, &b"3"[..])));
        assert_eq!(batch.get(b"c"), Some((ValueKind::Delete, &b""[..])));
        assert_eq!(batch.get(b"d"), None);
        assert_eq!(contents(&batch).len(), 3);
    }

    #[test]
    fn a_cleared_batch_is_as_new_and_leaves_its_readers_what_they_read() {
        let mut batch = Batch::default();
        for size in [1, 100, 5000, 1, 1] {
            batch.put(b"a", &vec![1; size]);
            let kept = (size == 100).then(|| batch.find(b"a").unwrap());
            batch.clear();
            assert!(batch.is_empty() && contents(&batch).is_empty());
            assert_eq!(batch.get(b"a"), None);
            assert!(kept.is_none_or(|kept| kept.value() == [1; 100]));
        }
    }

    #[test]
    fn rollback_uncovers_what_was_there() {
        let mut batch = Batch::default();
        batch.put(b"a", b"1");
        let savepoint = batch.savepoint();
        batch.put(b"a", b"2");
        batch.put(b"b", b"3");
        let inner = batch.savepoint();
        batch.delete(b"a");
        batch.rollback_to(inner);
        assert_eq!(batch.get(b"a"), Some((ValueKind::Put, &b"2"[..])));
        batch.rollback_to(savepoint);
        assert_eq!(
            contents(&batch),
            [(b"a".to_vec(), ValueKind::Put, b"1".to_vec())]
        );
        batch.put(b"a", b"4");
        assert_eq!(batch.get(b"a"), Some((ValueKind::Put, &b"4"[..])));
    }
}
