//! The database's part of a commit: appending a group to the WAL and applying it to a memtable.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use crate::Result;
use crate::env::failpoint;
use crate::memtable::{InsertHint, MemTable};
use crate::txn::batch::Batch;
use crate::txn::commit::GroupWriter;
use crate::txn::record::{OpWriter, PAYLOAD_VERSION, transaction_header};
use crate::types::{SeqNo, ValueKind};

/// A commit on its way to the log.
pub struct Request {
    /// The batch, encoded.
    pub ops: OpWriter,
    /// Counters and the values they must have at least.
    pub raises: Vec<(Box<[u8]>, u64)>,
}

/// What a commit gets back from the leader of its group.
pub struct Slot {
    /// Where it goes.
    pub mem: Arc<MemTable>,
    /// How far the log must be durable.
    pub wal_end: u64,
    /// The request's counters, with the values they take.
    pub counters: Vec<(Box<[u8]>, u64)>,
    /// The request's buffer, for reuse.
    pub ops: OpWriter,
}

impl GroupWriter for Core {
    type Request = Request;
    type Slot = Slot;

    fn write(&self, first: SeqNo, group: &mut [Request]) -> Result<Vec<Slot>> {
        let _guard = self.write_lock.lock();
        self.check_open()?;
        self.rotate_if_full();
        let counters: Vec<_> = group
            .iter_mut()
            .map(|request| self.resolve(&mut request.raises))
            .collect();
        let encoded: Vec<OpWriter> = counters
            .iter()
            .map(|raised| encode_counters(raised))
            .collect();
        let headers: Vec<_> = (first..)
            .zip(group.iter().zip(&encoded))
            .map(|(seq, (request, counters))| {
                let len = request.ops.as_bytes().len() + counters.as_bytes().len();
                transaction_header(seq, len as u64)
            })
            .collect();
        let mut pieces: Vec<&[u8]> = Vec::with_capacity(1 + 3 * group.len());
        pieces.push(&[PAYLOAD_VERSION]);
        for ((header, request), counters) in headers.iter().zip(group.iter()).zip(&encoded) {
            pieces.push(header);
            pieces.push(request.ops.as_bytes());
            pieces.push(counters.as_bytes());
        }
        let range = self.wal.append(&pieces)?;
        failpoint::hit("commit.appended")?;
        let mem = self.state.load().mem.clone();
        let slots = group.iter_mut().zip(counters).map(|(request, counters)| {
            mem.begin_write(range.end);
            let ops = std::mem::take(&mut request.ops);
            Slot {
                mem: mem.clone(),
                wal_end: range.end,
                counters,
                ops,
            }
        });
        Ok(slots.collect())
    }
}

fn encode_counters(counters: &[(Box<[u8]>, u64)]) -> OpWriter {
    let mut ops = OpWriter::default();
    for (key, value) in counters {
        ops.push(ValueKind::Put, key, &value.to_be_bytes());
    }
    ops
}

impl Core {
    /// Starts a new memtable when the present one is full, or when the log that it and older ones hold is too long.
    fn rotate_if_full(&self) {
        let state = self.state.load();
        let full =
            state.mem.allocated() as u64 >= self.tunables.memtable_size.load(Ordering::Relaxed);
        let oldest = state.immutable.last().unwrap_or(&state.mem).wal_start();
        let long = state.immutable.is_empty()
            && self.wal.end().saturating_sub(oldest) >= self.options.total_wal_size / 2;
        if (full || long) && !state.mem.is_empty() {
            drop(state);
            self.rotate_locked();
        }
    }

    /// What each counter becomes: the greatest of what it is and what is asked.
    fn resolve(&self, raises: &mut Vec<(Box<[u8]>, u64)>) -> Vec<(Box<[u8]>, u64)> {
        let mut raised = std::mem::take(raises);
        if raised.is_empty() {
            return raised;
        }
        let mut counters = self.counters.lock();
        for (key, value) in &mut raised {
            match counters.get_mut(key) {
                Some(now) => {
                    *now = (*now).max(*value);
                    *value = *now;
                }
                None => {
                    counters.insert(key.clone(), *value);
                }
            }
        }
        raised
    }

    /// Writes a commit into its memtable.
    pub fn apply(&self, seq: SeqNo, slot: &Slot, batch: &Batch) {
        let mut hint = InsertHint::default();
        let (mut entries, mut bytes) = (0, 0);
        let mut insert = |key: &[u8], kind: ValueKind, value: &[u8]| {
            slot.mem.insert(key, seq, kind, value, &mut hint);
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
        };
        batch.for_each_newest(&mut insert);
        for (key, value) in &slot.counters {
            insert(key, ValueKind::Put, &value.to_be_bytes());
        }
        slot.mem.finish_write(entries, bytes);
    }
}
