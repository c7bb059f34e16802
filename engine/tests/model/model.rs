//! What the engine should do, done with ordered maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::op::{INDEXES, RowKey};

/// All rows, by encoded key.
pub type Rows = BTreeMap<Vec<u8>, Arc<[u8]>>;

pub type OwnWrite = (Vec<u8>, Option<Arc<[u8]>>);

#[derive(Clone, Default)]
pub struct ModelTxn {
    pub repeatable: bool,
    pub snapshot: Option<Rows>,
    /// In order; no value stands for a deletion.
    pub writes: Vec<OwnWrite>,
    pub savepoints: Vec<(usize, usize)>,
    pub raises: BTreeMap<u8, u64>,
    /// Key and whether exclusively.
    pub locks: BTreeMap<Vec<u8>, bool>,
    pub ended: bool,
}

impl ModelTxn {
    /// `base` with the transaction's own writes.
    pub fn over(&self, base: &Rows) -> Rows {
        let mut rows = base.clone();
        for (key, value) in &self.writes {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        rows
    }
}

pub struct Model {
    pub committed: Rows,
    pub counters: BTreeMap<u8, u64>,
    /// The index id of each place.
    pub indexes: [u32; INDEXES as usize],
    pub dropped: Vec<u32>,
}

impl Model {
    pub fn key(&self, (index, key): RowKey) -> Vec<u8> {
        let id = self.indexes[usize::from(index % INDEXES)];
        // Some keys are prefixes of others.
        let tail = [key / 8, 7, key % 8];
        let len = 1 + usize::from(key % 3);
        let mut encoded = id.to_be_bytes().to_vec();
        encoded.extend(&tail[..len]);
        encoded
    }

    /// What `txn` sees; takes its snapshot if it has none.
    pub fn view(&self, txn: &mut ModelTxn, newest: bool) -> Rows {
        let base = match newest {
            true => self.committed.clone(),
            false => txn
                .snapshot
                .get_or_insert_with(|| self.committed.clone())
                .clone(),
        };
        txn.over(&base)
    }

    pub fn commit(&mut self, txn: &ModelTxn) {
        self.committed = txn.over(&self.committed);
        self.raise(txn);
    }

    pub fn raise(&mut self, txn: &ModelTxn) {
        for (counter, value) in &txn.raises {
            let now = self.counters.entry(*counter).or_default();
            *now = (*now).max(*value);
        }
    }

    pub fn drop_index(&mut self, id: u32) {
        self.committed.retain(|key, _| key[..4] != id.to_be_bytes());
        self.dropped.push(id);
    }
}
