//! Numbers that no other process draws, and numbers that a seed repeats.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

/// A number that differs on each call, between processes and between machines.
///
/// It is made from the standard library's hash keys, which the operating system seeds, so it serves to tell two writers
/// apart and not as a secret.
pub fn unique_u128() -> u128 {
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let half = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u128(time);
        hasher.write_u32(std::process::id());
        u128::from(hasher.finish())
    };
    (half() << 64) | half()
}

/// The numbers that follow from a seed, the same on every machine (SplitMix64, Steele, Lea and Flood 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Sequence(u64);

impl Sequence {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Sequence, unique_u128};

    #[test]
    fn no_two_calls_agree() {
        let drawn: std::collections::HashSet<u128> = (0..1000).map(|_| unique_u128()).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn a_seed_gives_the_published_numbers() {
        let mut sequence = Sequence::new(1234567);
        assert_eq!(sequence.next_u64(), 6457827717110365317);
        assert_eq!(sequence.next_u64(), 3203168211198807973);
    }
}
