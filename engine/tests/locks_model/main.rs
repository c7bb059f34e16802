//! The lock manager, and the list of snapshots, under a scheduler that tries many interleavings of their threads.
//!
//! Their sources are compiled here a second time, over the scheduler's mutexes and atomics in place of the real ones, with a stand-in for
//! batches. Each schedule has a few threads, each a transaction that locks rows, takes gaps and adds keys. A run in which all threads
//! that are left wait for each other ends in a panic of the scheduler's, so a circle of waits that is not found fails the test.
//!
//! There is no test harness, so that the unit tests that the sources bring along do not run: they are for the real primitives. What these name
//! is here all the same.

// Of the sources, and of what stands around them, not everything is used here.
#![allow(dead_code, unused_imports)]

mod schedules;
mod txn;
mod versions;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, Runner};

mod env {
    pub use smartengine::env::{Sequence, fs};

    /// A seed that is the same in every run: schedules can be replayed.
    pub fn any_seed() -> u64 {
        0x1234_5678_9abc_def0
    }
}

pub use smartengine::{Error, ErrorKind, Result, cache, types};

/// Schedules of each program, chosen at random, and with few but well chosen switches.
const SCHEDULES: usize = 1500;

fn check(program: fn(), on_failure: FailurePersistence) {
    let mut config = Config::new();
    config.failure_persistence = on_failure;
    // Orderings weaker than the strongest are used for counts alone.
    config.silence_warnings = true;
    Runner::new(RandomScheduler::new(SCHEDULES), config.clone()).run(program);
    Runner::new(PctScheduler::new(3, SCHEDULES), config).run(program);
}

/// The model can fail (and its scheduler says how).
fn check_that_it_fails(program: fn(), why: &str) {
    std::panic::set_hook(Box::new(|_| {}));
    let found = std::panic::catch_unwind(|| check(program, FailurePersistence::None));
    let _ = std::panic::take_hook();
    assert!(found.is_err(), "{why}");
}

fn main() {
    for program in schedules::PROGRAMS.iter().chain(&versions::PROGRAMS) {
        check(*program, FailurePersistence::Print);
    }
    // Of writers that look for gaps before they show what they add, one slips through.
    check_that_it_fails(
        schedules::looks_before_it_writes,
        "the model does not see a phantom",
    );
    // What is not registered is dropped between its number and its state.
    check_that_it_fails(
        versions::reads_the_number_before_the_state,
        "the model does not see a version dropped",
    );
}
