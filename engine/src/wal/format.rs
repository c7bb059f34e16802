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

use std::io::IoSlice;

use crate::Result;
use crate::format::bytes::{Fixed, Frame, Put, corrupt, u32_at, u64_at};
use crate::format::checksum::Checksum;

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

const FRAME: Frame = Frame {
    name: "a log segment",
    magic: *b"SEWALSEG",
    versions: 1..=1,
    len: Some(SEGMENT_HEADER_USED),
};
/// The version that is written.
pub const VERSION: u32 = *FRAME.versions.end();

/// The header of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub start: u64,
    pub size: u64,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_USED] {
        let mut out = Fixed::new();
        FRAME.put_head(&mut out);
        out.put_u32(0);
        out.put_u64(self.start);
        out.put_u64(self.size);
        out.put_checksum();
        out.finish()
    }

    /// The header, or what is wrong with it.
    pub fn decode(bytes: &[u8; SEGMENT_HEADER_USED]) -> Result<Self> {
        let mut fields = FRAME.open(bytes)?.fields;
        fields.u32("the header's unused bytes")?;
        let start = fields.u64("the segment's start")?;
        let size_at = fields.position();
        let size = fields.u64("the segment's size")?;
        fields.finish("the segment's header")?;
        if size < SEGMENT_HEADER_LEN + CHUNK_MIN || start.checked_add(size).is_none() {
            return Err(corrupt(
                format_args!("impossible segment size {size}"),
                size_at,
            ));
        }
        Ok(Self { start, size })
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
    /// Its bytes in front of a payload that comes in these pieces.
    #[inline]
    pub fn encode(&self, payload: &[IoSlice<'_>]) -> [u8; CHUNK_HEADER_LEN] {
        let mut fields = Fixed::<{ CHUNK_HEADER_LEN - 4 }>::new();
        fields.put(&CHUNK_MAGIC);
        fields.put_u8(self.kind as u8);
        fields.put_u64(self.position);
        fields.put_u64(self.durable);
        fields.put_u32(self.length);
        fields.put_u64(self.remaining);
        let fields = fields.finish();
        let mut checksum = Checksum::default();
        checksum.add(&fields);
        for piece in payload {
            checksum.add(piece);
        }
        let mut out = Fixed::new();
        out.put_u32(checksum.finish());
        out.put(&fields);
        out.finish()
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
            position: u64_at::<8, _>(bytes),
            durable: u64_at::<16, _>(bytes),
            length: u32_at::<24, _>(bytes),
            remaining: u64_at::<28, _>(bytes),
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
        Ok((header, u32_at::<0, _>(bytes)))
    }
}
