//! Compaction: merging sorted files, so that a read looks at few of them and versions that nobody needs are dropped.
//!
//! Choosing what to merge ([`pick`]) is kept apart from merging it ([`merge`]). A crash before the manifest edit that installs the output leaves objects that
//! nobody refers to, which the next open removes; the inputs are removed only after that edit, when their last reader is gone.

mod merge;
mod picker;
mod runs;
#[cfg(test)]
mod tests;

pub use merge::{Inputs, merge};
pub use picker::{
    BOTTOM, PickConfig, Reason, Targets, Task, pending_bytes, pick, targets, touches_dropped,
};
pub use runs::sorted_runs;
