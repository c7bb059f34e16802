//! The indexes that a store's files hold. What is in the log alone is not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use smartengine::Result;
use smartengine::inspect::Overview;
use smartengine::internals::ResultExt;
use smartengine::internals::cache::BlockCache;
use smartengine::internals::manifest::sst_key;
use smartengine::internals::sst::SstReader;
use smartengine::object_store::ObjectStore;

use crate::text;

/// A file is only opened: this holds the top of its index.
const CACHE: u64 = 8 << 20;

/// One index over all files.
#[derive(Default)]
pub struct Index {
    id: u32,
    entries: u64,
    deletions: u64,
    bytes: u64,
    files: u64,
    creators: BTreeSet<String>,
}

pub fn of_store(store: &dyn ObjectStore, found: &Overview) -> Result<Vec<Index>> {
    let mut indexes: BTreeMap<u32, Index> = BTreeMap::new();
    let cache = Arc::new(BlockCache::new(CACHE));
    for (_, file) in found.version.files() {
        let key = sst_key(file.id);
        let object = store.reader_of(&key, file.size)?;
        let reader = SstReader::open(object, file.id, file.size, cache.clone());
        let reader = reader.context(|| key)?;
        let properties = reader.properties();
        for part in &properties.indexes {
            // What was dropped is still in files that compaction has not come to.
            if found.version.dropped_indexes.contains_key(&part.index_id) {
                continue;
            }
            let index = indexes.entry(part.index_id).or_default();
            index.id = part.index_id;
            index.entries += part.entries;
            index.deletions += part.deletions;
            index.bytes += part.key_bytes + part.value_bytes;
            index.files += 1;
            index.creators.insert(properties.creator.clone());
        }
    }
    Ok(indexes.into_values().collect())
}

pub fn as_value(index: &Index) -> Value {
    json!({
        "index": index.id,
        "entries": index.entries,
        "deletions": index.deletions,
        "raw_bytes": index.bytes,
        "files": index.files,
        "written_by": index.creators,
    })
}

pub fn as_text(indexes: &[Index]) -> String {
    // Writing to a string does not fail.
    let mut out = format!("\n{} indexes have entries in files\n", indexes.len());
    let _ = writeln!(
        out,
        "     index      entries    deletions uncompressed  files written by"
    );
    for index in indexes {
        let creators: Vec<&str> = index.creators.iter().map(String::as_str).collect();
        let _ = writeln!(
            out,
            "{:>10} {:>12} {:>12} {:>12} {:>6} {}",
            index.id,
            index.entries,
            index.deletions,
            text::bytes(index.bytes),
            index.files,
            creators.join(", ")
        );
    }
    out
}
