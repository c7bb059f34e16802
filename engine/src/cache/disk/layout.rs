//! The bytes of the local cache's files. All numbers are little endian.
//!
//! `pieces` is an array of slots of [`PIECE`] bytes; a slot holds one piece of an object, or nothing. `index` says which:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic `SEPCACHE` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | bytes of a slot, 65,536 |
//! | 16 | 16 | number of the store that the pieces are of |
//! | 32 | 4 | CRC-32 of bytes 0 to 32 |
//! | 4096 + 36 s | 36 | entry of slot s |
//!
//! An entry; one of zeros says that the slot holds nothing:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | file |
//! | 8 | 4 | piece: its bytes begin at 65,536 times this of the file's object |
//! | 12 | 4 | its length, 1 to 65,536; less only at the end of the object |
//! | 16 | 4 x 4 | of each quarter (16 KiB) the CRC-32 of store's number, file, piece as u32, quarter as u32, and its bytes |
//! | 32 | 4 | CRC-32 of store's number, slot as u32, and bytes 0 to 32 |
//!
//! So an entry that is torn, moved or of another store is none, and bytes that are not exactly those that the entry was written for are seen to be so when
//! they are read, by quarters. Nothing is ever synced.

use crate::format::bytes::{Fixed, Frame, Put, u32_at, u64_at};
use crate::format::checksum::crc32;

/// Bytes of a piece and of a slot.
pub const PIECE: usize = 64 << 10;
/// Bytes that have a checksum of their own.
pub const QUARTER: usize = PIECE / 4;
/// Bytes before the first entry.
pub const HEADER_LEN: u64 = 4096;
/// Bytes of an entry.
pub const ENTRY_LEN: usize = 36;

/// Bytes of the header in use.
const USED_HEADER: usize = 36;
const FRAME: Frame = Frame {
    name: "the index of a cache",
    magic: *b"SEPCACHE",
    versions: 1..=1,
    len: Some(USED_HEADER),
};

/// Which piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PieceKey {
    /// The file's number, unique in its store for ever.
    pub file: u64,
    /// Which piece of it, from 0.
    pub piece: u32,
}

