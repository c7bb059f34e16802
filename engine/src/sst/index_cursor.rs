//! A cursor over the handles of an index block. Its entries are numbered, so every move is a matter of the number.

use std::sync::Arc;

use crate::Result;
use crate::format::block::Block;
use crate::format::stored_block::BlockHandle;
use crate::types::KeyRef;

/// A cursor over one index block at a time. It starts without a block and invalid.
#[derive(Default)]
pub(super) struct IndexCursor {
    block: Option<Arc<Block>>,
    /// The number of the current entry; any number that no entry has while invalid.
    at: usize,
}

impl IndexCursor {
    /// Turns to another block; the cursor is invalid until it is moved.
    pub(super) fn set_block(&mut self, block: Arc<Block>) {
        self.block = Some(block);
        self.at = usize::MAX;
    }

    /// Lets go of the block.
    pub(super) fn clear(&mut self) {
        self.block = None;
    }

    /// The current handle; `None` while invalid.
    #[inline]
    pub(super) fn handle(&self) -> Option<BlockHandle> {
        let block = self.block.as_ref()?;
        block.fixed_value(self.at).map(BlockHandle::decode)
    }

    fn len(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.intervals())
    }

    /// To the first entry.
    pub(super) fn first(&mut self) {
        self.at = 0;
    }

    /// To the last entry.
    pub(super) fn last(&mut self) {
        self.at = self.len().wrapping_sub(1);
    }

    /// To the first entry whose separator is at or after `target`.
    #[inline]
    pub(super) fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.at = match &self.block {
            Some(block) => block.first_point_at_or_after(target)?,
            None => usize::MAX,
        };
        Ok(())
    }

    /// To the next entry.
    pub(super) fn next(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// To the entry before.
    pub(super) fn prev(&mut self) {
        self.at = self.at.checked_sub(1).unwrap_or(usize::MAX);
    }
}
