//! A transaction's handle.
//!
//! `unsafe` is here to read the keys and values that C++ lends for the duration of a call.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use smartengine::{Engine, Result, Transaction, Write};

use crate::bridge::api::{Bytes, Isolation, OpKind, Status, WriteOp};
use crate::engine::Opened;
use crate::guard::{Handle, Held};

/// What C++ holds for a session's transaction. Dropping it rolls the transaction back.
pub type TxnHandle = Handle<Txn>;

pub struct Txn {
    // Dropped before the engine.
    pub txn: Transaction,
    pub engine: Arc<Engine>,
}

impl Held for Txn {
    const DROP: &'static str = "ffi.drop_txn";
}

fn convert(isolation: Isolation) -> smartengine::Isolation {
    match isolation {
        Isolation::ReadUncommitted => smartengine::Isolation::ReadUncommitted,
        Isolation::ReadCommitted => smartengine::Isolation::ReadCommitted,
        Isolation::Serializable => smartengine::Isolation::Serializable,
        _ => smartengine::Isolation::RepeatableRead,
    }
}

impl Bytes {
    /// # Safety
    /// The bytes stay as they are while the result is used.
    unsafe fn get<'a>(self) -> &'a [u8] {
        if self.size == 0 {
            return &[];
        }
        // SAFETY: the caller vouches for it.
        unsafe { std::slice::from_raw_parts(self.data, self.size) }
    }
}

/// Begins a transaction.
pub fn txn_begin(handle: &Opened, isolation: Isolation) -> Box<TxnHandle> {
    let txn = handle.engine.begin(convert(isolation));
    Handle::new(Txn {
        txn,
        engine: handle.engine.clone(),
    })
}

/// Names it for `engine_interrupt`.
pub fn txn_id(handle: &Txn) -> u64 {
    handle.txn.id()
}

/// Starts a statement.
pub fn txn_start_statement(handle: &mut Txn) {
    handle.txn.start_statement();
}

/// Takes the snapshot now.
pub fn txn_take_snapshot(handle: &mut Txn) -> Result<()> {
    handle.txn.take_snapshot();
    Ok(())
}

/// What listings call it by.
pub fn txn_set_label(handle: &mut Txn, label: u64) {
    handle.txn.set_label(label);
}

/// How long lock requests wait.
pub fn txn_set_lock_wait_timeout(handle: &mut Txn, millis: u64) {
    handle
        .txn
        .set_lock_wait_timeout(Duration::from_millis(millis));
}

/// Its snapshot's number.
pub fn txn_snapshot(handle: &Txn) -> u64 {
    handle.txn.snapshot_seq()
}

/// Whether it has written anything.
pub fn txn_has_writes(handle: &Txn) -> bool {
    handle.txn.has_writes()
}

/// Whether it has no writes and no locks.
pub fn txn_holds_nothing(handle: &Txn) -> bool {
    handle.txn.holds_nothing()
}

/// Whether it has locked a row in a version that its snapshot does not see.
pub fn txn_saw_newer(handle: &Txn) -> bool {
    handle.txn.saw_newer()
}

/// Does the operations in order; all are written or none.
pub fn txn_apply(handle: &mut Txn, ops: &[WriteOp]) -> Status {
    let writes: SmallVec<[Write<'_>; 16]> = ops
        .iter()
        .map(|op| {
            // SAFETY: what C++ lends it leaves alone during the call.
            let (key, value) = unsafe { (op.key.get(), op.value.get()) };
            match op.kind {
                OpKind::Insert => Write::Insert(key, value),
                OpKind::InsertForUpdate => Write::InsertForUpdate(key, value),
                OpKind::Delete => Write::Delete(key),
                OpKind::LockDelete => Write::LockDelete(key),
                OpKind::Add => Write::Add(key, value),
                _ => Write::Put(key, value),
            }
        })
        .collect();
    match handle.txn.apply(&writes) {
        Ok(()) => Status::OK,
        Err((place, error)) => Status {
            op: place as u32,
            ..Status::from_error(&error)
        },
    }
}

/// Raises a counter when the transaction ends.
pub fn txn_raise_counter(handle: &mut Txn, key: &[u8], value: u64) -> Result<()> {
    handle.txn.raise_counter(key, value)
}

/// A place to roll back to.
pub fn txn_savepoint(handle: &mut Txn) -> u64 {
    handle.txn.savepoint() as u64
}

/// Undoes every write since the savepoint.
pub fn txn_rollback_to(handle: &mut Txn, savepoint: u64) -> Result<()> {
    handle
        .txn
        .rollback_to(usize::try_from(savepoint).unwrap_or(usize::MAX));
    Ok(())
}

/// Commits.
pub fn txn_commit(handle: &mut Txn, sync: bool) -> Result<()> {
    if sync {
        handle.txn.commit()
    } else {
        handle.txn.commit_with(false)
    }
}

/// Where what it logged ends.
pub fn txn_log_end(handle: &Txn) -> u64 {
    handle.txn.log_end()
}

/// Rolls back.
pub fn txn_rollback(handle: &mut Txn) -> Result<()> {
    handle.txn.rollback()
}

/// Makes an ended transaction new.
pub fn txn_restart(handle: &mut Txn, isolation: Isolation) -> Result<()> {
    handle.txn.restart(convert(isolation))
}
