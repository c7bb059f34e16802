//! The bytes of the log on disk. All numbers are little endian; all checksums are CRC-32 (IEEE).
//!
//! # Segment file, `<20-digit position of its first byte>.wal`
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic `SEWALSEG` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | zero |
//! | 16 | 8 | log position of the byte at offset 4096; equals the number in the file's name |
//! | 24 | 8 | size of the whole file in bytes |
//! | 32 | 4 | checksum of bytes 0 to 32 |
//! | 36 | 4060 | unused |
//! | 4096 | | chunks, one directly after another |
//!
//! So position p lies at offset 4096 + p − start. Where fewer than 37 bytes are left in the file they are unused, and the log goes on in the
//! next segment, whose start is this one's start + size − 4096.
//!
//! # Chunk
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | checksum of bytes 4 to 36 and the payload |
//! | 4 | 3 | magic `SEc` |
//! | 7 | 1 | kind: 1 first chunk of a record, 2 a later chunk of it, 3 mark |
//! | 8 | 8 | the chunk's own log position |
//! | 16 | 8 | durable mark: the log was known durable up to here when the chunk was written; at most its own position |
//! | 24 | 4 | payload bytes in this chunk |
//! | 28 | 8 | payload bytes of the record from this chunk on; equal to the number before it in the last chunk |
//! | 36 | | payload |
//!
//! A record is one chunk, or several that each fill the rest of their segment but for the last. A mark has no payload and belongs to no record: it carries
//! only its durable mark. A chunk counts only where its own position says it is, so that what a recycled file held before, or zeros,
//! are never taken for the log.

/// Bytes before the first chunk of a segment file. A multiple of any disk's sector, so that appends never rewrite the header's.
pub(super) const SEGMENT_HEADER_LEN: u64 = 4096;
/// Bytes of a segment header in use.
pub(super) const SEGMENT_HEADER_USED: usize = 36;
/// Bytes of a chunk before its payload.
pub(super) const CHUNK_HEADER_LEN: usize = 36;
/// With fewer bytes left than this, a segment takes no further chunk.
pub(super) const CHUNK_MIN: u64 = CHUNK_HEADER_LEN as u64 + 1;
/// What each chunk has at offset 4.
pub(super) const CHUNK_MAGIC: [u8; 3] = *b"SEc";

const SEGMENT_MAGIC: [u8; 8] = *b"SEWALSEG";
const VERSION: u32 = 1;

/// The header of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub start: u64,
    pub size: u64,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_USED] {
        let mut bytes = [0; SEGMENT_HEADER_USED];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.start.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.size.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header, or what is wrong with it.
    pub fn decode(bytes: &[u8; SEGMENT_HEADER_USED]) -> Result<Self, String> {
        if bytes[0..8] != SEGMENT_MAGIC {
            return Err("not a log segment (bad magic)".to_owned());
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(format!(
                "log format {version} at byte 8, this engine knows {VERSION}"
            ));
        }
        if u32_at(bytes, 32) != crc32fast::hash(&bytes[..32]) {
            return Err("checksum mismatch in the segment header at byte 32".to_owned());
        }
        let header = Self {
            start: u64_at(bytes, 16),
            size: u64_at(bytes, 24),
        };
        if header.size < SEGMENT_HEADER_LEN + CHUNK_MIN
            || header.start.checked_add(header.size).is_none()
        {
            return Err(format!(
                "impossible segment size {} at byte 24",
                header.size
            ));
        }
        Ok(header)
    }
}

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ChunkKind {
    First = 1,
    Later = 2,
    Mark = 3,
}

/// The header of a chunk, without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkHeader {
    pub kind: ChunkKind,
    pub position: u64,
    pub durable: u64,
    pub length: u32,
    pub remaining: u64,
}

impl ChunkHeader {
    /// The bytes after the checksum, which the caller puts into the first four.
    pub fn encode(&self) -> [u8; CHUNK_HEADER_LEN] {
        let mut bytes = [0; CHUNK_HEADER_LEN];
        bytes[4..7].copy_from_slice(&CHUNK_MAGIC);
        bytes[7] = self.kind as u8;
        bytes[8..16].copy_from_slice(&self.position.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.durable.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.remaining.to_le_bytes());
        bytes
    }

    /// The header and its checksum, or why no chunk that was written for `position` begins with these bytes.
    pub fn decode(
        bytes: &[u8; CHUNK_HEADER_LEN],
        position: u64,
    ) -> Result<(Self, u32), &'static str> {
        if bytes[4..7] != CHUNK_MAGIC {
            return Err("no chunk here (bad magic)");
        }
        let kind = match bytes[7] {
            1 => ChunkKind::First,
            2 => ChunkKind::Later,
            3 => ChunkKind::Mark,
            _ => return Err("unknown kind of chunk"),
        };
        let header = Self {
            kind,
            position: u64_at(bytes, 8),
            durable: u64_at(bytes, 16),
            length: u32_at(bytes, 24),
            remaining: u64_at(bytes, 28),
        };
        if header.position != position {
            return Err("a chunk of another position");
        }
        if header.durable > position {
            return Err("durable mark beyond the chunk");
        }
        if u64::from(header.length) > header.remaining
            || (kind == ChunkKind::Mark && header.remaining != 0)
        {
            return Err("impossible chunk length");
        }
        Ok((header, u32_at(bytes, 0)))
    }
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
