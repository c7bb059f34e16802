//! A table with two secondary indexes, and what sessions do to its rows.

use crate::Result;
use crate::db::locking_read::RowLocator;
use crate::db::transaction::{Transaction, View};
use crate::txn::locks::LockMode::Exclusive;
use crate::types::Index;

pub const ROWS: Index = Index::from_id(4);
pub const BY_GROUP: Index = Index::from_id(5);
pub const BY_NAME: Index = Index::from_id(6);

/// A row: its number, by which it is kept; a group, of which there may be many; a name, which is unique; and a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub number: u8,
    pub group: u8,
    pub name: u8,
    pub count: u8,
}

pub const fn row(number: u8, group: u8, name: u8) -> Row {
    Row {
        number,
        group,
        name,
        count: 0,
    }
}

impl Row {
    pub fn key(&self) -> Vec<u8> {
        ROWS.key([self.number])
    }

    pub fn value(&self) -> [u8; 3] {
        [self.group, self.name, self.count]
    }

    pub fn of(key: &[u8], value: &[u8]) -> Self {
        let [group, name, count] = *value else {
            panic!("{value:?} is no row");
        };
        Self {
            number: ROWS.rest(key).unwrap()[0],
            group,
            name,
            count,
        }
    }

    /// Its entry in an index.
    pub fn entry(&self, index: Index) -> (Vec<u8>, Vec<u8>) {
        let mut value = Vec::new();
        match index {
            ROWS => (self.key(), self.value().to_vec()),
            BY_GROUP => {
                RowLocator::InKey(5).append_to(&mut value).unwrap();
                (BY_GROUP.key([self.group, self.number]), value)
            }
            _ => {
                let number = [self.number];
                RowLocator::InValue(&number).append_to(&mut value).unwrap();
                (BY_NAME.key([self.name]), value)
            }
        }
    }
}

pub fn add(txn: &mut Transaction, row: Row) -> Result<()> {
    txn.insert(&row.key(), &row.value())?;
    let (key, value) = row.entry(BY_NAME);
    txn.insert(&key, &value)?;
    let (key, value) = row.entry(BY_GROUP);
    txn.add(&key, &value)
}

/// Locks a row and reads it, without a reader.
pub fn take(txn: &mut Transaction, number: u8) -> Result<Option<Row>> {
    let key = ROWS.key([number]);
    txn.lock(&key, Exclusive)?;
    let value = txn.get(&key, View::Newest)?;
    Ok(value.map(|value| Row::of(&key, &value)))
}

pub fn remove(txn: &mut Transaction, number: u8) -> Result<Option<Row>> {
    let Some(row) = take(txn, number)? else {
        return Ok(None);
    };
    txn.delete(&row.key());
    txn.lock_delete(&row.entry(BY_NAME).0)?;
    txn.delete(&row.entry(BY_GROUP).0);
    Ok(Some(row))
}

/// Gives a row another group.
pub fn regroup(txn: &mut Transaction, number: u8, group: u8) -> Result<()> {
    let Some(old) = take(txn, number)? else {
        return Ok(());
    };
    let new = Row { group, ..old };
    txn.put(&new.key(), &new.value());
    txn.delete(&old.entry(BY_GROUP).0);
    let (key, value) = new.entry(BY_GROUP);
    txn.add(&key, &value)
}

/// Gives a row another number; its name stays.
pub fn renumber(txn: &mut Transaction, from: u8, to: u8) -> Result<()> {
    match remove(txn, from)? {
        Some(old) => add(txn, Row { number: to, ..old }),
        None => Ok(()),
    }
}
