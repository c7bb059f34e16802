//! The file format of an SST (sorted string table), version 1.
//!
//! An SST is an immutable sorted run of entries (internal key, value). Layout, front to back:
//!
//! ```text
//! data blocks          entries in internal-key order
//! filter block         optional: a binary-fuse filter over the hashes of all user keys (see `filter`)
//! index partitions     one entry for each data block: separator → handle of the data block
//! properties block     what the file holds (see `properties`)
//! top index            one entry for each partition: separator → handle of the partition
//! footer               64 bytes
//! ```
//!
//! Blocks follow each other without gaps, each in the frame that `stored_block` describes. Data blocks, index partitions and the
//! top index have the layout that `block` describes. Their keys are:
//! - in a data block the internal keys themselves;
//! - in an index a separator: an internal key that is at or after every key of what its handle refers to, and before every key of what
//!   follows. Its value is the handle ([`BlockHandle::encode`], 16 bytes), and every entry is a restart point. The first separator at or after a key is
//!   thus that of the only block in which the key can be.
//!
//! Footer, all numbers little endian:
//!
//! ```text
//!  0  u64  offset of the filter block         8  u64  its length, 0 if there is none
//! 16  u64  offset of the properties block    24  u64  its length
//! 32  u64  offset of the top index           40  u64  its length
//! 48  u32  format version (1)
//! 52  u32  CRC-32 of bytes 0 to 51
//! 56  8 bytes  magic "SMARTSST"
//! ```

use super::bytes::Reader;
use super::checksum::crc32;
use super::stored_block::BlockHandle;
use crate::{Error, Result};

/// The version that is written.
pub const FORMAT_VERSION: u32 = 1;

/// Length of the footer in bytes.
pub const FOOTER_LEN: usize = 64;

/// The last eight bytes of every SST.
pub const MAGIC: [u8; 8] = *b"SMARTSST";

const CHECKED_LEN: usize = 52;

/// Where those parts of an SST are that a reader starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The filter block, if any.
    pub filter: Option<BlockHandle>,
    /// The properties block.
    pub properties: BlockHandle,
    /// The top index.
    pub top_index: BlockHandle,
}

impl Footer {
    /// The bytes that end a file.
    pub fn encode(&self) -> [u8; FOOTER_LEN] {
        let mut out = [0; FOOTER_LEN];
        let handles = [
            self.filter.unwrap_or_default(),
            self.properties,
            self.top_index,
        ];
        for (slot, handle) in out.chunks_exact_mut(16).zip(handles) {
            slot.copy_from_slice(&handle.encode());
        }
        out[48..52].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let checksum = crc32(&[&out[..CHECKED_LEN]]);
        out[52..56].copy_from_slice(&checksum.to_le_bytes());
        out[56..].copy_from_slice(&MAGIC);
        out
    }

    /// Reads the footer of a file of `file_size` bytes. Every handle lies before the footer.
    pub fn decode(bytes: &[u8; FOOTER_LEN], file_size: u64) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut handle = || reader.array("block handle").map(BlockHandle::decode);
        let (filter, properties, top_index) = (handle()?, handle()?, handle()?);
        let version = reader.u32("format version")?;
        let checksum = reader.u32("footer checksum")?;
        if reader.rest() != MAGIC {
            return Err(Error::corruption("not an SST: wrong magic"));
        }
        if crc32(&[&bytes[..CHECKED_LEN]]) != checksum {
            return Err(Error::corruption("footer: checksum mismatch"));
        }
        if version != FORMAT_VERSION {
            return Err(Error::invalid(format!(
                "SST format version {version} is unknown; this build reads version {FORMAT_VERSION}"
            )));
        }
        let footer = Self {
            filter: (filter.len != 0).then_some(filter),
            properties,
            top_index,
        };
        let limit = file_size.saturating_sub(FOOTER_LEN as u64);
        for handle in [filter, properties, top_index] {
            if handle.end() > limit {
                return Err(Error::corruption(format!(
                    "footer: block at {} of {} bytes lies outside the file of {file_size}",
                    handle.offset, handle.len
                )));
            }
        }
        Ok(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flip() {
        let handle = |offset, len| BlockHandle { offset, len };
        for filter in [None, Some(handle(10, 20))] {
            let footer = Footer {
                filter,
                properties: handle(30, 40),
                top_index: handle(70, 80),
            };
            let bytes = footer.encode();
            assert_eq!(Footer::decode(&bytes, 150 + 64).unwrap(), footer);
            assert!(Footer::decode(&bytes, 149 + 64).is_err());
            for at in 0..FOOTER_LEN {
                for bit in 0..8 {
                    let mut flipped = bytes;
                    flipped[at] ^= 1 << bit;
                    assert!(Footer::decode(&flipped, 150 + 64).is_err(), "byte {at}");
                }
            }
        }
    }
}
