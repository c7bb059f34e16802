//! Readers that lock, and what of their transaction, or of others, comes between two of their reads.

use smartengine::{
    Engine, ErrorKind, Index, Isolation, LockMode, ReadSpec, Reader, Result, RowLocator, RowWait,
    SeekTo, Transaction, View, Write,
};

use crate::small;

/// A table of rows of one byte, with an index by what they hold.
struct Table {
    engine: Engine,
    rows: Index,
    by_value: Index,
    _dir: tempfile::TempDir,
}

impl Table {
    /// Rows 1 to 5, each holding its number.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(small(dir.path())).unwrap();
        let rows = engine.create_index().unwrap();
        let by_value = engine.create_index().unwrap();
        let table = Self {
            engine,
            rows,
            by_value,
            _dir: dir,
        };
        let mut txn = table.begin(Isolation::ReadCommitted);
        for number in 1..=5 {
            table.add(&mut txn, number, number).unwrap();
        }
        txn.commit().unwrap();
        table
    }

    fn begin(&self, isolation: Isolation) -> Transaction {
        let mut txn = self.engine.begin(isolation);
        txn.set_lock_wait_timeout(std::time::Duration::ZERO);
        txn
    }

    fn add(&self, txn: &mut Transaction, number: u8, value: u8) -> Result<()> {
        let (row, entry) = (self.rows.key([number]), self.by_value.key([value, number]));
        let mut locator = Vec::new();
        RowLocator::InKey(5).append_to(&mut locator)?;
        let writes = [Write::Insert(&row, &[value]), Write::Add(&entry, &locator)];
        txn.apply(&writes).map_err(|(_, error)| error)
    }

    fn remove(&self, txn: &mut Transaction, number: u8) -> Result<()> {
        let (row, entry) = (self.rows.key([number]), self.by_value.key([number, number]));
        txn.lock(&row, LockMode::Exclusive)?;
        let writes = [Write::Delete(&row), Write::Delete(&entry)];
        txn.apply(&writes).map_err(|(_, error)| error)
    }

    fn spec(&self, index: Index, wait: RowWait) -> ReadSpec {
        ReadSpec {
            lock: Some(LockMode::Exclusive),
            wait,
            row_index: (index == self.by_value).then_some(self.rows),
        }
    }
}

const ALL: [Isolation; 4] = [
    Isolation::ReadUncommitted,
    Isolation::ReadCommitted,
    Isolation::RepeatableRead,
    Isolation::Serializable,
];

#[test]
fn a_row_that_the_transaction_has_removed_ahead_of_its_scan_is_passed_over() {
    for isolation in ALL {
        for forward in [true, false] {
            let table = Table::new();
            let mut txn = table.begin(isolation);
            let mut reader = Reader::new();
            let spec = table.spec(table.by_value, RowWait::Wait);
            reader.open(&mut txn, &table.by_value.all(), spec).unwrap();
            let mut seen = Vec::new();
            loop {
                let entry = match forward {
                    true => reader.next(&mut txn).unwrap(),
                    false => reader.prev(&mut txn).unwrap(),
                };
                let Some(entry) = entry else { break };
                seen.push(entry.row[0]);
                if seen.len() == 1 {
                    for number in [2, 3] {
                        table.remove(&mut txn, number).unwrap();
                    }
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, [1, 4, 5], "{isolation:?}");
        }
    }
}

/// What a scan has gone over and given back is no more of its business.
#[test]
fn who_writes_a_row_that_was_given_back_is_not_waited_for() {
    let table = Table::new();
    for index in [table.rows, table.by_value] {
        let mut reader = Reader::new();
        let mut txn = table.begin(Isolation::ReadCommitted);
        let spec = table.spec(index, RowWait::NoWait);
        reader.open(&mut txn, &index.range([1]..), spec).unwrap();
        let mut writer = table.begin(Isolation::ReadCommitted);
        // Where the range begins, so that the scan has had no gap to look into yet.
        assert!(reader.seek(&mut txn, SeekTo::First).unwrap().is_some());
        reader.unlock_row(&mut txn);
        let row = table.rows.key([1]);
        writer.lock(&row, LockMode::Exclusive).unwrap();
        writer.put(&row, &[1]).unwrap();
        writer.put(&table.by_value.key([1, 1]), &[1, 0, 5]).unwrap();
        let entry = reader.next(&mut txn).unwrap().unwrap();
        assert_eq!(index.rest(entry.key).unwrap()[0], 2);
    }
}

#[test]
fn a_lock_is_given_back_only_for_the_transaction_that_took_it_by_reading() {
    let table = Table::new();
    let mut txn = table.begin(Isolation::ReadCommitted);
    let mut reader = Reader::new();
    let row = table.rows.key([3]);
    let spec = table.spec(table.rows, RowWait::Wait);
    assert!(reader.get(&mut txn, &row, spec).unwrap().is_some());
    txn.commit().unwrap();
    txn.restart(Isolation::ReadCommitted).unwrap();
    txn.lock(&row, LockMode::Exclusive).unwrap();
    reader.unlock_row(&mut txn);
    assert_eq!(txn.locked_keys(), 1);
}

#[test]
fn a_scan_is_semi_consistent_only_below_repeatable_read() {
    for isolation in ALL {
        let table = Table::new();
        let mut writer = table.begin(Isolation::ReadCommitted);
        table.remove(&mut writer, 2).unwrap();
        let mut txn = table.begin(isolation);
        let mut reader = Reader::new();
        let spec = table.spec(table.rows, RowWait::SemiConsistent);
        reader.open(&mut txn, &table.rows.all(), spec).unwrap();
        assert!(!reader.next(&mut txn).unwrap().unwrap().unlocked);
        let second = reader
            .next(&mut txn)
            .map(|entry| entry.map(|entry| entry.unlocked));
        if isolation.locks_gaps() {
            assert_eq!(second.unwrap_err().kind(), ErrorKind::LockTimeout);
            continue;
        }
        assert_eq!(second.unwrap(), Some(true));
        // Wanted: it is waited for.
        let third = reader.next(&mut txn).map(|entry| entry.is_some());
        assert_eq!(third.unwrap_err().kind(), ErrorKind::LockTimeout);
        // Not wanted: it goes on.
        let seek = reader.seek(&mut txn, SeekTo::AtOrAfter(&table.rows.key([2])));
        assert!(seek.unwrap().unwrap().unlocked);
        reader.unlock_row(&mut txn);
        let next = reader.next(&mut txn).unwrap().unwrap();
        assert_eq!((next.value, next.unlocked), (&[3][..], false));
    }
}

/// The first scan has locked the range, but has not asked who had added to it.
#[test]
fn a_scan_that_waits_finds_what_one_that_skips_has_passed_over() {
    for index_of in [|table: &Table| table.rows, |table: &Table| table.by_value] {
        let table = Table::new();
        let index = index_of(&table);
        let mut writer = table.begin(Isolation::ReadCommitted);
        table.add(&mut writer, 6, 6).unwrap();
        let mut txn = table.begin(Isolation::RepeatableRead);
        let mut reader = Reader::new();
        let mut read = |wait| {
            let spec = table.spec(index, wait);
            reader.open(&mut txn, &index.all(), spec)?;
            let mut rows = 0;
            while reader.next(&mut txn)?.is_some() {
                rows += 1;
            }
            Ok(rows)
        };
        assert_eq!(read(RowWait::SkipLocked).unwrap(), 5);
        let refused: Result<i32> = read(RowWait::NoWait);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::LockNotAvailable);
        assert_eq!(read(RowWait::SkipLocked).unwrap(), 5);
        writer.commit().unwrap();
        assert_eq!(read(RowWait::Wait).unwrap(), 6);
    }
}

