//! The write-ahead log: one logical sequence of bytes, addressed by a position that is never used twice for what was made durable.
//!
//! A record is appended whole, in one positioned write for each segment it touches, and is durable once [`Wal::sync`] has returned for its end. Segments
//! are files of fixed size; a record may span any number of them. Their bytes are described in `format.rs`.
//!
//! What is promised:
//! - A record whose sync returned is replayed by every later [`Wal::open`] with a floor at or below it, or the open fails; after a kill of the process or a loss of
//!   power it is there. A record that was not synced is replayed whole or not at all, and only if all records before it are.
//! - Nothing is replayed that was not appended: what recycled files held before, and unsynced records behind a cut, never come back.
//! - After a failed write or sync the log takes nothing more ([`crate::ErrorKind::ReadOnly`], naming the first failure), since it is not
//!   known what the file now holds; the next open finds out.
//!
//! Durability costs one `fdatasync` for all records that were appended before it began. Segments are laid down ahead of the writer with real zeros, or are
//! recycled from below the floor, so that the sync finds nothing to write but the data: no length, no block allocation, no journal.
//! On ext4 with a journal the quickest tenth of commits of 200 bytes took up to 297 µs on a growing file, 142 on one of written zeros, 148 on a recycled
//! one and 167 through this log; an append without its sync took 2 µs (`cargo bench -p smartengine --bench wal`, unoptimised, two busy cores).
//!
//! Each chunk carries how far the log was known durable when it was written. That tells two kinds of bad chunks apart: in front of a durable mark it is
//! corruption and the log is refused; otherwise it is the torn end of a crash and is cut (`recover.rs`).
//!
//! Locks: `writer` serialises appends and is held over the write; `turns` lets one thread sync for all that wait; `tail` (where the log ends, which
//! segments are live) is held for moments only.

mod format;
mod prepare;
mod recover;
mod segment;
#[cfg(test)]
mod tests;
mod turns;

pub use format::VERSION as FORMAT_VERSION;
use std::any::Any;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use self::format::{CHUNK_HEADER_LEN, CHUNK_MIN, ChunkHeader, ChunkKind, SEGMENT_HEADER_LEN};
use self::prepare::Preparer;
use self::segment::{FileKind, Segment, spare_name};
use self::turns::Turns;
use crate::env::failpoint;
use crate::env::fs::{Fs, OpenMode};
use crate::{Error, ErrorKind, Result, ResultExt};

/// How the log lays out its files.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// Size of a segment file in bytes, from 4,608 to 1 GiB.
    pub segment_size: u64,
    /// How many spare files are kept for reuse. 0 also turns off the thread that lays down the next segment ahead of the writer.
    pub recycle: usize,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            // Small enough that laying one down hardly delays the syncs beside it, large enough that it is rarely done.
            segment_size: 16 << 20,
            recycle: 4,
        }
    }
}

/// Where a record lies: from its first chunk's position to the position after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalRange {
    /// Its position, as replay names it.
    pub start: u64,
    /// What [`Wal::sync`] takes to make it durable.
    pub end: u64,
}

/// What the log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    /// Payload bytes appended.
    pub bytes: u64,
    /// Records appended.
    pub appends: u64,
    /// Syncs carried out, each for all records that were appended before it.
    pub syncs: u64,
    /// Segment files that are part of the log now.
    pub segments: u64,
}

/// The log, open for appending.
pub struct Wal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    writer: Mutex<Writer>,
    turns: Turns,
    tail: Mutex<Tail>,
    end: AtomicU64,
    synced: AtomicU64,
    /// The greatest durable mark in the log.
    marked: AtomicU64,
    failure: OnceLock<String>,
    preparer: Preparer,
    bytes: AtomicU64,
    appends: AtomicU64,
    syncs: AtomicU64,
    _lock: Box<dyn Any + Send + Sync>,
}

struct Writer {
    current: Arc<Segment>,
    position: u64,
}

struct Tail {
    end: u64,
    /// All segments of the log, oldest first.
    segments: VecDeque<Arc<Segment>>,
}

