//! Transactions that follow from a seed, and the check of what is left of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smartengine::internals::env::Sequence;
use smartengine::internals::env::fs::FaultFs;
use smartengine::object_store::ObjectStore;
use smartengine::{Durability, Engine, Index, Isolation, Options, Result, Transaction, View};

/// The index that holds all rows.
pub const ROWS: u32 = 1;
/// Rows that one writer writes to.
const SLOTS: u64 = 40;

pub fn small(dir: impl Into<PathBuf>) -> Options {
    let mut options = Options::new(dir);
    options.block_size = 1 << 10;
    options.block_cache_size = 256 << 10;
    options.memtable_size = 64 << 10;
    options.total_memtable_size = 256 << 10;
    options.total_wal_size = 1 << 20;
    options.target_file_size = 64 << 10;
    options.base_level_size = 64 << 10;
    options.level_multiplier = 2;
    options.level0_compaction_trigger = 2;
    // The larger ones of the transactions below are committed by files.
    options.transaction_memory = 5 << 10;
    options
}

pub fn in_memory(fs: &FaultFs, store: Arc<dyn ObjectStore>) -> Options {
    let mut options = small("/engine");
    options.fs = Arc::new(fs.clone());
    options.store = Some(store);
    options
}

/// One that keeps its log in the store as well.
pub fn in_store(fs: &FaultFs, store: Arc<dyn ObjectStore>) -> Options {
    keep_log_in(in_memory(fs, store.clone()), store)
}

/// The same engine, with its files and its log in `store`.
pub fn keep_log_in(mut options: Options, store: Arc<dyn ObjectStore>) -> Options {
    options.store = Some(store);
    options.remote_wal = true;
    options.wal_upload_interval = Duration::from_millis(5);
    options.wal_upload_size = 4 << 10;
    options.wal_upload_threads = 4;
    options.store_wait = Duration::from_millis(300);
    options.gc_grace = Duration::from_millis(50);
    options
}

/// An engine on an empty store, whose first index is [`ROWS`].
pub fn create(options: Options) -> Engine {
    let engine = Engine::open(options).unwrap();
    assert_eq!(engine.create_index().unwrap().id(), ROWS);
    engine
}

fn row(writer: u64, slot: u64) -> Vec<u8> {
    let mut key = ROWS.to_be_bytes().to_vec();
    key.extend((writer as u16).to_be_bytes());
    key.extend((slot as u16).to_be_bytes());
    key
}

/// The row that counts a writer's transactions.
fn count_key(writer: u64) -> Vec<u8> {
    row(writer, 0xffff)
}

/// What transaction `number` of a writer does, but for the counting.
fn changes(writer: u64, number: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut sequence = Sequence::new(writer << 32 | number);
    let rows = 1 + sequence.below(6);
    let mut all = Vec::new();
    for _ in 0..rows {
        let key = row(writer, sequence.below(SLOTS));
        let value = (sequence.below(4) > 0).then(|| {
            let words = sequence.below(250);
            (0..words)
                .flat_map(|_| sequence.next_u64().to_le_bytes())
                .collect()
        });
        all.push((key, value));
    }
    all
}

/// Rows by key.
pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// One writer's progress.
pub struct Writer {
    id: u64,
    /// Whether some of its transactions commit in two phases.
    two_phases: bool,
    durability: Durability,
    /// Transactions whose commit was acknowledged: they come first.
    pub acknowledged: AtomicU64,
}

impl Writer {
    pub fn new(id: u64) -> Self {
        Self {
            id,
            two_phases: true,
            durability: Durability::Local,
            acknowledged: AtomicU64::new(0),
        }
    }

    /// One that commits in one phase, always.
    pub fn in_one_phase(id: u64) -> Self {
        Self {
            two_phases: false,
            ..Self::new(id)
        }
    }

    /// One whose commits are acknowledged by the store.
    pub fn in_store(id: u64) -> Self {
        Self {
            durability: Durability::Object,
            ..Self::new(id)
        }
    }

    fn prepare(&self, engine: &Engine, number: u64) -> Result<Transaction> {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        txn.set_durability(self.durability);
        for (key, value) in changes(self.id, number) {
            match value {
                Some(value) => txn.put(&key, &value)?,
                None => txn.delete(&key)?,
            }
        }
        txn.put(&count_key(self.id), &(number + 1).to_be_bytes())?;
        Ok(txn)
    }

    /// The next transaction.
    pub fn write_one(&self, engine: &Engine) -> Result<()> {
        let number = self.acknowledged.load(Ordering::Relaxed);
        let mut txn = self.prepare(engine, number)?;
        // A third of them as a coordinator would, some of these only after an attempt that it gave up.
        match number % 6 {
            1 if self.two_phases => {
                txn.prepare(&self.name(), false)?;
                engine.sync_wal()?;
            }
            4 if self.two_phases => {
                txn.prepare(&self.name(), true)?;
                txn.rollback()?;
                txn = self.prepare(engine, number)?;
                txn.prepare(&self.name(), false)?;
            }
            _ => {}
        }
        txn.commit()?;
        self.acknowledged.store(number + 1, Ordering::Release);
        Ok(())
    }

