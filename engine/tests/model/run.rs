//! Runs operations on both and compares.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use smartengine::internals::env::fs::{FaultFs, PowerLoss};
use smartengine::internals::object_store::MemoryStore;
use smartengine::{
    Cursor, Engine, ErrorKind, Index, Isolation, LockMode, Options, Transaction, View, Write,
};

use crate::model::{Model, ModelTxn, Rows};
use crate::op::{Content, INDEXES, Move, Op, RowKey, SLOTS, ops};

/// Sizes so small that flushes, compactions and moves between levels really happen.
pub fn small_options(fs: &FaultFs, store: &Arc<MemoryStore>) -> Options {
    let mut options = Options::new("/engine");
    options.fs = Arc::new(fs.clone());
    options.store = Some(store.clone());
    options.block_size = 1 << 10;
    options.block_cache_size = 256 << 10;
    options.memtable_size = 64 << 10;
    options.total_memtable_size = 256 << 10;
    options.total_wal_size = 1 << 20;
    options.target_file_size = 64 << 10;
    options.base_level_size = 64 << 10;
    options.level_multiplier = 2;
    options.level0_compaction_trigger = 2;
    options.compaction_threads = 2;
    // Many transactions are larger, so that they are committed by files.
    options.transaction_memory = 12 << 10;
    options
}

struct Slot {
    txn: Transaction,
    model: ModelTxn,
    cursor: Option<OpenCursor>,
}

struct OpenCursor {
    cursor: Cursor,
    /// What it reads from, without the transaction's own writes.
    base: Rows,
    lower: Vec<u8>,
    upper: Vec<u8>,
    /// Where it stands.
    at: Option<Vec<u8>>,
    /// Whether something was written since the last seek, which it may or may not show.
    stale: bool,
}

struct Run {
    fs: FaultFs,
    store: Arc<MemoryStore>,
    engine: Option<Engine>,
    model: Model,
    slots: Vec<Slot>,
}

