//! Removing objects that nobody needs.
//!
//! A file leaves the newest version by a manifest edit; it is deleted when the last reader that still uses it is gone. What a crash leaves
//! behind, outputs never named by an edit and files whose deletion did not happen, is found at the next open by comparing the
//! listing with the version: [`orphans`] is the plan. Failing to delete loses space, never data, so errors are logged and the next open tries again.

use std::collections::HashSet;

use crate::Result;
use crate::manifest::{LEVELS, Version, first_file_of_epoch, parse_sst_key};
use crate::object_store::{ObjectMeta, ObjectStore};
use crate::remote_wal::{FENCE_LEN, parse_chunk_key};

/// The folder of SSTs.
pub const SST_PREFIX: &str = "sst/";

/// Objects per listing.
const PAGE: usize = 1000;

/// All objects whose keys begin with `prefix`.
pub fn list_all(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<ObjectMeta>> {
    let mut all: Vec<ObjectMeta> = Vec::new();
    loop {
        let after = all.last().map_or(String::new(), |last| last.key.clone());
        let page = store.list(prefix, &after, PAGE)?;
        let end = page.len() < PAGE;
        all.extend(page);
        if end {
            return Ok(all);
        }
    }
}

/// The numbers of those files in `listed` that `version` does not name and that are not in `kept`. What a writer of a later epoch than the
/// version's has written is its own affair.
///
/// Only for the writer of the version's epoch, before it writes itself: its own outputs under way would be among them.
pub fn orphans(version: &Version, kept: &HashSet<u64>, listed: &[ObjectMeta]) -> Vec<u64> {
    let live: HashSet<u64> = (0..LEVELS)
        .flat_map(|level| version.level(level))
        .map(|file| file.id)
        .chain(kept.iter().copied())
        .collect();
    let end = first_file_of_epoch(version.epoch + 1);
    listed
        .iter()
        .filter_map(|object| parse_sst_key(&object.key))
        .filter(|id| *id < end && !live.contains(id))
        .collect()
}

/// The ids of those chunks in `listed` that come before the first one that `version` needs; fences stay.
pub fn old_chunks(version: &Version, listed: &[ObjectMeta]) -> Vec<u64> {
    listed
        .iter()
        .filter(|object| object.size > FENCE_LEN)
        .filter_map(|object| parse_chunk_key(&object.key))
        .filter(|id| *id < version.first_chunk)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(keys: &[&str]) -> Vec<ObjectMeta> {
        keys.iter()
            .map(|key| ObjectMeta {
                key: (*key).to_owned(),
                size: 1,
            })
            .collect()
    }

    #[test]
    fn only_what_nobody_can_name_is_an_orphan() {
        let version = Version {
            epoch: 2,
            ..Version::default()
        };
        let first = first_file_of_epoch(1);
        let keys: Vec<String> = [
            first,
            first + 1,
            first_file_of_epoch(2),
            first_file_of_epoch(3),
        ]
        .map(crate::manifest::sst_key)
        .into();
        let mut names: Vec<&str> = keys.iter().map(String::as_str).collect();
        names.extend(["sst/x", "sst/1.sst"]);
        let kept = HashSet::from([first + 1]);
        // Not what is kept, not a later writer's, not what is no file of ours.
        assert_eq!(
            orphans(&version, &kept, &listed(&names)),
            [first, first_file_of_epoch(2)]
        );
    }

    #[test]
    fn chunks_are_old_below_the_first_that_is_needed() {
        let version = Version {
            first_chunk: 7,
            ..Version::default()
        };
        let sized = [(3, 100), (4, FENCE_LEN), (6, 89), (7, 100), (80, 100)];
        let listed = sized.map(|(id, size)| ObjectMeta {
            key: crate::remote_wal::chunk_key(id),
            size,
        });
        assert_eq!(old_chunks(&version, &listed), [3, 6]);
    }
}
