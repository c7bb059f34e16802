//! A block of entries: data blocks, index partitions and top indexes alike.
//!
//! Layout of the raw block, all numbers little endian:
//!
//! ```text
//! entries     as `entry` describes, internal keys ascending
//! digests     u64 each, one a restart point: the 8 bytes of its user key behind the common prefix, as a big-endian number,
//!             padded with zeros
//! restarts    u32 each: offsets of the restart points in the block, ascending, the first 0
//! base        u64  the sequence number that those of restart points are relative to
//! count       u32  number of entries
//! common      u32  length of the prefix that all user keys of the block share
//! n           u32  number of restart points
//! ```
//!
//! A restart point is an entry whose user key is stored whole. A search compares numbers of the dense digest array first: it finds the
//! restart interval without touching the entries, save where digests are equal. Within the interval it compares only bytes that
//! it has not seen match yet: since `shared` is the exact common prefix with the previous entry, `shared` alone decides every entry that
//! parts from its predecessor before or after the place where the predecessor parted from the target.
//!
//! An empty block has no restart points and no entries.

use std::cmp::Ordering;

use bytes::Bytes;

use super::entry::{Header, get_header, trailer};
use super::varint::Reader;
use crate::types::{KeyRef, MAX_SEQ, SeqNo};
use crate::{Error, Result};

/// Length of the fixed part at the end.
pub const TAIL_LEN: usize = 20;

const DIGEST_LEN: usize = 8;
const RESTART_LEN: usize = 4;

