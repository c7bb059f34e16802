//! Commit in two phases: in a session, and of transactions that a session or a crash left prepared.

use smartengine::{Result, Transaction, WalSync};

use crate::bridge::api::{PreparedTransaction, Status};
use crate::engine::EngineHandle;
use crate::guard::{guard, guard_value};
use crate::txn::TxnHandle;

/// First phase of a commit.
pub fn txn_prepare(handle: &mut TxnHandle, name: &[u8], sync: bool) -> Status {
    let TxnHandle { txn, engine } = handle;
    guard(Some(engine), || {
        let sync = sync && engine.wal_sync() == WalSync::EachCommit;
        txn.prepare(name, sync).map(|()| Status::OK)
    })
}

/// Records that the coordinator knows of the transaction.
pub fn txn_note_in_coordinator(handle: &mut TxnHandle, sync: bool) -> Status {
    let TxnHandle { txn, engine } = handle;
    guard(Some(engine), || {
        let sync = sync && engine.wal_sync() == WalSync::EachCommit;
        txn.note_in_coordinator(sync).map(|()| Status::OK)
    })
}

/// The greatest key of an index that a recovered transaction has written.
pub fn engine_recovered_last_key(handle: &EngineHandle, index: u32) -> Vec<u8> {
    guard_value(Some(&handle.engine), Vec::new(), || {
        Ok(handle.engine.recovered_last_key(index).unwrap_or_default())
    })
}

/// All prepared transactions without a session.
pub fn engine_prepared(handle: &EngineHandle) -> Vec<PreparedTransaction> {
    guard_value(Some(&handle.engine), Vec::new(), || {
        let all = handle.engine.prepared().into_iter();
        Ok(all
            .map(|prepared| PreparedTransaction {
                name: prepared.name.to_vec(),
                in_coordinator: prepared.in_coordinator,
                indexes: prepared.indexes,
            })
            .collect())
    })
}

/// Takes over a prepared transaction.
pub fn engine_detach(handle: &EngineHandle, txn: Box<TxnHandle>) -> Status {
    guard(Some(&handle.engine), || {
        handle.engine.detach(txn.txn)?;
        Ok(Status::OK)
    })
}

/// What `act` makes of the prepared transaction of this name.
fn with(handle: &EngineHandle, name: &[u8], act: impl FnOnce(Transaction) -> Result<()>) -> Status {
    guard(Some(&handle.engine), || {
        let found = handle.engine.take_prepared(name);
        let was_found = found.is_some();
        if let Some(txn) = found {
            act(txn)?;
        }
        Ok(Status::found(was_found))
    })
}

/// Commits or rolls back a prepared transaction.
pub fn engine_decide(handle: &EngineHandle, name: &[u8], commit: bool) -> Status {
    with(handle, name, |mut txn| {
        if commit { txn.commit() } else { txn.rollback() }
    })
}

/// Records that the coordinator knows of a prepared transaction.
pub fn engine_note_in_coordinator(handle: &EngineHandle, name: &[u8]) -> Status {
    with(handle, name, |mut txn| {
        txn.note_in_coordinator(handle.engine.wal_sync() == WalSync::EachCommit)?;
        handle.engine.detach(txn)
    })
}
