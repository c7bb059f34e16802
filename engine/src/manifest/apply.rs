//! From one version to the next, by an edit.

use std::sync::Arc;

use super::edit::{LEVELS, VersionEdit, first_file_of_epoch};
use super::invariants;
use super::version::Version;
use crate::{Error, Result};

impl Version {
    /// The version after `edit`, if every rule of [`super::Rule`] holds for it.
    pub fn apply(&self, edit: &VersionEdit) -> Result<Self> {
        let mut next = self.clone();
        if let Some((epoch, writer)) = &edit.epoch {
            next.epoch = *epoch;
            next.writer.clone_from(writer);
            next.writer_id = edit.writer_id.unwrap_or(0);
            // Checked to be small enough for the shift below.
            invariants::check_epoch(self, *epoch)?;
            next.next_file = next.next_file.max(first_file_of_epoch(*epoch));
        }
        next.wal_floor = edit.wal_floor.unwrap_or(next.wal_floor);
        next.last_seq = edit.last_seq.unwrap_or(next.last_seq);
        next.last_ingest_seq = edit.last_ingest_seq.unwrap_or(next.last_ingest_seq);
        next.next_file = edit.next_file.unwrap_or(next.next_file);
        next.index_ceiling = edit.index_ceiling.unwrap_or(next.index_ceiling);
        next.first_chunk = edit.first_chunk.unwrap_or(next.first_chunk);
        next.user_version = edit.user_version.unwrap_or(next.user_version);
        for &(level, id) in &edit.deleted {
            next.remove_file(level, id)?;
        }
        let mut touched = [false; LEVELS];
        for (level, file) in &edit.added {
            let files = next
                .levels
                .get_mut(*level)
                .ok_or_else(|| no_level(*level))?;
            files.push(Arc::new(file.clone()));
            touched[*level] = true;
        }
        for (level, files) in next.levels.iter_mut().enumerate() {
            if !touched[level] {
                continue;
            }
            if level == 0 {
                files.sort_by_key(|file| std::cmp::Reverse((file.largest_seq, file.id)));
            } else {
                files.sort_by(|a, b| a.smallest.cmp(&b.smallest));
            }
        }
        for &(index, seq) in &edit.dropped_indexes {
            next.dropped_indexes.insert(index, seq);
        }
        for index in &edit.forgotten_indexes {
            next.dropped_indexes.remove(index);
        }
        invariants::check(self, edit, &next)?;
        Ok(next)
    }

    fn remove_file(&mut self, level: usize, id: u64) -> Result<()> {
        let files = self.levels.get_mut(level).ok_or_else(|| no_level(level))?;
        let place = files.iter().position(|file| file.id == id).ok_or_else(|| {
            invariants::Rule::DeletedFileExists.broken(format!("file {id} is not at level {level}"))
        })?;
        files.remove(place);
        Ok(())
    }
}

fn no_level(level: usize) -> Error {
    Error::new(
        crate::ErrorKind::Internal,
        format!("level {level}: there are {LEVELS}"),
    )
}
