//! Gaps against additions.

use std::cell::Cell;

use super::*;
use crate::cache::BlockCache;
use crate::env::fs::FaultFs;
use crate::txn::batch::{Batch, Nearby};
use crate::txn::locks::gaps::{Gaps, index_around};
use crate::txn::spill::SpillSpace;

struct Writer {
    txn: TxnLocks,
    batch: Batch,
}

impl Writer {
    fn new(id: TxnId) -> Self {
        let cache = Arc::new(BlockCache::new(1 << 20));
        let fs = Arc::new(FaultFs::new());
        let space = SpillSpace::open(fs, "/spill", cache, 64 << 10).unwrap();
        Self {
            txn: TxnLocks::new(id, Isolation::RepeatableRead),
            batch: Batch::new(Arc::new(space)),
        }
    }

    /// As a transaction adds a key.
    fn add(&mut self, locks: &LockManager, key: &[u8], wait: LockWait) -> Result<()> {
        let Self { txn, batch } = self;
        locks.will_write(txn, key, || batch.view().clone());
        loop {
            let savepoint = batch.savepoint();
            batch.put(key, b"");
            let Some(owner) = locks.gap_owner(txn, key) else {
                return Ok(());
            };
            batch.rollback_to(savepoint);
            locks.await_gap(txn, key, owner, wait)?;
        }
    }

    fn gap(&mut self, locks: &LockManager, from: &[u8], to: &[u8], wait: LockWait) -> Result<()> {
        locks.lock_gap(&mut self.txn, from, to, Some(wait))
    }

    fn end(&mut self, locks: &LockManager) {
        locks.release_all(&mut self.txn);
        self.batch.clear();
    }
}

fn key(byte: u8) -> [u8; 5] {
    [0, 0, 0, 1, byte]
}

const NO_WAIT: LockWait = LockWait::NoWait;

#[test]
fn nobody_but_its_owner_adds_to_a_gap() {
    let locks = manager();
    let [mut a, mut b, mut c] = [1, 2, 3].map(Writer::new);
    a.gap(&locks, &key(10), &key(20), NO_WAIT).unwrap();
    c.gap(&locks, &key(15), &key(30), NO_WAIT).unwrap();
    for (number, free) in [(9, true), (10, false), (19, false), (29, false), (30, true)] {
        let added = b.add(&locks, &key(number), NO_WAIT);
        assert_eq!(added.is_ok(), free, "{number}");
    }
    let elsewhere = [0, 0, 0, 65, 12];
    b.add(&locks, &elsewhere, NO_WAIT).unwrap();
    a.add(&locks, &key(12), NO_WAIT).unwrap();
    assert!(a.add(&locks, &key(16), NO_WAIT).is_err());
    a.end(&locks);
    b.add(&locks, &key(10), NO_WAIT).unwrap();
    assert!(b.add(&locks, &key(15), NO_WAIT).is_err());
    c.end(&locks);
    b.add(&locks, &key(15), NO_WAIT).unwrap();
    b.end(&locks);
    assert!(locks.is_idle() && locks.registry.all().is_empty());
}

#[test]
fn who_takes_a_gap_waits_for_what_was_added_and_not_for_what_was_undone() {
    let locks = manager();
    let [mut a, mut b] = [1, 2].map(Writer::new);
    a.add(&locks, &key(12), NO_WAIT).unwrap();
    let savepoint = a.batch.savepoint();
    a.add(&locks, &key(22), NO_WAIT).unwrap();
    a.batch.rollback_to(savepoint);
    a.add(&locks, &key(32), NO_WAIT).unwrap();
    // A savepoint may bring it back.
    a.batch.delete(&key(32));
    for (from, free) in [(10, false), (20, true), (30, false), (40, true)] {
        let taken = b.gap(&locks, &key(from), &key(from + 10), NO_WAIT);
        assert_eq!(taken.is_ok(), free, "{from}");
    }
    // Without waiting it takes the gap all the same.
    locks
        .lock_gap(&mut b.txn, &key(10), &key(20), None)
        .unwrap();
    b.end(&locks);
    std::thread::scope(|scope| {
        let locks = &locks;
        let thread = scope.spawn(move || {
            b.gap(locks, &key(0), &key(50), LONG).unwrap();
            b
        });
        locks.await_waits(1);
        let waits = locks.list(10);
        assert_eq!((waits[0].txn, &waits[0].blocked_by[..]), (2, &[1][..]));
        assert!(locks.transactions()[1].waiting_since.is_some());
        a.end(locks);
        let mut b = thread.join().unwrap();
        assert!(a.add(locks, &key(1), NO_WAIT).is_err());
        b.end(locks);
    });
    a.end(&locks);
    assert!(locks.is_idle() && locks.registry.all().is_empty());
}

#[test]
fn additions_into_each_others_gaps_are_a_deadlock_that_the_cheaper_pays_for() {
    let locks = manager();
    let [mut a, mut b] = [1, 2].map(Writer::new);
    a.gap(&locks, &key(10), &key(20), NO_WAIT).unwrap();
    b.gap(&locks, &key(10), &key(20), NO_WAIT).unwrap();
    locks.at_once(&mut b.txn, "heavier", Exclusive).unwrap();
    std::thread::scope(|scope| {
        let locks = &locks;
        let a = scope.spawn(move || (a.add(locks, &key(12), LONG), a));
        locks.await_waits(1);
        let b = scope.spawn(move || (b.add(locks, &key(13), LONG), b));
        let (refused, mut a) = a.join().unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Deadlock);
        a.end(locks);
        let (added, mut b) = b.join().unwrap();
        added.unwrap();
        b.end(locks);
    });
    let (_, told) = locks.last_deadlock().unwrap();
    assert!(told.contains("insertion of index 1 key 0x0c"), "{told}");
    assert!(locks.is_idle());
}

