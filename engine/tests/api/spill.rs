//! Transactions beyond their memory: what they see, what becomes of them, and what they leave.

use std::path::Path;
use std::sync::Arc;

use smartengine::internals::env::fs::{FaultFs, Fs, Operation, PowerLoss};
use smartengine::internals::object_store::MemoryStore;
use smartengine::object_store::ObjectStore;
use smartengine::{
    Engine, ErrorKind, Index, Isolation, LockMode, Options, Result, Transaction, View, Write,
};

const RR: Isolation = Isolation::RepeatableRead;

/// An engine in memory, in which a transaction spills every few hundred rows.
struct World {
    fs: FaultFs,
    store: Arc<MemoryStore>,
}

impl World {
    fn new() -> Self {
        Self {
            fs: FaultFs::new(),
            store: Arc::new(MemoryStore::new()),
        }
    }

    fn open(&self) -> Engine {
        let mut options = Options::new("/engine");
        options.fs = Arc::new(self.fs.clone());
        options.store = Some(self.store.clone());
        options.transaction_memory = 32 << 10;
        options.memtable_size = 1 << 20;
        options.total_memtable_size = 4 << 20;
        options.target_file_size = 64 << 10;
        options.block_size = 4 << 10;
        Engine::open(options).unwrap()
    }

    fn crash(&self) -> Self {
        Self {
            fs: self.fs.crash(PowerLoss::All),
            store: Arc::new(self.store.copy()),
        }
    }

    fn runs(&self) -> usize {
        self.fs.list(Path::new("/engine/spill")).unwrap().len()
    }

    fn files(&self) -> usize {
        self.store.list("sst/", "", 10_000).unwrap().len()
    }

