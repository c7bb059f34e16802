//! One entry of a block.
//!
//! Layout:
//!
//! ```text
//! shared      varint  how many bytes of the user key are those of the previous entry's user key
//! unshared    varint  how many bytes of the user key follow
//! value_len   varint  length of the value
//! tag         varint  zigzag(sequence number − reference) << 2 | kind
//! key         the unshared bytes of the user key
//! value       the value
//! ```
//!
//! `shared` is exact: the longest common prefix with the previous user key. At a restart point it is 0. The reference of the sequence
//! number is the previous entry's; at a restart point the block's base. Readers rely on both.

use super::varint::{get_varint, put_varint, unzigzag, varint_len, zigzag};
use crate::types::ValueKind;
use crate::types::{SeqNo, encode_trailer};

/// The most bytes that a header takes.
pub const MAX_HEADER_LEN: usize = 40;

/// The decoded header of an entry, with where its parts lie in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes shared with the previous user key.
    pub shared: usize,
    /// Where the unshared bytes of the user key begin.
    pub key_at: usize,
    /// Where the value begins: behind the unshared bytes.
    pub value_at: usize,
    /// Where the entry ends: behind the value.
    pub end: usize,
    tag: u64,
}

impl Header {
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

/// Appends the header of an entry. `seq` is relative to `reference`; `kind` is at most 3.
#[inline]
pub fn put_header(
    out: &mut Vec<u8>,
    shared: usize,
    unshared: usize,
    value_len: usize,
    seq: SeqNo,
    reference: SeqNo,
    kind: u8,
) {
    put_varint(out, shared as u64);
    put_varint(out, unshared as u64);
    put_varint(out, value_len as u64);
    put_varint(out, tag(seq, reference, kind));
}

/// Length of an entry as [`put_header`] and its bytes would append it.
#[inline]
pub fn entry_len(shared: usize, unshared: usize, value_len: usize) -> usize {
    // The tag rarely takes more than three bytes; the length is an estimate by as little.
    varint_len(shared as u64)
        + varint_len(unshared as u64)
        + varint_len(value_len as u64)
        + 3
        + unshared
        + value_len
}

#[inline]
fn tag(seq: SeqNo, reference: SeqNo, kind: u8) -> u64 {
    zigzag(seq.wrapping_sub(reference) as i64) << 2 | u64::from(kind & 3)
}

/// Decodes the header at `at`. `None` unless the whole entry, key and value included, lies before `entries.len()`.
#[inline]
pub fn get_header(entries: &[u8], at: usize) -> Option<Header> {
    // The first eight bytes decide: lengths of one byte, and a value length of two, are decoded from one load.
    if let Some(head) = entries.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let head = u64::from_le_bytes(*head);
        if head & 0x8080_8080 == 0 {
            return header(
                entries,
                (head & 0x7f) as usize,
                (head >> 8 & 0x7f) as usize,
                head >> 16 & 0x7f,
                head >> 24 & 0x7f,
                at + 4,
            );
        }
        if head & 0x80_8080_8080 == 0x80_0000 {
            return header(
                entries,
                (head & 0x7f) as usize,
                (head >> 8 & 0x7f) as usize,
                (head >> 16 & 0x7f) | (head >> 17 & 0x3f80),
                head >> 32 & 0x7f,
                at + 5,
            );
        }
    }
    get_long_header(entries, at)
}

fn get_long_header(entries: &[u8], mut at: usize) -> Option<Header> {
    let mut varint = || {
        let (value, len) = get_varint(entries.get(at..)?)?;
        at += len;
        Some(value)
    };
    let shared = usize::try_from(varint()?).ok()?;
    let unshared = usize::try_from(varint()?).ok()?;
    let value_len = varint()?;
    let tag = varint()?;
    header(entries, shared, unshared, value_len, tag, at)
}

#[inline]
fn header(
    entries: &[u8],
    shared: usize,
    unshared: usize,
    value_len: u64,
    tag: u64,
    key_at: usize,
) -> Option<Header> {
    let value_at = key_at.checked_add(unshared)?;
    let end = value_at.checked_add(usize::try_from(value_len).ok()?)?;
    (end <= entries.len()).then_some(Header {
        shared,
        key_at,
        value_at,
        end,
        tag,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MAX_SEQ;

    #[test]
    fn every_shape_of_header_round_trips() {
        let lens = [0usize, 1, 127, 128, 300, 16_383, 16_384, 70_000];
        for shared in lens {
            for unshared in lens {
                for value_len in lens {
                    for (seq, reference) in [(5, 5), (5, 9), (0, MAX_SEQ), (MAX_SEQ, 0), (90, 5)] {
                        let mut out = vec![9; 3];
                        put_header(&mut out, shared, unshared, value_len, seq, reference, 1);
                        let key_at = out.len();
                        out.resize(key_at + unshared + value_len, 7);
                        let header = get_header(&out, 3).unwrap();
                        assert_eq!(header.shared, shared);
                        assert_eq!(header.key_at, key_at);
                        assert_eq!(header.value_at, key_at + unshared);
                        assert_eq!(header.end, out.len());
                        assert_eq!((header.seq(reference), header.kind()), (seq, 1));
                        assert!(key_at - 3 <= MAX_HEADER_LEN);
                        assert_eq!(get_header(&out[..out.len() - 1], 3), None);
                        assert_eq!(get_header(&out, out.len() + 1), None);
                    }
                }
            }
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
