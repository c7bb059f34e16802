//! The properties block: what an SST holds, in total and by index.
//!
//! Layout of the raw block: a sequence of `varint tag | varint length | bytes`, tags ascending. A reader skips tags that it does not know.
//!
//! ```text
//! 1  entries           varint
//! 2  deletions         varint
//! 3  key bytes         varint   user keys, uncompressed
//! 4  value bytes       varint   uncompressed
//! 5  smallest key      internal key
//! 6  largest key       internal key
//! 7  smallest seq      varint
//! 8  largest seq       varint
//! 9  data end          varint   offset behind the last data block
//! 10 data blocks       varint
//! 11 index statistics  varint n, then n times: varint index id (as the difference to the one before), varint entries, deletions, key bytes,
//!                      value bytes
//! 12 creator           text: name and version of the program that wrote the file
//! ```

use super::bytes::{Put, Reader};
use crate::types::{IndexId, InternalKeyBuf, SeqNo};
use crate::{Error, Result};

/// How much of a file belongs to one index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// The index.
    pub index_id: IndexId,
    /// Its entries, deletions included.
    pub entries: u64,
    /// How many of them are deletions.
    pub deletions: u64,
    /// Bytes of their user keys.
    pub key_bytes: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
}

/// What an SST holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Number of entries, deletions included.
    pub entries: u64,
    /// How many of them are deletions.
    pub deletions: u64,
    /// Bytes of all user keys, uncompressed.
    pub key_bytes: u64,
    /// Bytes of all values, uncompressed.
    pub value_bytes: u64,
    /// The first key.
    pub smallest: InternalKeyBuf,
    /// The last key.
    pub largest: InternalKeyBuf,
    /// The smallest sequence number.
    pub smallest_seq: SeqNo,
    /// The largest sequence number.
    pub largest_seq: SeqNo,
    /// The offset behind the last data block.
    pub data_end: u64,
    /// Number of data blocks.
    pub data_blocks: u64,
    /// By index, ascending.
    pub indexes: Vec<IndexStats>,
    /// Name and version of the program that wrote the file.
    pub creator: String,
}

const ENTRIES: u64 = 1;
const DELETIONS: u64 = 2;
const KEY_BYTES: u64 = 3;
const VALUE_BYTES: u64 = 4;
const SMALLEST: u64 = 5;
const LARGEST: u64 = 6;
const SMALLEST_SEQ: u64 = 7;
const LARGEST_SEQ: u64 = 8;
const DATA_END: u64 = 9;
const DATA_BLOCKS: u64 = 10;
const INDEXES: u64 = 11;
const CREATOR: u64 = 12;

impl Properties {
    /// The raw block.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut scratch = Vec::new();
        let mut number = |out: &mut Vec<u8>, tag, value| {
            scratch.clear();
            scratch.put_varint(value);
            put(out, tag, &scratch);
        };
        number(&mut out, ENTRIES, self.entries);
        number(&mut out, DELETIONS, self.deletions);
        number(&mut out, KEY_BYTES, self.key_bytes);
        number(&mut out, VALUE_BYTES, self.value_bytes);
        put(&mut out, SMALLEST, self.smallest.as_bytes());
        put(&mut out, LARGEST, self.largest.as_bytes());
        number(&mut out, SMALLEST_SEQ, self.smallest_seq);
        number(&mut out, LARGEST_SEQ, self.largest_seq);
        number(&mut out, DATA_END, self.data_end);
        number(&mut out, DATA_BLOCKS, self.data_blocks);
        put(&mut out, INDEXES, &encode_indexes(&self.indexes));
        put(&mut out, CREATOR, self.creator.as_bytes());
        out
    }

    /// Reads a raw block.
    pub fn decode(raw: &[u8]) -> Result<Self> {
        let mut properties = Self::default();
        let mut reader = Reader::new(raw);
        let mut last_tag = 0;
        while !reader.is_empty() {
            let tag = reader.varint("property tag")?;
            if tag <= last_tag {
                return Err(Error::corruption(format!(
                    "property {tag} follows {last_tag}"
                )));
            }
            last_tag = tag;
            let bytes = reader.varint_prefixed("property")?;
            let number = || {
                let mut reader = Reader::new(bytes);
                let value = reader.varint("property")?;
                reader.finish("property")?;
                Ok::<_, Error>(value)
            };
            match tag {
                ENTRIES => properties.entries = number()?,
                DELETIONS => properties.deletions = number()?,
                KEY_BYTES => properties.key_bytes = number()?,
                VALUE_BYTES => properties.value_bytes = number()?,
                SMALLEST => properties.smallest = InternalKeyBuf::from_encoded(bytes),
                LARGEST => properties.largest = InternalKeyBuf::from_encoded(bytes),
                SMALLEST_SEQ => properties.smallest_seq = number()?,
                LARGEST_SEQ => properties.largest_seq = number()?,
                DATA_END => properties.data_end = number()?,
                DATA_BLOCKS => properties.data_blocks = number()?,
                INDEXES => properties.indexes = decode_indexes(bytes)?,
                CREATOR => properties.creator = String::from_utf8_lossy(bytes).into_owned(),
                _ => {}
            }
        }
        if last_tag < CREATOR {
            return Err(Error::corruption("properties end early"));
        }
        Ok(properties)
    }
}

