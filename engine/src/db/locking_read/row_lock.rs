//! A request for the lock of a row, and what came of it.

use super::spec::RowWait;
use crate::db::transaction::Transaction;
use crate::txn::locks::{Granted, LockMode};
use crate::{ErrorKind, Result};

/// The outcome of a request for a row's lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Locking {
    /// The row is locked; whether it was not before.
    Locked(bool),
    /// The same, after a wait.
    Waited(bool),
    /// Another holds it, and it is to be passed over.
    PassOver,
    /// Another holds it, and it is to be read as last committed.
    ReadUnlocked,
}

impl Locking {
    /// Of a row that is locked, whether it was not before.
    pub fn fresh(self) -> Option<bool> {
        match self {
            Self::Locked(fresh) | Self::Waited(fresh) => Some(fresh),
            Self::PassOver | Self::ReadUnlocked => None,
        }
    }
}

/// Locks a key, or does what `wait` says where another holds it.
pub fn lock_row(
    txn: &mut Transaction,
    mode: LockMode,
    wait: RowWait,
    key: &[u8],
) -> Result<Locking> {
    match txn.try_lock(key, mode) {
        Ok(granted) => Ok(Locking::Locked(granted == Granted::New)),
        Err(error) if error.kind() == ErrorKind::LockNotAvailable => match wait {
            RowWait::Wait => {
                let granted = txn.lock(key, mode)?;
                Ok(Locking::Waited(granted == Granted::New))
            }
            RowWait::SkipLocked => Ok(Locking::PassOver),
            RowWait::SemiConsistent => Ok(Locking::ReadUnlocked),
            RowWait::NoWait => Err(error),
        },
        Err(error) => Err(error),
    }
}
