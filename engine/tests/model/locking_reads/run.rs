//! Runs operations on both and compares.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use smartengine::internals::env::fs::FaultFs;
use smartengine::internals::object_store::MemoryStore;
use smartengine::{
    Engine, Entry, ErrorKind, Isolation, LockKind, LockMode, ReadSpec, Reader, RowWait, SeekTo,
    Transaction, Write,
};

use super::model::{Model, Outcome, Txn};
use super::op::{Locking, Move, Op, SLOTS, ops};
use super::scan::{From, Scan, Seen, Way};
use super::table::{Of, Row, Rows, SIZE, Table};
use crate::run::{config, small_options};

struct Slot {
    txn: Transaction,
    /// Of scans, and of reads by a key.
    readers: [Reader; 2],
}

struct Run {
    slots: Vec<Slot>,
    model: Model,
    engine: Engine,
}

fn seen(entry: Entry<'_>) -> Seen {
    Seen {
        key: entry.key.to_vec(),
        value: entry.value.to_vec(),
        row_key: entry.row_key.to_vec(),
        row: entry.row.to_vec(),
        unlocked: entry.unlocked,
    }
}

fn outcome(result: smartengine::Result<Option<Entry<'_>>>) -> Outcome {
    result.map(|entry| entry.map(seen)).map_err(|error| {
        assert_ne!(error.kind(), ErrorKind::Corruption, "{error}");
        error.kind()
    })
}

impl Run {
    fn new(rows: &[Row]) -> Self {
        let options = small_options(&FaultFs::new(), &Arc::new(MemoryStore::new()));
        let engine = Engine::open(options).unwrap();
        let [rows_index, groups, names] = engine.create_indexes(3).unwrap()[..] else {
            panic!("three were asked for");
        };
        let table = Table {
            rows: rows_index,
            groups,
            names,
        };
        let mut run = Self {
            slots: Vec::new(),
            model: Model {
                domain: table.domain(),
                table,
                committed: Rows::new(),
                txns: Vec::new(),
            },
            engine,
        };
        for slot in 0..SLOTS {
            let isolation = [
                Isolation::ReadCommitted,
                Isolation::RepeatableRead,
                Isolation::Serializable,
            ];
            let txn = run.begin(isolation[usize::from(slot)]);
            run.model.txns.push(Txn::new(txn.id(), txn.isolation()));
            run.slots.push(Slot {
                txn,
                readers: Default::default(),
            });
        }
        for row in rows {
            run.add(0, *row);
        }
        run.end(0, true, Isolation::ReadCommitted);
        run
    }

    fn begin(&self, isolation: Isolation) -> Transaction {
        let mut txn = self.engine.begin(isolation);
        txn.set_lock_wait_timeout(Duration::ZERO);
        txn
    }

    fn end(&mut self, slot: usize, commit: bool, next: Isolation) {
        for reader in &mut self.slots[slot].readers {
            reader.close();
        }
        let txn = &mut self.slots[slot].txn;
        match commit {
            true => txn.commit().unwrap(),
            false => txn.rollback().unwrap(),
        }
        txn.restart(next).unwrap();
        let new = Txn::new(txn.id(), next);
        let old = std::mem::replace(&mut self.model.txns[slot], new);
        if commit {
            self.model.commit(&old);
        }
    }

    /// What the engine says that each transaction has locked.
    fn held(&self, slot: usize) -> BTreeMap<Vec<u8>, LockMode> {
        let id = self.model.txns[slot].id;
        let locks = self.engine.locks(10_000).into_iter();
        locks
            .filter(|lock| lock.txn == id && lock.kind == LockKind::Row)
            .map(|lock| (lock.key, lock.mode))
            .collect()
    }

