//! Removing objects that nobody needs.
//!
//! A file leaves the newest version by a manifest edit; it is deleted when the last reader that still uses it is gone. What a crash leaves
//! behind, outputs never named by an edit and files whose deletion did not happen, is found after the next open by comparing
//! listings with the version: [`Orphans`] is the plan. Failing to delete loses space, never data, so errors are logged and it is tried again.

use std::collections::HashSet;

use crate::Result;
use crate::manifest::{LEVELS, Version, first_file_of_epoch, parse_sst_key};
use crate::object_store::{ObjectMeta, ObjectStore};
use crate::remote_wal::{FENCE_LEN, parse_chunk_key};

/// The folder of SSTs.
pub const SST_PREFIX: &str = "sst/";

/// Objects per listing.
pub const PAGE: usize = 1000;

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

/// What of the objects in a store nobody can name any more, by one version.
pub struct Orphans {
    live: HashSet<u64>,
    end: u64,
    first_chunk: u64,
}

impl Orphans {
    /// Files are orphans below `end`, if neither `version` names them nor they are in `kept`.
    pub fn new(version: &Version, kept: HashSet<u64>, end: u64) -> Self {
        let named = (0..LEVELS).flat_map(|level| version.level(level));
        let mut live = kept;
        live.extend(named.map(|file| file.id));
        Self {
            live,
            end,
            first_chunk: version.first_chunk,
        }
    }

    /// The numbers of those files in `listed` that are orphans.
    pub fn files<'a>(&'a self, listed: &'a [ObjectMeta]) -> impl Iterator<Item = u64> + 'a {
        listed
            .iter()
            .filter_map(|object| parse_sst_key(&object.key))
            .filter(|id| *id < self.end && !self.live.contains(id))
    }

    /// The ids of those chunks in `listed` that come before the first one that the version needs; fences stay.
    pub fn chunks<'a>(&'a self, listed: &'a [ObjectMeta]) -> impl Iterator<Item = u64> + 'a {
        listed
            .iter()
            .filter(|object| object.size > FENCE_LEN)
            .filter_map(|object| parse_chunk_key(&object.key))
            .filter(|id| *id < self.first_chunk)
    }
}

/// What the next writer finds to be orphans after the one that made `version`: its own files are among them, those of a later epoch are not.
pub fn orphans_of_next(version: &Version, kept: HashSet<u64>) -> Orphans {
    Orphans::new(version, kept, first_file_of_epoch(version.epoch + 1))
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
        let next: Vec<u64> = orphans_of_next(&version, kept.clone())
            .files(&listed(&names))
            .collect();
        assert_eq!(next, [first, first_file_of_epoch(2)]);
        // Nor, to the version's own writer, what it may be writing itself.
        let own = Orphans::new(&version, kept, first_file_of_epoch(2));
        assert_eq!(own.files(&listed(&names)).collect::<Vec<_>>(), [first]);
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
        let orphans = orphans_of_next(&version, HashSet::new());
        assert_eq!(orphans.chunks(&listed).collect::<Vec<_>>(), [3, 6]);
    }
}
