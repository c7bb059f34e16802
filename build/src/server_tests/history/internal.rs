//! Internal consistency: what a transaction reads agrees with what it has itself read and written.
//!
//! Once a transaction holds a row's lock, by a locking read, an append, or any read in SERIALIZABLE, nobody else changes the
//! list, so locking reads and reads after an own append have to find what it knows, and its own appends at the end. A plain
//! read of a list without an own append shows the snapshot: in REPEATABLE READ the same each time.

use std::collections::HashMap;

use super::anomaly::{Anomaly, Violation};
use super::model::{Action, Key, Level, List, Outcome, Transaction, Value};

/// What a transaction knows of one list.
#[derive(Default)]
struct Known {
    /// Others' values, as a read under the row's lock found them.
    locked: Option<List>,
    /// The list as the snapshot has it.
    snapshot: Option<List>,
    own: List,
}

pub fn check(history: &[Transaction], level: Level) -> Vec<Violation> {
    history
        .iter()
        .filter(|transaction| transaction.outcome != Outcome::Aborted)
        .filter_map(|transaction| {
            let (key, list) = contradiction(transaction, level)?;
            let text = format!("list {key} as {list:?}\n    {}", transaction.describe());
            Some(Violation::new(Anomaly::Internal, text))
        })
        .collect()
}

fn contradiction(transaction: &Transaction, level: Level) -> Option<(Key, List)> {
    let mut lists: HashMap<Key, Known> = HashMap::new();
    for op in &transaction.ops {
        match &op.action {
            Action::Append { key, value } => lists.entry(*key).or_default().own.push(*value),
            // A row that was inserted and taken back is locked no more.
            Action::Undone { key, .. } => lists.entry(*key).or_default().locked = None,
            Action::Read {
                locking,
                lists: read,
                ..
            } => {
                for (key, list) in read {
                    let known = lists.entry(*key).or_default();
                    if !known.agrees(list, *locking, level) {
                        return Some((*key, list.clone()));
                    }
                }
            }
        }
    }
    None
}

impl Known {
    /// Takes in what a read found; false if that contradicts what is known.
    fn agrees(&mut self, list: &[Value], locking: bool, level: Level) -> bool {
        let Some(others) = list.strip_suffix(self.own.as_slice()) else {
            return false;
        };
        let locked = locking || !self.own.is_empty() || level == Level::Serializable;
        // Nothing keeps others from inserting a row that a read in READ COMMITTED did not find.
        let locked = locked && !(level == Level::ReadCommitted && list.is_empty());
        let slot = match (locked, level) {
            (true, _) => &mut self.locked,
            (false, Level::ReadCommitted) => return true,
            (false, _) => &mut self.snapshot,
        };
        match slot {
            Some(before) => before == others,
            None => {
                *slot = Some(others.to_vec());
                true
            }
        }
    }
}