    fn check_locks(&self, slot: usize) {
        let txn = &self.model.txns[slot];
        assert_eq!(self.held(slot), txn.locks, "keys that are locked");
        let gaps: Vec<_> = self
            .engine
            .locks(10_000)
            .into_iter()
            .filter(|lock| lock.txn == txn.id)
            .filter_map(|lock| match lock.kind {
                LockKind::Gap(end) => Some((lock.key, end)),
                _ => None,
            })
            .collect();
        for key in &self.model.domain {
            let closed = gaps.iter().any(|(from, to)| from <= key && key < to);
            assert!(
                closed || !txn.closed.contains(key),
                "{key:?} can be added to a gap"
            );
            assert!(
                !closed || txn.maybe_closed.contains(key),
                "{key:?} is locked for nothing"
            );
        }
    }

    /// Writes all or nothing. Locks are taken as the engine says that they are; the writes must not go through where another has locked what
    /// they need, and must not fail otherwise.
    fn write(&mut self, slot: usize, writes: &[Write<'_>]) {
        let stands_in_the_way = |key: &[u8], mode: Option<LockMode>, certain: bool| {
            let model = &self.model;
            let new = !model.view(slot).contains_key(key);
            let locked = mode.is_some_and(|mode| !model.can_lock(slot, key, mode));
            let mut others = model.others(slot);
            locked
                || new
                    && others.any(|txn| match certain {
                        true => txn.closed.contains(key),
                        false => txn.maybe_closed.contains(key),
                    })
        };
        let needs = |write: &Write<'_>, certain| match *write {
            Write::Insert(key, _) | Write::InsertForUpdate(key, _) => {
                stands_in_the_way(key, Some(LockMode::Exclusive), certain)
            }
            Write::Add(key, _) => stands_in_the_way(key, None, certain),
            Write::LockDelete(key) => !self.model.can_lock(slot, key, LockMode::Exclusive),
            Write::Put(..) | Write::Delete(_) => false,
        };
        let blocked = writes.iter().any(|write| needs(write, true));
        let maybe_blocked = writes.iter().any(|write| needs(write, false));
        let done = self.slots[slot].txn.apply(writes);
        match done {
            Ok(()) => {
                assert!(!blocked, "{writes:?} went through");
                let txn = &mut self.model.txns[slot];
                for write in writes {
                    match *write {
                        Write::Put(key, value)
                        | Write::Add(key, value)
                        | Write::Insert(key, value)
                        | Write::InsertForUpdate(key, value) => {
                            txn.added.insert(key.to_vec());
                            txn.writes.insert(key.to_vec(), Some(value.to_vec()));
                        }
                        Write::Delete(key) | Write::LockDelete(key) => {
                            txn.writes.insert(key.to_vec(), None);
                        }
                    }
                }
                if let Some(scan) = &mut txn.scan {
                    scan.stale = true;
                }
            }
            Err((_, error)) if error.kind() == ErrorKind::LockTimeout => {
                assert!(maybe_blocked, "{writes:?}: {error}");
            }
            Err((_, error)) => assert_eq!(error.kind(), ErrorKind::Duplicate),
        }
        self.model.txns[slot].locks = self.held(slot);
        self.check_locks(slot);
    }

    fn add(&mut self, slot: usize, row: Row) {
        let table = self.model.table;
        let [key, group, name] = [Of::Rows, Of::Groups, Of::Names].map(|of| table.entry(of, row));
        let writes = [
            Write::Insert(&key.0, &key.1),
            Write::Insert(&name.0, &name.1),
            Write::Add(&group.0, &group.1),
        ];
        self.write(slot, &writes);
    }

    /// Locks a row for a change, and reads it.
    fn take(&mut self, slot: usize, number: u8) -> Option<Row> {
        let key = self.model.table.rows.key([number]);
        let can = self.model.can_lock(slot, &key, LockMode::Exclusive);
        let locked = self.slots[slot].txn.lock(&key, LockMode::Exclusive);
        assert_eq!(locked.is_ok(), can);
        if can {
            self.model.lock(slot, &key, LockMode::Exclusive);
        }
        let rows = self.model.view(slot);
        let value = rows.get(&key).filter(|_| can)?;
        Some(self.model.table.row(&key, value))
    }

