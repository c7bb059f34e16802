//! Commit in two phases: in a session, and of transactions that a session or a crash left prepared.

use smartengine::{Index, Result, Transaction, WalSync};

use crate::bridge::api::{PreparedTransaction, Status};
use crate::engine::Opened;
use crate::txn::Txn;

/// First phase of a commit.
pub fn txn_prepare(handle: &mut Txn, name: &[u8], sync: bool) -> Result<()> {
    let Txn { txn, engine } = handle;
    let sync = sync && engine.wal_sync() == WalSync::EachCommit;
    txn.prepare(name, sync)
}

/// Records that the coordinator knows of the transaction.
pub fn txn_note_in_coordinator(handle: &mut Txn, sync: bool) -> Result<()> {
    let Txn { txn, engine } = handle;
    let sync = sync && engine.wal_sync() == WalSync::EachCommit;
    txn.note_in_coordinator(sync)
}

/// The greatest key of an index that a recovered transaction has written.
pub fn engine_recovered_last_key(handle: &Opened, index: u32) -> Vec<u8> {
    let last = handle.engine.recovered_last_key(Index::from_id(index));
    last.unwrap_or_default()
}

/// All prepared transactions without a session.
pub fn engine_prepared(handle: &Opened) -> Vec<PreparedTransaction> {
    let all = handle.engine.prepared().into_iter();
    all.map(|prepared| PreparedTransaction {
        name: prepared.name.to_vec(),
        in_coordinator: prepared.in_coordinator,
        indexes: prepared.indexes.iter().map(|index| index.id()).collect(),
    })
    .collect()
}

/// Takes over a prepared transaction.
pub fn engine_detach(handle: &Opened, txn: Txn) -> Result<()> {
    handle.engine.detach(txn.txn)
}

/// What `act` makes of the prepared transaction of this name.
fn with(
    handle: &Opened,
    name: &[u8],
    act: impl FnOnce(Transaction) -> Result<()>,
) -> Result<Status> {
    let found = handle.engine.take_prepared(name);
    let was_found = found.is_some();
    if let Some(txn) = found {
        act(txn)?;
    }
    Ok(Status::found(was_found))
}

/// Commits or rolls back a prepared transaction.
pub fn engine_decide(handle: &Opened, name: &[u8], commit: bool) -> Result<Status> {
    with(handle, name, |mut txn| {
        if commit { txn.commit() } else { txn.rollback() }
    })
}

/// Records that the coordinator knows of a prepared transaction.
pub fn engine_note_in_coordinator(handle: &Opened, name: &[u8]) -> Result<Status> {
    with(handle, name, |mut txn| {
        txn.note_in_coordinator(handle.engine.wal_sync() == WalSync::EachCommit)?;
        handle.engine.detach(txn)
    })
}
