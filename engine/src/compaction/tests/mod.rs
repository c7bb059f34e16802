//! The picker as a function of versions.

mod cases;
mod simulation;

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::manifest::{FileMeta, Version, VersionEdit, first_file_of_epoch};
use crate::types::{IndexId, InternalKeyBuf, SeqNo, ValueKind};

fn config() -> PickConfig {
    PickConfig {
        level0_trigger: 4,
        level0_size: 4000,
        base_size: 1000,
        multiplier: 10,
        oldest_snapshot: 1 << 40,
        everything: false,
    }
}

fn key(index: IndexId, number: u32) -> Vec<u8> {
    [index.to_be_bytes(), number.to_be_bytes()].concat()
}

/// A file from key `from` to `to` of the index, of `size` bytes. Its id is also its sequence number.
fn file(id: u64, (index, from): (IndexId, u32), (last, to): (IndexId, u32), size: u64) -> FileMeta {
    FileMeta {
        id: first_file_of_epoch(1) + id,
        size,
        smallest: InternalKeyBuf::new(&key(index, from), id, ValueKind::Put),
        largest: InternalKeyBuf::new(&key(last, to), id, ValueKind::Put),
        smallest_seq: id,
        largest_seq: id,
        entries: 100,
        deletions: 0,
        raw_bytes: size,
        file_seq: None,
        tail: None,
    }
}

/// A version with these files, in which the indexes were dropped after all of them were written.
fn version(files: Vec<(usize, FileMeta)>, dropped: &[IndexId]) -> Version {
    let next_file = first_file_of_epoch(1) + 1000;
    let edit = VersionEdit {
        epoch: Some((1, "test".into())),
        next_file: Some(next_file),
        last_seq: Some(1 << 40),
        added: files,
        dropped_indexes: dropped.iter().map(|&index| (index, next_file)).collect(),
        ..VersionEdit::default()
    };
    Version::default().apply(&edit).unwrap()
}

fn pick_idle(version: &Version, config: &PickConfig) -> Option<Task> {
    pick(version, config, &HashSet::new())
}

fn ids(files: &[Arc<FileMeta>]) -> Vec<u64> {
    files
        .iter()
        .map(|file| file.id - first_file_of_epoch(1))
        .collect()
}
