//! `smartengine dump`: one object in full. With `--json` each thing is an object on a line of its own.

use std::sync::Arc;

use serde_json::{Value, json};
use smartengine::internals::ResultExt;
use smartengine::internals::cache::BlockCache;
use smartengine::internals::iter::InternalIterator;
use smartengine::internals::manifest::{
    FileMeta, ManifestObject, decode_files, parse_manifest_key, parse_sst_key,
};
use smartengine::internals::remote_wal::{Chunk, parse_chunk_key};
use smartengine::internals::sst::{IterOptions, SstReader};
use smartengine::internals::txn::record::{Entry, decode_ops, decode_payload};
use smartengine::internals::types::{KeyRef, ValueKind};
use smartengine::object_store::ObjectStore;
use smartengine::{Error, Result};

use crate::{Outcome, open, print, text};

/// Index partitions that are held while a file is read.
const CACHE: u64 = 8 << 20;

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: String,
    /// The object's key, such as sst/00000001099511627777.sst, wal/00000000000000000001 or manifest/00000000000000000000.
    object: String,
    /// Show this many entries of a file, or records of a chunk, at most.
    #[arg(long)]
    limit: Option<u64>,
    /// Show this many bytes of each value at most.
    #[arg(long, default_value_t = 32)]
    value_bytes: usize,
}

pub fn run(args: &Args, as_json: bool) -> Result<Outcome> {
    let store = open::open(&args.store)?;
    let mut sink = Sink {
        as_json,
        value_bytes: args.value_bytes,
        left: args.limit.unwrap_or(u64::MAX),
        buffer: String::new(),
    };
    let key = &args.object;
    if let Some(id) = parse_sst_key(key) {
        dump_sst(&*store, key, id, &mut sink)?;
    } else if let Some(id) = parse_chunk_key(key) {
        let bytes = store.get(key)?;
        dump_chunk(&Chunk::decode(&bytes, id)?, &bytes, &mut sink)?;
    } else if let Some(id) = parse_manifest_key(key) {
        let object = ManifestObject::decode(&store.get(key)?, id)
            .map_err(|cause| Error::corruption(format!("{key}: {cause}")))?;
        dump_manifest(&object, &mut sink)?;
    } else if ["CURRENT", "STORE"].contains(&key.as_str()) {
        let bytes = store.get(key)?;
        sink.line(
            || json!({"object": key, "bytes": text::hex(&bytes, usize::MAX)}),
            || format!("{}", bytes.escape_ascii()),
        )?;
    } else {
        return Err(Error::invalid(format!(
            "{key} names no object that can be shown: give sst/<20 digits>.sst, wal/<20 digits>, manifest/<20 digits>, CURRENT or STORE"
        )));
    }
    sink.flush()?;
    Ok(Outcome::Well)
}

/// Where lines go.
struct Sink {
    as_json: bool,
    value_bytes: usize,
    left: u64,
    buffer: String,
}

