//! Segment files: how they are made, and how a position becomes an offset.
//!
//! A segment appears under its final name only with a durable header and its full length on disk: as a new file it is written with zeros under a
//! temporary name, or a spare (a segment below the log's floor, renamed) gets the new header in place of its old one; then it is synced, renamed, and the
//! directory synced. A crash between two steps leaves a temporary file, which the next open removes, or a spare.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use super::format::{SEGMENT_HEADER_LEN, SEGMENT_HEADER_USED, SegmentHeader};
use crate::env::fs::{Fs, FsFile, OpenMode};
use crate::format::number::parse_number;
use crate::{Error, Result, ResultExt};

/// Zeros are written in pieces of this many bytes.
const ZERO_PIECE: usize = 1 << 20;

/// One open segment.
pub(super) struct Segment {
    pub file: Arc<dyn FsFile>,
    pub name: String,
    /// Position of its first chunk.
    pub start: u64,
    /// Position after its last byte.
    pub end: u64,
}

/// What a file in the log's directory is, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Segment(u64),
    Spare,
    Temporary,
    Foreign,
}

impl FileKind {
    pub fn of(name: &str) -> Self {
        let Some(stem) = name.strip_suffix(".wal") else {
            return Self::Foreign;
        };
        if stem.starts_with("spare-") {
            Self::Spare
        } else if stem.starts_with("new-") {
            Self::Temporary
        } else if let Some(start) = parse_number(stem) {
            Self::Segment(start)
        } else {
            Self::Foreign
        }
    }
}

pub(super) fn segment_name(start: u64) -> String {
    format!("{start:020}.wal")
}

pub(super) fn spare_name(start: u64) -> String {
    format!("spare-{start:020}.wal")
}

impl Segment {
    /// Opens a segment and checks its header against its name.
    pub fn open(fs: &dyn Fs, dir: &Path, start: u64) -> Result<Self> {
        let name = segment_name(start);
        let what = || dir.join(&name).display().to_string();
        let file = fs.open(&dir.join(&name), OpenMode::Write)?;
        let mut bytes = [0; SEGMENT_HEADER_USED];
        let read = file.read_at(&mut bytes, 0)?;
        if read < bytes.len() {
            return Err(Error::corruption(format!(
                "{}: {read} bytes are no segment header",
                what()
            )));
        }
        let header = SegmentHeader::decode(&bytes).context(what)?;
        if header.start != start {
            return Err(Error::corruption(format!(
                "{}: the header says position {} at byte 16",
                what(),
                header.start
            )));
        }
        // It had its full length before it had its name.
        let size = file.size()?;
        if size < header.size {
            return Err(Error::corruption(format!(
                "{}: {size} bytes left of {}",
                what(),
                header.size
            )));
        }
        Ok(Self {
            file,
            name,
            start,
            end: start + (header.size - SEGMENT_HEADER_LEN),
        })
    }

    /// Makes the segment that starts at `start`, out of the spare file of that name and size if one is given.
    pub fn create(
        fs: &dyn Fs,
        dir: &Path,
        start: u64,
        size: u64,
        spare: Option<&str>,
    ) -> Result<Self> {
        let name = segment_name(start);
        let path = dir.join(&name);
        let header = SegmentHeader { start, size };
        let make = || {
            let (from, file) = match spare {
                Some(spare) => {
                    let from = dir.join(spare);
                    let file = fs.open(&from, OpenMode::Write)?;
                    (from, file)
                }
                None => {
                    let from = dir.join(format!("new-{start:020}.wal"));
                    if fs.open(&from, OpenMode::Read).is_ok() {
                        fs.remove(&from)?;
                    }
                    let file = fs.open(&from, OpenMode::CreateNew)?;
                    zero(&*file, 0, size)?;
                    (from, file)
                }
            };
            file.write_at(&[IoSlice::new(&header.encode())], 0)?;
            file.sync_data()?;
            fs.rename(&from, &path)?;
            fs.sync_dir(dir)?;
            Ok(file)
        };
        let file = make().context(|| format!("create log segment {}", path.display()))?;
        Ok(Self {
            file,
            name,
            start,
            end: start + (size - SEGMENT_HEADER_LEN),
        })
    }

    /// Offset in the file of a position.
    pub fn offset(&self, position: u64) -> u64 {
        SEGMENT_HEADER_LEN + (position - self.start)
    }

    /// Writes zeros over the positions from `from` to the end.
    pub fn zero_from(&self, from: u64) -> Result<()> {
        zero(&*self.file, self.offset(from), self.offset(self.end))
    }
}

fn zero(file: &dyn FsFile, from: u64, to: u64) -> Result<()> {
    let zeros = vec![0; ZERO_PIECE.min((to - from) as usize)];
    let mut at = from;
    while at < to {
        let piece = (to - at).min(zeros.len() as u64);
        file.write_at(&[IoSlice::new(&zeros[..piece as usize])], at)?;
        at += piece;
    }
    Ok(())
}
