//! Indexes: their ids, and which of them hold anything.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Cursor, Tree};
use crate::iter::InternalIterator;
use crate::manifest::{LEVELS, VersionEdit};
use crate::types::{IndexId, KeyRef, index_id_of};
use crate::{Error, ErrorKind, Result};

/// Index ids that are reserved by one manifest edit.
const INDEX_STEP: u32 = 256;

impl Tree {
    /// The least index id that was not given out.
    pub fn next_index(&self) -> IndexId {
        self.ids.next_index.load(Ordering::Relaxed)
    }

    /// Reserves `count` index ids and returns the first. Waits for a store that is away for `patience` at most.
    pub fn allocate_indexes(&self, count: u32, patience: Duration) -> Result<IndexId> {
        let mut manifest = self.manifest_within(patience)?;
        let first = self.ids.next_index.load(Ordering::Relaxed);
        let after = first
            .checked_add(count)
            .filter(|&after| after < u32::MAX - INDEX_STEP);
        let Some(after) = after else {
            return Err(Error::new(ErrorKind::Internal, "index ids are used up"));
        };
        if after > self.ids.index_ceiling.load(Ordering::Relaxed) {
            let ceiling = after + INDEX_STEP;
            let edit = VersionEdit {
                index_ceiling: Some(ceiling),
                ..VersionEdit::default()
            };
            // That it took effect all the same would harm nobody.
            self.install_within(&mut manifest, edit, &[], Some(patience))?;
            self.ids.index_ceiling.store(ceiling, Ordering::Relaxed);
        }
        self.ids.next_index.store(after, Ordering::Relaxed);
        Ok(first)
    }

    /// Those of `indexes` that have a key which reads see.
    pub fn with_keys(&self, indexes: Vec<IndexId>) -> Result<Vec<IndexId>> {
        let guard = Arc::new(self.snapshots.take());
        let mut found = Vec::new();
        for index in indexes {
            let (lower, upper) = (index.to_be_bytes(), index.saturating_add(1).to_be_bytes());
            let mut cursor = Cursor::new(self, guard.clone(), None, &lower, &upper)?;
            cursor.seek_to_first()?;
            if cursor.valid() {
                found.push(index);
            }
        }
        Ok(found)
    }

    /// The indexes that may hold data, are not on record as dropped, and are not in `named`.
    pub fn indexes_not_in(&self, named: &HashSet<IndexId>) -> Result<Vec<IndexId>> {
        let ceiling = self.next_index();
        let mut present = BTreeSet::new();
        let state = self.state.load_full();
        for table in state.memtables() {
            let mut position = table.iter();
            position.seek_to_first()?;
            while position.valid() {
                let Some(index) = index_id_of(position.key()) else {
                    break;
                };
                present.insert(index);
                let Some(next) = index.checked_add(1) else {
                    break;
                };
                position.seek(KeyRef::before(&next.to_be_bytes()))?;
            }
        }
        for level in 0..LEVELS {
            for file in state.files.version.level(level) {
                let first = index_id_of(file.smallest.user_key());
                let last = index_id_of(file.largest.user_key());
                if let (Some(first), Some(last)) = (first, last) {
                    present.extend(first..=last.min(ceiling.saturating_sub(1)));
                }
            }
        }
        let dropped = &state.files.version.dropped_indexes;
        let wanted = |index: &IndexId| {
            *index < ceiling && !named.contains(index) && !dropped.contains_key(index)
        };
        present.retain(wanted);
        Ok(present.into_iter().collect())
    }
}
