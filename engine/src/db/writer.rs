//! The database's part of a commit: appending a group to the WAL and applying it to a memtable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::counters::{Counters, Raise, encode_value};
use super::health::Health;
use super::log::Log;
use super::tree::Tree;
use crate::env::failpoint;
use crate::memtable::{InsertHint, MemTable};
use crate::options::Options;
use crate::txn::batch::Batch;
use crate::txn::commit::GroupWriter;
use crate::txn::record::{self, OpWriter, PAYLOAD_VERSION};
use crate::types::{SeqNo, ValueKind};
use crate::{Error, ErrorKind, Result};

/// Pieces of the log in the store at which the memtable that needs them is closed: a writer that attaches reads them, some thousand per second.
const MAX_CHUNKS: u64 = 4096;

/// What a transaction wants written.
pub enum Action {
    /// Its writes, encoded, which take effect.
    Commit(OpWriter),
    /// Its writes, encoded, which take effect if `CommitPrepared` with the same id follows.
    Prepare {
        id: u64,
        name: Arc<[u8]>,
        ops: OpWriter,
    },
    /// Descriptions of the files with its writes, encoded, which take effect.
    CommitFiles(Vec<u8>),
    /// The same, which take effect if `CommitPrepared` with the same id follows.
    PrepareFiles {
        id: u64,
        name: Arc<[u8]>,
        files: Vec<u8>,
    },
    /// That a prepared transaction takes effect, and whether its writes are in files.
    CommitPrepared { id: u64, by_files: bool },
    /// That a prepared transaction does not.
    RollbackPrepared { id: u64 },
    /// That the coordinator knows of a prepared transaction.
    InCoordinator { id: u64 },
}

impl Action {
    /// Whether files become part of the database by it: they must come between what was written before and after.
    fn ingests(&self) -> bool {
        matches!(
            self,
            Self::CommitFiles(_) | Self::CommitPrepared { by_files: true, .. }
        )
    }
}

/// A transaction's entry on its way to the log.
pub struct Request {
    pub action: Action,
    /// Counters and the values they must have at least; they take effect whatever the action.
    pub raises: Vec<Raise>,
}

/// What a transaction gets back from the leader of its group.
pub struct Slot {
    /// Where it goes.
    pub mem: Arc<MemTable>,
    /// Up to where the log must be durable.
    pub wal_end: u64,
    /// The request's counters, with the values they take.
    pub counters: Vec<(Box<[u8]>, u64)>,
    /// The request's buffer, for reuse.
    pub ops: OpWriter,
    /// The commit's sequence number, if it is needed after the commit was applied.
    pub seq: SeqNo,
}

/// A group as one record: headers and small entries stand in `frames`, and `cuts` says where each transaction's ops and counters go
/// between them.
#[derive(Default)]
struct Record {
    frames: Vec<u8>,
    cuts: Vec<usize>,
}

impl Record {
    fn push(&mut self, seq: SeqNo, action: &Action, counters: &OpWriter) {
        let counters_len = counters.len();
        let frames = &mut self.frames;
        match action {
            Action::Commit(ops) => {
                let len = ops.len() + counters_len;
                record::put_commit(frames, seq, len);
                // The counters are the last of the commit's operations.
                self.cuts.push(frames.len());
                self.cuts.push(frames.len());
                return;
            }
            Action::Prepare { id, name, ops } => {
                record::put_prepare(frames, *id, name, ops.len());
            }
            Action::CommitFiles(files) => {
                record::put_commit_files(frames, seq, files, counters_len);
                self.cuts.push(frames.len());
                self.cuts.push(frames.len());
                return;
            }
            Action::PrepareFiles { id, name, files } => {
                record::put_prepare_files(frames, *id, name, files);
            }
            Action::CommitPrepared { id, .. } => record::put_commit_prepared(frames, seq, *id),
            Action::RollbackPrepared { id } => record::put_rollback_prepared(frames, *id),
            Action::InCoordinator { id } => record::put_in_coordinator(frames, *id),
        }
        self.cuts.push(frames.len());
        if counters_len > 0 {
            record::put_commit(frames, seq, counters_len);
        }
        self.cuts.push(frames.len());
    }

