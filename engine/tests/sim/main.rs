//! Writers that take over from each other, die, come back and go on as if nothing had happened, on disks that forget and a bucket that fails,
//! all in virtual time and in one thread, as a seed says; and the check that nothing acknowledged is lost and nothing else half appears.
//!
//! A failing run names its seed and prints what happened; `SMARTENGINE_SIM_SEED=<seed>` runs that one alone. `SMARTENGINE_SIM_RUNS=<n>` runs more.
//!
//! That it finds what it is for was tried by breaking the engine, one thing at a time, and running the seeds in order until one failed. A flush that does not wait
//! for the log to be in the store: seed 13. A superseded log that is replayed: 7. A commit by files that does not wait: 44. A fence that passes over one
//! id: 56. Chunks that are acknowledged out of order: 72. Files of a prepared transaction removed as orphans: 252. Files and indexes removed
//! before the log is in the store: 502. That a bucket is noticed which lets the second writer win, or forgets, is a test.

mod bucket;
mod disk;
mod model;
mod node;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use bucket::Defect;
use world::World;

/// The least number of runs.
const RUNS: u64 = 1200;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable}: {value:?} is no number")),
    )
}

/// What happened in a run, and whether it went as it should.
fn run(seed: u64, defect: Option<Defect>) -> (Vec<String>, std::thread::Result<()>) {
    let world = World::new(seed, defect);
    let run = std::panic::AssertUnwindSafe(|| world.run());
    let result = std::panic::catch_unwind(run);
    (world.trace(), result)
}

fn check(seed: u64) {
    let (trace, result) = run(seed, None);
    if result.is_err() || number("SMARTENGINE_SIM_SEED").is_some() {
        for line in &trace {
            eprintln!("{line}");
        }
    }
    if let Err(panic) = result {
        eprintln!("SMARTENGINE_SIM_SEED={seed} replays this run");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens() {
    if let Some(seed) = number("SMARTENGINE_SIM_SEED") {
        return check(seed);
    }
    let runs = number("SMARTENGINE_SIM_RUNS").unwrap_or(RUNS);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        break;
                    }
                    check(seed);
                }
            });
        }
    });
}

#[test]
fn a_seed_replays_a_run() {
    for seed in 0..24 {
        let (first, second) = (run(seed, None).0, run(seed, None).0);
        let differs = first
            .iter()
            .zip(&second)
            .position(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// Runs until one fails.
fn assert_noticed(defect: Defect) {
    let noticed = (0..200).any(|seed| run(seed, Some(defect)).1.is_err());
    assert!(noticed, "{defect:?} is not noticed");
}

#[test]
fn a_bucket_in_which_the_second_writer_wins_is_noticed() {
    assert_noticed(Defect::Overwrites);
}

#[test]
fn a_bucket_that_forgets_is_noticed() {
    assert_noticed(Defect::Forgets);
}
