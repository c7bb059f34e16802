//! Reading the log back: replay, the decision between a torn tail and corruption, and making the end safe to append to.
//!
//! Chunks are read from the floor on until one does not check. What lies there is a torn tail, unless a sound chunk further on says by its durable mark
//! that the log had been durable beyond this point: then bytes that were promised are gone, and the log is refused.
//!
//! Before the first append:
//! 1. Sound chunks found behind the cut (ghosts, written but never synced) are removed: the current segment is overwritten with zeros from the
//!    cut on and later segments are deleted. Otherwise a new record that happens to end where a ghost begins would call it back to life.
//! 2. What lies beyond the last durable mark is written again and synced. A sync that failed before the restart may have left their pages
//!    clean in memory and never on disk; they read well, are replayed, and must not vanish later.
//!
//! A crash within either step leaves a log that the next open reads to the same end.

use std::fmt::Write as _;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use super::format::{
    CHUNK_HEADER_LEN, CHUNK_MAGIC, CHUNK_MIN, ChunkHeader, ChunkKind, SEGMENT_HEADER_LEN,
};
use super::segment::Segment;
use crate::env::fs::Fs;
use crate::format::checksum::crc32;
use crate::{Error, Result, ResultExt};

/// Bytes read at a time.
const WINDOW: usize = 1 << 20;
/// The search for chunks looks at this many bytes at once for the magic's first byte.
const SEARCH_BLOCK: usize = 4096;

/// What replay found.
pub(super) struct Tail {
    /// Where the next record goes.
    pub end: u64,
    /// Everything below was known durable by a mark in the log.
    pub durable: u64,
    /// Whether records lie beyond `durable`.
    pub undurable_records: bool,
    /// Whether sound chunks lie beyond `end`.
    pub ghosts: bool,
}

