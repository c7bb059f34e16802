//! What a collection would remove, and why.

use std::collections::HashSet;

use super::Overview;
use crate::gc;
use crate::manifest::{Manifest, decode_files, first_file_of_epoch, parse_sst_key, sst_key};
use crate::object_store::ObjectStore;
use crate::remote_wal::{Chunk, chunk_key};
use crate::txn::record::{Entry, decode_payload};
use crate::{ErrorKind, Result};

/// An object that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Why it is garbage.
    pub why: String,
    /// Whether only the writer that is attached can tell: it may have the object under way, or keep it for its grace period.
    pub only_if_writer_is_gone: bool,
}

/// Everything that the next server to attach would remove from the store, or that the attached one will remove in time.
pub fn garbage(store: &dyn ObjectStore, overview: &Overview) -> Result<Vec<Garbage>> {
    let version = &overview.version;
    let (prepared, in_store) = prepared_files(store, overview)?;
    let mut found = Vec::new();
    let of_next = gc::orphans_of_next(version, prepared);
    let orphans: HashSet<String> = of_next.files(&overview.objects).map(sst_key).collect();
    let chunks: HashSet<String> = of_next.chunks(&overview.objects).map(chunk_key).collect();
    let old_manifest = overview
        .manifest_id
        .map(|id| Manifest::first_kept(id.saturating_add(1)));
    for object in &overview.objects {
        let mut add = |why: String, only_if_writer_is_gone: bool| {
            found.push(Garbage {
                key: object.key.clone(),
                size: object.size,
                why,
                only_if_writer_is_gone,
            });
        };
        if orphans.contains(&object.key) {
            let own = parse_sst_key(&object.key)
                .is_some_and(|id| id >= first_file_of_epoch(version.epoch));
            let why = match own {
                true => {
                    "no version names it; the attached writer may be writing it, or keeping it for readers"
                }
                false => "of an earlier writer, and no version names it",
            };
            let doubt = match in_store {
                true => "",
                false => " (unless a prepared transaction in the server's local log does)",
            };
            add(format!("{why}{doubt}"), own);
        } else if chunks.contains(&object.key) {
            let first = version.first_chunk;
            add(format!("the log is needed from chunk {first} on"), false);
        } else if let Some(first) = &old_manifest
            && object.key.starts_with(crate::manifest::MANIFEST_PREFIX)
            && object.key < *first
        {
            add(
                format!("the manifest can be read from {first} on, with one full version to spare"),
                false,
            );
        } else if object.key.starts_with("probe/") {
            add("left by a probe of the store".to_owned(), true);
        }
    }
    Ok(found)
}

/// The files that undecided prepared transactions name, and whether the log that says so is in the store.
fn prepared_files(store: &dyn ObjectStore, overview: &Overview) -> Result<(HashSet<u64>, bool)> {
    let mut kept = std::collections::HashMap::new();
    for (header, _) in &overview.chunks {
        let bytes = match store.get(&chunk_key(header.id)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for (_, range) in Chunk::decode(&bytes, header.id)?.records {
            let payload = bytes.get(range).unwrap_or_default();
            decode_payload(payload, &mut |entry| {
                match entry {
                    Entry::PrepareFiles { id, files, .. } => {
                        let files = decode_files(files)?.into_iter().map(|file| file.id);
                        kept.insert(id, files.collect::<Vec<_>>());
                    }
                    Entry::RollbackPrepared { id } => {
                        kept.remove(&id);
                    }
                    // From then on the version says which of them are needed.
                    Entry::CommitPrepared { seq, id }
                        if seq <= overview.version.last_ingest_seq =>
                    {
                        kept.remove(&id);
                    }
                    Entry::CommitFiles { seq, files, .. } => {
                        let files = decode_files(files)?.into_iter().map(|file| file.id);
                        if seq > overview.version.last_ingest_seq {
                            kept.insert(u64::MAX - seq, files.collect());
                        }
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
    }
    let ids = kept.into_values().flatten().collect();
    Ok((ids, !overview.chunks.is_empty()))
}
