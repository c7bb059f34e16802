//! What a reader finds around it: transactions over the lock manager, and a store that is a map of versions.
//!
//! As in the engine, a commit has a number; what it wrote is there before that number is published, and its locks go after.

#[path = "../../src/db/locking_read/mod.rs"]
pub mod locking_read;

pub mod tree {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use crate::Result;
    use crate::types::SeqNo;

    pub type Value = Arc<[u8]>;

    /// What one snapshot shows of a range, with the transaction's writes at the time it was made.
    pub struct Cursor {
        pub rows: BTreeMap<Vec<u8>, (SeqNo, Value)>,
        pub snapshot: SeqNo,
        pub at: Option<Vec<u8>>,
    }

    impl Cursor {
        fn shown(&self) -> Option<&(SeqNo, Value)> {
            self.at.as_ref().map(|at| &self.rows[at])
        }

        pub fn snapshot(&self) -> SeqNo {
            self.snapshot
        }

        pub fn valid(&self) -> bool {
            self.at.is_some()
        }

        pub fn key(&self) -> &[u8] {
            self.at.as_deref().unwrap_or(&[])
        }

        pub fn value(&self) -> &[u8] {
            self.shown().map_or(&[], |(_, value)| value)
        }

        pub fn seq(&self) -> SeqNo {
            self.shown().map_or(0, |(seq, _)| *seq)
        }

        pub fn seek(&mut self, target: &[u8]) -> Result<()> {
            let mut rows = self.rows.range(target.to_vec()..);
            self.at = rows.next().map(|(key, _)| key.clone());
            Ok(())
        }

        pub fn seek_before(&mut self, target: &[u8]) -> Result<()> {
            let mut rows = self.rows.range(..target.to_vec());
            self.at = rows.next_back().map(|(key, _)| key.clone());
            Ok(())
        }

        pub fn seek_to_first(&mut self) -> Result<()> {
            self.at = self.rows.keys().next().cloned();
            Ok(())
        }

        pub fn seek_to_last(&mut self) -> Result<()> {
            self.at = self.rows.keys().next_back().cloned();
            Ok(())
        }

        pub fn next(&mut self) -> Result<()> {
            match self.at.take() {
                Some(at) => self.seek(&[&at[..], &[0]].concat()),
                None => Ok(()),
            }
        }

        pub fn prev(&mut self) -> Result<()> {
            match self.at.take() {
                Some(at) => self.seek_before(&at),
                None => Ok(()),
            }
        }
    }
}

pub mod transaction {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::tree::Cursor;
    use super::tree::Value;
    use crate::txn::batch::Batch;
    use crate::txn::locks::{Granted, LockManager, LockMode, LockWait, TxnLocks};
    use crate::txn::sync::Mutex;
    use crate::txn::sync::atomic::{AtomicU64, Ordering};
    use crate::types::{KeyBounds, KeyRange, OWN_WRITE_SEQ, SeqNo};
    use crate::{Error, ErrorKind, Result};

    pub use smartengine::{Isolation, View};

    type Versions = BTreeMap<Vec<u8>, Vec<(SeqNo, Option<Value>)>>;

    /// What all transactions share.
    pub struct Store {
        pub locks: LockManager,
        /// Oldest first, of each key.
        versions: Mutex<Versions>,
        visible: AtomicU64,
        /// Held by the one that commits.
        commit: Mutex<()>,
        ids: AtomicU64,
    }

    impl Store {
        pub fn new() -> Arc<Self> {
            Arc::new(Self {
                locks: LockManager::new(1000),
                versions: Mutex::default(),
                visible: AtomicU64::new(0),
                commit: Mutex::default(),
                ids: AtomicU64::new(1),
            })
        }

        /// The newest committed version of a key; of it being removed too.
        pub fn newest(&self, key: &[u8]) -> (SeqNo, Option<Value>) {
            let visible = self.visible.load(Ordering::SeqCst);
            self.version(key, visible)
        }

        fn version(&self, key: &[u8], at: SeqNo) -> (SeqNo, Option<Value>) {
            let versions = self.versions.lock();
            let of_key = versions.get(key).into_iter().flatten();
            let seen = of_key.rev().find(|(seq, _)| *seq <= at);
            seen.cloned().unwrap_or_default()
        }

