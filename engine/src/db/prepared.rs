//! Commit in two phases: prepared transactions, in a session and after a crash.
//!
//! `prepare` writes the whole batch to the log; nothing shows yet and every lock stays. The decision, commit or rollback, is a few bytes more.
//! What a crash leaves, by where it comes:
//!
//! - before the prepare is durable: nothing of the transaction;
//! - after that, before the decision is durable: the next open finds it prepared, locks its keys again, and waits for the
//!   decision ([`crate::Engine::prepared`]);
//! - after that: committed or rolled back, as decided.
//!
//! The log is kept from the oldest undecided prepare on. One that was decided is needed until the memtable that took its writes is in files.
//!
//! Prepares that are rolled back leave nothing in a memtable, which would never be full. So when the log since it began is long it is closed and flushed
//! empty: no file comes of it, and the edit moves the floor past them, once the log up to then, with the rollbacks, is durable. A crash before the edit
//! leaves them in the log, to be read once more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::ingest::Files;
use super::state::LiveFile;
use super::transaction::{Isolation, Stage, Transaction};
use super::write::{Action, Request};
use crate::env::failpoint;
use crate::iter::InternalIterator;
use crate::manifest::{FileMeta, encode_files};
use crate::sst::IterOptions;
use crate::txn::batch::Batch;
use crate::txn::locks::{LockMode, LockWait};
use crate::txn::record::{MAX_NAME_LEN, decode_ops};
use crate::types::decode_internal;
use crate::types::{IndexId, ValueKind, index_id_of};
use crate::{Error, Result, ResultExt};

/// A prepared transaction that no session holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTransaction {
    /// What it was prepared under.
    pub name: Arc<[u8]>,
    /// Whether [`Transaction::note_in_coordinator`] was called for it.
    pub in_coordinator: bool,
    /// The indexes that it writes to, ascending.
    pub indexes: Vec<IndexId>,
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

fn indexes_of(batch: &Batch) -> Vec<IndexId> {
    let mut indexes = batch.spilled_indexes();
    batch.for_each_in_memory(|key, _, _| indexes.extend(index_id_of(key)));
    indexes.into_iter().collect()
}