    fn change(&mut self, slot: usize, number: u8, new: impl Fn(Row) -> Option<Row>) {
        let table = self.model.table;
        let Some(old) = self.take(slot, number) else {
            return;
        };
        let of_old = [Of::Rows, Of::Groups, Of::Names].map(|of| table.entry(of, old));
        let mut writes = vec![
            Write::Delete(&of_old[0].0),
            Write::LockDelete(&of_old[2].0),
            Write::Delete(&of_old[1].0),
        ];
        let of_new =
            new(old).map(|new| [Of::Rows, Of::Groups, Of::Names].map(|of| table.entry(of, new)));
        if let Some([row, group, name]) = &of_new {
            if row.0 == of_old[0].0 {
                writes[0] = Write::Put(&row.0, &row.1);
            } else {
                writes.push(Write::Insert(&row.0, &row.1));
            }
            if name.0 == of_old[2].0 {
                writes[1] = Write::Put(&name.0, &name.1);
            } else {
                writes.push(Write::Insert(&name.0, &name.1));
            }
            if group.0 == of_old[1].0 {
                writes[2] = Write::Put(&group.0, &group.1);
            } else {
                writes.push(Write::Add(&group.0, &group.1));
            }
        }
        self.write(slot, &writes);
    }

    fn spec(&self, of: Of, lock: Locking, wait: RowWait) -> ReadSpec {
        ReadSpec {
            lock,
            wait,
            row_index: (of != Of::Rows).then_some(self.model.table.rows),
        }
    }

    /// The snapshot of plain reads, with the transaction's own writes.
    fn snapshot(&mut self, slot: usize) -> Rows {
        let committed = &self.model.committed;
        let txn = &mut self.model.txns[slot];
        let base = txn
            .snapshot
            .get_or_insert_with(|| committed.clone())
            .clone();
        txn.over(&base)
    }

    fn get(&mut self, slot: usize, of: Of, byte: u8, spec: ReadSpec) {
        let key = self.model.table.index(of).key([byte]);
        let Slot { txn, readers } = &mut self.slots[slot];
        let found = outcome(readers[1].get(txn, &key, spec));
        let expected = match spec.lock {
            None => {
                self.model.txns[slot].fresh[1] = None;
                let rows = self.snapshot(slot);
                Ok(self.point(&rows, &key, spec))
            }
            Some(mode) => self.locking_get(slot, &key, mode, spec),
        };
        assert_eq!(found, expected, "{key:?}");
        self.check_locks(slot);
    }

    /// The entry of a key, and its row, which may have been removed by the transaction itself.
    fn point(&self, rows: &Rows, key: &[u8], spec: ReadSpec) -> Option<Seen> {
        let value = rows.get(key)?;
        let row_key = self.model.table.row_key(key, value);
        let row = rows.get(&row_key)?;
        let through = spec.row_index.is_some();
        Some(Seen {
            key: key.to_vec(),
            value: value.to_vec(),
            row: if through { row.to_vec() } else { Vec::new() },
            row_key: if through { row_key } else { Vec::new() },
            unlocked: false,
        })
    }

    fn locking_get(&mut self, slot: usize, key: &[u8], mode: LockMode, spec: ReadSpec) -> Outcome {
        let rows = self.model.view(slot);
        let found = self.point(&rows, key, spec);
        let target = match rows.get(key) {
            Some(value) => self.model.table.row_key(key, value),
            None => key.to_vec(),
        };
        self.model.txns[slot].fresh[1] = None;
        if !self.model.can_lock(slot, &target, mode) {
            return match spec.wait {
                RowWait::SkipLocked => Ok(None),
                RowWait::NoWait => Err(ErrorKind::LockNotAvailable),
                RowWait::Wait | RowWait::SemiConsistent => Err(ErrorKind::LockTimeout),
            };
        }
        // Of a key that is absent, the lock stays where ranges are to stay as they are.
        if found.is_none() && !self.model.txns[slot].isolation.locks_gaps() {
            return Ok(None);
        }
        let fresh = self.model.lock(slot, &target, mode);
        if fresh && found.is_some() {
            self.model.txns[slot].fresh[1] = Some(target);
        }
        Ok(found)
    }

