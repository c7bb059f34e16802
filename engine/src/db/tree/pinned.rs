//! A value that stays where it is, kept alive.

use std::ops::Deref;

use crate::iter::InternalIterator;
use crate::memtable::MemIter;
use crate::sst::PinnedBytes;

/// A value read from the engine, without a copy; it holds on to the block or memtable it lies in.
pub struct Value(Holder);

enum Holder {
    Block(PinnedBytes),
    Memory(MemIter),
}

impl Value {
    pub(in crate::db) fn in_block(bytes: PinnedBytes) -> Self {
        Self(Holder::Block(bytes))
    }

    pub(in crate::db) fn at(position: MemIter) -> Self {
        Self(Holder::Memory(position))
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Holder::Block(bytes) => bytes,
            Holder::Memory(position) => position.value(),
        }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.escape_ascii())
    }
}
