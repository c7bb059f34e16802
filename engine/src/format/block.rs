//! A block of entries: data blocks, index partitions and top indexes alike.
//!
//! Layout of the raw block, all numbers little endian:
//!
//! ```text
//! heads       of all entries, internal keys ascending, as `entry` describes
//! values      of all entries, in the same order, without gaps
//! points      one for each restart point, 16 bytes each:
//!             u64  digest: the 8 bytes of its user key behind the common prefix, as a big-endian number, padded with zeros
//!             u32  where its head begins; the first at 0, ascending
//!             u32  where its value begins, counted from the start of the values
//! base        u64  the sequence number that those of restart points are relative to
//! count       u32  number of entries
//! common      u32  length of the prefix that all user keys of the block share
//! heads_len   u32  length of the heads
//! n           u32  number of restart points
//! ```
//!
//! A restart point is an entry whose user key is stored whole. An empty block has neither restart points nor entries. In an index every
//! entry is a restart point, and every value is a handle of fixed length, so that its entries are found by their number.
//!
//! A search compares the numbers of the dense array of points first: it finds the restart interval without touching a key, save where
//! digests are equal. Within the interval it goes over the heads, which lie together, apart from the values; and it compares only bytes
//! that it has not seen match yet: since `shared` is the exact common prefix with the previous entry, `shared` alone decides every
//! entry that diverges from its predecessor before or after the place where the predecessor diverged from the target.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;

use super::bytes::{corrupt, u32_at, u64_at};
use super::entry::{Head, get_head, trailer};
use crate::Result;
use crate::types::{KeyRef, MAX_SEQ, SeqNo};

/// Length of the fixed part at the end.
pub const TAIL_LEN: usize = 24;

/// Length of what is stored of a restart point.
pub const POINT_LEN: usize = 16;

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

/// The 8 bytes of `key` from `from` on, as a number that orders as they do; padded with zeros.
#[inline]
pub fn digest(key: &[u8], from: usize) -> u64 {
    let rest = key.get(from..).unwrap_or_default();
    if let Some(whole) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*whole);
    }
    match key.last_chunk::<8>() {
        // The bytes before `from` are shifted out.
        Some(_) if rest.is_empty() => 0,
        Some(last) => u64::from_be_bytes(*last) << (64 - 8 * rest.len()),
        None => {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(padded)
        }
    }
}

/// A restart point as it is stored.
#[derive(Clone, Copy)]
struct Point([u8; POINT_LEN]);

impl Point {
    #[inline]
    fn digest(&self) -> u64 {
        u64_at::<0, _>(&self.0)
    }

    #[inline]
    fn head_at(&self) -> usize {
        u32_at::<8, _>(&self.0) as usize
    }

    #[inline]
    fn value_at(&self) -> usize {
        u32_at::<12, _>(&self.0) as usize
    }
}

/// What a search found: the first entry at or after the target. Its user key begins with the first `head.shared` bytes of the target's.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// The entry's head.
    pub head: Head,
    /// Where the head begins.
    pub at: usize,
    /// Where the value begins in the block.
    pub value_at: usize,
    /// The sequence number.
    pub seq: SeqNo,
    /// The restart interval that the entry is in.
    pub interval: usize,
    /// Whether its user key is the target's.
    pub same_user: bool,
}

/// How the user key of an entry compares with a target's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Before,
    SameUser,
    After,
}

/// Compares what follows the matched part of both keys; also returns how many more bytes match.
#[inline(always)]
fn compare_unshared(unshared: &[u8], rest: &[u8]) -> (Verdict, usize) {
    // Mostly the first byte decides.
    let equal = match (unshared.first(), rest.first()) {
        (Some(byte), Some(wanted)) if byte != wanted => 0,
        _ => shared_prefix_len(unshared, rest),
    };
    let verdict = match (unshared.get(equal), rest.get(equal)) {
        (Some(byte), Some(wanted)) if byte < wanted => Verdict::Before,
        (Some(_), _) => Verdict::After,
        (None, Some(_)) => Verdict::Before,
        (None, None) => Verdict::SameUser,
    };
    (verdict, equal)
}

