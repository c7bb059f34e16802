//! Reads everything that a store's newest version needs, and checks it.
//!
//! In order: the store's number, the manifest (every object that is kept, and that each follows from the one before), the hint, the log (every chunk by
//! itself, then that they follow each other), the files (each byte, and that they are what the manifest says), and the order of the files in
//! each level. What is wrong with one does not keep the others from being checked; where the manifest cannot be read, all files that are
//! there are checked by themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::refuse_nothing;
use crate::db::open::identity;
use crate::gc::list_all;
use crate::manifest::{
    CURRENT_KEY, FileMeta, LEVELS, Manifest, ManifestObject, Version, manifest_key,
    parse_manifest_key, parse_sst_key, sst_key,
};
use crate::object_store::{ObjectMeta, ObjectStore};
use crate::remote_wal::{Chunk, ChunkReader, chunk_key, fetch, parse_chunk_key};
use crate::sst::{Contents, UNNUMBERED, verify as verify_sst};
use crate::txn::record::{Entry, decode_ops, decode_payload};
use crate::{Error, ErrorKind, Result, ResultExt};

/// Chunks of the log that are fetched at once.
const CHUNKS_AT_ONCE: usize = 32;

/// Something wrong in a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The key of the object that it is in.
    pub object: String,
    /// Where in it, if it is at one place: the piece that is damaged begins there, or the byte itself.
    pub offset: Option<u64>,
    /// What is wrong.
    pub message: String,
}

/// How far a verification has come.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Bytes of the objects checked so far.
    pub done: u64,
    /// Bytes of all objects to check.
    pub total: u64,
    /// The object that was checked last.
    pub object: String,
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Everything that is wrong, by object; empty for a sound store.
    pub problems: Vec<Problem>,
    /// Objects of the manifest.
    pub manifests: u64,
    /// Files, and their bytes and entries.
    pub files: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Entries in them.
    pub entries: u64,
    /// Chunks of the log.
    pub chunks: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
    /// Records in them.
    pub records: u64,
    /// Objects that the version does not need, which were not read.
    pub other_objects: u64,
    /// Objects that a running server removed in the meantime.
    pub removed_meanwhile: u64,
}

/// Checks `store`, with up to `jobs` files at a time. An error means that it could not be checked ([`ErrorKind::NotFound`]: there is nothing);
/// what is wrong with it is in the report.
pub fn verify(
    store: &Arc<dyn ObjectStore>,
    jobs: usize,
    progress: &(dyn Fn(&Progress) + Sync),
) -> Result<Report> {
    let listed = list_all(&**store, "").context(|| "list the store")?;
    refuse_nothing(&listed)?;
    let sizes = listed.iter().map(|meta| (meta.key.clone(), meta.size));
    let mut check = Check {
        store,
        sizes: sizes.collect(),
        report: Report::default(),
        progress,
        done: AtomicU64::new(0),
        total: 0,
    };
    check.total = listed.iter().map(|meta| meta.size).sum();
    check.number(&listed)?;
    let version = check.manifest(&listed)?;
    check.chunks(&listed, version.as_ref())?;
    check.files(&listed, version.as_ref(), jobs)?;
    check.report.problems.sort();
    check.report.problems.dedup();
    Ok(check.report)
}

struct Check<'a> {
    store: &'a Arc<dyn ObjectStore>,
    sizes: HashMap<String, u64>,
    report: Report,
    progress: &'a (dyn Fn(&Progress) + Sync),
    done: AtomicU64,
    total: u64,
}

