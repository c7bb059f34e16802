//! What compaction threads share: which files are in use, and where outputs come to lie.

use std::collections::HashSet;
use std::sync::Arc;

use crate::compaction::Task;
use crate::manifest::FileMeta;

/// What compaction threads share.
#[derive(Default)]
pub struct Compacting {
    /// Files that a running task uses.
    pub busy: HashSet<u64>,
    /// Tasks under way.
    pub running: usize,
    /// Where their outputs come to lie: level, least and greatest user key, and one of the task's files.
    pub outputs: Vec<OutputRange>,
    /// How many wait for everything to be compacted.
    pub everything: usize,
    /// How many commits by files are coming in: until they are, no task is picked.
    pub ingests: usize,
}

/// Where a task's output may come to lie.
#[derive(Clone)]
pub struct OutputRange {
    level: usize,
    smallest: Vec<u8>,
    largest: Vec<u8>,
    /// One of the task's inputs, by which it is known.
    pub input: u64,
}

impl OutputRange {
    pub fn of(task: &Task) -> Option<Self> {
        let (level, files): (usize, Vec<&Arc<FileMeta>>) = match task {
            Task::Delete { .. } => return None,
            Task::Move { to, files, .. } => (*to, files.iter().collect()),
            Task::Merge {
                to, upper, lower, ..
            } => (*to, upper.iter().chain(lower).collect()),
        };
        let smallest = files.iter().map(|file| file.smallest.user_key()).min()?;
        let largest = files.iter().map(|file| file.largest.user_key()).max()?;
        Some(Self {
            level,
            smallest: smallest.to_vec(),
            largest: largest.to_vec(),
            input: files.first()?.id,
        })
    }

    /// Whether a file of that output might overlap this one at `level`.
    pub fn meets(&self, level: usize, file: &FileMeta) -> bool {
        self.level == level
            && self.smallest.as_slice() <= file.largest.user_key()
            && file.smallest.user_key() <= self.largest.as_slice()
    }
}