/// A raw block, checked as a whole and ready to be searched. Entries are checked one by one as they are reached.
#[derive(Debug)]
pub struct Block {
    data: Bytes,
    heads_len: usize,
    values_end: usize,
    points_end: usize,
    base_seq: SeqNo,
    count: u32,
    common: usize,
    /// Where the first entry's user key begins; the common prefix is read from there.
    first_key_at: usize,
}

impl Block {
    /// Takes a raw block.
    pub fn parse(data: Bytes) -> Result<Self> {
        let Some(tail) = data.last_chunk::<TAIL_LEN>() else {
            return Err(corrupt("a block shorter than its tail", data.len()));
        };
        let tail_at = data.len() - TAIL_LEN;
        let base_seq = u64_at::<0, _>(tail);
        let count = u32_at::<8, _>(tail);
        let common = u32_at::<12, _>(tail) as usize;
        let heads_len = u32_at::<16, _>(tail) as usize;
        let points = u32_at::<20, _>(tail) as usize;
        let Some(values_end) = points
            .checked_mul(POINT_LEN)
            .and_then(|len| tail_at.checked_sub(len))
            .filter(|&values_end| heads_len <= values_end)
        else {
            return Err(corrupt(
                "more heads or restart points than fit in a block",
                tail_at,
            ));
        };
        let mut block = Self {
            heads_len,
            values_end,
            points_end: tail_at,
            base_seq,
            count,
            common,
            first_key_at: 0,
            data,
        };
        if count == 0 {
            if tail_at != 0 || common != 0 {
                return Err(corrupt("an empty block with contents", tail_at));
            }
            return Ok(block);
        }
        let first =
            get_head(block.heads(), 0).ok_or_else(|| corrupt("malformed entry of a block", 0))?;
        if block.interval_at(0) != 0 || first.shared != 0 || common > first.end - first.key_at {
            return Err(corrupt("malformed first entry of a block", 0));
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
    #[inline]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Number of restart intervals.
    #[inline]
    pub fn intervals(&self) -> usize {
        (self.points_end - self.values_end) / POINT_LEN
    }

    /// The bytes of `range`; none if it does not lie inside.
    #[inline]
    pub fn slice(&self, range: Range<usize>) -> &[u8] {
        self.data.get(range).unwrap_or_default()
    }

    /// The heads of all entries.
    #[inline]
    pub fn heads(&self) -> &[u8] {
        &self.data[..self.heads_len]
    }

    /// Where the values end.
    #[inline]
    pub fn values_end(&self) -> usize {
        self.values_end
    }

    /// The sequence number that those of restart points are relative to.
    #[inline]
    pub fn base_seq(&self) -> SeqNo {
        self.base_seq
    }

    #[inline]
    fn points(&self) -> &[[u8; POINT_LEN]] {
        self.data[self.values_end..self.points_end]
            .as_chunks::<POINT_LEN>()
            .0
    }

    /// Where the first head of interval `i` begins; the end of the heads behind the last interval.
    #[inline]
    pub fn interval_at(&self, i: usize) -> usize {
        self.points()
            .get(i)
            .map_or(self.heads_len, |point| Point(*point).head_at())
    }

    /// Where the first head and the first value of interval `i` begin; the ends of heads and values behind the last interval.
    #[inline]
    pub fn interval_start(&self, i: usize) -> (usize, usize) {
        match self.points().get(i) {
            Some(point) => {
                let point = Point(*point);
                (point.head_at(), self.heads_len + point.value_at())
            }
            None => (self.heads_len, self.values_end),
        }
    }

    /// Value number `i` of a block in which all values have `N` bytes.
    #[inline]
    pub fn fixed_value<const N: usize>(&self, i: usize) -> Option<[u8; N]> {
        let values = self.data[self.heads_len..self.values_end].as_chunks::<N>();
        values.0.get(i).copied()
    }

    /// The first entry at or after `target`; `None` if all are before it.
    pub fn lower_bound(&self, target: KeyRef<'_>) -> Result<Option<Hit>> {
        if self.count == 0 {
            return Ok(None);
        }
        match self.compare_common(target) {
            Ordering::Equal => {
                let before = self.points_before(target)?;
                self.scan(target, before.saturating_sub(1))
            }
            Ordering::Less => self.scan(target, 0),
            Ordering::Greater => Ok(None),
        }
    }

    /// The number of the first restart point at or after `target`; that of all restart points if none is.
    pub fn first_point_at_or_after(&self, target: KeyRef<'_>) -> Result<usize> {
        if self.count == 0 {
            return Ok(0);
        }
        match self.compare_common(target) {
            Ordering::Equal => self.points_before(target),
            Ordering::Less => Ok(0),
            Ordering::Greater => Ok(self.intervals()),
        }
    }

    /// How `target` compares with the common prefix: equal if it begins with it, otherwise before or after all keys.
    #[inline]
    fn compare_common(&self, target: KeyRef<'_>) -> Ordering {
        let common = self.slice(self.first_key_at..self.first_key_at + self.common);
        match target.user.get(..common.len()) {
            Some(start) => start.cmp(common),
            None => target.user.cmp(common),
        }
    }

    /// How many restart points are before `target`, which begins with the common prefix.
    #[inline]
    fn points_before(&self, target: KeyRef<'_>) -> Result<usize> {
        let wanted = digest(target.user, self.common);
        let points = self.points();
        let mut low = points.partition_point(|point| Point(*point).digest() < wanted);
        let mut high = low;
        while points
            .get(high)
            .is_some_and(|point| Point(*point).digest() == wanted)
        {
            high += 1;
        }
        while low < high {
            let middle = low.midpoint(high);
            if self.point_is_before(middle, target)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn point_is_before(&self, i: usize, target: KeyRef<'_>) -> Result<bool> {
        let at = self.interval_at(i);
        let head =
            get_head(self.heads(), at).ok_or_else(|| corrupt("malformed entry of a block", at))?;
        let user = self.slice(head.key_at..head.end);
        let order = user
            .cmp(target.user)
            .then_with(|| trailer(head.seq(self.base_seq), head.kind()).cmp(&target.trailer));
        Ok(order == Ordering::Less)
    }

    /// The first entry at or after `target`, from the start of `interval`. That begins before the target, or is the first one; the one behind
    /// it does not begin before the target.
    #[inline]
    fn scan(&self, target: KeyRef<'_>, mut interval: usize) -> Result<Option<Hit>> {
        let heads = self.heads();
        let (mut at, mut value_at) = self.interval_start(interval);
        let mut interval_end = self.interval_at(interval + 1);
        let mut seq = self.base_seq;
        let mut matched = 0;
        loop {
            let Some(head) = get_head(heads, at) else {
                return Err(corrupt("malformed entry of a block", at));
            };
            seq = head.seq(seq);
            if head.shared <= matched {
                let verdict = if head.shared < matched {
                    Verdict::After
                } else {
                    let rest = target.user.get(matched..).unwrap_or_default();
                    let unshared = self.slice(head.key_at..head.end);
                    let (verdict, more) = compare_unshared(unshared, rest);
                    matched += more;
                    verdict
                };
                let same_user = verdict == Verdict::SameUser;
                if verdict == Verdict::After
                    || same_user && trailer(seq, head.kind()) >= target.trailer
                {
                    return self.hit(head, at, value_at, seq, interval, same_user);
                }
            }
            at = head.end;
            value_at = value_at.saturating_add(head.value_len);
            if at >= interval_end {
                if at >= heads.len() {
                    return Ok(None);
                }
                // The scan ends at this restart point, which is not before the target; what remains to be seen is whether their user keys are the
                // same.
                interval += 1;
                interval_end = self.interval_at(interval + 1);
                seq = self.base_seq;
                matched = 0;
            }
        }
    }

    #[inline]
    fn hit(
        &self,
        head: Head,
        at: usize,
        value_at: usize,
        seq: SeqNo,
        interval: usize,
        same_user: bool,
    ) -> Result<Option<Hit>> {
        self.check(&head, at, value_at, seq)?;
        Ok(Some(Hit {
            head,
            at,
            value_at,
            seq,
            interval,
            same_user,
        }))
    }

    /// Checks that the value of an entry lies inside and its sequence number is one.
    #[inline]
    pub fn check(&self, head: &Head, at: usize, value_at: usize, seq: SeqNo) -> Result<()> {
        let end = value_at.saturating_add(head.value_len);
        if end > self.values_end || seq > MAX_SEQ {
            return Err(corrupt("malformed entry of a block", at));
        }
        Ok(())
    }
}