impl Wal {
    /// Opens the log in `dir`, creating it if there is none, and calls `apply` with position and payload of every record at or after `floor`, in order.
    ///
    /// `floor` is 0 or a position that this log gave out ([`WalRange`], [`Wal::end`]); a log whose files are gone begins there. A torn tail is cut;
    /// corruption in front of it, a missing file, or an error of `apply` is returned and leaves the log as it is.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: WalOptions,
        floor: u64,
        apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        let least = SEGMENT_HEADER_LEN + 512;
        if !(least..=1 << 30).contains(&options.segment_size) {
            return Err(Error::invalid(format!(
                "log segment size {}: allowed are {least} to {} bytes",
                options.segment_size,
                1 << 30
            )));
        }
        fs.create_dir_all(dir)?;
        let lock = fs.lock(&dir.join("LOCK"))?;
        let files = Files::list(&*fs, dir, options.segment_size, floor)?;
        let (mut segments, stale, mut spares) = (files.live, files.stale, files.spares);

        let mut next = None;
        let (end, synced, marked);
        let mut add_mark = false;
        if segments.is_empty() {
            // Nothing to take over: the log begins at the floor.
            let spare = spares.pop();
            let first = Segment::create(&*fs, dir, floor, options.segment_size, spare.as_deref())?;
            segments.push(Arc::new(first));
            (end, synced, marked) = (floor, floor, floor);
        } else {
            let found = recover::replay(dir, &segments, floor, apply)?;
            end = found.end;
            let current = segments
                .iter()
                .rposition(|segment| segment.start <= end && end <= segment.end)
                .unwrap_or(0);
            let later = segments.split_off(current + 1);
            if found.ghosts {
                recover::remove_ghosts(&*fs, dir, &segments[current], &later, end)?;
            } else {
                let follows = segments[current].end;
                for segment in later {
                    if segment.start == follows && next.is_none() {
                        next = Some(segment);
                    } else {
                        fs.remove(&dir.join(&segment.name))?;
                    }
                }
            }
            let promised = found.durable.max(floor);
            if promised < end {
                recover::write_again(&segments, promised, end)
                    .context(|| format!("make the end of log {} durable", dir.display()))?;
            }
            (synced, marked) = (end, found.durable);
            add_mark = found.undurable_records;
        }

