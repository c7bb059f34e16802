//! Prepared transactions that no session holds: those that were detached, and those that an open has found without a decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::core::Core;
use super::ingest::Files;
use super::transaction::{Isolation, Prepared, Stage, Transaction};
use super::tree::state::LiveFile;
use crate::iter::InternalIterator;
use crate::manifest::FileMeta;
use crate::sst::IterOptions;
use crate::txn::batch::Batch;
use crate::txn::locks::{LockMode, LockWait};
use crate::txn::record::decode_ops;
use crate::types::{Index, IndexId, ValueKind, decode_internal, index_id_of};
use crate::{Error, Result, ResultExt};

/// A prepared transaction that no session holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTransaction {
    /// What it was prepared under.
    pub name: Arc<[u8]>,
    /// Whether [`Transaction::note_in_coordinator`] was called for it.
    pub in_coordinator: bool,
    /// The indexes that it writes to, ascending.
    pub indexes: Vec<Index>,
}

/// A prepare that replay has found without a decision.
pub struct Undecided {
    pub name: Arc<[u8]>,
    pub position: u64,
    pub ops: Vec<u8>,
    /// Descriptions of the files with its writes, if they are not in `ops`.
    pub files: Option<Vec<FileMeta>>,
    pub in_coordinator: bool,
}

/// Prepared transactions that no session holds, by name.
#[derive(Default)]
pub struct Detached {
    all: BTreeMap<Arc<[u8]>, Transaction>,
    recovered: LastKeys,
}

/// The greatest key that was set in each index.
#[derive(Default)]
struct LastKeys(BTreeMap<IndexId, Box<[u8]>>);

impl LastKeys {
    fn note(&mut self, key: &[u8]) {
        let Some(index) = index_id_of(key) else {
            return;
        };
        let last = self.0.entry(index).or_default();
        if **last < *key {
            *last = key.into();
        }
    }
}

impl Detached {
    /// Takes over what replay has found: batches, and locks on all their keys.
    pub fn recover(core: &Arc<Core>, found: BTreeMap<u64, Undecided>) -> Result<Self> {
        let mut detached = Self::default();
        for (id, undecided) in found {
            let name = undecided.name.clone();
            let last = &mut detached.recovered;
            let transaction = Transaction::recovered(core, id, undecided, last)
                .context(|| format!("recover prepared transaction {}", name.escape_ascii()))?;
            detached.add(transaction)?;
        }
        Ok(detached)
    }

    /// Keeps a prepared transaction until [`Detached::take`].
    pub fn add(&mut self, transaction: Transaction) -> Result<()> {
        let name = transaction.prepared()?.name.clone();
        if self.all.contains_key(&name) {
            return Err(Error::invalid(format!(
                "a transaction is prepared under the name {} already",
                name.escape_ascii()
            )));
        }
        self.all.insert(name, transaction);
        Ok(())
    }

    /// The greatest key of an index that was set by a transaction which the open found prepared, whatever was decided about it since.
    pub fn recovered_last_key(&self, index: IndexId) -> Option<&[u8]> {
        self.recovered.0.get(&index).map(|key| &**key)
    }

    /// The transaction of this name.
    pub fn take(&mut self, name: &[u8]) -> Option<Transaction> {
        self.all.remove(name)
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<PreparedTransaction> {
        self.all
            .values()
            .filter_map(|transaction| {
                let prepared = transaction.prepared().ok()?;
                Some(PreparedTransaction {
                    name: prepared.name.clone(),
                    in_coordinator: prepared.in_coordinator,
                    indexes: indexes_of(&transaction.batch),
                })
            })
            .collect()
    }
}

fn indexes_of(batch: &Batch) -> Vec<Index> {
    let mut indexes = batch.spilled_indexes();
    batch.for_each_in_memory(|key, _, _| indexes.extend(index_id_of(key)));
    indexes.into_iter().map(Index::from_id).collect()
}

impl Transaction {
    fn recovered(
        core: &Arc<Core>,
        id: u64,
        undecided: Undecided,
        last: &mut LastKeys,
    ) -> Result<Self> {
        let mut transaction = Self::new(core.clone(), Isolation::RepeatableRead);
        decode_ops(&undecided.ops, &mut |kind, key, value| {
            last.note(key);
            // What was prepared by the log is committed from memory, however little a transaction may take of it now.
            transaction.take_back(kind, key, value)
        })?;
        for file in undecided.files.iter().flatten() {
            let live = LiveFile::new(Arc::new(file.clone()), core.tree.files().clone());
            let mut entries = live.unnumbered_reader()?.iter(IterOptions::sequential());
            entries.seek_to_first()?;
            while entries.valid() {
                let (key, kind) = decode_internal(entries.key())?;
                last.note(key.user);
                transaction.take_back(kind, key.user, entries.value())?;
                transaction.batch.spill_if_full()?;
                entries.next()?;
            }
        }
        let files = undecided.files.map(|files| Files {
            files,
            dropped: BTreeMap::new(),
        });
        transaction.stage = Stage::Prepared(Prepared {
            id,
            name: undecided.name,
            in_coordinator: undecided.in_coordinator,
            files,
        });
        Ok(transaction)
    }

    /// Makes a write of a prepared transaction its own again. Which of the keys had a lock of their own is not known; nobody else can have written
    /// any of them.
    fn take_back(&mut self, kind: ValueKind, key: &[u8], value: &[u8]) -> Result<()> {
        let (locks, mode) = (&self.core.transactions.locks, LockMode::Exclusive);
        locks.acquire(&mut self.locks, key, mode, LockWait::NoWait)?;
        let batch = &self.batch;
        locks.will_write(&mut self.locks, key, || batch.view().clone());
        match kind {
            ValueKind::Put => self.batch.put(key, value),
            ValueKind::Delete => self.batch.delete(key),
        }
        Ok(())
    }
}
