//! What transactions write beyond their memory: sorted runs in local files.
//!
//! A run holds a part of one transaction's writes, in key order, as one or more SSTs whose sequence numbers are the transaction's own. A file is
//! made under `<data_dir>/spill/` and loses its name as soon as it is open, so that it takes space exactly as long as somebody reads it: ending the
//! transaction, or the process, leaves nothing. A crash between the two steps leaves a file that the next open removes.
//! Nothing is ever synced: a run does not outlive its transaction, and what is committed is written anew.

mod run;

use std::collections::HashSet;
use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

pub use run::{Run, RunIter};

use crate::cache::BlockCache;
use crate::env::failpoint;
use crate::env::fs::{Fs, FsFile, OpenMode};
use crate::object_store::{ObjectReader, ObjectWriter};
use crate::{Error, Result, ResultExt};

/// Runs are in files of this name.
const SUFFIX: &str = ".run";

/// Where transactions put what exceeds their memory. Shared by all transactions of an engine.
pub struct SpillSpace {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    cache: Arc<BlockCache>,
    memory: AtomicU64,
    next_id: AtomicU64,
    stats: SpillStats,
}

/// What was spilled since the engine was opened.
#[derive(Default)]
pub struct SpillStats {
    /// Transactions that wrote a run.
    pub transactions: AtomicU64,
    /// Runs written.
    pub runs: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
}

impl SpillSpace {
    /// Makes sure that `dir` is there and removes what a crash left in it. `memory` as in [`SpillSpace::set_memory`]; runs are read through `cache`.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: impl Into<PathBuf>,
        cache: Arc<BlockCache>,
        memory: u64,
    ) -> Result<Self> {
        let dir = dir.into();
        let space = Self {
            fs,
            cache,
            memory: AtomicU64::new(memory),
            // Files in the store count up from the bottom and never get here.
            next_id: AtomicU64::new(u64::MAX),
            stats: SpillStats::default(),
            dir,
        };
        space
            .clear()
            .context(|| format!("clear {}", space.dir.display()))?;
        Ok(space)
    }

    fn clear(&self) -> Result<()> {
        self.fs.create_dir_all(&self.dir)?;
        for name in self.fs.list(&self.dir)? {
            if name.ends_with(SUFFIX) {
                self.fs.remove(&self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Where the files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes that one transaction's writes may take in memory.
    pub fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Changes how many bytes one transaction's writes may take in memory.
    pub fn set_memory(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// The counters.
    pub fn stats(&self) -> &SpillStats {
        &self.stats
    }

    /// A new file, already without a name, and the id that stands for it in the cache.
    fn create(&self) -> Result<(u64, Arc<dyn FsFile>)> {
        let id = self.next_id.fetch_sub(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{:020}{SUFFIX}", u64::MAX - id));
        failpoint::hit("spill.before_create")?;
        let file = self.fs.open(&path, OpenMode::CreateNew)?;
        failpoint::hit("spill.created")?;
        self.fs.remove(&path)?;
        Ok((id, file))
    }

    /// Drops what the cache holds of runs that are gone.
    pub fn forget(&self, runs: &[Arc<Run>]) {
        if !runs.is_empty() {
            let ids: HashSet<u64> = runs.iter().flat_map(|run| run.ids()).collect();
            self.cache.erase_files(&ids);
        }
    }
}

/// Writes a run's file from its beginning.
struct FileWriter {
    file: Arc<dyn FsFile>,
    end: u64,
}

impl ObjectWriter for FileWriter {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        failpoint::hit("spill.before_write")?;
        self.file.write_at(&[IoSlice::new(data)], self.end)?;
        self.end += data.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// Reads a run's file.
struct FileReader(Arc<dyn FsFile>);

impl ObjectReader for FileReader {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let wanted = range.end.saturating_sub(range.start) as usize;
        let mut buffer = vec![0; wanted];
        let read = self.0.read_at(&mut buffer, range.start)?;
        if read != wanted {
            return Err(Error::corruption(format!(
                "{read} bytes at {} of a run, {wanted} wanted",
                range.start
            )));
        }
        Ok(buffer.into())
    }
}
