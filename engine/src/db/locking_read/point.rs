//! Point reads: of a key, or of a unique secondary key and the row that its entry stands for.
//!
//! Whoever writes an entry has its row locked, but who inserts a unique entry locks its key as well. So a locking read of a key that is not
//! there locks the key, to wait for whoever may be about to add it, and looks again.

use super::locator::locate_row;
use super::row_lock::lock_row;
use super::{ReadSpec, Reader, missing_row};
use crate::Result;
use crate::db::transaction::{Transaction, View};
use crate::db::tree::Value;
use crate::txn::locks::LockMode;
use crate::types::Index;

impl Reader {
    /// A point read of `self.key`; whether there is such an entry.
    pub(super) fn read_point(&mut self, txn: &mut Transaction, spec: ReadSpec) -> Result<bool> {
        self.clear();
        if let Some(mode) = spec.lock {
            return match spec.row_index {
                None => self.read_locked(txn, mode, spec),
                Some(index) => self.read_through_locked(txn, mode, spec, index),
            };
        }
        let Some(value) = txn.get(&self.key, View::Snapshot)? else {
            return Ok(false);
        };
        if let Some(index) = spec.row_index {
            locate_row(&self.key, &value, index, &mut self.row_key)?;
            (self.row, self.own_row) = txn.get_with_origin(&self.row_key, View::Snapshot)?;
            if self.row.is_none() {
                return self.without_row(&self.key).map(|()| false);
            }
        }
        self.value = Some(value);
        Ok(true)
    }

    fn read_locked(
        &mut self,
        txn: &mut Transaction,
        mode: LockMode,
        spec: ReadSpec,
    ) -> Result<bool> {
        self.row_key.clear();
        self.row_key.extend_from_slice(&self.key);
        let Some(fresh) = lock_row(txn, mode, spec.wait, &self.row_key)?.fresh() else {
            return Ok(false);
        };
        self.value = txn.get(&self.key, View::Newest)?;
        self.locked = (fresh && self.value.is_some()).then(|| txn.id());
        // The lock of a key that is absent keeps others from adding it.
        if fresh && self.value.is_none() && !txn.isolation().locks_gaps() {
            txn.unlock(&self.row_key);
        }
        Ok(self.value.is_some())
    }

    fn read_through_locked(
        &mut self,
        txn: &mut Transaction,
        mode: LockMode,
        spec: ReadSpec,
        index: Index,
    ) -> Result<bool> {
        let mut entry_lock = None;
        let found = loop {
            let Some(value) = txn.get(&self.key, View::Newest)? else {
                if entry_lock.is_some() {
                    break false;
                }
                // Somebody may be about to add it.
                let Some(fresh) = lock_row(txn, mode, spec.wait, &self.key)?.fresh() else {
                    return Ok(false);
                };
                entry_lock = Some(fresh);
                continue;
            };
            locate_row(&self.key, &value, index, &mut self.row_key)?;
            let Some(fresh) = lock_row(txn, mode, spec.wait, &self.row_key)?.fresh() else {
                break false;
            };
            if self.read_located(txn, value, fresh)? {
                break true;
            }
        };
        if entry_lock == Some(true) && (found || !txn.isolation().locks_gaps()) {
            txn.unlock(&self.key);
        }
        Ok(found)
    }

    /// Reads the row that an entry leads to, which is locked; false where the entry has changed meanwhile.
    fn read_located(&mut self, txn: &mut Transaction, value: Value, fresh: bool) -> Result<bool> {
        let now = txn.get(&self.key, View::Newest)?;
        if now.as_deref() != Some(&*value) {
            if fresh {
                txn.unlock(&self.row_key);
            }
            return Ok(false);
        }
        self.locked = fresh.then(|| txn.id());
        self.value = now;
        let row = txn.get(&self.row_key, View::Newest)?;
        self.row = Some(row.ok_or_else(|| missing_row(&self.key))?);
        Ok(true)
    }
}
