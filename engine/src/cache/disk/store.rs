//! A store whose large objects are read through a local cache of their pieces, and written through it.
//!
//! A read takes the pieces it needs from the cache. For those that are missing it makes one ranged read of the store, from the first to the last of them, and keeps
//! them. A piece that another is fetching is waited for instead; if that fails, it is fetched after all. An object being written is kept piece by
//! piece; if it does not come to be, they are forgotten.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::flights::{Claim, Flight};
use super::layout::{PIECE, PieceKey};
use super::{DiskCache, DiskCacheStats};
use crate::object_store::{ObjectMeta, ObjectReader, ObjectStore, ObjectWriter};
use crate::{Error, Result};

/// Tells the number of the file that a key names, if objects of its kind are to be cached.
pub type FileOfKey = fn(&str) -> Option<u64>;

/// A store with a local cache before it. See the module's description.
pub struct CachedStore {
    inner: Arc<dyn ObjectStore>,
    cache: Arc<DiskCache>,
    file_of: FileOfKey,
}

impl CachedStore {
    /// Puts `cache` before `inner` for those keys that `file_of` gives a number. Numbers are unique for ever, and an object that has one is written
    /// once and never replaced.
    pub fn new(inner: Arc<dyn ObjectStore>, cache: Arc<DiskCache>, file_of: FileOfKey) -> Self {
        Self {
            inner,
            cache,
            file_of,
        }
    }

    /// The cache's counters now.
    pub fn stats(&self) -> DiskCacheStats {
        self.cache.stats()
    }

    #[cfg(test)]
    pub(super) fn cache(&self) -> &DiskCache {
        &self.cache
    }

    fn forget(&self, key: &str) {
        if let Some(file) = (self.file_of)(key) {
            self.cache.remove_file(file);
        }
    }

    fn open(
        &self,
        key: &str,
        size: Option<u64>,
        reader: Arc<dyn ObjectReader>,
    ) -> Arc<dyn ObjectReader> {
        let Some(file) = (self.file_of)(key) else {
            return reader;
        };
        Arc::new(CachedReader {
            inner: reader,
            store: self.inner.clone(),
            cache: self.cache.clone(),
            key: key.to_owned(),
            file,
            size: size.map_or_else(OnceLock::new, OnceLock::from),
        })
    }
}

impl ObjectStore for CachedStore {
    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        self.forget(key);
        self.inner.put(key, data)
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        self.inner.put_if_absent(key, data)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.inner.writer(key)?;
        let Some(file) = (self.file_of)(key) else {
            return Ok(inner);
        };
        Ok(Box::new(CachedWriter {
            inner: Some(inner),
            cache: self.cache.clone(),
            file,
            piece: 0,
            buffer: Vec::new(),
        }))
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        self.inner.get(key)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.get_range(key, range)
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        Ok(self.open(key, None, self.inner.reader(key)?))
    }

    fn reader_of(&self, key: &str, size: u64) -> Result<Arc<dyn ObjectReader>> {
        Ok(self.open(key, Some(size), self.inner.reader_of(key, size)?))
    }

    fn size(&self, key: &str) -> Result<u64> {
        self.inner.size(key)
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        self.inner.list(prefix, after, limit)
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.forget(key);
        self.inner.delete(key)
    }

    fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        for key in keys {
            self.forget(key);
        }
        self.inner.delete_many(keys)
    }
}

struct CachedReader {
    inner: Arc<dyn ObjectReader>,
    store: Arc<dyn ObjectStore>,
    cache: Arc<DiskCache>,
    key: String,
    file: u64,
    size: OnceLock<u64>,
}

/// A read being put together.
struct Assembly {
    start: u64,
    out: Vec<u8>,
    missing: Vec<u32>,
}

impl Assembly {
    fn range(&self) -> Range<u64> {
        self.start..self.start + self.out.len() as u64
    }

    /// The part of the read that piece number `piece` has: its place in the piece, and in the read.
    fn part(&self, piece: u32) -> (Range<usize>, Range<usize>) {
        let range = self.range();
        let piece_at = u64::from(piece) * PIECE as u64;
        let from = range.start.max(piece_at);
        let to = range.end.min(piece_at + PIECE as u64).max(from);
        (
            (from - piece_at) as usize..(to - piece_at) as usize,
            (from - range.start) as usize..(to - range.start) as usize,
        )
    }

