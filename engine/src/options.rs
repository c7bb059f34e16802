//! What can be set on an engine, with the limits of each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::disk::MIN_CACHE_SIZE;
use crate::env::fs::{Fs, RealFs};
use crate::env::{Clock, SystemClock};
use crate::manifest::LEVELS;
use crate::object_store::{ObjectStore, StoreOptions, is_distant, open_store_with, place_of};
use crate::remote_wal::WINDOW;
use crate::sst::{Compression, IterOptions, most_ahead};
use crate::{Error, Result};

/// What the engine takes without doing anything: threads, tables of locks and blocks, the manifest.
const FIXED_OVERHEAD: u64 = 2 << 20;

/// Reads under way ahead of scans, over a store that a URL names and that is not on this machine.
const DISTANT_PREFETCH: usize = 16;

/// The least [`Options::transaction_memory`], in bytes.
pub const MIN_TRANSACTION_MEMORY: u64 = 4 << 10;

/// When a commit's WAL record reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalSync {
    /// Before the commit is acknowledged.
    EachCommit,
    /// Written before it is acknowledged, synced about once a second: a crash of the process loses nothing, one of the machine a second.
    EachSecond,
}

/// Where a commit has to be before it is acknowledged, in an engine that keeps its log in the store as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// In the local log, as [`WalSync`] says. Losing the process or the power loses nothing, losing the disk at most what
    /// [`Options::wal_upload_interval`] lets gather.
    #[default]
    Local,
    /// In the store. Losing anything but the store loses nothing.
    Object,
}

/// Says whether a store may be opened whose [`Engine::user_version`](crate::Engine::user_version) is the given one, and if not, why.
pub type UserVersionCheck = dyn Fn(u64) -> Result<()> + Send + Sync;

/// How to open an engine. [`Options::new`] gives the defaults; [`Options::validate`] names what is out of range.
///
/// ```
/// let dir = tempfile::tempdir().unwrap();
/// let mut options = smartengine::Options::new(dir.path());
/// options.memtable_size = 8 << 20;
/// assert!(options.validate().is_ok());
/// options.block_size = 3;
/// assert!(options.validate().unwrap_err().message().contains("block_size"));
/// ```
#[derive(Clone)]
pub struct Options {
    /// The local directory: lock file and, unless `wal_dir` says otherwise, the WAL.
    pub data_dir: PathBuf,
    /// Where the WAL is; `None` for `wal` in `data_dir`.
    pub wal_dir: Option<PathBuf>,
    /// Whether a store that was written to may be opened though its WAL is not in `wal_dir`: commits that were in it alone are then lost.
    pub accept_lost_log: bool,
    /// Where objects are kept; `None` for the directory `store` in `data_dir`. [`Options::set_store_url`] sets it together with what a store
    /// elsewhere needs.
    pub store: Option<Arc<dyn ObjectStore>>,
    /// What errors of [`Engine::open`](crate::Engine::open) call the store; `None` for `data_dir`. Without credentials.
    pub store_name: Option<String>,
    /// Whether the log is kept in the store as well, so that the local disk may be lost, and other writers are kept out of it. An open then asks the
    /// store first whether it can keep two writers apart, and refuses one that does not.
    pub remote_wal: bool,
    /// The longest time that a record of the log waits before it is sent to the store, if nobody waits for it.
    pub wal_upload_interval: Duration,
    /// Bytes of log at which they are sent sooner, 4 KiB to 1 GiB.
    pub wal_upload_size: u64,
    /// How many pieces of the log are on their way to the store at once, 1 to 64.
    pub wal_upload_threads: usize,
    /// Bytes of log that may wait for the store before writers wait, too.
    pub max_unuploaded_wal: u64,
    /// How long a writer waits for a store that is away before it fails.
    pub store_wait: Duration,
    /// How long an object that is no longer needed is kept for those who may still read it.
    pub gc_grace: Duration,
    /// Whether the engine has no threads of its own and works only when it is told to ([`crate::Engine::work`]). For tests that
    /// replay a run.
    #[doc(hidden)]
    pub manual: bool,
    /// Bytes on a local disk that may hold pieces of the store's objects, so that they need not be fetched again; 0 for none, else at least 2 MiB. Has no
    /// effect where `store` is `None`: that one is local.
    pub persistent_cache_size: u64,
    /// The directory for that; `None` for `cache` in `data_dir`. What is in it belongs to one store; opened for another one it is emptied.
    pub persistent_cache_dir: Option<PathBuf>,
    /// How many reads of the store may be under way ahead of scans, in all, at most 256; 0 for a store as near as a disk, where scans read for themselves.
    pub prefetch: usize,
    /// The local file layer, for the WAL and the persistent cache. Tests put one in its place that fails.
    #[doc(hidden)]
    pub fs: Arc<dyn Fs>,
    /// Time. Tests put their own in its place.
    #[doc(hidden)]
    pub clock: Arc<dyn Clock>,
    /// What names this writer in the manifest.
    pub writer: String,
    /// Asked at an open whether this version of the program that uses the engine may go on with the store, before anything of the store is changed;
    /// what it answers is the open's error. `None` opens all.
    pub user_version_check: Option<Arc<UserVersionCheck>>,
    /// Bytes of a data block before compression, 1 KiB to 1 MiB.
    pub block_size: usize,
    /// Bytes of the cache of uncompressed blocks.
    pub block_cache_size: u64,
    /// Bytes at which a memtable becomes immutable, at least 64 KiB.
    pub memtable_size: u64,
    /// Bytes of all memtables together beyond which writers wait; at least `memtable_size`.
    pub total_memtable_size: u64,
    /// Bytes of WAL beyond which the oldest memtable is flushed, at least 1 MiB.
    pub total_wal_size: u64,
    /// Bytes at which an output file is cut, at least 64 KiB.
    pub target_file_size: u64,
    /// The least size that level 1 aims for, in bytes; each further level aims for `level_multiplier` times the one above.
    pub base_level_size: u64,
    /// How many times larger a level is than the one above, at least 2.
    pub level_multiplier: u64,
    /// Sorted runs in level 0 at which it is compacted, at least 1: what one flush writes is one, however many files it is.
    pub level0_compaction_trigger: usize,
    /// Sorted runs in level 0 at which writers are slowed.
    pub level0_slowdown_trigger: usize,
    /// Sorted runs in level 0 at which writers wait.
    pub level0_stop_trigger: usize,
    /// Compression of each level; deeper levels use the last entry.
    pub compression: Vec<Compression>,
    /// The level of zstd's effort, 1 to 19.
    pub zstd_level: i32,
    /// Threads that compact, at least 1.
    pub compaction_threads: usize,
    /// Bytes per second that flush and compaction may write; 0 for no limit.
    pub rate_limit: u64,
    /// Whether nothing is compacted unless asked for.
    pub disable_auto_compactions: bool,
    /// When a commit reaches the disk.
    pub wal_sync: WalSync,
    /// How many rows a transaction may lock.
    pub max_row_locks: u64,
    /// Bytes that one transaction's writes may take in memory, at least 4 KiB; what is beyond goes to local files until it commits.
    pub transaction_memory: u64,
}

