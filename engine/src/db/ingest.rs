//! Commit by files: how a transaction that was spilled becomes part of the database.
//!
//! In order:
//!
//! 1. The newest live version of every key, merged from the batch's list and runs, is written to SSTs in the store, where it is durable. The
//!    entries have no sequence number yet, so nobody has to wait for this.
//! 2. What is in memtables is flushed, so that little is left of that in step 4, where others wait.
//! 3. The commit takes its place in the pipeline: with its sequence number a record goes to the log that describes the files, and a new memtable
//!    begins, which takes the commit's counters and all that comes after it. The record is synced, always.
//! 4. The older memtables are flushed, since levels are ordered by age: what is older than the files has to lie below them. The younger memtable
//!    counts the commit among its writers until step 5 is done, so it cannot be flushed before.
//! 5. One manifest edit adds the files, each with the commit's number for all its entries, at the lowest level above which nothing has keys in its
//!    range: those of a new table go straight to the bottom. The edit says that all commits by files up to this one are in.
//! 6. The commit is published in its turn.
//!
//! A crash
//! - before the record is durable leaves files that nobody names; the next open removes them, and nothing of the transaction is left;
//! - after that, before the edit, leaves the record: the next open does steps 4 and 5 again, from memtables that it replays. The log is kept
//!   from the record on, since the younger memtable begins with it and is not flushed before the edit;
//! - after the edit leaves both; replay sees by the number in the edit that the files are in, and does not read commits that are
//!   older than them into memtables, where they would hide what is newer: the edit says that those are in files as well.
//!
//! An error in steps 1 and 2 fails this commit alone, and the files are removed. One in step 3 leaves open whether the record is there: the files
//! stay, and the pipeline stops, as for any commit. So it does where steps 4 and 5 fail for good; the next open finishes them. While the store
//! is only away, step 4 tries again, and the commits behind wait.
//!
//! A prepare by files does steps 1 and 2 and logs the description; its commit does the rest. An open keeps the files of a
//! prepare that is not decided; a rollback removes them once it is logged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::compactor::{Compactor, OutputRange};
use super::flusher::Flusher;
use super::health::Health;
use super::log::Log;
use super::tree::Tree;
use super::tree::state::{LiveFile, Obsolete, State};
use super::writer::{Slot, Writer};
use crate::compaction::BOTTOM;
use crate::env::failpoint;
use crate::iter::InternalIterator;
use crate::manifest::{FileMeta, LEVELS, VersionEdit};
use crate::output::Output;
use crate::sst::{IterOptions, UNNUMBERED};
use crate::txn::batch::Batch;
use crate::types::{IndexId, InternalKeyBuf, KeyRef, SeqNo, decode_internal, encode_trailer};
use crate::{Error, ErrorKind, Result, ResultExt};

/// Bytes that are read ahead of all runs together while they are merged.
const READAHEAD: usize = 4 << 20;

/// Bytes in memtables from which it is worth flushing them before others have to wait for that.
const WORTH_FLUSHING: u64 = 256 << 10;

/// Files with a transaction's writes, durable and named by nobody yet.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// In key order.
    pub files: Vec<FileMeta>,
    /// The dropped indexes of which they hold nothing, as the version had them when they were written.
    pub dropped: BTreeMap<IndexId, u64>,
}

/// See the module's description.
pub struct Ingester {
    health: Arc<Health>,
    log: Arc<Log>,
    tree: Arc<Tree>,
    writer: Arc<Writer>,
    flusher: Arc<Flusher>,
    compactor: Arc<Compactor>,
    pub ingested_files: AtomicU64,
    pub ingested_bytes: AtomicU64,
}

impl Ingester {
    pub fn new(
        health: Arc<Health>,
        log: Arc<Log>,
        tree: Arc<Tree>,
        writer: Arc<Writer>,
        flusher: Arc<Flusher>,
        compactor: Arc<Compactor>,
    ) -> Self {
        Self {
            health,
            log,
            tree,
            writer,
            flusher,
            compactor,
            ingested_files: AtomicU64::new(0),
            ingested_bytes: AtomicU64::new(0),
        }
    }

    /// Steps 1 and 2: writes a batch to files.
    pub fn write_files(&self, batch: &Batch) -> Result<Files> {
        self.health.check_writes()?;
        let state = self.tree.kept_state();
        let version = &state.files.version;
        let mut output = Output::new(self.tree.output_spec(likely_level(&state, batch)));
        let written = copy_newest(batch, &mut output)
            .and_then(|()| output.close_file())
            .and_then(|()| failpoint::hit("ingest.written"))
            .and_then(|()| match state.memtable_bytes() >= WORTH_FLUSHING {
                true => self.flusher.flush(),
                false => Ok(()),
            });
        let files = output.into_files();
        if let Err(error) = written {
            self.discard(&files);
            return Err(error.context("write the transaction to files"));
        }
        Ok(Files {
            files,
            dropped: version.dropped_indexes.clone(),
        })
    }

    /// Removes files after their commit or prepare has failed, if it is sure that the log does not name them.
    pub fn discard_unless_logged(&self, files: &Files, logged: bool, error: &Error) {
        if !logged && error.kind() == ErrorKind::Interrupted {
            self.discard(&files.files);
        }
    }

