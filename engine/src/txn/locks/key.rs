//! How keys are hashed, and the keys that stand for something else than a row.

use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::env::any_seed;
use crate::txn::TxnId;

/// A seed of the process, so that nobody can choose keys that collide.
static SEED: LazyLock<u64> = LazyLock::new(any_seed);

/// The index id of keys that stand for a transaction. No index has it: ids are given out from below, and end before it.
const END_INDEX: u32 = u32::MAX;

/// The hash of a key, by XXH3.
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, *SEED)
}

/// The key that a transaction holds, as soon as anybody asks, until it ends.
pub fn end_of(txn: TxnId) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&END_INDEX.to_be_bytes());
    key[4..].copy_from_slice(&txn.to_be_bytes());
    key
}

/// Whether a key stands for a transaction's end.
pub fn is_end(key: &[u8]) -> bool {
    key.len() == 12 && key.starts_with(&END_INDEX.to_be_bytes())
}

/// The index that a key belongs to: its first four bytes.
pub fn index_of(key: &[u8]) -> u32 {
    let mut id = [0; 4];
    let len = key.len().min(4);
    id[..len].copy_from_slice(&key[..len]);
    u32::from_be_bytes(id)
}
