//! Writes the layout that [`super::block`] describes.

use super::block::{TAIL_LEN, digest, shared_prefix_len};
use super::entry::{entry_len, put_header};
use crate::types::{KeyRef, SeqNo, decode_trailer};

/// Gathers entries, in ascending order, into one block.
pub struct BlockBuilder {
    restart_interval: usize,
    entries: Vec<u8>,
    restarts: Vec<u32>,
    count: u32,
    since_restart: usize,
    last_user: Vec<u8>,
    last_seq: SeqNo,
    base_seq: SeqNo,
}

impl BlockBuilder {
    /// An empty block with a restart point every `restart_interval` entries (at least 1).
    pub fn new(restart_interval: usize) -> Self {
        Self {
            restart_interval: restart_interval.max(1),
            entries: Vec::new(),
            restarts: Vec::new(),
            count: 0,
            since_restart: 0,
            last_user: Vec::new(),
            last_seq: 0,
            base_seq: 0,
        }
    }

    /// Appends an entry. The caller keeps the order, and puts an entry of more than a few MiB into a block of its own.
    pub fn add(&mut self, key: KeyRef<'_>, value: &[u8]) {
        let (seq, kind) = decode_trailer(key.trailer);
        if self.count == 0 {
            self.base_seq = seq;
        }
        let (shared, reference) = if self.count == 0 || self.since_restart >= self.restart_interval
        {
            self.restarts.push(self.entries.len() as u32);
            self.since_restart = 0;
            (0, self.base_seq)
        } else {
            (shared_prefix_len(&self.last_user, key.user), self.last_seq)
        };
        let unshared = &key.user[shared..];
        put_header(
            &mut self.entries,
            shared,
            unshared.len(),
            value.len(),
            seq,
            reference,
            kind,
        );
        self.entries.extend_from_slice(unshared);
        self.entries.extend_from_slice(value);
        self.last_user.truncate(shared);
        self.last_user.extend_from_slice(unshared);
        self.last_seq = seq;
        self.count += 1;
        self.since_restart += 1;
    }

    /// How many entries it has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Length of the block if it were finished now, in bytes.
    pub fn len(&self) -> usize {
        self.entries.len() + self.restarts.len() * 12 + TAIL_LEN
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// About how much an entry would add.
    pub fn cost_of(&self, key: KeyRef<'_>, value: &[u8]) -> usize {
        entry_len(0, key.user.len(), value.len()) + 12 / self.restart_interval
    }

    /// The user key added last.
    pub fn last_user(&self) -> &[u8] {
        &self.last_user
    }

    /// Completes the block, hands it to `sink`, and starts an empty one with the same buffers.
    pub fn finish<T>(&mut self, sink: impl FnOnce(&[u8]) -> T) -> T {
        let entries_end = self.entries.len();
        let first = self.user_key_at(0);
        let common = if self.count == 0 {
            0
        } else {
            shared_prefix_len(first, &self.last_user)
        };
        for i in 0..self.restarts.len() {
            let user = self.user_key_at(self.restarts[i] as usize);
            let digest = digest(&user[common..]).to_le_bytes();
            self.entries.extend_from_slice(&digest);
        }
        for restart in &self.restarts {
            self.entries.extend_from_slice(&restart.to_le_bytes());
        }
        self.entries.extend_from_slice(&self.base_seq.to_le_bytes());
        self.entries.extend_from_slice(&self.count.to_le_bytes());
        self.entries
            .extend_from_slice(&(common as u32).to_le_bytes());
        self.entries
            .extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        debug_assert_eq!(
            self.entries.len(),
            entries_end + self.restarts.len() * 12 + TAIL_LEN
        );
        let result = sink(&self.entries);
        self.entries.clear();
        self.restarts.clear();
        self.count = 0;
        self.since_restart = 0;
        self.last_user.clear();
        result
    }

    /// The user key of the restart entry at `at`, whose `shared` is 0.
    fn user_key_at(&self, at: usize) -> &[u8] {
        super::entry::get_header(&self.entries, at)
            .map_or(&[], |header| &self.entries[header.key_at..header.value_at])
    }
}
