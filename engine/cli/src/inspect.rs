//! `smartengine inspect`.

use std::fmt::Write as _;

use serde_json::{Value, json};
use smartengine::Result;
use smartengine::inspect::{Overview, overview};
use smartengine::internals::manifest::LEVELS;
use smartengine::internals::remote_wal::ChunkKind;

use crate::{Outcome, formats, indexes, open, print, print_json, text};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: String,
    /// List every file.
    #[arg(long)]
    files: bool,
    /// List every chunk of the log.
    #[arg(long)]
    chunks: bool,
    /// List the indexes: tables, keys and the dictionary. It reads the end of every file.
    #[arg(long)]
    indexes: bool,
}

pub fn run(args: &Args, as_json: bool) -> Result<Outcome> {
    let store = open::open(&args.store)?;
    let found = overview(&store)?;
    let formats = formats::of_store(&*store, &found)?;
    let indexes = match args.indexes {
        true => Some(indexes::of_store(&*store, &found)?),
        false => None,
    };
    if as_json {
        let mut value = as_value(&found);
        value["formats"] = formats.into_iter().collect();
        if let Some(indexes) = indexes {
            value["indexes"] = indexes.iter().map(indexes::as_value).collect();
        }
        print_json(&value)?;
    } else {
        let mut out = as_text(&found, &formats, args);
        if let Some(indexes) = indexes {
            out.push_str(&indexes::as_text(&indexes));
        }
        print(&out)?;
    }
    Ok(Outcome::Well)
}

/// Objects by the first part of their keys: how many, and their bytes.
fn by_kind(found: &Overview) -> Vec<(String, u64, u64)> {
    let mut kinds: Vec<(String, u64, u64)> = Vec::new();
    for object in &found.objects {
        let kind = object.key.split('/').next().unwrap_or_default();
        match kinds.iter_mut().find(|(known, ..)| known == kind) {
            Some((_, count, bytes)) => {
                *count += 1;
                *bytes += object.size;
            }
            None => kinds.push((kind.to_owned(), 1, object.size)),
        }
    }
    kinds
}

fn as_value(found: &Overview) -> Value {
    let version = &found.version;
    let files: Vec<Value> = version
        .files()
        .map(|(level, file)| {
            json!({
                "level": level,
                "id": file.id,
                "bytes": file.size,
                "entries": file.entries,
                "deletions": file.deletions,
                "raw_bytes": file.raw_bytes,
                "smallest_key": text::key(file.smallest.user_key()),
                "largest_key": text::key(file.largest.user_key()),
                "smallest_seq": file.smallest_seq,
                "largest_seq": file.largest_seq,
                "file_seq": file.file_seq,
                "tail": file.tail,
            })
        })
        .collect();
    let chunks: Vec<Value> = found
        .chunks
        .iter()
        .map(|(header, bytes)| {
            json!({
                "id": header.id,
                "fence": header.kind == ChunkKind::Fence,
                "epoch": header.epoch,
                "start": header.start,
                "end": header.end,
                "next": header.next,
                "durable": header.durable,
                "bytes": bytes,
            })
        })
        .collect();
    let objects: Vec<Value> = by_kind(found)
        .into_iter()
        .map(|(kind, count, bytes)| json!({"kind": kind, "count": count, "bytes": bytes}))
        .collect();
    json!({
        "number": found.number.map(|number| format!("{number:032x}")),
        "manifest_id": found.manifest_id,
        "epoch": version.epoch,
        "writer": version.writer,
        "user_version": (version.user_version > 0).then_some(version.user_version),
        "wal_floor": version.wal_floor,
        "first_chunk": version.first_chunk,
        "last_seq": version.last_seq,
        "last_ingest_seq": version.last_ingest_seq,
        "next_file": version.next_file,
        "index_ceiling": version.index_ceiling,
        "dropped_indexes": version.dropped_indexes.keys().collect::<Vec<_>>(),
        "files": files,
        "chunks": chunks,
        "objects": objects,
    })
}

fn as_text(found: &Overview, formats: &[(&str, u32)], args: &Args) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_text(found, formats, args, &mut out);
    out
}

fn write_text(
    found: &Overview,
    formats: &[(&str, u32)],
    args: &Args,
    out: &mut String,
) -> std::fmt::Result {
    let version = &found.version;
    match found.number {
        Some(number) => writeln!(out, "store {number:032x}")?,
        None => writeln!(out, "a store that nobody has opened yet")?,
    }
    match found.manifest_id {
        Some(id) => writeln!(
            out,
            "manifest {id}, epoch {}, writer {}",
            version.epoch, version.writer
        )?,
        None => writeln!(out, "no manifest")?,
    }
    let formats: Vec<String> = formats
        .iter()
        .map(|(kind, version)| format!("{kind} {version}"))
        .collect();
    if !formats.is_empty() {
        writeln!(out, "format versions: {}", formats.join(", "))?;
    }
    match version.user_version {
        0 => writeln!(out, "not marked with a server's version")?,
        marked => writeln!(
            out,
            "written by servers of versions up to {}",
            text::server_version(marked)
        )?,
    }
    writeln!(
        out,
        "commits up to {} are in files; the log is needed from position {}, chunk {}",
        version.last_seq.max(version.last_ingest_seq),
        version.wal_floor,
        version.first_chunk
    )?;
    if !version.dropped_indexes.is_empty() {
        writeln!(
            out,
            "{} dropped indexes still have entries in files",
            version.dropped_indexes.len()
        )?;
    }
    writeln!(out, "\nlevel  files        size      entries    deletions")?;
    for level in 0..LEVELS {
        let files = version.level(level);
        if files.is_empty() {
            continue;
        }
        let sum = |of: fn(&smartengine::internals::manifest::FileMeta) -> u64| -> u64 {
            files.iter().map(|file| of(file)).sum()
        };
        writeln!(
            out,
            "{level:>5} {:>6} {:>11} {:>12} {:>12}",
            files.len(),
            text::bytes(sum(|file| file.size)),
            sum(|file| file.entries),
            sum(|file| file.deletions)
        )?;
    }
    writeln!(out, "\nobjects        number        size")?;
    for (kind, count, bytes) in by_kind(found) {
        writeln!(out, "{kind:<12} {count:>8} {:>11}", text::bytes(bytes))?;
    }
    if args.files {
        writeln!(
            out,
            "\nlevel file                        size    entries keys"
        )?;
        for (level, file) in version.files() {
            writeln!(
                out,
                "{level:>5} {:020} {:>11} {:>10} {} to {}",
                file.id,
                text::bytes(file.size),
                file.entries,
                text::key(file.smallest.user_key()),
                text::key(file.largest.user_key())
            )?;
        }
    }
    if args.chunks {
        writeln!(out, "\nchunk                epoch      bytes positions")?;
        for (header, bytes) in &found.chunks {
            let fence = match header.kind {
                ChunkKind::Fence => " fence",
                ChunkKind::Records => "",
            };
            writeln!(
                out,
                "{:020} {:>5} {bytes:>10} {} to {}{fence}",
                header.id, header.epoch, header.start, header.end
            )?;
        }
    }
    Ok(())
}
