//! A locking read of an index, and what is known of the rows that it has shown.

use shuttle::thread;

use super::table::*;
use crate::Result;
use crate::db::locking_read::{Entry, ReadSpec, Reader, RowWait};
use crate::db::transaction::{Store, Transaction};
use crate::txn::locks::LockMode::Exclusive;
use crate::types::{Index, KeyRange};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Forward,
    Backward,
}

pub use Way::{Backward, Forward};

/// A locking read of all of an index but its last keys, in one direction.
#[derive(Clone, Copy)]
pub struct Scan {
    pub index: Index,
    pub way: Way,
    pub spec: ReadSpec,
}

pub const LOWEST: u8 = 1;
pub const END: u8 = 9;

impl Scan {
    pub fn new(index: Index, way: Way) -> Self {
        Self {
            index,
            way,
            spec: ReadSpec {
                lock: Some(Exclusive),
                wait: RowWait::Wait,
                row_index: (index != ROWS).then_some(ROWS),
            },
        }
    }

    pub fn range(&self) -> KeyRange {
        self.index.range([LOWEST]..[END])
    }

    pub fn open(&self, txn: &mut Transaction, reader: &mut Reader) -> Result<()> {
        reader.open(txn, &self.range(), self.spec)
    }

    pub fn step<'a>(
        &self,
        txn: &mut Transaction,
        reader: &'a mut Reader,
    ) -> Result<Option<Entry<'a>>> {
        match self.way {
            Forward => reader.next(txn),
            Backward => reader.prev(txn),
        }
    }

    /// The row of an entry, which has to be the row's own.
    pub fn row_of(&self, entry: &Entry<'_>) -> Row {
        let row = match self.spec.row_index {
            Some(_) => Row::of(entry.row_key, entry.row),
            None => Row::of(entry.key, entry.value),
        };
        let (key, value) = row.entry(self.index);
        assert_eq!((entry.key, entry.value), (&key[..], &value[..]));
        row
    }

    /// Every row, locked.
    pub fn read(&self, txn: &mut Transaction) -> Result<Vec<Row>> {
        let mut reader = Reader::new();
        self.open(txn, &mut reader)?;
        let mut rows = Vec::new();
        while let Some(entry) = self.step(txn, &mut reader)? {
            assert!(!entry.unlocked);
            rows.push(self.row_of(&entry));
            thread::yield_now();
        }
        Ok(rows)
    }

    /// All rows of the range that are committed, in the order of the scan.
    pub fn committed(&self, store: &Store) -> Vec<Row> {
        let entries = store.committed(&self.range());
        let mut rows: Vec<_> = store
            .committed(&ROWS.all())
            .iter()
            .map(|(key, (_, value))| Row::of(key, value))
            .filter(|row| entries.contains_key(&row.entry(self.index).0))
            .collect();
        rows.sort_by_key(|row| row.entry(self.index));
        if self.way == Backward {
            rows.reverse();
        }
        rows
    }
}

/// Rows that are locked are what is committed.
pub fn still_there(store: &Store, rows: &[Row]) {
    for row in rows {
        let (_, now) = store.newest(&row.key());
        let now = now.map(|value| Row::of(&row.key(), &value));
        assert_eq!(now, Some(*row), "a row that was locked has changed");
    }
}

pub fn distinct(rows: &[Row]) -> usize {
    let numbers: std::collections::BTreeSet<_> = rows.iter().map(|row| row.number).collect();
    numbers.len()
}