    fn open(&mut self, slot: usize, of: Of, from: u8, to: u8, spec: ReadSpec) {
        let range = self.model.table.index(of).range([from]..[to]);
        let Slot { txn, readers } = &mut self.slots[slot];
        readers[0].open(txn, &range, spec).unwrap();
        if spec.lock.is_none() {
            self.snapshot(slot);
        }
        let others = self.model.others(slot);
        let pending = others.flat_map(|txn| txn.added.iter().map(|key| (txn.id, key.clone())));
        let mut scan = Scan {
            of,
            lower: range.lower().to_vec(),
            upper: range.upper().to_vec(),
            spec,
            history: vec![self.model.committed.clone()],
            pending: pending.collect(),
            at: None,
            unlocked: false,
            placed: false,
            stale: false,
        };
        let txn = &mut self.model.txns[slot];
        if spec.wait == RowWait::SemiConsistent && txn.isolation.locks_gaps() {
            scan.spec.wait = RowWait::Wait;
        }
        txn.fresh[0] = None;
        txn.scan = Some(scan);
    }

    fn move_scan(&mut self, slot: usize, motion: Move) {
        let Some(scan) = &mut self.model.txns[slot].scan else {
            return;
        };
        let steps = matches!(motion, Move::Next | Move::Prev) && scan.placed;
        if steps && scan.stale {
            return;
        }
        let index = self.model.table.index(scan.of);
        let target = match motion {
            Move::AtOrAfter(byte) | Move::Before(byte) => index.key([byte]),
            _ => Vec::new(),
        };
        let (way, from) = match (&motion, steps) {
            (Move::First, _) | (Move::Next, false) => (Way::Forward, scan.lower.clone()),
            (Move::Last, _) | (Move::Prev, false) => (Way::Backward, scan.upper.clone()),
            (Move::AtOrAfter(_), _) => (Way::Forward, target.clone().max(scan.lower.clone())),
            (Move::Before(_), _) => (Way::Backward, target.clone().min(scan.upper.clone())),
            (Move::Next, true) => (Way::Forward, scan.at.clone().unwrap_or_default()),
            (Move::Prev, true) => (Way::Backward, scan.at.clone().unwrap_or_default()),
        };
        // What was shown unlocked is read again.
        let again = steps && scan.unlocked;
        let from = match (steps, again, way) {
            (true, false, _) => From::Behind(from),
            (true, true, Way::Backward) => From::Edge([&from[..], &[0]].concat()),
            _ => From::Edge(from),
        };
        let ended = steps && scan.at.is_none();
        if !steps {
            (scan.placed, scan.stale, scan.unlocked) = (true, false, false);
        }
        let Slot { txn, readers } = &mut self.slots[slot];
        let reader = &mut readers[0];
        let done = outcome(match motion {
            Move::First => reader.seek(txn, SeekTo::First),
            Move::Last => reader.seek(txn, SeekTo::Last),
            Move::AtOrAfter(_) => reader.seek(txn, SeekTo::AtOrAfter(&target)),
            Move::Before(_) => reader.seek(txn, SeekTo::Before(&target)),
            Move::Next => reader.next(txn),
            Move::Prev => reader.prev(txn),
        });
        if ended {
            assert_eq!(done, Ok(None), "past the end");
            self.model.txns[slot].fresh[0] = None;
        } else if self.model.txns[slot]
            .scan
            .as_ref()
            .unwrap()
            .spec
            .lock
            .is_some()
        {
            self.model.locking_step(slot, way, from, &done);
        } else {
            self.plain_step(slot, way, &from, done.unwrap());
        }
        // Where the entry is gone by the time its row is locked, a row that was locked before stays locked as it was asked for.
        for (key, mode) in self.held(slot) {
            if let Some(known) = self.model.txns[slot].locks.get_mut(&key) {
                *known = mode.max(*known);
            }
        }
        self.check_locks(slot);
    }

