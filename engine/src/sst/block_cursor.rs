//! A cursor over the entries of one block, both ways.
//!
//! Keys are prefix-compressed against the entry before, so the cursor keeps the current key in a buffer of its own, which is
//! reused for all entries and blocks. Going back means going over the restart interval once more from its start; what is met on the way is
//! remembered, so that each further step back within the interval is a copy.

use std::ops::Range;
use std::sync::Arc;

use crate::format::block::{Block, Position};
use crate::format::entry::{Header, trailer};
use crate::iter::InternalIterator;
use crate::types::{KeyRef, SeqNo, TRAILER_LEN};
use crate::{Error, Result};

/// A cursor over one block at a time. It starts without a block and invalid.
#[derive(Default)]
pub struct BlockCursor {
    block: Option<Arc<Block>>,
    valid: bool,
    /// The current internal key.
    key: Vec<u8>,
    value: Range<usize>,
    seq: SeqNo,
    /// Where the current entry begins and ends.
    at: usize,
    next_at: usize,
    /// The restart interval of the current entry, and where the one after it begins.
    interval: usize,
    next_restart: usize,
    before: Before,
}

/// The entries between the start of the restart interval and the current entry, gathered by a step back.
#[derive(Default)]
struct Before {
    keys: Vec<u8>,
    entries: Vec<Remembered>,
}

struct Remembered {
    key: Range<usize>,
    value: Range<usize>,
    seq: SeqNo,
    at: usize,
}

impl Before {
    #[inline]
    fn clear(&mut self) {
        if !self.entries.is_empty() {
            self.entries.clear();
            self.keys.clear();
        }
    }
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

    fn invalidate(&mut self) {
        self.valid = false;
        self.before.clear();
    }

    /// Takes the entry that a search found.
    fn adopt(&mut self, block: &Block, target: KeyRef<'_>, position: Position) -> Result<()> {
        let header = position.header;
        let shared = target
            .user
            .get(..header.shared)
            .ok_or_else(|| malformed(position.at))?;
        self.key.clear();
        self.key.extend_from_slice(shared);
        self.seq = position.seq;
        self.at = position.at;
        self.interval = position.interval;
        self.next_restart = block.restart(position.interval + 1);
        self.take_entry(block, header)
    }

    /// Prepares for [`BlockCursor::step`] to take the first entry of `interval`.
    fn start_interval(&mut self, block: &Block, interval: usize) {
        self.interval = interval;
        self.next_at = block.restart(interval);
        self.next_restart = block.restart(interval + 1);
        self.seq = block.base_seq();
        self.key.clear();
        self.key.extend_from_slice(&[0; TRAILER_LEN]);
    }

    /// Takes the entry at `next_at`, whose predecessor is the current one.
    #[inline]
    fn step(&mut self, block: &Block) -> Result<()> {
        let at = self.next_at;
        if at >= self.next_restart {
            if at >= block.entries_end() {
                return Ok(());
            }
            self.start_interval(block, self.interval + 1);
            self.next_at = at;
        }
        let header = block.header_at(at)?;
        let user_len = self.key.len().saturating_sub(TRAILER_LEN);
        if header.shared > user_len {
            return Err(malformed(at));
        }
        self.key.truncate(header.shared);
        self.seq = header.seq(self.seq);
        self.at = at;
        self.take_entry(block, header)
    }

    /// Completes the key, of which the shared part is in place, and takes the rest of the entry.
    #[inline]
    fn take_entry(&mut self, block: &Block, header: Header) -> Result<()> {
        block.check_seq(self.seq, self.at)?;
        let unshared = block
            .data()
            .get(header.key_at..header.value_at)
            .unwrap_or_default();
        self.key.extend_from_slice(unshared);
        self.key
            .extend_from_slice(&trailer(self.seq, header.kind()).to_be_bytes());
        self.value = header.value_at..header.end;
        self.next_at = header.end;
        self.valid = true;
        Ok(())
    }

    /// To the last entry that begins before `limit`, remembering those before it in its interval.
    fn last_in_interval_before(&mut self, block: &Block, limit: usize) -> Result<()> {
        let intervals = block.restarts();
        let mut interval = if limit >= block.entries_end() {
            intervals
        } else {
            self.interval + 1
        };
        while interval > 0 && block.restart(interval - 1) >= limit {
            interval -= 1;
        }
        let Some(interval) = interval.checked_sub(1) else {
            return Ok(());
        };
        self.start_interval(block, interval);
        loop {
            self.valid = false;
            self.step(block)?;
            if !self.valid || self.at >= limit {
                self.valid = false;
                return Err(malformed(limit));
            }
            if self.next_at >= limit {
                return Ok(());
            }
            let key_at = self.before.keys.len();
            self.before.keys.extend_from_slice(&self.key);
            self.before.entries.push(Remembered {
                key: key_at..self.before.keys.len(),
                value: self.value.clone(),
                seq: self.seq,
                at: self.at,
            });
        }
    }

    /// Steps back to a remembered entry, if there is one.
    fn recall(&mut self) -> bool {
        let Some(entry) = self.before.entries.pop() else {
            return false;
        };
        let Some(key) = self.before.keys.get(entry.key) else {
            return false;
        };
        self.key.clear();
        self.key.extend_from_slice(key);
        self.value = entry.value;
        self.next_at = self.at;
        self.at = entry.at;
        self.seq = entry.seq;
        true
    }
}

impl InternalIterator for BlockCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    fn key(&self) -> &[u8] {
        &self.key
    }

    #[inline]
    fn value(&self) -> &[u8] {
        match &self.block {
            Some(block) => block.data().get(self.value.clone()).unwrap_or_default(),
            None => &[],
        }
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.invalidate();
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let result = if block.count() == 0 {
            Ok(())
        } else {
            self.start_interval(&block, 0);
            self.step(&block)
        };
        self.block = Some(block);
        result
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.invalidate();
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let result = self.last_in_interval_before(&block, block.entries_end());
        self.block = Some(block);
        result
    }

    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.invalidate();
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let result = block.lower_bound(target).and_then(|found| match found {
            Some(position) => self.adopt(&block, target, position),
            None => Ok(()),
        });
        self.block = Some(block);
        result
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
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let result = self.step(&block);
        self.block = Some(block);
        result
    }

    fn prev(&mut self) -> Result<()> {
        if !self.valid {
            return Ok(());
        }
        if self.recall() {
            return Ok(());
        }
        self.invalidate();
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let result = if self.at == 0 {
            Ok(())
        } else {
            self.last_in_interval_before(&block, self.at)
        };
        self.block = Some(block);
        result
    }
}

fn malformed(at: usize) -> Error {
    Error::corruption(format!("malformed entry at byte {at} of the block"))
}
