//! Commit in two phases.
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

use std::sync::Arc;

use super::Transaction;
use super::stage::{Prepared, Stage};
use crate::db::writer::{Action, Request};
use crate::env::failpoint;
use crate::manifest::encode_files;
use crate::txn::record::MAX_NAME_LEN;
use crate::{Error, Result};

impl Transaction {
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
        self.core.health.check_open()?;
        self.check_counters()?;
        self.core.throttle()?;
        let id = self.core.transactions.next_prepared();
        let name: Arc<[u8]> = name.into();
        let files = match self.batch.is_spilled() {
            true => Some(self.core.ingester.write_files(&self.batch)?),
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
        let done = core.transactions.pipeline.log(
            &core.transactions.writer,
            request,
            |seq, slot| {
                logged = true;
                *log_end = slot.wal_end;
                *buffer = std::mem::take(&mut slot.ops);
                // They are in the log: not a third time in memory while they go to the memtable.
                buffer.clear();
                core.transactions.writer.apply(seq, slot, None);
                Ok(())
            },
            |slot| core.log.sync_if(sync, slot.wal_end),
        );
        if let (Err(error), Some(files)) = (&done, &files) {
            core.ingester.discard_unless_logged(files, logged, error);
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

    pub(in crate::db) fn prepared(&self) -> Result<&Prepared> {
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
        core.transactions.pipeline.log(
            &core.transactions.writer,
            request,
            |seq, slot| {
                *log_end = slot.wal_end;
                core.transactions.writer.apply(seq, slot, None);
                Ok(())
            },
            |slot| core.log.sync_if(sync, slot.wal_end),
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
        core.transactions.pipeline.commit(
            &core.transactions.writer,
            request,
            |seq, slot| {
                slot.seq = seq;
                *log_end = slot.wal_end;
                if files.is_none() {
                    core.transactions.writer.apply(seq, slot, Some(batch));
                }
                Ok(())
            },
            |slot| match files {
                Some(files) => core.ingester.finish(slot, files),
                None => core.log.sync_if(sync, slot.wal_end),
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
        core.transactions.pipeline.commit(
            &core.transactions.writer,
            request,
            |seq, slot| {
                *log_end = slot.wal_end;
                core.transactions.writer.apply(seq, slot, None);
                Ok(())
            },
            |slot| core.log.sync_if(sync, slot.wal_end),
        )?;
        if let Some(files) = files {
            core.ingester.discard(&files.files);
        }
        Ok(())
    }
}
