//! What to compact next: a pure function of a version.
//!
//! Leveled, with dynamic level sizes: the bottom level's size fixes the targets of those above, each `multiplier` times smaller, down to
//! the base level, the first whose target is no more than `base_size`; level 0 goes straight to the base level. So nearly all data is in
//! the bottom level, and the space that old versions take stays near a tenth. Scores say how far a level is over its target; the worst
//! is served first. Level 0 is over when it has too many sorted runs ([`sorted_runs`]), or as many bytes as that many full memtables; and where its files
//! can go down as they are, at no cost, it need not be. Before scores come files that can go or shrink at no gain of waiting: those of dropped indexes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::runs::sorted_runs;
use crate::manifest::{FileMeta, LEVELS, Version};
use crate::types::{IndexId, SeqNo, index_id_of};

/// The last level.
pub const BOTTOM: usize = LEVELS - 1;

/// A share of deletions from which a file is compacted before others of its level.
const DENSE_DELETIONS: f64 = 0.5;

/// What the picker needs to know besides the version.
#[derive(Clone, Debug)]
pub struct PickConfig {
    /// Sorted runs in level 0 at which it is compacted.
    pub level0_trigger: usize,
    /// Bytes in level 0 at which it is compacted, however few the runs.
    pub level0_size: u64,
    /// Bytes the base level aims for.
    pub base_size: u64,
    /// Ratio of neighbouring targets.
    pub multiplier: u64,
    /// The oldest sequence number that a reader may still see; older versions and deletions can go.
    pub oldest_snapshot: SeqNo,
    /// Whether to compact all there is, down to the bottom, whatever the scores say.
    pub everything: bool,
}

/// Why a task was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Level 0 has too many sorted runs, or too many bytes.
    Level0,
    /// A level is over its target.
    Size,
    /// A file is mostly deletions.
    Deletions,
    /// A file holds entries of a dropped index.
    DroppedIndex,
    /// Someone asked for everything to be compacted.
    Manual,
}

/// What is to be done with files; file ids are those of the version it was picked from.
#[derive(Clone, Debug)]
pub enum Task {
    /// These files hold nothing that is needed: remove them from their level.
    Delete {
        /// Level and file.
        files: Vec<(usize, Arc<FileMeta>)>,
    },
    /// These files go to another level as they are.
    Move {
        /// Where they are.
        from: usize,
        /// Where they go.
        to: usize,
        /// The files.
        files: Vec<Arc<FileMeta>>,
    },
    /// These files are merged and replaced by new ones.
    Merge {
        /// Why.
        reason: Reason,
        /// The level of `upper`.
        from: usize,
        /// The level of `lower` and of the output.
        to: usize,
        /// Inputs of level `from`; for level 0 newest first.
        upper: Vec<Arc<FileMeta>>,
        /// Inputs of level `to`; empty where `from` is `to`.
        lower: Vec<Arc<FileMeta>>,
    },
}

impl Task {
    /// Ids of every file it touches.
    pub fn file_ids(&self) -> Vec<u64> {
        match self {
            Self::Delete { files } => files.iter().map(|(_, file)| file.id).collect(),
            Self::Move { files, .. } => files.iter().map(|file| file.id).collect(),
            Self::Merge { upper, lower, .. } => {
                upper.iter().chain(lower).map(|file| file.id).collect()
            }
        }
    }
}

/// Target sizes of the levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The level that level 0 is merged into.
    pub base_level: usize,
    /// Bytes; 0 for levels above the base level.
    pub bytes: [u64; LEVELS],
}

/// Computes the targets.
pub fn targets(version: &Version, config: &PickConfig) -> Targets {
    let mut bytes = [0; LEVELS];
    let mut level = BOTTOM;
    // The bottom target follows the largest level, so that data left in an upper level by smaller times still counts.
    let largest = (1..LEVELS)
        .map(|level| version.level_bytes(level))
        .max()
        .unwrap_or(0);
    bytes[level] = largest.max(config.base_size);
    while level > 1 && bytes[level] > config.base_size {
        bytes[level - 1] = (bytes[level] / config.multiplier).max(1);
        level -= 1;
    }
    Targets {
        base_level: level,
        bytes,
    }
}

/// Bytes over all targets: what compaction has yet to move.
pub fn pending_bytes(version: &Version, config: &PickConfig) -> u64 {
    let targets = targets(version, config);
    (1..BOTTOM)
        .map(|level| {
            version
                .level_bytes(level)
                .saturating_sub(targets.bytes[level])
        })
        .sum()
}

