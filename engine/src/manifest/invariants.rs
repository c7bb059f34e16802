//! The rules that every version keeps, by name. They are checked before an edit is published: a defect above must not reach the bucket, and a manifest that
//! breaks one was not written by this engine.

use std::collections::HashSet;
use std::fmt;

use super::edit::{FILE_COUNTER_BITS, FileMeta, LEVELS, VersionEdit};
use super::version::Version;
use crate::types::{MAX_KEY_LEN, MAX_SEQ, TRAILER_LEN};
use crate::{Error, ErrorKind, Result};

/// A rule about versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A writer's epoch is greater than all before it and fits into a file number.
    EpochRises,
    /// The log's floor never goes back.
    FloorNeverGoesBack,
    /// The last sequence numbers, of commits and of commits by files, never go back and fit into an internal key.
    LastSeqNeverGoesBack,
    /// The next file number never goes back.
    NextFileNeverGoesBack,
    /// The index ceiling never goes back.
    IndexCeilingNeverGoesBack,
    /// The first chunk of the log that is needed never goes back.
    FirstChunkNeverGoesBack,
    /// The version of the engine's user never goes back.
    UserVersionNeverGoesBack,
    /// A writer's number comes with its epoch.
    WriterIdWithEpoch,
    /// A deleted file exists at the level it is deleted from.
    DeletedFileExists,
    /// A file is at one place at most.
    NoFileTwice,
    /// A file's number is below the next file number.
    FileNumberAllocated,
    /// A file that was not there before carries the epoch of the writer that adds it; one with a file-wide sequence number may be older, since
    /// its commit can come a restart after it was written.
    NewFileOfOwnEpoch,
    /// A file's smallest key is at most its largest, both are internal keys of a legal length, its counts can be, and a file-wide sequence number is
    /// that of its keys.
    FileMakesSense,
    /// No file holds a sequence number beyond the last, and one with a file-wide sequence number none beyond the last commit by files.
    SeqBelowLast,
    /// The files of a level other than 0 are disjoint by user key.
    LevelDisjoint,
    /// An index is dropped with a file number that was given out or is next, which never goes back; it is forgotten only if it was dropped.
    DropsMakeSense,
}

impl Rule {
    /// The error for an edit that breaks the rule.
    pub(super) fn broken(self, how: impl fmt::Display) -> Error {
        Error::new(
            ErrorKind::Internal,
            format!("manifest edit breaks the rule {self:?}: {how}"),
        )
    }
}

/// Checks the epoch alone, before anything is computed from it.
pub(super) fn check_epoch(before: &Version, epoch: u64) -> Result<()> {
    if epoch <= before.epoch || epoch >> (64 - FILE_COUNTER_BITS) != 0 {
        return Err(Rule::EpochRises.broken(format_args!("{epoch} after {}", before.epoch)));
    }
    Ok(())
}

/// Checks the step from `before` by `edit` to `after`.
pub(super) fn check(before: &Version, edit: &VersionEdit, after: &Version) -> Result<()> {
    never_back(Rule::FloorNeverGoesBack, before.wal_floor, after.wal_floor)?;
    never_back(Rule::LastSeqNeverGoesBack, before.last_seq, after.last_seq)?;
    never_back(Rule::LastSeqNeverGoesBack, after.last_seq, MAX_SEQ)?;
    never_back(
        Rule::LastSeqNeverGoesBack,
        before.last_ingest_seq,
        after.last_ingest_seq,
    )?;
    never_back(Rule::LastSeqNeverGoesBack, after.last_ingest_seq, MAX_SEQ)?;
    never_back(
        Rule::NextFileNeverGoesBack,
        before.next_file,
        after.next_file,
    )?;
    never_back(
        Rule::IndexCeilingNeverGoesBack,
        u64::from(before.index_ceiling),
        u64::from(after.index_ceiling),
    )?;
    never_back(
        Rule::FirstChunkNeverGoesBack,
        before.first_chunk,
        after.first_chunk,
    )?;
    never_back(
        Rule::UserVersionNeverGoesBack,
        before.user_version,
        after.user_version,
    )?;
    if edit.writer_id.is_some() && edit.epoch.is_none() {
        return Err(Rule::WriterIdWithEpoch.broken("a number without an epoch"));
    }
    check_added(before, edit, after)?;
    check_places(edit, after)?;
    check_drops(before, edit, after)
}

fn never_back(rule: Rule, before: u64, after: u64) -> Result<()> {
    if after < before {
        return Err(rule.broken(format_args!("{after} after {before}")));
    }
    Ok(())
}

