//! Dropped indexes that are still on record: until no memtable and no file can hold anything of them.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use parking_lot::Mutex;

use crate::manifest::{FileMeta, LEVELS, Version, VersionEdit};
use crate::types::{IndexId, index_id_of};

/// Indexes whose entries may be in memory: each must stay on record until memtables up to this id are flushed.
#[derive(Default)]
pub struct Dropped(Mutex<HashMap<IndexId, u64>>);

impl Dropped {
    /// After an open: what the version has dropped may be in memtables before the one with this id.
    pub fn recovered(version: &Version, memtable: u64) -> Self {
        let dropped = version.dropped_indexes.keys();
        Self(Mutex::new(
            dropped.map(|&index| (index, memtable)).collect(),
        ))
    }

    /// Indexes that are about to be dropped, while this memtable takes writes.
    pub fn add(&self, indexes: &HashSet<IndexId>, memtable: u64) {
        let indexes = indexes.iter();
        self.0
            .lock()
            .extend(indexes.map(|&index| (index, memtable)));
    }

    /// Has an edit that follows `now` say what became of dropped indexes, where its files were made knowing of those in `known`.
    ///
    /// Indexes that were dropped while a job ran may be in its output: their boundary moves past it, to `next_file`. Those that no file and no memtable can
    /// hold any more are forgotten.
    pub fn note(
        &self,
        edit: &mut VersionEdit,
        known: &BTreeMap<IndexId, u64>,
        now: &Version,
        next_file: u64,
        oldest_memtable: u64,
    ) {
        let new = now.dropped_indexes.keys();
        let new = new.filter(|index| !known.contains_key(index));
        edit.dropped_indexes
            .extend(new.map(|&index| (index, next_file)));
        // Another job that did not know of the drop may have raised the boundary meanwhile: that of the newest version counts.
        let dropped = now.dropped_indexes.iter();
        let dropped = dropped.filter(|(index, _)| known.contains_key(index));
        let mut in_memory = self.0.lock();
        for index in in_no_file(dropped, now) {
            let memtable = in_memory.get(&index);
            if memtable.is_none_or(|&memtable| memtable < oldest_memtable) {
                edit.forgotten_indexes.push(index);
                in_memory.remove(&index);
            }
        }
    }
}

/// Those of the dropped indexes of which no file of `version` holds anything: each that covers one was written knowing that it is gone. Indexes come
/// in ascending order, with the file number from which on that is so.
///
/// One pass over the indexes and the files, both in key order: for each index the oldest of the files that reach over it decides.
fn in_no_file<'a>(
    dropped: impl Iterator<Item = (&'a IndexId, &'a u64)>,
    version: &Version,
) -> Vec<IndexId> {
    let mut files: Vec<(IndexId, IndexId, u64)> = (0..LEVELS)
        .flat_map(|level| version.level(level))
        .filter_map(|file| reach_of(file))
        .collect();
    files.sort_unstable();
    let mut coming = files.into_iter().peekable();
    // Files that begin at or before the index, oldest on top.
    let mut begun: BinaryHeap<(std::cmp::Reverse<u64>, IndexId)> = BinaryHeap::new();
    let mut free = Vec::new();
    for (&index, &known_from) in dropped {
        while let Some((_, last, id)) = coming.next_if(|&(first, _, _)| first <= index) {
            begun.push((std::cmp::Reverse(id), last));
        }
        while begun.peek().is_some_and(|&(_, last)| last < index) {
            begun.pop();
        }
        let oldest = begun.peek().map(|&(std::cmp::Reverse(id), _)| id);
        if oldest.is_none_or(|id| id >= known_from) {
            free.push(index);
        }
    }
    free
}

/// The first and the last index of a file, and its number.
fn reach_of(file: &FileMeta) -> Option<(IndexId, IndexId, u64)> {
    Some((
        index_id_of(file.smallest.user_key())?,
        index_id_of(file.largest.user_key())?,
        file.id,
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::compaction::touches_dropped;
    use crate::types::{InternalKeyBuf, ValueKind, encode_trailer};

    fn key(index: IndexId, seq: u64) -> InternalKeyBuf {
        let mut key = InternalKeyBuf::default();
        key.set(&index.to_be_bytes(), encode_trailer(seq, ValueKind::Put));
        key
    }

    fn file(id: u64, first: IndexId, last: IndexId) -> Arc<FileMeta> {
        Arc::new(FileMeta {
            id,
            size: 1,
            smallest: key(first, 9),
            largest: key(last, 1),
            smallest_seq: 1,
            largest_seq: 9,
            entries: 2,
            deletions: 0,
            raw_bytes: 1,
            file_seq: None,
            tail: None,
        })
    }

    proptest! {
        #[test]
        fn one_pass_finds_what_a_look_at_every_file_finds(
            files in prop::collection::vec((0..LEVELS, 1u64..40, 0u32..60, 0u32..20), 0..30),
            dropped in prop::collection::btree_map(0u32..70, 1u64..40, 0..30),
        ) {
            let mut version = Version::default();
            for (level, id, first, more) in files {
                version.levels[level].push(file(id, first, first + more));
            }
            let slow: Vec<IndexId> = dropped
                .iter()
                .filter(|&(&index, &boundary)| {
                    let only = BTreeMap::from([(index, boundary)]);
                    !version.files().any(|(_, file)| touches_dropped(file, &only))
                })
                .map(|(&index, _)| index)
                .collect();
            prop_assert_eq!(in_no_file(dropped.iter(), &version), slow);
        }
    }
}
