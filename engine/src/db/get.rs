//! Point reads: memtables, then level 0, then one file a level.

use super::core::Core;
use super::pinned::Value;
use super::state::State;
use crate::Result;
use crate::iter::InternalIterator;
use crate::sst::{Found, key_hash};
use crate::types::{SeqNo, ValueKind};

impl Core {
    /// The value of `user_key` that `snapshot` sees. The caller holds a snapshot at or before it.
    pub fn get(&self, user_key: &[u8], snapshot: SeqNo) -> Result<Option<Value>> {
        let state = self.state.load();
        for table in state.memtables() {
            if let Some(position) = table.find(user_key, snapshot) {
                let (_, kind) = crate::flush::decode(position.key())?;
                return Ok((kind == ValueKind::Put).then(|| Value::at(position)));
            }
        }
        let found = find_in_files(&state, user_key, snapshot)?;
        Ok(found
            .filter(|found| found.kind == ValueKind::Put)
            .map(|found| Value::in_block(found.value)))
    }
}

fn find_in_files(state: &State, user_key: &[u8], snapshot: SeqNo) -> Result<Option<Found>> {
    let hash = key_hash(user_key);
    // Files of level 0 overlap; the newest that has the key decides.
    for file in &state.files.levels[0] {
        if file.covers(user_key)
            && let Some(found) = file.reader()?.get(user_key, hash, snapshot)?
        {
            return Ok(Some(found));
        }
    }
    for level in 1..state.files.levels.len() {
        if let Some(file) = state.files.file_for(level, user_key)
            && let Some(found) = file.reader()?.get(user_key, hash, snapshot)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
