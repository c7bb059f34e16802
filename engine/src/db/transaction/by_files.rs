//! The commit of a transaction that was spilled ([`crate::db::ingest`]).

use super::Transaction;
use crate::Result;
use crate::db::writer::{Action, Request};
use crate::manifest::encode_files;

impl Transaction {
    /// Commits a batch that was spilled.
    pub(super) fn commit_by_files(&mut self) -> Result<()> {
        let files = self.core.ingester.write_files(&self.batch)?;
        let request = Request {
            action: Action::CommitFiles(encode_files(&files.files)),
            raises: std::mem::take(&mut self.raises),
        };
        let core = &self.core;
        let log_end = &mut self.log_end;
        let mut logged = false;
        let done = core.transactions.pipeline.commit(
            &core.transactions.writer,
            request,
            |seq, slot| {
                logged = true;
                *log_end = slot.wal_end;
                slot.seq = seq;
                Ok(())
            },
            |slot| core.ingester.finish(slot, &files),
        );
        if let Err(error) = &done {
            core.ingester.discard_unless_logged(&files, logged, error);
        }
        done.map(|_| ())
    }
}