        /// All that is committed in a range.
        pub fn committed(&self, keys: &KeyRange) -> BTreeMap<Vec<u8>, (SeqNo, Value)> {
            let visible = self.visible.load(Ordering::SeqCst);
            self.as_of(keys.lower(), keys.upper(), visible)
        }

        fn as_of(
            &self,
            lower: &[u8],
            upper: &[u8],
            at: SeqNo,
        ) -> BTreeMap<Vec<u8>, (SeqNo, Value)> {
            let versions = self.versions.lock();
            let range = versions.range(lower.to_vec()..upper.to_vec());
            range
                .filter_map(|(key, of_key)| {
                    let seen = of_key.iter().rev().find(|(seq, _)| *seq <= at)?;
                    Some((key.clone(), (seen.0, seen.1.clone()?)))
                })
                .collect()
        }
    }

    /// With the interface of the real one, as far as it is used here.
    pub struct Transaction {
        store: Arc<Store>,
        isolation: Isolation,
        locks: TxnLocks,
        batch: Batch,
        writes: BTreeMap<Vec<u8>, Option<Value>>,
        snapshot: Option<SeqNo>,
    }

    const WAIT: LockWait = LockWait::Timeout(Duration::from_secs(1));

    impl Transaction {
        pub fn begin(store: &Arc<Store>, isolation: Isolation) -> Self {
            let id = store.ids.fetch_add(1, Ordering::SeqCst);
            Self {
                store: store.clone(),
                isolation,
                locks: TxnLocks::new(id, isolation),
                batch: Batch::default(),
                writes: BTreeMap::new(),
                snapshot: None,
            }
        }

        pub fn id(&self) -> u64 {
            self.locks.id()
        }

        pub fn isolation(&self) -> Isolation {
            self.isolation
        }

        pub fn lock_wait(&self) -> LockWait {
            WAIT
        }

        pub fn locked_keys(&self) -> usize {
            self.locks.len()
        }

        fn snapshot(&mut self) -> SeqNo {
            let visible = &self.store.visible;
            *self
                .snapshot
                .get_or_insert_with(|| visible.load(Ordering::SeqCst))
        }

        pub fn get(&mut self, key: &[u8], view: View) -> Result<Option<Value>> {
            Ok(self.get_with_origin(key, view)?.0)
        }

        pub fn get_with_origin(&mut self, key: &[u8], view: View) -> Result<(Option<Value>, bool)> {
            if let Some(own) = self.writes.get(key) {
                return Ok((own.clone(), true));
            }
            let found = match view {
                View::Snapshot => {
                    let at = self.snapshot();
                    self.store.version(key, at)
                }
                View::Newest => self.store.newest(key),
            };
            Ok((found.1, false))
        }

        pub fn get_newest(&mut self, key: &[u8]) -> Result<(SeqNo, Option<Value>)> {
            Ok(match self.writes.get(key) {
                Some(own) => (OWN_WRITE_SEQ, own.clone()),
                None => self.store.newest(key),
            })
        }

        pub fn get_as_of(&self, key: &[u8], cursor: &Cursor) -> Result<(Option<Value>, bool)> {
            Ok(match self.writes.get(key) {
                Some(own) => (own.clone(), true),
                None => (self.store.version(key, cursor.snapshot()).1, false),
            })
        }

        pub fn note_seen(&mut self, _: SeqNo) {}

        pub fn is_newest(&self, cursor: &Cursor) -> bool {
            self.store.visible.load(Ordering::SeqCst) == cursor.snapshot()
        }

        pub fn cursor<'k>(&mut self, keys: impl Into<KeyBounds<'k>>, view: View) -> Result<Cursor> {
            let keys = keys.into();
            let (lower, upper) = (keys.lower(), keys.upper());
            self.locks.forget_survey();
            let snapshot = match view {
                View::Snapshot => self.snapshot(),
                View::Newest => self.store.visible.load(Ordering::SeqCst),
            };
            let mut rows = self.store.as_of(lower, upper, snapshot);
            for (key, write) in self.writes.range(lower.to_vec()..upper.to_vec()) {
                match write {
                    Some(value) => rows.insert(key.clone(), (OWN_WRITE_SEQ, value.clone())),
                    None => rows.remove(key),
                };
            }
            Ok(Cursor {
                rows,
                snapshot,
                at: None,
            })
        }

