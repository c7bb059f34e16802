//! The engine as its callers meet it.

mod by_url;
mod distant;
mod drops;
mod example;
mod level0;
mod lifecycle;
mod limits;
mod locking_reads;
mod object_store;
mod orphans;
mod persistent_cache;
mod phantoms;
mod prepared;
mod scan_edges;
mod spill;
mod transactions;
mod undecided;
mod user_version;
mod views;

use std::path::Path;

use smartengine::Options;

/// Small sizes, without syncs.
pub fn small(dir: &Path) -> Options {
    let mut options = Options::new(dir);
    options.wal_sync = smartengine::WalSync::EachSecond;
    options.memtable_size = 64 << 10;
    options.total_memtable_size = 256 << 10;
    options.total_wal_size = 1 << 20;
    options.target_file_size = 64 << 10;
    options.base_level_size = 64 << 10;
    options.block_cache_size = 1 << 20;
    options
}

pub fn key(name: &str) -> Vec<u8> {
    [&1u32.to_be_bytes(), name.as_bytes()].concat()
}