/// Appends one property.
fn put(out: &mut Vec<u8>, tag: u64, bytes: &[u8]) {
    out.put_varint(tag);
    out.put_varint_prefixed(bytes);
}

fn encode_indexes(indexes: &[IndexStats]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(indexes.len() as u64);
    let mut previous = 0;
    for stats in indexes {
        out.put_varint(u64::from(stats.index_id.wrapping_sub(previous)));
        previous = stats.index_id;
        out.put_varint(stats.entries);
        out.put_varint(stats.deletions);
        out.put_varint(stats.key_bytes);
        out.put_varint(stats.value_bytes);
    }
    out
}

fn decode_indexes(bytes: &[u8]) -> Result<Vec<IndexStats>> {
    let mut reader = Reader::new(bytes);
    let count = reader.varint("number of indexes")?;
    // Each takes at least five bytes.
    if count > bytes.len() as u64 / 5 {
        return Err(Error::corruption(format!(
            "{count} index statistics do not fit in {} bytes",
            bytes.len()
        )));
    }
    let mut indexes = Vec::with_capacity(count as usize);
    let mut previous: IndexId = 0;
    for _ in 0..count {
        previous = previous.wrapping_add(reader.varint32("index id")?);
        indexes.push(IndexStats {
            index_id: previous,
            entries: reader.varint("entries of an index")?,
            deletions: reader.varint("deletions of an index")?,
            key_bytes: reader.varint("key bytes of an index")?,
            value_bytes: reader.varint("value bytes of an index")?,
        });
    }
    reader.finish("index statistics")?;
    Ok(indexes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ValueKind;

    fn sample() -> Properties {
        let stats = |index_id, n| IndexStats {
            index_id,
            entries: n,
            deletions: n / 3,
            key_bytes: n * 12,
            value_bytes: n * 300,
        };
        Properties {
            entries: 1000,
            deletions: 300,
            key_bytes: 12_000,
            value_bytes: 1 << 40,
            smallest: InternalKeyBuf::new(b"a", 7, ValueKind::Put),
            largest: InternalKeyBuf::new(b"zz", 9, ValueKind::Delete),
            smallest_seq: 3,
            largest_seq: 1 << 50,
            data_end: 123_456,
            data_blocks: 17,
            indexes: vec![stats(0, 5), stats(7, 900), stats(u32::MAX, 2)],
            creator: "test 1".into(),
        }
    }

    #[test]
    fn round_trip() {
        for properties in [sample(), Properties::default()] {
            assert_eq!(
                Properties::decode(&properties.encode()).unwrap(),
                properties
            );
        }
    }

    #[test]
    fn unknown_tags_are_skipped() {
        let mut raw = sample().encode();
        put(&mut raw, 200, b"of a later version");
        assert_eq!(Properties::decode(&raw).unwrap(), sample());
    }

    #[test]
    fn damage_never_panics() {
        let raw = sample().encode();
        for at in 0..raw.len() {
            assert!(Properties::decode(&raw[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = raw.clone();
                bad[at] ^= 1 << bit;
                let _ = Properties::decode(&bad);
            }
        }
    }
}
