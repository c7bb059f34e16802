//! Writes an SST from ascending entries.
//!
//! Data blocks go out as they fill; index partitions, the filter and the rest follow at the end, so that a reader gets what it needs
//! to open a file with one read of its last bytes. Memory: one data block, 8 bytes for each user key for the filter, and
//! the index. Nothing exists in the store until [`SstBuilder::finish`] returns.

use crate::format::block_builder::BlockBuilder;
use crate::format::clear_buffer;
use crate::format::compression::{Compression, Compressor};
use crate::format::filter::{self, key_hash};
use crate::format::properties::{IndexStats, Properties};
use crate::format::sst::{FOOTER_LEN, Footer};
use crate::format::stored_block::{BlockHandle, seal};
use crate::object_store::ObjectWriter;
use crate::types::{InternalKeyBuf, KeyRef, SeqNo, ValueKind, decode_trailer, index_id_of};
use crate::{Error, ErrorKind, Result};

/// Entries between two restart points of a data block.
const DATA_RESTART_INTERVAL: usize = 16;

/// Index entries are all restart points: a search in an index is one in its digests.
const INDEX_RESTART_INTERVAL: usize = 1;

const MIN_BLOCK_SIZE: usize = 1 << 10;
const MAX_BLOCK_SIZE: usize = 16 << 20;

/// Bytes gathered before they are handed to the object writer.
const WRITE_SIZE: usize = 256 << 10;

/// How an SST is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SstOptions {
    /// Uncompressed bytes of a block, 1 KiB to 16 MiB. A larger entry makes a larger block.
    pub block_size: usize,
    /// Compression of the blocks.
    pub compression: Compression,
    /// The level for [`Compression::Zstd`].
    pub zstd_level: i32,
    /// Whether the file gets a filter.
    pub filter: bool,
    /// Name and version of the program that writes the file, kept in its properties.
    pub creator: &'static str,
}