    fn pieces<'a>(&'a self, group: &'a [Request], counters: &'a [OpWriter]) -> Vec<&'a [u8]> {
        let mut pieces: Vec<&[u8]> = Vec::with_capacity(1 + 4 * group.len());
        let mut at = 0;
        for ((request, counters), cuts) in
            group.iter().zip(counters).zip(self.cuts.as_chunks::<2>().0)
        {
            let ops = match &request.action {
                Action::Commit(ops) | Action::Prepare { ops, .. } => Some(ops),
                _ => None,
            };
            pieces.push(&self.frames[at..cuts[0]]);
            pieces.extend(ops.into_iter().flat_map(OpWriter::pieces));
            pieces.push(&self.frames[cuts[0]..cuts[1]]);
            pieces.extend(counters.pieces());
            at = cuts[1];
        }
        pieces
    }
}

/// Appends groups to the log, and knows which memtable each goes to.
pub struct Writer {
    health: Arc<Health>,
    log: Arc<Log>,
    tree: Arc<Tree>,
    pub counters: Arc<Counters>,
    /// Prepared transactions that are not decided, by id, with the log position of their prepare. Changed under `lock`.
    undecided: Mutex<BTreeMap<u64, u64>>,
    /// Pieces of the log that were cut for the store when the present memtable began.
    chunks_before_memtable: AtomicU64,
    /// Bytes of log at which a memtable is closed.
    long_log: u64,
    /// One group at a time. It may be held while the local disk is waited for.
    lock: Mutex<()>,
}

impl Writer {
    /// `undecided` is what the log has of prepared transactions without a decision.
    pub fn new(
        health: Arc<Health>,
        log: Arc<Log>,
        tree: Arc<Tree>,
        options: &Options,
        undecided: BTreeMap<u64, u64>,
    ) -> Self {
        Self {
            health,
            log,
            tree,
            counters: Arc::default(),
            undecided: Mutex::new(undecided),
            chunks_before_memtable: AtomicU64::new(0),
            long_log: options.total_wal_size / 2,
            lock: Mutex::new(()),
        }
    }

    /// Makes the memtable immutable if the log holds anything that is newer than what is in files, and starts a new one.
    pub fn rotate(&self) {
        let _guard = self.lock.lock();
        self.rotate_locked();
    }

    /// The same; the caller holds the lock.
    ///
    /// An empty memtable counts too: where nothing but prepares and rollbacks is logged, only the flush of one moves the log's floor.
    fn rotate_locked(&self) {
        let (mem, end) = (self.tree.state().mem.clone(), self.log.end());
        if !mem.is_unused() || mem.wal_start() < end {
            self.begin_memtable(end);
        }
    }

    /// Has what is logged from `position` on go to a memtable that holds nothing older. The caller holds the lock.
    fn rotate_at(&self, position: u64) {
        if !self.tree.state().mem.is_unused() {
            self.begin_memtable(position);
        }
    }

    fn begin_memtable(&self, position: u64) {
        let chunks = self.log.cut_chunks();
        self.chunks_before_memtable.store(chunks, Ordering::Relaxed);
        self.tree.begin_memtable(position);
    }

    /// From where on the log is needed once the memtables up to `flushed` are in files: by younger ones, and by prepared transactions
    /// without a decision. And up to where the log has to be kept for that to be true; what comes later only raises the floor.
    pub fn wal_floor_without(&self, flushed: &MemTable) -> (u64, u64) {
        // A decision moves a prepare from the one to the other.
        let _guard = self.lock.lock();
        let state = self.tree.state();
        let undecided = self.undecided.lock().values().copied().min();
        let younger = state
            .memtables()
            .filter(|table| table.id() > flushed.id())
            .map(|table| table.wal_start());
        let floor = younger.chain(undecided).min();
        (floor.unwrap_or(flushed.wal_end()), self.log.end())
    }

    /// Lets no further group begin.
    pub fn close(&self) {
        let _guard = self.lock.lock();
        self.health.begin_to_close();
    }

