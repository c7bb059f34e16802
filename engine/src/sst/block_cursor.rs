//! A cursor over the entries of one block, both ways.
//!
//! Keys are prefix-compressed against the entry before, so the cursor keeps the current key in a buffer of its own, which is
//! reused for all entries and blocks. Going back means going over the restart interval once more from its start; what is met on the way is
//! remembered, so that each further step back within the interval is a copy.

use std::ops::Range;
use std::sync::Arc;

use crate::Result;
use crate::format::block::{Block, corrupt};
use crate::format::entry::{Head, get_head, trailer};
use crate::iter::InternalIterator;
use crate::types::{KeyRef, SeqNo, TRAILER_LEN};

/// A cursor over one block at a time. It starts without a block and invalid.
#[derive(Default)]
pub struct BlockCursor {
    block: Option<Arc<Block>>,
    valid: bool,
    /// The current internal key.
    key: Vec<u8>,
    current: Entry,
    /// The restart interval of the current entry, and where its heads end.
    interval: usize,
    interval_end: usize,
    before: Before,
}

/// Where an entry is.
#[derive(Clone, Copy, Default)]
struct Entry {
    at: usize,
    end: usize,
    value_at: usize,
    value_end: usize,
    seq: SeqNo,
}

/// The entries between the start of the restart interval and the current entry, gathered by a step back.
#[derive(Default)]
struct Before {
    keys: Vec<u8>,
    entries: Vec<(Range<usize>, Entry)>,
}

impl BlockCursor {
    /// Turns to another block; the cursor is invalid until it is moved.
    pub fn set_block(&mut self, block: Arc<Block>) {
        self.block = Some(block);
        self.invalidate();
    }

    /// Lets go of the block.
    pub fn clear(&mut self) {
        self.block = None;
        self.invalidate();
    }

    #[inline]
    fn invalidate(&mut self) {
        self.valid = false;
        if !self.before.entries.is_empty() {
            self.before.entries.clear();
            self.before.keys.clear();
        }
    }

    /// Prepares for [`BlockCursor::step`] to take the first entry of `interval`.
    #[inline]
    fn enter(&mut self, block: &Block, interval: usize) {
        let (at, value_at) = block.interval_start(interval);
        self.interval = interval;
        self.interval_end = block.interval_at(interval + 1);
        self.current.end = at;
        self.current.value_end = value_at;
        self.current.seq = block.base_seq();
    }

    /// Takes the entry behind the current one.
    #[inline]
    fn step(&mut self, block: &Block) -> Result<()> {
        let heads = block.heads();
        if self.current.end >= self.interval_end {
            if self.current.end >= heads.len() {
                return Ok(());
            }
            self.enter(block, self.interval + 1);
        }
        let at = self.current.end;
        let Some(head) = get_head(heads, at) else {
            return Err(corrupt("malformed entry", at));
        };
        if head.shared + TRAILER_LEN > self.key.len() && head.shared != 0 {
            return Err(corrupt("malformed entry", at));
        }
        self.key.truncate(head.shared);
        let seq = head.seq(self.current.seq);
        self.take(block, &head, at, self.current.value_end, seq)
    }

    /// Makes an entry the current one. The shared part of its key is in place.
    #[inline]
    fn take(
        &mut self,
        block: &Block,
        head: &Head,
        at: usize,
        value_at: usize,
        seq: SeqNo,
    ) -> Result<()> {
        block.check(head, at, value_at, seq)?;
        self.key
            .extend_from_slice(block.slice(head.key_at..head.end));
        self.key
            .extend_from_slice(&trailer(seq, head.kind()).to_be_bytes());
        self.current = Entry {
            at,
            end: head.end,
            value_at,
            value_end: value_at + head.value_len,
            seq,
        };
        self.valid = true;
        Ok(())
    }

    fn place(&mut self, block: &Block, target: KeyRef<'_>) -> Result<()> {
        let Some(hit) = block.lower_bound(target)? else {
            return Ok(());
        };
        let Some(shared) = target.user.get(..hit.head.shared) else {
            return Err(corrupt("malformed entry", hit.at));
        };
        self.key.clear();
        self.key.extend_from_slice(shared);
        self.interval = hit.interval;
        self.interval_end = block.interval_at(hit.interval + 1);
        self.take(block, &hit.head, hit.at, hit.value_at, hit.seq)
    }

    /// To the last entry of `interval` that begins before `limit`, remembering those before it.
    fn take_last_before(&mut self, block: &Block, interval: usize, limit: usize) -> Result<()> {
        self.enter(block, interval);
        loop {
            self.valid = false;
            self.step(block)?;
            if !self.valid || self.interval != interval {
                self.valid = false;
                return Err(corrupt("malformed restart interval", limit));
            }
            if self.current.end >= limit {
                return Ok(());
            }
            let key_at = self.before.keys.len();
            self.before.keys.extend_from_slice(&self.key);
            self.before
                .entries
                .push((key_at..self.before.keys.len(), self.current));
        }
    }

    fn step_back(&mut self, block: &Block) -> Result<()> {
        let at = self.current.at;
        let start = block.interval_at(self.interval);
        if at > start {
            self.take_last_before(block, self.interval, at)
        } else if let Some(interval) = self.interval.checked_sub(1) {
            self.take_last_before(block, interval, start)
        } else {
            Ok(())
        }
    }

    /// Steps back to a remembered entry, if there is one.
    fn recall(&mut self) -> bool {
        let Some((key, entry)) = self.before.entries.pop() else {
            return false;
        };
        self.key.clear();
        self.key
            .extend_from_slice(self.before.keys.get(key).unwrap_or_default());
        self.current = entry;
        true
    }

    /// Runs `body` with the block, which the cursor is to have; without one it stays invalid.
    #[inline]
    fn with_block(&mut self, body: impl FnOnce(&mut Self, &Block) -> Result<()>) -> Result<()> {
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let result = body(self, &block);
        self.block = Some(block);
        result
    }
}

impl InternalIterator for BlockCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.valid
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.invalidate();
        self.with_block(|cursor, block| {
            cursor.enter(block, 0);
            cursor.step(block)
        })
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.invalidate();
        self.with_block(|cursor, block| match block.intervals().checked_sub(1) {
            Some(last) => cursor.take_last_before(block, last, block.heads().len()),
            None => Ok(()),
        })
    }

    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.invalidate();
        self.with_block(|cursor, block| cursor.place(block, target))
    }

    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.seek(target)?;
        if !self.valid {
            return self.seek_to_last();
        }
        if target.cmp_encoded(&self.key).is_lt() {
            return self.prev();
        }
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if !self.valid {
            return Ok(());
        }
        self.invalidate();
        self.with_block(Self::step)
    }

    fn prev(&mut self) -> Result<()> {
        if !self.valid || self.recall() {
            return Ok(());
        }
        self.invalidate();
        self.with_block(Self::step_back)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        &self.key
    }

    #[inline]
    fn value(&self) -> &[u8] {
        match &self.block {
            Some(block) => block.slice(self.current.value_at..self.current.value_end),
            None => &[],
        }
    }
}
