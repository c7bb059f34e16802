//! The head of one entry of a block: everything but its value.
//!
//! Layout:
//!
//! ```text
//! shared      varint  how many bytes of the user key are those of the previous entry's user key
//! unshared    varint  how many bytes of the user key follow
//! value_len   varint  length of the value
//! tag         varint  zigzag(sequence number − reference) << 2 | kind
//! key         the unshared bytes of the user key
//! ```
//!
//! `shared` is exact: the longest common prefix with the previous user key. At a restart point it is 0. The reference of the sequence
//! number is the previous entry's; at a restart point the block's base. Readers rely on both.

use super::bytes::{Put, get_varint, unzigzag, varint_len, zigzag};
use crate::types::{SeqNo, ValueKind, encode_trailer};

/// The most bytes that a head takes before the key.
pub const MAX_HEAD_LEN: usize = 40;

/// A decoded head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes shared with the previous user key.
    pub shared: usize,
    /// Where the unshared bytes of the user key begin.
    pub key_at: usize,
    /// Where they end, and the next head begins.
    pub end: usize,
    /// Length of the value.
    pub value_len: usize,
    tag: u64,
}

impl Head {
    /// The sequence number, given the one that it is relative to.
    #[inline]
    pub fn seq(&self, reference: SeqNo) -> SeqNo {
        reference.wrapping_add_signed(unzigzag(self.tag >> 2))
    }

    /// The kind byte.
    #[inline]
    pub fn kind(&self) -> u8 {
        self.tag as u8 & 3
    }
}

/// A trailer from a sequence number and a kind byte.
#[inline]
pub fn trailer(seq: SeqNo, kind: u8) -> u64 {
    encode_trailer(seq, ValueKind::Delete) & !u64::from(kind)
}

/// Appends a head up to the key. `seq` is relative to `reference`; `kind` is at most 3.
#[inline]
pub fn put_head(
    out: &mut Vec<u8>,
    shared: usize,
    unshared: usize,
    value_len: usize,
    seq: SeqNo,
    reference: SeqNo,
    kind: u8,
) {
    out.put_varint(shared as u64);
    out.put_varint(unshared as u64);
    out.put_varint(value_len as u64);
    let difference = seq.wrapping_sub(reference) as i64;
    out.put_varint(zigzag(difference) << 2 | u64::from(kind & 3));
}

/// About how many bytes an entry takes.
#[inline]
pub fn entry_len(shared: usize, unshared: usize, value_len: usize) -> usize {
    // The tag rarely takes more than three bytes.
    varint_len(shared as u64)
        + varint_len(unshared as u64)
        + varint_len(value_len as u64)
        + 3
        + unshared
        + value_len
}

/// Decodes the head at `at`. `None` unless it lies before `heads.len()`, key included.
#[inline(always)]
pub fn get_head(heads: &[u8], at: usize) -> Option<Head> {
    // The usual lengths are decoded from one load of eight bytes: keys below 128 bytes, values below 16 KiB, a tag of up to three bytes.
    let word = match heads.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(word) => u64::from_le_bytes(*word),
        None => return get_long_head(heads, at),
    };
    if word & 0x8080_8080 == 0 {
        return head(
            heads,
            (word & 0x7f) as usize,
            (word >> 8 & 0x7f) as usize,
            word >> 16 & 0x7f,
            word >> 24 & 0x7f,
            at + 4,
        );
    }
    let (value_len, tag_at) = if word & 0x80_8080 == 0 {
        (word >> 16 & 0x7f, 3)
    } else if word & 0x8000_8080 == 0 {
        ((word >> 16 & 0x7f) | (word >> 17 & 0x3f80), 4)
    } else {
        return get_long_head(heads, at);
    };
    let rest = word >> (8 * tag_at);
    let (tag, tag_len) = if rest & 0x80 == 0 {
        (rest & 0x7f, 1)
    } else if rest & 0x8000 == 0 {
        ((rest & 0x7f) | (rest >> 1 & 0x3f80), 2)
    } else if rest & 0x80_0000 == 0 {
        (
            (rest & 0x7f) | (rest >> 1 & 0x3f80) | (rest >> 2 & 0x1f_c000),
            3,
        )
    } else {
        return get_long_head(heads, at);
    };
    head(
        heads,
        (word & 0x7f) as usize,
        (word >> 8 & 0x7f) as usize,
        value_len,
        tag,
        at + tag_at + tag_len,
    )
}

#[cold]
#[inline(never)]
fn get_long_head(heads: &[u8], mut at: usize) -> Option<Head> {
    let mut varint = || {
        let (value, len) = get_varint(heads.get(at..)?)?;
        at += len;
        Some(value)
    };
    let shared = usize::try_from(varint()?).ok()?;
    let unshared = usize::try_from(varint()?).ok()?;
    let value_len = varint()?;
    let tag = varint()?;
    head(heads, shared, unshared, value_len, tag, at)
}

#[inline(always)]
fn head(
    heads: &[u8],
    shared: usize,
    unshared: usize,
    value_len: u64,
    tag: u64,
    key_at: usize,
) -> Option<Head> {
    // What is shared was stored in full somewhere before.
    let end = key_at.checked_add(unshared)?;
    (end <= heads.len() && shared <= heads.len()).then_some(Head {
        shared,
        key_at,
        end,
        value_len: usize::try_from(value_len).ok()?,
        tag,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MAX_SEQ;

    #[test]
    fn every_shape_of_head_round_trips() {
        let lens = [0usize, 1, 127, 128, 300, 16_383, 16_384, 70_000];
        let seqs = [
            (5, 5),
            (5, 9),
            (0, MAX_SEQ),
            (MAX_SEQ, 0),
            (90, 5),
            (5, 1500),
        ];
        for shared in lens {
            for unshared in lens {
                for value_len in [0usize, 1, 127, 128, 300, 16_384, 1 << 40] {
                    for (seq, reference) in seqs {
                        let at = 3.max(shared);
                        let mut out = vec![9; at];
                        put_head(&mut out, shared, unshared, value_len, seq, reference, 1);
                        let key_at = out.len();
                        out.resize(key_at + unshared, 7);
                        let head = get_head(&out, at).unwrap();
                        assert_eq!(head.shared, shared);
                        assert_eq!(head.key_at, key_at);
                        assert_eq!(head.end, out.len());
                        assert_eq!(head.value_len, value_len);
                        assert_eq!((head.seq(reference), head.kind()), (seq, 1));
                        assert!(key_at - at <= MAX_HEAD_LEN);
                        assert_eq!(get_head(&out[..out.len() - 1], at), None);
                        assert_eq!(get_head(&out, out.len() + 1), None);
                    }
                }
            }
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for (shared, unshared) in [(50, 0), (usize::MAX, 0), (0, usize::MAX)] {
            let mut out = Vec::new();
            put_head(&mut out, shared, unshared, 0, 1, 1, 1);
            assert_eq!(get_head(&out, 0), None);
        }
    }

    #[test]
    fn trailer_of_a_kind_byte() {
        for kind in [ValueKind::Delete, ValueKind::Put] {
            assert_eq!(trailer(77, kind as u8), encode_trailer(77, kind));
        }
        assert_eq!(trailer(0, 0), u64::MAX);
    }
}
