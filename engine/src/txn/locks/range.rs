//! Requests about ranges of keys: additions, gaps, and what of the one stands in the way of the other ([`super::gaps`]).

use std::sync::Arc;

use super::gaps::{Range, after, index_around, latch_of};
use super::graph::Wanted;
use super::{LockManager, LockWait, TxnLocks};
use crate::Result;
use crate::txn::TxnId;
use crate::txn::batch::{BatchView, Nearby};

impl LockManager {
    /// To be called before `key` is written into the transaction's batch, which `share` gives to others to look at.
    pub fn will_write(
        &self,
        txn: &mut TxnLocks,
        key: &[u8],
        share: impl FnOnce() -> Arc<BatchView>,
    ) {
        let active = self.enter(txn);
        self.registry.will_write(active, key, share);
    }

    /// A transaction whose gap covers a key that `txn` has just put into its batch. If there is one, the key has to be taken back until
    /// [`LockManager::await_gap`] has returned, and then to be put and asked about again.
    pub fn gap_owner(&self, txn: &TxnLocks, key: &[u8]) -> Option<TxnId> {
        self.gaps.owner_of(txn.id, key)
    }

    /// Waits for the end of a transaction whose gap covers `key`.
    pub fn await_gap(
        &self,
        txn: &mut TxnLocks,
        key: &[u8],
        owner: TxnId,
        wait: LockWait,
    ) -> Result<()> {
        self.await_end(txn, owner, Wanted::Insertion, key, wait)
    }

    /// Locks the gap [from, to), both of one index: nobody else adds a key to it while this transaction runs. First waits for those who
    /// have; with no `wait`, what they have added is passed over.
    pub fn lock_gap(
        &self,
        txn: &mut TxnLocks,
        from: &[u8],
        to: &[u8],
        wait: Option<LockWait>,
    ) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        self.enter(txn);
        let id = txn.id;
        let survey = |from: &[u8], to: &[u8]| self.survey(id, from, to);
        loop {
            let Some(wait) = wait else {
                // Without a survey nobody is found.
                let _ = self.gaps.take(id, &mut txn.gaps, from, to, None);
                return Ok(());
            };
            match self.gaps.take(id, &mut txn.gaps, from, to, Some(&survey)) {
                Ok(()) => return Ok(()),
                Err(writer) => self.await_end(txn, writer, Wanted::Gap, from, wait)?,
            }
        }
    }

    /// Waits for those who have added a key to [from, to); whether there were any. What was added since the last cursor was made may be passed over:
    /// it comes after what that cursor sees.
    pub fn await_additions(
        &self,
        txn: &mut TxnLocks,
        from: &[u8],
        to: &[u8],
        wait: LockWait,
    ) -> Result<bool> {
        let mut waited = false;
        if from >= to {
            return Ok(waited);
        }
        self.enter(txn);
        loop {
            let clear = txn.surveyed.as_ref();
            if clear.is_some_and(|clear| clear.0.as_slice() <= from && to <= clear.1.as_slice()) {
                return Ok(waited);
            }
            match self.survey(txn.id, from, to) {
                Ok(clear) => txn.surveyed = Some(clear),
                Err(writer) => {
                    self.await_end(txn, writer, Wanted::Gap, from, wait)?;
                    waited = true;
                }
            }
        }
    }

    /// How far around [from, to) nobody but `id` has written anything, or who has added a key to it. May read from disk.
    fn survey(&self, id: TxnId, from: &[u8], to: &[u8]) -> Result<Range, TxnId> {
        let (mut start, mut end) = index_around(from, to);
        for writer in self.registry.writers(latch_of(from), id) {
            match writer.nearby(from, to) {
                Nearby::Within => return Err(writer.id),
                Nearby::Around { before, behind } => {
                    if let Some(before) = before {
                        start = start.max(after(&before));
                    }
                    if let Some(behind) = behind {
                        end = end.min(behind);
                    }
                }
            }
        }
        Ok((start, end))
    }
}