#[test]
fn waiting_for_a_gap_ends_by_timeout_and_by_interrupt_and_leaves_no_trace() {
    let locks = manager();
    let [mut a, mut b] = [1, 2].map(Writer::new);
    a.gap(&locks, &key(10), &key(20), NO_WAIT).unwrap();
    let short = LockWait::Timeout(Duration::from_millis(1));
    let error = b.add(&locks, &key(12), short).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LockTimeout);
    std::thread::scope(|scope| {
        let locks = &locks;
        let b = scope.spawn(move || (b.add(locks, &key(12), LONG), b));
        locks.await_waits(2);
        locks.interrupt(2);
        let (refused, mut b) = b.join().unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Interrupted);
        let nearby = b.batch.view().nearby(&key(0), &key(99)).unwrap();
        assert_ne!(nearby, Nearby::Within);
        b.end(locks);
    });
    a.end(&locks);
    assert!(locks.is_idle() && locks.registry.all().is_empty());
}

#[test]
fn a_scan_asks_once_either_way_and_again_where_something_was_added() {
    let gaps = Gaps::default();
    let asked = Cell::new(0);
    let clear = |from: &[u8], to: &[u8]| {
        asked.set(asked.get() + 1);
        Ok(index_around(from, to))
    };
    let mut latches = Vec::new();
    let mut take = |from: &[u8], to: &[u8]| {
        let taken = gaps.take(1, &mut latches, from, to, Some(&clear));
        taken.unwrap();
        asked.take()
    };
    let mut scan = |keys: &mut dyn Iterator<Item = u8>| -> u32 {
        keys.map(|from| take(&key(from), &key(from + 1))).sum()
    };
    assert_eq!(scan(&mut (100..150)), 1);
    assert_eq!(scan(&mut (50..100).rev()), 0);
    for added in [20, 180] {
        assert_eq!(gaps.owner_of(2, &key(added)), None);
    }
    assert_eq!(gaps.owner_of(2, &key(120)), Some(1));
    assert_eq!(scan(&mut (150..180)), 0);
    assert_eq!(scan(&mut (21..50).rev()), 0);
    let behind = [&key(180)[..], &[0]].concat();
    assert_eq!(take(&behind, &key(250)), 0);
    // The keys themselves: what is learnt there holds for all.
    assert_eq!(take(&key(10), &key(21)), 1);
    assert_eq!(take(&key(180), &behind), 0);
    assert_eq!(latches.len(), 1);
    gaps.release(1, latches[0]);
    assert!(gaps.is_empty());
}

/// As it may read from disk. What is added meanwhile counts.
#[test]
fn others_add_keys_while_writers_are_asked() {
    let gaps = Gaps::default();
    let (inside, outside) = (key(15), key(30));
    let asked = Cell::new(0);
    let survey = |from: &[u8], to: &[u8]| {
        asked.set(asked.get() + 1);
        if asked.get() == 1 {
            // With the latch held this would wait for ever.
            assert_eq!(gaps.owner_of(2, &inside), None);
            assert_eq!(gaps.owner_of(2, &outside), None);
            return Ok(index_around(from, to));
        }
        Err(2)
    };
    let mut latches = Vec::new();
    let mut take = |from: u8, to: u8| {
        let taken = gaps.take(1, &mut latches, &key(from), &key(to), Some(&survey));
        (taken, asked.get())
    };
    assert_eq!(take(10, 20), (Err(2), 2));
    asked.set(0);
    // Around the gap it is known to be clear up to what was added.
    let (taken, _) = take(20, 25);
    assert_eq!((taken, asked.get()), (Ok(()), 1));
    asked.set(5);
    assert_eq!(take(25, 30), (Ok(()), 5));
    assert_eq!(take(16, 20), (Ok(()), 5));
    assert_eq!(take(30, 31), (Err(2), 6));
    assert_eq!(gaps.owner_of(2, &key(24)), Some(1));
    assert_eq!(gaps.owner_of(2, &key(30)), None);
}

#[test]
fn of_writers_those_of_the_index_are_asked_until_they_end() {
    let locks = manager();
    let [mut a, mut b, mut c] = [1, 2, 3].map(Writer::new);
    a.add(&locks, &key(1), NO_WAIT).unwrap();
    a.add(&locks, &[0, 0, 0, 2, 1], NO_WAIT).unwrap();
    b.add(&locks, &key(2), NO_WAIT).unwrap();
    let ids = |latch, but| {
        let mut ids: Vec<_> = locks
            .registry
            .writers(latch, but)
            .iter()
            .map(|txn| txn.id)
            .collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(
        (ids(1, 3), ids(2, 3), ids(3, 3)),
        (vec![1, 2], vec![1], vec![])
    );
    assert_eq!(ids(1, 1), [2]);
    // Of a long row of gaps beside what they wrote each is free.
    for from in 10..100 {
        c.gap(&locks, &key(from), &key(from + 1), NO_WAIT).unwrap();
    }
    assert!(c.gap(&locks, &key(2), &key(10), NO_WAIT).is_err());
    a.end(&locks);
    b.end(&locks);
    assert_eq!((ids(1, 3), ids(2, 3)), (vec![], vec![]));
    c.gap(&locks, &key(2), &key(10), NO_WAIT).unwrap();
    c.end(&locks);
    assert!(locks.is_idle() && locks.registry.all().is_empty());
}
