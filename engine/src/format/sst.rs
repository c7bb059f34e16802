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

use super::bytes::{Fixed, Frame, Put};
use super::stored_block::BlockHandle;
use crate::{Error, Result, ResultExt};

/// Length of the footer in bytes.
pub const FOOTER_LEN: usize = 64;

const FRAME: Frame = Frame {
    name: "an SST",
    magic: *b"SMARTSST",
    versions: 1..=1,
    len: Some(FOOTER_LEN),
};
/// The version that is written.
pub const VERSION: u32 = *FRAME.versions.end();

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
        let mut out = Fixed::new();
        for handle in [
            self.filter.unwrap_or_default(),
            self.properties,
            self.top_index,
        ] {
            out.put(&handle.encode());
        }
        FRAME.put_foot(&mut out);
        out.finish()
    }

    /// Reads the footer of a file of `file_size` bytes. Every handle lies before the footer. Positions in errors are the footer's.
    pub fn decode(bytes: &[u8; FOOTER_LEN], file_size: u64) -> Result<Self> {
        Self::parse(bytes, file_size).context(|| "footer")
    }

    fn parse(bytes: &[u8; FOOTER_LEN], file_size: u64) -> Result<Self> {
        let mut fields = FRAME.open_foot(bytes)?.fields;
        let mut handle = || fields.array("a block's handle").map(BlockHandle::decode);
        let (filter, properties, top_index) = (handle()?, handle()?, handle()?);
        fields.finish("the handles")?;
        let footer = Self {
            filter: (filter.len != 0).then_some(filter),
            properties,
            top_index,
        };
        let limit = file_size.saturating_sub(FOOTER_LEN as u64);
        for handle in [filter, properties, top_index] {
            if handle.end() > limit {
                return Err(Error::corruption(format!(
                    "block at {} of {} bytes lies outside the file of {file_size}",
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
