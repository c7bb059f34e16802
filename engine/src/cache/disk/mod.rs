//! The local cache of object pieces: parts of immutable objects kept on a local disk, within a number of bytes, across restarts.
//!
//! An object is cut into pieces of 64 KiB. Two files hold them, whatever their number: `pieces`, an array of slots, and `index`, which says what each slot
//! holds (`layout.rs` has their bytes). Since an object is never overwritten, a piece never goes stale; it goes when it is evicted (`shard.rs`) or its object is deleted.
//!
//! Nothing in the files is trusted. An entry of the index counts if its own checksum, which covers the store's number and the slot, is right; bytes
//! of a slot count if, each time they are read, they have the checksums of the entry, which cover the store's number, the file and the place in it.
//! So a crash at any moment, of the process or the machine, costs pieces and never gives wrong bytes: data and entry are written in any order, and
//! neither is synced. A slot that is given a new piece between a reader's look-up and its read is caught by the same checksums.
//! An entry of another store does not count as one of this store; opened for another store, or for one whose history took another course, the cache begins empty.
//!
//! A failure of the disk, a full one too, turns the cache off until the next open, with one line in the log; reads then go to the store.
//!
//! Opening reads the index alone: 36 bytes for each piece, 58 MB for 100 GB. Memory: about 64 bytes for each piece.

mod flights;
mod layout;
mod shard;
mod store;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::HashMap;
use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use self::flights::Flights;
use self::layout::{ENTRY_LEN, Entry, HEADER_LEN, QUARTER};
use self::shard::Shard;
use crate::env::fs::{Fs, FsFile, OpenMode};
use crate::{Error, ErrorKind, Result, ResultExt};

pub use self::layout::{PIECE, PieceKey};
pub use self::store::CachedStore;

/// The least size, in bytes, that a cache may have.
pub const MIN_CACHE_SIZE: u64 = 2 << 20;

/// A shard has at least this many slots, and there are at most so many shards.
const SHARD_SLOTS: u64 = 4096;
const MAX_SHARDS: u64 = 16;
/// Entries read at once when the index is read.
const RECOVER_ENTRIES: u64 = 16 << 10;

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    hit_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    written_bytes: AtomicU64,
    evictions: AtomicU64,
    damaged: AtomicU64,
    bytes: AtomicU64,
    pieces: AtomicU64,
}

/// A local cache's counters at one moment. Hits and misses count reads of single pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskCacheStats {
    /// Reads of a piece that the cache answered.
    pub hits: u64,
    /// Reads of a piece that went to the store, or waited for one that did.
    pub misses: u64,
    /// Bytes that reads got from the cache.
    pub hit_bytes: u64,
    /// Bytes that misses fetched from the store.
    pub fetched_bytes: u64,
    /// Bytes of pieces written to the cache, by misses and by objects being written.
    pub written_bytes: u64,
    /// Pieces that went to make room.
    pub evictions: u64,
    /// Pieces that were found not to be what was written, and were fetched again.
    pub damaged: u64,
    /// Bytes of the pieces held.
    pub bytes: u64,
    /// Pieces held.
    pub pieces: u64,
    /// Bytes that the cache's files may take.
    pub capacity: u64,
    /// Why the cache is off, if it is.
    pub off: Option<String>,
}

/// Which part of a file is held.
#[derive(Default)]
struct Held {
    pieces: u32,
    /// No piece from this one on is held.
    end: u32,
}

/// A local cache of object pieces. See the module's description.
pub struct DiskCache {
    dir: PathBuf,
    store: u128,
    capacity: u64,
    index: Arc<dyn FsFile>,
    data: Arc<dyn FsFile>,
    shards: Vec<Mutex<Shard>>,
    shard_slots: u32,
    held: Mutex<HashMap<u64, Held>>,
    flights: Flights,
    counters: Counters,
    is_off: AtomicBool,
    off: Mutex<Option<String>>,
    _lock: Box<dyn Any + Send + Sync>,
}

fn open_or_create(fs: &dyn Fs, path: &Path) -> Result<Arc<dyn FsFile>> {
    match fs.open(path, OpenMode::Write) {
        Err(error) if error.kind() == ErrorKind::NotFound => fs.open(path, OpenMode::CreateNew),
        opened => opened,
    }
}

impl DiskCache {
    /// Opens the cache in `dir`, whose files take up to `size` bytes, for the store of this number; creates it if it is not there, and empties it if
    /// it is another store's. [`ErrorKind::Invalid`] for less than [`MIN_CACHE_SIZE`], [`ErrorKind::Unavailable`] if it is in use.
    pub fn open(fs: &dyn Fs, dir: &Path, size: u64, store: u128) -> Result<Self> {
        Self::open_inner(fs, dir, size, store)
            .context(|| format!("open the persistent cache in {}", dir.display()))
    }