    /// Copies from a whole piece; `false` if it is too short.
    fn take(&mut self, piece: u32, bytes: &[u8]) -> bool {
        let (inside, place) = self.part(piece);
        match (bytes.get(inside), self.out.get_mut(place)) {
            (Some(from), Some(to)) => {
                to.copy_from_slice(from);
                true
            }
            _ => false,
        }
    }
}

fn piece_of(offset: u64) -> Option<u32> {
    u32::try_from(offset / PIECE as u64).ok()
}

impl CachedReader {
    fn size(&self) -> Result<u64> {
        if let Some(&size) = self.size.get() {
            return Ok(size);
        }
        let size = self.store.size(&self.key)?;
        Ok(*self.size.get_or_init(|| size))
    }

    fn key(&self, piece: u32) -> PieceKey {
        PieceKey {
            file: self.file,
            piece,
        }
    }

    fn read_piece(&self, assembly: &mut Assembly, piece: u32) -> bool {
        let (inside, place) = assembly.part(piece);
        self.cache
            .read(self.key(piece), inside, &mut assembly.out[place])
    }

    /// What the cache has of the range; `None` for what cannot be read through it.
    fn look_up(&self, range: &Range<u64>) -> Option<Assembly> {
        if self.cache.is_off() || range.start >= range.end {
            return None;
        }
        let (first, last) = (piece_of(range.start)?, piece_of(range.end - 1)?);
        // A range beyond the end is the store's to refuse, before memory is taken for it.
        if self.size.get().is_some_and(|&size| range.end > size) {
            return None;
        }
        let mut assembly = Assembly {
            start: range.start,
            out: vec![0; usize::try_from(range.end - range.start).ok()?],
            missing: Vec::new(),
        };
        for piece in first..=last {
            if !self.read_piece(&mut assembly, piece) {
                assembly.missing.push(piece);
            }
        }
        let hits = u64::from(last - first) + 1 - assembly.missing.len() as u64;
        let missed: usize = assembly
            .missing
            .iter()
            .map(|&piece| assembly.part(piece).1.len())
            .sum();
        let counters = &self.cache.counters;
        counters.hits.fetch_add(hits, Relaxed);
        counters
            .hit_bytes
            .fetch_add((assembly.out.len() - missed) as u64, Relaxed);
        counters
            .misses
            .fetch_add(assembly.missing.len() as u64, Relaxed);
        Some(assembly)
    }

    /// Gets the missing pieces from the store, or from others who are getting them.
    fn complete(&self, assembly: &mut Assembly) -> Result<()> {
        while !assembly.missing.is_empty() {
            let mut claims = Vec::new();
            let mut others = Vec::new();
            for piece in std::mem::take(&mut assembly.missing) {
                match self.cache.flights.claim(self.key(piece)) {
                    // It may have been kept since it was missed.
                    Ok(claim) => {
                        if !self.read_piece(assembly, piece) {
                            claims.push(claim);
                        }
                    }
                    Err(flight) => others.push((piece, flight)),
                }
            }
            self.fetch(assembly, claims)?;
            self.await_others(assembly, others);
        }
        Ok(())
    }

    /// Fetches the claimed pieces with one read.
    fn fetch(&self, assembly: &mut Assembly, claims: Vec<Claim<'_>>) -> Result<()> {
        let (Some(first), Some(last)) = (claims.first(), claims.last()) else {
            return Ok(());
        };
        let start = u64::from(first.key().piece) * PIECE as u64;
        let end = (u64::from(last.key().piece) + 1) * PIECE as u64;
        let size = self.size()?;
        if assembly.range().end > size {
            let range = assembly.range();
            return Err(Error::corruption(format!(
                "read object {}: it ends at byte {size}, before the range {}..{} does",
                self.key, range.start, range.end
            )));
        }
        let end = end.min(size);
        let bytes = self.inner.read(start..end)?;
        if bytes.len() as u64 != end - start {
            return Err(Error::corruption(format!(
                "read object {}: {} bytes instead of {} at byte {start}",
                self.key,
                bytes.len(),
                end - start
            )));
        }
        self.cache
            .counters
            .fetched_bytes
            .fetch_add(bytes.len() as u64, Relaxed);
        for claim in claims {
            let key = claim.key();
            let from = (u64::from(key.piece) * PIECE as u64 - start) as usize;
            let piece = bytes.slice(from..bytes.len().min(from + PIECE));
            assembly.take(key.piece, &piece);
            self.cache.insert(key, &piece);
            claim.land(piece);
        }
        Ok(())
    }