/// Replays `segments` (contiguous or not, ascending, the first one holding `floor`) from `floor` on.
pub(super) fn replay(
    dir: &Path,
    segments: &[Arc<Segment>],
    floor: u64,
    apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<Tail> {
    let mut reader = Reader::new(segments)?;
    let mut position = floor;
    let mut durable = 0;
    let mut applied_to = floor;
    let mut record = Vec::new();
    // Where the unfinished record began and how many of its bytes are to come.
    let mut unfinished: Option<(u64, u64)> = None;
    let cause = loop {
        let Some(index) = reader.locate(&mut position) else {
            break "the log ends here".to_owned();
        };
        let header = match reader.chunk(index, position, &mut record)? {
            Ok(header) => header,
            Err(cause) => break cause,
        };
        durable = durable.max(header.durable);
        match (header.kind, unfinished) {
            (ChunkKind::First, None) => unfinished = Some((position, header.remaining)),
            (ChunkKind::Later, Some((_, left))) if left == header.remaining => {}
            (ChunkKind::Mark, None) => {}
            (kind, _) => {
                // No crash leaves this: ghosts are removed before anything is appended.
                let cause = format!("a sound chunk ({kind:?}) that does not follow the one before");
                return Err(refuse(dir, segments, position, &cause, durable));
            }
        }
        position += CHUNK_HEADER_LEN as u64 + u64::from(header.length);
        if let Some((start, _)) = unfinished {
            let left = header.remaining - u64::from(header.length);
            if left > 0 {
                unfinished = Some((start, left));
                continue;
            }
            apply(start, &record).context(|| format!("replay log record at {start}"))?;
            record.clear();
            unfinished = None;
            applied_to = position;
        }
    };
    let bad_at = position;
    let end = unfinished.map_or(position, |(start, _)| start);
    let found = reader.search(bad_at, end)?;
    if let Some(proof) = found.proof {
        return Err(refuse(dir, segments, bad_at, &cause, proof));
    }
    if durable > end {
        return Err(refuse(dir, segments, bad_at, &cause, durable));
    }
    Ok(Tail {
        end,
        durable,
        undurable_records: applied_to > durable.max(floor),
        ghosts: found.any || unfinished.is_some(),
    })
}

fn refuse(dir: &Path, segments: &[Arc<Segment>], at: u64, cause: &str, proof: u64) -> Error {
    let mut place = format!("log {} at position {at}", dir.display());
    if let Some(segment) = segments.iter().find(|s| s.start <= at && at < s.end) {
        let _ = write!(
            place,
            ", file {} offset {}",
            segment.name,
            segment.offset(at)
        );
    }
    Error::corruption(format!(
        "{place}: {cause}; the log was durable up to {proof}"
    ))
}

/// Removes ghosts: zeros from `end` on in the segment that holds it, and the segments after that one deleted.
pub(super) fn remove_ghosts(
    fs: &dyn Fs,
    dir: &Path,
    current: &Segment,
    later: &[Arc<Segment>],
    end: u64,
) -> Result<()> {
    for segment in later.iter().rev() {
        fs.remove(&dir.join(&segment.name))?;
    }
    if !later.is_empty() {
        fs.sync_dir(dir)?;
    }
    current.zero_from(end)?;
    current.file.sync_data()
}

/// Writes the bytes from `from` to `to` once more and syncs them.
pub(super) fn write_again(segments: &[Arc<Segment>], from: u64, to: u64) -> Result<()> {
    let mut buffer = vec![0; WINDOW.min((to - from) as usize)];
    for segment in segments {
        let mut at = from.max(segment.start);
        let end = to.min(segment.end);
        while at < end {
            let piece = (end - at).min(buffer.len() as u64) as usize;
            let read = segment
                .file
                .read_at(&mut buffer[..piece], segment.offset(at))?;
            if read == 0 {
                break;
            }
            let bytes = [IoSlice::new(&buffer[..read])];
            segment.file.write_at(&bytes, segment.offset(at))?;
            at += read as u64;
        }
        if from < segment.end && segment.start < to {
            segment.file.sync_data()?;
        }
    }
    Ok(())
}

/// Reads whole records of a log that is open from `from` on, which is the end of one, to `to`, which is another: position and payload of each.
///
/// It stops early once `limit` bytes of payload were read, and returns the position after the last record. Chunks below `to` were written before
/// the call, so one that does not check is damage.
pub(super) fn read_records(
    segments: &[Arc<Segment>],
    from: u64,
    to: u64,
    limit: usize,
    each: &mut dyn FnMut(u64, &[u8]),
) -> Result<u64> {
    let mut reader = Reader::new(segments)?;
    reader.window_size = WINDOW.min((to - from) as usize);
    let mut position = from;
    let mut record = Vec::new();
    let mut start = None;
    let mut taken = 0;
    while position < to && taken < limit {
        let bad = |at: u64, cause: &str| {
            Error::corruption(format!(
                "read the log at {at}: {cause}; it was written up to {to}"
            ))
        };
        let Some(index) = reader.locate(&mut position) else {
            return Err(bad(position, "no segment has this position"));
        };
        if position >= to {
            break;
        }
        let header = reader
            .chunk(index, position, &mut record)?
            .map_err(|cause| bad(position, &cause))?;
        let first = *start.get_or_insert(position);
        position += CHUNK_HEADER_LEN as u64 + u64::from(header.length);
        if header.remaining > u64::from(header.length) {
            continue;
        }
        if header.kind != ChunkKind::Mark {
            each(first, &record);
            taken += record.len();
        }
        record.clear();
        start = None;
    }
    Ok(position)
}

struct Reader<'a> {
    segments: &'a [Arc<Segment>],
    sizes: Vec<u64>,
    /// Bytes read at a time.
    window_size: usize,
    window: Vec<u8>,
    window_segment: usize,
    window_offset: u64,
}

struct Found {
    /// The greatest durable mark beyond the cut, if there is one.
    proof: Option<u64>,
    any: bool,
}

impl<'a> Reader<'a> {
    fn new(segments: &'a [Arc<Segment>]) -> Result<Self> {
        let sizes = segments
            .iter()
            .map(|segment| segment.file.size())
            .collect::<Result<_>>()?;
        Ok(Self {
            segments,
            sizes,
            window_size: WINDOW,
            window: Vec::new(),
            window_segment: usize::MAX,
            window_offset: 0,
        })
    }

    /// The segment in which the chunk at `position` is, moving the position over the unused end of a segment.
    fn locate(&self, position: &mut u64) -> Option<usize> {
        let index = self
            .segments
            .iter()
            .position(|segment| segment.start <= *position && *position < segment.end)
            .or_else(|| self.segments.iter().position(|s| s.start == *position))?;
        let end = self.segments[index].end;
        if end - *position >= CHUNK_MIN {
            return Some(index);
        }
        let next = self.segments.iter().position(|s| s.start == end)?;
        *position = end;
        Some(next)
    }

