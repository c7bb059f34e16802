//! What a transaction writes, and the locks that it takes for that.

use super::{Transaction, View};
use crate::txn::locks::{Granted, LockMode, LockWait};
use crate::types::MAX_KEY_LEN;
use crate::{Error, ErrorKind, Result};

/// One write of [`Transaction::apply`].
#[derive(Clone, Copy, Debug)]
pub enum Write<'a> {
    /// Sets a key that exists, under a lock that stands for it: of its own, or of the row that it is an entry of.
    Put(&'a [u8], &'a [u8]),
    /// Sets a key that is new, under a lock that stands for it. Waits while another transaction has locked the gap it goes into.
    Add(&'a [u8], &'a [u8]),
    /// Sets a key that must not exist: locks it and looks, then adds it. One that does exist stays locked, shared: others may find
    /// out as well.
    Insert(&'a [u8], &'a [u8]),
    /// As [`Write::Insert`]; a key that exists stays locked exclusively, for a caller that is going to change what is there.
    InsertForUpdate(&'a [u8], &'a [u8]),
    /// Removes a key.
    Delete(&'a [u8]),
    /// Locks a key and removes it: others that want to insert it wait until this is settled.
    LockDelete(&'a [u8]),
}

impl Transaction {
    /// Sets a key, whatever it was. Takes no lock: the caller has one that stands for the key. Looks for no gap: for that there is
    /// [`Write::Add`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.apply(&[Write::Put(key, value)])
            .map_err(|(_, error)| error)
    }

    /// Removes a key, whether or not it is there. Takes no lock.
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.apply(&[Write::Delete(key)])
            .map_err(|(_, error)| error)
    }

    /// Sets a key that must not exist: locks it; [`ErrorKind::Duplicate`] if it does.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.apply(&[Write::Insert(key, value)])
            .map_err(|(_, error)| error)
    }

    /// Several writes, all or none. They are done in order, and each acts on what those before it have left: a key may be removed and inserted anew
    /// in one call. The first that fails ends the call: those before it are undone, those behind it are not looked at. Its error comes with
    /// its place; of the locks that they have taken only that on a duplicate stays.
    pub fn apply(&mut self, writes: &[Write<'_>]) -> Result<(), (usize, Error)> {
        if let Err(error) = self.batch.spill_if_full() {
            return Err((0, error));
        }
        let savepoint = self.batch.savepoint();
        for (place, write) in writes.iter().enumerate() {
            if let Err(error) = self.write(write) {
                self.undo_to(savepoint);
                return Err((place, error));
            }
        }
        self.note_writes();
        Ok(())
    }

    fn write(&mut self, write: &Write<'_>) -> Result<()> {
        self.check_running()?;
        let (Write::Put(key, _)
        | Write::Add(key, _)
        | Write::Insert(key, _)
        | Write::InsertForUpdate(key, _)
        | Write::Delete(key)
        | Write::LockDelete(key)) = write;
        if key.len() > MAX_KEY_LEN {
            return Err(Error::invalid(format!(
                "a key of {} bytes was given, at most {MAX_KEY_LEN} are allowed",
                key.len()
            )));
        }
        let (core, batch) = (&self.core, &mut self.batch);
        core.transactions
            .locks
            .will_write(&mut self.locks, key, || batch.view().clone());
        match write {
            Write::Put(key, value) => self.batch.put(key, value),
            Write::Add(key, value) => self.add(key, value, None)?,
            Write::Insert(key, value) => self.add(key, value, Some(LockMode::Shared))?,
            Write::InsertForUpdate(key, value) => {
                self.add(key, value, Some(LockMode::Exclusive))?
            }
            Write::Delete(key) => self.batch.delete(key),
            Write::LockDelete(key) => {
                let granted = self.lock(key, LockMode::Exclusive)?;
                self.note_taken(key, granted);
                self.batch.delete(key);
            }
        }
        Ok(())
    }

    /// Adds a key, once nobody else has the gap that it goes into; `as_new` if it must not exist, with the mode in which one that does stays
    /// locked.
    fn add(&mut self, key: &[u8], value: &[u8], as_new: Option<LockMode>) -> Result<()> {
        loop {
            let mut granted = Granted::Held;
            if let Some(duplicate) = as_new {
                granted = self.lock_new(key, duplicate)?;
            }
            let savepoint = self.batch.savepoint();
            self.batch.put(key, value);
            let Some(owner) = self.core.transactions.locks.gap_owner(&self.locks, key) else {
                if granted == Granted::New {
                    self.note_taken_at(savepoint, key);
                }
                return Ok(());
            };
            self.batch.rollback_to(savepoint);
            // Not with the key locked: the gap's owner may add it.
            if granted == Granted::New {
                self.unlock(key);
            }
            let wait = LockWait::Timeout(self.lock_wait);
            self.core
                .transactions
                .locks
                .await_gap(&mut self.locks, key, owner, wait)?;
        }
    }

    /// Locks a key that must not exist. One that does stays locked in the mode given.
    fn lock_new(&mut self, key: &[u8], duplicate: LockMode) -> Result<Granted> {
        let granted = match self.try_lock(key, LockMode::Exclusive) {
            Err(error) if error.kind() == ErrorKind::LockNotAvailable => {
                if duplicate == LockMode::Shared {
                    // To see a duplicate it need not wait for those who only read it.
                    let shared = self.lock(key, LockMode::Shared)?;
                    self.check_new(key)?;
                    if shared == Granted::New {
                        self.unlock(key);
                    }
                }
                self.lock(key, LockMode::Exclusive)?
            }
            granted => granted?,
        };
        self.check_new(key).inspect_err(|_| {
            if granted != Granted::Held && duplicate == LockMode::Shared {
                self.core.transactions.locks.downgrade(&self.locks, key);
            }
        })?;
        Ok(granted)
    }

    fn check_new(&mut self, key: &[u8]) -> Result<()> {
        match self.get(key, View::Newest)? {
            Some(_) => Err(Error::new(ErrorKind::Duplicate, "the key exists")),
            None => Ok(()),
        }
    }

    fn note_taken(&mut self, key: &[u8], granted: Granted) {
        if granted == Granted::New {
            self.note_taken_at(self.batch.savepoint(), key);
        }
    }

    /// Keys that the lock manager does not keep stay locked to the end.
    fn note_taken_at(&mut self, place: usize, key: &[u8]) {
        self.taken
            .extend(self.locks.last(key).map(|key| (place, key)));
    }

    /// Undoes every write since `savepoint`, and gives back the locks that were taken for them.
    pub(super) fn undo_to(&mut self, savepoint: usize) {
        self.batch.rollback_to(savepoint);
        while let Some((_, key)) = self.taken.pop_if(|(place, _)| *place >= savepoint) {
            self.unlock(&key);
        }
    }
}
