//! Writes the layout that [`super::block`] describes.

use super::block::{POINT_LEN, TAIL_LEN, digest, shared_prefix_len};
use super::bytes::Put;
use super::clear_buffer;
use super::entry::{entry_len, get_head, put_head};
use crate::types::{KeyRef, SeqNo, decode_trailer};

/// Gathers entries, in ascending order, into one block.
pub struct BlockBuilder {
    restart_interval: usize,
    heads: Vec<u8>,
    values: Vec<u8>,
    /// Offsets of the restart points in `heads` and in `values`.
    restarts: Vec<(u32, u32)>,
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
            heads: Vec::new(),
            values: Vec::new(),
            restarts: Vec::new(),
            count: 0,
            since_restart: 0,
            last_user: Vec::new(),
            last_seq: 0,
            base_seq: 0,
        }
    }

    /// Appends an entry. The caller keeps the order, and starts a new block behind an entry of more than a few MiB.
    pub fn add(&mut self, key: KeyRef<'_>, value: &[u8]) {
        let (seq, kind) = decode_trailer(key.trailer);
        if self.count == 0 {
            self.base_seq = seq;
        }
        let (shared, reference) = if self.since_restart.is_multiple_of(self.restart_interval) {
            self.restarts
                .push((self.heads.len() as u32, self.values.len() as u32));
            self.since_restart = 0;
            (0, self.base_seq)
        } else {
            (shared_prefix_len(&self.last_user, key.user), self.last_seq)
        };
        let unshared = &key.user[shared..];
        put_head(
            &mut self.heads,
            shared,
            unshared.len(),
            value.len(),
            seq,
            reference,
            kind,
        );
        self.heads.extend_from_slice(unshared);
        self.values.extend_from_slice(value);
        self.last_user.truncate(shared);
        self.last_user.extend_from_slice(unshared);
        self.last_seq = seq;
        self.count += 1;
        self.since_restart += 1;
    }

    /// Length of the block if it were finished now, in bytes.
    pub fn len(&self) -> usize {
        self.heads.len() + self.values.len() + self.restarts.len() * POINT_LEN + TAIL_LEN
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// About how much an entry would add.
    pub fn cost_of(&self, key: KeyRef<'_>, value: &[u8]) -> usize {
        entry_len(0, key.user.len(), value.len()) + POINT_LEN / self.restart_interval
    }

    /// Completes the block, hands it to `sink`, and starts an empty one with the same buffers.
    pub fn finish<T>(&mut self, sink: impl FnOnce(&[u8]) -> T) -> T {
        let heads_len = self.heads.len() as u32;
        let common = if self.count == 0 {
            0
        } else {
            shared_prefix_len(self.user_key_at(0), &self.last_user)
        };
        let out = &mut self.heads;
        let heads = out.len();
        out.put(&self.values);
        for &(head_at, value_at) in &self.restarts {
            let digest = get_head(&out[..heads], head_at as usize)
                .and_then(|head| out.get(head.key_at..head.end))
                .map_or(0, |user| digest(user, common));
            out.put_u64(digest);
            out.put_u32(head_at);
            out.put_u32(value_at);
        }
        out.put_u64(self.base_seq);
        out.put_u32(self.count);
        out.put_u32(common as u32);
        out.put_u32(heads_len);
        out.put_u32(self.restarts.len() as u32);
        let result = sink(out);
        clear_buffer(&mut self.heads);
        clear_buffer(&mut self.values);
        self.restarts.clear();
        self.count = 0;
        self.since_restart = 0;
        self.last_user.clear();
        result
    }

    /// The user key of the restart point at `at`, which is stored whole.
    fn user_key_at(&self, at: usize) -> &[u8] {
        get_head(&self.heads, at)
            .and_then(|head| self.heads.get(head.key_at..head.end))
            .unwrap_or_default()
    }
}