/// What is known of a transaction that is prepared.
#[derive(Debug)]
pub struct Prepared {
    pub id: u64,
    pub name: Arc<[u8]>,
    pub in_coordinator: bool,
    /// Where its writes are, if not in the log.
    pub files: Option<Files>,
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
            let live = LiveFile::new(Arc::new(file.clone()), core.files.clone());
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
        let (locks, mode) = (&self.core.locks, LockMode::Exclusive);
        locks.acquire(&mut self.locks, key, mode, LockWait::NoWait)?;
        let batch = &self.batch;
        locks.will_write(&mut self.locks, key, || batch.view().clone());
        match kind {
            ValueKind::Put => self.batch.put(key, value),
            ValueKind::Delete => self.batch.delete(key),
        }
        Ok(())
    }

    /// First phase of a commit in two phases: its writes go to the log under `name`, locks stay, and from now on only a commit or a rollback
    /// decides about it, if need be after a crash or in another session ([`crate::Engine::take_prepared`]).
    ///
    /// Without `sync` the prepare is durable only after the next sync of the log ([`crate::Engine::sync_wal`]).
    /// Fails with [`crate::ErrorKind::Invalid`] for a name of over 255 bytes.
    pub fn prepare(&mut self, name: &[u8], sync: bool) -> Result<()> {
        self.check_running()?;
        if name.len() > MAX_NAME_LEN {
            return Err(Error::invalid(format!(
                "a name of {} bytes was given for a prepared transaction, at most {MAX_NAME_LEN} are allowed",
                name.len()
            )));
        }
        self.core.check_open()?;
        self.check_counters()?;
        self.core.throttle()?;
        let id = self.core.ids.next_prepared.fetch_add(1, Ordering::Relaxed);
        let name: Arc<[u8]> = name.into();
        let files = match self.batch.is_spilled() {
            true => Some(self.core.write_files(&self.batch)?),
            false => None,
        };
        let action = match &files {
            Some(files) => Action::PrepareFiles {
                id,
                name: name.clone(),
                files: encode_files(&files.files),
            },
            None => Action::Prepare {
                id,
                name: name.clone(),
                ops: self.encode(),
            },
        };
        let request = Request {
            action,
            raises: std::mem::take(&mut self.raises),
        };
        let (core, buffer) = (&self.core, &mut self.ops);
        let log_end = &mut self.log_end;
        let mut logged = false;
        let done = core.pipeline.log(
            &**core,
            request,
            |seq, slot| {
                logged = true;
                *log_end = slot.wal_end;
                *buffer = std::mem::take(&mut slot.ops);
                // They are in the log: not a third time in memory while they go to the memtable.
                buffer.clear();
                core.apply(seq, slot, None);
                Ok(())
            },
            |slot| core.sync_slot(slot, sync),
        );
        if let (Err(error), Some(files)) = (&done, &files) {
            core.discard_unless_logged(files, logged, error);
        }
        done?;
        self.snapshot = None;
        self.stage = Stage::Prepared(Prepared {
            id,
            name,
            in_coordinator: false,
            files,
        });
        // From here on its end has to be logged, whatever else fails.
        failpoint::hit("prepare.logged")
    }

    pub(super) fn prepared(&self) -> Result<&Prepared> {
        match &self.stage {
            Stage::Prepared(prepared) => Ok(prepared),
            _ => Err(Error::invalid("the transaction is not prepared")),
        }
    }

    /// Whether it is prepared and waits for the decision.
    pub fn is_prepared(&self) -> bool {
        self.prepared().is_ok()
    }

    /// Puts on record that the coordinator knows of this prepared transaction: recovery reports it so.
    pub fn note_in_coordinator(&mut self, sync: bool) -> Result<()> {
        let id = self.prepared()?.id;
        let request = Request {
            action: Action::InCoordinator { id },
            raises: Vec::new(),
        };
        let core = &self.core;
        let log_end = &mut self.log_end;
        core.pipeline.log(
            &**core,
            request,
            |seq, slot| {
                *log_end = slot.wal_end;
                core.apply(seq, slot, None);
                Ok(())
            },
            |slot| core.sync_slot(slot, sync),
        )?;
        if let Stage::Prepared(prepared) = &mut self.stage {
            prepared.in_coordinator = true;
        }
        Ok(())
    }

    /// Logs that it commits, and shows it.
    pub(super) fn commit_prepared(&mut self, sync: bool) -> Result<()> {
        let raises = std::mem::take(&mut self.raises);
        let Stage::Prepared(Prepared { id, files, .. }) = &self.stage else {
            return self.prepared().map(drop);
        };
        let request = Request {
            action: Action::CommitPrepared {
                id: *id,
                by_files: files.is_some(),
            },
            raises,
        };
        let (core, batch) = (&self.core, &self.batch);
        let log_end = &mut self.log_end;
        core.pipeline.commit(
            &**core,
            request,
            |seq, slot| {
                slot.seq = seq;
                *log_end = slot.wal_end;
                if files.is_none() {
                    core.apply(seq, slot, Some(batch));
                }
                Ok(())
            },
            |slot| match files {
                Some(files) => core.finish_ingest(slot, files),
                None => core.sync_slot(slot, sync),
            },
        )?;
        Ok(())
    }

    /// Logs that it is undone.
    pub(super) fn rollback_prepared(&mut self, sync: bool) -> Result<()> {
        let raises = std::mem::take(&mut self.raises);
        let Stage::Prepared(Prepared { id, files, .. }) = &self.stage else {
            return self.prepared().map(drop);
        };
        let request = Request {
            action: Action::RollbackPrepared { id: *id },
            raises,
        };
        // As long as the decision is not durable, the files may be asked for.
        let sync = sync || files.is_some();
        let core = &self.core;
        let log_end = &mut self.log_end;
        core.pipeline.commit(
            &**core,
            request,
            |seq, slot| {
                *log_end = slot.wal_end;
                core.apply(seq, slot, None);
                Ok(())
            },
            |slot| core.sync_slot(slot, sync),
        )?;
        if let Some(files) = files {
            core.discard(&files.files);
        }
        Ok(())
    }
}