impl Default for SstOptions {
    fn default() -> Self {
        Self {
            block_size: 16 << 10,
            compression: Compression::default(),
            zstd_level: 3,
            filter: true,
            creator: concat!("smartengine ", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SstSummary {
    /// Size of the file in bytes.
    pub size: u64,
    /// How many of them are behind the data: filter, index and whatever else is needed to open it.
    pub tail: u64,
    /// The first key.
    pub smallest: InternalKeyBuf,
    /// The last key.
    pub largest: InternalKeyBuf,
    /// The smallest sequence number.
    pub smallest_seq: SeqNo,
    /// The largest sequence number.
    pub largest_seq: SeqNo,
    /// Number of entries, deletions included.
    pub entries: u64,
    /// How many of them are deletions.
    pub deletions: u64,
    /// Bytes of all user keys, uncompressed.
    pub key_bytes: u64,
    /// Bytes of all values, uncompressed.
    pub value_bytes: u64,
    /// By index, ascending.
    pub indexes: Vec<IndexStats>,
}

/// Writes one SST. See the module's description.
pub struct SstBuilder {
    writer: Box<dyn ObjectWriter>,
    options: SstOptions,
    compressor: Option<Compressor>,
    out: Vec<u8>,
    written: u64,
    block: BlockBuilder,
    last_key: Vec<u8>,
    index: IndexBuilder,
    hashes: Vec<u64>,
    properties: Properties,
}

impl SstBuilder {
    /// A builder that writes to `writer`.
    pub fn new(writer: Box<dyn ObjectWriter>, mut options: SstOptions) -> Self {
        options.block_size = options.block_size.clamp(MIN_BLOCK_SIZE, MAX_BLOCK_SIZE);
        Self {
            writer,
            compressor: None,
            out: Vec::new(),
            written: 0,
            block: BlockBuilder::new(DATA_RESTART_INTERVAL),
            last_key: Vec::new(),
            index: IndexBuilder::new(options.block_size),
            hashes: Vec::new(),
            properties: Properties {
                smallest_seq: SeqNo::MAX,
                creator: options.creator.into(),
                ..Properties::default()
            },
            options,
        }
    }

    /// Appends an entry. Keys have to ascend strictly in internal-key order: [`ErrorKind::Internal`] otherwise.
    pub fn add(&mut self, internal_key: &[u8], value: &[u8]) -> Result<()> {
        let key = KeyRef::decode(internal_key);
        let (seq, kind) = decode_trailer(key.trailer);
        let Some(kind) = ValueKind::from_u8(kind) else {
            return Err(self.refuse(key, "has an unknown kind"));
        };
        let first = self.properties.entries == 0;
        let last = KeyRef::decode(&self.last_key);
        if !first && last >= key {
            return Err(self.refuse(key, "does not follow the key before it"));
        }
        let new_user_key = first || last.user != key.user;
        if !self.block.is_empty()
            && self.block.len() + self.block.cost_of(key, value) > self.options.block_size
        {
            self.finish_block(Some(key))?;
        }
        self.block.add(key, value);
        if new_user_key && self.options.filter {
            self.hashes.push(key_hash(key.user));
        }
        if first {
            self.properties.smallest = InternalKeyBuf::from_encoded(internal_key);
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(internal_key);
        self.count(key, seq, kind, value);
        Ok(())
    }

    fn refuse(&self, key: KeyRef<'_>, why: &str) -> Error {
        Error::new(
            ErrorKind::Internal,
            format!(
                "write SST: key {key:?} {why} (after {:?})",
                KeyRef::decode(&self.last_key)
            ),
        )
    }

    fn count(&mut self, key: KeyRef<'_>, seq: SeqNo, kind: ValueKind, value: &[u8]) {
        let properties = &mut self.properties;
        let deletions = u64::from(kind == ValueKind::Delete);
        let (key_bytes, value_bytes) = (key.user.len() as u64, value.len() as u64);
        properties.entries += 1;
        properties.deletions += deletions;
        properties.key_bytes += key_bytes;
        properties.value_bytes += value_bytes;
        properties.smallest_seq = properties.smallest_seq.min(seq);
        properties.largest_seq = properties.largest_seq.max(seq);
        let Some(index_id) = index_id_of(key.user) else {
            return;
        };
        if properties
            .indexes
            .last()
            .is_none_or(|stats| stats.index_id != index_id)
        {
            properties.indexes.push(IndexStats {
                index_id,
                ..IndexStats::default()
            });
        }
        if let Some(stats) = properties.indexes.last_mut() {
            stats.entries += 1;
            stats.deletions += deletions;
            stats.key_bytes += key_bytes;
            stats.value_bytes += value_bytes;
        }
    }

    /// About how large the file would be if it were finished now.
    pub fn estimated_size(&self) -> u64 {
        let filter = self.hashes.len() as u64 * 9 / 8;
        self.written + self.block.len() as u64 + self.index.len() + filter + FOOTER_LEN as u64
    }

    /// Number of entries so far.
    pub fn entries(&self) -> u64 {
        self.properties.entries
    }

    /// Writes what is left and makes the object appear.
    pub fn finish(mut self) -> Result<SstSummary> {
        if !self.block.is_empty() {
            self.finish_block(None)?;
        }
        let mut properties = std::mem::take(&mut self.properties);
        properties.data_end = self.written;
        properties.largest = InternalKeyBuf::from_encoded(std::mem::take(&mut self.last_key));
        if properties.entries == 0 {
            properties.smallest_seq = 0;
        }
        let filter = match filter::build(&std::mem::take(&mut self.hashes)) {
            Some(raw) => Some(self.write_block(&raw)?),
            None => None,
        };
        let top_index = self.write_index()?;
        let properties_handle = self.write_block(&properties.encode())?;
        let top_index = self.write_block(&top_index)?;
        let footer = Footer {
            filter,
            properties: properties_handle,
            top_index,
        };
        self.out.extend_from_slice(&footer.encode());
        self.written += FOOTER_LEN as u64;
        self.writer.append(&self.out)?;
        self.writer.finish()?;
        Ok(SstSummary {
            size: self.written,
            tail: self.written - properties.data_end,
            smallest: properties.smallest,
            largest: properties.largest,
            smallest_seq: properties.smallest_seq,
            largest_seq: properties.largest_seq,
            entries: properties.entries,
            deletions: properties.deletions,
            key_bytes: properties.key_bytes,
            value_bytes: properties.value_bytes,
            indexes: properties.indexes,
        })
    }

    /// Writes the current data block and its index entry. `next` is the key that follows, if one does.
    fn finish_block(&mut self, next: Option<KeyRef<'_>>) -> Result<()> {
        let mut block = std::mem::replace(&mut self.block, BlockBuilder::new(1));
        let handle = block.finish(|raw| self.write_block(raw));
        self.block = block;
        self.properties.data_blocks += 1;
        let last = KeyRef::decode(&self.last_key);
        let separator = next.map_or(last, |next| separator(last, next));
        self.index.add(separator, handle?);
        Ok(())
    }

    /// Writes the index partitions and returns the raw top index.
    fn write_index(&mut self) -> Result<Vec<u8>> {
        let mut top = BlockBuilder::new(INDEX_RESTART_INTERVAL);
        for (last, raw) in self.index.take_partitions() {
            let handle = self.write_block(&raw)?;
            top.add(last.as_ref(), &handle.encode());
        }
        Ok(top.finish(<[u8]>::to_vec))
    }

    fn write_block(&mut self, raw: &[u8]) -> Result<BlockHandle> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            slot => slot.insert(Compressor::new(
                self.options.compression,
                self.options.zstd_level,
            )?),
        };
        let handle = seal(compressor, raw, self.written, &mut self.out)?;
        self.written = handle.end();
        if self.out.len() >= WRITE_SIZE {
            self.writer.append(&self.out)?;
            clear_buffer(&mut self.out);
        }
        Ok(handle)
    }
}

/// Gathers the index: partitions, each with its last separator.
struct IndexBuilder {
    block_size: usize,
    partition: BlockBuilder,
    last: InternalKeyBuf,
    done: Vec<(InternalKeyBuf, Vec<u8>)>,
    done_len: u64,
}

impl IndexBuilder {
    fn new(block_size: usize) -> Self {
        Self {
            block_size,
            partition: BlockBuilder::new(INDEX_RESTART_INTERVAL),
            last: InternalKeyBuf::default(),
            done: Vec::new(),
            done_len: 0,
        }
    }

    fn add(&mut self, separator: KeyRef<'_>, handle: BlockHandle) {
        let handle = handle.encode();
        let cost = self.partition.cost_of(separator, &handle);
        if !self.partition.is_empty() && self.partition.len() + cost > self.block_size {
            self.finish_partition();
        }
        self.partition.add(separator, &handle);
        self.last.set(separator.user, separator.trailer);
    }

    fn finish_partition(&mut self) {
        let raw = self.partition.finish(<[u8]>::to_vec);
        self.done_len += raw.len() as u64;
        self.done.push((std::mem::take(&mut self.last), raw));
    }

    fn take_partitions(&mut self) -> Vec<(InternalKeyBuf, Vec<u8>)> {
        if !self.partition.is_empty() {
            self.finish_partition();
        }
        std::mem::take(&mut self.done)
    }

    fn len(&self) -> u64 {
        self.done_len + self.partition.len() as u64
    }
}

/// A short key at or after `last` and before `next`.
///
/// A prefix of `next` that is longer than what both share by one byte lies between them; it replaces `last` if it is shorter. It stands with
/// the last of all trailers, so that it lies behind all versions of its user key.
fn separator<'a>(last: KeyRef<'a>, next: KeyRef<'a>) -> KeyRef<'a> {
    if last.user == next.user {
        return last;
    }
    let parted = crate::format::block::shared_prefix_len(last.user, next.user) + 1;
    match next.user.get(..parted) {
        Some(prefix) if prefix.len() < next.user.len() && prefix.len() < last.user.len() => {
            KeyRef::after(prefix)
        }
        _ => KeyRef::after(last.user),
    }
}
