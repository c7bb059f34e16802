//! Compactions: when a task is picked, how it is carried out, and how its outcome takes effect.

mod compacting;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use self::compacting::Compacting;
pub use self::compacting::OutputRange;
use super::health::Health;
use super::tree::state::{LiveFile, LiveVersion};
use super::tree::{OpenFiles, Source, Tree};
use crate::compaction::{self, Inputs, PickConfig, Task, sorted_runs};
use crate::env::failpoint;
use crate::iter::LevelIter;
use crate::manifest::{FileMeta, Version, VersionEdit};
use crate::options::Options;
use crate::sst::IterOptions;
use crate::txn::snapshots::Snapshots;
use crate::{ErrorKind, Result, ResultExt};

/// How long a thread sleeps when there is nothing to do; a signal wakes it sooner.
const IDLE: Duration = Duration::from_millis(500);

/// See the module's description.
pub struct Compactor {
    health: Arc<Health>,
    options: Arc<Options>,
    tree: Arc<Tree>,
    snapshots: Arc<Snapshots>,
    compacting: Mutex<Compacting>,
    pub compactions: AtomicU64,
    pub read_bytes: AtomicU64,
    pub written_bytes: AtomicU64,
}

/// No task is picked while this lives.
pub struct NoPicking<'a> {
    compactor: &'a Compactor,
    /// Where the outputs of tasks that were picked before come to lie.
    pub outputs: Vec<OutputRange>,
}

impl Drop for NoPicking<'_> {
    fn drop(&mut self) {
        self.compactor.compacting.lock().ingests -= 1;
        self.compactor.health.signal.notify();
    }
}

impl Compactor {
    pub fn new(
        health: Arc<Health>,
        options: Arc<Options>,
        tree: Arc<Tree>,
        snapshots: Arc<Snapshots>,
    ) -> Self {
        Self {
            health,
            options,
            tree,
            snapshots,
            compacting: Mutex::default(),
            compactions: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
        }
    }

    /// Tasks under way.
    pub fn running(&self) -> usize {
        self.compacting.lock().running
    }

    /// What the picker is told.
    pub fn pick_config(&self, everything: bool) -> PickConfig {
        let trigger = self.tree.tuning.level0_compaction_trigger();
        let memtable = self.tree.tuning.memtable_size.load(Ordering::Relaxed);
        PickConfig {
            level0_trigger: trigger,
            level0_size: (trigger as u64).saturating_mul(memtable),
            base_size: self.options.base_level_size,
            multiplier: self.options.level_multiplier,
            oldest_snapshot: self.snapshots.oldest().unwrap_or(self.snapshots.visible()),
            everything,
        }
    }

    /// A thread's body.
    pub fn run(&self) {
        let health = &self.health;
        while !health.is_closing() {
            let seen = health.signal.now();
            let pause = health.compaction.pause(health.clock.now());
            let Some((task, files)) = (match pause {
                None => self.take_task(),
                Some(_) => None,
            }) else {
                health.signal.wait(seen, pause.unwrap_or(IDLE));
                continue;
            };
            self.carry_out(&task, files);
        }
    }

    /// Does what a thread would do now, once; whether there was anything.
    pub fn work(&self) -> bool {
        let health = &self.health;
        if health.compaction.pause(health.clock.now()).is_some() {
            return false;
        }
        let Some((task, files)) = self.take_task() else {
            return false;
        };
        self.carry_out(&task, files);
        true
    }

    /// Has everything compacted for as long as `wait` takes, which is given when that began.
    pub fn everything(&self, wait: impl FnOnce(Duration) -> Result<()>) -> Result<()> {
        let start = self.health.clock.now();
        self.compacting.lock().everything += 1;
        self.health.compaction.clear();
        self.health.signal.notify();
        let result = wait(start);
        self.compacting.lock().everything -= 1;
        result
    }

    /// Whether a compaction of everything has nothing left to do; fails if it cannot go on, or an attempt has failed that began at `start` or later.
    pub fn is_done(&self, start: Duration) -> Result<bool> {
        self.health.check_writes()?;
        self.health.compaction.check_since(start)?;
        let compacting = self.compacting.lock();
        let version = self.tree.state().files.version.clone();
        Ok(compacting.running == 0
            && compaction::pick(&version, &self.pick_config(true), &compacting.busy).is_none())
    }

    /// Has no task picked for as long as the caller takes, which may be long: it waits for the store. So it is no lock, for which others would wait.
    pub fn hold_picking(&self) -> NoPicking<'_> {
        let mut compacting = self.compacting.lock();
        compacting.ingests += 1;
        NoPicking {
            compactor: self,
            outputs: compacting.outputs.clone(),
        }
    }

    fn take_task(&self) -> Option<(Task, Arc<LiveVersion>)> {
        let mut compacting = self.compacting.lock();
        let everything = compacting.everything > 0;
        let tuning = &self.tree.tuning;
        let off = tuning.auto_compactions_are_off();
        let held = tuning.is_paused() || (off && !everything) || compacting.ingests > 0;
        if held || self.health.check_writes().is_err() {
            return None;
        }
        let files = self.tree.state().files.clone();
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

    fn carry_out(&self, task: &Task, files: Arc<LiveVersion>) {
        let health = &self.health;
        let begun = health.clock.now();
        let result = self.run_task(task, &files);
        // Whoever is told of the end finds the inputs unused.
        drop(files);
        match &result {
            Ok(()) => {
                health.compaction.clear();
                self.compactions.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => health
                .compaction
                .note("compaction", error, begun, health.clock.now()),
        }
        let mut compacting = self.compacting.lock();
        for id in task.file_ids() {
            compacting.busy.remove(&id);
            compacting.outputs.retain(|output| output.input != id);
        }
        compacting.running -= 1;
        drop(compacting);
        health.signal.notify();
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
        let rules = self.tree.drop_rules(&files.version);
        let output = compaction::merge(inputs, rules, self.tree.output_spec(to))
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
        self.read_bytes.fetch_add(read, Ordering::Relaxed);
        self.written_bytes.fetch_add(written, Ordering::Relaxed);
        Ok(())
    }

    /// Installs a task's edit; `made_from` is the version whose dropped indexes its output leaves out.
    fn install_task(&self, mut edit: VersionEdit, made_from: Option<&Version>) -> Result<()> {
        let mut manifest = self.tree.manifest();
        let now = manifest.current();
        let known = made_from.unwrap_or(&now).dropped_indexes.clone();
        self.tree.note_drops(&mut edit, &known, &now);
        failpoint::hit("compaction.before_install")?;
        self.tree.install(&mut manifest, edit, &[])
    }
}