/// The last "byte N" of a message, with which decoders say where something is wrong.
fn offset_in(message: &str) -> Option<u64> {
    let (_, rest) = message.rsplit_once("byte ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit());
    rest[..digits.unwrap_or(rest.len())].parse().ok()
}

fn problem(object: impl Into<String>, message: impl Into<String>) -> Problem {
    let (object, message) = (object.into(), message.into());
    let rest = message.strip_prefix(&format!("{object}: "));
    let message = rest.map_or_else(|| message.clone(), str::to_owned);
    Problem {
        object,
        offset: offset_in(&message),
        message,
    }
}

impl Check<'_> {
    fn note(&mut self, object: &str, message: impl Into<String>) {
        self.report.problems.push(problem(object, message));
    }

    /// Notes that an object, which is checked as one piece, is damaged.
    fn note_damage(&mut self, object: &str, message: impl Into<String>) {
        let mut found = problem(object, message);
        found.offset = found.offset.or(Some(0));
        self.report.problems.push(found);
    }

    fn advance(&self, object: &str, bytes: u64) {
        let done = self.done.fetch_add(bytes, Relaxed) + bytes;
        (self.progress)(&Progress {
            done: done.min(self.total),
            total: self.total,
            object: object.to_owned(),
        });
    }

    /// An object's bytes; `None`, counted, if a running server removed it since it was listed.
    fn get(&mut self, key: &str) -> Result<Option<bytes::Bytes>> {
        let got = self.store.get(key);
        self.got(key, got)
    }

    fn got(&mut self, key: &str, got: Result<bytes::Bytes>) -> Result<Option<bytes::Bytes>> {
        match got {
            Ok(bytes) => {
                self.advance(key, bytes.len() as u64);
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.report.removed_meanwhile += 1;
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::Corruption => {
                self.note(key, error.message());
                Ok(None)
            }
            Err(error) => Err(error.context(format_args!("read {key}"))),
        }
    }

    fn number(&mut self, listed: &[ObjectMeta]) -> Result<()> {
        if !self.sizes.contains_key(identity::NAME) {
            if !listed.is_empty() {
                self.note(identity::NAME, "the store's number is missing");
            }
            return Ok(());
        }
        if let Some(bytes) = self.get(identity::NAME)?
            && let Err(error) = identity::decode(&bytes)
        {
            self.note_damage(identity::NAME, error.message());
        }
        Ok(())
    }

    /// Checks every object of the manifest and returns the newest version, if all that makes it up is sound.
    fn manifest(&mut self, listed: &[ObjectMeta]) -> Result<Option<Version>> {
        let mut version: Option<Version> = None;
        let mut last: Option<u64> = None;
        let mut fulls = Vec::new();
        for meta in listed {
            let Some(id) = parse_manifest_key(&meta.key) else {
                continue;
            };
            let Some(bytes) = self.get(&meta.key)? else {
                // A running server has trimmed it; a full version comes later.
                last = Some(id);
                version = None;
                continue;
            };
            self.report.manifests += 1;
            if let Some(last) = last
                && id != last + 1
            {
                self.note(
                    &meta.key,
                    format!("the object before it, {}, is missing", id - 1),
                );
                version = None;
            }
            last = Some(id);
            let object = match ManifestObject::decode(&bytes, id) {
                Ok(object) => object,
                Err(error) => {
                    self.note_damage(&meta.key, error.message());
                    version = None;
                    continue;
                }
            };
            if object.is_full() {
                fulls.push(id);
            }
            // Before the first full version nothing can be said of an edit.
            let Some(before) = version
                .take()
                .or_else(|| object.is_full().then(Version::default))
            else {
                continue;
            };
            match object.step(&before) {
                Ok(next) => {
                    if object.is_full() && before != Version::default() {
                        self.compare_full(&meta.key, &before, &next);
                    }
                    version = Some(next);
                }
                Err(error) => self.note(&meta.key, error.message()),
            }
        }
        self.hint(&fulls)?;
        if last.is_none() && self.sizes.keys().any(|key| parse_sst_key(key).is_some()) {
            self.note("manifest", "there are files and no manifest");
        }
        Ok(version.or_else(|| last.is_none().then(Version::default)))
    }

    /// A full version changes no more than the edit that it takes the place of could: what it repeats has to be what was there.
    fn compare_full(&mut self, key: &str, before: &Version, full: &Version) {
        if full.epoch < before.epoch || full.next_file < before.next_file {
            self.note(key, "the full version is older than the edits before it");
        }
        let known: HashMap<u64, &Arc<FileMeta>> =
            before.files().map(|(_, file)| (file.id, file)).collect();
        let changed = full.files().find(|(_, file)| {
            known
                .get(&file.id)
                .is_some_and(|before| before.as_ref() != file.as_ref())
        });
        if let Some((_, file)) = changed {
            let message = format!("the full version describes file {} anew", file.id);
            self.note(key, message);
        }
    }

    /// The hint is never trusted, but it should be one.
    fn hint(&mut self, fulls: &[u64]) -> Result<()> {
        if !self.sizes.contains_key(CURRENT_KEY) {
            return Ok(());
        }
        let Some(bytes) = self.get(CURRENT_KEY)? else {
            return Ok(());
        };
        let named = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.strip_suffix('\n'))
            .filter(|digits| digits.len() == 20)
            .and_then(|digits| digits.parse::<u64>().ok());
        let good = match named {
            Some(id) => fulls.contains(&id) || self.is_full(id)?,
            None => false,
        };
        if !good {
            let text = bytes.escape_ascii().to_string();
            let mut found = problem(CURRENT_KEY, format!("\"{text}\" names no full version"));
            found.offset = Some(0);
            self.report.problems.push(found);
        }
        Ok(())
    }

    /// Whether this object of the manifest, which was not there when the store was listed, is a full version.
    fn is_full(&self, id: u64) -> Result<bool> {
        match self.store.get(&manifest_key(id)) {
            Ok(bytes) => {
                Ok(ManifestObject::decode(&bytes, id).is_ok_and(|object| object.is_full()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn chunks(&mut self, listed: &[ObjectMeta], version: Option<&Version>) -> Result<()> {
        let mut sound = true;
        let mut any = false;
        let ids: Vec<u64> = listed
            .iter()
            .filter_map(|meta| parse_chunk_key(&meta.key))
            .collect();
        let store = self.store.clone();
        let fetched = ids
            .chunks(CHUNKS_AT_ONCE)
            .flat_map(|batch| fetch(&*store, batch));
        for (id, got) in fetched {
            let key = chunk_key(id);
            let Some(bytes) = self.got(&key, got)? else {
                continue;
            };
            any = true;
            self.report.chunks += 1;
            self.report.chunk_bytes += bytes.len() as u64;
            let chunk = match Chunk::decode(&bytes, id) {
                Ok(chunk) => chunk,
                Err(error) => {
                    sound = false;
                    self.note_damage(&key, error.message());
                    continue;
                }
            };
            self.report.records += chunk.records.len() as u64;
            for (position, range) in chunk.records {
                let at = range.start;
                let payload = bytes.get(range).unwrap_or_default();
                if let Err(error) = check_payload(payload) {
                    sound = false;
                    let mut found = problem(
                        &key,
                        format!("record of log position {position} at byte {at}: {error}"),
                    );
                    found.offset = Some(at as u64);
                    self.report.problems.push(found);
                }
            }
        }
        match version {
            Some(version) if sound && (any || version.first_chunk > 0) => self.log_chain(version),
            _ => Ok(()),
        }
    }

    /// Whether the chunks from the first one needed follow each other.
    fn log_chain(&mut self, version: &Version) -> Result<()> {
        let (mut first, mut floor) = (version.first_chunk, version.wal_floor);
        loop {
            let mut reader = ChunkReader::new(self.store.clone(), first, floor);
            let read = reader.read_on(&mut |_, _| Ok(()));
            let error = match read {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Corruption => error,
                Err(error) => return Err(error),
            };
            // A running server may have gone on, and removed chunks.
            let now = Manifest::load(self.store.clone())?.1;
            if (now.first_chunk, now.wal_floor) == (first, floor) {
                self.note(&chunk_key(first), error.message());
                return Ok(());
            }
            (first, floor) = (now.first_chunk, now.wal_floor);
        }
    }

    fn files(
        &mut self,
        listed: &[ObjectMeta],
        version: Option<&Version>,
        jobs: usize,
    ) -> Result<()> {
        let files: Vec<(u64, u64, Option<Arc<FileMeta>>)> = match version {
            Some(version) => version
                .files()
                .map(|(_, file)| (file.id, file.size, Some(file.clone())))
                .collect(),
            None => listed
                .iter()
                .filter_map(|meta| Some((parse_sst_key(&meta.key)?, meta.size, None)))
                .collect(),
        };
        let needed: u64 = files.iter().map(|(_, size, _)| size).sum();
        self.total = self.done.load(Relaxed) + needed;
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        let this = &*self;
        std::thread::scope(|scope| {
            for _ in 0..jobs.clamp(1, files.len().max(1)) {
                scope.spawn(|| {
                    while let Some((id, size, meta)) = files.get(next.fetch_add(1, Relaxed)) {
                        let checked = this.file(*id, *size, meta.as_deref());
                        this.advance(&sst_key(*id), *size);
                        let failed = checked.is_err();
                        results.lock().push(checked);
                        if failed {
                            next.store(files.len(), Relaxed);
                        }
                    }
                });
            }
        });
        for checked in results.into_inner() {
            let FileCheck {
                problems,
                entries,
                bytes,
                removed,
            } = checked?;
            self.report.problems.extend(problems);
            self.report.entries += entries;
            self.report.file_bytes += bytes;
            self.report.files += u64::from(!removed);
            self.report.removed_meanwhile += u64::from(removed);
        }
        let needed: std::collections::HashSet<u64> = files.iter().map(|(id, ..)| *id).collect();
        let other = |meta: &&ObjectMeta| match parse_sst_key(&meta.key) {
            Some(id) => !needed.contains(&id),
            None => {
                parse_manifest_key(&meta.key).is_none()
                    && parse_chunk_key(&meta.key).is_none()
                    && ![CURRENT_KEY, identity::NAME].contains(&meta.key.as_str())
            }
        };
        self.report.other_objects = listed.iter().filter(other).count() as u64;
        if let Some(version) = version {
            self.order(version);
        }
        Ok(())
    }

    fn file(&self, id: u64, size: u64, meta: Option<&FileMeta>) -> Result<FileCheck> {
        let key = sst_key(id);
        let mut check = FileCheck::default();
        if let Some(&listed) = self.sizes.get(&key)
            && listed != size
        {
            let message = format!("it has {listed} bytes, the manifest says {size}");
            check.problems.push(problem(&key, message));
            return Ok(check);
        }
        let contents = self
            .store
            .reader_of(&key, size)
            .and_then(|reader| verify_sst(&*reader, size));
        let contents = match contents {
            Ok(contents) => contents,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let now = Manifest::load(self.store.clone())?.1;
                check.removed = now.files().all(|(_, file)| file.id != id);
                if !check.removed {
                    check.problems.push(problem(&key, "it is missing"));
                }
                return Ok(check);
            }
            Err(error) => return Err(error.context(key)),
        };
        check.bytes = size;
        check.entries = contents.entries;
        let sound = contents.findings.is_empty();
        if let Some(meta) = meta
            && sound
        {
            let differences = compare(meta, &contents);
            check
                .problems
                .extend(differences.into_iter().map(|message| Problem {
                    object: key.clone(),
                    offset: None,
                    message,
                }));
        }
        let findings = contents.findings.into_iter().map(|finding| Problem {
            object: key.clone(),
            offset: Some(finding.offset),
            message: finding.message,
        });
        check.problems.extend(findings);
        Ok(check)
    }

    /// Whether the files of each level but the first follow each other.
    fn order(&mut self, version: &Version) {
        for level in 1..LEVELS {
            for pair in version.level(level).windows(2) {
                if let [before, after] = pair
                    && before.largest.user_key() >= after.smallest.user_key()
                {
                    self.note(
                        &sst_key(after.id),
                        format!(
                            "level {level}: it begins at or before the end of file {}",
                            before.id
                        ),
                    );
                }
            }
        }
    }
}

#[derive(Default)]
struct FileCheck {
    problems: Vec<Problem>,
    entries: u64,
    bytes: u64,
    removed: bool,
}

/// How the manifest's description of a sound file differs from what is in it.
fn compare(meta: &FileMeta, found: &Contents) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut numbers = vec![
        ("entries", meta.entries, found.entries),
        ("deletions", meta.deletions, found.deletions),
        (
            "bytes of keys and values",
            meta.raw_bytes,
            found.key_bytes + found.value_bytes,
        ),
    ];
    if let Some(tail) = meta.tail {
        let there = meta.size.saturating_sub(found.data_end);
        numbers.push(("bytes behind the data", tail, there));
    }
    let (mut smallest, mut largest) = (found.smallest.clone(), found.largest.clone());
    match meta.file_seq {
        Some(seq) => {
            // It was written without numbers, and its commit gave it one.
            numbers.push(("sequence number stored", UNNUMBERED, found.largest_seq));
            for key in [&mut smallest, &mut largest] {
                let trailer = key.as_ref().trailer_at(seq);
                let user = key.user_key().to_vec();
                key.set(&user, trailer);
            }
        }
        None => {
            numbers.push((
                "smallest sequence number",
                meta.smallest_seq,
                found.smallest_seq,
            ));
            numbers.push((
                "largest sequence number",
                meta.largest_seq,
                found.largest_seq,
            ));
        }
    }
    for (what, said, there) in numbers {
        if said != there {
            wrong.push(format!(
                "{what}: the manifest says {said}, there are {there}"
            ));
        }
    }
    if (&meta.smallest, &meta.largest) != (&smallest, &largest) {
        wrong.push(format!(
            "the manifest says keys {:?} to {:?}, there are {smallest:?} to {largest:?}",
            meta.smallest, meta.largest
        ));
    }
    wrong
}

/// Whether a log record can be replayed.
fn check_payload(payload: &[u8]) -> Result<()> {
    let check_ops = |ops: &[u8]| decode_ops(ops, &mut |_, _, _| Ok(()));
    let check_files = |files: &[u8]| crate::manifest::decode_files(files).map(drop);
    decode_payload(payload, &mut |entry| match entry {
        Entry::Commit { ops, .. } | Entry::Prepare { ops, .. } => check_ops(ops),
        Entry::CommitFiles { files, ops, .. } => {
            check_files(files)?;
            check_ops(ops)
        }
        Entry::PrepareFiles { files, .. } => check_files(files),
        Entry::CommitPrepared { .. }
        | Entry::RollbackPrepared { .. }
        | Entry::InCoordinator { .. } => Ok::<(), Error>(()),
    })
}