        let current = Arc::clone(&segments[segments.len() - 1]);
        let preparer = Preparer::start(Arc::clone(&fs), dir, &options, next, spares)?;
        let wal = Self {
            writer: Mutex::new(Writer {
                current: Arc::clone(&current),
                position: end,
            }),
            turns: Turns::default(),
            tail: Mutex::new(Tail {
                end,
                segments: segments.into(),
            }),
            end: AtomicU64::new(end),
            synced: AtomicU64::new(synced),
            marked: AtomicU64::new(marked),
            failure: OnceLock::new(),
            preparer,
            bytes: AtomicU64::new(0),
            appends: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            _lock: lock,
            dir: dir.to_owned(),
            fs,
        };
        wal.retire(stale)?;
        wal.preparer.want(current.end);
        if add_mark {
            wal.append_mark()?;
        }
        Ok(wal)
    }

    /// Appends one record, made of the pieces in order.
    ///
    /// When it returns, the record survives a crash of the process; for a loss of power see [`Wal::sync`].
    pub fn append(&self, payload: &[&[u8]]) -> Result<WalRange> {
        let mut writer = self.writer.lock();
        self.check()?;
        let range = self
            .write(&mut writer, ChunkKind::First, payload)
            .map_err(|error| self.fail("append", error))?;
        let bytes: u64 = payload.iter().map(|piece| piece.len() as u64).sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.appends.fetch_add(1, Ordering::Relaxed);
        Ok(range)
    }

    /// Returns when everything below `up_to` is durable. Callers at the same time share the syncs.
    pub fn sync(&self, up_to: u64) -> Result<()> {
        loop {
            self.check()?;
            if self.synced() >= up_to {
                return Ok(());
            }
            if let Some(turn) = self.turns.take(up_to) {
                self.sync_now(up_to)?;
                turn.end(self.synced());
            }
        }
    }

    /// Syncs all that was appended before the call. Called by one thread at a time.
    fn sync_now(&self, up_to: u64) -> Result<()> {
        let from = self.synced();
        if from >= up_to {
            return Ok(());
        }
        let (end, segments) = {
            let tail = self.tail.lock();
            let unsynced: Vec<Arc<Segment>> = tail
                .segments
                .iter()
                .filter(|segment| segment.end > from && segment.start < tail.end)
                .cloned()
                .collect();
            (tail.end, unsynced)
        };
        if up_to > end {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("sync of the log up to {up_to}, beyond its end {end}"),
            ));
        }
        failpoint::hit("wal.before_sync").map_err(|error| self.fail("sync", error))?;
        for segment in segments {
            segment
                .file
                .sync_data()
                .map_err(|error| self.fail("sync", error))?;
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.synced.store(end, Ordering::Release);
        failpoint::hit("wal.after_sync").map_err(|error| self.fail("sync", error))
    }

    /// The position after the last record: where the next one starts, or less.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Everything below this position is durable.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// Reads records from `from` on, which is the end of one, or where the log begins: `each` gets position and payload. Stops at the log's end, or
    /// once `limit` bytes of payload were read, and returns the position after the last record.
    ///
    /// Nothing from `from` on may be [released](Wal::release) meanwhile. [`ErrorKind::Corruption`] for bytes that are not what was appended.
    pub fn read(&self, from: u64, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Result<u64> {
        let (to, segments) = {
            let tail = self.tail.lock();
            let segments: Vec<Arc<Segment>> = tail
                .segments
                .iter()
                .filter(|segment| segment.end >= from && segment.start < tail.end)
                .cloned()
                .collect();
            (tail.end, segments)
        };
        if from >= to {
            return Ok(from);
        }
        recover::read_records(&segments, from, to, limit, each)
            .context(|| format!("log {}", self.dir.display()))
    }

    /// Gives up what lies below `floor`: segments wholly below it are kept for reuse or deleted. No open may ask for a lower floor afterwards.
    pub fn release(&self, floor: u64) -> Result<()> {
        let mut below = Vec::new();
        {
            let mut tail = self.tail.lock();
            while tail.segments.len() > 1 && tail.segments[0].end <= floor {
                below.extend(tail.segments.pop_front());
            }
        }
        self.retire(below)
    }

    /// Makes all records durable and leaves a durable mark after them, so that damage to any of them is found at the next open.
    pub fn close(&self) -> Result<()> {
        let end = self.end();
        self.sync(end)?;
        if self.marked.load(Ordering::Relaxed) < end {
            self.append_mark()?;
            self.sync(self.end())?;
        }
        Ok(())
    }

    /// What the log has done so far.
    pub fn stats(&self) -> WalStats {
        WalStats {
            bytes: self.bytes.load(Ordering::Relaxed),
            appends: self.appends.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            segments: self.tail.lock().segments.len() as u64,
        }
    }

    fn append_mark(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        self.check()?;
        self.write(&mut writer, ChunkKind::Mark, &[])
            .map(|_| ())
            .map_err(|error| self.fail("append", error))
    }

    fn check(&self) -> Result<()> {
        match self.failure.get() {
            None => Ok(()),
            Some(first) => Err(Error::new(
                ErrorKind::ReadOnly,
                format!("the log takes no writes since this failure: {first}"),
            )),
        }
    }

    /// Stops the log for good because of `error`, which is returned.
    fn fail(&self, what: &str, error: Error) -> Error {
        let error = error.context(format_args!("{what} to log {}", self.dir.display()));
        // Only the first failure is kept: what follows it is a consequence.
        let _ = self.failure.set(error.message().to_owned());
        self.turns.close();
        error
    }

    fn write(&self, writer: &mut Writer, kind: ChunkKind, payload: &[&[u8]]) -> Result<WalRange> {
        failpoint::hit("wal.before_append")?;
        let durable = self.synced();
        let mut cursor = Pieces::new(payload);
        let mut kind = kind;
        let mut start = None;
        loop {
            if writer.current.end - writer.position < CHUNK_MIN {
                self.rotate(writer)?;
            }
            let left = writer.current.end - writer.position - CHUNK_HEADER_LEN as u64;
            let length = cursor.remaining.min(left);
            let header = ChunkHeader {
                kind,
                position: writer.position,
                durable,
                length: length as u32,
                remaining: cursor.remaining,
            };
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(payload.len() + 1);
            slices.push(IoSlice::new(&[]));
            cursor.take(length, &mut slices);
            let head = header.encode(&slices[1..]);
            slices[0] = IoSlice::new(&head);
            let offset = writer.current.offset(writer.position);
            writer.current.file.write_at(&slices, offset)?;
            start.get_or_insert(writer.position);
            writer.position += CHUNK_HEADER_LEN as u64 + length;
            kind = ChunkKind::Later;
            if cursor.remaining == 0 {
                break;
            }
            failpoint::hit("wal.between_chunks")?;
        }
        self.marked.fetch_max(durable, Ordering::Relaxed);
        self.tail.lock().end = writer.position;
        self.end.store(writer.position, Ordering::Release);
        Ok(WalRange {
            start: start.unwrap_or(writer.position),
            end: writer.position,
        })
    }

    fn rotate(&self, writer: &mut Writer) -> Result<()> {
        failpoint::hit("wal.before_rotate")?;
        let start = writer.current.end;
        let next = self.preparer.take(start)?;
        self.tail.lock().segments.push_back(Arc::clone(&next));
        self.preparer.want(next.end);
        writer.position = start;
        writer.current = next;
        Ok(())
    }

    /// Makes spares of segments that are no longer part of the log, or deletes them. Oldest first, so that a crash leaves no gap.
    fn retire(&self, segments: Vec<Arc<Segment>>) -> Result<()> {
        if segments.is_empty() {
            return Ok(());
        }
        let mut spares = Vec::new();
        for segment in segments {
            let path = self.dir.join(&segment.name);
            if self.preparer.accepts(&segment, spares.len()) {
                let spare = spare_name(segment.start);
                self.fs.rename(&path, &self.dir.join(&spare))?;
                spares.push(spare);
            } else {
                self.fs.remove(&path)?;
            }
        }
        // A spare's old name has to be gone for good before its content changes.
        self.fs.sync_dir(&self.dir)?;
        self.preparer.add_spares(spares);
        Ok(())
    }
}

