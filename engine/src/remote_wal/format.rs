//! The bytes of a chunk of the log in the store, `wal/<20-digit id>`. All numbers are little endian.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic `SEWALOBJ` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | kind: 1 records, 2 fence |
//! | 16 | 8 | id; equals the number in the object's key |
//! | 24 | 8 | epoch of the writer |
//! | 32 | 16 | the number that the writer drew when it attached |
//! | 48 | 8 | log position at which the chunk begins: the end of the chunk before |
//! | 56 | 8 | log position at which it ends, and the next one begins |
//! | 64 | 8 | id of the chunk that follows |
//! | 72 | 8 | log position up to which all was known to be in the store when the chunk was made |
//! | 80 | 4 | number of records n |
//! | 84 | | n records: u64 log position, u64 length, payload |
//! | last 4 | 4 | CRC-32 (IEEE) of all before it |
//!
//! A fence has no records and ends where it begins. The payloads are those of the local log, each record whole.

use std::ops::Range;

use crate::format::bytes::{Fixed, Frame, Put, Reader, corrupt};
use crate::format::number::parse_number;
use crate::{Error, Result, ResultExt};

/// What the keys of chunks begin with.
pub const CHUNK_PREFIX: &str = "wal/";

const FRAME: Frame = Frame {
    name: "a chunk of the log",
    magic: *b"SEWALOBJ",
    versions: 1..=1,
    len: None,
};
/// The version that is written.
pub const VERSION: u32 = *FRAME.versions.end();
const HEADER_LEN: usize = 84;
const RECORD_HEADER_LEN: usize = 16;

/// Bytes of a fence; a chunk with records has more.
pub const FENCE_LEN: u64 = (HEADER_LEN + Frame::TAIL_LEN) as u64;

/// The key of a chunk's object.
pub fn chunk_key(id: u64) -> String {
    format!("{CHUNK_PREFIX}{id:020}")
}

/// The id of the chunk that an object's key names, if it names one.
pub fn parse_chunk_key(key: &str) -> Option<u64> {
    parse_number(key.strip_prefix(CHUNK_PREFIX)?)
}

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// A piece of the log.
    Records = 1,
    /// The place at which a writer took over.
    Fence = 2,
}

/// What a chunk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Whether it holds records.
    pub kind: ChunkKind,
    /// Its number.
    pub id: u64,
    /// The epoch of its writer.
    pub epoch: u64,
    /// The number that its writer drew when it attached.
    pub writer_id: u128,
    /// The log position at which it begins.
    pub start: u64,
    /// The log position at which it ends.
    pub end: u64,
    /// The id of the chunk that follows.
    pub next: u64,
    /// The log position up to which all was known to be in the store when it was made.
    pub durable: u64,
}

/// A chunk that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// What it says of itself.
    pub header: ChunkHeader,
    /// Log position of each record, and where its payload lies in the object's bytes.
    pub records: Vec<(u64, Range<usize>)>,
}

/// A chunk in the making.
pub struct ChunkBuilder {
    bytes: Vec<u8>,
    records: u32,
}

impl ChunkBuilder {
    /// An empty one, with room for about `payload` bytes.
    pub fn new(payload: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload + Frame::TAIL_LEN);
        bytes.resize(HEADER_LEN, 0);
        Self { bytes, records: 0 }
    }

    /// Adds a record.
    pub fn add(&mut self, position: u64, payload: &[u8]) {
        self.bytes.put_u64(position);
        self.bytes.put_u64_prefixed(payload);
        self.records += 1;
    }

    /// Bytes of all records so far.
    pub fn len(&self) -> usize {
        self.bytes.len() - HEADER_LEN
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The object's bytes.
    pub fn finish(mut self, header: &ChunkHeader) -> Vec<u8> {
        let mut front = Fixed::<HEADER_LEN>::new();
        FRAME.put_head(&mut front);
        front.put_u32(header.kind as u32);
        front.put_u64(header.id);
        front.put_u64(header.epoch);
        front.put_u128(header.writer_id);
        for number in [header.start, header.end, header.next, header.durable] {
            front.put_u64(number);
        }
        front.put_u32(self.records);
        self.bytes[..HEADER_LEN].copy_from_slice(&front.finish());
        self.bytes.put_checksum();
        self.bytes
    }
}

impl Chunk {
    /// The chunk with this id, or [`crate::ErrorKind::Corruption`] naming it and the place of what is wrong; of a version that another release wrote it is
    /// [`crate::ErrorKind::Invalid`].
    pub fn decode(bytes: &[u8], id: u64) -> Result<Self> {
        Self::parse(bytes, id).context(|| chunk_key(id))
    }

    fn parse(bytes: &[u8], id: u64) -> Result<Self> {
        let mut fields = FRAME.open(bytes)?.fields;
        let kind_at = fields.position();
        let kind = match fields.u32("the chunk's kind")? {
            1 => ChunkKind::Records,
            2 => ChunkKind::Fence,
            other => return Err(corrupt(format_args!("unknown kind {other}"), kind_at)),
        };
        let id_at = fields.position();
        let stored = fields.u64("the chunk's id")?;
        if stored != id {
            return Err(corrupt(format_args!("it says id {stored}"), id_at));
        }
        let header = ChunkHeader {
            kind,
            id,
            epoch: fields.u64("the epoch")?,
            writer_id: fields.u128("the writer's number")?,
            start: fields.u64("the start")?,
            end: fields.u64("the end")?,
            next: fields.u64("the next chunk's id")?,
            durable: fields.u64("the durable mark")?,
        };
        let count = fields.u32("the number of records")?;
        let records = read_records(fields, &header, count)?;
        Ok(Self { header, records })
    }
}

