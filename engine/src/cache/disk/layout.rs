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

use crate::format::checksum::crc32;

/// Bytes of a piece and of a slot.
pub const PIECE: usize = 64 << 10;
/// Bytes that have a checksum of their own.
pub const QUARTER: usize = PIECE / 4;
/// Bytes before the first entry.
pub const HEADER_LEN: u64 = 4096;
/// Bytes of an entry.
pub const ENTRY_LEN: usize = 36;

const MAGIC: &[u8; 8] = b"SEPCACHE";
const VERSION: u32 = 1;
const CHECKED_HEADER: usize = 32;
const CHECKED_ENTRY: usize = 32;

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
pub fn encode_header(store: u128) -> [u8; CHECKED_HEADER + 4] {
    let mut bytes = [0; CHECKED_HEADER + 4];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(PIECE as u32).to_le_bytes());
    bytes[16..32].copy_from_slice(&store.to_le_bytes());
    let crc = crc32(&[&bytes[..CHECKED_HEADER]]);
    bytes[CHECKED_HEADER..].copy_from_slice(&crc.to_le_bytes());
    bytes
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
        let mut bytes = [0; ENTRY_LEN];
        bytes[..8].copy_from_slice(&self.key.file.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.key.piece.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.len.to_le_bytes());
        for (place, crc) in bytes[16..32].chunks_exact_mut(4).zip(self.crcs) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        let crc = entry_crc(store, slot, &bytes);
        bytes[CHECKED_ENTRY..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The entry in the place of `slot`, if these bytes are one of this store.
    pub fn decode(store: u128, slot: u32, bytes: &[u8; ENTRY_LEN]) -> Option<Self> {
        let number = |at: usize| {
            bytes[at..]
                .first_chunk()
                .copied()
                .map_or(0, u32::from_le_bytes)
        };
        let file = bytes.first_chunk().copied().map(u64::from_le_bytes)?;
        let entry = Self {
            key: PieceKey {
                file,
                piece: number(8),
            },
            len: number(12),
            crcs: [number(16), number(20), number(24), number(28)],
        };
        let sound =
            number(32) == entry_crc(store, slot, bytes) && (1..=PIECE as u32).contains(&entry.len);
        sound.then_some(entry)
    }
}

fn entry_crc(store: u128, slot: u32, bytes: &[u8; ENTRY_LEN]) -> u32 {
    crc32(&[
        &store.to_le_bytes(),
        &slot.to_le_bytes(),
        &bytes[..CHECKED_ENTRY],
    ])
}

fn quarter_crc(store: u128, key: PieceKey, quarter: usize, bytes: &[u8]) -> u32 {
    let mut identity = [0; 32];
    identity[..16].copy_from_slice(&store.to_le_bytes());
    identity[16..24].copy_from_slice(&key.file.to_le_bytes());
    identity[24..28].copy_from_slice(&key.piece.to_le_bytes());
    identity[28..].copy_from_slice(&(quarter as u32).to_le_bytes());
    crc32(&[&identity, bytes])
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
