//! The log in the store: the same records as the local log's, in consecutive objects, so that a server can lose its disk.
//!
//! # What is there
//!
//! Chunk n is the object `wal/<n>`, created with put-if-absent; `format.rs` has its bytes. Each names the log positions that it covers and the chunk
//! that follows, so that the chunks from the manifest's first one on, up to the first that is missing, are the log.
//!
//! # Writing
//!
//! Worker threads cut the local log's end into chunks, at record boundaries, and put several at once ([`RemoteWal::run`]). A position counts as
//! uploaded once its chunk and all before it are there: acknowledgements come in order, though answers may not. What waits for an acknowledgement is cut
//! at once; else a chunk is cut after [`UploadOptions::interval`] or at [`UploadOptions::size`] bytes. While nothing is appended
//! nothing is sent.
//!
//! A put that fails is tried again until it succeeds or the writer is fenced; the local log keeps what is not uploaded. A put whose answer was lost
//! is recognised by its bytes, which hold the writer's own number.
//!
//! # One writer
//!
//! A writer attaches by a manifest edit with the next epoch, which keeps all before it from ever changing the manifest again, and then takes
//! the first free chunk with a fence ([`ChunkReader::fence`]). What the writer before put up to then is part of the log, and is read; its next put finds the fence,
//! and it stops for good, having acknowledged only what is in front of the fence. Chunks that it had on their way may still appear
//! behind the fence: it never has more than [`WINDOW`] without acknowledgement, and the fence passes over that many ids.
//!
//! A fence is never removed, as chunks are: a writer that slept for as long as it takes would find its next place free again.
//!
//! # What a crash leaves
//!
//! - in the middle of puts: chunks with gaps. All up to the first gap are the log. Those behind it were not acknowledged; the fence of the next writer
//!   takes the gap's place, and they are never read. A local log that is still the last writer's holds them as well, and is read from where
//!   the store's ends;
//! - between the manifest edit and the fence: an epoch without a fence. The next writer's epoch is higher, and it puts its own fence;
//! - after the fence: a fence without records, which the next writer skips.
//!
//! The manifest never runs ahead: before an edit is published that says of log records that they are in files, or that follows from them, those records
//! are uploaded ([`RemoteWal::wait`]). So files and chunks in the store make up a prefix of the history at every moment.

mod chunk_reader;
mod format;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::VecDeque;

use bytes::Bytes;

pub use chunk_reader::{ChunkReader, PARALLEL, fetch};
pub use format::VERSION as FORMAT_VERSION;
pub use format::{
    CHUNK_PREFIX, Chunk, ChunkBuilder, ChunkHeader, ChunkKind, FENCE_LEN, chunk_key,
    parse_chunk_key,
};
pub use upload::{RemoteWal, RemoteWalStats, UploadOptions};

use crate::object_store::ObjectStore;
use crate::{ErrorKind, Result};

/// A writer never has more chunks than this without acknowledgement. Part of the format: fences pass over that many ids.
pub const WINDOW: u64 = 64;

/// The log in the store, taken by a writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Id of this writer's first chunk.
    pub next_id: u64,
    /// The log position up to which all is there.
    pub end: u64,
    /// Ids and ends of the chunks with records that are still needed, oldest first.
    pub chunks: VecDeque<(u64, u64)>,
}

/// Puts a chunk where there is none: nothing if it is there now, or the bytes of another that was first.
fn claim(store: &dyn ObjectStore, id: u64, bytes: &[u8]) -> Result<Option<Bytes>> {
    let key = chunk_key(id);
    let failure = match store.put_if_absent(&key, bytes) {
        Ok(()) => return Ok(None),
        Err(error) => error,
    };
    // The put may have succeeded and its answer been lost, here or in an earlier attempt.
    match store.get(&key) {
        Ok(found) if found == bytes => Ok(None),
        Ok(found) => Ok(Some(found)),
        Err(error) if failure.kind() == ErrorKind::AlreadyExists => Err(error),
        Err(_) => Err(failure),
    }
}