    /// In the snapshot, with the transaction's own writes: the next entry whose row is there.
    fn plain_step(&mut self, slot: usize, way: Way, from: &From, found: Option<Seen>) {
        let rows = self.snapshot(slot);
        let scan = self.model.txns[slot].scan.as_ref().unwrap();
        let mut ahead = scan.ahead(way, from, &rows).into_iter();
        let expected = ahead.find_map(|key| self.point(&rows, key, scan.spec));
        assert_eq!(found, expected, "in the snapshot");
        let open = self.model.txns[slot].scan.as_mut().unwrap();
        open.at = expected.map(|seen| seen.key);
    }

    fn unlock(&mut self, slot: usize, of_scan: bool) {
        let place = usize::from(!of_scan);
        let txn = &mut self.model.txns[slot];
        let written = |key: &Vec<u8>| txn.writes.contains_key(key);
        if txn.fresh[place].as_ref().is_some_and(written) {
            return;
        }
        if let Some(key) = txn.fresh[place].take() {
            txn.locks.remove(&key);
        }
        if of_scan && let Some(scan) = &mut txn.scan {
            scan.unlocked = false;
        }
        let Slot { txn, readers } = &mut self.slots[slot];
        readers[place].unlock_row(txn);
        self.check_locks(slot);
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Begin(slot, isolation) => self.end(slot.into(), false, isolation),
            Op::Commit(slot) => {
                let next = self.model.txns[usize::from(slot)].isolation;
                self.end(slot.into(), true, next);
            }
            Op::Statement(slot) => {
                let slot = usize::from(slot);
                self.slots[slot].txn.start_statement();
                self.slots[slot].readers[0].close();
                let txn = &mut self.model.txns[slot];
                txn.scan = None;
                if !txn.isolation.locks_gaps() {
                    txn.snapshot = None;
                }
            }
            Op::Add(slot, row) => self.add(slot.into(), row),
            Op::Remove(slot, number) => self.change(slot.into(), number, |_| None),
            Op::Change(slot, number, new, same_name) => {
                self.change(slot.into(), number, |old| {
                    let name = if same_name { old.name } else { new.name };
                    Some(Row { name, ..new })
                });
            }
            Op::Get(slot, of, key, lock, wait) => {
                self.get(slot.into(), of, key, self.spec(of, lock, wait));
            }
            Op::Open(slot, of, from, to, lock, wait) => {
                let to = if to + 1 == SIZE { SIZE } else { to };
                self.open(slot.into(), of, from, to, self.spec(of, lock, wait));
            }
            Op::Move(slot, motion) => self.move_scan(slot.into(), motion),
            Op::SetWait(slot, wait) => {
                let slot = usize::from(slot);
                let txn = &mut self.model.txns[slot];
                if let Some(scan) = &mut txn.scan {
                    let semi = wait == RowWait::SemiConsistent && txn.isolation.locks_gaps();
                    scan.spec.wait = if semi { RowWait::Wait } else { wait };
                    let Slot { txn, readers } = &mut self.slots[slot];
                    readers[0].set_wait(txn, wait);
                }
            }
            Op::Unlock(slot, of_scan) => self.unlock(slot.into(), of_scan),
        }
    }

    fn finish(mut self) {
        for slot in 0..self.slots.len() {
            self.end(slot, true, Isolation::ReadCommitted);
        }
        assert_eq!(self.engine.stats().row_locks, 0);
        assert!(self.engine.locks(10).is_empty());
        self.slots.clear();
        self.engine.close().unwrap();
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn readers_show_and_lock_what_they_have_to((rows, ops) in ops()) {
        let mut run = Run::new(&rows);
        for op in &ops {
            run.apply(op);
        }
        run.finish();
    }
}