    /// Starts a new memtable when the present one is full, or when the log that it and older ones hold is too long, or is in too many pieces.
    fn rotate_if_full(&self) {
        let state = self.tree.state();
        let size = self.tree.tuning.memtable_size.load(Ordering::Relaxed);
        let full = state.mem.allocated() as u64 >= size;
        let oldest = state.immutable.last().unwrap_or(&state.mem).wal_start();
        let long =
            state.immutable.is_empty() && self.log.end().saturating_sub(oldest) >= self.long_log;
        let before = self.chunks_before_memtable.load(Ordering::Relaxed);
        let pieces = state.immutable.is_empty()
            && self.log.cut_chunks().saturating_sub(before) >= MAX_CHUNKS;
        if (full && !state.mem.is_empty()) || long || pieces {
            drop(state);
            self.rotate_locked();
        }
    }

    /// Keeps the log from `position` on for as long as it may be needed: a prepare until it is decided, then the memtable it goes to.
    fn note_prepared(&self, action: &Action, position: u64, mem: &MemTable) -> Result<()> {
        match action {
            Action::Prepare { id, .. } | Action::PrepareFiles { id, .. } => {
                self.undecided.lock().insert(*id, position);
            }
            Action::CommitPrepared { id, .. } => {
                let mut undecided = self.undecided.lock();
                let position = undecided.remove(id).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Internal,
                        format!("prepared transaction {id} is not in the log"),
                    )
                })?;
                mem.keep_log_from(position);
            }
            Action::RollbackPrepared { id } => {
                self.undecided.lock().remove(id);
            }
            Action::Commit(_) | Action::CommitFiles(_) | Action::InCoordinator { .. } => {}
        }
        Ok(())
    }

    /// Writes what takes effect, `batch` if there is one and the counters, into the memtable.
    pub fn apply(&self, seq: SeqNo, slot: &Slot, batch: Option<&Batch>) {
        let mut hint = InsertHint::default();
        let (mut entries, mut bytes) = (0, 0);
        let mut insert = |key: &[u8], kind: ValueKind, value: &[u8]| {
            slot.mem.insert(key, seq, kind, value, &mut hint);
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
        };
        if let Some(batch) = batch {
            batch.for_each_in_memory(&mut insert);
        }
        for (key, value) in &slot.counters {
            insert(key, ValueKind::Put, &encode_value(*value));
        }
        slot.mem.finish_write(entries, bytes);
    }
}

impl GroupWriter for Writer {
    type Request = Request;
    type Slot = Slot;

    fn decides(request: &Request) -> bool {
        matches!(
            request.action,
            Action::CommitPrepared { .. }
                | Action::RollbackPrepared { .. }
                | Action::InCoordinator { .. }
        )
    }

    fn write(&self, first: SeqNo, group: &mut [Request]) -> Result<Vec<Slot>> {
        let _guard = self.lock.lock();
        self.health.check_open()?;
        self.rotate_if_full();
        let counters: Vec<_> = (first..)
            .zip(group.iter_mut())
            .map(|(seq, request)| self.counters.log(seq, std::mem::take(&mut request.raises)))
            .collect();
        let encoded: Vec<OpWriter> = counters
            .iter()
            .map(|raised| encode_counters(raised))
            .collect();
        let mut record = Record::default();
        record.frames.push(PAYLOAD_VERSION);
        for (seq, (request, counters)) in (first..).zip(group.iter().zip(&encoded)) {
            record.push(seq, &request.action, counters);
        }
        let range = self.log.append(&record.pieces(group, &encoded))?;
        failpoint::hit("commit.appended")?;
        let mut mem = self.tree.state().mem.clone();
        let mut slots = Vec::with_capacity(group.len());
        for (request, counters) in group.iter_mut().zip(counters) {
            if request.action.ingests() {
                // What is older goes to a memtable that is flushed before the files come, what is newer to one that is flushed after.
                self.rotate_at(range.start);
                mem = self.tree.state().mem.clone();
            }
            self.note_prepared(&request.action, range.start, &mem)?;
            mem.begin_write(range.end);
            let ops = match &mut request.action {
                Action::Commit(ops) | Action::Prepare { ops, .. } => std::mem::take(ops),
                _ => OpWriter::default(),
            };
            slots.push(Slot {
                mem: mem.clone(),
                wal_end: range.end,
                counters,
                ops,
                seq: 0,
            });
        }
        Ok(slots)
    }
}

fn encode_counters(counters: &[(Box<[u8]>, u64)]) -> OpWriter {
    let mut ops = OpWriter::default();
    for (key, value) in counters {
        ops.push(ValueKind::Put, key, &encode_value(*value));
    }
    ops
}