    fn await_others(&self, assembly: &mut Assembly, others: Vec<(u32, Arc<Flight>)>) {
        for (piece, flight) in others {
            let arrived = flight
                .wait()
                .is_some_and(|bytes| assembly.take(piece, &bytes));
            if !arrived {
                assembly.missing.push(piece);
            }
        }
    }
}

impl ObjectReader for CachedReader {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let Some(mut assembly) = self.look_up(&range) else {
            return self.inner.read(range);
        };
        self.complete(&mut assembly)?;
        Ok(assembly.out.into())
    }

    fn read_once(&self, range: Range<u64>) -> Result<Bytes> {
        let Some(mut assembly) = self.look_up(&range) else {
            return self.inner.read_once(range);
        };
        let (Some(&first), Some(&last)) = (assembly.missing.first(), assembly.missing.last())
        else {
            return Ok(assembly.out.into());
        };
        let (from, to) = (assembly.part(first).1.start, assembly.part(last).1.end);
        let wanted = range.start + from as u64..range.start + to as u64;
        let bytes = self.inner.read_once(wanted)?;
        match assembly.out.get_mut(from..to) {
            Some(place) if place.len() == bytes.len() => place.copy_from_slice(&bytes),
            _ => {
                return Err(Error::corruption(format!(
                    "read object {}: {} bytes instead of {}",
                    self.key,
                    bytes.len(),
                    to - from
                )));
            }
        }
        Ok(assembly.out.into())
    }

    fn forget(&self, range: Range<u64>) -> bool {
        let (Some(first), Some(last)) =
            (piece_of(range.start), piece_of(range.end.saturating_sub(1)))
        else {
            return false;
        };
        let gone = (first..=last).filter(|&piece| self.cache.remove(self.key(piece)));
        gone.count() > 0
    }
}

struct CachedWriter {
    /// Gone once it is finished or has failed.
    inner: Option<Box<dyn ObjectWriter>>,
    cache: Arc<DiskCache>,
    file: u64,
    piece: u32,
    buffer: Vec<u8>,
}

impl CachedWriter {
    fn keep(&mut self, bytes: &[u8]) {
        let key = PieceKey {
            file: self.file,
            piece: self.piece,
        };
        self.cache.insert(key, bytes);
        self.piece = self.piece.saturating_add(1);
    }
}

impl ObjectWriter for CachedWriter {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        match &mut self.inner {
            Some(inner) => inner.append(data)?,
            None => return Err(Error::invalid("the object is finished")),
        }
        let mut rest = data;
        while self.buffer.len() + rest.len() >= PIECE {
            let (part, after) = rest.split_at(PIECE - self.buffer.len());
            rest = after;
            if self.buffer.is_empty() {
                self.keep(part);
            } else {
                let mut piece = std::mem::take(&mut self.buffer);
                piece.extend_from_slice(part);
                self.keep(&piece);
                piece.clear();
                self.buffer = piece;
            }
        }
        self.buffer.extend_from_slice(rest);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let Some(inner) = self.inner.take() else {
            return Err(Error::invalid("the object is finished"));
        };
        let finished = inner.finish();
        if finished.is_ok() {
            let last = std::mem::take(&mut self.buffer);
            self.keep(&last);
        } else {
            self.cache.remove_file(self.file);
        }
        finished
    }
}

impl Drop for CachedWriter {
    fn drop(&mut self) {
        if self.inner.is_some() {
            self.cache.remove_file(self.file);
        }
    }
}
