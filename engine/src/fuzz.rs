//! Entry points for fuzzing: every decoder of persisted bytes as a function of bytes, with samples to begin from.
//!
//! Not part of the library's interface. `tests/fuzz/` mutates the samples and holds the decoders to what all of them promise: bytes that are not
//! what was written are [`crate::ErrorKind::Corruption`], sound ones of an unknown version [`crate::ErrorKind::Invalid`], never a panic, never memory by
//! a length that was not checked. Most of what is mutated dies at a checksum, so a target says how its checksums are made right again: what is behind
//! them is then reached.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::cache::BlockCache;
use crate::cache::disk::{DiskCache, MIN_CACHE_SIZE, PIECE};
use crate::db::open::{identity, owners};
use crate::env::fs::{FaultFs, Fs, OpenMode, PowerLoss};
use crate::format::block::Block;
use crate::format::block_builder::BlockBuilder;
use crate::format::checksum::crc32;
use crate::format::compression::{Compression, Compressor};
use crate::format::filter::{self, FilterBlock};
use crate::format::properties::Properties;
use crate::format::sst::{FOOTER_LEN, Footer};
use crate::format::stored_block::{seal, unseal};
use crate::iter::InternalIterator;
use crate::manifest::{FileMeta, ManifestObject, ObjectKind, Version, VersionEdit};
use crate::manifest::{decode_files, encode_files};
use crate::object_store::{ObjectReader, ObjectWriter};
use crate::remote_wal::{Chunk, ChunkBuilder, ChunkHeader, ChunkKind};
use crate::sst::{BlockCursor, IterOptions, SstBuilder, SstOptions, SstReader, key_hash, verify};
use crate::txn::record::{self, Entry, OpWriter};
use crate::types::{InternalKeyBuf, KeyRef, MAX_SEQ, ValueKind};
use crate::wal::{Wal, WalOptions};
use crate::{Error, Result};

/// A decoder and what it is fed with.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Sound bytes.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Decodes, and uses what came of it as the engine would.
    pub decode: fn(&[u8]) -> Result<()>,
    /// Makes the checksums right.
    pub seal: fn(&mut [u8]),
}

/// All of them.
pub const TARGETS: [Target; 15] = [
    Target {
        name: "sst_footer",
        samples: footers,
        decode: decode_footer,
        seal: seal_footer,
    },
    Target {
        name: "stored_block",
        samples: stored_blocks,
        decode: |bytes| unseal(Bytes::copy_from_slice(bytes), 0).map(drop),
        seal: seal_stored,
    },
    Target {
        name: "block",
        samples: blocks,
        decode: decode_block,
        seal: unsealed,
    },
    Target {
        name: "filter",
        samples: filters,
        decode: decode_filter,
        seal: unsealed,
    },
    Target {
        name: "properties",
        samples: || vec![properties()],
        decode: |bytes| Properties::decode(bytes).map(drop),
        seal: unsealed,
    },
    Target {
        name: "sst",
        samples: ssts,
        decode: decode_sst,
        seal: seal_footer,
    },
    Target {
        name: "manifest_object",
        samples: manifests,
        decode: decode_manifest,
        seal: seal_manifest,
    },
    Target {
        name: "file_descriptions",
        samples: || vec![encode_files(&[file(1), file(2)])],
        decode: |bytes| decode_files(bytes).map(drop),
        seal: unsealed,
    },
    Target {
        name: "wal_chunk_object",
        samples: chunks,
        decode: decode_chunk,
        seal: seal_end,
    },
    Target {
        name: "wal_record",
        samples: records,
        decode: decode_record,
        seal: unsealed,
    },
    Target {
        name: "wal_operations",
        samples: || vec![operations()],
        decode: |bytes| record::decode_ops(bytes, &mut |_, _, _| Ok(())),
        seal: unsealed,
    },
    Target {
        name: "wal_segment",
        samples: segments,
        decode: decode_segment,
        seal: seal_segment,
    },
    Target {
        name: "disk_cache_index",
        samples: cache_indexes,
        decode: decode_cache_index,
        seal: seal_cache_index,
    },
    Target {
        name: "log_owners",
        samples: || vec![owners::sample().to_vec()],
        decode: |bytes| owners::decode(bytes).map(drop),
        seal: seal_end,
    },
    Target {
        name: "store_number",
        samples: || vec![identity::encode(0x0102_0304).to_vec()],
        decode: |bytes| identity::decode(bytes).map(drop),
        seal: seal_end,
    },
];

