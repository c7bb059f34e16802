//! What a read looks at: the memtables and the files of one moment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::cache::BlockCache;
use crate::compaction::sorted_runs;
use crate::manifest::{FileMeta, LEVELS, Version, sst_key};
use crate::memtable::MemTable;
use crate::object_store::{ObjectStore, Prefetcher};
use crate::sst::SstReader;
use crate::{Result, ResultExt};

/// What the thread that removes files is told.
pub enum Obsolete {
    /// The file left the version and has no reader any more.
    File(u64),
    /// The chunk of the log in the store is not needed any more.
    Chunk(u64),
    /// The manifest has grown by a full version, and its next object has this id.
    Manifest(u64),
    /// To end.
    Stop,
}

/// What an open file needs.
pub struct FileContext {
    pub store: Arc<dyn ObjectStore>,
    pub cache: Arc<BlockCache>,
    /// Makes reads ahead of need, if the store is distant.
    pub prefetcher: Option<Arc<Prefetcher>>,
    pub obsolete: Sender<Obsolete>,
}

/// A file of a version, opened when first read.
pub struct LiveFile {
    pub meta: Arc<FileMeta>,
    context: Arc<FileContext>,
    reader: OnceLock<Arc<SstReader>>,
    opening: Mutex<()>,
    obsolete: AtomicBool,
}

impl LiveFile {
    pub fn new(meta: Arc<FileMeta>, context: Arc<FileContext>) -> Self {
        Self {
            meta,
            context,
            reader: OnceLock::new(),
            opening: Mutex::new(()),
            obsolete: AtomicBool::new(false),
        }
    }

    /// The open file.
    pub fn reader(&self) -> Result<&Arc<SstReader>> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        // Of several who need it one opens it.
        let _opening = self.opening.lock();
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let key = sst_key(self.meta.id);
        let opened = self
            .open(&key)
            .and_then(|opened| opened.with_file_seq(self.meta.file_seq))
            .context(|| format!("open {key}"))?;
        Ok(self.reader.get_or_init(|| Arc::new(opened)))
    }

    fn open(&self, key: &str) -> Result<SstReader> {
        let (id, size) = (self.meta.id, self.meta.size);
        let object = self.context.store.reader_of(key, size)?;
        let cache = self.context.cache.clone();
        match &self.context.prefetcher {
            None => SstReader::open(object, id, size, cache),
            Some(prefetcher) => {
                let prefetcher = prefetcher.clone();
                SstReader::open_distant(object, id, size, self.meta.tail, cache, prefetcher)
            }
        }
    }

    /// The file, if it is open.
    pub fn open_reader(&self) -> Option<&Arc<SstReader>> {
        self.reader.get()
    }

    /// What makes reads of its store ahead of need, if that is distant.
    pub fn prefetcher(&self) -> Option<&Arc<Prefetcher>> {
        self.context.prefetcher.as_ref()
    }

    /// Whether its store is far enough for reads to be made ahead.
    pub fn is_distant(&self) -> bool {
        self.context.prefetcher.is_some()
    }

    /// Begins opening it in the background, if its store is distant and there is room for that.
    pub fn open_ahead(this: &Arc<Self>) {
        if let Some(prefetcher) = &this.context.prefetcher
            && this.reader.get().is_none()
        {
            let this = this.clone();
            // If it fails, who needs the file is told.
            prefetcher.run_detached(move || drop(this.reader().map(drop)));
        }
    }

    /// The open file of a transaction that is not committed: its entries have no sequence numbers.
    pub fn unnumbered_reader(&self) -> Result<Arc<SstReader>> {
        let key = sst_key(self.meta.id);
        self.open(&key)
            .map(Arc::new)
            .context(|| format!("open {key}"))
    }

    /// Has the object deleted once the last user lets go of this.
    pub fn mark_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    /// Whether the file's range of user keys meets [lower, upper).
    pub fn overlaps(&self, lower: &[u8], upper: &[u8]) -> bool {
        self.meta.smallest.user_key() < upper && lower <= self.meta.largest.user_key()
    }
}