/// Picks the next task whose files are all free.
pub fn pick(version: &Version, config: &PickConfig, busy: &HashSet<u64>) -> Option<Task> {
    let picker = Picker {
        version,
        config,
        busy,
        targets: targets(version, config),
    };
    picker
        .pick_dead_files()
        .or_else(|| picker.pick_by_score())
        .or_else(|| picker.pick_dropped())
        .or_else(|| {
            if config.everything {
                picker.pick_manual()
            } else {
                None
            }
        })
}

struct Picker<'a> {
    version: &'a Version,
    config: &'a PickConfig,
    busy: &'a HashSet<u64>,
    targets: Targets,
}

impl Picker<'_> {
    fn free(&self, file: &FileMeta) -> bool {
        !self.busy.contains(&file.id)
    }

    fn all_free(&self, files: &[Arc<FileMeta>]) -> bool {
        files.iter().all(|file| self.free(file))
    }

    fn pick_dead_files(&self) -> Option<Task> {
        let dropped = &self.version.dropped_indexes;
        if dropped.is_empty() {
            return None;
        }
        let files: Vec<_> = (0..LEVELS)
            .flat_map(|level| {
                self.version
                    .level(level)
                    .iter()
                    .map(move |file| (level, file))
            })
            .filter(|(_, file)| self.free(file) && is_dead(file, dropped))
            .map(|(level, file)| (level, file.clone()))
            .collect();
        (!files.is_empty()).then_some(Task::Delete { files })
    }

    fn pick_by_score(&self) -> Option<Task> {
        let mut scores: Vec<(f64, usize)> = Vec::new();
        let fill = self.level0_fill();
        if fill >= 1.0 || (self.config.everything && fill > 0.0) {
            scores.push((fill + 1.0, 0));
        }
        for level in 1..BOTTOM {
            let size = self.version.level_bytes(level);
            let target = self.targets.bytes[level].max(1);
            if size > target {
                scores.push((size as f64 / target as f64, level));
            }
        }
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let picked = scores.into_iter().find_map(|(_, level)| match level {
            0 => self.pick_level0(),
            _ => self.pick_level(level, Reason::Size),
        });
        picked.or_else(|| self.pick_free_move())
    }

    /// How near level 0 is to being compacted: at 1 it is.
    fn level0_fill(&self) -> f64 {
        let runs = sorted_runs(self.version.level(0), |file| file).len() as f64;
        let bytes = self.version.level_bytes(0) as f64;
        let by_runs = runs / self.config.level0_trigger as f64;
        by_runs.max(bytes / self.config.level0_size.max(1) as f64)
    }

    /// Files of level 0 that nothing lies beside go down as they are: rows that come in key order would stay there in few runs for long.
    fn pick_free_move(&self) -> Option<Task> {
        if self.version.level(0).len() < self.config.level0_trigger {
            return None;
        }
        let task = self.pick_level0()?;
        matches!(task, Task::Move { .. }).then_some(task)
    }

    fn pick_level0(&self) -> Option<Task> {
        let upper = self.version.level(0);
        let to = self.targets.base_level;
        if upper.is_empty() || !self.all_free(upper) {
            return None;
        }
        // Entries in levels above the base level are newer than those below: level 0 must not pass them.
        let to = (1..to)
            .find(|&level| !self.version.level(level).is_empty())
            .unwrap_or(to);
        let (smallest, largest) = bounds(upper)?;
        let lower = self.version.overlapping(to, smallest, largest);
        if !self.all_free(&lower) {
            return None;
        }
        if lower.is_empty() && disjoint(upper) && !self.has_droppable(upper) {
            return Some(Task::Move {
                from: 0,
                to,
                files: upper.to_vec(),
            });
        }
        Some(Task::Merge {
            reason: if self.config.everything {
                Reason::Manual
            } else {
                Reason::Level0
            },
            from: 0,
            to,
            upper: upper.to_vec(),
            lower,
        })
    }

    /// The file of a level whose move down costs least for what it frees.
    fn pick_level(&self, from: usize, reason: Reason) -> Option<Task> {
        let to = from + 1;
        let mut best: Option<(f64, &Arc<FileMeta>)> = None;
        for file in self.version.level(from) {
            let lower =
                self.version
                    .overlapping(to, file.smallest.user_key(), file.largest.user_key());
            if !self.free(file) || !self.all_free(&lower) {
                continue;
            }
            let below: u64 = lower.iter().map(|file| file.size).sum();
            let mut cost = below as f64 / file.size.max(1) as f64;
            if deletion_share(file) >= DENSE_DELETIONS {
                cost -= 1e6;
            }
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, file));
            }
        }
        let (_, file) = best?;
        Some(self.merge_down(from, file, reason))
    }

    fn merge_down(&self, from: usize, file: &Arc<FileMeta>, reason: Reason) -> Task {
        let to = from + 1;
        let lower = self
            .version
            .overlapping(to, file.smallest.user_key(), file.largest.user_key());
        let upper = vec![file.clone()];
        if lower.is_empty() && !self.has_droppable(&upper) {
            return Task::Move {
                from,
                to,
                files: upper,
            };
        }
        Task::Merge {
            reason,
            from,
            to,
            upper,
            lower,
        }
    }

    /// Whether merging would lose part of the files: entries of dropped indexes.
    fn has_droppable(&self, files: &[Arc<FileMeta>]) -> bool {
        files
            .iter()
            .any(|file| touches_dropped(file, &self.version.dropped_indexes))
    }

    fn pick_dropped(&self) -> Option<Task> {
        if self.version.dropped_indexes.is_empty() {
            return None;
        }
        (1..LEVELS).find_map(|level| {
            let file = self.version.level(level).iter().find(|file| {
                self.free(file) && touches_dropped(file, &self.version.dropped_indexes)
            })?;
            Some(Task::Merge {
                reason: Reason::DroppedIndex,
                from: level,
                to: level,
                upper: vec![file.clone()],
                lower: Vec::new(),
            })
        })
    }

    /// Moves everything one level down, top first; at the bottom, rewrites files with deletions that nobody needs.
    fn pick_manual(&self) -> Option<Task> {
        if !self.version.level(0).is_empty() {
            return None;
        }
        if let Some(level) = (1..BOTTOM).find(|&level| !self.version.level(level).is_empty()) {
            return self.pick_level(level, Reason::Manual);
        }
        let file = self.version.level(BOTTOM).iter().find(|file| {
            self.free(file) && file.deletions > 0 && file.largest_seq <= self.config.oldest_snapshot
        })?;
        Some(Task::Merge {
            reason: Reason::Deletions,
            from: BOTTOM,
            to: BOTTOM,
            upper: vec![file.clone()],
            lower: Vec::new(),
        })
    }
}

