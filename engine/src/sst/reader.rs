//! Reads an SST in place.
//!
//! Opening takes one read of the file's last bytes; footer, properties and top index stay in the reader. Index partitions, the filter
//! and data blocks go through the block cache. A lookup goes filter → top index → partition → data block; with all
//! three in the cache it allocates nothing and does no I/O.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::pinned::PinnedBytes;
use crate::cache::{BlockCache, BlockKey, BlockKind, CachedBlock};
use crate::format::block::{Block, Hit};
use crate::format::filter::FilterBlock;
use crate::format::properties::Properties;
use crate::format::sst::{FOOTER_LEN, Footer};
use crate::format::stored_block::{BlockHandle, unseal};
use crate::object_store::{ObjectReader, Pending, Prefetcher};
use crate::types::{KeyRef, SeqNo, ValueKind};
use crate::{Error, ErrorKind, Result, ResultExt};

/// The sequence number that entries are written with where the commit has none yet.
pub const UNNUMBERED: SeqNo = 0;

/// How much of the end of a file is read at once to open it.
const OPEN_READ_LEN: u64 = 32 << 10;
/// Of a file of a distant store whose tail's length is not known, one in this many bytes.
const TAIL_SHARE: u64 = 24;
/// No more than this is read at once to open a file.
const MAX_TAIL: u64 = 64 << 20;

/// The newest version of a key that a lookup may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The version's sequence number.
    pub seq: SeqNo,
    /// What it says.
    pub kind: ValueKind,
    /// Its value, in the block that it was found in.
    pub value: PinnedBytes,
}

/// The stored bytes of a block.
pub(super) enum StoredBlock {
    /// Read for themselves.
    Whole(Bytes),
    /// A part of what was read ahead.
    Part(Bytes),
}

/// An open SST. See the module's description.
pub struct SstReader {
    reader: Arc<dyn ObjectReader>,
    file_id: u64,
    cache: Arc<BlockCache>,
    filter: Option<BlockHandle>,
    properties: Properties,
    top_index: Arc<Block>,
    /// Where the blocks end and the footer begins.
    blocks_end: u64,
    /// What all entries have for a sequence number, whatever is stored.
    file_seq: Option<SeqNo>,
    /// Where reads ahead are made, if the store is distant.
    prefetcher: Option<Arc<Prefetcher>>,
}

/// The end of a file.
struct Tail {
    offset: u64,
    bytes: Bytes,
}

impl Tail {
    /// A stored block, if it is in there; a copy, so that a small block does not keep the whole read in memory.
    fn block(&self, handle: BlockHandle) -> Option<Bytes> {
        let from = usize::try_from(handle.offset.checked_sub(self.offset)?).ok()?;
        let end = from.checked_add(usize::try_from(handle.len).ok()?)?;
        Some(Bytes::copy_from_slice(self.bytes.get(from..end)?))
    }
}

fn is_corruption<T>(result: &Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::Corruption)
}

impl SstReader {
    /// Opens the file of `size` bytes behind `reader`. `file_id` names it in the cache and in errors.
    pub fn open(
        reader: Arc<dyn ObjectReader>,
        file_id: u64,
        size: u64,
        cache: Arc<BlockCache>,
    ) -> Result<Self> {
        Self::open_from(reader, file_id, size, OPEN_READ_LEN, cache).map(|(opened, _)| opened)
    }

    /// Opens a file of a distant store with one read: its last `tail` bytes are filter, index and all that follows, which go to the cache at once, so that a
    /// lookup needs one read more. Without `tail` its length is guessed; where the guess is too small, more reads are needed.
    /// Scans read ahead by way of `prefetcher`.
    pub fn open_distant(
        reader: Arc<dyn ObjectReader>,
        file_id: u64,
        size: u64,
        tail: Option<u64>,
        cache: Arc<BlockCache>,
        prefetcher: Arc<Prefetcher>,
    ) -> Result<Self> {
        let guess = (size / TAIL_SHARE).max(OPEN_READ_LEN);
        let tail = tail.unwrap_or(guess);
        let (mut opened, tail) = Self::open_from(reader, file_id, size, tail, cache)?;
        opened.cache_tail(&tail);
        opened.prefetcher = Some(prefetcher);
        Ok(opened)
    }

    fn open_from(
        reader: Arc<dyn ObjectReader>,
        file_id: u64,
        size: u64,
        tail_len: u64,
        cache: Arc<BlockCache>,
    ) -> Result<(Self, Tail)> {
        let tail_at = size.saturating_sub(tail_len.clamp(FOOTER_LEN as u64, MAX_TAIL));
        let open = || Self::open_inner(&reader, file_id, size, tail_at, &cache);
        let mut opened = open();
        if is_corruption(&opened) && reader.forget(tail_at..size) {
            opened = open();
        }
        opened.context(|| format!("open SST {file_id}"))
    }

