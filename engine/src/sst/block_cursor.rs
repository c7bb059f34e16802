//! A cursor over the entries of one block, both ways.
//!
//! Keys are prefix-compressed against the entry before, so the cursor keeps the current key in a buffer of its own, which is
//! reused for all entries and blocks. Going back means going over the restart interval once more from its start; what is met on the way is
//! remembered, so that each further step back within the interval is a copy.

use std::ops::Range;
use std::sync::Arc;

use crate::Result;
use crate::format::block::Block;
use crate::format::bytes::corrupt;
use crate::format::entry::{Head, get_head, trailer};
use crate::iter::InternalIterator;
use crate::types::{KeyRef, SeqNo, TRAILER_LEN};

/// A cursor over one block at a time. It starts without a block and invalid.
#[derive(Default)]
pub struct BlockCursor {
    block: Option<Arc<Block>>,
    state: State,
}

#[derive(Default)]
struct State {
    valid: bool,
    key: KeyBuffer,
    current: Entry,
    /// The restart interval of the current entry, and where its heads end.
    interval: usize,
    interval_end: usize,
    before: Before,
    /// What all entries have for a sequence number, whatever the block says.
    seq: Option<SeqNo>,
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

/// The current internal key. The buffer is longer than the key, so that short pieces can be copied in steps of fixed length.
#[derive(Default)]
struct KeyBuffer {
    bytes: Vec<u8>,
    len: usize,
}

/// Pieces of keys up to this length are copied in one step of this length.
const STEP: usize = 16;

impl KeyBuffer {
    #[inline]
    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn set(&mut self, key: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(key);
        self.len = key.len();
    }

    /// Keeps `shared` bytes of the user key and appends bytes `unshared` of `data` and the trailer. `false` if there are not as many to keep.
    #[inline]
    fn replace_end(
        &mut self,
        shared: usize,
        data: &[u8],
        unshared: Range<usize>,
        trailer: u64,
    ) -> bool {
        let user_len = shared + unshared.len();
        if shared != 0 && shared + TRAILER_LEN > self.len {
            return false;
        }
        if self.bytes.len() < user_len + STEP {
            self.bytes.resize(2 * (user_len + STEP), 0);
        }
        let target = &mut self.bytes[shared..];
        match (
            data.get(unshared.start..)
                .and_then(|rest| rest.first_chunk::<STEP>()),
            target.first_chunk_mut::<STEP>(),
        ) {
            (Some(from), Some(to)) if unshared.len() <= STEP => *to = *from,
            _ => {
                let from = data.get(unshared).unwrap_or_default();
                target[..from.len()].copy_from_slice(from);
            }
        }
        self.bytes[user_len..user_len + TRAILER_LEN].copy_from_slice(&trailer.to_be_bytes());
        self.len = user_len + TRAILER_LEN;
        true
    }
}

impl State {
    #[inline]
    fn invalidate(&mut self) {
        self.valid = false;
        if !self.before.entries.is_empty() {
            self.before.entries.clear();
            self.before.keys.clear();
        }
    }

    /// Prepares for [`State::step`] to take the first entry of `interval`.
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
            return Err(corrupt("malformed entry of a block", at));
        };
        let seq = head.seq(self.current.seq);
        self.take(block, &head, at, self.current.value_end, seq)
    }

    /// Makes an entry the current one. The key buffer has the part of its user key that it does not store.
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
        let trailer = trailer(self.seq.unwrap_or(seq), head.kind());
        let unshared = head.key_at..head.end;
        if !self
            .key
            .replace_end(head.shared, block.data(), unshared, trailer)
        {
            return Err(corrupt("malformed entry of a block", at));
        }
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

    fn seek(&mut self, block: &Block, target: KeyRef<'_>) -> Result<()> {
        let Some(hit) = block.lower_bound(target)? else {
            return Ok(());
        };
        self.interval = hit.interval;
        self.interval_end = block.interval_at(hit.interval + 1);
        if hit.head.shared != 0 {
            // The trailer only makes the length right: it is replaced with the rest of the key.
            self.key.replace_end(0, target.user, 0..hit.head.shared, 0);
        }
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
                return Err(corrupt("malformed restart interval of a block", limit));
            }
            if self.current.end >= limit {
                return Ok(());
            }
            let key_at = self.before.keys.len();
            self.before.keys.extend_from_slice(self.key.get());
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
        self.key.set(self.before.keys.get(key).unwrap_or_default());
        self.current = entry;
        true
    }
}

impl BlockCursor {
    /// A cursor over blocks whose entries all have this sequence number, if one is given, instead of what is stored. Seeks still go by what is
    /// stored: their caller sees to it that they ask for whole user keys.
    pub fn with_seq(seq: Option<SeqNo>) -> Self {
        let state = State {
            seq,
            ..State::default()
        };
        Self { block: None, state }
    }

    /// Turns to another block; the cursor is invalid until it is moved.
    pub fn set_block(&mut self, block: Arc<Block>) {
        self.block = Some(block);
        self.state.invalidate();
    }

    /// Lets go of the block.
    pub fn clear(&mut self) {
        self.block = None;
        self.state.invalidate();
    }
}

impl InternalIterator for BlockCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.state.valid
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.state.invalidate();
        match &self.block {
            Some(block) => {
                self.state.enter(block, 0);
                self.state.step(block)
            }
            None => Ok(()),
        }
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.state.invalidate();
        match &self.block {
            Some(block) => match block.intervals().checked_sub(1) {
                Some(last) => self
                    .state
                    .take_last_before(block, last, block.heads().len()),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    #[inline]
    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.state.invalidate();
        match &self.block {
            Some(block) => self.state.seek(block, target),
            None => Ok(()),
        }
    }

    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.seek(target)?;
        if !self.state.valid {
            return self.seek_to_last();
        }
        if target.cmp_encoded(self.key()).is_lt() {
            return self.prev();
        }
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if !self.state.valid {
            return Ok(());
        }
        self.state.invalidate();
        match &self.block {
            Some(block) => self.state.step(block),
            None => Ok(()),
        }
    }

    fn prev(&mut self) -> Result<()> {
        if !self.state.valid || self.state.recall() {
            return Ok(());
        }
        self.state.invalidate();
        match &self.block {
            Some(block) => self.state.step_back(block),
            None => Ok(()),
        }
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.state.key.get()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        match &self.block {
            Some(block) => block.slice(self.state.current.value_at..self.state.current.value_end),
            None => &[],
        }
    }
}
