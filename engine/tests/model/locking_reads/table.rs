//! Rows, and their entries in two indexes.

use std::collections::BTreeMap;
use std::sync::Arc;

use smartengine::{Index, RowLocator};

/// All that is committed, or seen, by whole keys.
pub type Rows = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// Numbers, groups and names are below this.
pub const SIZE: u8 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Rows,
    Groups,
    Names,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub number: u8,
    pub group: u8,
    pub name: u8,
}

#[derive(Clone, Copy)]
pub struct Table {
    pub rows: Index,
    pub groups: Index,
    pub names: Index,
}

impl Table {
    pub fn index(&self, of: Of) -> Index {
        match of {
            Of::Rows => self.rows,
            Of::Groups => self.groups,
            Of::Names => self.names,
        }
    }

    pub fn entry(&self, of: Of, row: Row) -> (Vec<u8>, Vec<u8>) {
        let Row {
            number,
            group,
            name,
        } = row;
        let mut locator = Vec::new();
        match of {
            Of::Rows => (self.rows.key([number]), vec![group, name]),
            Of::Groups => {
                RowLocator::InKey(5).append_to(&mut locator).unwrap();
                (self.groups.key([group, number]), locator)
            }
            Of::Names => {
                let key = [number];
                RowLocator::InValue(&key).append_to(&mut locator).unwrap();
                locator.push(group);
                (self.names.key([name]), locator)
            }
        }
    }

    pub fn row(&self, key: &[u8], value: &[u8]) -> Row {
        Row {
            number: self.rows.rest(key).unwrap()[0],
            group: value[0],
            name: value[1],
        }
    }

    /// The key of the row that an entry stands for; of a row its own.
    pub fn row_key(&self, key: &[u8], value: &[u8]) -> Vec<u8> {
        if let Some(rest) = self.groups.rest(key) {
            return self.rows.key([rest[1]]);
        }
        match self.names.rest(key) {
            Some(_) => self.rows.key([value[3]]),
            None => key.to_vec(),
        }
    }

    /// Every key that there may be.
    pub fn domain(&self) -> Vec<Vec<u8>> {
        let one = |index: Index| (0..SIZE).map(move |byte| index.key([byte]));
        let groups = (0..SIZE * SIZE).map(|pair| self.groups.key([pair / SIZE, pair % SIZE]));
        one(self.rows)
            .chain(groups)
            .chain(one(self.names))
            .collect()
    }
}
