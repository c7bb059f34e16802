//! Stored bytes that a scan of an SST has read ahead of itself.
//!
//! A scan is known by its second block in a row, in either direction. Over a near store it then reads for itself, in windows that grow to
//! [`IterOptions::readahead`](super::IterOptions). Over a distant one it keeps several windows under way in a pool: how many bytes it has ahead begins
//! small, doubles with each window that it reaches, and ends at [`WINDOWS`] windows, so that a short scan fetches little and a long one is not bound by the round trip.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::iter_options::IterOptions;
use super::reader::{SstReader, StoredBlock};
use crate::Result;
use crate::format::stored_block::BlockHandle;
use crate::object_store::Pending;

/// The first window of a scan that was recognised as one.
const FIRST_WINDOW: u64 = 32 << 10;
/// This many blocks in a row make a scan.
const SCAN_BLOCKS: u32 = 2;
/// Windows that a scan of a distant store has ahead at most, and bytes.
const WINDOWS: u64 = 8;
const MOST_AHEAD: u64 = 4 << 20;
/// What it has ahead at first. Windows over a distant store end at multiples of the least.
const FIRST_AHEAD: u64 = 128 << 10;
const LEAST_WINDOW: u64 = 64 << 10;

enum Content {
    Here(Bytes),
    UnderWay(Pending<Bytes>),
    Lost,
}

/// A part of the file.
struct Window {
    start: u64,
    end: u64,
    content: Content,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// What a scan has read ahead. See the module's description.
#[derive(Default)]
pub(super) struct Readahead {
    /// They follow each other without gaps, ascending.
    windows: VecDeque<Window>,
    /// Start and end of the block read last.
    last: Option<(u64, u64)>,
    /// How many blocks were read in a row, and where to.
    run: u32,
    direction: Option<Direction>,
    /// The window of a scan of a near store.
    window: u64,
    /// Bytes to have ahead of a scan of a distant store.
    ahead: u64,
    /// The end of the data is in what was read ahead, and nobody was told.
    end_is_near: bool,
    was_told: bool,
}

/// The most bytes that a scan with these options reads ahead at once.
pub fn most_ahead(options: &IterOptions, distant: bool) -> u64 {
    let window = options.readahead as u64;
    if distant {
        window + (window * WINDOWS).min(MOST_AHEAD)
    } else {
        window
    }
}

impl Readahead {
    /// The stored bytes of a block that is not cached.
    pub fn block(
        &mut self,
        reader: &SstReader,
        options: &IterOptions,
        handle: BlockHandle,
    ) -> Result<StoredBlock> {
        let held = self.holds(handle);
        self.note(handle, held, options);
        self.last = Some((handle.offset, handle.end()));
        if held {
            self.pass(handle);
            self.top_up(reader, options);
            if let Some(stored) = self.assemble(handle) {
                return Ok(StoredBlock::Part(stored));
            }
        }
        self.windows.clear();
        let (start, end) = self.first_window(reader, options, handle);
        let once = !options.fill_cache;
        let alone = reader.prefetcher().is_none() || !self.is_scan(options);
        if alone && (start, end) == (handle.offset, handle.end()) {
            let stored = reader.read_stored(handle.offset, handle.len, once)?;
            return Ok(StoredBlock::Whole(stored));
        }
        self.windows.push_back(Window {
            start,
            end,
            content: Content::Lost,
        });
        // What comes after it is asked for before it is waited for.
        self.top_up(reader, options);
        let bytes = reader.read_stored(start, end - start, once)?;
        let from = (handle.offset - start) as usize;
        let stored = bytes.slice(from..from + handle.len as usize);
        for window in &mut self.windows {
            if window.start == start {
                window.content = Content::Here(bytes.clone());
            }
        }
        Ok(StoredBlock::Part(stored))
    }

    /// Which way the scan goes on, once what it has ahead has reached the end of the file's data there; told once.
    pub fn take_end(&mut self) -> Option<bool> {
        let told = std::mem::take(&mut self.end_is_near);
        told.then_some(self.direction == Some(Direction::Forward))
    }

    fn holds(&self, handle: BlockHandle) -> bool {
        match (self.windows.front(), self.windows.back()) {
            (Some(first), Some(last)) => first.start <= handle.offset && handle.end() <= last.end,
            _ => false,
        }
    }

    /// Sees whether the block goes on with the scan. Blocks between that were in the cache do not end it.
    fn note(&mut self, handle: BlockHandle, held: bool, options: &IterOptions) {
        let direction = match self.last {
            Some((_, end)) if handle.offset == end || (held && handle.offset > end) => {
                Some(Direction::Forward)
            }
            Some((start, _)) if handle.end() == start || (held && handle.end() < start) => {
                Some(Direction::Backward)
            }
            _ => None,
        };
        if direction.is_some() && (self.direction.is_none() || direction == self.direction) {
            self.run = self.run.saturating_add(1);
        } else {
            self.run = u32::from(direction.is_some());
            self.window = 0;
            self.ahead = 0;
            self.was_told = false;
        }
        self.direction = match direction {
            None if options.readahead_at_once => self.direction.or(Some(Direction::Forward)),
            direction => direction,
        };
    }

    /// Says which way the scan will go.
    pub fn expect(&mut self, forward: bool) {
        self.direction = Some(match forward {
            true => Direction::Forward,
            false => Direction::Backward,
        });
    }