fn read_records(
    mut fields: Reader<'_>,
    header: &ChunkHeader,
    count: u32,
) -> Result<Vec<(u64, Range<usize>)>> {
    let fence = header.kind == ChunkKind::Fence;
    if header.next <= header.id
        || header.end < header.start
        || header.durable > header.start
        || (fence && (count > 0 || header.end > header.start))
    {
        return Err(Error::corruption(
            "impossible numbers in the header, from byte 48 to 84",
        ));
    }
    let mut records = Vec::new();
    let mut least = header.start;
    for _ in 0..count {
        let at = fields.position();
        let position = fields.u64("a record's log position")?;
        if position < least || position >= header.end {
            return Err(corrupt(
                format_args!("a record for log position {position}"),
                at,
            ));
        }
        let payload = fields.u64_prefixed("a record")?;
        let end = fields.position();
        records.push((position, end - payload.len()..end));
        least = position + 1;
    }
    fields.finish("the last record")?;
    Ok(records)
}

/// Bytes that a record adds to a chunk beside its payload.
pub const RECORD_OVERHEAD: usize = RECORD_HEADER_LEN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn header(kind: ChunkKind) -> ChunkHeader {
        ChunkHeader {
            kind,
            id: 7,
            epoch: 3,
            writer_id: 0x0102,
            start: 100,
            end: if kind == ChunkKind::Fence { 100 } else { 200 },
            next: 8,
            durable: 90,
        }
    }

    fn sample() -> Vec<u8> {
        let mut builder = ChunkBuilder::new(10);
        assert!(builder.is_empty());
        builder.add(100, b"one");
        builder.add(150, b"");
        assert_eq!(builder.len(), 3 + 2 * RECORD_OVERHEAD);
        builder.finish(&header(ChunkKind::Records))
    }

    #[test]
    fn version_1_has_these_bytes() {
        let mut golden = b"SEWALOBJ\x01\0\0\0\x01\0\0\0".to_vec();
        golden.extend(7u64.to_le_bytes());
        golden.extend(3u64.to_le_bytes());
        golden.extend(0x0102u128.to_le_bytes());
        for number in [100u64, 200, 8, 90] {
            golden.extend(number.to_le_bytes());
        }
        golden.extend(2u32.to_le_bytes());
        golden.extend(100u64.to_le_bytes());
        golden.extend(3u64.to_le_bytes());
        golden.extend(b"one");
        golden.extend(150u64.to_le_bytes());
        golden.extend(0u64.to_le_bytes());
        golden.extend([0x91, 0x95, 0x06, 0x05]);
        assert_eq!(sample(), golden);
        let chunk = Chunk::decode(&golden, 7).unwrap();
        assert_eq!(chunk.header, header(ChunkKind::Records));
        let records: Vec<(u64, &[u8])> = chunk
            .records
            .iter()
            .map(|(position, range)| (*position, &golden[range.clone()]))
            .collect();
        assert_eq!(records, [(100, &b"one"[..]), (150, &b""[..])]);
        let fence = ChunkBuilder::new(0).finish(&header(ChunkKind::Fence));
        assert!(Chunk::decode(&fence, 7).unwrap().records.is_empty());
        assert_eq!(fence.len() as u64, FENCE_LEN);
    }

    #[test]
    fn damage_is_found() {
        let good = sample();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let error = Chunk::decode(&bad, 7).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corruption);
                assert!(error.message().contains("wal/00000000000000000007"));
            }
            assert!(Chunk::decode(&good[..at], 7).is_err());
        }
        assert!(Chunk::decode(&good, 8).is_err());
    }

    /// A right checksum around wrong numbers.
    #[test]
    fn nonsense_is_refused() {
        let mut sequence = crate::env::Sequence::new(5);
        for _ in 0..20_000 {
            let mut bytes = sample();
            let end = bytes.len() - Frame::TAIL_LEN;
            for _ in 0..=sequence.below(3) {
                let at = 12 + sequence.below(end as u64 - 12) as usize;
                bytes[at] = sequence.next_u64() as u8;
            }
            bytes.truncate(end);
            bytes.put_checksum();
            if let Ok(chunk) = Chunk::decode(&bytes, 7) {
                for (position, range) in chunk.records {
                    assert!(position >= chunk.header.start && position < chunk.header.end);
                    assert!(range.end <= end);
                }
            }
        }
    }

    #[test]
    fn keys_name_ids() {
        assert_eq!(chunk_key(7), "wal/00000000000000000007");
        assert_eq!(parse_chunk_key(&chunk_key(7)), Some(7));
        for bad in [
            "wal/7",
            "sst/00000000000000000007",
            "wal/0000000000000000000x",
        ] {
            assert_eq!(parse_chunk_key(bad), None);
        }
    }
}
