//! How far a transaction has got, and what is known of one that is prepared.

use std::sync::Arc;

use crate::db::ingest::Files;

/// How far a transaction has got.
#[derive(Debug)]
pub enum Stage {
    Active,
    /// Its writes are in the log.
    Prepared(Prepared),
    Ended,
}

/// What is known of a transaction that is prepared.
#[derive(Debug)]
pub struct Prepared {
    pub id: u64,
    pub name: Arc<[u8]>,
    pub in_coordinator: bool,
    /// Where its writes are, if not in the log.
    pub files: Option<Files>,
}
