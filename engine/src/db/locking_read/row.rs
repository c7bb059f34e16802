//! The row of the entry that a scan stands on: located, locked, and read again where anything was committed since the scan's cursor was made.

use super::locator::{leads_to, locate_row};
use super::row_lock::{Locking, lock_row};
use super::scan::{Direction, Scan};
use super::{ReadSpec, Reader, missing_row};
use crate::Result;
use crate::db::transaction::Transaction;
use crate::types::{OWN_WRITE_SEQ, SeqNo};

/// Whether a step of a scan has arrived.
pub enum Step {
    Arrived,
    PassOver,
}

impl Reader {
    /// From where the scan stands, in `direction`, to the first entry that is to be shown.
    pub(super) fn settle(&mut self, txn: &mut Transaction, direction: Direction) -> Result<bool> {
        loop {
            if !self.opened()?.cursor().valid() {
                return Ok(false);
            }
            if let Step::Arrived = self.read_entry(txn, self.spec)? {
                return Ok(true);
            }
            self.opened()?.step(txn, direction)?;
        }
    }

    /// Reads the row of the entry that the scan stands on, and locks it, as `spec` says.
    pub(super) fn read_entry(&mut self, txn: &mut Transaction, spec: ReadSpec) -> Result<Step> {
        self.clear();
        let Some(cursor) = self.scan.as_ref().map(Scan::cursor) else {
            return Ok(Step::PassOver);
        };
        if let Some(index) = spec.row_index {
            locate_row(cursor.key(), cursor.value(), index, &mut self.row_key)?;
        }
        let Some(mode) = spec.lock else {
            let Some(index) = spec.row_index else {
                return Ok(Step::Arrived);
            };
            (self.row, self.own_row) = txn.get_as_of(&self.row_key, cursor)?;
            if self.row.is_none() && self.own_row {
                // The transaction has removed it where the cursor had looked already, and may have given the entry another row.
                if let (Some(value), _) = txn.get_as_of(cursor.key(), cursor)?
                    && !leads_to(cursor.key(), &value, index, &self.row_key)?
                {
                    locate_row(cursor.key(), &value, index, &mut self.row_key)?;
                    (self.row, self.own_row) = txn.get_as_of(&self.row_key, cursor)?;
                    self.value = Some(value);
                }
            }
            if self.row.is_none() {
                return self.without_row(cursor.key()).map(|()| Step::PassOver);
            }
            return Ok(Step::Arrived);
        };
        if spec.row_index.is_none() {
            self.row_key.clear();
            self.row_key.extend_from_slice(cursor.key());
        }
        match lock_row(txn, mode, spec.wait, &self.row_key)? {
            Locking::Locked(fresh) => self.locked = fresh.then(|| txn.id()),
            Locking::Waited(fresh) => {
                self.locked = fresh.then(|| txn.id());
                self.scan.iter().for_each(Scan::note_lag);
            }
            Locking::ReadUnlocked => self.unlocked = true,
            Locking::PassOver => return Ok(Step::PassOver),
        }
        let changed = !txn.is_newest(cursor);
        let snapshot = cursor.snapshot();
        let beyond = |seq| snapshot < seq && seq < OWN_WRITE_SEQ;
        let mut lags = false;
        if !changed {
            txn.note_seen(cursor.seq());
        }
        if changed {
            let (seq, value) = txn.get_newest(cursor.key())?;
            lags |= beyond(seq);
            let Some(value) = value else {
                return Ok(self.pass_over(txn, seq));
            };
            if let Some(index) = spec.row_index
                && !leads_to(cursor.key(), &value, index, &self.row_key)?
            {
                return Ok(self.pass_over(txn, seq));
            }
            self.value = Some(value);
        }
        if let Some(index) = spec.row_index {
            let (seq, row) = txn.get_newest(&self.row_key)?;
            lags |= beyond(seq);
            self.row = row;
            if self.row.is_none() {
                // The transaction itself may have removed both, or given the entry another row, where the cursor had looked already.
                let leads_here = match txn.get_newest(cursor.key())?.1 {
                    Some(value) => leads_to(cursor.key(), &value, index, &self.row_key)?,
                    None => false,
                };
                if leads_here && !self.unlocked {
                    return Err(missing_row(cursor.key()));
                }
                if leads_here {
                    // Whoever has the row's lock may have put it back since. It was not there when it was looked for, and is not looked for again.
                    self.clear();
                    return Ok(Step::PassOver);
                }
                return Ok(self.pass_over(txn, seq));
            }
        }
        if lags {
            self.scan.iter().for_each(Scan::note_lag);
        }
        Ok(Step::Arrived)
    }

    /// An entry that was gone once its row was locked: the lock is given back, unless the transaction itself has removed entry or row, as `seq` says.
    fn pass_over(&mut self, txn: &mut Transaction, seq: SeqNo) -> Step {
        if self.locked.is_some() && seq < OWN_WRITE_SEQ {
            txn.unlock(&self.row_key);
        }
        if let Some(scan) = &mut self.scan {
            scan.entry_is_gone();
        }
        self.clear();
        Step::PassOver
    }

    /// An entry of the snapshot whose row is not there: the transaction itself may have removed it, or else the store is damaged.
    pub(super) fn without_row(&self, key: &[u8]) -> Result<()> {
        if self.own_row {
            return Ok(());
        }
        Err(missing_row(key))
    }
}