    fn open_inner(
        reader: &Arc<dyn ObjectReader>,
        file_id: u64,
        size: u64,
        tail_at: u64,
        cache: &Arc<BlockCache>,
    ) -> Result<(Self, Tail)> {
        let tail = reader.read(tail_at..size)?;
        if tail.len() as u64 != size - tail_at {
            return Err(Error::corruption("the file is shorter than its size"));
        }
        let footer = tail
            .last_chunk::<FOOTER_LEN>()
            .ok_or_else(|| Error::corruption(format!("{size} bytes are too few for an SST")))?;
        let footer = Footer::decode(footer, size)?;
        let tail = Tail {
            offset: tail_at,
            bytes: tail,
        };
        let load = |handle: BlockHandle, what: &str| {
            let stored = match tail.block(handle) {
                Some(stored) => Ok(stored),
                None => reader.read(handle.offset..handle.end()),
            };
            stored
                .and_then(|stored| unseal(stored, handle.offset))
                .context(|| format!("read {what} at byte {}", handle.offset))
        };
        let properties = load(footer.properties, "properties")?;
        let properties = Properties::decode(&properties).context(|| "read properties")?;
        let top_index = load(footer.top_index, "top index")?;
        let top_index = parse(top_index, BlockKind::Index).context(|| "read top index")?;
        let opened = Self {
            reader: reader.clone(),
            file_id,
            cache: cache.clone(),
            filter: footer.filter,
            properties,
            top_index,
            blocks_end: size - FOOTER_LEN as u64,
            file_seq: None,
            prefetcher: None,
        };
        Ok((opened, tail))
    }

    /// Caches filter and index as far as they were read. What is wrong with one is told to who needs it.
    fn cache_tail(&self, tail: &Tail) {
        let unsealed = |handle: BlockHandle| {
            let stored = tail.block(handle)?;
            unseal(stored, handle.offset).ok()
        };
        if let Some(handle) = self.filter
            && let Some(raw) = unsealed(handle)
            && let Ok(filter) = FilterBlock::parse(raw)
        {
            let block = CachedBlock::Filter(Arc::new(filter));
            let _ = self.cache.load(self.key_of(handle), || Ok(block));
        }
        let handles = (0..self.top_index.intervals())
            .filter_map(|i| self.top_index.fixed_value(i).map(BlockHandle::decode));
        for handle in handles {
            if let Some(raw) = unsealed(handle)
                && let Ok(partition) = parse(raw, BlockKind::Index)
            {
                let block = CachedBlock::Entries(partition);
                let _ = self.cache.load(self.key_of(handle), || Ok(block));
            }
        }
    }

    /// Gives all entries of a file that was written without numbers this one, or says of any other file that it has its own.
    /// [`ErrorKind::Corruption`] if the file says otherwise. A file without numbers has one entry a user key.
    pub fn with_file_seq(mut self, file_seq: Option<SeqNo>) -> Result<Self> {
        let stored = self.properties.smallest_seq..=self.properties.largest_seq;
        let numbered = stored != (UNNUMBERED..=UNNUMBERED);
        if self.properties.entries > 0 && numbered == file_seq.is_some() {
            return Err(Error::corruption(format!(
                "open SST {}: its sequence numbers are {} to {}, but it is known with {}",
                self.file_id,
                stored.start(),
                stored.end(),
                file_seq.map_or("its own".to_owned(), |seq| format!("{seq} for all")),
            )));
        }
        self.file_seq = file_seq;
        Ok(self)
    }

    /// The sequence number of all entries, if it is not for each to say.
    pub fn file_seq(&self) -> Option<SeqNo> {
        self.file_seq
    }

    /// What the file holds.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The id that it was opened with.
    pub fn file_id(&self) -> u64 {
        self.file_id
    }

