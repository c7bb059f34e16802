//! What transactions are made of, apart from any database: batches and what they spill, row locks, snapshots, and the commit pipeline.

pub mod batch;
pub mod commit;
pub mod gate;
pub mod locks;
pub mod record;
pub mod snapshots;
pub mod spill;
mod sync;

/// Names a transaction for as long as it runs; never reused by one engine.
pub type TxnId = u64;

/// Which committed writes a transaction's plain reads see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// As [`Isolation::ReadCommitted`]: uncommitted writes are never shown.
    ReadUncommitted,
    /// What was committed when the statement began.
    ReadCommitted,
    /// What was committed at the transaction's first read.
    RepeatableRead,
    /// The same; the caller locks what it reads.
    Serializable,
}

impl Isolation {
    /// Whether reads that lock keep others from adding to what they read.
    pub fn locks_gaps(self) -> bool {
        self >= Self::RepeatableRead
    }
}
