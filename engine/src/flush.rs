//! Flush: memtables become files of level 0.
//!
//! A flush merges quiet immutable memtables, oldest data last. A crash before the manifest edit that names the files leaves objects that nobody
//! refers to, which the next open removes; the WAL still holds the entries.

use std::sync::Arc;

use crate::Result;
use crate::iter::{InternalIterator, MergingIterator};
use crate::manifest::FileMeta;
use crate::memtable::MemTable;
use crate::output::{DropRules, Output, OutputSpec};
use crate::types::decode_internal;

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
        let (key, kind) = decode_internal(merged.key())?;
        if rules.keep(key.user, key.seq(), kind, |_| false) {
            output.add(merged.key(), merged.value())?;
        }
        merged.next()?;
    }
    output.finish()
}
