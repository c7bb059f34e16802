//! Checks a whole SST: every byte of it belongs to a piece whose checksum is right, and what the pieces say agrees.
//!
//! It reads the file once from front to back and its end twice, and goes on after what it finds wrong as far as that allows.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::block_cursor::BlockCursor;
use crate::format::block::Block;
use crate::format::filter::{FilterBlock, key_hash};
use crate::format::properties::{IndexStats, Properties};
use crate::format::sst::{FOOTER_LEN, Footer};
use crate::format::stored_block::{BlockHandle, unseal};
use crate::iter::InternalIterator;
use crate::object_store::ObjectReader;
use crate::types::{InternalKeyBuf, KeyRef, SeqNo, ValueKind, index_id_of};
use crate::{Error, ErrorKind, Result};

/// Bytes that are read at once.
const WINDOW: u64 = 4 << 20;

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where the piece begins that it is about.
    pub offset: u64,
    /// What is wrong.
    pub message: String,
}

/// What a file was found to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Everything that is wrong; empty for a sound file.
    pub findings: Vec<Finding>,
    /// Number of entries, deletions included.
    pub entries: u64,
    /// How many of them are deletions.
    pub deletions: u64,
    /// Bytes of all user keys.
    pub key_bytes: u64,
    /// Bytes of all values.
    pub value_bytes: u64,
    /// Number of data blocks.
    pub data_blocks: u64,
    /// The first key.
    pub smallest: InternalKeyBuf,
    /// The last key.
    pub largest: InternalKeyBuf,
    /// The smallest sequence number.
    pub smallest_seq: SeqNo,
    /// The largest sequence number.
    pub largest_seq: SeqNo,
    /// By index, ascending.
    pub indexes: Vec<IndexStats>,
    /// The offset behind the last data block.
    pub data_end: u64,
}

/// Checks the file of `size` bytes behind `reader`. An error is one of the store; what is wrong with the file is in the result.
pub fn verify(reader: &dyn ObjectReader, size: u64) -> Result<Contents> {
    let mut check = Check {
        file: Windows::new(reader, size),
        pieces: Vec::new(),
        contents: Contents::default(),
        filter: None,
        last: InternalKeyBuf::default(),
    };
    check.run()?;
    Ok(check.contents)
}

/// The file, read in large steps.
struct Windows<'a> {
    reader: &'a dyn ObjectReader,
    size: u64,
    /// One for the data, one for what is behind it.
    held: [(u64, Bytes); 2],
}

impl<'a> Windows<'a> {
    fn new(reader: &'a dyn ObjectReader, size: u64) -> Self {
        Self {
            reader,
            size,
            held: Default::default(),
        }
    }

    fn read(&mut self, which: usize, range: Range<u64>) -> Result<Bytes> {
        let (start, bytes) = &mut self.held[which];
        let holds = *start <= range.start && range.end <= *start + bytes.len() as u64;
        if !holds {
            let end = range
                .end
                .max(range.start.saturating_add(WINDOW))
                .min(self.size);
            *bytes = self.reader.read_once(range.start..end)?;
            *start = range.start;
        }
        let from = (range.start - *start) as usize;
        let to = (range.end - *start) as usize;
        match bytes.get(from..to) {
            Some(_) => Ok(bytes.slice(from..to)),
            None => Err(Error::corruption("the object is shorter than its size")),
        }
    }
}

struct Check<'a> {
    file: Windows<'a>,
    /// Which bytes were checked.
    pieces: Vec<BlockHandle>,
    contents: Contents,
    filter: Option<FilterBlock>,
    last: InternalKeyBuf,
}