    /// Removes files that no version names and none will.
    pub fn discard(&self, files: &[FileMeta]) {
        for file in files {
            self.tree.tell_obsolete(Obsolete::File(file.id));
        }
    }

    /// Steps 3 to 5, from the log record on: makes it durable, adds the files, and lets go of the memtable.
    pub fn finish(&self, slot: &Slot, files: &Files) -> Result<()> {
        self.log.sync(slot.wal_end)?;
        self.log.uploaded(slot.wal_end)?;
        failpoint::hit("ingest.logged")?;
        self.ingest(slot.seq, slot.mem.id(), files)?;
        self.writer.apply(slot.seq, slot, None);
        Ok(())
    }

    /// Steps 4 and 5 for the commit `seq`, whose younger memtables begin with `memtable`.
    pub fn ingest(&self, seq: SeqNo, memtable: u64, files: &Files) -> Result<()> {
        self.flusher
            .flush_older(memtable)
            .context(|| "flush what is older than the transaction's files")?;
        failpoint::hit("ingest.flushed")?;
        let mut manifest = self.tree.manifest();
        // No compaction is picked before the files are in, so none can want their place.
        let no_picking = self.compactor.hold_picking();
        let state = self.tree.kept_state();
        let numbered = files.files.iter().map(|file| file.clone().numbered(seq));
        let version = &state.files.version;
        let mut edit = VersionEdit {
            last_seq: Some(version.last_seq.max(seq - 1)),
            last_ingest_seq: Some(seq),
            added: numbered
                .map(|file| (level_for(&state, &no_picking.outputs, &file), file))
                .collect(),
            ..VersionEdit::default()
        };
        self.tree.note_drops(&mut edit, &files.dropped, version);
        failpoint::hit("ingest.before_install")?;
        self.tree.install(&mut manifest, edit, &[])?;
        drop((no_picking, manifest));
        failpoint::hit("ingest.installed")?;
        let bytes = files.files.iter().map(|file| file.size).sum();
        self.ingested_files
            .fetch_add(files.files.len() as u64, Ordering::Relaxed);
        self.ingested_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// Adds the newest live write of each key to `output`, without a sequence number.
fn copy_newest(batch: &Batch, output: &mut Output<'_>) -> Result<()> {
    let mut entries = batch.iter_once(READAHEAD);
    let mut last = InternalKeyBuf::default();
    entries.seek_to_first()?;
    while entries.valid() {
        let (key, kind) = decode_internal(entries.key())?;
        // Of several writes of one key the newest comes first.
        if last.as_bytes().is_empty() || last.user_key() != key.user {
            last.set(key.user, encode_trailer(UNNUMBERED, kind));
            output.add(last.as_bytes(), entries.value())?;
        }
        entries.next()?;
    }
    Ok(())
}

/// Where most of a batch will lie: for the choice of its files' compression.
fn likely_level(state: &State, batch: &Batch) -> usize {
    let version = &state.files.version;
    let indexes = batch.spilled_indexes();
    let free = |level: usize| {
        indexes.iter().all(|index| {
            let lower = index.to_be_bytes();
            let files = version.level(level).iter();
            let reaches = |key: &[u8]| key.get(..lower.len()).unwrap_or(key).cmp(&lower[..]);
            !files.into_iter().any(|file| {
                reaches(file.smallest.user_key()).is_le()
                    && reaches(file.largest.user_key()).is_ge()
            })
        })
    };
    let covered = (0..LEVELS).find(|&level| !free(level)).unwrap_or(LEVELS);
    covered.saturating_sub(1).min(BOTTOM)
}

/// The lowest level at which a file that is newer than all others may lie.
fn level_for(state: &State, outputs: &[OutputRange], file: &FileMeta) -> usize {
    let (smallest, largest) = (file.smallest.user_key(), file.largest.user_key());
    let mut best = 0;
    for level in 0..LEVELS {
        let beside: Vec<&Arc<LiveFile>> = state.files.levels[level]
            .iter()
            .filter(|other| {
                other.meta.smallest.user_key() <= largest
                    && smallest <= other.meta.largest.user_key()
            })
            .collect();
        let taken = outputs.iter().any(|output| output.meets(level, file));
        if taken {
            // From a level above it could be moved down into that output's range before the output is there.
            best = 0;
        } else if level > 0 && beside.is_empty() {
            best = level;
        }
        if beside
            .iter()
            .any(|other| has_keys_in(other, smallest, largest))
        {
            break;
        }
    }
    best
}

/// Whether a file, whose range of keys meets [smallest, largest], may hold a key of it.
fn has_keys_in(file: &LiveFile, smallest: &[u8], largest: &[u8]) -> bool {
    let inside = |key: &[u8]| smallest <= key && key <= largest;
    if inside(file.meta.smallest.user_key()) || inside(file.meta.largest.user_key()) {
        return true;
    }
    let look = || -> Result<bool> {
        let mut position = file.reader()?.iter(IterOptions::default());
        position.seek(KeyRef::before(smallest))?;
        Ok(position.valid() && KeyRef::decode(position.key()).user <= largest)
    };
    // What cannot be read now is taken for full.
    look().unwrap_or(true)
}
