//! The engine's own threads: flush, compaction, the once-a-second sync, drops of indexes, and the removal of files.
//!
//! Each loops until the engine closes. A failure is logged once where it happens, and the work is tried again after a pause: the data is
//! still in the WAL or in the inputs. Only a manifest edit whose outcome is unknown stops the engine's writes ([`Core::install`]), and a panic,
//! which leaves a thread missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::core::Core;
use super::cursor::{OpenFiles, Source};
use super::state::{LiveFile, LiveVersion, Obsolete};
use crate::compaction::{self, Inputs, PickConfig, Task, sorted_runs};
use crate::env::failpoint;
use crate::flush::flush_memtables;
use crate::iter::LevelIter;
use crate::manifest::{FileMeta, Manifest, Version, VersionEdit};
use crate::memtable::MemTable;
use crate::output::{DropRules, OutputSpec};
use crate::sst::{IterOptions, SstOptions};
use crate::{Error, ErrorKind, Result, ResultExt};

/// How long a thread sleeps when there is nothing to do; a signal wakes it sooner.
const IDLE: Duration = Duration::from_millis(500);

/// How soon to look again whether the commits that still write to a full memtable are done.
const SOON: Duration = Duration::from_millis(1);

/// The time between two syncs of what was committed without one.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// What compaction threads share.
#[derive(Default)]
pub struct Compacting {
    /// Files that a running task uses.
    pub busy: HashSet<u64>,
    /// Tasks under way.
    pub running: usize,
    /// Where their outputs come to lie: level, least and greatest user key, and one of the task's files.
    pub outputs: Vec<OutputRange>,
    /// How many wait for everything to be compacted.
    pub everything: usize,
    /// How many commits by files are coming in: until they are, no task is picked.
    ingests: usize,
}

/// No task is picked while this lives.
pub struct NoPicking<'a> {
    core: &'a Core,
    /// Where the outputs of tasks that were picked before come to lie.
    pub outputs: Vec<OutputRange>,
}

impl Drop for NoPicking<'_> {
    fn drop(&mut self) {
        self.core.compacting.lock().ingests -= 1;
        self.core.signal.notify();
    }
}

/// Where a task's output may come to lie.
#[derive(Clone)]
pub struct OutputRange {
    level: usize,
    smallest: Vec<u8>,
    largest: Vec<u8>,
    /// One of the task's inputs, by which it is known.
    input: u64,
}

impl OutputRange {
    fn of(task: &Task) -> Option<Self> {
        let (level, files): (usize, Vec<&Arc<FileMeta>>) = match task {
            Task::Delete { .. } => return None,
            Task::Move { to, files, .. } => (*to, files.iter().collect()),
            Task::Merge {
                to, upper, lower, ..
            } => (*to, upper.iter().chain(lower).collect()),
        };
        let smallest = files.iter().map(|file| file.smallest.user_key()).min()?;
        let largest = files.iter().map(|file| file.largest.user_key()).max()?;
        Some(Self {
            level,
            smallest: smallest.to_vec(),
            largest: largest.to_vec(),
            input: files.first()?.id,
        })
    }

    /// Whether a file of that output might overlap this one at `level`.
    pub fn meets(&self, level: usize, file: &FileMeta) -> bool {
        self.level == level
            && self.smallest.as_slice() <= file.largest.user_key()
            && file.smallest.user_key() <= self.largest.as_slice()
    }
}

/// Starts all threads.
pub fn start(core: &Arc<Core>) -> Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    if core.options.manual {
        return Ok(threads);
    }
    let started = start_each(core, &mut threads);
    if started.is_err() {
        core.close_for_writes();
        core.signal.notify();
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
    }
    started.map(|()| threads)
}

fn start_each(core: &Arc<Core>, threads: &mut Vec<JoinHandle<()>>) -> Result<()> {
    let mut spawn = |name: String, body: Box<dyn FnOnce(&Core) + Send>| {
        let core = core.clone();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || core.guard_thread(&name, body))
            .map_err(|error| Error::io("start a background thread", error))?;
        threads.push(thread);
        Ok(())
    };
    spawn("se-flush".to_owned(), Box::new(Core::run_flush))?;
    for number in 0..core.options.compaction_threads {
        let name = format!("se-compact-{number}");
        spawn(name, Box::new(Core::run_compaction))?;
    }
    spawn("se-sync".to_owned(), Box::new(Core::run_sync))?;
    spawn("se-drop".to_owned(), Box::new(Core::run_drops))?;
    if core.remote.is_some() {
        for number in 0..core.options.wal_upload_threads {
            spawn(format!("se-upload-{number}"), Box::new(Core::run_upload))?;
        }
        spawn("se-watch".to_owned(), Box::new(Core::run_watch))?;
    }
    spawn("se-orphans".to_owned(), Box::new(Core::run_orphans))?;
    spawn("se-gc".to_owned(), Box::new(Core::run_removal))
}

