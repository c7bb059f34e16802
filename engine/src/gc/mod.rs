//! Removing objects that nobody needs.
//!
//! A file leaves the newest version by a manifest edit; it is deleted when the last reader that still uses it is gone. What a crash leaves
//! behind, outputs never named by an edit and files whose deletion did not happen, is found at the next open by comparing the
//! listing with the version: [`orphans`] is the plan. Failing to delete loses space, never data, so errors are logged and the next open tries again.

use std::collections::HashSet;

use crate::Result;
use crate::manifest::{LEVELS, Version};
use crate::object_store::{ObjectMeta, ObjectStore};

/// The folder of SSTs.
const SST_PREFIX: &str = "sst/";

/// Objects per listing.
const PAGE: usize = 1000;

/// All objects under `sst/`.
pub fn list_files(store: &dyn ObjectStore) -> Result<Vec<ObjectMeta>> {
    let mut all: Vec<ObjectMeta> = Vec::new();
    loop {
        let after = all.last().map_or(String::new(), |last| last.key.clone());
        let page = store.list(SST_PREFIX, &after, PAGE)?;
        let end = page.len() < PAGE;
        all.extend(page);
        if end {
            return Ok(all);
        }
    }
}

/// Those of `listed` that `version` does not name and that are not in `kept`, by number. Only for a writer that owns the store: another's output under way would be among them.
pub fn orphans(version: &Version, kept: &HashSet<u64>, listed: &[ObjectMeta]) -> Vec<String> {
    let live: HashSet<String> = (0..LEVELS)
        .flat_map(|level| version.level(level))
        .map(|file| file.id)
        .chain(kept.iter().copied())
        .map(crate::manifest::sst_key)
        .collect();
    listed
        .iter()
        .filter(|object| !live.contains(&object.key))
        .map(|o| o.key.clone())
        .collect()
}