impl Sink {
    fn line(&mut self, value: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> Result<()> {
        match self.as_json {
            true => self.buffer.push_str(&value().to_string()),
            false => self.buffer.push_str(&text()),
        }
        self.buffer.push('\n');
        if self.buffer.len() > 64 << 10 {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        print(&std::mem::take(&mut self.buffer))
    }

    /// Whether another entry or record is to be shown.
    fn take(&mut self) -> bool {
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }

    fn entry(
        &mut self,
        seq: Option<u64>,
        kind: Option<ValueKind>,
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        let kind = match kind {
            Some(ValueKind::Put) => "put",
            Some(ValueKind::Delete) => "delete",
            _ => "unknown",
        };
        let most = self.value_bytes;
        self.line(
            || {
                json!({
                    "seq": seq,
                    "kind": kind,
                    "key": text::key(key),
                    "value_len": value.len(),
                    "value": text::hex(value, most),
                })
            },
            || {
                let seq = seq.map_or(String::new(), |seq| format!("{seq} "));
                let value = match value.is_empty() {
                    true => String::new(),
                    false => format!(" = {} ({} bytes)", text::hex(value, most), value.len()),
                };
                format!("{seq}{kind} {}{value}", text::key(key))
            },
        )
    }
}

fn dump_sst(store: &dyn ObjectStore, key: &str, id: u64, sink: &mut Sink) -> Result<()> {
    let size = store.size(key)?;
    let object = store.reader_of(key, size)?;
    let reader = Arc::new(SstReader::open(
        object,
        id,
        size,
        Arc::new(BlockCache::new(CACHE)),
    )?);
    let properties = reader.properties();
    sink.line(
        || {
            let indexes: Vec<_> = properties
                .indexes
                .iter()
                .map(|one| json!({"index": one.index_id, "entries": one.entries, "deletions": one.deletions}))
                .collect();
            json!({
                "object": key,
                "bytes": size,
                "entries": properties.entries,
                "deletions": properties.deletions,
                "data_blocks": properties.data_blocks,
                "data_end": properties.data_end,
                "smallest_seq": properties.smallest_seq,
                "largest_seq": properties.largest_seq,
                "indexes": indexes,
                "creator": properties.creator,
            })
        },
        || {
            format!(
                "{key}: {size} bytes, {} entries ({} deletions) in {} blocks up to byte {}, sequence numbers {} to {}, by {}",
                properties.entries,
                properties.deletions,
                properties.data_blocks,
                properties.data_end,
                properties.smallest_seq,
                properties.largest_seq,
                properties.creator
            )
        },
    )?;
    let mut iter = reader.iter(IterOptions::sequential());
    iter.seek_to_first()?;
    while iter.valid() && sink.take() {
        let key = KeyRef::decode(iter.key());
        sink.entry(Some(key.seq()), key.kind(), key.user, iter.value())?;
        iter.next()?;
    }
    Ok(())
}

fn dump_chunk(chunk: &Chunk, bytes: &[u8], sink: &mut Sink) -> Result<()> {
    let header = &chunk.header;
    sink.line(
        || {
            json!({
                "id": header.id,
                "kind": format!("{:?}", header.kind).to_lowercase(),
                "epoch": header.epoch,
                "writer_id": format!("{:032x}", header.writer_id),
                "start": header.start,
                "end": header.end,
                "next": header.next,
                "durable": header.durable,
                "records": chunk.records.len(),
                "bytes": bytes.len(),
            })
        },
        || {
            format!(
                "chunk {} ({:?}): epoch {}, log positions {} to {}, {} records, then chunk {}; the log was known to be in the store up to {}",
                header.id,
                header.kind,
                header.epoch,
                header.start,
                header.end,
                chunk.records.len(),
                header.next,
                header.durable
            )
        },
    )?;
    for (position, range) in &chunk.records {
        if !sink.take() {
            break;
        }
        let payload = bytes.get(range.clone()).unwrap_or_default();
        decode_payload(payload, &mut |entry| dump_entry(*position, &entry, sink))
            .context(|| format!("record of log position {position} at byte {}", range.start))?;
    }
    Ok(())
}

fn dump_entry(position: u64, entry: &Entry<'_>, sink: &mut Sink) -> Result<()> {
    let (what, number, name, ops, files) = match *entry {
        Entry::Commit { seq, ops } => ("commit", seq, None, ops, None),
        Entry::Prepare { id, name, ops } => ("prepare", id, Some(name), ops, None),
        Entry::CommitFiles { seq, files, ops } => ("commit by files", seq, None, ops, Some(files)),
        Entry::PrepareFiles { id, name, files } => {
            ("prepare by files", id, Some(name), &[][..], Some(files))
        }
        Entry::CommitPrepared { seq, id } => {
            return sink.line(
                || json!({"position": position, "entry": "commit prepared", "number": id, "seq": seq}),
                || format!("{position}: commit prepared {id} as {seq}"),
            );
        }
        Entry::RollbackPrepared { id } => ("roll back prepared", id, None, &[][..], None),
        Entry::InCoordinator { id } => ("known to the coordinator", id, None, &[][..], None),
    };
    let name = name.map(|name| name.escape_ascii().to_string());
    sink.line(
        || json!({"position": position, "entry": what, "number": number, "name": name}),
        || {
            let name = name
                .as_ref()
                .map_or(String::new(), |name| format!(" \"{name}\""));
            format!("{position}: {what} {number}{name}")
        },
    )?;
    for file in decode_files(files.unwrap_or_default())? {
        dump_file("file", None, &file, sink)?;
    }
    decode_ops(ops, &mut |kind, key, value| {
        sink.entry(None, Some(kind), key, value)
    })
}

fn dump_file(what: &str, level: Option<usize>, file: &FileMeta, sink: &mut Sink) -> Result<()> {
    let keys = [&file.smallest, &file.largest].map(|key| text::key(key.user_key()));
    sink.line(
        || {
            json!({
                "item": what, "level": level, "file": file.id, "bytes": file.size, "entries": file.entries,
                "deletions": file.deletions, "smallest_key": keys[0], "largest_key": keys[1],
                "smallest_seq": file.smallest_seq, "largest_seq": file.largest_seq, "file_seq": file.file_seq, "tail": file.tail,
            })
        },
        || {
            let level = level.map_or(String::new(), |level| format!(" at level {level}"));
            format!(
                "{what} {:020}{level}: {} bytes, {} entries ({} deletions), keys {} to {}, sequence numbers {} to {}",
                file.id,
                file.size,
                file.entries,
                file.deletions,
                keys[0],
                keys[1],
                file.smallest_seq,
                file.largest_seq
            )
        },
    )
}

fn dump_manifest(object: &ManifestObject, sink: &mut Sink) -> Result<()> {
    let edit = &object.edit;
    let kind = match object.is_full() {
        true => "full version",
        false => "edit",
    };
    sink.line(
        || {
            json!({
                "id": object.id, "kind": kind, "epoch": object.epoch, "nonce": format!("{:032x}", object.nonce),
                "writer": edit.epoch.as_ref().map(|(_, writer)| writer), "wal_floor": edit.wal_floor, "last_seq": edit.last_seq,
                "last_ingest_seq": edit.last_ingest_seq, "next_file": edit.next_file, "index_ceiling": edit.index_ceiling,
                "first_chunk": edit.first_chunk, "dropped_indexes": edit.dropped_indexes, "forgotten_indexes": edit.forgotten_indexes,
            })
        },
        || {
            let mut line = format!("manifest {} ({kind}): epoch {}", object.id, object.epoch);
            if let Some((epoch, writer)) = &edit.epoch {
                line.push_str(&format!(", attached as epoch {epoch} by {writer}"));
            }
            let numbers = [
                ("log floor", edit.wal_floor),
                ("last commit in files", edit.last_seq),
                ("last commit by files", edit.last_ingest_seq),
                ("next file", edit.next_file),
                ("index ceiling", edit.index_ceiling.map(u64::from)),
                ("first chunk", edit.first_chunk),
            ];
            for (what, number) in numbers {
                if let Some(number) = number {
                    line.push_str(&format!(", {what} {number}"));
                }
            }
            for (index, from) in &edit.dropped_indexes {
                line.push_str(&format!("\nindex {index} dropped, files from {from} on are without it"));
            }
            for index in &edit.forgotten_indexes {
                line.push_str(&format!("\nindex {index} forgotten"));
            }
            line
        },
    )?;
    for (level, id) in &edit.deleted {
        sink.line(
            || json!({"item": "deleted", "level": level, "file": id}),
            || format!("deleted {id:020} at level {level}"),
        )?;
    }
    for (level, file) in &edit.added {
        dump_file("added", Some(*level), file, sink)?;
    }
    Ok(())
}
