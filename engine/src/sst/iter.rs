//! Iterates over an SST: top index → partition → data block, a cursor in each.
//!
//! Blocks that are not cached are read ahead of a scan once it has shown that it is one ([`super::readahead`]).

use std::sync::Arc;

use super::block_cursor::BlockCursor;
use super::index_cursor::IndexCursor;
use super::iter_options::IterOptions;
use super::readahead::Readahead;
use super::reader::SstReader;
use crate::cache::BlockKind;
use crate::iter::InternalIterator;
use crate::types::KeyRef;
use crate::{Result, ResultExt};

impl SstReader {
    /// Iterates over the whole file.
    pub fn iter(self: &Arc<Self>, options: IterOptions) -> SstIter {
        SstIter::new(self.clone(), options)
    }
}

/// A cursor over an SST.
pub struct SstIter {
    reader: Arc<SstReader>,
    options: IterOptions,
    top: IndexCursor,
    partition: IndexCursor,
    data: BlockCursor,
    /// Which block `data` has, and which `partition`.
    data_at: Option<u64>,
    partition_at: Option<u64>,
    readahead: Readahead,
}

impl SstIter {
    fn new(reader: Arc<SstReader>, options: IterOptions) -> Self {
        let mut top = IndexCursor::default();
        top.set_block(reader.top_index().clone());
        Self {
            options,
            top,
            partition: IndexCursor::default(),
            data: BlockCursor::with_seq(reader.file_seq()),
            data_at: None,
            partition_at: None,
            readahead: Readahead::default(),
            reader,
        }
    }

    /// Whether it stands on an entry of this user key that comes before `target`, or with `after` behind it.
    fn stands_beside(&self, target: KeyRef<'_>, after: bool) -> bool {
        if !self.data.valid() {
            return false;
        }
        let key = KeyRef::decode(self.data.key());
        let order = key.trailer.cmp(&target.trailer);
        key.user == target.user
            && match after {
                false => order.is_lt(),
                true => order.is_gt(),
            }
    }

    /// As [`Self::lower_bound`] in a file whose entries all have the same number, not the one stored: a user key has one entry.
    fn lower_bound_numbered(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.lower_bound(KeyRef::before(target.user))?;
        if self.stands_beside(target, false) {
            self.data.next()?;
            self.skip_forward()?;
        }
        Ok(())
    }

    /// As [`Self::upper_bound_back`], likewise.
    fn upper_bound_back_numbered(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.upper_bound_back(KeyRef::after(target.user))?;
        if self.stands_beside(target, true) {
            self.data.prev()?;
            self.skip_backward()?;
        }
        Ok(())
    }

    /// Loads the partition that the top cursor stands on, if it stands on one.
    #[inline]
    fn open_partition(&mut self) -> Result<()> {
        let Some(handle) = self.top.handle() else {
            self.partition.clear();
            self.partition_at = None;
            return Ok(());
        };
        if self.partition_at != Some(handle.offset) {
            self.partition_at = None;
            let block = self.reader.block(handle, BlockKind::Index, true)?;
            self.partition.set_block(block);
            self.partition_at = Some(handle.offset);
        }
        Ok(())
    }

    /// Loads the data block that the partition cursor stands on, if it stands on one.
    #[inline]
    fn open_data(&mut self) -> Result<()> {
        let Some(handle) = self.partition.handle() else {
            self.data.clear();
            self.data_at = None;
            return Ok(());
        };
        if self.data_at != Some(handle.offset) {
            self.data_at = None;
            let block = match self.reader.cached_block(handle, BlockKind::Data)? {
                Some(block) => block,
                None => {
                    let stored = self.readahead.block(&self.reader, &self.options, handle)?;
                    self.reader
                        .block_from(handle, stored, self.options.fill_cache)?
                }
            };
            self.data.set_block(block);
            self.data_at = Some(handle.offset);
        }
        Ok(())
    }

    /// For a scan that comes from another file: it goes on in this direction, as fast as it went there.
    pub fn continue_scan(&mut self, forward: bool) {
        self.options.readahead_at_once = true;
        self.readahead.expect(forward);
    }

    /// In which direction (`true` for forward) the scan goes on, once what was read ahead of it has reached the end of the file; returned once.
    #[inline]
    pub fn take_end_ahead(&mut self) -> Option<bool> {
        self.readahead.take_end()
    }

    /// Moves on to the first entry of the blocks behind, if the current block is used up.
    fn skip_forward(&mut self) -> Result<()> {
        while !self.data.valid() {
            self.partition.next();
            while self.partition.handle().is_none() {
                self.top.next();
                if self.top.handle().is_none() {
                    return Ok(());
                }
                self.open_partition()?;
                self.partition.first();
            }
            self.open_data()?;
            self.data.seek_to_first()?;
        }
        Ok(())
    }

    /// Moves back to the last entry of the blocks before, if the current block is used up.
    fn skip_backward(&mut self) -> Result<()> {
        while !self.data.valid() {
            self.partition.prev();
            while self.partition.handle().is_none() {
                self.top.prev();
                if self.top.handle().is_none() {
                    return Ok(());
                }
                self.open_partition()?;
                self.partition.last();
            }
            self.open_data()?;
            self.data.seek_to_last()?;
        }
        Ok(())
    }

    fn first(&mut self) -> Result<()> {
        self.top.first();
        self.open_partition()?;
        self.partition.first();
        self.open_data()?;
        self.data.seek_to_first()?;
        self.skip_forward()
    }

    fn last(&mut self) -> Result<()> {
        self.top.last();
        self.open_partition()?;
        self.partition.last();
        self.open_data()?;
        self.data.seek_to_last()?;
        self.skip_backward()
    }

    fn lower_bound(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.top.seek(target)?;
        self.open_partition()?;
        self.partition.seek(target)?;
        self.open_data()?;
        self.data.seek(target)?;
        self.skip_forward()
    }

    fn upper_bound_back(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.top.seek(target)?;
        if self.top.handle().is_none() {
            return self.last();
        }
        self.open_partition()?;
        self.partition.seek(target)?;
        self.open_data()?;
        self.data.seek_for_prev(target)?;
        self.skip_backward()
    }

    /// Adds the file's name to an error, and leaves the iterator invalid after one.
    #[inline]
    fn done(&mut self, result: Result<()>) -> Result<()> {
        if result.is_ok() {
            return result;
        }
        self.data.clear();
        self.data_at = None;
        self.partition_at = None;
        result.context(|| self.reader.describe())
    }
}

impl InternalIterator for SstIter {
    #[inline]
    fn valid(&self) -> bool {
        self.data.valid()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        let result = self.first();
        self.done(result)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        let result = self.last();
        self.done(result)
    }

    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        let result = match self.reader.file_seq() {
            None => self.lower_bound(target),
            Some(_) => self.lower_bound_numbered(target),
        };
        self.done(result)
    }

    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        let result = match self.reader.file_seq() {
            None => self.upper_bound_back(target),
            Some(_) => self.upper_bound_back_numbered(target),
        };
        self.done(result)
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if !self.data.valid() {
            return Ok(());
        }
        let mut result = self.data.next();
        if result.is_ok() && !self.data.valid() {
            result = self.skip_forward();
        }
        self.done(result)
    }

    fn prev(&mut self) -> Result<()> {
        if !self.data.valid() {
            return Ok(());
        }
        let mut result = self.data.prev();
        if result.is_ok() && !self.data.valid() {
            result = self.skip_backward();
        }
        self.done(result)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.data.key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.data.value()
    }
}