/// The position at which the log in `dir` begins; `None` if there is no segment.
pub fn first_position(fs: &dyn Fs, dir: &Path) -> Result<Option<u64>> {
    Ok(segment_starts(fs, dir)?.into_iter().min())
}

/// Calls `each` for every record of the log in `dir` from `from` on, which is the end of a record, without changing anything, as far as they are sound.
pub fn peek(fs: &dyn Fs, dir: &Path, from: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
    let mut starts = segment_starts(fs, dir)?;
    starts.sort_unstable();
    let mut segments = Vec::new();
    for start in starts {
        let segment = Segment::open(fs, dir, start)?;
        if segment.end > from {
            segments.push(Arc::new(segment));
        }
    }
    recover::replay(dir, &segments, from, &mut |_, payload| {
        each(payload);
        Ok(())
    })
    .map(drop)
}

/// Moves all segments of the log in `dir` to the folder `aside`, which is created. A crash in between leaves some in either place; doing it again
/// moves the rest.
pub fn set_aside(fs: &dyn Fs, dir: &Path, aside: &Path) -> Result<()> {
    fs.create_dir_all(aside)?;
    for start in segment_starts(fs, dir)? {
        let name = segment::segment_name(start);
        fs.rename(&dir.join(&name), &aside.join(&name))?;
    }
    fs.sync_dir(aside)?;
    fs.sync_dir(dir)
}