impl Check<'_> {
    fn note(&mut self, offset: u64, message: impl Into<String>) {
        self.contents.findings.push(Finding {
            offset,
            message: message.into(),
        });
    }

    /// The value of a result; what is wrong with the file's bytes is noted.
    fn sound<T>(&mut self, offset: u64, what: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::Corruption => {
                self.note(offset, format!("{what}: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A raw block whose checksum is right.
    fn block(&mut self, handle: BlockHandle, which: usize, what: &str) -> Result<Option<Bytes>> {
        self.pieces.push(handle);
        let end = self.file.size.saturating_sub(FOOTER_LEN as u64);
        if handle.end() > end || handle.len == 0 {
            self.note(
                handle.offset,
                format!("{what} of {} bytes lies outside the file", handle.len),
            );
            return Ok(None);
        }
        let stored = self.file.read(which, handle.offset..handle.end());
        let raw = stored.and_then(|stored| unseal(stored, handle.offset));
        self.sound(handle.offset, what, raw)
    }

    fn run(&mut self) -> Result<()> {
        let size = self.file.size;
        let Some(footer_at) = size.checked_sub(FOOTER_LEN as u64) else {
            self.note(0, format!("{size} bytes are too few for an SST"));
            return Ok(());
        };
        let footer = self.file.read(1, footer_at..size).and_then(|bytes| {
            let bytes = bytes.first_chunk::<FOOTER_LEN>();
            let bytes = bytes.ok_or_else(|| Error::corruption("it ends early"))?;
            Footer::decode(bytes, size)
        });
        let Some(footer) = self.sound(footer_at, "footer", footer)? else {
            return Ok(());
        };
        if let Some(handle) = footer.filter
            && let Some(raw) = self.block(handle, 1, "filter")?
        {
            self.filter = self.sound(handle.offset, "filter", FilterBlock::parse(raw))?;
        }
        let partitions = self.index(footer.top_index, "top index")?;
        let mut complete = partitions.is_some();
        for (separator, partition) in partitions.unwrap_or_default() {
            let blocks = self.index(partition, "index")?;
            complete &= blocks.is_some();
            for (separator, block) in blocks.unwrap_or_default() {
                complete &= self.data(block, &separator)?;
            }
            if self.last > separator {
                self.note(
                    partition.offset,
                    format!(
                        "index: its separator {separator:?} is before its last key {:?}",
                        self.last
                    ),
                );
            }
        }
        let handle = footer.properties;
        let properties = self.block(handle, 1, "properties")?;
        self.contents.largest = self.last.clone();
        if let Some(raw) = properties
            && let Some(properties) =
                self.sound(handle.offset, "properties", Properties::decode(&raw))?
            && complete
        {
            self.compare(handle.offset, &properties);
        }
        if complete {
            self.check_coverage(footer_at);
        }
        Ok(())
    }

    /// Separators and handles of an index block.
    fn index(
        &mut self,
        handle: BlockHandle,
        what: &str,
    ) -> Result<Option<Vec<(InternalKeyBuf, BlockHandle)>>> {
        let Some(raw) = self.block(handle, 1, what)? else {
            return Ok(None);
        };
        let read = Block::parse(raw).and_then(|block| {
            let mut entries: Vec<(InternalKeyBuf, BlockHandle)> = Vec::new();
            let mut cursor = BlockCursor::default();
            cursor.set_block(Arc::new(block));
            cursor.seek_to_first()?;
            while cursor.valid() {
                let key = InternalKeyBuf::from_encoded(cursor.key());
                let value = cursor.value().first_chunk::<{ BlockHandle::LEN }>();
                let value = value.ok_or_else(|| Error::corruption("an entry that is no handle"))?;
                if entries.last().is_some_and(|(last, _)| *last >= key) {
                    return Err(Error::corruption("separators do not ascend"));
                }
                entries.push((key, BlockHandle::decode(*value)));
                cursor.next()?;
            }
            Ok(entries)
        });
        self.sound(handle.offset, what, read)
    }

    /// Checks a data block, whose keys are at or before `separator`; `false` if it could not be read.
    fn data(&mut self, handle: BlockHandle, separator: &InternalKeyBuf) -> Result<bool> {
        self.contents.data_blocks += 1;
        self.contents.data_end = self.contents.data_end.max(handle.end());
        let Some(raw) = self.block(handle, 0, "data block")? else {
            return Ok(false);
        };
        let entries = Block::parse(raw).and_then(|block| {
            let mut cursor = BlockCursor::default();
            cursor.set_block(Arc::new(block));
            cursor.seek_to_first()?;
            while cursor.valid() {
                self.entry(handle.offset, cursor.key(), cursor.value());
                cursor.next()?;
            }
            Ok(())
        });
        let whole = self.sound(handle.offset, "data block", entries)?.is_some();
        if self.last > *separator {
            self.note(
                handle.offset,
                format!(
                    "data block: its last key {:?} is behind its separator {separator:?}",
                    self.last
                ),
            );
        }
        Ok(whole)
    }

    fn entry(&mut self, offset: u64, internal: &[u8], value: &[u8]) {
        let key = KeyRef::decode(internal);
        let first = self.contents.entries == 0;
        if !first && self.last.as_ref() >= key {
            let last = self.last.clone();
            self.note(
                offset,
                format!("data block: key {key:?} does not follow {last:?}"),
            );
        }
        let kind = key.kind();
        if kind.is_none() {
            self.note(
                offset,
                format!("data block: key {key:?} is of unknown kind"),
            );
        }
        if (first || self.last.user_key() != key.user)
            && let Some(filter) = &self.filter
            && !filter.may_contain(key_hash(key.user))
        {
            self.note(offset, format!("data block: the filter denies key {key:?}"));
        }
        let contents = &mut self.contents;
        let deletions = u64::from(kind == Some(ValueKind::Delete));
        let (key_bytes, value_bytes) = (key.user.len() as u64, value.len() as u64);
        if first {
            contents.smallest = InternalKeyBuf::from_encoded(internal);
            contents.smallest_seq = key.seq();
        }
        contents.entries += 1;
        contents.deletions += deletions;
        contents.key_bytes += key_bytes;
        contents.value_bytes += value_bytes;
        contents.smallest_seq = contents.smallest_seq.min(key.seq());
        contents.largest_seq = contents.largest_seq.max(key.seq());
        if let Some(index_id) = index_id_of(key.user) {
            let same = contents.indexes.last_mut();
            match same.filter(|stats| stats.index_id == index_id) {
                Some(stats) => {
                    stats.entries += 1;
                    stats.deletions += deletions;
                    stats.key_bytes += key_bytes;
                    stats.value_bytes += value_bytes;
                }
                None => contents.indexes.push(IndexStats {
                    index_id,
                    entries: 1,
                    deletions,
                    key_bytes,
                    value_bytes,
                }),
            }
        }
        self.last.set(key.user, key.trailer);
    }

    fn compare(&mut self, offset: u64, said: &Properties) {
        let found = &self.contents;
        let numbers = [
            ("entries", said.entries, found.entries),
            ("deletions", said.deletions, found.deletions),
            ("bytes of keys", said.key_bytes, found.key_bytes),
            ("bytes of values", said.value_bytes, found.value_bytes),
            (
                "smallest sequence number",
                said.smallest_seq,
                found.smallest_seq,
            ),
            (
                "largest sequence number",
                said.largest_seq,
                found.largest_seq,
            ),
            ("end of data", said.data_end, found.data_end),
            ("data blocks", said.data_blocks, found.data_blocks),
        ];
        let mut wrong: Vec<String> = numbers
            .iter()
            .filter(|(_, said, found)| said != found)
            .map(|(what, said, found)| {
                format!("properties: {what}: it says {said}, there are {found}")
            })
            .collect();
        if (&said.smallest, &said.largest) != (&found.smallest, &found.largest) {
            wrong.push(format!(
                "properties: it says keys {:?} to {:?}, there are {:?} to {:?}",
                said.smallest, said.largest, found.smallest, found.largest
            ));
        }
        if said.indexes != found.indexes {
            wrong.push("properties: statistics by index are not those of the entries".to_owned());
        }
        for message in wrong {
            self.note(offset, message);
        }
    }

    /// Whether the pieces that were checked make up all that is before the footer.
    fn check_coverage(&mut self, end: u64) {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.sort_unstable_by_key(|piece| piece.offset);
        let mut at = 0;
        for piece in pieces {
            if piece.offset != at {
                self.note(
                    at.min(piece.offset),
                    format!(
                        "bytes {at} to {} belong to no block, or to two",
                        piece.offset
                    ),
                );
            }
            at = piece.end();
        }
        if at != end {
            self.note(at, format!("bytes {at} to {end} belong to no block"));
        }
    }
}
