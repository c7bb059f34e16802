//! The local log's layout, and its opening.

use crate::options::Options;
use crate::wal::{Wal, WalOptions};
use crate::{Result, ResultExt};

/// The log may take this many segments, of a size between the two.
const SEGMENTS: u64 = 8;
const MIN_SEGMENT: u64 = 64 << 10;
const MAX_SEGMENT: u64 = 64 << 20;

/// Opens it, or begins it at `floor`, and hands what it has from there on to `apply`, with its position.
pub fn open(
    options: &Options,
    floor: u64,
    apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<Wal> {
    let dir = options.wal_dir();
    let layout = WalOptions {
        segment_size: (options.total_wal_size / SEGMENTS).clamp(MIN_SEGMENT, MAX_SEGMENT),
        // Spares come with a thread.
        recycle: match options.manual {
            true => 0,
            false => WalOptions::default().recycle,
        },
    };
    Wal::open(options.fs.clone(), &dir, layout, floor, &mut *apply)
        .context(|| format!("open the log in {}", dir.display()))
}
