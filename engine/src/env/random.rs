//! Numbers that no other process draws, and numbers that a seed repeats.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use super::failpoint;
use crate::{Error, ErrorKind, Result};

/// A number that differs on each call, between processes and between machines: 128 bits of the operating system's random source.
///
/// Writers are told apart by such a number, so there is no other way to come by one: where the source fails, so does this.
pub fn unique_u128() -> Result<u128> {
    failpoint::hit("random.before_draw")?;
    if let Some(number) = UNIQUE.with_borrow_mut(|seeded| seeded.as_mut().map(Sequence::next_u128))
    {
        return Ok(number);
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::with_source(
            ErrorKind::Unavailable,
            format!("draw a number from the system's random source: {error}"),
            error,
        )
    })?;
    Ok(u128::from_le_bytes(bytes))
}

/// Makes what [`unique_u128`] gives to this thread follow from a seed, so that a simulated run repeats.
pub fn seed_unique_numbers(seed: u64) {
    UNIQUE.set(Some(Sequence::new(seed)));
}

/// A seed that most likely differs between processes and machines, for hash tables and delays: two that agree do no harm.
///
/// It is made from the standard library's hash keys.
pub fn any_seed() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

thread_local! {
    static QUICK: Cell<u64> = const { Cell::new(0) };
    static UNIQUE: RefCell<Option<Sequence>> = const { RefCell::new(None) };
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

    fn next_u128(&mut self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Sequence, quick_random, seed_quick_random, seed_unique_numbers, unique_u128};

    #[test]
    fn no_two_calls_agree() {
        let drawn: std::collections::HashSet<u128> =
            (0..1000).map(|_| unique_u128().unwrap()).collect();
        assert_eq!(drawn.len(), 1000);
        // Neither half repeats, and no bit stands still.
        let halves: std::collections::HashSet<u64> = drawn
            .iter()
            .flat_map(|number| [*number as u64, (*number >> 64) as u64])
            .collect();
        assert_eq!(halves.len(), 2000);
        assert_eq!(
            drawn.iter().fold(0, |bits, number| bits | number),
            u128::MAX
        );
        assert_eq!(
            drawn.iter().fold(u128::MAX, |bits, number| bits & number),
            0
        );
    }

    #[test]
    fn unique_numbers_repeat_after_a_seed() {
        let draw = |seed| {
            std::thread::spawn(move || {
                seed_unique_numbers(seed);
                std::array::from_fn::<u128, 8, _>(|_| unique_u128().unwrap())
            })
            .join()
            .unwrap()
        };
        assert_eq!(draw(6), draw(6));
        assert_ne!(draw(6), draw(7));
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
