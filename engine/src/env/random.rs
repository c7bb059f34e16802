//! Numbers that no other process draws, and numbers that a seed repeats.

use std::cell::Cell;
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

thread_local! {
    static QUICK: Cell<u64> = const { Cell::new(0) };
}

/// A number that costs next to nothing, for choices that only have to be spread (xorshift, Marsaglia 2003). Each thread has its own sequence.
#[inline]
pub fn quick_random() -> u64 {
    QUICK.with(|state| {
        let mut x = state.get();
        if x == 0 {
            // Any odd start does; the address of the cell differs between threads.
            x = (std::ptr::from_ref(state) as u64) | 1;
        }
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x
    })
}

/// Makes what [`quick_random`] gives to this thread follow from a seed, so that it repeats.
pub fn seed_quick_random(seed: u64) {
    QUICK.with(|state| state.set(seed | 1));
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
    use super::{Sequence, quick_random, seed_quick_random, unique_u128};

    #[test]
    fn no_two_calls_agree() {
        let drawn: std::collections::HashSet<u128> = (0..1000).map(|_| unique_u128()).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn quick_numbers_repeat_after_a_seed() {
        let draw = || std::array::from_fn::<u64, 8, _>(|_| quick_random());
        seed_quick_random(6);
        let first = draw();
        assert_ne!(draw(), first);
        seed_quick_random(6);
        assert_eq!(draw(), first);
    }

    #[test]
    fn a_seed_gives_the_published_numbers() {
        let mut sequence = Sequence::new(1234567);
        assert_eq!(sequence.next_u64(), 6457827717110365317);
        assert_eq!(sequence.next_u64(), 3203168211198807973);
    }
}