    fn open_inner(fs: &dyn Fs, dir: &Path, size: u64, store: u128) -> Result<Self> {
        let slots = size.saturating_sub(HEADER_LEN) / (PIECE + ENTRY_LEN) as u64;
        let slots = u32::try_from(slots).unwrap_or(u32::MAX - 1);
        if size < MIN_CACHE_SIZE {
            return Err(Error::invalid(format!(
                "{size} bytes were given, at least {MIN_CACHE_SIZE} are needed"
            )));
        }
        fs.create_dir_all(dir)?;
        let lock = fs.lock(&dir.join("LOCK"))?;
        let index = open_or_create(fs, &dir.join("index"))?;
        let data = open_or_create(fs, &dir.join("pieces"))?;
        let shards = (u64::from(slots) / SHARD_SLOTS).clamp(1, MAX_SHARDS) as u32;
        let shard_slots = slots / shards;
        let mut cache = Self {
            dir: dir.to_owned(),
            store,
            capacity: size,
            index,
            data,
            shards: (0..shards)
                .map(|i| Mutex::new(Shard::new(i * shard_slots, shard_slots)))
                .collect(),
            shard_slots,
            held: Mutex::default(),
            flights: Flights::default(),
            counters: Counters::default(),
            is_off: AtomicBool::new(false),
            off: Mutex::default(),
            _lock: lock,
        };
        cache.recover()?;
        Ok(cache)
    }

    /// Takes over what the index says of this store, and makes both files fit the size.
    fn recover(&mut self) -> Result<()> {
        let wanted = layout::encode_header(self.store);
        let mut header = wanted;
        header.fill(0);
        let read = self.index.read_at(&mut header, 0)?;
        if read != header.len() || header != wanted {
            self.index.set_len(0)?;
            self.data.set_len(0)?;
            return self.index.write_at(&[IoSlice::new(&wanted)], 0);
        }
        let slots = u64::from(self.shard_slots) * self.shards.len() as u64;
        let index_end = HEADER_LEN + slots * ENTRY_LEN as u64;
        let data_end = slots * PIECE as u64;
        if self.index.size()? > index_end {
            self.index.set_len(index_end)?;
        }
        if self.data.size()? > data_end {
            self.data.set_len(data_end)?;
        }
        let data_len = self.data.size()?;
        let mut buffer = vec![0; RECOVER_ENTRIES as usize * ENTRY_LEN];
        let mut slot = 0;
        loop {
            let at = HEADER_LEN + u64::from(slot) * ENTRY_LEN as u64;
            let read = self.index.read_at(&mut buffer, at)?;
            let (entries, _) = buffer[..read].as_chunks::<ENTRY_LEN>();
            for bytes in entries {
                self.recover_entry(slot, bytes, data_len);
                slot += 1;
            }
            if entries.is_empty() {
                return Ok(());
            }
        }
    }

    fn recover_entry(&mut self, slot: u32, bytes: &[u8; ENTRY_LEN], data_len: u64) {
        let Some(entry) = Entry::decode(self.store, slot, bytes) else {
            return;
        };
        let end = u64::from(slot) * PIECE as u64 + u64::from(entry.len);
        let shard = self.shard_number(entry.key);
        // A cache of another size had other shards.
        let is_mine = slot / self.shard_slots == shard && end <= data_len;
        if is_mine && self.shards[shard as usize].get_mut().recover(slot, entry) {
            self.note_added(&entry);
        }
    }

    fn shard_number(&self, key: PieceKey) -> u32 {
        (((key.hash() & 0xffff_ffff) * self.shards.len() as u64) >> 32) as u32
    }

    fn shard(&self, key: PieceKey) -> &Mutex<Shard> {
        &self.shards[self.shard_number(key) as usize]
    }

    fn note_added(&self, entry: &Entry) {
        self.counters.bytes.fetch_add(u64::from(entry.len), Relaxed);
        self.counters.pieces.fetch_add(1, Relaxed);
        let mut held = self.held.lock();
        let file = held.entry(entry.key.file).or_default();
        file.pieces += 1;
        file.end = file.end.max(entry.key.piece.saturating_add(1));
    }

    fn note_gone(&self, entry: &Entry) {
        self.counters.bytes.fetch_sub(u64::from(entry.len), Relaxed);
        self.counters.pieces.fetch_sub(1, Relaxed);
        let mut held = self.held.lock();
        if let Some(file) = held.get_mut(&entry.key.file) {
            file.pieces -= 1;
            if file.pieces == 0 {
                held.remove(&entry.key.file);
            }
        }
    }

    /// Whether reads and writes pass it by, since its disk failed.
    pub fn is_off(&self) -> bool {
        self.is_off.load(Relaxed)
    }

    fn turn_off(&self, error: &Error) {
        if !self.is_off.swap(true, Relaxed) {
            tracing::error!(
                "the persistent cache in {} is off until the next start, and reads go to the store: {error}",
                self.dir.display()
            );
            *self.off.lock() = Some(error.message().to_owned());
        }
    }

