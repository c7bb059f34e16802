//! The lock manager, the readers that lock, and the list of snapshots, under a scheduler that tries many interleavings of their threads.
//!
//! Their sources are compiled here a second time, over the scheduler's mutexes and atomics in place of the real ones, with a stand-in for
//! batches, and for readers one for the store. Each schedule has a few threads, each a transaction. A run in which all threads that are left wait for
//! each other ends in a panic of the scheduler's, so a circle of waits that is not found fails the test.
//!
//! The harness is one that takes a list of tests, so that the unit tests that the sources bring along do not run: they are for the real
//! primitives. What these name is here all the same.

// Of the sources, and of what stands around them, not everything is used here.
#![allow(dead_code, unused_imports)]

mod db;
mod reads;
mod schedules;
mod txn;
mod versions;

use std::panic::catch_unwind;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, Runner};

mod env {
    pub use smartengine::internals::env::{Sequence, fs};

    /// A seed that is the same in every run: schedules can be replayed.
    pub fn any_seed() -> u64 {
        0x1234_5678_9abc_def0
    }
}

pub use smartengine::internals::{cache, types};
pub use smartengine::{Error, ErrorKind, Result};

/// A program for a few threads, with its name.
type Test = (&'static str, fn());

/// Functions as programs of their names.
macro_rules! programs {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn())),*] };
}
use programs;

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

/// A test for each program that has to hold in every schedule.
fn holding(group: &str, programs: &[Test]) -> Vec<Trial> {
    let trial = |&(name, program): &Test| {
        Trial::test(format!("{group}::{name}"), move || {
            check(program, FailurePersistence::Print);
            Ok(())
        })
    };
    programs.iter().map(trial).collect()
}

/// A test for each program that is known to be wrong: a schedule has to be found that shows it.
fn failing(group: &str, programs: &[Test]) -> Vec<Trial> {
    let trial = |&(name, program): &Test| {
        Trial::test(
            format!("{group}::fails::{name}"),
            move || match catch_unwind(|| check(program, FailurePersistence::None)) {
                Ok(()) => Err("no schedule shows that this is wrong".into()),
                Err(_) => Ok(()),
            },
        )
    };
    programs.iter().map(trial).collect()
}

fn main() -> ExitCode {
    let tests = [
        holding("schedules", schedules::PROGRAMS),
        failing("schedules", schedules::WRONG),
        holding("versions", versions::PROGRAMS),
        failing("versions", versions::WRONG),
        holding("reads", reads::PROGRAMS),
        failing("reads", reads::WRONG),
    ];
    let tests = tests.into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