    /// Up to `len` bytes at `offset` of a segment's file, fewer only where the file ends.
    fn bytes(&mut self, index: usize, offset: u64, len: usize) -> Result<&[u8]> {
        let inside = self.window_segment == index
            && offset >= self.window_offset
            && offset + len as u64 <= self.window_offset + self.window.len() as u64;
        if !inside {
            let available = self.sizes[index].saturating_sub(offset);
            let size = available.min(len.max(self.window_size) as u64) as usize;
            self.window.resize(size, 0);
            self.window_segment = usize::MAX;
            let read = self.segments[index]
                .file
                .read_at(&mut self.window, offset)?;
            self.window.truncate(read);
            self.window_segment = index;
            self.window_offset = offset;
        }
        let from = (offset - self.window_offset) as usize;
        let to = (from + len).min(self.window.len());
        Ok(&self.window[from..to])
    }

    /// Reads and checks the chunk at `position`, adding its payload to `record`; the inner error says why there is none.
    fn chunk(
        &mut self,
        index: usize,
        position: u64,
        record: &mut Vec<u8>,
    ) -> Result<Result<ChunkHeader, String>> {
        let segment = Arc::clone(&self.segments[index]);
        let offset = segment.offset(position);
        let head = self.bytes(index, offset, CHUNK_HEADER_LEN)?;
        let Some(head) = head.first_chunk::<CHUNK_HEADER_LEN>().copied() else {
            return Ok(Err("the file ends here".to_owned()));
        };
        let (header, crc) = match ChunkHeader::decode(&head, position) {
            Ok(decoded) => decoded,
            Err(cause) => return Ok(Err(cause.to_owned())),
        };
        let length = header.length as usize;
        let payload_at = offset + CHUNK_HEADER_LEN as u64;
        let left = segment.end - position - CHUNK_HEADER_LEN as u64;
        if length as u64 > left || payload_at + length as u64 > self.sizes[index] {
            return Ok(Err(
                "the chunk is longer than what is left of its file".to_owned()
            ));
        }
        let begun = record.len();
        if length <= self.window_size / 4 {
            let payload = self.bytes(index, payload_at, length)?;
            record.extend_from_slice(payload);
        } else {
            record.resize(begun + length, 0);
            let read = segment.file.read_at(&mut record[begun..], payload_at)?;
            record.truncate(begun + read);
        }
        if crc32(&[&head[4..], &record[begun..]]) != crc || record.len() - begun != length {
            record.truncate(begun);
            return Ok(Err("checksum mismatch".to_owned()));
        }
        Ok(Ok(header))
    }

    /// Looks for sound chunks behind `after`, and among them for proof that the log was durable beyond `cut`.
    fn search(&mut self, after: u64, cut: u64) -> Result<Found> {
        let mut found = Found {
            proof: None,
            any: false,
        };
        let mut scratch = Vec::new();
        let mut buffer = Vec::new();
        for index in 0..self.segments.len() {
            let segment = Arc::clone(&self.segments[index]);
            if segment.end <= after {
                continue;
            }
            let mut offset = segment.offset(segment.start.max(after.saturating_add(1)));
            let file_end = self.sizes[index].min(segment.offset(segment.end));
            while offset + CHUNK_HEADER_LEN as u64 <= file_end {
                let size = (file_end - offset).min(WINDOW as u64) as usize;
                buffer.resize(size, 0);
                let read = segment.file.read_at(&mut buffer, offset)?;
                if read < CHUNK_HEADER_LEN {
                    break;
                }
                let candidates = read - (CHUNK_HEADER_LEN - 1);
                for at in magic_places(&buffer[..read], candidates) {
                    let position = segment.start + (offset + at as u64 - SEGMENT_HEADER_LEN);
                    let head = buffer[at..].first_chunk::<CHUNK_HEADER_LEN>();
                    if head.is_none_or(|head| ChunkHeader::decode(head, position).is_err()) {
                        continue;
                    }
                    scratch.clear();
                    if let Ok(header) = self.chunk(index, position, &mut scratch)? {
                        found.any = true;
                        if header.durable > cut {
                            found.proof = found.proof.max(Some(header.durable));
                        }
                    }
                }
                offset += candidates as u64;
            }
        }
        Ok(found)
    }
}

/// The offsets below `candidates` at which a chunk's magic stands where it would in a header.
fn magic_places(bytes: &[u8], candidates: usize) -> Vec<usize> {
    let mut places = Vec::new();
    let magic_at = 4;
    let mut block = 0;
    while block < candidates {
        let end = (block + SEARCH_BLOCK).min(candidates);
        if bytes[block + magic_at..end + magic_at].contains(&CHUNK_MAGIC[0]) {
            places
                .extend((block..end).filter(|at| bytes[at + magic_at..].starts_with(&CHUNK_MAGIC)));
        }
        block = end;
    }
    places
}