fn check_added(before: &Version, edit: &VersionEdit, after: &Version) -> Result<()> {
    if edit.added.is_empty() {
        return Ok(());
    }
    // A full version repeats the files of all epochs onto nothing.
    let from_nothing = *before == Version::default();
    let moved: HashSet<u64> = edit.deleted.iter().map(|&(_, id)| id).collect();
    for (level, file) in &edit.added {
        let what = |how: String| format!("file {} at level {level}: {how}", file.id);
        check_file(file).map_err(|how| Rule::FileMakesSense.broken(what(how)))?;
        if file.id >= after.next_file {
            let how = format!("the next file number is {}", after.next_file);
            return Err(Rule::FileNumberAllocated.broken(what(how)));
        }
        let epoch = file.id >> FILE_COUNTER_BITS;
        let own = epoch == after.epoch || (file.file_seq.is_some() && epoch < after.epoch);
        if !from_nothing && !moved.contains(&file.id) && !own {
            let how = format!("of epoch {epoch}, added in epoch {}", after.epoch);
            return Err(Rule::NewFileOfOwnEpoch.broken(what(how)));
        }
        let last = match file.file_seq {
            Some(_) => after.last_ingest_seq,
            None => after.greatest_seq(),
        };
        if file.largest_seq > last {
            let how = format!("sequence {} > {last}", file.largest_seq);
            return Err(Rule::SeqBelowLast.broken(what(how)));
        }
    }
    Ok(())
}

fn check_file(file: &FileMeta) -> Result<(), String> {
    for (name, key) in [("smallest", &file.smallest), ("largest", &file.largest)] {
        let len = key.as_bytes().len();
        if !(TRAILER_LEN..=MAX_KEY_LEN + TRAILER_LEN).contains(&len) {
            return Err(format!("{name} key of {len} bytes"));
        }
    }
    if file.smallest > file.largest {
        return Err("its smallest key is beyond its largest".to_owned());
    }
    if file.smallest_seq > file.largest_seq {
        return Err("its smallest sequence number is beyond its largest".to_owned());
    }
    if let Some(seq) = file.file_seq {
        let of_keys = [&file.smallest, &file.largest].map(|key| key.as_ref().seq());
        if of_keys != [seq; 2] || file.smallest_seq != seq || file.largest_seq != seq {
            return Err(format!("its keys are not of sequence number {seq}"));
        }
    }
    if file.entries == 0 || file.deletions > file.entries || file.size == 0 {
        return Err(format!(
            "{} entries, {} deletions, {} bytes",
            file.entries, file.deletions, file.size
        ));
    }
    Ok(())
}

fn check_places(edit: &VersionEdit, after: &Version) -> Result<()> {
    if edit.added.is_empty() {
        return Ok(());
    }
    let mut seen = HashSet::new();
    for (level, file) in after.files() {
        if !seen.insert(file.id) {
            let how = format!("file {} again at level {level}", file.id);
            return Err(Rule::NoFileTwice.broken(how));
        }
    }
    let mut touched: [bool; LEVELS] = [false; LEVELS];
    for (level, _) in &edit.added {
        touched[*level] = *level > 0;
    }
    for (level, _) in touched.iter().enumerate().filter(|(_, touched)| **touched) {
        for pair in after.level(level).windows(2) {
            if pair[0].largest.user_key() >= pair[1].smallest.user_key() {
                return Err(Rule::LevelDisjoint.broken(format_args!(
                    "level {level}: file {} ends with {:?}, file {} begins with {:?}",
                    pair[0].id, pair[0].largest, pair[1].id, pair[1].smallest
                )));
            }
        }
    }
    Ok(())
}

fn check_drops(before: &Version, edit: &VersionEdit, after: &Version) -> Result<()> {
    for (index, file) in &edit.dropped_indexes {
        if *file > after.next_file {
            return Err(Rule::DropsMakeSense.broken(format_args!(
                "index {index} at file {file}, the next is {}",
                after.next_file
            )));
        }
        if let Some(earlier) = before.dropped_indexes.get(index)
            && file < earlier
        {
            return Err(Rule::DropsMakeSense.broken(format_args!(
                "index {index} at file {file}, it was dropped at {earlier}"
            )));
        }
    }
    let dropped_here: HashSet<_> = edit.dropped_indexes.iter().map(|(id, _)| id).collect();
    for index in &edit.forgotten_indexes {
        if dropped_here.contains(index) || !before.dropped_indexes.contains_key(index) {
            return Err(Rule::DropsMakeSense.broken(format_args!(
                "index {index} forgotten, which was not dropped before"
            )));
        }
    }
    Ok(())
}
