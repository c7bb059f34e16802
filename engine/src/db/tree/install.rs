//! Edits: what they need, and how they take effect.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::Tree;
use super::state::{LiveVersion, Obsolete, State};
use crate::db::health::RETRY;
use crate::env::failpoint;
use crate::manifest::{Manifest, Version, VersionEdit};
use crate::memtable::MemTable;
use crate::output::{DropRules, OutputHost, OutputSpec};
use crate::sst::SstOptions;
use crate::types::IndexId;
use crate::{Error, ErrorKind, Result};

impl Tree {
    /// Commits an edit and shows readers the version it makes; `flushed` are the memtables whose contents the edit adds.
    ///
    /// A store that is away is tried again until it is back, where it is not a local one.
    pub fn install(
        &self,
        manifest: &mut Manifest,
        edit: VersionEdit,
        flushed: &[Arc<MemTable>],
    ) -> Result<()> {
        self.install_within(manifest, edit, flushed, None)
    }

    /// The same, for an edit that may take effect though this fails with [`ErrorKind::Unavailable`], which it does after `patience`.
    pub fn install_within(
        &self,
        manifest: &mut Manifest,
        mut edit: VersionEdit,
        flushed: &[Arc<MemTable>],
        patience: Option<Duration>,
    ) -> Result<()> {
        self.health.check_writes()?;
        edit.next_file = Some(self.ids.next_file.load(Ordering::Acquire));
        let version = self.publish(manifest, &edit, patience)?;
        self.change_state(|now| State {
            mem: now.mem.clone(),
            immutable: Arc::new(
                now.immutable
                    .iter()
                    .filter(|table| !flushed.iter().any(|done| Arc::ptr_eq(done, table)))
                    .cloned()
                    .collect(),
            ),
            files: LiveVersion::new(version, Some(&now.files), &self.files),
        });
        if manifest.trim_is_due() {
            // As for files: at shutdown nobody listens, and the next open's edits trim again.
            self.tell_obsolete(Obsolete::Manifest(manifest.next_id()));
        }
        self.health.signal.notify();
        Ok(())
    }

    /// The manifest, for an edit that somebody waits for; waits `patience` at most for those before it.
    pub fn manifest_within(&self, patience: Duration) -> Result<MutexGuard<'_, Manifest>> {
        if let Some(manifest) = self.manifest.try_lock_for(patience) {
            return Ok(manifest);
        }
        self.health.manifest.check()?;
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("the manifest is being written since {patience:?}"),
        ))
    }

    /// Publishes that the engine's user is of this version or a later one, unless that is known. Waits for a store that is away for `patience` at most.
    pub fn raise_user_version(&self, version: u64, patience: Duration) -> Result<()> {
        if self.state().files.version.user_version >= version {
            return Ok(());
        }
        let mut manifest = self.manifest_within(patience)?;
        if manifest.current().user_version >= version {
            return Ok(());
        }
        let edit = VersionEdit {
            user_version: Some(version),
            ..VersionEdit::default()
        };
        // That it took effect all the same would harm nobody: it says no more than what the user is about to do.
        self.install_within(&mut manifest, edit, &[], Some(patience))
    }

    fn publish(
        &self,
        manifest: &mut Manifest,
        edit: &VersionEdit,
        patience: Option<Duration>,
    ) -> Result<Arc<Version>> {
        let health = &self.health;
        let start = health.clock.now();
        loop {
            let (seen, begun) = (health.signal.now(), health.clock.now());
            let error = match manifest.commit(edit) {
                Ok(version) => {
                    health.manifest.clear();
                    return Ok(version);
                }
                Err(error) => error.context("write manifest"),
            };
            let now = health.clock.now();
            let away = error.kind() == ErrorKind::Unavailable && self.options.remote_wal;
            if away && patience.is_some_and(|patience| now.saturating_sub(start) >= patience) {
                return Err(error);
            }
            if !away || health.check_open().is_err() {
                // Whether the edit took effect is not known: what follows must not build on either.
                health.end_writes(&error);
                return Err(error);
            }
            health.manifest.note("write manifest", &error, begun, now);
            health.pause(seen, RETRY);
            // Whether it took effect is found out by the next attempt; but not if another writer was found meanwhile.
            health.check_writes()?;
        }
    }

    /// Has an edit say what became of dropped indexes; `known` are those without which its files were made, `now` is the version that it follows.
    pub fn note_drops(
        &self,
        edit: &mut VersionEdit,
        known: &BTreeMap<IndexId, u64>,
        now: &Version,
    ) {
        if now.dropped_indexes.is_empty() {
            return;
        }
        let next_file = self.ids.next_file.load(Ordering::Acquire);
        let state = self.state.load();
        let oldest = state.memtables().next_back().map_or(0, |table| table.id());
        self.dropped.note(edit, known, now, next_file, oldest);
    }

    /// Publishes that these indexes are dropped.
    pub fn drop_indexes(&self, indexes: &HashSet<IndexId>) -> Result<()> {
        let mut manifest = self.manifest.lock();
        let boundary = self.ids.next_file.load(Ordering::Acquire);
        let newest_memtable = self.state.load().mem.id();
        let mut dropped_indexes: Vec<_> = indexes.iter().map(|&index| (index, boundary)).collect();
        dropped_indexes.sort_unstable();
        let edit = VersionEdit {
            dropped_indexes,
            ..VersionEdit::default()
        };
        self.dropped.add(indexes, newest_memtable);
        failpoint::hit("drop.before_install")?;
        self.install(&mut manifest, edit, &[])?;
        failpoint::hit("drop.installed")
    }

    /// Which versions of a key an output of now has to have.
    pub fn drop_rules(&self, version: &Version) -> DropRules {
        DropRules::new(self.snapshots.list(), version.dropped_indexes.clone())
    }

    /// How an output for a level is written.
    pub fn output_spec(&self, level: usize) -> OutputSpec<'_> {
        let options = &self.options;
        OutputSpec {
            store: &*self.files.store,
            host: self,
            limiter: &self.limiter,
            sst: SstOptions {
                block_size: options.block_size,
                compression: options.compression_of(level),
                zstd_level: options.zstd_level,
                ..SstOptions::default()
            },
            target_size: options.target_file_size,
        }
    }
}

impl OutputHost for Tree {
    fn next_file_id(&self) -> u64 {
        self.ids.next_file.fetch_add(1, Ordering::AcqRel)
    }

    fn check_stop(&self) -> Result<()> {
        self.health.check_open()?;
        self.health.check_writes()
    }
}
