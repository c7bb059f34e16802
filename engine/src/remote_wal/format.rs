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

use crate::{Error, Result};

/// What the keys of chunks begin with.
pub const CHUNK_PREFIX: &str = "wal/";

const MAGIC: [u8; 8] = *b"SEWALOBJ";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 84;
const RECORD_HEADER_LEN: usize = 16;
const CRC_LEN: usize = 4;

/// Bytes of a fence; a chunk with records has more.
pub const FENCE_LEN: u64 = (HEADER_LEN + CRC_LEN) as u64;

/// The key of a chunk's object.
pub fn chunk_key(id: u64) -> String {
    format!("{CHUNK_PREFIX}{id:020}")
}

/// The id of the chunk that an object's key names, if it names one.
pub fn parse_chunk_key(key: &str) -> Option<u64> {
    let digits = key.strip_prefix(CHUNK_PREFIX)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok())?
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
    pub records: Vec<(u64, std::ops::Range<usize>)>,
}

/// A chunk in the making.
pub struct ChunkBuilder {
    bytes: Vec<u8>,
    records: u32,
}

impl ChunkBuilder {
    /// An empty one, with room for about `payload` bytes.
    pub fn new(payload: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload + CRC_LEN);
        bytes.resize(HEADER_LEN, 0);
        Self { bytes, records: 0 }
    }

    /// Adds a record.
    pub fn add(&mut self, position: u64, payload: &[u8]) {
        self.bytes.extend_from_slice(&position.to_le_bytes());
        let len = payload.len() as u64;
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(payload);
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
        let mut front = Vec::with_capacity(HEADER_LEN);
        front.extend_from_slice(&MAGIC);
        front.extend_from_slice(&VERSION.to_le_bytes());
        front.extend_from_slice(&(header.kind as u32).to_le_bytes());
        front.extend_from_slice(&header.id.to_le_bytes());
        front.extend_from_slice(&header.epoch.to_le_bytes());
        front.extend_from_slice(&header.writer_id.to_le_bytes());
        for number in [header.start, header.end, header.next, header.durable] {
            front.extend_from_slice(&number.to_le_bytes());
        }
        front.extend_from_slice(&self.records.to_le_bytes());
        self.bytes[..HEADER_LEN].copy_from_slice(&front);
        let crc = crc32fast::hash(&self.bytes);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.bytes
    }
}

/// Reads from the front, and says where it could not.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let array = rest
            .first_chunk::<N>()
            .ok_or_else(|| format!("{N} bytes needed at byte {}, it ends", self.at))?;
        self.at += N;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }
}

impl Chunk {
    /// The chunk with this id, or [`crate::ErrorKind::Corruption`] naming it and the place of what is wrong.
    pub fn decode(bytes: &[u8], id: u64) -> Result<Self> {
        Self::parse(bytes, id)
            .map_err(|cause| Error::corruption(format!("{}: {cause}", chunk_key(id))))
    }

    fn parse(bytes: &[u8], id: u64) -> Result<Self, String> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.array::<8>()? != MAGIC {
            return Err("not a chunk of the log (bad magic)".to_owned());
        }
        let version = reader.u32()?;
        if version != VERSION {
            return Err(format!(
                "format {version} at byte 8, this engine knows {VERSION}"
            ));
        }
        let checked = bytes
            .len()
            .checked_sub(CRC_LEN)
            .filter(|&len| len >= HEADER_LEN)
            .ok_or_else(|| format!("{} bytes are no chunk", bytes.len()))?;
        if bytes[checked..] != crc32fast::hash(&bytes[..checked]).to_le_bytes() {
            return Err(format!("checksum mismatch at byte {checked}"));
        }
        reader.bytes = &bytes[..checked];
        let kind = match reader.u32()? {
            1 => ChunkKind::Records,
            2 => ChunkKind::Fence,
            other => return Err(format!("unknown kind {other} at byte 12")),
        };
        let stored = reader.u64()?;
        if stored != id {
            return Err(format!("it says id {stored} at byte 16"));
        }
        let header = ChunkHeader {
            kind,
            id,
            epoch: reader.u64()?,
            writer_id: u128::from_le_bytes(reader.array()?),
            start: reader.u64()?,
            end: reader.u64()?,
            next: reader.u64()?,
            durable: reader.u64()?,
        };
        let count = reader.u32()?;
        let records = read_records(&mut reader, &header, count)?;
        Ok(Self { header, records })
    }
}

fn read_records(
    reader: &mut Reader<'_>,
    header: &ChunkHeader,
    count: u32,
) -> Result<Vec<(u64, std::ops::Range<usize>)>, String> {
    let fence = header.kind == ChunkKind::Fence;
    if header.next <= header.id
        || header.end < header.start
        || header.durable > header.start
        || (fence && (count > 0 || header.end > header.start))
    {
        return Err("impossible numbers in the header at bytes 48 to 84".to_owned());
    }
    let mut records = Vec::new();
    let mut least = header.start;
    for _ in 0..count {
        let at = reader.at;
        let position = reader.u64()?;
        let length = reader.u64()?;
        if position < least || position >= header.end {
            return Err(format!(
                "record at byte {at} is for log position {position}"
            ));
        }
        let from = reader.at;
        let to = usize::try_from(length)
            .ok()
            .and_then(|length| from.checked_add(length))
            .filter(|&to| to <= reader.bytes.len())
            .ok_or_else(|| format!("record of {length} bytes at byte {at}"))?;
        records.push((position, from..to));
        reader.at = to;
        least = position + 1;
    }
    if reader.at != reader.bytes.len() {
        return Err(format!("bytes after the last record at byte {}", reader.at));
    }
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
            let end = bytes.len() - CRC_LEN;
            for _ in 0..=sequence.below(3) {
                let at = 12 + sequence.below(end as u64 - 12) as usize;
                bytes[at] = sequence.next_u64() as u8;
            }
            let crc = crc32fast::hash(&bytes[..end]);
            bytes[end..].copy_from_slice(&crc.to_le_bytes());
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