        fn lock_with(&mut self, key: &[u8], mode: LockMode, wait: LockWait) -> Result<Granted> {
            let locks = &self.store.locks;
            locks.acquire(&mut self.locks, key, mode, wait)
        }

        pub fn try_lock(&mut self, key: &[u8], mode: LockMode) -> Result<Granted> {
            self.lock_with(key, mode, LockWait::NoWait)
        }

        pub fn lock(&mut self, key: &[u8], mode: LockMode) -> Result<Granted> {
            self.lock_with(key, mode, WAIT)
        }

        pub fn unlock(&mut self, key: &[u8]) {
            self.store.locks.release(&mut self.locks, key);
        }

        pub fn lock_gap(&mut self, from: &[u8], to: &[u8], wait: Option<LockWait>) -> Result<()> {
            if !self.isolation.locks_gaps() {
                return Ok(());
            }
            let locks = &self.store.locks;
            locks.lock_gap(&mut self.locks, from, to, wait)
        }

        pub fn await_additions(&mut self, from: &[u8], to: &[u8], wait: LockWait) -> Result<bool> {
            let locks = &self.store.locks;
            locks.await_additions(&mut self.locks, from, to, wait)
        }

        fn write(&mut self, key: &[u8], value: Option<&[u8]>) {
            let Self {
                store,
                locks,
                batch,
                ..
            } = self;
            let share = || batch.view().clone();
            store.locks.will_write(locks, key, share);
            match value {
                Some(value) => self.batch.put(key, value),
                None => self.batch.delete(key),
            }
            self.writes.insert(key.to_vec(), value.map(Into::into));
        }

        pub fn put(&mut self, key: &[u8], value: &[u8]) {
            self.write(key, Some(value));
        }

        pub fn delete(&mut self, key: &[u8]) {
            self.write(key, None);
        }

        pub fn lock_delete(&mut self, key: &[u8]) -> Result<()> {
            self.lock(key, LockMode::Exclusive)?;
            self.delete(key);
            Ok(())
        }

        /// Adds a key that a lock stands for.
        pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
            self.add_as(key, value, false)
        }

        /// Adds a key that must not exist.
        pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
            self.add_as(key, value, true)
        }

        fn add_as(&mut self, key: &[u8], value: &[u8], new: bool) -> Result<()> {
            loop {
                let mut granted = Granted::Held;
                if new {
                    granted = self.lock(key, LockMode::Exclusive)?;
                    if self.get(key, View::Newest)?.is_some() {
                        return Err(Error::new(ErrorKind::Duplicate, "the key exists"));
                    }
                }
                let savepoint = self.batch.savepoint();
                let before = self.writes.get(key).cloned();
                self.write(key, Some(value));
                let Some(owner) = self.store.locks.gap_owner(&self.locks, key) else {
                    return Ok(());
                };
                self.batch.rollback_to(savepoint);
                match before {
                    Some(before) => self.writes.insert(key.to_vec(), before),
                    None => self.writes.remove(key),
                };
                if granted == Granted::New {
                    self.unlock(key);
                }
                let locks = &self.store.locks;
                locks.await_gap(&mut self.locks, key, owner, WAIT)?;
            }
        }

        pub fn commit(&mut self) {
            let store = self.store.clone();
            let writes = std::mem::take(&mut self.writes);
            if !writes.is_empty() {
                let _first = store.commit.lock();
                let seq = store.visible.load(Ordering::SeqCst) + 1;
                for (key, value) in writes {
                    let mut versions = store.versions.lock();
                    versions.entry(key).or_default().push((seq, value));
                }
                store.visible.store(seq, Ordering::SeqCst);
            }
            self.rollback();
        }

        pub fn rollback(&mut self) {
            self.writes.clear();
            self.store.locks.release_all(&mut self.locks);
            self.batch.clear();
        }
    }

    impl Drop for Transaction {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                self.rollback();
            }
        }
    }
}
