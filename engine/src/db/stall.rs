//! Holding writers back when flush and compaction fall behind: first a little, then altogether.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::Core;
use crate::{Result, ResultExt};

/// What a writer is to do before its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// Go on.
    None,
    /// Go on after a pause.
    Slow(Duration),
    /// Wait until flush or compaction has caught up.
    Stop,
}

/// What the decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Pressure {
    /// Sorted runs in level 0, where compaction works on them.
    pub level0_runs: usize,
    /// Bytes of all memtables.
    pub memtable_bytes: u64,
    /// Whether any memtable waits to be flushed.
    pub flush_pending: bool,
}

/// Thresholds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sorted runs in level 0 from which writers are slowed.
    pub level0_slowdown: usize,
    /// Sorted runs in level 0 from which they wait.
    pub level0_stop: usize,
    /// Bytes of all memtables from which they wait.
    pub memtable_bytes: u64,
}

/// The pause just before writers would be stopped.
const LONGEST_PAUSE: Duration = Duration::from_millis(4);

/// Decides for one writer.
pub fn decide(pressure: Pressure, limits: Limits) -> Throttle {
    if pressure.level0_runs >= limits.level0_stop
        || (pressure.flush_pending && pressure.memtable_bytes >= limits.memtable_bytes)
    {
        return Throttle::Stop;
    }
    if pressure.level0_runs >= limits.level0_slowdown {
        let range = limits
            .level0_stop
            .saturating_sub(limits.level0_slowdown)
            .max(1);
        let over = pressure.level0_runs - limits.level0_slowdown + 1;
        return Throttle::Slow(LONGEST_PAUSE * over as u32 / range as u32);
    }
    Throttle::None
}

impl Core {
    /// Waits as long as the pressure demands. Fails if the engine closes or stops taking writes meanwhile.
    pub fn throttle(&self) -> Result<()> {
        self.log.wait_for_upload()?;
        match self.pressure() {
            Throttle::None => return Ok(()),
            Throttle::Slow(pause) => {
                let start = self.health.clock.now();
                self.health.clock.sleep(pause);
                self.health.count_stall(start);
                return Ok(());
            }
            Throttle::Stop => {}
        }
        let start = self.health.clock.now();
        let waited = self.wait_for_room();
        self.health.count_stall(start);
        waited
    }

    fn wait_for_room(&self) -> Result<()> {
        let start = self.health.clock.now();
        loop {
            let seen = self.health.signal.now();
            if self.pressure() != Throttle::Stop {
                return Ok(());
            }
            self.health.check_open()?;
            self.health.check_writes()?;
            // If it fails for good, writers would wait for good.
            self.health
                .flush
                .check_lasting()
                .context(|| "writes wait for a flush, which fails")?;
            self.health
                .compaction
                .check_lasting()
                .context(|| "writes wait for compaction, which fails")?;
            if self.health.clock.now().saturating_sub(start) >= self.log.store_wait() {
                // What might have passed by itself has not.
                self.health
                    .flush
                    .check()
                    .and_then(|()| self.health.manifest.check())
                    .context(|| "writes wait for a flush, which fails")?;
                self.health
                    .compaction
                    .check()
                    .context(|| "writes wait for compaction, which fails")?;
            }
            if self.options.manual {
                self.work()?;
            }
            self.health.pause(seen, Duration::from_millis(50));
        }
    }

    fn pressure(&self) -> Throttle {
        let state = self.tree.state();
        let tuning = &self.tree.tuning;
        let compacting = !tuning.auto_compactions_are_off() && !tuning.is_paused();
        let pressure = Pressure {
            level0_runs: if compacting {
                state.files.level0_runs.len()
            } else {
                0
            },
            memtable_bytes: state.memtable_bytes(),
            flush_pending: !state.immutable.is_empty(),
        };
        let trigger = tuning.level0_compaction_trigger();
        let slowdown = self.options.level0_slowdown_trigger.max(2 * trigger);
        let limits = Limits {
            level0_slowdown: slowdown,
            level0_stop: self.options.level0_stop_trigger.max(2 * slowdown),
            memtable_bytes: tuning.total_memtable_size.load(Ordering::Relaxed),
        };
        decide(pressure, limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        level0_slowdown: 20,
        level0_stop: 36,
        memtable_bytes: 1000,
    };

    fn at(level0_runs: usize, memtable_bytes: u64, flush_pending: bool) -> Throttle {
        decide(
            Pressure {
                level0_runs,
                memtable_bytes,
                flush_pending,
            },
            LIMITS,
        )
    }

    #[test]
    fn writers_are_slowed_before_they_are_stopped() {
        assert_eq!(at(19, 0, false), Throttle::None);
        let (Throttle::Slow(early), Throttle::Slow(late)) = (at(20, 0, false), at(35, 0, false))
        else {
            panic!("not slowed")
        };
        assert!(early < late && late <= LONGEST_PAUSE);
        assert_eq!(at(36, 0, false), Throttle::Stop);
    }

    #[test]
    fn full_memtables_stop_writers_only_while_a_flush_can_help() {
        assert_eq!(at(0, 1000, true), Throttle::Stop);
        assert_eq!(at(0, 1000, false), Throttle::None);
    }
}