impl Core {
    /// Runs a thread's body; if it panics, the engine takes no more writes: work that they depend on is not done any more.
    fn guard_thread(&self, name: &str, body: Box<dyn FnOnce(&Self) + Send>) {
        let run = std::panic::AssertUnwindSafe(|| body(self));
        if std::panic::catch_unwind(run).is_err() {
            tracing::error!("thread {name} panicked");
            self.pipeline.fail(&format!("thread {name} panicked"));
            self.signal.notify();
        }
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn run_flush(&self) {
        while !self.closing() {
            let seen = self.signal.now();
            let paused = self.tunables.pause_background_work.load(Ordering::Relaxed);
            let pause = self.flush_failing.pause(self.clock.now());
            if paused || pause.is_some() || self.pipeline.check().is_err() {
                self.signal.wait(seen, pause.unwrap_or(IDLE));
                continue;
            }
            match self.flush_once() {
                Ok(true) => self.flush_failing.clear(),
                Ok(false) if self.state.load().immutable.is_empty() => self.signal.wait(seen, IDLE),
                Ok(false) => self.signal.wait(seen, SOON),
                Err(error) if error.kind() == ErrorKind::Interrupted => return,
                Err(error) => {
                    self.flush_failing.note("flush", &error, self.clock.now());
                    self.signal.notify();
                }
            }
        }
    }

    /// Flushes the immutable memtables that are quiet, oldest first. Whether there was any.
    pub fn flush_once(&self) -> Result<bool> {
        let _one_at_a_time = self.flushing.lock();
        self.pipeline.check()?;
        let state = self.state.load_full();
        let ready: Vec<Arc<MemTable>> = state
            .immutable
            .iter()
            .rev()
            .take_while(|table| table.is_quiet())
            .cloned()
            .collect();
        let Some(newest) = ready.last() else {
            return Ok(false);
        };
        // What follows from the floor is not only what the memtables hold: that a prepared transaction was rolled back lets go of its prepare.
        let (floor, decided) = self.wal_floor_without(newest);
        self.wal.sync(decided)?;
        self.uploaded_or_failing(decided)?;
        let rules = self.drop_rules(&state.files.version);
        let known = state.files.version.dropped_indexes.clone();
        let files = flush_memtables(&ready, rules, self.output_spec(0))?;
        failpoint::hit("flush.written")?;
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        let largest_seq = files.iter().map(|file| file.largest_seq).max();
        let mut manifest = self.manifest.lock();
        let now = self.state.load_full();
        let mut edit = VersionEdit {
            wal_floor: Some(floor),
            last_seq: largest_seq.map(|seq| seq.max(now.files.version.last_seq)),
            added: files.into_iter().map(|file| (0, file)).collect(),
            ..VersionEdit::default()
        };
        self.note_drops(&mut edit, &known, &now.files.version);
        edit.first_chunk = self.remote.as_ref().map(|log| log.first_chunk(floor));
        let first_chunk = edit.first_chunk;
        self.install(&mut manifest, edit, &ready)?;
        drop(manifest);
        failpoint::hit("flush.installed")?;
        if let (Some(remote), Some(first)) = (&self.remote, first_chunk) {
            for chunk in remote.release(first) {
                self.tell_obsolete(Obsolete::Chunk(chunk));
            }
        }
        self.stats.flushes.fetch_add(1, Ordering::Relaxed);
        self.stats.flush_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.wal.release(floor)?;
        Ok(true)
    }

    /// From where on the log is needed once the memtables up to `flushed` are in files: by younger ones, and by prepared transactions
    /// without a decision. And up to where the log has to be kept for that to be true; what comes later only raises the floor.
    fn wal_floor_without(&self, flushed: &MemTable) -> (u64, u64) {
        // A decision moves a prepare from the one to the other.
        let _guard = self.write_lock.lock();
        let state = self.state.load();
        let undecided = self.undecided.lock().values().copied().min();
        let younger = state
            .memtables()
            .filter(|table| table.id() > flushed.id())
            .map(|table| table.wal_start());
        let floor = younger.chain(undecided).min();
        (floor.unwrap_or(flushed.wal_end()), self.wal.end())
    }

    fn drop_rules(&self, version: &Version) -> DropRules {
        DropRules::new(self.snapshots.list(), version.dropped_indexes.clone())
    }

    pub(super) fn output_spec(&self, level: usize) -> OutputSpec<'_> {
        OutputSpec {
            store: &*self.store,
            host: self,
            limiter: &self.limiter,
            sst: SstOptions {
                block_size: self.options.block_size,
                compression: self.options.compression_of(level),
                zstd_level: self.options.zstd_level,
                ..SstOptions::default()
            },
            target_size: self.options.target_file_size,
        }
    }

