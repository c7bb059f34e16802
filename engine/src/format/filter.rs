//! The filter block: a binary-fuse filter over the hashes of an SST's user keys.
//!
//! Layout of the raw block, all numbers little endian:
//!
//! ```text
//!  0  u64  seed
//!  8  u32  segment length, a power of two
//! 12  u32  segment length − 1
//! 16  u32  segment count × segment length
//! 20  u8 × (segment count × segment length + 2 × segment length)   fingerprints
//! ```
//!
//! The hash of a user key is XXH3-64 without a seed. About 9 bits for each key; 1 in 256 absent keys passes. Algorithm: Graf and Lemire,
//! "Binary Fuse Filters: Fast and Smaller Than Xor Filters", 2022, as the crate `xorf` implements it. A lookup reads three bytes at places
//! computed from the descriptor alone; [`FilterBlock::parse`] checks that they lie inside, once, when the block is loaded.

use bytes::Bytes;
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter, FilterRef};

use super::bytes::Reader;
use crate::{Error, Result};

/// Length of what precedes the fingerprints.
const DESCRIPTOR_LEN: usize = 20;
const _: () = assert!(DESCRIPTOR_LEN == BinaryFuse8::DESCRIPTOR_LEN);

/// More keys than this in one file get no filter: the algorithm counts fingerprints in 32 bits.
const MAX_KEYS: usize = 1 << 30;

/// The hash of a user key that filters are built from and asked with.
#[inline]
pub fn key_hash(user_key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(user_key)
}

/// The filter block for these hashes; `None` if there is none for them (no keys, too many, or, with vanishing probability, no solution).
pub fn build(hashes: &[u64]) -> Option<Vec<u8>> {
    if hashes.is_empty() || hashes.len() > MAX_KEYS {
        return None;
    }
    let filter = BinaryFuse8::try_from(hashes).ok()?;
    let fingerprints = filter.dma_fingerprints();
    let mut out = vec![0; DESCRIPTOR_LEN];
    filter.dma_copy_descriptor_to(&mut out);
    out.extend_from_slice(fingerprints);
    Some(out)
}

/// A filter ready to be asked.
#[derive(Debug)]
pub struct FilterBlock {
    data: Bytes,
}

impl FilterBlock {
    /// Takes a raw filter block.
    pub fn parse(data: Bytes) -> Result<Self> {
        let mut fields = Reader::new(&data);
        fields.u64("the filter's seed")?;
        let length = fields.u32("the filter's segment length")?;
        let mask = fields.u32("the filter's segment mask")?;
        let count_length = fields.u32("the filter's length")?;
        let expected = u64::from(count_length) + 2 * u64::from(length);
        let sound = length.is_power_of_two()
            && mask == length - 1
            && count_length != 0
            && count_length.is_multiple_of(length)
            && expected == fields.rest().len() as u64
            && u32::try_from(expected).is_ok();
        if !sound {
            return Err(Error::corruption(format!(
                "filter of {} bytes with segments of {length}, a mask of {mask} and {count_length} in all",
                data.len()
            )));
        }
        Ok(Self { data })
    }

    /// Whether a key with this hash may be in the file. `false` is certain.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        let (descriptor, fingerprints) = self.data.split_at(DESCRIPTOR_LEN);
        BinaryFuse8Ref::from_dma(descriptor, fingerprints).contains(&hash)
    }

    /// The raw bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn hashes(n: u64) -> Vec<u64> {
        (0..n).map(|i| key_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn holds_every_key_and_few_others() {
        for n in [1, 2, 3, 10, 1000, 50_000] {
            let block = FilterBlock::parse(build(&hashes(n)).unwrap().into()).unwrap();
            assert!(hashes(n).iter().all(|&hash| block.may_contain(hash)));
            let passed = (n..n + 20_000)
                .filter(|i| block.may_contain(key_hash(&i.to_be_bytes())))
                .count();
            assert!(passed < 200, "{passed} of 20000 with {n} keys");
        }
        assert!(build(&[]).is_none());
    }

    #[test]
    fn the_same_keys_give_the_same_bytes() {
        assert_eq!(build(&hashes(500)), build(&hashes(500)));
    }

    #[test]
    fn a_descriptor_that_points_outside_is_refused() {
        let good = build(&hashes(100)).unwrap();
        for at in 8..DESCRIPTOR_LEN {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(
                    FilterBlock::parse(bad.into()).unwrap_err().kind(),
                    ErrorKind::Corruption
                );
            }
        }
        for len in 0..good.len() {
            assert!(FilterBlock::parse(good[..len].to_vec().into()).is_err());
        }
    }
}
