//! How an SST is iterated over.

/// How an SST is iterated over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IterOptions {
    /// Whether blocks that had to be read are kept in the cache. Off for compaction and for whole-table scans.
    pub fill_cache: bool,
    /// The most bytes to read ahead of a scan at once; 0 for none.
    pub readahead: usize,
    /// Whether to read that much from the first block on, instead of approaching it as a scan goes on.
    pub readahead_at_once: bool,
}

impl Default for IterOptions {
    fn default() -> Self {
        Self {
            fill_cache: true,
            readahead: 256 << 10,
            readahead_at_once: false,
        }
    }
}

impl IterOptions {
    /// For reading whole files once: nothing is kept in the cache, and reads are large from the start.
    pub fn sequential() -> Self {
        Self {
            fill_cache: false,
            readahead: 1 << 20,
            readahead_at_once: true,
        }
    }
}