    fn name(&self) -> Vec<u8> {
        format!("writer {}", self.id).into_bytes()
    }

    /// Decides about a transaction that a crash left prepared, one way or the other.
    fn decide(&self, engine: &Engine) {
        let Some(mut txn) = engine.take_prepared(&self.name()) else {
            return;
        };
        if self.acknowledged.load(Ordering::Relaxed) % 4 == 1 {
            txn.commit().unwrap();
        } else {
            txn.rollback().unwrap();
        }
    }

    /// What may be left of it: what was acknowledged by now, and one more.
    pub fn expected(&self) -> RangeInclusive<u64> {
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        acknowledged..=acknowledged + 1
    }

    /// What the engine holds of this writer: the number of transactions, and the rows, read both ways and one by one.
    pub fn read(&self, engine: &Engine) -> Result<(u64, Rows)> {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        let count = txn.get(&count_key(self.id), View::Snapshot)?;
        let count = count.map_or(0, |value| u64::from_be_bytes((*value).try_into().unwrap()));
        let bounds = (row(self.id, 0), count_key(self.id));
        let mut cursor = txn.cursor(&bounds.0..&bounds.1, View::Snapshot)?;
        let mut forward = BTreeMap::new();
        cursor.seek_to_first()?;
        while cursor.valid() {
            forward.insert(cursor.key().to_vec(), cursor.value().to_vec());
            cursor.next()?;
        }
        let mut backward = BTreeMap::new();
        cursor.seek_to_last()?;
        while cursor.valid() {
            backward.insert(cursor.key().to_vec(), cursor.value().to_vec());
            cursor.prev()?;
        }
        assert!(forward == backward, "writer {} at {count}", self.id);
        for slot in 0..SLOTS {
            let key = row(self.id, slot);
            let found = txn.get(&key, View::Newest)?;
            assert_eq!(found.as_deref(), forward.get(&key).map(|value| &**value));
        }
        Ok((count, forward))
    }

    /// The rows after the first `count` transactions.
    pub fn rows_after(&self, count: u64) -> Rows {
        let mut rows = BTreeMap::new();
        for number in 0..count {
            for (key, value) in changes(self.id, number) {
                match value {
                    Some(value) => rows.insert(key, value),
                    None => rows.remove(&key),
                };
            }
        }
        rows
    }

    /// Checks that the engine holds the first n transactions of this writer and nothing else of it, and returns n.
    pub fn check(&self, engine: &Engine, expected: RangeInclusive<u64>) -> u64 {
        self.decide(engine);
        let (count, found) = self.read(engine).unwrap();
        assert!(
            expected.contains(&count),
            "writer {}: {count} transactions, {expected:?} expected",
            self.id
        );
        assert!(
            found == self.rows_after(count),
            "writer {} at {count}",
            self.id
        );
        self.acknowledged.store(count, Ordering::Release);
        count
    }
}

/// Makes an index, fills it, and drops it.
pub fn make_and_drop_index(engine: &Engine) -> Result<()> {
    let index = engine.create_index()?;
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for number in 0..50u32 {
        let key = index.key(number.to_be_bytes());
        txn.put(&key, &[number as u8; 100])?;
    }
    txn.commit()?;
    engine.drop_indexes(&[index])
}

/// Checks that nothing but the rows of [`ROWS`] takes space once all has settled.
pub fn check_no_garbage(engine: &Engine) {
    engine.retain_indexes(&[Index::from_id(ROWS)]).unwrap();
    // A compaction under way while somebody read has kept what that snapshot saw, and files at the bottom are left alone: entries around
    // all rows have them written anew.
    let ends = [
        ROWS.to_be_bytes().to_vec(),
        [ROWS.to_be_bytes(), [0xff; 4]].concat(),
    ];
    // One that began before may still be at work, with what it knew then, when the first of these ends.
    for _ in 0..2 {
        for put in [true, false] {
            let mut txn = engine.begin(Isolation::RepeatableRead);
            for end in &ends {
                if put {
                    txn.put(end, b"").unwrap();
                } else {
                    txn.delete(end).unwrap();
                }
            }
            txn.commit().unwrap();
        }
        engine.compact().unwrap();
    }
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut cursor = txn.cursor(&[0]..&[0xff], View::Snapshot).unwrap();
    let mut rows = 0;
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        rows += 1;
        cursor.next().unwrap();
    }
    let entries: u64 = engine
        .stats()
        .levels
        .iter()
        .map(|level| level.entries)
        .sum();
    assert_eq!(entries, rows, "{}", engine.status());
}