/// Removes all segments of the log in `dir`, newest first, so that a crash leaves a log that can be read.
pub fn remove(fs: &dyn Fs, dir: &Path) -> Result<()> {
    let mut starts = segment_starts(fs, dir)?;
    starts.sort_unstable();
    for start in starts.into_iter().rev() {
        fs.remove(&dir.join(segment::segment_name(start)))?;
    }
    fs.sync_dir(dir)
}

fn segment_starts(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>> {
    let names = match fs.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    let starts = names.iter().filter_map(|name| match FileKind::of(name) {
        FileKind::Segment(start) => Some(start),
        _ => None,
    });
    Ok(starts.collect())
}

/// A record's payload, taken from the front in runs that need not end where a piece does.
struct Pieces<'a> {
    pieces: &'a [&'a [u8]],
    /// Bytes already taken of the first piece.
    taken: usize,
    remaining: u64,
}

impl<'a> Pieces<'a> {
    fn new(pieces: &'a [&'a [u8]]) -> Self {
        Self {
            pieces,
            taken: 0,
            remaining: pieces.iter().map(|piece| piece.len() as u64).sum(),
        }
    }

    fn take<'b>(&mut self, length: u64, into: &mut Vec<IoSlice<'b>>)
    where
        'a: 'b,
    {
        let mut length = length as usize;
        self.remaining -= length as u64;
        while length > 0
            && let Some((piece, rest)) = self.pieces.split_first()
        {
            let run = length.min(piece.len() - self.taken);
            if run > 0 {
                into.push(IoSlice::new(&piece[self.taken..self.taken + run]));
            }
            length -= run;
            self.taken += run;
            if self.taken == piece.len() {
                self.pieces = rest;
                self.taken = 0;
            }
        }
    }
}

/// What lies in the log's directory, sorted by use.
struct Files {
    /// Segments that reach beyond the floor.
    live: Vec<Arc<Segment>>,
    /// Segments wholly below it.
    stale: Vec<Arc<Segment>>,
    spares: Vec<String>,
}

impl Files {
    fn list(fs: &dyn Fs, dir: &Path, segment_size: u64, floor: u64) -> Result<Self> {
        // A segment whose creation failed at its last step stands here under a name that may not last.
        fs.sync_dir(dir)?;
        let mut starts = Vec::new();
        let mut spares = Vec::new();
        for name in fs.list(dir)? {
            match FileKind::of(&name) {
                FileKind::Segment(start) => starts.push(start),
                FileKind::Spare => {
                    let path = dir.join(&name);
                    if fs.open(&path, OpenMode::Read)?.size()? == segment_size {
                        spares.push(name);
                    } else {
                        fs.remove(&path)?;
                    }
                }
                FileKind::Temporary => fs.remove(&dir.join(&name))?,
                FileKind::Foreign => {}
            }
        }
        starts.sort_unstable();
        let mut live = Vec::new();
        let mut stale = Vec::new();
        for (place, &start) in starts.iter().enumerate() {
            match Segment::open(fs, dir, start) {
                Ok(segment) if segment.end <= floor => stale.push(Arc::new(segment)),
                Ok(segment) => live.push(Arc::new(segment)),
                // Damage below the floor harms nobody. What another release wrote is not damage, and is refused wherever it is.
                Err(error)
                    if error.kind() == ErrorKind::Corruption
                        && starts.get(place + 1).is_some_and(|&next| next <= floor) =>
                {
                    fs.remove(&dir.join(segment::segment_name(start)))?;
                }
                Err(error) => return Err(error.context("open log")),
            }
        }
        if let Some(first) = live.first()
            && first.start > floor
        {
            return Err(Error::corruption(format!(
                "log {}: it begins at position {}, but is needed from {floor}; a segment file is missing",
                dir.display(),
                first.start
            )));
        }
        Ok(Self {
            live,
            stale,
            spares,
        })
    }
}
