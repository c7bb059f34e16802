//! Taking over a store that keeps the log as well: reading its chunks and the local log in one order, and keeping everybody else from writing.
//!
//! In order: read the chunks from the manifest's first one on; put the local log aside if it was superseded; note in it who is attaching; write the manifest edit
//! with the next epoch; fence the chunks, and read what came to them meanwhile; read the local log from where the chunks end, if it is the last writer's;
//! begin it anew where it has less than the chunks; note that it is this writer's. Everything up to the manifest edit changes nothing that counts;
//! a crash after any step leaves what the next attach does again (`owners.rs`, `remote_wal`).
//!
//! A log that was superseded is never replayed: what it has beyond the store was not acknowledged as being there, and another writer has gone on without
//! it. It is moved to a folder beside it, and a warning says how many transactions it holds.

use std::path::PathBuf;
use std::sync::Arc;

use super::local_log;
use super::owners::{self, Owners, WriterId};
use super::replay::Replayed;
use crate::env::failpoint;
use crate::manifest::{Manifest, Version, VersionEdit};
use crate::object_store::ObjectStore;
use crate::options::Options;
use crate::remote_wal::{ChunkReader, RemoteWal, UploadOptions};
use crate::txn::record::{Entry, decode_payload};
use crate::wal::{self, Wal};
use crate::{Error, ErrorKind, Result, ResultExt};

/// What a writer has once it is attached.
pub struct Attachment {
    pub wal: Wal,
    pub remote: RemoteWal,
}

/// Whether the last writer kept its log in the store.
pub fn has_log(version: &Version) -> bool {
    version.writer_id != 0
}

/// Takes the number of an earlier attach from here, of the same epoch, that may still be on its way to the manifest: if it arrives there, it is
/// this one's, and the local log counts.
pub fn resume(options: &Options, manifest: &mut Manifest, epoch: u64) -> Result<()> {
    let begun = owners::read(&*options.fs, &options.wal_dir())?.attaching;
    if begun.epoch == epoch {
        manifest.resume(begun.number);
    }
    Ok(())
}

/// Attaches by `edit`, which has the next epoch, and reads the log.
pub fn attach(
    options: &Options,
    store: &Arc<dyn ObjectStore>,
    manifest: &mut Manifest,
    edit: &VersionEdit,
    replayed: &mut Replayed,
) -> Result<Attachment> {
    let (fs, dir) = (&*options.fs, options.wal_dir());
    let before = manifest.current();
    let last = WriterId {
        epoch: before.epoch,
        number: before.writer_id,
    };
    let me = WriterId {
        epoch: before.epoch + 1,
        number: manifest.nonce(),
    };
    let owners = owners::read(fs, &dir)?;
    // If the last writer kept its log here alone, the log is here: that was checked before.
    let ours = owners.include(last) || !has_log(&before);
    let mut apply = |position: u64, payload: &[u8]| replayed.record(position, payload);
    let mut chunks = ChunkReader::new(store.clone(), before.first_chunk, before.wal_floor);
    if options.manual {
        chunks = chunks.without_threads();
    }
    chunks.read_on(&mut apply)?;
    failpoint::hit("open.replayed")?;
    if !ours {
        put_aside(options, &owners, &before, &chunks)?;
    }
    let attaching = Owners {
        writer: if ours { last } else { WriterId::default() },
        attaching: me,
    };
    owners::write(fs, &dir, &attaching)?;
    manifest.commit(edit).context(|| "write manifest")?;
    failpoint::hit("open.attached")?;
    // What a busy writer has added meanwhile: it is about to find out. Or else a later writer is there already.
    chunks.has_epoch(me.epoch);
    chunks.read_on(&mut apply)?;
    let taken = chunks.fence(me.epoch, me.number, &mut apply)?;
    failpoint::hit("open.fenced")?;
    let wal = open_log(options, &before, taken.end, &mut apply)?;
    owners::write(
        fs,
        &dir,
        &Owners {
            writer: me,
            attaching: WriterId::default(),
        },
    )?;
    let remote = RemoteWal::new(
        store.clone(),
        options.clock.clone(),
        me.epoch,
        me.number,
        taken,
        UploadOptions {
            interval: options.wal_upload_interval,
            size: options.wal_upload_size,
            inline: options.manual,
        },
    );
    Ok(Attachment { wal, remote })
}