impl PieceKey {
    /// A number that spreads evenly, for tables.
    pub fn hash(self) -> u64 {
        let product = u128::from(self.file ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(u64::from(self.piece).wrapping_mul(2) | (0xa076_1d64 << 33) | 1);
        let folded = (product >> 64) as u64 ^ product as u64;
        (folded ^ (folded >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: PieceKey,
    pub len: u32,
    pub crcs: [u32; 4],
}

/// The header of `index` for a store.
pub fn encode_header(store: u128) -> [u8; USED_HEADER] {
    let mut out = Fixed::new();
    FRAME.put_head(&mut out);
    out.put_u32(PIECE as u32);
    out.put_u128(store);
    out.put_checksum();
    out.finish()
}

impl Entry {
    /// The entry for a piece with these bytes.
    pub fn of(store: u128, key: PieceKey, data: &[u8]) -> Self {
        let mut crcs = [0; 4];
        for (quarter, (crc, bytes)) in crcs.iter_mut().zip(data.chunks(QUARTER)).enumerate() {
            *crc = quarter_crc(store, key, quarter, bytes);
        }
        Self {
            key,
            len: data.len() as u32,
            crcs,
        }
    }

    /// Whether `data`, read from the start of quarter `first` on and ending with a quarter or the piece, is what the entry was made for.
    pub fn matches(&self, store: u128, first: usize, data: &[u8]) -> bool {
        let quarters = data.chunks(QUARTER).enumerate();
        !data.is_empty()
            && quarters.into_iter().all(|(i, bytes)| {
                let quarter = first + i;
                self.crcs.get(quarter) == Some(&quarter_crc(store, self.key, quarter, bytes))
            })
    }

    /// Its bytes in the place of `slot`.
    pub fn encode(&self, store: u128, slot: u32) -> [u8; ENTRY_LEN] {
        let mut out = Fixed::new();
        out.put_u64(self.key.file);
        out.put_u32(self.key.piece);
        out.put_u32(self.len);
        for crc in self.crcs {
            out.put_u32(crc);
        }
        let crc = entry_crc(store, slot, out.written());
        out.put_u32(crc);
        out.finish()
    }

    /// The entry in the place of `slot`, if these bytes are one of this store.
    pub fn decode(store: u128, slot: u32, bytes: &[u8; ENTRY_LEN]) -> Option<Self> {
        let entry = Self {
            key: PieceKey {
                file: u64_at::<0, _>(bytes),
                piece: u32_at::<8, _>(bytes),
            },
            len: u32_at::<12, _>(bytes),
            crcs: [
                u32_at::<16, _>(bytes),
                u32_at::<20, _>(bytes),
                u32_at::<24, _>(bytes),
                u32_at::<28, _>(bytes),
            ],
        };
        let (checked, _) = bytes.split_last_chunk::<4>()?;
        let sound = u32_at::<32, _>(bytes) == entry_crc(store, slot, checked)
            && (1..=PIECE as u32).contains(&entry.len);
        sound.then_some(entry)
    }
}

fn entry_crc(store: u128, slot: u32, checked: &[u8]) -> u32 {
    crc32(&[&store.to_le_bytes(), &slot.to_le_bytes(), checked])
}

fn quarter_crc(store: u128, key: PieceKey, quarter: usize, bytes: &[u8]) -> u32 {
    let mut identity = Fixed::<32>::new();
    identity.put_u128(store);
    identity.put_u64(key.file);
    identity.put_u32(key.piece);
    identity.put_u32(quarter as u32);
    crc32(&[&identity.finish(), bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PieceKey = PieceKey {
        file: 0x0102,
        piece: 3,
    };

    #[test]
    fn version_1_has_these_bytes() {
        let mut header = b"SEPCACHE\x01\0\0\0\0\0\x01\0\x09".to_vec();
        header.extend([0; 15]);
        header.extend([0xf8, 0x8e, 0xc4, 0x83]);
        assert_eq!(encode_header(9).to_vec(), header);
        let entry = Entry::of(9, KEY, b"some bytes");
        let mut golden = b"\x02\x01\0\0\0\0\0\0\x03\0\0\0\x0a\0\0\0".to_vec();
        golden.extend([0x82, 0x89, 0x59, 0x6a]);
        golden.extend([0; 12]);
        golden.extend([0x0a, 0x77, 0xa2, 0x66]);
        assert_eq!(entry.encode(9, 7).to_vec(), golden);
    }

    #[test]
    fn an_entry_is_one_only_in_its_place_and_whole() {
        let data: Vec<u8> = (0..PIECE as u32)
            .map(|n| (n / QUARTER as u32 + n) as u8)
            .collect();
        let entry = Entry::of(9, KEY, &data);
        let bytes = entry.encode(9, 7);
        assert_eq!(Entry::decode(9, 7, &bytes), Some(entry));
        assert_eq!(Entry::decode(9, 8, &bytes), None);
        assert_eq!(Entry::decode(8, 7, &bytes), None);
        assert_eq!(Entry::decode(9, 7, &[0; ENTRY_LEN]), None);
        for at in 0..ENTRY_LEN * 8 {
            let mut bad = bytes;
            bad[at / 8] ^= 1 << (at % 8);
            assert_eq!(Entry::decode(9, 7, &bad), None, "bit {at}");
        }
        assert!(entry.matches(9, 0, &data));
        assert!(entry.matches(9, 2, &data[2 * QUARTER..3 * QUARTER]));
        assert!(!entry.matches(9, 1, &data[2 * QUARTER..3 * QUARTER]));
        assert!(!entry.matches(8, 0, &data));
        assert!(!entry.matches(9, 0, &data[..QUARTER - 1]));
        assert!(!entry.matches(9, 4, &data[..QUARTER]));
        assert!(!entry.matches(9, 0, &[]));
    }
}
