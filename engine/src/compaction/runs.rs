//! Level 0 as sorted runs: what a read has to look at, whatever the number of files.
//!
//! A flush writes about one file for each index, and no two of them share a key: a lookup asks one of them, as it would ask one file that held all. So the triggers
//! of compaction and of stalls count runs, not files: stretches of level 0, in its order from new to old, of which no two
//! files share a user key. Files of several flushes may be one run, where each flush wrote elsewhere; that costs readers nothing either.

use std::collections::BTreeMap;

use crate::manifest::FileMeta;

/// Files that one run holds at most, so that work which looks at all files of level 0 has a bound.
const MOST_FILES: usize = 64;

/// The runs of `files`, which come as level 0 has them: newest first. Each run is in key order, the newest run comes first.
///
/// The least number that there can be without a file passing an older one that it shares a key with: a run takes what it can.
pub fn sorted_runs<T: Clone>(files: &[T], meta: impl Fn(&T) -> &FileMeta) -> Vec<Vec<T>> {
    let mut runs = Vec::new();
    // By least user key.
    let mut run: BTreeMap<&[u8], &T> = BTreeMap::new();
    let close = |run: &mut BTreeMap<&[u8], &T>| {
        let files = std::mem::take(run);
        files.into_values().cloned().collect()
    };
    for file in files {
        let (smallest, largest) = ends(meta(file));
        let before = run.range(..=largest).next_back();
        let shares = before.is_some_and(|(_, other)| ends(meta(other)).1 >= smallest);
        if shares || run.len() == MOST_FILES {
            runs.push(close(&mut run));
        }
        run.insert(smallest, file);
    }
    if !run.is_empty() {
        runs.push(close(&mut run));
    }
    runs
}

/// The least and the greatest user key.
fn ends(file: &FileMeta) -> (&[u8], &[u8]) {
    (file.smallest.user_key(), file.largest.user_key())
}
