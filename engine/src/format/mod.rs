//! How bytes are laid out: integers, checksums, compression, and the parts of an SST.
//!
//! Everything here is a function of bytes. Decoders take nothing on trust: they never panic, never index out of bounds,
//! and never allocate by a length that was not checked against what is really there.

pub mod block;
pub mod block_builder;
pub mod bytes;
pub mod checksum;
pub mod compression;
pub mod entry;
pub mod filter;
pub mod number;
pub mod properties;
pub mod sst;
pub mod stored_block;

/// Buffers up to this size are kept for the next block.
const KEPT_CAPACITY: usize = 1 << 20;

/// Empties a buffer for its next use; memory that a huge value made it take is given back.
pub(crate) fn clear_buffer(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT_CAPACITY);
}
