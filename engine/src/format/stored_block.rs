//! The frame of every block of an SST: how a raw block is stored and checked.
//!
//! Layout:
//!
//! ```text
//! payload     the raw block, or `varint raw length | compressed bytes`
//! type        u8: 0 payload is the raw block, 1 LZ4, 2 zstd
//! checksum    u32 LE: CRC-32 of payload | type | offset of the payload in the file as u64 LE
//! ```
//!
//! The offset is part of what is checksummed, so that a read which went to the wrong place is caught as surely as a flipped bit.
//! A [`BlockHandle`] spans payload, type and checksum.

use bytes::Bytes;

use super::bytes::{Fixed, Put, check_checksum, u64_at};
use super::checksum::crc32;
use super::compression::{Compression, Compressor, decompress};
use crate::{Error, Result};

/// Length of type and checksum.
pub const FRAME_LEN: usize = 5;

/// Where a stored block lies in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHandle {
    /// Offset of the first byte.
    pub offset: u64,
    /// Length in bytes, type and checksum included; 0 stands for "no such block".
    pub len: u64,
}

impl BlockHandle {
    /// Length of [`BlockHandle::encode`]'s result.
    pub const LEN: usize = 16;

    /// Offset and length as u64 LE.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = Fixed::new();
        out.put_u64(self.offset);
        out.put_u64(self.len);
        out.finish()
    }

    /// Reads what [`BlockHandle::encode`] wrote.
    #[inline]
    pub fn decode(bytes: [u8; Self::LEN]) -> Self {
        Self {
            offset: u64_at::<0, _>(&bytes),
            len: u64_at::<8, _>(&bytes),
        }
    }

    /// The offset just behind the block.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// Appends `raw` to `out` as a stored block that will begin at `offset` of the file; returns its handle.
pub fn seal(
    compressor: &mut Compressor,
    raw: &[u8],
    offset: u64,
    out: &mut Vec<u8>,
) -> Result<BlockHandle> {
    let (compression, payload) = compressor.compress(raw)?;
    let kind = [compression as u8];
    let checksum = crc32(&[payload, &kind, &offset.to_le_bytes()]);
    out.put(payload);
    out.put(&kind);
    out.put_u32(checksum);
    Ok(BlockHandle {
        offset,
        len: (payload.len() + FRAME_LEN) as u64,
    })
}

/// Checks a stored block that was read from `offset` and returns the raw block. If it was not compressed, that is a part of `stored`.
pub fn unseal(stored: Bytes, offset: u64) -> Result<Bytes> {
    let Some((checked, checksum)) = stored.split_last_chunk::<4>() else {
        return Err(Error::corruption(format!(
            "block of {} bytes is shorter than its frame",
            stored.len()
        )));
    };
    let Some((&kind, payload)) = checked.split_last() else {
        return Err(Error::corruption("block without a type"));
    };
    let computed = crc32(&[checked, &offset.to_le_bytes()]);
    check_checksum(u32::from_le_bytes(*checksum), computed, checked.len())?;
    let compression = Compression::from_u8(kind)
        .ok_or_else(|| Error::corruption(format!("unknown block type {kind}")))?;
    let payload_len = payload.len();
    decompress(compression, stored.slice(..payload_len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn every_flip_cut_and_shift_is_caught() {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let raw = b"abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc";
            let mut compressor = Compressor::new(compression, 1).unwrap();
            let mut out = Vec::new();
            let handle = seal(&mut compressor, raw, 77, &mut out).unwrap();
            assert_eq!((handle.offset, handle.len), (77, out.len() as u64));
            assert_eq!(unseal(out.clone().into(), 77).unwrap(), &raw[..]);
            let corrupt = |bytes: Vec<u8>, offset| {
                assert_eq!(
                    unseal(bytes.into(), offset).unwrap_err().kind(),
                    ErrorKind::Corruption
                );
            };
            corrupt(out.clone(), 78);
            for at in 0..out.len() {
                corrupt(out[..at].to_vec(), 77);
                for bit in 0..8 {
                    let mut flipped = out.clone();
                    flipped[at] ^= 1 << bit;
                    corrupt(flipped, 77);
                }
            }
        }
    }

    #[test]
    fn handles_round_trip() {
        let handle = BlockHandle {
            offset: 1 << 40,
            len: 16_400,
        };
        let bytes = handle.encode();
        assert_eq!(bytes[..8], (1u64 << 40).to_le_bytes());
        assert_eq!(BlockHandle::decode(bytes), handle);
    }
}
