//! Point reads: memtables, then one file of each sorted run of level 0, then one a level.

use super::Tree;
use super::pinned::Value;
use super::state::{State, open_together};
use crate::Result;
use crate::iter::InternalIterator;
use crate::sst::{Found, key_hash};
use crate::types::{SeqNo, ValueKind, decode_internal};

impl Tree {
    /// The value of `user_key` that `snapshot` sees. The caller holds a snapshot at or before it.
    #[inline]
    pub fn get(&self, user_key: &[u8], snapshot: SeqNo) -> Result<Option<Value>> {
        Ok(get_version(&self.state.load(), user_key, snapshot)?.1)
    }

    /// The newest committed value of `user_key`, with the number of the commit that wrote it or removed it; 0 if there is none.
    ///
    /// It takes no snapshot: what it reads from was made before the number that it reads as of ([`crate::txn::snapshots`]).
    #[inline]
    pub fn get_newest(&self, user_key: &[u8]) -> Result<(SeqNo, Option<Value>)> {
        let state = self.state.load();
        // Not the other way round.
        let newest = self.snapshots.visible();
        get_version(&state, user_key, newest)
    }
}

fn get_version(state: &State, user_key: &[u8], snapshot: SeqNo) -> Result<(SeqNo, Option<Value>)> {
    for table in state.memtables() {
        if let Some(position) = table.find(user_key, snapshot) {
            let (key, kind) = decode_internal(position.key())?;
            let seq = key.seq();
            return Ok((seq, (kind == ValueKind::Put).then(|| Value::at(position))));
        }
    }
    Ok(match find_in_files(state, user_key, snapshot)? {
        Some(found) if found.kind == ValueKind::Put => {
            (found.seq, Some(Value::in_block(found.value)))
        }
        Some(found) => (found.seq, None),
        None => (0, None),
    })
}

fn find_in_files(state: &State, user_key: &[u8], snapshot: SeqNo) -> Result<Option<Found>> {
    let hash = key_hash(user_key);
    open_candidates(state, user_key);
    // The newest that has the key decides.
    for file in state.files.files_for(user_key) {
        if let Some(found) = file.reader()?.get(user_key, hash, snapshot)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Opens all files of a distant store that may be asked for the key at the same time: with what they hold beside their data, all but one of them say
/// that they do not have it, as a rule, so that a lookup among files that nobody has read yet takes two round trips.
fn open_candidates(state: &State, user_key: &[u8]) {
    let files = &state.files;
    let distant = files.levels.iter().flatten().next();
    if !distant.is_some_and(|file| file.is_distant()) {
        return;
    }
    open_together(files.files_for(user_key));
}
