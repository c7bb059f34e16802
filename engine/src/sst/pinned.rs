//! Bytes that stay where they are, in a cached block, for as long as someone looks at them.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

use crate::format::block::Block;

/// A value found by a lookup. It keeps its block in memory instead of copying out of it.
#[derive(Clone)]
pub struct PinnedBytes(Repr);

#[derive(Clone)]
enum Repr {
    InBlock {
        block: Arc<Block>,
        range: Range<usize>,
    },
    Own(Bytes),
}

impl PinnedBytes {
    /// The bytes of `range` in `block`; empty if the range does not lie inside.
    pub(super) fn in_block(block: Arc<Block>, range: Range<usize>) -> Self {
        Self(Repr::InBlock { block, range })
    }

    /// The bytes, copied into a vector of the caller's own.
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_ref().to_vec()
    }
}

impl Deref for PinnedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::InBlock { block, range } => block.slice(range.clone()),
            Repr::Own(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for PinnedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Default for PinnedBytes {
    fn default() -> Self {
        Self(Repr::Own(Bytes::new()))
    }
}

impl From<Vec<u8>> for PinnedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Repr::Own(bytes.into()))
    }
}

impl From<Bytes> for PinnedBytes {
    fn from(bytes: Bytes) -> Self {
        Self(Repr::Own(bytes))
    }
}

impl PartialEq for PinnedBytes {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for PinnedBytes {}

impl fmt::Debug for PinnedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}
