//! A version: which files make up the tree at one moment, and how far everything had got. A pure value.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::edit::{FileMeta, LEVELS, VersionEdit};
use crate::types::{IndexId, KeyRef, SeqNo};

/// The state that all edits up to one add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Files by level: level 0 newest first, the others ascending by key and disjoint by user key.
    pub levels: [Vec<Arc<FileMeta>>; LEVELS],
    /// The epoch of the last writer that attached; 0 before the first.
    pub epoch: u64,
    /// That writer's name.
    pub writer: String,
    /// The log position below which everything is in SSTs.
    pub wal_floor: u64,
    /// Commits up to this one are in SSTs, wholly.
    pub last_seq: SeqNo,
    /// The last commit whose writes came as files; all of those up to this one are in.
    pub last_ingest_seq: SeqNo,
    /// No file has this number or a greater one.
    pub next_file: u64,
    /// No index has this id or a greater one.
    pub index_ceiling: IndexId,
    /// Dropped indexes, each with the file number from which on files were written without its entries.
    pub dropped_indexes: BTreeMap<IndexId, u64>,
    /// The first chunk of the log in the store that is still needed; 0 where none is kept there.
    pub first_chunk: u64,
    /// The number that the last writer to attach drew; 0 if it left none.
    pub writer_id: u128,
    /// The highest version that the program which uses the engine has said it is of; 0 if it never did.
    pub user_version: u64,
}

impl Version {
    /// The edit that makes this version out of an empty one.
    pub fn to_edit(&self) -> VersionEdit {
        let levels = self.levels.iter().enumerate();
        VersionEdit {
            epoch: (self.epoch > 0).then(|| (self.epoch, self.writer.clone())),
            wal_floor: Some(self.wal_floor),
            last_seq: Some(self.last_seq),
            last_ingest_seq: (self.last_ingest_seq > 0).then_some(self.last_ingest_seq),
            next_file: Some(self.next_file),
            index_ceiling: Some(self.index_ceiling),
            added: levels
                .flat_map(|(level, files)| files.iter().map(move |f| (level, (**f).clone())))
                .collect(),
            deleted: Vec::new(),
            dropped_indexes: self.dropped_indexes.iter().map(|(&i, &s)| (i, s)).collect(),
            forgotten_indexes: Vec::new(),
            first_chunk: (self.first_chunk > 0).then_some(self.first_chunk),
            writer_id: (self.writer_id > 0).then_some(self.writer_id),
            user_version: (self.user_version > 0).then_some(self.user_version),
        }
    }

    /// No file holds a greater sequence number than this.
    pub fn greatest_seq(&self) -> SeqNo {
        self.last_seq.max(self.last_ingest_seq)
    }

    /// Bytes of the objects at a level.
    pub fn level_bytes(&self, level: usize) -> u64 {
        self.level(level).iter().map(|file| file.size).sum()
    }

    /// Bytes of all objects.
    pub fn total_bytes(&self) -> u64 {
        (0..LEVELS).map(|level| self.level_bytes(level)).sum()
    }

    /// All files with their level, level 0 first.
    pub fn files(&self) -> impl Iterator<Item = (usize, &Arc<FileMeta>)> {
        let levels = self.levels.iter().enumerate();
        levels.flat_map(|(level, files)| files.iter().map(move |file| (level, file)))
    }

    /// The files of a level; none for a level there is not.
    pub fn level(&self, level: usize) -> &[Arc<FileMeta>] {
        self.levels.get(level).map_or(&[], Vec::as_slice)
    }

    /// The files at `level` that may hold user keys from `lower` to `upper`, both included, in the level's order.
    pub fn overlapping(&self, level: usize, lower: &[u8], upper: &[u8]) -> Vec<Arc<FileMeta>> {
        if level == 0 {
            let files = self.level(0).iter();
            return files
                .filter(|f| f.smallest.user_key() <= upper && lower <= f.largest.user_key())
                .cloned()
                .collect();
        }
        self.level(level)[self.overlapping_range(level, lower, upper)].to_vec()
    }

    /// The places of those files at a sorted level (1 and up), without touching them.
    pub fn overlapping_range(&self, level: usize, lower: &[u8], upper: &[u8]) -> Range<usize> {
        let files = self.level(level);
        let from = files.partition_point(|file| file.largest.user_key() < lower);
        let to = files.partition_point(|file| file.smallest.user_key() <= upper);
        from..to.max(from)
    }

    /// The one file at a sorted level (1 and up) whose range includes `user_key`.
    pub fn find_file(&self, level: usize, user_key: &[u8]) -> Option<&Arc<FileMeta>> {
        let files = self.level(level);
        let place = files.partition_point(|file| file.largest.user_key() < user_key);
        files
            .get(place)
            .filter(|file| file.smallest.user_key() <= user_key)
    }

    /// The place of the first file at a sorted level (1 and up) that ends at or after `target`; the number of files if none does.
    pub fn seek_file(&self, level: usize, target: KeyRef<'_>) -> usize {
        self.level(level)
            .partition_point(|file| target.cmp_encoded(file.largest.as_bytes()).is_gt())
    }
}
