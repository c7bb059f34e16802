//! Readers that lock, and what of their transaction, or of others, comes between two of their reads.

use smartengine::{
    Engine, ErrorKind, Index, Isolation, LockMode, ReadSpec, Reader, Result, RowLocator, RowWait,
    SeekTo, Transaction, Write,
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