    /// The number of files once those that are not needed are gone.
    fn settled_files(&self, wanted: usize) -> usize {
        for _ in 0..500 {
            if self.files() == wanted {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        self.files()
    }
}

fn key(index: Index, number: u64) -> Vec<u8> {
    // Not in the order in which they are written.
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    index.key(scattered.to_be_bytes())
}

fn value(number: u64, round: u64) -> Vec<u8> {
    let mut value = number.to_le_bytes().to_vec();
    value.extend(round.to_le_bytes());
    value.resize(60, 7);
    value
}

fn insert(txn: &mut Transaction, index: Index, numbers: std::ops::Range<u64>, round: u64) {
    for number in numbers {
        txn.insert(&key(index, number), &value(number, round))
            .unwrap();
    }
}

/// Rounds of the rows 0 to `count`, checked by cursors in both directions and one by one; `None` where there is no row.
fn read(txn: &mut Transaction, index: Index, count: u64, view: View) -> Result<Vec<Option<u64>>> {
    let mut rounds = vec![None; count as usize];
    let mut cursor = txn.cursor(&index.all(), view)?;
    let mut note = |key: &[u8], value: &[u8], forward: bool, last: &mut Vec<u8>| {
        assert!(last.is_empty() || (last[..] < *key) == forward);
        *last = key.to_vec();
        let number = u64::from_le_bytes(value[..8].try_into().unwrap());
        let round = u64::from_le_bytes(value[8..16].try_into().unwrap());
        assert_eq!(
            key[4..],
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
        );
        let slot = &mut rounds[number as usize];
        assert_eq!(slot.is_none(), forward);
        *slot = Some(round);
    };
    let (mut forward, mut backward) = (0, 0);
    let mut last = Vec::new();
    cursor.seek_to_first()?;
    while cursor.valid() {
        note(cursor.key(), cursor.value(), true, &mut last);
        forward += 1;
        cursor.next()?;
    }
    last.clear();
    cursor.seek_to_last()?;
    while cursor.valid() {
        note(cursor.key(), cursor.value(), false, &mut last);
        backward += 1;
        cursor.prev()?;
    }
    assert_eq!(forward, backward);
    for (number, round) in (0..).zip(&rounds) {
        let found = txn.get(&key(index, number), view)?;
        let expected = round.map(|round| value(number, round));
        assert_eq!(found.as_deref(), expected.as_deref(), "{number}");
    }
    Ok(rounds)
}

fn all(count: u64, round: u64) -> Vec<Option<u64>> {
    vec![Some(round); count as usize]
}

#[test]
fn a_large_transaction_sees_its_own_writes_and_commits_whole() {
    let world = World::new();
    let engine = world.open();
    let index = engine.create_index().unwrap();
    let mut old = engine.begin(RR);
    old.take_snapshot();
    let mut txn = engine.begin(RR);
    insert(&mut txn, index, 0..3000, 1);
    assert!(engine.stats().spilled_runs > 10);
    assert_eq!(engine.stats().spilled_transactions, 1);
    assert_eq!(world.runs(), 0, "runs have no name");
    assert_eq!(
        read(&mut txn, index, 3000, View::Newest).unwrap(),
        all(3000, 1)
    );
    assert_eq!(
        read(&mut txn, index, 3000, View::Snapshot).unwrap(),
        all(3000, 1)
    );
    // Its own rows are in the way of a second insertion, wherever they are.
    for number in [0, 10, 1500, 2999] {
        let error = txn.insert(&key(index, number), b"again").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Duplicate);
    }
    assert_eq!(
        read(&mut old, index, 3000, View::Newest).unwrap(),
        vec![None; 3000]
    );
    txn.commit().unwrap();
    assert_eq!(
        read(&mut old, index, 3000, View::Snapshot).unwrap(),
        vec![None; 3000]
    );
    assert_eq!(
        read(&mut old, index, 3000, View::Newest).unwrap(),
        all(3000, 1)
    );
    drop(old);
    let stats = engine.stats();
    assert!(stats.ingested_files > 0);
    assert_eq!(
        stats.levels[6].files, stats.ingested_files,
        "a new table goes straight down"
    );
    drop(txn);
    for close in [false, true] {
        let found = world.crash();
        let after = found.open();
        assert_eq!(
            read(&mut after.begin(RR), index, 3000, View::Newest).unwrap(),
            all(3000, 1)
        );
        if close {
            after.close().unwrap();
        }
    }
    engine.close().unwrap();
}

#[test]
fn rolling_back_leaves_nothing() {
    let world = World::new();
    let engine = world.open();
    let index = engine.create_index().unwrap();
    let before = world.files();
    for end in 0..3 {
        let mut txn = engine.begin(RR);
        insert(&mut txn, index, 0..3000, 1);
        match end {
            0 => txn.rollback().unwrap(),
            1 => drop(txn),
            _ => txn.restart(RR).unwrap(),
        }
        assert_eq!((world.runs(), world.files()), (0, before));
        assert_eq!(engine.stats().row_locks, 0);
        assert_eq!(
            read(&mut engine.begin(RR), index, 3000, View::Newest).unwrap(),
            vec![None; 3000]
        );
    }
    assert_eq!(engine.stats().ingested_files, 0);
}

#[test]
fn what_is_ingested_lies_over_what_is_older_and_under_what_is_newer() {
    let world = World::new();
    let engine = world.open();
    let index = engine.create_index().unwrap();
    let mut txn = engine.begin(RR);
    for round in 1..=6u64 {
        // Small commits before and after, some flushed, some not, and a large one that goes over all but a few of the rows.
        for number in 0..1000 {
            if number % 5 == round % 5 {
                txn.put(&key(index, number), &value(number, round * 10))
                    .unwrap();
            }
        }
        txn.commit().unwrap();
        if round % 2 == 0 {
            engine.flush().unwrap();
        }
        txn.restart(RR).unwrap();
        for number in 0..1000 {
            if number % 7 != 0 {
                txn.put(&key(index, number), &value(number, round * 10 + 1))
                    .unwrap();
            }
        }
        txn.commit().unwrap();
        txn.restart(RR).unwrap();
        txn.put(&key(index, 1), &value(1, round * 10 + 2)).unwrap();
        txn.delete(&key(index, 2)).unwrap();
        txn.commit().unwrap();
        txn.restart(RR).unwrap();
        let expected = |rounds: &[Option<u64>]| {
            for (number, found) in (0u64..).zip(rounds) {
                let wanted = match number {
                    1 => Some(round * 10 + 2),
                    2 => None,
                    _ if number % 7 != 0 => Some(round * 10 + 1),
                    _ => (1..=round)
                        .rev()
                        .find(|r| number % 5 == r % 5)
                        .map(|r| r * 10),
                };
                assert_eq!(*found, wanted, "row {number} in round {round}");
            }
        };
        expected(&read(&mut txn, index, 1000, View::Newest).unwrap());
        let after = world.crash().open();
        expected(&read(&mut after.begin(RR), index, 1000, View::Newest).unwrap());
        if round == 3 {
            engine.compact().unwrap();
        }
        expected(&read(&mut txn, index, 1000, View::Newest).unwrap());
        txn.restart(RR).unwrap();
    }
    assert!(engine.stats().ingested_files >= 6);
    engine.compact().unwrap();
    let stats = engine.stats();
    assert_eq!(stats.levels[6].entries, 999, "{}", engine.status());
}

#[test]
fn savepoints_reach_into_what_is_spilled() {
    let world = World::new();
    let engine = world.open();
    let index = engine.create_index().unwrap();
    let mut txn = engine.begin(RR);
    insert(&mut txn, index, 0..2000, 1);
    let first = txn.savepoint();
    for number in 0..2000 {
        txn.put(&key(index, number), &value(number, 2)).unwrap();
    }
    insert(&mut txn, index, 2000..2100, 2);
    let second = txn.savepoint();
    for number in (0..2100).step_by(2) {
        txn.delete(&key(index, number)).unwrap();
    }
    let half: Vec<_> = (0..2100u64).map(|n| (n % 2 == 1).then_some(2)).collect();
    assert_eq!(read(&mut txn, index, 2100, View::Newest).unwrap(), half);
    txn.rollback_to(second);
    assert_eq!(
        read(&mut txn, index, 2100, View::Newest).unwrap(),
        all(2100, 2)
    );
    txn.rollback_to(first);
    assert_eq!(
        read(&mut txn, index, 2000, View::Newest).unwrap(),
        all(2000, 1)
    );
    insert(&mut txn, index, 2000..5000, 3);
    txn.commit().unwrap();
    let mut expected = all(2000, 1);
    expected.extend(all(3000, 3));
    let mut reader = engine.begin(RR);
    assert_eq!(
        read(&mut reader, index, 5000, View::Newest).unwrap(),
        expected
    );
    // All of it rolled back is nothing at all.
    txn.restart(RR).unwrap();
    let start = txn.savepoint();
    for number in 0..3000 {
        txn.delete(&key(index, number)).unwrap();
    }
    txn.rollback_to(start);
    assert!(!txn.has_writes());
    let before = engine.stats();
    txn.commit().unwrap();
    assert_eq!(engine.stats().ingested_files, before.ingested_files);
}

#[test]
fn a_statement_that_fails_half_way_is_undone_alone() {
    let world = World::new();
    let engine = world.open();
    let index = engine.create_index().unwrap();
    let mut txn = engine.begin(RR);
    insert(&mut txn, index, 0..3000, 1);
    for number in 3000..5000u64 {
        let (a, b) = (key(index, number), key(index, number % 3000));
        let writes = [Write::Insert(&a, b"new"), Write::Insert(&b, b"taken")];
        let (place, error) = txn.apply(&writes).unwrap_err();
        assert_eq!((place, error.kind()), (1, ErrorKind::Duplicate));
    }
    assert_eq!(
        read(&mut txn, index, 3000, View::Newest).unwrap(),
        all(3000, 1)
    );
}

#[test]
fn a_disk_that_fails_fails_the_statement_and_not_the_transaction() {
    for operation in [Operation::Open, Operation::Write] {
        let world = World::new();
        let engine = world.open();
        let index = engine.create_index().unwrap();
        let mut txn = engine.begin(RR);
        insert(&mut txn, index, 0..1000, 1);
        world.fs.fail(operation, 0, u64::MAX, ErrorKind::OutOfSpace);
        let mut written = 1000;
        let error = loop {
            match txn.insert(&key(index, written), &value(written, 1)) {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::OutOfSpace);
        assert!(
            error
                .message()
                .contains("write a run of the transaction to /engine/spill"),
            "{error}"
        );
        // It can be read, goes on when there is room again, and can be rolled back meanwhile.
        assert_eq!(
            read(&mut txn, index, written, View::Newest).unwrap(),
            all(written, 1)
        );
        world.fs.heal();
        insert(&mut txn, index, written..written + 500, 1);
        world.fs.fail(operation, 0, u64::MAX, ErrorKind::OutOfSpace);
        txn.rollback().unwrap();
        world.fs.heal();
        assert_eq!(world.runs(), 0);
        insert(&mut engine.begin(RR), index, 0..10, 1);
    }
}

#[test]
fn counters_of_a_large_transaction_are_kept() {
    let world = World::new();
    let engine = world.open();
    let index = engine.create_index().unwrap();
    let counter = b"\0\0\0\0counter";
    let mut txn = engine.begin(RR);
    txn.raise_counter(counter, 5).unwrap();
    insert(&mut txn, index, 0..2000, 1);
    txn.rollback().unwrap();
    assert_eq!(
        world.crash().open().counter(counter).unwrap(),
        0,
        "not waited for"
    );
    txn.restart(RR).unwrap();
    txn.raise_counter(counter, 7).unwrap();
    insert(&mut txn, index, 0..2000, 1);
    txn.commit().unwrap();
    assert_eq!(engine.counter(counter).unwrap(), 7);
    let after = world.crash().open();
    assert_eq!(after.counter(counter).unwrap(), 7);
    after.flush().unwrap();
    // A key is a row or a counter.
    txn.restart(RR).unwrap();
    insert(&mut txn, index, 2000..4000, 1);
    txn.raise_counter(&key(index, 2001), 5).unwrap();
    assert_eq!(txn.commit().unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn ordinary_commits_go_on_beside_large_ones() {
    let world = World::new();
    let engine = world.open();
    let indexes = engine.create_indexes(8).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (engine, indexes) = (&engine, &indexes);
            scope.spawn(move || {
                let mut txn = engine.begin(RR);
                let mine = indexes[thread as usize];
                for round in 0..30u64 {
                    let rows = if round % 6 == u64::from(thread) {
                        800
                    } else {
                        5
                    };
                    for number in 0..rows {
                        txn.put(&key(mine, number), &value(number, round)).unwrap();
                        // All threads write here, in their own places.
                        let shared = key(indexes[7], u64::from(thread) << 32 | number);
                        txn.put(&shared, &value(number, round)).unwrap();
                    }
                    txn.commit().unwrap();
                    txn.restart(RR).unwrap();
                    let seen = txn.get(&key(mine, 3), View::Newest).unwrap();
                    assert_eq!(seen.as_deref(), Some(&*value(3, round)));
                    if round % 10 == 5 {
                        engine.flush().unwrap();
                    }
                }
            });
        }
    });
    let check = |engine: &Engine| {
        let mut txn = engine.begin(RR);
        for thread in 0..4u32 {
            let rounds = read(&mut txn, indexes[thread as usize], 800, View::Newest).unwrap();
            for (number, round) in rounds.into_iter().enumerate() {
                let large = (0..30).rev().find(|round| round % 6 == u64::from(thread));
                assert_eq!(round, if number < 5 { Some(29) } else { large });
            }
        }
    };
    check(&engine);
    check(&world.crash().open());
    engine.compact().unwrap();
    check(&engine);
}

#[test]
fn a_large_transaction_may_be_prepared() {
    let world = World::new();
    let engine = world.open();
    let index = engine.create_index().unwrap();
    let mut txn = engine.begin(RR);
    insert(&mut txn, index, 0..1200, 1);
    txn.prepare(b"first", true).unwrap();
    let files = world.files();
    assert!(files > 0);
    assert_eq!(
        read(&mut engine.begin(RR), index, 1200, View::Newest).unwrap(),
        vec![None; 1200]
    );

    // After a crash it is found again, with its files and its locks, and either end is possible.
    for commit in [true, false] {
        let found = world.crash();
        let mut after = found.open();
        for reopened in [false, true] {
            if reopened {
                after.flush().unwrap();
                drop(after);
                after = found.open();
            }
            assert_eq!(found.files(), files);
            let prepared = after.prepared();
            assert_eq!((prepared.len(), &*prepared[0].name), (1, &b"first"[..]));
            assert_eq!(prepared[0].indexes, [index]);
            let mut other = after.begin(RR);
            let error = other
                .try_lock(&key(index, 600), LockMode::Shared)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LockNotAvailable);
        }
        let mut recovered = after.take_prepared(b"first").unwrap();
        match commit {
            true => recovered.commit().unwrap(),
            false => recovered.rollback().unwrap(),
        }
        drop(recovered);
        let wanted = if commit {
            all(1200, 1)
        } else {
            vec![None; 1200]
        };
        assert_eq!(
            read(&mut after.begin(RR), index, 1200, View::Newest).unwrap(),
            wanted
        );
        let left = if commit { files } else { 0 };
        assert_eq!(found.settled_files(left), left);
        let again = found.crash().open();
        assert!(again.prepared().is_empty());
        assert_eq!(
            read(&mut again.begin(RR), index, 1200, View::Newest).unwrap(),
            wanted
        );
        after.close().unwrap();
    }

    // In the session that prepared it.
    txn.commit().unwrap();
    assert_eq!(
        read(&mut engine.begin(RR), index, 1200, View::Newest).unwrap(),
        all(1200, 1)
    );
    txn.restart(RR).unwrap();
    insert(&mut txn, index, 1200..2400, 1);
    txn.prepare(b"second", false).unwrap();
    assert!(world.files() > files);
    txn.rollback().unwrap();
    assert_eq!(world.settled_files(files), files);
    let after = world.crash().open();
    assert_eq!(
        read(&mut after.begin(RR), index, 1200, View::Newest).unwrap(),
        all(1200, 1)
    );
}
