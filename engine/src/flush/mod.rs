//! Writing sorted entries to SSTs: what flush and compaction have in common, and flush itself.
//!
//! A flush merges quiet immutable memtables, oldest data last, into files for level 0. A crash before the manifest edit that names them
//! leaves objects that nobody refers to, which the next open removes; the WAL still holds the entries.

mod drop_rules;
mod output;
mod rate_limiter;

pub use drop_rules::DropRules;
pub use output::{Output, OutputHost, OutputSpec};
pub use rate_limiter::RateLimiter;

use std::sync::Arc;

use crate::Result;
use crate::iter::{InternalIterator, MergingIterator};
use crate::manifest::FileMeta;
use crate::memtable::MemTable;
use crate::types::KeyRef;
use crate::{Error, types::ValueKind};

/// Writes the contents of `memtables` to level-0 files and returns their descriptions.
pub fn flush_memtables(
    memtables: &[Arc<MemTable>],
    mut rules: DropRules,
    spec: OutputSpec<'_>,
) -> Result<Vec<FileMeta>> {
    let mut merged = MergingIterator::new(memtables.iter().map(MemTable::iter).collect());
    let mut output = Output::new(spec);
    merged.seek_to_first()?;
    while merged.valid() {
        let (key, kind) = decode(merged.key())?;
        if rules.keep(key.user, key.seq(), kind, |_| false) {
            output.add(merged.key(), merged.value())?;
        }
        merged.next()?;
    }
    output.finish()
}

/// The parts of an internal key whose kind is known.
pub fn decode(internal: &[u8]) -> Result<(KeyRef<'_>, ValueKind)> {
    let key = KeyRef::decode(internal);
    let kind = key
        .kind()
        .ok_or_else(|| Error::corruption(format!("entry {key:?} has an unknown kind")))?;
    Ok((key, kind))
}