    /// Lets go of the windows that the scan has left behind.
    fn pass(&mut self, handle: BlockHandle) {
        let before = self.windows.len();
        if self.direction == Some(Direction::Backward) {
            while self
                .windows
                .back()
                .is_some_and(|window| window.start >= handle.end())
            {
                self.windows.pop_back();
            }
        } else {
            while self
                .windows
                .front()
                .is_some_and(|window| window.end <= handle.offset)
            {
                self.windows.pop_front();
            }
        }
        for _ in self.windows.len()..before {
            self.ahead = self.ahead.saturating_mul(2);
        }
    }

    fn is_scan(&self, options: &IterOptions) -> bool {
        options.readahead > 0 && (options.readahead_at_once || self.run >= SCAN_BLOCKS)
    }

    /// The window to read now, with the block in it.
    fn first_window(
        &mut self,
        reader: &SstReader,
        options: &IterOptions,
        handle: BlockHandle,
    ) -> (u64, u64) {
        let limit = options.readahead as u64;
        self.window = if options.readahead_at_once {
            limit
        } else if self.run < SCAN_BLOCKS {
            0
        } else {
            (self.window * 2).clamp(FIRST_WINDOW.min(limit), limit)
        };
        let mut window = self.window;
        if reader.prefetcher().is_some() {
            // What comes behind it is on its way at the same time.
            window = window.min(self.window_ahead(options));
        }
        if self.direction == Some(Direction::Backward) {
            let start = handle.end().saturating_sub(window).min(handle.offset);
            return (start, handle.end());
        }
        let data_end = reader.properties().data_end;
        let end = handle.offset.saturating_add(window).min(data_end);
        (handle.offset, end.max(handle.end()))
    }

    /// Bytes of each window over a distant store, given how many bytes it should have ahead now.
    fn window_ahead(&self, options: &IterOptions) -> u64 {
        let ahead = if options.readahead_at_once {
            MOST_AHEAD
        } else {
            self.ahead
        };
        (ahead / 4).clamp(LEAST_WINDOW, LEAST_WINDOW.max(options.readahead as u64))
    }

    /// Sees to it that as much is under way ahead of the last block read as there should be.
    fn top_up(&mut self, reader: &SstReader, options: &IterOptions) {
        let Some(prefetcher) = reader.prefetcher() else {
            return;
        };
        let (Some(direction), Some((start, end)), true) =
            (self.direction, self.last, self.is_scan(options))
        else {
            return;
        };
        let most = (options.readahead as u64 * WINDOWS).min(MOST_AHEAD);
        self.ahead = if options.readahead_at_once {
            most
        } else {
            self.ahead.clamp(FIRST_AHEAD.min(most), most)
        };
        let step = self.window_ahead(options);
        let data_end = reader.properties().data_end;
        loop {
            let (Some(first), Some(last)) = (self.windows.front(), self.windows.back()) else {
                return;
            };
            let (from, to) = match direction {
                Direction::Forward => {
                    let from = last.end;
                    if from.saturating_sub(end) >= self.ahead {
                        return;
                    }
                    let to = (from + step) / LEAST_WINDOW * LEAST_WINDOW;
                    (from, to.max(from + 1).min(data_end))
                }
                Direction::Backward => {
                    let to = first.start;
                    if start.saturating_sub(to) >= self.ahead {
                        return;
                    }
                    (
                        to.saturating_sub(step)
                            .next_multiple_of(LEAST_WINDOW)
                            .min(to.saturating_sub(1)),
                        to,
                    )
                }
            };
            if from >= to {
                self.end_is_near = !std::mem::replace(&mut self.was_told, true);
                return;
            }
            let Some(pending) = reader.read_ahead(prefetcher, from..to, !options.fill_cache) else {
                return;
            };
            let window = Window {
                start: from,
                end: to,
                content: Content::UnderWay(pending),
            };
            match direction {
                Direction::Forward => self.windows.push_back(window),
                Direction::Backward => self.windows.push_front(window),
            }
        }
    }

    /// The block out of the windows that hold it, once they are there; `None` if one could not be read.
    fn assemble(&mut self, handle: BlockHandle) -> Option<Bytes> {
        let (start, end) = (handle.offset, handle.end());
        let mut whole = BytesMut::new();
        for window in &mut self.windows {
            if window.end <= start || window.start >= end {
                continue;
            }
            let from = start.max(window.start) - window.start;
            let to = end.min(window.end) - window.start;
            let bytes = window.bytes()?;
            let part = bytes.slice(from as usize..to as usize);
            if part.len() as u64 == handle.len {
                return Some(part);
            }
            whole.extend_from_slice(&part);
        }
        (whole.len() as u64 == handle.len).then(|| whole.freeze())
    }
}

impl Window {
    fn bytes(&mut self) -> Option<&Bytes> {
        if let Content::UnderWay(_) = self.content {
            let content = std::mem::replace(&mut self.content, Content::Lost);
            if let Content::UnderWay(pending) = content
                && let Ok(bytes) = pending.wait()
                && bytes.len() as u64 == self.end - self.start
            {
                self.content = Content::Here(bytes);
            }
        }
        match &self.content {
            Content::Here(bytes) => Some(bytes),
            _ => None,
        }
    }
}