    /// Bytes of memory that the reader itself keeps, beside the cache.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.top_index.data().len()
            + self.properties.indexes.len() * size_of::<crate::format::properties::IndexStats>()
            + self.properties.smallest.as_bytes().len()
            + self.properties.largest.as_bytes().len()
    }

    /// The newest version of `user_key` at or before `snapshot`. `key_hash` is [`super::key_hash`] of the key, which
    /// the caller computes once for all files that it asks.
    pub fn get(&self, user_key: &[u8], key_hash: u64, snapshot: SeqNo) -> Result<Option<Found>> {
        self.get_inner(user_key, key_hash, snapshot)
            .context(|| self.describe())
    }

    fn get_inner(&self, user_key: &[u8], key_hash: u64, snapshot: SeqNo) -> Result<Option<Found>> {
        if !self.filter_admits(key_hash)? {
            return Ok(None);
        }
        let target = match self.file_seq {
            None => KeyRef::at(user_key, snapshot),
            Some(seq) if snapshot < seq => return Ok(None),
            Some(_) => KeyRef::before(user_key),
        };
        let Some(handle) = self.find_block(target)? else {
            return Ok(None);
        };
        let block = self.block(handle, BlockKind::Data, true)?;
        // If the key is in the file, it is in this block: the separator before it is smaller, its own is not.
        match block.lower_bound(target)? {
            Some(hit) if hit.same_user => found(block, hit, self.file_seq).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether a key with this hash may be in the file. `false` is certain.
    pub fn may_contain(&self, key_hash: u64) -> Result<bool> {
        self.filter_admits(key_hash).context(|| self.describe())
    }

    fn filter_admits(&self, key_hash: u64) -> Result<bool> {
        let Some(handle) = self.filter else {
            return Ok(self.properties.entries != 0);
        };
        let cached = self
            .cache
            .get_or_load(self.key_of(handle), BlockKind::Filter, || {
                let raw = self.read(handle)?;
                Ok(CachedBlock::Filter(Arc::new(FilterBlock::parse(raw)?)))
            })
            .context(|| format!("read filter at byte {}", handle.offset))?;
        match cached {
            CachedBlock::Filter(filter) => Ok(filter.may_contain(key_hash)),
            CachedBlock::Entries(_) => Err(mixed_up(handle)),
        }
    }

    /// The data block in which `target` or its successor is, by the index; `None` behind the last.
    fn find_block(&self, target: KeyRef<'_>) -> Result<Option<BlockHandle>> {
        let Some(partition) = lookup(&self.top_index, target)? else {
            return Ok(None);
        };
        let partition = self.block(partition, BlockKind::Index, true)?;
        lookup(&partition, target)
    }

    /// About where in the file's data `key` is or would be: the offset of its block. 0 before the first key, the length of all data behind
    /// the last.
    pub fn approximate_offset(&self, key: KeyRef<'_>) -> Result<u64> {
        let found = self.find_block(key).context(|| self.describe())?;
        Ok(found.map_or(self.properties.data_end, |handle| handle.offset))
    }

    /// The same, unless something would have to be read for it.
    pub fn cached_offset(&self, key: KeyRef<'_>) -> Result<Option<u64>> {
        let found = || {
            let Some(partition) = lookup(&self.top_index, key)? else {
                return Ok(Some(self.properties.data_end));
            };
            let Some(partition) = self.cached_block(partition, BlockKind::Index)? else {
                return Ok(None);
            };
            let handle = lookup(&partition, key)?;
            Ok(Some(
                handle.map_or(self.properties.data_end, |handle| handle.offset),
            ))
        };
        found().context(|| self.describe())
    }

    pub(super) fn top_index(&self) -> &Arc<Block> {
        &self.top_index
    }

    pub(super) fn describe(&self) -> String {
        format!("read SST {}", self.file_id)
    }

    fn key_of(&self, handle: BlockHandle) -> BlockKey {
        BlockKey {
            file_id: self.file_id,
            offset: handle.offset,
        }
    }

    /// The block if it is cached.
    pub(super) fn cached_block(
        &self,
        handle: BlockHandle,
        kind: BlockKind,
    ) -> Result<Option<Arc<Block>>> {
        match self.cache.get(self.key_of(handle), kind) {
            Some(CachedBlock::Entries(block)) => Ok(Some(block)),
            Some(CachedBlock::Filter(_)) => Err(mixed_up(handle)),
            None => Ok(None),
        }
    }

    /// The block, from the cache or the file; kept in the cache if `fill`.
    pub(super) fn block(
        &self,
        handle: BlockHandle,
        kind: BlockKind,
        fill: bool,
    ) -> Result<Arc<Block>> {
        let load = || {
            parse(self.read(handle)?, kind)
                .context(|| format!("read block at byte {}", handle.offset))
        };
        if !fill {
            return match self.cached_block(handle, kind)? {
                Some(block) => Ok(block),
                None => load(),
            };
        }
        let cached = self.cache.get_or_load(self.key_of(handle), kind, || {
            Ok(CachedBlock::Entries(load()?))
        })?;
        match cached {
            CachedBlock::Entries(block) => Ok(block),
            CachedBlock::Filter(_) => Err(mixed_up(handle)),
        }
    }

    /// A block whose stored bytes were read; kept in the cache if `fill`.
    pub(super) fn block_from(
        &self,
        handle: BlockHandle,
        stored: StoredBlock,
        fill: bool,
    ) -> Result<Arc<Block>> {
        let load = || {
            let (stored, part) = match stored {
                StoredBlock::Whole(stored) => (stored, false),
                StoredBlock::Part(stored) => (stored, true),
            };
            let raw = match self.unseal(stored.clone(), handle) {
                // A block that is kept must not keep all that was read with it.
                Ok(raw) if part && fill && raw.as_ptr() == stored.as_ptr() => {
                    Ok(Bytes::copy_from_slice(&raw))
                }
                raw => raw,
            };
            raw.and_then(|raw| parse(raw, BlockKind::Data))
                .context(|| format!("read block at byte {}", handle.offset))
        };
        if !fill {
            return load();
        }
        let cached = self
            .cache
            .load(self.key_of(handle), || Ok(CachedBlock::Entries(load()?)))?;
        match cached {
            CachedBlock::Entries(block) => Ok(block),
            CachedBlock::Filter(_) => Err(mixed_up(handle)),
        }
    }

    fn read(&self, handle: BlockHandle) -> Result<Bytes> {
        self.read_stored(handle.offset, handle.len, false)
            .and_then(|stored| self.unseal(stored, handle))
            .context(|| format!("read block at byte {}", handle.offset))
    }

    /// The raw block out of its stored bytes. Where a cache gave wrong ones, the store is asked again.
    fn unseal(&self, stored: Bytes, handle: BlockHandle) -> Result<Bytes> {
        let raw = unseal(stored, handle.offset);
        if !is_corruption(&raw) || !self.reader.forget(handle.offset..handle.end()) {
            return raw;
        }
        let again = self.read_stored(handle.offset, handle.len, false)?;
        unseal(again, handle.offset)
    }

    pub(super) fn prefetcher(&self) -> Option<&Prefetcher> {
        self.prefetcher.as_deref()
    }

    /// Begins reading a part of the file's data ahead of need.
    pub(super) fn read_ahead(
        &self,
        prefetcher: &Prefetcher,
        range: Range<u64>,
        once: bool,
    ) -> Option<Pending<Bytes>> {
        let within = range.start < range.end && range.end <= self.blocks_end;
        within.then(|| prefetcher.read(&self.reader, range, once))?
    }

    /// `len` bytes from `offset`, which have to lie within the blocks. With `once` no cache of the store is to keep them.
    pub(super) fn read_stored(&self, offset: u64, len: u64, once: bool) -> Result<Bytes> {
        let end = offset
            .checked_add(len)
            .filter(|&end| end <= self.blocks_end);
        let Some(end) = end else {
            return Err(Error::corruption(format!(
                "a block at byte {offset} of {len} bytes lies outside the file"
            )));
        };
        let bytes = match once {
            true => self.reader.read_once(offset..end)?,
            false => self.reader.read(offset..end)?,
        };
        if bytes.len() as u64 != len {
            return Err(Error::corruption(format!(
                "read {} bytes instead of {len} at byte {offset}",
                bytes.len()
            )));
        }
        Ok(bytes)
    }
}

fn found(block: Arc<Block>, hit: Hit, file_seq: Option<SeqNo>) -> Result<Found> {
    let kind = hit.head.kind();
    let kind = ValueKind::from_u8(kind)
        .ok_or_else(|| Error::corruption(format!("entry of unknown kind {kind}")))?;
    Ok(Found {
        seq: file_seq.unwrap_or(hit.seq),
        kind,
        value: PinnedBytes::in_block(block, hit.value_at..hit.value_at + hit.head.value_len),
    })
}

/// The handle of the first separator at or after `target`.
#[inline]
fn lookup(index: &Block, target: KeyRef<'_>) -> Result<Option<BlockHandle>> {
    let i = index.first_point_at_or_after(target)?;
    Ok(index.fixed_value(i).map(BlockHandle::decode))
}

/// Parses a block, and checks that an index is one: numbered handles.
fn parse(raw: Bytes, kind: BlockKind) -> Result<Arc<Block>> {
    let block = Block::parse(raw)?;
    if kind == BlockKind::Index {
        let values = block.values_end() - block.heads().len();
        let count = block.count() as usize;
        if count != block.intervals() || values != count * BlockHandle::LEN {
            return Err(Error::corruption("malformed index"));
        }
    }
    Ok(Arc::new(block))
}

fn mixed_up(handle: BlockHandle) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!(
            "the cache holds a block of another kind for byte {}",
            handle.offset
        ),
    )
}
