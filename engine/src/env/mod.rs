//! What the engine takes from the machine it runs on: time, randomness, local files, and the points where a test may break it.
//!
//! These come in as values, so that a test can put its own clock or file layer in their place and a seed replays a run.

mod clock;
pub mod failpoint;
pub mod fs;
mod random;

pub use clock::{Clock, SystemClock};
pub use random::{
    Sequence, any_seed, quick_random, seed_quick_random, seed_unique_numbers, unique_u128,
};