    /// Reads bytes of a piece into `out`, which is as long as `range`. `false`, and anything in `out`, if they are not held.
    fn read(&self, key: PieceKey, range: Range<usize>, out: &mut [u8]) -> bool {
        if self.is_off() {
            return false;
        }
        let Some(found) = self.shard(key).lock().use_piece(key) else {
            return false;
        };
        let len = found.entry.len as usize;
        if range.is_empty() || range.end > len {
            return false;
        }
        let start = range.start / QUARTER * QUARTER;
        let end = range.end.next_multiple_of(QUARTER).min(len);
        let mut bytes = vec![0; end - start];
        let at = u64::from(found.slot) * PIECE as u64 + start as u64;
        let read = match self.data.read_at(&mut bytes, at) {
            Ok(read) => read,
            Err(error) => {
                self.turn_off(&error);
                return false;
            }
        };
        if read == bytes.len() && found.entry.matches(self.store, start / QUARTER, &bytes) {
            out.copy_from_slice(&bytes[range.start - start..range.end - start]);
            return true;
        }
        let mut shard = self.shard(key).lock();
        // If it is not there any more, its slot was given away while it was read.
        if !shard.is_current(&found) {
            return false;
        }
        let removed = shard.remove(key);
        drop(shard);
        if let Some((slot, entry)) = removed {
            self.counters.damaged.fetch_add(1, Relaxed);
            tracing::warn!(
                "the persistent cache in {} held damaged bytes of file {}; they are read from the store again",
                self.dir.display(),
                key.file
            );
            self.release(slot, &entry);
        }
        false
    }

    /// Keeps a piece, in the place of one that is held under its name.
    fn insert(&self, key: PieceKey, data: &[u8]) {
        if self.is_off() || data.is_empty() || data.len() > PIECE {
            return;
        }
        // If all slots are being written to, this piece is not kept.
        let Some(taken) = self.shard(key).lock().take_slot() else {
            return;
        };
        if let Some(evicted) = taken.evicted {
            self.counters.evictions.fetch_add(1, Relaxed);
            self.note_gone(&evicted);
        }
        let entry = Entry::of(self.store, key, data);
        if let Err(error) = self.write(taken.slot, &entry, data) {
            self.turn_off(&error);
            self.shard(key).lock().give_back(taken.slot);
            return;
        }
        self.counters
            .written_bytes
            .fetch_add(data.len() as u64, Relaxed);
        self.note_added(&entry);
        let replaced = self.shard(key).lock().publish(taken.slot, entry);
        if let Some((slot, replaced)) = replaced {
            self.release(slot, &replaced);
        }
    }

    fn write(&self, slot: u32, entry: &Entry, data: &[u8]) -> Result<()> {
        let at = u64::from(slot) * PIECE as u64;
        self.data.write_at(&[IoSlice::new(data)], at)?;
        self.write_entry(slot, &entry.encode(self.store, slot))
    }

    fn write_entry(&self, slot: u32, bytes: &[u8; ENTRY_LEN]) -> Result<()> {
        let at = HEADER_LEN + u64::from(slot) * ENTRY_LEN as u64;
        self.index.write_at(&[IoSlice::new(bytes)], at)
    }

    /// Frees the slot of a piece that was taken out of its shard.
    fn release(&self, slot: u32, entry: &Entry) {
        self.note_gone(entry);
        // Before the slot is free, so that this never hits its next piece.
        if !self.is_off()
            && let Err(error) = self.write_entry(slot, &[0; ENTRY_LEN])
        {
            self.turn_off(&error);
        }
        self.shard(entry.key).lock().give_back(slot);
    }

    /// Forgets a piece.
    fn remove(&self, key: PieceKey) -> bool {
        let removed = self.shard(key).lock().remove(key);
        if let Some((slot, entry)) = removed {
            self.release(slot, &entry);
        }
        removed.is_some()
    }

    /// Forgets all pieces of a file.
    fn remove_file(&self, file: u64) {
        let end = self.held.lock().get(&file).map_or(0, |held| held.end);
        for piece in 0..end {
            self.remove(PieceKey { file, piece });
        }
    }

    /// The counters now.
    pub fn stats(&self) -> DiskCacheStats {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let counters = &self.counters;
        DiskCacheStats {
            hits: get(&counters.hits),
            misses: get(&counters.misses),
            hit_bytes: get(&counters.hit_bytes),
            fetched_bytes: get(&counters.fetched_bytes),
            written_bytes: get(&counters.written_bytes),
            evictions: get(&counters.evictions),
            damaged: get(&counters.damaged),
            bytes: get(&counters.bytes),
            pieces: get(&counters.pieces),
            capacity: self.capacity,
            off: self.off.lock().clone(),
        }
    }
}