    /// What the picker is told.
    pub fn pick_config(&self, everything: bool) -> PickConfig {
        let trigger = self
            .tunables
            .level0_compaction_trigger
            .load(Ordering::Relaxed) as usize;
        PickConfig {
            level0_trigger: trigger.max(1),
            level0_size: (trigger.max(1) as u64)
                .saturating_mul(self.tunables.memtable_size.load(Ordering::Relaxed)),
            base_size: self.options.base_level_size,
            multiplier: self.options.level_multiplier,
            oldest_snapshot: self.snapshots.oldest().unwrap_or(self.snapshots.visible()),
            everything,
        }
    }

    fn run_compaction(&self) {
        while !self.closing() {
            let seen = self.signal.now();
            let pause = self.compaction_failing.pause(self.clock.now());
            let Some((task, files)) = (match pause {
                None => self.take_task(),
                Some(_) => None,
            }) else {
                self.signal.wait(seen, pause.unwrap_or(IDLE));
                continue;
            };
            self.carry_out(&task, files);
        }
    }

    /// Does what the threads would do now, each kind of work once; whether there was any. What fails is tried again later, as by a thread.
    pub fn work(&self) -> Result<bool> {
        let mut any = false;
        if let Some(remote) = &self.remote {
            match remote.step(&self.wal, false) {
                Ok(done) => any |= done,
                Err(error) => self.end_writes(&error),
            }
        }
        let paused = self.tunables.pause_background_work.load(Ordering::Relaxed);
        let now = self.clock.now();
        if !paused && self.pipeline.check().is_ok() && self.flush_failing.pause(now).is_none() {
            match self.flush_once() {
                Ok(done) => {
                    any |= done;
                    self.flush_failing.clear();
                }
                Err(error) => self.flush_failing.note("flush", &error, now),
            }
        }
        if self.compaction_failing.pause(self.clock.now()).is_none()
            && let Some((task, files)) = self.take_task()
        {
            any = true;
            self.carry_out(&task, files);
        }
        match self.publish_drops() {
            Ok(done) => any |= done,
            Err(error) => tracing::warn!("drop of an index, left to the next start: {error}"),
        }
        self.look_for_orphans();
        self.work_on_removal();
        self.check_open()?;
        Ok(any)
    }

    fn carry_out(&self, task: &Task, files: Arc<LiveVersion>) {
        let result = self.run_task(task, &files);
        // Whoever is told of the end finds the inputs unused.
        drop(files);
        match &result {
            Ok(()) => {
                self.compaction_failing.clear();
                self.stats.compactions.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self
                .compaction_failing
                .note("compaction", error, self.clock.now()),
        }
        let mut compacting = self.compacting.lock();
        for id in task.file_ids() {
            compacting.busy.remove(&id);
            compacting.outputs.retain(|output| output.input != id);
        }
        compacting.running -= 1;
        drop(compacting);
        self.signal.notify();
    }

    /// Has no task picked for as long as the caller takes, which may be long: it waits for the store. So it is no lock, for which others would wait.
    pub(super) fn hold_picking(&self) -> NoPicking<'_> {
        let mut compacting = self.compacting.lock();
        compacting.ingests += 1;
        NoPicking {
            core: self,
            outputs: compacting.outputs.clone(),
        }
    }

    fn take_task(&self) -> Option<(Task, Arc<LiveVersion>)> {
        let mut compacting = self.compacting.lock();
        let everything = compacting.everything > 0;
        let off = self
            .tunables
            .disable_auto_compactions
            .load(Ordering::Relaxed);
        let paused = self.tunables.pause_background_work.load(Ordering::Relaxed);
        let held = paused || (off && !everything) || compacting.ingests > 0;
        if held || self.pipeline.check().is_err() {
            return None;
        }
        let files = self.state.load().files.clone();
        let task = compaction::pick(
            &files.version,
            &self.pick_config(everything),
            &compacting.busy,
        )?;
        compacting.busy.extend(task.file_ids());
        compacting.outputs.extend(OutputRange::of(&task));
        compacting.running += 1;
        Some((task, files))
    }

