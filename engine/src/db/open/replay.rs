//! Replaying the log: its records become memtables, prepared transactions without a decision, and commits by files that are to be finished.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::db::detached::Undecided;
use crate::db::ingest::Files;
use crate::manifest::{FileMeta, Version, decode_files};
use crate::memtable::{InsertHint, MemTable};
use crate::txn::record::{Entry, decode_ops, decode_payload};
use crate::types::SeqNo;
use crate::{Error, Result, ResultExt};

/// What replaying the log gave.
pub struct Replayed {
    /// Oldest first; the last one takes new writes.
    pub memtables: Vec<Arc<MemTable>>,
    /// Commits up to this one are in files.
    flushed_seq: SeqNo,
    /// Commits by files up to this one are in the version.
    ingested_seq: SeqNo,
    pub last_seq: SeqNo,
    max_size: u64,
    /// Prepared and, as far as the log was read, not decided.
    pub undecided: BTreeMap<u64, Undecided>,
    pub last_prepared: u64,
    /// Committed by files that are not in the version, in order.
    pub ingests: Vec<Ingest>,
}

/// A commit by files that is to be finished.
pub struct Ingest {
    pub seq: SeqNo,
    pub files: Files,
    /// What is older than this memtable is older than the files. It counts the commit among its writers, so it is not flushed before.
    pub younger: Arc<MemTable>,
}

impl Replayed {
    /// Nothing read yet; `version` says what is in files, `max_size` is a memtable's.
    pub fn new(version: &Version, max_size: u64) -> Self {
        Self {
            memtables: Vec::new(),
            flushed_seq: version.last_seq,
            ingested_seq: version.last_ingest_seq,
            last_seq: version.greatest_seq(),
            max_size,
            undecided: BTreeMap::new(),
            last_prepared: 0,
            ingests: Vec::new(),
        }
    }

    /// The memtable for what stands at `position`.
    fn memtable(&mut self, position: u64) -> Arc<MemTable> {
        match self.memtables.last() {
            Some(table) if (table.allocated() as u64) < self.max_size => table.clone(),
            _ => self.next_memtable(position),
        }
    }

    fn next_memtable(&mut self, position: u64) -> Arc<MemTable> {
        let id = self.memtables.len() as u64 + 1;
        let table = Arc::new(MemTable::new(id, position, self.max_size));
        self.memtables.push(table.clone());
        table
    }

    /// Takes a record of the log.
    pub fn record(&mut self, position: u64, payload: &[u8]) -> Result<()> {
        // Also where nothing is written: the log is kept for it.
        self.memtable(position).keep_log_from(position);
        decode_payload(payload, &mut |entry| self.entry(position, entry))
            .context(|| format!("replay the log at {position}"))
    }

    fn entry(&mut self, position: u64, entry: Entry<'_>) -> Result<()> {
        match entry {
            Entry::Commit { seq, ops } => self.commit(position, seq, ops),
            Entry::CommitFiles { seq, files, ops } => {
                self.ingest(position, seq, decode_files(files)?)?;
                self.commit(position, seq, ops)
            }
            Entry::CommitPrepared { seq, id } => {
                let Some(undecided) = self.committed(seq, id)? else {
                    return Ok(());
                };
                if let Some(files) = undecided.files {
                    self.ingest(position, seq, files)?;
                } else {
                    self.commit(position, seq, &undecided.ops)?;
                }
                self.memtable(position).keep_log_from(undecided.position);
                Ok(())
            }
            Entry::Prepare { id, name, ops } => {
                self.prepared(position, id, name, ops, None);
                Ok(())
            }
            Entry::PrepareFiles { id, name, files } => {
                self.prepared(position, id, name, &[], Some(decode_files(files)?));
                Ok(())
            }
            Entry::RollbackPrepared { id } => {
                self.last_prepared = self.last_prepared.max(id);
                // The log may begin after the prepare, which nothing needed any more.
                self.undecided.remove(&id);
                Ok(())
            }
            Entry::InCoordinator { id } => {
                self.last_prepared = self.last_prepared.max(id);
                if let Some(undecided) = self.undecided.get_mut(&id) {
                    undecided.in_coordinator = true;
                }
                Ok(())
            }
        }
    }

    /// Writes a commit to a memtable, unless it is in files: it would hide what is newer there.
    fn commit(&mut self, position: u64, seq: SeqNo, ops: &[u8]) -> Result<()> {
        self.last_seq = self.last_seq.max(seq);
        if seq <= self.flushed_seq {
            return Ok(());
        }
        let table = self.memtable(position);
        let mut hint = InsertHint::default();
        let (mut entries, mut bytes) = (0, 0);
        table.begin_write(position);
        let decoded = decode_ops(ops, &mut |kind, key, value| {
            table.insert(key, seq, kind, value, &mut hint);
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
            Ok(())
        });
        table.finish_write(entries, bytes);
        decoded
    }

    /// Takes note of a commit by files, and begins a memtable for what is newer.
    fn ingest(&mut self, position: u64, seq: SeqNo, files: Vec<FileMeta>) -> Result<()> {
        self.last_seq = self.last_seq.max(seq);
        if seq <= self.ingested_seq {
            return Ok(());
        }
        let younger = self.next_memtable(position);
        younger.begin_write(position);
        self.ingests.push(Ingest {
            seq,
            files: Files {
                files,
                dropped: BTreeMap::new(),
            },
            younger,
        });
        Ok(())
    }

    fn prepared(
        &mut self,
        position: u64,
        id: u64,
        name: &[u8],
        ops: &[u8],
        files: Option<Vec<FileMeta>>,
    ) {
        self.last_prepared = self.last_prepared.max(id);
        let undecided = Undecided {
            name: name.into(),
            position,
            ops: ops.to_vec(),
            files,
            in_coordinator: false,
        };
        self.undecided.insert(id, undecided);
    }

    /// The files that undecided prepares name.
    pub fn kept_files(&self) -> HashSet<u64> {
        let files = self.undecided.values().filter_map(|one| one.files.as_ref());
        files.flatten().map(|file| file.id).collect()
    }

    /// The writes of a prepared transaction that commits; `None` if they are in files, and the log begins after the prepare.
    fn committed(&mut self, seq: SeqNo, id: u64) -> Result<Option<Undecided>> {
        self.last_prepared = self.last_prepared.max(id);
        let undecided = self.undecided.remove(&id);
        if undecided.is_none() && seq > self.flushed_seq.max(self.ingested_seq) {
            return Err(Error::corruption(format!(
                "transaction {id} is committed, but the log does not have it prepared"
            )));
        }
        Ok(undecided)
    }
}