fn deletion_share(file: &FileMeta) -> f64 {
    file.deletions as f64 / file.entries.max(1) as f64
}

fn bounds(files: &[Arc<FileMeta>]) -> Option<(&[u8], &[u8])> {
    let smallest = files.iter().map(|file| file.smallest.user_key()).min()?;
    let largest = files.iter().map(|file| file.largest.user_key()).max()?;
    Some((smallest, largest))
}

/// Whether no two files share a user key.
fn disjoint(files: &[Arc<FileMeta>]) -> bool {
    let mut sorted: Vec<_> = files.iter().collect();
    sorted.sort_by(|a, b| a.smallest.cmp(&b.smallest));
    sorted
        .windows(2)
        .all(|pair| pair[0].largest.user_key() < pair[1].smallest.user_key())
}

fn index_range(file: &FileMeta) -> Option<(IndexId, IndexId)> {
    Some((
        index_id_of(file.smallest.user_key())?,
        index_id_of(file.largest.user_key())?,
    ))
}

/// Whether all of a file's entries belong to dropped indexes.
fn is_dead(file: &FileMeta, dropped: &BTreeMap<IndexId, u64>) -> bool {
    let Some((first, last)) = index_range(file) else {
        return false;
    };
    u64::from(last - first) < dropped.len() as u64
        && (first..=last).all(|id| dropped.contains_key(&id))
}

/// Whether a file may hold entries of a dropped index: its range covers one, and it is not known to have been written without.
///
/// `dropped` maps an index to the file id from which on files were written knowing that it is gone.
pub fn touches_dropped(file: &FileMeta, dropped: &BTreeMap<IndexId, u64>) -> bool {
    index_range(file).is_some_and(|(first, last)| {
        first <= last
            && dropped
                .range(first..=last)
                .any(|(_, &known_from)| file.id < known_from)
    })
}
