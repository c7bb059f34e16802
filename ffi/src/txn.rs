//! A transaction's handle.
//!
//! `unsafe` is here to read the keys and values that C++ lends for the duration of a call.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use smartengine::{Engine, Transaction, Write};

use crate::bridge::api::{Bytes, Isolation, OpKind, Status, WriteOp};
use crate::engine::EngineHandle;
use crate::guard::{guard, guard_value};

/// What C++ holds for a session's transaction.
pub struct TxnHandle {
    // Dropped before the engine.
    pub txn: Transaction,
    pub engine: Arc<Engine>,
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
pub fn txn_begin(handle: &EngineHandle, isolation: Isolation) -> Box<TxnHandle> {
    let txn = handle.engine.begin(convert(isolation));
    Box::new(TxnHandle {
        txn,
        engine: handle.engine.clone(),
    })
}

/// Names it for `engine_interrupt`.
pub fn txn_id(handle: &TxnHandle) -> u64 {
    handle.txn.id()
}

/// Starts a statement.
pub fn txn_start_statement(handle: &mut TxnHandle) {
    handle.txn.start_statement();
}

/// Takes the snapshot now.
pub fn txn_take_snapshot(handle: &mut TxnHandle) -> Status {
    let TxnHandle { txn, engine } = handle;
    guard(Some(engine), || {
        txn.take_snapshot();
        Ok(Status::OK)
    })
}

/// What listings call it by.
pub fn txn_set_label(handle: &mut TxnHandle, label: u64) {
    handle.txn.set_label(label);
}

/// How long lock requests wait.
pub fn txn_set_lock_wait_timeout(handle: &mut TxnHandle, millis: u64) {
    handle
        .txn
        .set_lock_wait_timeout(Duration::from_millis(millis));
}

/// Its snapshot's number.
pub fn txn_snapshot(handle: &TxnHandle) -> u64 {
    handle.txn.snapshot_seq()
}

/// Whether it has written anything.
pub fn txn_has_writes(handle: &TxnHandle) -> bool {
    handle.txn.has_writes()
}

/// Whether it has no writes and no locks.
pub fn txn_holds_nothing(handle: &TxnHandle) -> bool {
    guard_value(Some(&handle.engine), false, || {
        Ok(handle.txn.holds_nothing())
    })
}

/// Whether it has locked a row in a version that its snapshot does not see.
pub fn txn_saw_newer(handle: &TxnHandle) -> bool {
    handle.txn.saw_newer()
}

/// Checks all `Insert`s first, then writes all.
pub fn txn_apply(handle: &mut TxnHandle, ops: &[WriteOp]) -> Status {
    let TxnHandle { txn, engine } = handle;
    let mut place = 0;
    let mut status = guard(Some(engine), || {
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
        txn.apply(&writes).map_err(|(failed, error)| {
            place = failed;
            error
        })?;
        Ok(Status::OK)
    });
    status.op = place as u32;
    status
}

/// Raises a counter when the transaction ends.
pub fn txn_raise_counter(handle: &mut TxnHandle, key: &[u8], value: u64) -> Status {
    let TxnHandle { txn, engine } = handle;
    guard(Some(engine), || {
        txn.raise_counter(key, value).map(|()| Status::OK)
    })
}

/// A place to roll back to.
pub fn txn_savepoint(handle: &mut TxnHandle) -> u64 {
    handle.txn.savepoint() as u64
}

/// Undoes every write since the savepoint.
pub fn txn_rollback_to(handle: &mut TxnHandle, savepoint: u64) -> Status {
    let TxnHandle { txn, engine } = handle;
    guard(Some(engine), || {
        txn.rollback_to(usize::try_from(savepoint).unwrap_or(usize::MAX));
        Ok(Status::OK)
    })
}

/// Commits.
pub fn txn_commit(handle: &mut TxnHandle, sync: bool) -> Status {
    let TxnHandle { txn, engine } = handle;
    guard(Some(engine), || {
        let done = if sync {
            txn.commit()
        } else {
            txn.commit_with(false)
        };
        done.map(|()| Status::OK)
    })
}

/// Where what it logged ends.
pub fn txn_log_end(handle: &TxnHandle) -> u64 {
    handle.txn.log_end()
}

/// Rolls back.
pub fn txn_rollback(handle: &mut TxnHandle) -> Status {
    let TxnHandle { txn, engine } = handle;
    guard(Some(engine), || txn.rollback().map(|()| Status::OK))
}

/// Makes an ended transaction new.
pub fn txn_restart(handle: &mut TxnHandle, isolation: Isolation) {
    let TxnHandle { txn, engine } = handle;
    guard(Some(engine), || {
        txn.restart(convert(isolation)).map(|()| Status::OK)
    });
}