    /// Whether a compaction of everything has nothing left to do; fails if it cannot go on.
    pub fn compaction_is_done(&self) -> Result<bool> {
        self.pipeline.check()?;
        self.compaction_failing.check()?;
        let compacting = self.compacting.lock();
        let version = self.state.load().files.version.clone();
        Ok(compacting.running == 0
            && compaction::pick(&version, &self.pick_config(true), &compacting.busy).is_none())
    }

    fn run_task(&self, task: &Task, files: &LiveVersion) -> Result<()> {
        match task {
            Task::Delete { files } => {
                let deleted = files
                    .iter()
                    .map(|(level, file)| (*level, file.id))
                    .collect();
                self.install_task(
                    VersionEdit {
                        deleted,
                        ..VersionEdit::default()
                    },
                    None,
                )
            }
            Task::Move { from, to, files } => {
                let edit = VersionEdit {
                    deleted: files.iter().map(|file| (*from, file.id)).collect(),
                    added: files
                        .iter()
                        .map(|file| (*to, FileMeta::clone(file)))
                        .collect(),
                    ..VersionEdit::default()
                };
                self.install_task(edit, None)
            }
            Task::Merge {
                from,
                to,
                upper,
                lower,
                ..
            } => self.run_merge(files, (*from, upper), (*to, lower)),
        }
    }

    fn run_merge(
        &self,
        files: &LiveVersion,
        (from, upper): (usize, &[Arc<FileMeta>]),
        (to, lower): (usize, &[Arc<FileMeta>]),
    ) -> Result<()> {
        let options = IterOptions::sequential();
        let open = |level: usize, wanted: &[Arc<FileMeta>]| -> Vec<Arc<LiveFile>> {
            let ids: HashSet<u64> = wanted.iter().map(|file| file.id).collect();
            let level = files.levels[level].iter();
            level
                .filter(|file| ids.contains(&file.meta.id))
                .cloned()
                .collect()
        };
        let mut runs = Vec::new();
        let upper_runs = match from {
            0 => sorted_runs(&open(from, upper), |file| &file.meta),
            _ => vec![open(from, upper)],
        };
        for files in upper_runs.into_iter().chain([open(to, lower)]) {
            if !files.is_empty() {
                runs.push(Source::Level(LevelIter::new(OpenFiles { files, options })));
            }
        }
        let inputs = Inputs {
            runs,
            version: files.version.clone(),
            output_level: to,
        };
        let rules = self.drop_rules(&files.version);
        let output = compaction::merge(inputs, rules, self.output_spec(to))
            .context(|| format!("compact level {from} to {to}"))?;
        failpoint::hit("compaction.written")?;
        let read: u64 = upper.iter().chain(lower).map(|file| file.size).sum();
        let written: u64 = output.iter().map(|file| file.size).sum();
        let deleted = upper
            .iter()
            .map(|file| (from, file.id))
            .chain(lower.iter().map(|file| (to, file.id)))
            .collect();
        let added = output.into_iter().map(|file| (to, file)).collect();
        let edit = VersionEdit {
            deleted,
            added,
            ..VersionEdit::default()
        };
        self.install_task(edit, Some(&files.version))?;
        failpoint::hit("compaction.installed")?;
        self.stats
            .compaction_read_bytes
            .fetch_add(read, Ordering::Relaxed);
        self.stats
            .compaction_write_bytes
            .fetch_add(written, Ordering::Relaxed);
        Ok(())
    }

    /// Installs a task's edit; `made_from` is the version whose dropped indexes its output leaves out.
    fn install_task(&self, mut edit: VersionEdit, made_from: Option<&Version>) -> Result<()> {
        let mut manifest: parking_lot::MutexGuard<'_, Manifest> = self.manifest.lock();
        let now = manifest.current();
        let known = made_from.unwrap_or(&now).dropped_indexes.clone();
        self.note_drops(&mut edit, &known, &now);
        failpoint::hit("compaction.before_install")?;
        self.install(&mut manifest, edit, &[])
    }

    /// Syncs what was committed without a sync of its own: by the engine's options, by a commit's choice, or by a rollback that kept counters.
    fn run_sync(&self) {
        while !self.closing() {
            let seen = self.signal.now();
            let behind = self.wal.synced() < self.wal.end();
            if behind
                && self.pipeline.check().is_ok()
                && let Err(error) = self.wal.sync(self.wal.end())
            {
                tracing::error!("sync of the log failed: {error}");
                self.end_writes(&error);
            }
            self.signal.wait(seen, SYNC_INTERVAL);
        }
    }
}