fn unsealed(_: &mut [u8]) {}

/// The last four bytes are the checksum of all before them.
fn seal_end(bytes: &mut [u8]) {
    if let Some(at) = bytes.len().checked_sub(4) {
        let crc = crc32(&[&bytes[..at]]);
        put(bytes, at, &crc.to_le_bytes());
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(value.len())) {
        place.copy_from_slice(value);
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or([0; N])
}

fn entry(i: u32) -> (InternalKeyBuf, Vec<u8>) {
    let key = [&[0, 0, 0, 1][..], format!("key{:04}", i / 2).as_bytes()].concat();
    let kind = match i % 5 {
        0 => ValueKind::Delete,
        _ => ValueKind::Put,
    };
    let value = match kind {
        ValueKind::Delete => Vec::new(),
        ValueKind::Put => vec![i as u8; 3 * i as usize % 70],
    };
    (InternalKeyBuf::new(&key, u64::from(9 - i % 2), kind), value)
}

fn footers() -> Vec<Vec<u8>> {
    ssts()
        .iter()
        .map(|sst| sst[sst.len() - FOOTER_LEN..].to_vec())
        .collect()
}

fn decode_footer(bytes: &[u8]) -> Result<()> {
    match bytes.first_chunk() {
        Some(footer) => Footer::decode(footer, 1 << 20).map(drop),
        None => Err(Error::corruption("too short")),
    }
}

fn seal_footer(bytes: &mut [u8]) {
    if let Some(at) = bytes.len().checked_sub(FOOTER_LEN) {
        let crc = crc32(&[&bytes[at..at + 52]]);
        put(bytes, at + 52, &crc.to_le_bytes());
    }
}

fn stored_blocks() -> Vec<Vec<u8>> {
    let raw: Vec<u8> = (0..900_u32).map(|i| (i / 50) as u8).collect();
    let all = [Compression::None, Compression::Lz4, Compression::Zstd];
    all.into_iter()
        .filter_map(|compression| {
            let mut out = Vec::new();
            let mut compressor = Compressor::new(compression, 1).ok()?;
            seal(&mut compressor, &raw, 0, &mut out).ok()?;
            Some(out)
        })
        .collect()
}

fn seal_stored(bytes: &mut [u8]) {
    if let Some(at) = bytes.len().checked_sub(4) {
        let crc = crc32(&[&bytes[..at], &0_u64.to_le_bytes()]);
        put(bytes, at, &crc.to_le_bytes());
    }
}

fn blocks() -> Vec<Vec<u8>> {
    [1, 4, 16]
        .into_iter()
        .map(|interval| {
            let mut builder = BlockBuilder::new(interval);
            for i in 0..40 {
                let (key, value) = entry(i);
                builder.add(KeyRef::decode(key.as_bytes()), &value);
            }
            builder.finish(<[u8]>::to_vec)
        })
        .collect()
}

/// Walks the iterator both ways and seeks to every tenth key that it shows; a damaged one must come to an end all the same.
fn walk(iter: &mut dyn InternalIterator) -> Result<()> {
    let mut targets = Vec::new();
    iter.seek_to_first()?;
    let mut steps = 0;
    while iter.valid() {
        if steps % 10 == 0 {
            targets.push(iter.key().to_vec());
        }
        std::hint::black_box(iter.value().len());
        steps += 1;
        iter.next()?;
    }
    for target in targets.iter().filter(|key| key.len() >= 8) {
        iter.seek(KeyRef::decode(target))?;
        if iter.valid() {
            std::hint::black_box(iter.value().len());
            iter.next_key()?;
        }
        iter.seek_for_prev(KeyRef::decode(target))?;
        if iter.valid() {
            iter.prev()?;
        }
    }
    iter.seek_to_last()?;
    while iter.valid() {
        iter.prev()?;
    }
    Ok(())
}

fn decode_block(bytes: &[u8]) -> Result<()> {
    let block = Block::parse(Bytes::copy_from_slice(bytes))?;
    let mut cursor = BlockCursor::with_seq(None);
    cursor.set_block(Arc::new(block));
    walk(&mut cursor)
}

fn filters() -> Vec<Vec<u8>> {
    let hashes: Vec<u64> = (0..100_u32).map(|i| key_hash(&i.to_be_bytes())).collect();
    filter::build(&hashes).into_iter().collect()
}

fn decode_filter(bytes: &[u8]) -> Result<()> {
    let filter = FilterBlock::parse(Bytes::copy_from_slice(bytes))?;
    for i in 0..200_u32 {
        std::hint::black_box(filter.may_contain(key_hash(&i.to_be_bytes())));
    }
    Ok(())
}

fn properties() -> Vec<u8> {
    let stats = |index_id| crate::sst::IndexStats {
        index_id,
        entries: 10,
        deletions: 3,
        key_bytes: 120,
        value_bytes: 3000,
    };
    Properties {
        entries: 20,
        smallest: entry(0).0,
        largest: entry(39).0,
        indexes: vec![stats(1), stats(7)],
        creator: "fuzz".to_owned(),
        ..Properties::default()
    }
    .encode()
}

/// An object in memory.
#[derive(Clone, Default)]
struct Object(Arc<Mutex<Vec<u8>>>);

impl Object {
    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl ObjectWriter for Object {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.bytes().extend_from_slice(data);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl ObjectReader for Object {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.bytes()
            .get(range.start as usize..range.end as usize)
            .map(Bytes::copy_from_slice)
            .ok_or_else(|| Error::corruption("the object ends before the range does"))
    }
}

fn ssts() -> Vec<Vec<u8>> {
    let all = [Compression::None, Compression::Lz4, Compression::Zstd];
    all.into_iter()
        .filter_map(|compression| {
            let object = Object::default();
            let options = SstOptions {
                block_size: 1024,
                compression,
                ..SstOptions::default()
            };
            let mut builder = SstBuilder::new(Box::new(object.clone()), options);
            for i in 0..200 {
                let (key, value) = entry(i);
                builder.add(key.as_bytes(), &value).ok()?;
            }
            builder.finish().ok()?;
            let bytes = object.bytes().clone();
            Some(bytes)
        })
        .collect()
}

fn decode_sst(bytes: &[u8]) -> Result<()> {
    let object = Object(Arc::new(Mutex::new(bytes.to_vec())));
    let size = bytes.len() as u64;
    verify(&object, size)?;
    let cache = Arc::new(BlockCache::new(1 << 20));
    let reader = Arc::new(SstReader::open(Arc::new(object), 1, size, cache)?);
    let (key, _) = entry(20);
    let user_key = KeyRef::decode(key.as_bytes()).user;
    reader.get(user_key, key_hash(user_key), MAX_SEQ)?;
    reader.approximate_offset(KeyRef::decode(key.as_bytes()))?;
    walk(&mut reader.iter(IterOptions::default()))
}

fn file(id: u64) -> FileMeta {
    FileMeta {
        id,
        size: 1000,
        smallest: entry(0).0,
        largest: entry(39).0,
        smallest_seq: 8,
        largest_seq: 9,
        entries: 40,
        deletions: 8,
        raw_bytes: 2000,
        file_seq: None,
        tail: id.is_multiple_of(2).then_some(300),
    }
}

fn manifests() -> Vec<Vec<u8>> {
    let edit = VersionEdit {
        added: vec![(0, file(5)), (1, file(6))],
        deleted: vec![(0, 3)],
        dropped_indexes: vec![(9, 4)],
        user_version: Some(3),
        ..VersionEdit::default()
    };
    [ObjectKind::Edit, ObjectKind::Full]
        .map(|kind| {
            let object = ManifestObject {
                kind,
                id: 7,
                nonce: 11,
                epoch: 2,
                edit: edit.clone(),
            };
            object.encode()
        })
        .to_vec()
}

fn decode_manifest(bytes: &[u8]) -> Result<()> {
    let id = u64::from_le_bytes(number(bytes, 16));
    let object = ManifestObject::decode(bytes, id)?;
    // An edit that breaks a rule of versions is refused as the writer's fault, not the store's.
    let _ = Version::default().apply(&object.edit);
    Ok(())
}

fn seal_manifest(bytes: &mut [u8]) {
    if let Some(body) = bytes.len().checked_sub(60) {
        put(bytes, 48, &(body as u64).to_le_bytes());
    }
    seal_end(bytes);
}

fn chunks() -> Vec<Vec<u8>> {
    let header = |kind, end| ChunkHeader {
        kind,
        id: 7,
        epoch: 3,
        writer_id: 0x0102,
        start: 100,
        end,
        next: 8,
        durable: 90,
    };
    let mut builder = ChunkBuilder::new(100);
    for (position, record) in (100..).step_by(20).zip(records()) {
        builder.add(position, &record);
    }
    vec![
        builder.finish(&header(ChunkKind::Records, 400)),
        ChunkBuilder::new(0).finish(&header(ChunkKind::Fence, 100)),
    ]
}

fn decode_chunk(bytes: &[u8]) -> Result<()> {
    let id = u64::from_le_bytes(number(bytes, 16));
    let chunk = Chunk::decode(bytes, id)?;
    for (_, range) in &chunk.records {
        decode_record(&bytes[range.clone()])?;
    }
    Ok(())
}

fn operations() -> Vec<u8> {
    let mut ops = OpWriter::default();
    ops.push(ValueKind::Put, b"key", &[7; 300]);
    ops.push(ValueKind::Delete, b"another", b"");
    ops.pieces().collect::<Vec<_>>().concat()
}

fn records() -> Vec<Vec<u8>> {
    let ops = operations();
    let files = encode_files(&[file(1)]);
    let with = |write: &dyn Fn(&mut Vec<u8>), tail: &[u8]| {
        let mut out = vec![record::PAYLOAD_VERSION];
        write(&mut out);
        out.extend_from_slice(tail);
        out
    };
    let len = ops.len() as u64;
    vec![
        with(&|out| record::put_commit(out, 9, len), &ops),
        with(&|out| record::put_prepare(out, 4, b"xid", len), &ops),
        with(&|out| record::put_commit_files(out, 9, &files, len), &ops),
        with(
            &|out| record::put_prepare_files(out, 4, b"xid", &files),
            b"",
        ),
        with(
            &|out| {
                record::put_commit_prepared(out, 10, 4);
                record::put_rollback_prepared(out, 5);
                record::put_in_coordinator(out, 6);
            },
            b"",
        ),
    ]
}

fn decode_record(bytes: &[u8]) -> Result<()> {
    record::decode_payload(bytes, &mut |entry| match entry {
        Entry::Commit { ops, .. } | Entry::Prepare { ops, .. } => {
            record::decode_ops(ops, &mut |_, _, _| Ok(()))
        }
        Entry::CommitFiles { files, ops, .. } => {
            decode_files(files)?;
            record::decode_ops(ops, &mut |_, _, _| Ok(()))
        }
        Entry::PrepareFiles { files, .. } => decode_files(files).map(drop),
        _ => Ok(()),
    })
}

/// A file system with this file in it.
fn with_file(path: &Path, content: &[u8]) -> Result<FaultFs> {
    let fs = FaultFs::new();
    if let Some(dir) = path.parent() {
        fs.create_dir_all(dir)?;
    }
    fs.open(path, OpenMode::CreateNew)?;
    fs.set_content(path, content.to_vec())?;
    Ok(fs)
}

const SEGMENT: u64 = 8192;
const SEGMENT_FILE: &str = "wal/00000000000000000000.wal";

fn open_wal(fs: &FaultFs) -> Result<Wal> {
    let options = WalOptions {
        segment_size: SEGMENT,
        recycle: 0,
    };
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    Wal::open(fs, Path::new("wal"), options, 0, &mut |_, record| {
        // The engine refuses a log whose records it cannot read; here the rest of the log counts.
        let _ = decode_record(record);
        Ok(())
    })
}

fn segments() -> Vec<Vec<u8>> {
    let fs = FaultFs::new();
    let mut found = Vec::new();
    let Ok(wal) = open_wal(&fs) else { return found };
    for record in records() {
        if let Ok(range) = wal.append(&[&record]) {
            let _ = wal.sync(range.end);
            found.extend(fs.content(Path::new(SEGMENT_FILE)));
        }
    }
    let _ = wal.close();
    found.extend(fs.content(Path::new(SEGMENT_FILE)));
    found
}

fn decode_segment(bytes: &[u8]) -> Result<()> {
    let fs = with_file(Path::new(SEGMENT_FILE), bytes)?;
    open_wal(&fs)?.close()?;
    // What it has made of the log it reads again.
    open_wal(&fs.crash(PowerLoss::ProcessOnly)).map(drop)
}

fn seal_segment(bytes: &mut [u8]) {
    if bytes.len() >= 36 {
        let crc = crc32(&[&bytes[..32]]);
        put(bytes, 32, &crc.to_le_bytes());
    }
    // Chunks, as far as their lengths lead.
    let mut at = 4096;
    while at + 36 <= bytes.len() {
        if bytes[at + 4..at + 7] != *b"SEc" {
            break;
        }
        let length = u32::from_le_bytes(number(bytes, at + 24)) as usize;
        let Some(end) = (at + 36)
            .checked_add(length)
            .filter(|end| *end <= bytes.len())
        else {
            break;
        };
        let crc = crc32(&[&bytes[at + 4..end]]);
        put(bytes, at, &crc.to_le_bytes());
        at = end;
    }
}

const CACHE_STORE: u128 = 9;
const CACHE_ENTRY: usize = 36;

/// The index of a cache with a piece in its second slot, as far as its first five.
fn cache_indexes() -> Vec<Vec<u8>> {
    let mut bytes = b"SEPCACHE\x01\0\0\0\0\0\x01\0".to_vec();
    bytes.extend(CACHE_STORE.to_le_bytes());
    bytes.extend(crc32(&[&bytes]).to_le_bytes());
    bytes.resize(4096 + 5 * CACHE_ENTRY, 0);
    let at = 4096 + CACHE_ENTRY;
    put(&mut bytes, at, &3_u64.to_le_bytes());
    put(&mut bytes, at + 12, &100_u32.to_le_bytes());
    seal_cache_index(&mut bytes);
    vec![bytes]
}

fn decode_cache_index(bytes: &[u8]) -> Result<()> {
    let dir = Path::new("cache");
    let fs = with_file(&dir.join("index"), bytes)?;
    let pieces = dir.join("pieces");
    fs.open(&pieces, OpenMode::CreateNew)?;
    fs.set_content(&pieces, vec![0; 2 * PIECE])?;
    // What is not an index of this store is emptied, and never an error.
    match DiskCache::open(&fs, dir, MIN_CACHE_SIZE, CACHE_STORE)?
        .stats()
        .pieces
    {
        0 => Err(Error::corruption("no piece was found")),
        _ => Ok(()),
    }
}

fn seal_cache_index(bytes: &mut [u8]) {
    if bytes.len() >= 36 {
        let crc = crc32(&[&bytes[..32]]);
        put(bytes, 32, &crc.to_le_bytes());
    }
    for (slot, at) in (4096..bytes.len()).step_by(CACHE_ENTRY).enumerate() {
        let Some(checked) = bytes
            .get(at..at + 32)
            .filter(|entry| entry.iter().any(|b| *b != 0))
        else {
            continue;
        };
        let slot = (slot as u32).to_le_bytes();
        let crc = crc32(&[&CACHE_STORE.to_le_bytes(), &slot, checked]);
        put(bytes, at + 32, &crc.to_le_bytes());
    }
}