/// The length of the longest common prefix.
#[inline]
pub fn shared_prefix_len(a: &[u8], b: &[u8]) -> usize {
    let limit = a.len().min(b.len());
    let mut len = 0;
    while let (Some(x), Some(y)) = (
        a.get(len..).and_then(|rest| rest.first_chunk::<8>()),
        b.get(len..).and_then(|rest| rest.first_chunk::<8>()),
    ) {
        let differing = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differing != 0 {
            return len + (differing.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    while len < limit && a[len] == b[len] {
        len += 1;
    }
    len
}

/// The first 8 bytes of `bytes` as a number that orders as they do.
#[inline]
pub fn digest(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(whole) => u64::from_be_bytes(*whole),
        None => bytes
            .iter()
            .chain(std::iter::repeat(&0))
            .take(8)
            .fold(0, |number, &byte| number << 8 | u64::from(byte)),
    }
}

/// Where a search ended: an entry, with what is needed to go on from it.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Where the entry begins.
    pub at: usize,
    /// Its header.
    pub header: Header,
    /// Its sequence number.
    pub seq: SeqNo,
    /// The restart interval it is in.
    pub interval: usize,
    /// Whether its user key is the target's. If not, it begins with the first `shared` bytes of the target's all the same.
    pub same_user: bool,
}

impl Position {
    /// The entry's trailer.
    #[inline]
    pub fn trailer(&self) -> u64 {
        trailer(self.seq, self.header.kind())
    }
}

/// A raw block, checked as a whole and ready to be searched. Entries are checked one by one as they are reached.
#[derive(Debug)]
pub struct Block {
    data: Bytes,
    entries_end: usize,
    digests_end: usize,
    base_seq: SeqNo,
    count: u32,
    common: usize,
    /// Where the first entry's user key begins; the common prefix is read from there.
    first_key_at: usize,
}

fn corrupt(what: &str, at: usize) -> Error {
    Error::corruption(format!("{what} at byte {at} of the block"))
}

impl Block {
    /// Takes a raw block.
    pub fn parse(data: Bytes) -> Result<Self> {
        let Some(tail_at) = data.len().checked_sub(TAIL_LEN) else {
            return Err(corrupt("block is shorter than its tail", data.len()));
        };
        let mut tail = Reader::new(&data[tail_at..]);
        let base_seq = tail.u64("base")?;
        let count = tail.u32("count")?;
        let common = tail.u32("common")? as usize;
        let restarts = tail.u32("n")? as usize;
        let arrays = restarts.checked_mul(DIGEST_LEN + RESTART_LEN);
        let Some(entries_end) = arrays.and_then(|len| tail_at.checked_sub(len)) else {
            return Err(corrupt("more restart points than fit", tail_at));
        };
        let mut block = Self {
            entries_end,
            digests_end: entries_end + restarts * DIGEST_LEN,
            base_seq,
            count,
            common,
            first_key_at: 0,
            data,
        };
        if restarts == 0 || count == 0 {
            if restarts != 0 || count != 0 || entries_end != 0 || common != 0 {
                return Err(corrupt("an empty block has contents", tail_at));
            }
            return Ok(block);
        }
        let first = block.header_at(0)?;
        if first.shared != 0 || common > first.value_at - first.key_at || block.restart(0) != 0 {
            return Err(corrupt("malformed first entry", 0));
        }
        block.first_key_at = first.key_at;
        Ok(block)
    }

    /// The raw bytes.
    #[inline]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Number of entries.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Where the entries end.
    #[inline]
    pub fn entries_end(&self) -> usize {
        self.entries_end
    }

    /// The sequence number that those of restart points are relative to.
    #[inline]
    pub fn base_seq(&self) -> SeqNo {
        self.base_seq
    }

    /// Number of restart points.
    #[inline]
    pub fn restarts(&self) -> usize {
        (self.digests_end - self.entries_end) / DIGEST_LEN
    }

    /// Where restart point `i` begins; the end of the entries if there is no such restart point.
    #[inline]
    pub fn restart(&self, i: usize) -> usize {
        let at = self.digests_end + i * RESTART_LEN;
        if i >= self.restarts() {
            return self.entries_end;
        }
        self.data
            .get(at..)
            .and_then(|rest| rest.first_chunk::<RESTART_LEN>())
            .map_or(self.entries_end, |bytes| {
                u32::from_le_bytes(*bytes) as usize
            })
    }

    /// The header of the entry that begins at `at`, checked to end within the entries.
    #[inline]
    pub fn header_at(&self, at: usize) -> Result<Header> {
        get_header(&self.data[..self.entries_end], at).ok_or_else(|| corrupt("malformed entry", at))
    }

    /// The first entry at or after `target`; `None` if all are before it.
    pub fn lower_bound(&self, target: KeyRef<'_>) -> Result<Option<Position>> {
        if self.count == 0 {
            return Ok(None);
        }
        let common = &self.data[self.first_key_at..self.first_key_at + self.common];
        let matched = shared_prefix_len(common, target.user);
        if matched < common.len() {
            // The target parts from all keys at once, and lies before or after them all.
            return match target.user.get(matched) {
                Some(&byte) if byte > common[matched] => Ok(None),
                _ => self.first().map(Some),
            };
        }
        let interval = self.interval_of(target)?;
        self.scan(target, interval)
    }

    /// The first entry.
    fn first(&self) -> Result<Position> {
        let header = self.header_at(0)?;
        Ok(Position {
            at: 0,
            header,
            seq: header.seq(self.base_seq),
            interval: 0,
            same_user: false,
        })
    }

    #[inline]
    fn digests(&self) -> &[[u8; DIGEST_LEN]] {
        self.data[self.entries_end..self.digests_end]
            .as_chunks::<DIGEST_LEN>()
            .0
    }

    /// The last restart interval that begins at or before `target`, which has the common prefix; the first one if all begin after it.
    fn interval_of(&self, target: KeyRef<'_>) -> Result<usize> {
        let wanted = digest(&target.user[self.common..]);
        let digests = self.digests();
        let mut low = digests.partition_point(|digest| u64::from_le_bytes(*digest) < wanted);
        let ties = digests[low..].partition_point(|digest| u64::from_le_bytes(*digest) <= wanted);
        let mut high = low + ties;
        while low < high {
            let middle = low.midpoint(high);
            let header = self.header_at(self.restart(middle))?;
            let user = &self.data[header.key_at..header.value_at];
            let order = user.cmp(target.user).then_with(|| {
                trailer(header.seq(self.base_seq), header.kind()).cmp(&target.trailer)
            });
            if order == Ordering::Greater {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low.saturating_sub(1))
    }

    /// The first entry at or after `target`, from the start of the interval that [`Block::interval_of`] gave.
    fn scan(&self, target: KeyRef<'_>, mut interval: usize) -> Result<Option<Position>> {
        let entries = &self.data[..self.entries_end];
        let mut at = self.restart(interval);
        let mut seq = self.base_seq;
        let mut matched = 0;
        let mut next_restart = self.restart(interval + 1);
        loop {
            if at >= next_restart {
                if at >= entries.len() {
                    return Ok(None);
                }
                // The next restart point is behind the target, so the scan ends there; what is left to learn is whether their user keys are
                // the same.
                matched = 0;
                interval += 1;
                seq = self.base_seq;
                next_restart = self.restart(interval + 1);
            }
            let header = get_header(entries, at).ok_or_else(|| corrupt("malformed entry", at))?;
            seq = header.seq(seq);
            let found = |same_user| {
                Ok(Some(Position {
                    at,
                    header,
                    seq,
                    interval,
                    same_user,
                }))
            };
            match header.shared.cmp(&matched) {
                Ordering::Less => return found(false),
                Ordering::Equal => {
                    let rest = &target.user[matched..];
                    let unshared = &entries[header.key_at..header.value_at];
                    let equal = shared_prefix_len(unshared, rest);
                    if equal == unshared.len() {
                        if equal == rest.len() && trailer(seq, header.kind()) >= target.trailer {
                            return found(true);
                        }
                        matched += equal;
                    } else if equal == rest.len() || unshared[equal] > rest[equal] {
                        return found(false);
                    } else {
                        matched += equal;
                    }
                }
                Ordering::Greater => {}
            }
            at = header.end;
        }
    }

    /// Checks that a decoded sequence number can be one.
    #[inline]
    pub fn check_seq(&self, seq: SeqNo, at: usize) -> Result<()> {
        if seq > MAX_SEQ {
            return Err(corrupt("sequence number out of range", at));
        }
        Ok(())
    }
}
