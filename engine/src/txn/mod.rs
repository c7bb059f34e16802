//! What transactions are made of, apart from any database: batches and what they spill, row locks, snapshots, and the commit pipeline.

pub mod batch;
pub mod commit;
pub mod locks;
pub mod record;
pub mod snapshots;
pub mod spill;

/// Names a transaction for as long as it runs; never reused by one engine.
pub type TxnId = u64;