/// A range of entries, each with its row, locked; entry and row have to belong together.
fn read_entries(
    table: &Table,
    txn: &mut Transaction,
    values: std::ops::Range<u8>,
    forward: bool,
) -> Result<Vec<(u8, u8)>> {
    let mut reader = Reader::new();
    let spec = table.spec(table.by_value, RowWait::Wait);
    let range = table.by_value.range([values.start]..[values.end]);
    reader.open(txn, &range, spec)?;
    let mut found = Vec::new();
    while let Some(entry) = match forward {
        true => reader.next(txn)?,
        false => reader.prev(txn)?,
    } {
        let rest = table.by_value.rest(entry.key).unwrap();
        let (value, number) = (rest[0], rest[1]);
        assert_eq!(entry.row_key, table.rows.key([number]));
        assert_eq!(entry.row, [value]);
        found.push((value, number));
    }
    assert_eq!(txn.locked_keys(), found.len());
    found.sort_unstable();
    Ok(found)
}

/// Gives a row another value, or adds it.
fn move_row(table: &Table, txn: &mut Transaction, number: u8, value: u8) -> Result<()> {
    let row = table.rows.key([number]);
    txn.lock(&row, LockMode::Exclusive)?;
    let Some(old) = txn.get(&row, View::Newest)? else {
        return table.add(txn, number, value);
    };
    let old = table.by_value.key([old[0], number]);
    let entry = table.by_value.key([value, number]);
    let writes = [
        Write::Put(&row, &[value]),
        Write::Delete(&old),
        Write::Add(&entry, &[1, 0, 5]),
    ];
    txn.apply(&writes).map_err(|(_, error)| error)
}

#[test]
fn ranges_of_entries_never_change_under_their_readers_though_rows_move_and_threads_are_many() {
    let table = Table::new();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let table = &table;
            scope.spawn(move || {
                let mut sequence = smartengine::internals::env::Sequence::new(thread);
                let mut below = |end| sequence.below(end) as u8;
                for _ in 0..200 {
                    let isolation = ALL[usize::from(1 + below(3))];
                    let mut txn = table.engine.begin(isolation);
                    let (from, to) = (below(12), 12 + below(12));
                    let forward = below(2) == 0;
                    // Victims of deadlocks roll back and go on.
                    let Ok(before) = read_entries(table, &mut txn, from..to, forward) else {
                        continue;
                    };
                    if isolation.locks_gaps() {
                        let Ok(after) = read_entries(table, &mut txn, from..to, !forward) else {
                            continue;
                        };
                        assert_eq!(before, after);
                    }
                    if move_row(table, &mut txn, below(16), below(24)).is_ok() {
                        txn.commit().unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(table.engine.stats().row_locks, 0);
}
