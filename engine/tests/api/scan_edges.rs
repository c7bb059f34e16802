//! Scans at their edges: keys that begin with each other, entries that get another row, damage, and a plain scan whose rows are locked.

use std::sync::mpsc;
use std::time::Duration;

use smartengine::{
    Engine, ErrorKind, Index, Isolation, LockMode, ReadSpec, Reader, RowLocator, RowWait, SeekTo,
    Transaction, Write,
};

use crate::small;

fn locking(wait: RowWait, row_index: Option<Index>) -> ReadSpec {
    ReadSpec {
        lock: Some(LockMode::Exclusive),
        wait,
        row_index,
    }
}

fn put(engine: &Engine, key: &[u8], value: &[u8]) {
    let mut txn = engine.begin(Isolation::ReadCommitted);
    txn.put(key, value).unwrap();
    txn.commit().unwrap();
}

fn letters(engine: &Engine, rests: &[&[u8]]) -> Index {
    let index = engine.create_index().unwrap();
    for rest in rests {
        put(engine, &index.key(rest), b"1");
    }
    index
}

#[test]
fn a_key_that_is_another_and_a_zero_is_met_beside_commits() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead] {
        let index = letters(&engine, &[b"a", b"a\0", b"a\0\0", b"b"]);
        let mut txn = engine.begin(isolation);
        let mut reader = Reader::new();
        let spec = locking(RowWait::Wait, None);
        reader.open(&mut txn, &index.all(), spec).unwrap();
        put(&engine, &index.key(b"a"), b"2");
        let mut seen = Vec::new();
        while let Some(entry) = reader.next(&mut txn).unwrap() {
            seen.push(index.rest(entry.key).unwrap().to_vec());
        }
        let all = [&b"a"[..], b"a\0", b"a\0\0", b"b"];
        assert_eq!(seen, all, "{isolation:?}");
    }
}

#[test]
fn a_key_that_is_another_and_a_zero_is_met_once_it_was_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let index = letters(&engine, &[b"a", b"b"]);
    let mut txn = engine.begin(Isolation::ReadCommitted);
    let mut reader = Reader::new();
    let spec = locking(RowWait::Wait, None);
    reader.open(&mut txn, &index.all(), spec).unwrap();
    let mut adder = engine.begin(Isolation::ReadCommitted);
    adder.insert(&index.key(b"a\0"), b"1").unwrap();
    assert!(reader.seek(&mut txn, SeekTo::First).unwrap().is_some());
    let engine = &engine;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let waits = || {
                engine
                    .transactions()
                    .iter()
                    .any(|one| one.waiting_since.is_some())
            };
            while !waits() {
                std::thread::sleep(Duration::from_millis(5));
            }
            adder.commit().unwrap();
        });
        let entry = reader.next(&mut txn).unwrap().unwrap();
        assert_eq!(index.rest(entry.key).unwrap(), b"a\0");
    });
}

/// Rows by a number, and a unique index of their names.
struct Unique {
    engine: Engine,
    rows: Index,
    names: Index,
    _dir: tempfile::TempDir,
}

fn locator(row: u8) -> Vec<u8> {
    let mut value = Vec::new();
    RowLocator::InValue(&[row]).append_to(&mut value).unwrap();
    value
}

impl Unique {
    /// Rows 1, 2 and 3 with names k, m and p.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(small(dir.path())).unwrap();
        let rows = engine.create_index().unwrap();
        let names = engine.create_index().unwrap();
        let table = Self {
            engine,
            rows,
            names,
            _dir: dir,
        };
        let mut txn = table.engine.begin(Isolation::ReadCommitted);
        for (row, name) in [(1, "k"), (2, "m"), (3, "p")] {
            table.add(&mut txn, row, name);
        }
        txn.commit().unwrap();
        table
    }

    fn add(&self, txn: &mut Transaction, row: u8, name: &str) {
        txn.insert(&self.rows.key([row]), &[row]).unwrap();
        txn.put(&self.names.key(name), &locator(row)).unwrap();
    }

    /// Gives a row another number; it keeps its name.
    fn renumber(&self, txn: &mut Transaction, from: u8, to: u8, name: &str) {
        let (old, new) = (self.rows.key([from]), self.rows.key([to]));
        let (entry, value) = (self.names.key(name), locator(to));
        txn.lock(&old, LockMode::Exclusive).unwrap();
        let writes = [
            Write::Delete(&old),
            Write::Delete(&entry),
            Write::Insert(&new, &[to]),
            Write::Put(&entry, &value),
        ];
        txn.apply(&writes).map_err(|(_, error)| error).unwrap();
    }
}

