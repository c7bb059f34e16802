//! What may be changed about the tree while the engine runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::options::Options;

/// See the module's description. Sizes are in bytes.
pub struct Tuning {
    pub memtable_size: AtomicU64,
    pub total_memtable_size: AtomicU64,
    level0_compaction_trigger: AtomicU64,
    auto_compactions_off: AtomicBool,
    paused: AtomicBool,
}

impl Tuning {
    pub fn new(options: &Options) -> Self {
        Self {
            memtable_size: AtomicU64::new(options.memtable_size),
            total_memtable_size: AtomicU64::new(options.total_memtable_size),
            level0_compaction_trigger: AtomicU64::new(options.level0_compaction_trigger as u64),
            auto_compactions_off: AtomicBool::new(options.disable_auto_compactions),
            paused: AtomicBool::new(false),
        }
    }

    /// Changes when a memtable is full, and how many bytes all may take.
    pub fn set_memtable_sizes(&self, one: u64, total: u64) {
        self.memtable_size
            .store(one.max(64 << 10), Ordering::Relaxed);
        self.total_memtable_size
            .store(total.max(one), Ordering::Relaxed);
    }

    /// Sorted runs in level 0 at which it is compacted, at least 1.
    pub fn level0_compaction_trigger(&self) -> usize {
        self.level0_compaction_trigger.load(Ordering::Relaxed) as usize
    }

    pub fn set_level0_compaction_trigger(&self, runs: usize) {
        let runs = runs.max(1) as u64;
        self.level0_compaction_trigger
            .store(runs, Ordering::Relaxed);
    }

    /// Whether compaction runs only when asked for.
    pub fn auto_compactions_are_off(&self) -> bool {
        self.auto_compactions_off.load(Ordering::Relaxed)
    }

    pub fn set_auto_compactions(&self, on: bool) {
        self.auto_compactions_off.store(!on, Ordering::Relaxed);
    }

    /// Whether flush and compaction are held.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    pub fn pause(&self, pause: bool) {
        self.paused.store(pause, Ordering::Relaxed);
    }
}