/// Opens the local log, which is ours or empty, and reads what it has beyond `end`, where the chunks end.
fn open_log(
    options: &Options,
    before: &Version,
    end: u64,
    apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<Wal> {
    let (fs, dir) = (&*options.fs, options.wal_dir());
    let floor = match wal::first_position(fs, &dir)? {
        None => return local_log::open(options, end, apply),
        Some(first) if first > end => {
            return Err(Error::corruption(format!(
                "the log in {} begins at position {first}, the store's ends at {end}: what was in between is missing",
                dir.display()
            )));
        }
        // It may have begun at the end of another log.
        Some(first) => first.max(before.wal_floor),
    };
    let wal = local_log::open(
        options,
        floor,
        &mut |position, payload| match position >= end {
            true => apply(position, payload),
            false => Ok(()),
        },
    )?;
    if wal.end() >= end {
        return Ok(wal);
    }
    // All that it has is in the store, and more: it goes on from there.
    drop(wal);
    wal::remove(fs, &dir)?;
    failpoint::hit("open.log_removed")?;
    local_log::open(options, end, apply)
}

/// Moves a superseded log to a folder beside it, and logs what it holds.
fn put_aside(
    options: &Options,
    owners: &Owners,
    now: &Version,
    chunks: &ChunkReader,
) -> Result<()> {
    let (fs, dir) = (&*options.fs, options.wal_dir());
    if wal::first_position(fs, &dir)?.is_none() {
        return Ok(());
    }
    let epoch = owners.writer.epoch.max(owners.attaching.epoch);
    let aside: PathBuf = dir.join(format!("superseded-epoch-{epoch}"));
    let counted = chunks
        .end_of(epoch)
        .and_then(|end| count_from(options, end));
    let held = match counted {
        Ok(0) => "it holds nothing that the store has not".to_owned(),
        Ok(1) => "it holds 1 transaction that did not reach the store".to_owned(),
        Ok(count) => format!("it holds {count} transactions that did not reach the store"),
        Err(error) => format!("how much of it did not reach the store is not known ({error})"),
    };
    wal::set_aside(fs, &dir, &aside)
        .context(|| format!("move a superseded log to {}", aside.display()))?;
    failpoint::hit("open.put_aside")?;
    tracing::warn!(
        "the log in {} is of epoch {epoch}, and epoch {} ({}) has written since: it is not replayed; {held}; it was moved to {}",
        dir.display(),
        now.epoch,
        now.writer,
        aside.display()
    );
    Ok(())
}

/// How many transactions the local log has from a position on.
fn count_from(options: &Options, from: u64) -> Result<u64> {
    let (fs, dir) = (&*options.fs, options.wal_dir());
    let mut count = 0;
    let mut sound = Ok(());
    wal::peek(fs, &dir, from, &mut |payload| {
        let counted = decode_payload(payload, &mut |entry| {
            count += u64::from(matches!(
                entry,
                Entry::Commit { .. } | Entry::CommitFiles { .. } | Entry::CommitPrepared { .. }
            ));
            Ok(())
        });
        if sound.is_ok() {
            sound = counted;
        }
    })?;
    sound.map(|()| count)
}

/// Refuses a store whose log is not only here, when the log is to be kept here alone.
pub fn refuse_remote_log(version: &Version) -> Result<()> {
    if !has_log(version) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        "the store keeps the log as well as the files; opened without it, commits that are there alone would be missing: open it with \
         `remote_wal`",
    ))
}