#[test]
fn an_entry_to_which_the_transaction_has_given_another_row_shows_that_row() {
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead] {
        for forward in [true, false] {
            for lock in [Some(LockMode::Exclusive), None] {
                let table = Unique::new();
                let mut txn = table.engine.begin(isolation);
                // It has writes before the scan begins, so that the scan's cursor looks at them from the start.
                txn.put(&Index::DICTIONARY.key("x"), b"1").unwrap();
                let mut reader = Reader::new();
                let spec = ReadSpec {
                    lock,
                    ..locking(RowWait::Wait, Some(table.rows))
                };
                reader.open(&mut txn, &table.names.all(), spec).unwrap();
                let mut seen = Vec::new();
                loop {
                    let entry = match forward {
                        true => reader.next(&mut txn).unwrap(),
                        false => reader.prev(&mut txn).unwrap(),
                    };
                    let Some(entry) = entry else { break };
                    seen.push((entry.row_key[4], entry.row[0]));
                    if seen.len() == 1 {
                        table.renumber(&mut txn, 2, 9, "m");
                    }
                }
                seen.sort_unstable();
                let shown = [(1, 1), (3, 3), (9, 9)];
                assert_eq!(seen, shown, "{isolation:?} forward {forward} lock {lock:?}");
            }
        }
    }
}

#[test]
fn an_entry_without_a_row_does_not_hold_a_semi_consistent_scan() {
    let table = Unique::new();
    put(&table.engine, &table.names.key("n"), &locator(8));
    let mut holder = table.engine.begin(Isolation::ReadCommitted);
    let missing = table.rows.key([8]);
    holder.lock(&missing, LockMode::Exclusive).unwrap();
    let (engine, rows, names) = (&table.engine, table.rows, table.names);
    let scan = |wait: RowWait| -> smartengine::Result<usize> {
        let mut txn = engine.begin(Isolation::ReadCommitted);
        let mut reader = Reader::new();
        reader.open(&mut txn, &names.all(), locking(wait, Some(rows)))?;
        let mut seen = 0;
        while reader.next(&mut txn)?.is_some() {
            seen += 1;
        }
        Ok(seen)
    };
    std::thread::scope(|scope| {
        let (done, ended) = mpsc::channel();
        scope.spawn(move || done.send(scan(RowWait::SemiConsistent)).unwrap());
        let seen = ended.recv_timeout(Duration::from_secs(60));
        // So that a scan that goes round in circles ends, and the test with it.
        drop(holder);
        assert_eq!(seen.expect("it does not end").unwrap(), 3);
    });
    let error = scan(RowWait::Wait).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
}

#[test]
fn a_plain_scan_whose_rows_are_locked_stays_in_its_snapshot() {
    let table = Unique::new();
    let mut txn = table.engine.begin(Isolation::RepeatableRead);
    let mut reader = Reader::new();
    let plain = ReadSpec::default();
    reader.open(&mut txn, &table.names.all(), plain).unwrap();
    assert!(reader.next(&mut txn).unwrap().is_some());
    let mut other = table.engine.begin(Isolation::ReadCommitted);
    other.put(&table.rows.key([1]), &[1, 1]).unwrap();
    table.add(&mut other, 7, "l");
    other.commit().unwrap();
    let spec = locking(RowWait::Wait, Some(table.rows));
    let fetched = reader.fetch_row(&mut txn, spec).unwrap().unwrap();
    assert_eq!(fetched.row, [1, 1]);
    let next = reader.next(&mut txn).unwrap().unwrap();
    assert_eq!(table.names.rest(next.key).unwrap(), b"m");
}