impl Drop for LiveFile {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire) {
            // At shutdown nobody listens any more; the next open finds the object.
            let _ = self.context.obsolete.send(Obsolete::File(self.meta.id));
        }
    }
}

/// Opens all of these files that are not open, of a distant store at the same time, so that it takes one round trip. One that cannot be opened is not;
/// who reads it is told.
pub fn open_together<'a>(files: impl Iterator<Item = &'a Arc<LiveFile>>) {
    let mut closed = files.filter(|file| file.is_distant() && file.reader.get().is_none());
    let Some(first) = closed.next() else {
        return;
    };
    let under_way: Vec<_> = closed
        .filter_map(|file| {
            let prefetcher = file.context.prefetcher.as_ref()?;
            let file = file.clone();
            prefetcher.run(move || file.reader().map(drop))
        })
        .collect();
    if under_way.is_empty() {
        return;
    }
    let _ = first.reader();
    for pending in under_way {
        let _ = pending.wait();
    }
}

/// A version with its files ready to be opened. Levels are ordered as in [`Version`].
pub struct LiveVersion {
    pub version: Arc<Version>,
    pub levels: [Vec<Arc<LiveFile>>; LEVELS],
    /// Level 0 as sorted runs, the newest first, each in key order.
    pub level0_runs: Vec<Vec<Arc<LiveFile>>>,
}

impl LiveVersion {
    /// Makes the files of `version`, taking over those that `before` has, and marks obsolete those that are gone.
    pub fn new(
        version: Arc<Version>,
        before: Option<&Self>,
        context: &Arc<FileContext>,
    ) -> Arc<Self> {
        let mut old: HashMap<u64, Arc<LiveFile>> = before
            .map(|before| {
                before
                    .levels
                    .iter()
                    .flatten()
                    .map(|file| (file.meta.id, file.clone()))
                    .collect()
            })
            .unwrap_or_default();
        let levels: [Vec<Arc<LiveFile>>; LEVELS] = std::array::from_fn(|level| {
            let files = version.level(level).iter();
            files
                .map(|meta| {
                    old.remove(&meta.id)
                        .unwrap_or_else(|| Arc::new(LiveFile::new(meta.clone(), context.clone())))
                })
                .collect()
        });
        for file in old.values() {
            file.mark_obsolete();
        }
        let level0_runs = sorted_runs(&levels[0], |file| &file.meta);
        Arc::new(Self {
            version,
            levels,
            level0_runs,
        })
    }

    /// The files that may hold `user_key`, newest first: at most one of each sorted run of level 0 and of each level below.
    pub fn files_for(&self, user_key: &[u8]) -> impl Iterator<Item = &Arc<LiveFile>> {
        let runs = self.level0_runs.iter().chain(&self.levels[1..]);
        runs.filter_map(move |files| {
            let at = files.partition_point(|file| file.meta.largest.user_key() < user_key);
            files
                .get(at)
                .filter(|file| file.meta.smallest.user_key() <= user_key)
        })
    }

    /// The files of a sorted level whose ranges meet [lower, upper).
    pub fn files_between(&self, level: usize, lower: &[u8], upper: &[u8]) -> &[Arc<LiveFile>] {
        let files = &self.levels[level];
        let start = files.partition_point(|file| file.meta.largest.user_key() < lower);
        let end = files.partition_point(|file| file.meta.smallest.user_key() < upper);
        files.get(start..end).unwrap_or_default()
    }
}

/// Memtables and files at one moment. Immutable; a change makes a new one.
#[derive(Clone)]
pub struct State {
    /// Takes writes.
    pub mem: Arc<MemTable>,
    /// Waiting to be flushed, newest first.
    pub immutable: Arc<Vec<Arc<MemTable>>>,
    /// Flushed data.
    pub files: Arc<LiveVersion>,
}

impl State {
    /// All memtables, newest first.
    pub fn memtables(&self) -> impl DoubleEndedIterator<Item = &Arc<MemTable>> {
        std::iter::once(&self.mem).chain(self.immutable.iter())
    }

    /// Bytes of memory that all memtables take.
    pub fn memtable_bytes(&self) -> u64 {
        self.memtables().map(|table| table.allocated() as u64).sum()
    }
}