impl Options {
    /// The defaults, with everything under `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            wal_dir: None,
            accept_lost_log: false,
            store: None,
            store_name: None,
            remote_wal: false,
            wal_upload_interval: Duration::from_millis(200),
            wal_upload_size: 2 << 20,
            wal_upload_threads: 16,
            max_unuploaded_wal: 1 << 30,
            store_wait: Duration::from_secs(30),
            gc_grace: Duration::from_secs(600),
            manual: false,
            persistent_cache_size: 0,
            persistent_cache_dir: None,
            prefetch: 0,
            fs: Arc::new(RealFs),
            clock: Arc::new(SystemClock::new()),
            writer: format!("process {}", std::process::id()),
            user_version_check: None,
            block_size: 16 << 10,
            block_cache_size: 128 << 20,
            memtable_size: 64 << 20,
            total_memtable_size: 256 << 20,
            total_wal_size: 512 << 20,
            target_file_size: 64 << 20,
            base_level_size: 256 << 20,
            level_multiplier: 10,
            level0_compaction_trigger: 4,
            level0_slowdown_trigger: 20,
            level0_stop_trigger: 36,
            compression: vec![
                Compression::Lz4,
                Compression::Lz4,
                Compression::Lz4,
                Compression::Lz4,
                Compression::Zstd,
            ],
            zstd_level: 3,
            compaction_threads: 1,
            rate_limit: 0,
            disable_auto_compactions: false,
            wal_sync: WalSync::EachCommit,
            max_row_locks: 1 << 30,
            transaction_memory: 32 << 20,
        }
    }

    /// The defaults with everything that has to last in the store at `url`, so that what is under `data_dir` may be lost; see
    /// [`Options::set_store_url`].
    ///
    /// ```
    /// # fn main() -> smartengine::Result<()> {
    /// # let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    /// use smartengine::{Engine, Options};
    /// let url = format!("file://{}", elsewhere.path().display());
    /// let engine = Engine::open(Options::at_url(dir.path(), &url)?)?;
    /// assert!(engine.remote_wal().is_some());
    /// # engine.close()
    /// # }
    /// ```
    pub fn at_url(data_dir: impl Into<PathBuf>, url: &str) -> Result<Self> {
        let mut options = Self::new(data_dir);
        options.set_store_url(url, &StoreOptions::default())?;
        Ok(options)
    }

    /// Keeps the data in the store that `url` names, reached as `how` says where the URL does not: `s3://bucket/prefix?…` (with the crate's
    /// feature `s3`), `file:///absolute/path`, or `memory://`, which lasts as long as these options and what was opened with them. See
    /// [`object_store`](crate::object_store) for the URL's parameters.
    ///
    /// A store elsewhere is there to outlive this disk, so the log is kept there as well ([`Options::remote_wal`]). Where it is not on this machine,
    /// scans read ahead ([`Options::prefetch`]).
    ///
    /// The store is connected to at once: [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for what is wrong with the URL, the bucket or the credentials,
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where there is no answer. A URL holds no credentials, and of one that seems to, no error
    /// repeats them.
    pub fn set_store_url(&mut self, url: &str, how: &StoreOptions) -> Result<()> {
        self.store = Some(open_store_with(url, how)?);
        self.store_name = Some(place_of(url).to_owned());
        self.remote_wal = true;
        if is_distant(url) {
            self.prefetch = DISTANT_PREFETCH;
        }
        Ok(())
    }

    /// What errors call the place of the data.
    pub(crate) fn place(&self) -> String {
        let dir = || self.data_dir.display().to_string();
        self.store_name.clone().unwrap_or_else(dir)
    }

    /// The directory of the WAL.
    pub(crate) fn wal_dir(&self) -> PathBuf {
        self.wal_dir
            .clone()
            .unwrap_or_else(|| self.data_dir.join("wal"))
    }

    /// The directory of the persistent cache.
    pub(crate) fn persistent_cache_dir(&self) -> PathBuf {
        self.persistent_cache_dir
            .clone()
            .unwrap_or_else(|| self.data_dir.join("cache"))
    }

    /// About how many bytes the engine takes at most beyond `block_cache_size` and `total_memtable_size`.
    ///
    /// That is, for each flush and compaction under way, what is read ahead of each input, and the filter and index of the file being written;
    /// and a fixed part. Not in it are `transaction_memory` for each transaction that writes, up to 256 KiB for each file that a cursor
    /// scans (over a distant store, with `prefetch`, up to 2.25 MiB), a few KiB for each open file, 32 MiB for each file on
    /// its way to a bucket, and a thousandth of `persistent_cache_size`.
    pub fn memory_overhead(&self) -> u64 {
        let jobs = 1 + self.compaction_threads as u64;
        let inputs = 1 + self.level0_stop_trigger as u64;
        let reading = inputs * most_ahead(&IterOptions::sequential(), self.prefetch > 0);
        // With the smallest rows, a filter being built takes this share of its file.
        let writing = (1 << 20) + self.target_file_size / 4;
        FIXED_OVERHEAD + jobs * writing + self.compaction_threads as u64 * reading
    }

    /// Compression of a level.
    pub(crate) fn compression_of(&self, level: usize) -> Compression {
        self.compression
            .get(level)
            .or(self.compression.last())
            .copied()
            .unwrap_or(Compression::None)
    }

    /// Fails naming the first option that is out of range.
    pub fn validate(&self) -> Result<()> {
        let limits: [(&str, u64, u64, u64); 16] = [
            ("block_size", self.block_size as u64, 1 << 10, 1 << 20),
            ("memtable_size", self.memtable_size, 64 << 10, 1 << 40),
            (
                "total_memtable_size",
                self.total_memtable_size,
                self.memtable_size,
                1 << 44,
            ),
            ("total_wal_size", self.total_wal_size, 1 << 20, 1 << 50),
            ("target_file_size", self.target_file_size, 64 << 10, 1 << 40),
            ("base_level_size", self.base_level_size, 64 << 10, 1 << 50),
            ("level_multiplier", self.level_multiplier, 2, 100),
            (
                "level0_compaction_trigger",
                self.level0_compaction_trigger as u64,
                1,
                10_000,
            ),
            (
                "level0_stop_trigger",
                self.level0_stop_trigger as u64,
                self.level0_slowdown_trigger as u64,
                100_000,
            ),
            ("compaction_threads", self.compaction_threads as u64, 1, 64),
            ("prefetch", self.prefetch as u64, 0, 256),
            ("max_row_locks", self.max_row_locks, 1, u64::MAX),
            ("wal_upload_size", self.wal_upload_size, 4 << 10, 1 << 30),
            (
                "wal_upload_threads",
                self.wal_upload_threads as u64,
                1,
                WINDOW,
            ),
            (
                "max_unuploaded_wal",
                self.max_unuploaded_wal,
                64 << 10,
                1 << 50,
            ),
            (
                "transaction_memory",
                self.transaction_memory,
                MIN_TRANSACTION_MEMORY,
                1 << 40,
            ),
        ];
        for (name, value, least, most) in limits {
            if !(least..=most).contains(&value) {
                return Err(Error::invalid(format!(
                    "option {name}: {value} was given, {least} to {most} is allowed"
                )));
            }
        }
        if !(1..=19).contains(&self.zstd_level) {
            return Err(Error::invalid(format!(
                "option zstd_level: {} was given, 1 to 19 is allowed",
                self.zstd_level
            )));
        }
        if (1..MIN_CACHE_SIZE).contains(&self.persistent_cache_size) {
            return Err(Error::invalid(format!(
                "option persistent_cache_size: {} was given, 0 or at least {MIN_CACHE_SIZE} is allowed",
                self.persistent_cache_size
            )));
        }
        if self.compression.is_empty() || self.compression.len() > LEVELS {
            return Err(Error::invalid(format!(
                "option compression: {} levels were given, 1 to {LEVELS} are allowed",
                self.compression.len()
            )));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("data_dir", &self.data_dir)
            .field("store_name", &self.store_name)
            .finish_non_exhaustive()
    }
}
