//! Sorted string tables: immutable sorted runs of entries, written once, read in place.
//!
//! [`SstBuilder`] writes one from ascending entries; [`SstReader`] looks up keys in it and iterates over it through the
//! [`BlockCache`](crate::cache::BlockCache). The file format is described in [`crate::format::sst`].

mod block_cursor;
mod builder;
mod index_cursor;
mod iter;
mod iter_options;
mod pinned;
mod readahead;
mod reader;
mod verify;

pub use crate::format::compression::Compression;
pub use crate::format::filter::key_hash;
pub use crate::format::properties::{IndexStats, Properties};
pub use block_cursor::BlockCursor;
pub use builder::{SstBuilder, SstOptions, SstSummary};
pub use iter::SstIter;
pub use iter_options::IterOptions;
pub use pinned::PinnedBytes;
pub use readahead::most_ahead;
pub use reader::{Found, SstReader, UNNUMBERED};
pub use verify::{Contents, Finding, verify};

#[cfg(test)]
mod tests;