impl Run {
    fn new() -> Self {
        let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
        let engine = Engine::open(small_options(&fs, &store)).unwrap();
        let first = engine.create_indexes(u32::from(INDEXES)).unwrap()[0].id();
        let mut run = Self {
            fs,
            store,
            engine: Some(engine),
            model: Model {
                committed: Rows::new(),
                counters: Default::default(),
                indexes: std::array::from_fn(|place| first + place as u32),
                dropped: Vec::new(),
            },
            slots: Vec::new(),
        };
        run.begin_all();
        run
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn begin(&self, repeatable: bool) -> Slot {
        let isolation = match repeatable {
            true => Isolation::RepeatableRead,
            false => Isolation::ReadCommitted,
        };
        let mut txn = self.engine().begin(isolation);
        txn.set_lock_wait_timeout(Duration::ZERO);
        Slot {
            txn,
            model: ModelTxn {
                repeatable,
                ..ModelTxn::default()
            },
            cursor: None,
        }
    }

    fn begin_all(&mut self) {
        self.slots.clear();
        for slot in 0..SLOTS {
            self.slots.push(self.begin(slot % 2 == 0));
        }
    }

    /// Ends every transaction, as reopening and dropping ask for.
    fn end_all(&mut self) {
        for slot in std::mem::take(&mut self.slots) {
            if !slot.model.ended {
                self.model.raise(&slot.model);
            }
        }
    }

    fn reopen(&mut self, options: Options) {
        self.engine = Some(Engine::open(options).unwrap());
        self.begin_all();
        for slot in 0..self.slots.len() {
            self.compare(slot, false);
        }
    }

    /// Whether `slot` may lock the key, and if so, takes note of it.
    fn lock(&mut self, slot: usize, key: &[u8], exclusive: bool) -> bool {
        let conflict = self.slots.iter().enumerate().any(|(other, s)| {
            other != slot
                && s.model
                    .locks
                    .get(key)
                    .is_some_and(|held| *held || exclusive)
        });
        if !conflict {
            let held = self.slots[slot]
                .model
                .locks
                .entry(key.to_vec())
                .or_default();
            *held |= exclusive;
        }
        !conflict
    }

    fn write(&mut self, slot: usize, key: Vec<u8>, value: Option<Vec<u8>>) {
        let slot = &mut self.slots[slot];
        slot.model.writes.push((key, value.map(Into::into)));
        if let Some(cursor) = &mut slot.cursor {
            cursor.stale = true;
        }
    }

    /// What an insertion of the key should result in. A key that exists stays locked, shared if it was not locked more strongly before, and to see it an
    /// insertion does not wait for those who only read.
    fn insert_outcome(&mut self, slot: usize, key: &[u8]) -> Result<(), ErrorKind> {
        let before = self.slots[slot].model.locks.get(key).copied();
        let alone = self.lock(slot, key, true);
        if !alone && !self.lock(slot, key, false) {
            return Err(ErrorKind::LockTimeout);
        }
        let txn = &mut self.slots[slot].model;
        let exists = self.model.view(txn, true).contains_key(key);
        if exists && before != Some(true) {
            txn.locks.insert(key.to_vec(), false);
        }
        match (exists, alone, before) {
            (true, ..) => Err(ErrorKind::Duplicate),
            (false, true, _) => Ok(()),
            (false, false, None) => {
                txn.locks.remove(key);
                Err(ErrorKind::LockTimeout)
            }
            (false, false, Some(_)) => Err(ErrorKind::LockTimeout),
        }
    }

    fn insert(&mut self, slot: usize, key: RowKey, content: Content) {
        let (key, value) = (self.model.key(key), content.bytes());
        let expected = self.insert_outcome(slot, &key);
        let done = self.slots[slot].txn.insert(&key, &value);
        assert_eq!(done.map_err(|error| error.kind()), expected);
        if expected.is_ok() {
            self.write(slot, key, Some(value));
        }
    }

    fn rename(&mut self, slot: usize, from: RowKey, to: RowKey, content: Content) {
        let (from, to, value) = (self.model.key(from), self.model.key(to), content.bytes());
        let undo = self.slots[slot].model.writes.len();
        self.write(slot, from.clone(), None);
        let expected = self.insert_outcome(slot, &to);
        let writes = [Write::Delete(&from), Write::Insert(&to, &value)];
        let done = self.slots[slot].txn.apply(&writes);
        assert_eq!(
            done.map_err(|(place, error)| (place, error.kind())),
            expected.map_err(|kind| (1, kind))
        );
        match expected {
            Ok(()) => self.write(slot, to, Some(value)),
            Err(_) => self.slots[slot].model.writes.truncate(undo),
        }
    }

    fn get(&mut self, slot: usize, key: RowKey, newest: bool) {
        let key = self.model.key(key);
        let rows = self.model.view(&mut self.slots[slot].model, newest);
        let found = self.slots[slot].txn.get(&key, view(newest)).unwrap();
        assert_eq!(
            found.as_deref(),
            rows.get(&key).map(|value| &**value),
            "{key:?}"
        );
    }

    fn open(&mut self, slot: usize, lower: RowKey, mut upper: RowKey, newest: bool) {
        if !self.model.dropped.is_empty() {
            // Rows of a dropped index may show as long as they are there: none may lie between the bounds.
            upper.0 = lower.0;
        }
        let (lower, upper) = (self.model.key(lower), self.model.key(upper));
        let base = {
            let txn = &mut self.slots[slot].model;
            self.model.view(txn, newest);
            match newest {
                true => self.model.committed.clone(),
                false => txn.snapshot.clone().unwrap(),
            }
        };
        let slot = &mut self.slots[slot];
        let cursor = slot.txn.cursor(&lower..&upper, view(newest)).unwrap();
        assert!(!cursor.valid());
        slot.cursor = Some(OpenCursor {
            cursor,
            base,
            lower,
            upper,
            at: None,
            stale: false,
        });
    }

    fn move_cursor(&mut self, slot: usize, motion: Move) {
        let target = match motion {
            Move::Seek(key) | Move::SeekBefore(key) => self.model.key(key),
            _ => Vec::new(),
        };
        let Slot { cursor, model, .. } = &mut self.slots[slot];
        let Some(open) = cursor else { return };
        let steps = matches!(motion, Move::Next(_) | Move::Prev(_));
        if steps && open.stale {
            return;
        }
        open.stale = false;
        let rows = model.over(&open.base);
        let inside = || {
            let bounds = open.lower.clone()..open.upper.clone();
            let empty = bounds.is_empty();
            rows.iter()
                .filter(move |(key, _)| !empty && bounds.contains(*key))
        };
        let after = |at: &[u8]| {
            inside()
                .map(|(key, _)| key)
                .find(|key| ***key > *at)
                .cloned()
        };
        let before = |at: &[u8]| {
            inside()
                .map(|(key, _)| key)
                .rfind(|key| ***key < *at)
                .cloned()
        };
        let cursor = &mut open.cursor;
        match motion {
            Move::First => {
                cursor.seek_to_first().unwrap();
                open.at = inside().next().map(|(key, _)| key.clone());
            }
            Move::Last => {
                cursor.seek_to_last().unwrap();
                open.at = inside().next_back().map(|(key, _)| key.clone());
            }
            Move::Seek(_) => {
                cursor.seek(&target).unwrap();
                open.at = inside()
                    .map(|(key, _)| key)
                    .find(|key| **key >= target)
                    .cloned();
            }
            Move::SeekBefore(_) => {
                cursor.seek_before(&target).unwrap();
                open.at = before(&target);
            }
            Move::Next(times) => {
                for _ in 0..times {
                    cursor.next().unwrap();
                    open.at = open.at.as_deref().and_then(after);
                }
            }
            Move::Prev(times) => {
                for _ in 0..times {
                    cursor.prev().unwrap();
                    open.at = open.at.as_deref().and_then(before);
                }
            }
        }
        assert_eq!(cursor.valid(), open.at.is_some());
        if let Some(at) = &open.at {
            assert_eq!((cursor.key(), cursor.value()), (&**at, &*rows[at]));
        }
    }

    /// Compares all that a transaction sees of every index, both ways.
    fn compare(&mut self, slot: usize, newest: bool) {
        let rows = self.model.view(&mut self.slots[slot].model, newest);
        let indexes = self.model.indexes;
        let lower = indexes.iter().min().unwrap().to_be_bytes();
        let upper = (indexes.iter().max().unwrap() + 1).to_be_bytes();
        let mine = |key: &[u8]| indexes.iter().any(|id| key.starts_with(&id.to_be_bytes()));
        let txn = &mut self.slots[slot].txn;
        let mut cursor = txn.cursor(&lower..&upper, view(newest)).unwrap();
        let mut seen = Rows::new();
        cursor.seek_to_first().unwrap();
        while cursor.valid() {
            if mine(cursor.key()) {
                let earlier = seen.insert(cursor.key().to_vec(), cursor.value().into());
                assert!(earlier.is_none());
            }
            cursor.next().unwrap();
        }
        assert_eq!(seen.len(), rows.len(), "forward");
        assert!(seen == rows, "forward");
        seen.clear();
        cursor.seek_to_last().unwrap();
        while cursor.valid() {
            if mine(cursor.key()) {
                let earlier = seen.insert(cursor.key().to_vec(), cursor.value().into());
                assert!(earlier.is_none());
            }
            cursor.prev().unwrap();
        }
        assert!(seen == rows, "backward");
    }

    fn end(&mut self, slot: usize, commit: bool) {
        let s = &mut self.slots[slot];
        s.cursor = None;
        match commit {
            true => s.txn.commit().unwrap(),
            false => s.txn.rollback().unwrap(),
        }
        let txn = std::mem::take(&mut s.model);
        match commit {
            true => self.model.commit(&txn),
            false => self.model.raise(&txn),
        }
        assert_eq!(self.slots[slot].txn.locked_keys(), 0);
        self.slots[slot] = self.begin(txn.repeatable);
    }

    fn check_drained(&self) {
        // Without snapshots a full compaction leaves one version of each row and nothing else.
        let stats = self.engine().stats();
        assert_eq!(stats.snapshots, 0);
        let deletions: u64 = stats.levels.iter().map(|level| level.deletions).sum();
        assert_eq!(deletions, 0, "{}", self.engine().status());
        let upper: u64 = stats.levels[..6].iter().map(|level| level.files).sum();
        assert_eq!(upper, 0, "{}", self.engine().status());
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Begin(slot, repeatable) => {
                self.end(slot.into(), false);
                self.slots[usize::from(slot)] = self.begin(repeatable);
            }
            Op::Put(slot, key, content) => {
                let (key, value) = (self.model.key(key), content.bytes());
                self.slots[usize::from(slot)].txn.put(&key, &value).unwrap();
                self.write(slot.into(), key, Some(value));
            }
            Op::Insert(slot, key, content) => self.insert(slot.into(), key, content),
            Op::Delete(slot, key) => {
                let key = self.model.key(key);
                self.slots[usize::from(slot)].txn.delete(&key).unwrap();
                self.write(slot.into(), key, None);
            }
            Op::Rename(slot, from, to, content) => self.rename(slot.into(), from, to, content),
            Op::Fill(slot, index, from, content) => {
                for step in 0..20 {
                    let key = self.model.key((index, (from.wrapping_add(step)) % 80));
                    let value = content.bytes();
                    self.slots[usize::from(slot)].txn.put(&key, &value).unwrap();
                    self.write(slot.into(), key, Some(value));
                }
            }
            Op::Lock(slot, key, exclusive) => {
                let key = self.model.key(key);
                let free = self.lock(slot.into(), &key, exclusive);
                let mode = match exclusive {
                    true => LockMode::Exclusive,
                    false => LockMode::Shared,
                };
                let done = self.slots[usize::from(slot)].txn.try_lock(&key, mode);
                let expected = (!free).then_some(ErrorKind::LockNotAvailable);
                assert_eq!(done.err().map(|error| error.kind()), expected);
            }
            Op::Savepoint(slot) => {
                let slot = &mut self.slots[usize::from(slot)];
                let place = (slot.txn.savepoint(), slot.model.writes.len());
                slot.model.savepoints.push(place);
            }
            Op::RollbackTo(slot, place) => {
                let slot = &mut self.slots[usize::from(slot)];
                if slot.model.savepoints.is_empty() {
                    return;
                }
                let place = usize::from(place) % slot.model.savepoints.len();
                slot.model.savepoints.truncate(place + 1);
                let (savepoint, writes) = slot.model.savepoints[place];
                slot.txn.rollback_to(savepoint);
                slot.model.writes.truncate(writes);
            }
            Op::Get(slot, key, newest) => self.get(slot.into(), key, newest),
            Op::Open(slot, lower, upper, newest) => self.open(slot.into(), lower, upper, newest),
            Op::Move(slot, motion) => self.move_cursor(slot.into(), motion),
            Op::Compare(slot, newest) => self.compare(slot.into(), newest),
            Op::Statement(slot) => {
                let slot = &mut self.slots[usize::from(slot)];
                slot.txn.start_statement();
                if !slot.model.repeatable {
                    slot.model.snapshot = None;
                }
            }
            Op::Commit(slot) => self.end(slot.into(), true),
            Op::Rollback(slot) => self.end(slot.into(), false),
            Op::Raise(slot, counter, value) => {
                let slot = &mut self.slots[usize::from(slot)];
                let key = counter_key(counter);
                slot.txn.raise_counter(&key, value.into()).unwrap();
                let raised = slot.model.raises.entry(counter).or_default();
                *raised = (*raised).max(value.into());
            }
            Op::Counter(counter) => {
                let value = self.engine().counter(&counter_key(counter)).unwrap();
                let expected = self.model.counters.get(&counter);
                assert_eq!(value, expected.copied().unwrap_or(0));
            }
            Op::Flush => self.engine().flush().unwrap(),
            Op::Compact => self.engine().compact().unwrap(),
            Op::AutoCompaction(on) => self.engine().set_auto_compactions(on),
            Op::Estimate(from, to) => {
                let (from, to) = (self.model.key(from), self.model.key(to));
                self.engine().range_stats(&from..&to).unwrap();
            }
            Op::Drop(place) => {
                self.end_all();
                let place = usize::from(place);
                let id = self.model.indexes[place];
                self.engine().drop_indexes(&[Index::from_id(id)]).unwrap();
                self.model.drop_index(id);
                self.model.indexes[place] = self.engine().create_index().unwrap().id();
                self.begin_all();
            }
            Op::RetainOnly(place) => {
                self.end_all();
                let kept = self.model.indexes[usize::from(place)];
                let dropped = self
                    .engine()
                    .retain_indexes(&[Index::from_id(kept)])
                    .unwrap();
                for other in 0..usize::from(INDEXES) {
                    let id = self.model.indexes[other];
                    if id == kept {
                        assert!(!dropped.contains(&Index::from_id(id)));
                        continue;
                    }
                    let prefix = id.to_be_bytes();
                    if self
                        .model
                        .committed
                        .keys()
                        .any(|key| key.starts_with(&prefix))
                    {
                        assert!(dropped.contains(&Index::from_id(id)));
                    }
                    self.model.drop_index(id);
                    self.model.indexes[other] = self.engine().create_index().unwrap().id();
                }
                self.begin_all();
            }
            Op::Reopen(close) => {
                self.end_all();
                let engine = self.engine.take().unwrap();
                match close {
                    true => engine.close().unwrap(),
                    false => drop(engine),
                }
                self.reopen(small_options(&self.fs, &self.store));
            }
            Op::Kill => {
                // Counters that a rollback raises may not get lost either, but are not waited for: roll back before.
                self.end_all();
                let store = Arc::new(self.store.copy());
                let fs = self.fs.crash(PowerLoss::ProcessOnly);
                self.engine = None;
                (self.fs, self.store) = (fs, store);
                self.reopen(small_options(&self.fs, &self.store));
            }
        }
    }

    fn finish(mut self) {
        for slot in 0..self.slots.len() {
            self.compare(slot, false);
            self.end(slot, true);
        }
        self.slots.clear();
        self.engine().compact().unwrap();
        self.check_drained();
        self.begin_all();
        self.compare(0, true);
        self.slots.clear();
        self.engine.take().unwrap().close().unwrap();
    }
}

fn view(newest: bool) -> View {
    match newest {
        true => View::Newest,
        false => View::Snapshot,
    }
}

fn counter_key(counter: u8) -> Vec<u8> {
    vec![0, 0, 0, 0, b'C', counter]
}

/// The default, from one seed; the environment may ask for another seed and for more cases.
pub fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
        config.cases = cases;
    }
    config
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn behaves_as_an_ordered_map_with_history(ops in ops()) {
        let mut run = Run::new();
        for op in &ops {
            run.apply(op);
        }
        run.finish();
    }
}
