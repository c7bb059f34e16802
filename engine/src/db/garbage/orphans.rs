//! Looking, after an open, for what a crash or a close of an earlier writer has left in the store, while the engine serves already.
//!
//! Only outputs that no edit came to name, files whose removal did not happen, and old chunks of the log are looked for, by listings of `sst/` and `wal/`, a
//! page at a time. What is found is removed as everything else is, after the grace period where others may read the store ([`super::Remover`]). A listing that
//! fails is tried again later, and one that hangs keeps nothing waiting but the close; a crash in between leaves the rest to the next open.
//!
//! # Why nothing is taken for an orphan that is not one
//!
//! While this looks, the engine flushes, compacts, ingests, and may be superseded. What is looked for was fixed when the engine was opened, and can only become
//! less than it was:
//!
//! - Files of this writer's epoch and of later ones are never considered: their numbers are not below [`first_file_of_epoch`] of the epoch that this writer took, and the
//!   listing ends there. No number of an earlier epoch is given out by then: a writer that held such an epoch can no longer publish an edit, so
//!   what it still writes is an orphan as well.
//! - A file of an earlier epoch is in use if the version at the end of the open names it, or a prepared transaction without a decision. Both are noted down
//!   then, after commits by files that the log held were finished. Later versions name a file of an earlier epoch only if one of the two did: flushes and compactions
//!   make new files or move those of the version before, and commits by files bring files of this epoch, or those of a prepared transaction. So whatever is not noted
//!   down stays out of every later version, of this writer's and of its successors', who go on from these.
//! - A file that is noted down and leaves the version later is not found here, but removed by whatever lets go of it.
//! - A chunk below the first that the version at the end of the open needs is below the first of every later version, since that only rises; chunks' ids are
//!   not used again
//!   below it. Fences stay, by their size.
//! - A successor may attach meanwhile: what is removed is garbage to it for the same reasons.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::db::health::Health;
use crate::db::tree::state::Obsolete;
use crate::gc::{self, Orphans};
use crate::manifest::{Version, first_file_of_epoch, sst_key};
use crate::object_store::ObjectStore;
use crate::remote_wal::{CHUNK_PREFIX, chunk_key};
use crate::{ErrorKind, Result, ResultExt};

/// The pause after a listing that failed; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What is looked for, and how far the search has come.
struct Search {
    orphans: Orphans,
    /// Folders that are left, the last one first: what its keys begin with, and the key at which it ends.
    folders: Vec<(&'static str, String)>,
    /// The last key that was listed.
    after: String,
    found: u64,
    pause: Duration,
    /// When it is tried again, by the engine's clock.
    again_at: Duration,
}

impl Search {
    fn new(version: &Version, kept: HashSet<u64>, with_log: bool) -> Self {
        let end = first_file_of_epoch(version.epoch);
        let mut folders = Vec::new();
        if with_log {
            folders.push((CHUNK_PREFIX, chunk_key(version.first_chunk)));
        }
        folders.push((gc::SST_PREFIX, sst_key(end)));
        Self {
            orphans: Orphans::new(version, kept, end),
            folders,
            after: String::new(),
            found: 0,
            pause: FIRST_PAUSE,
            again_at: Duration::ZERO,
        }
    }
}

/// The search after an open.
pub struct OrphanSearch {
    health: Arc<Health>,
    store: Arc<dyn ObjectStore>,
    /// Who removes what is found.
    obsolete: Sender<Obsolete>,
    /// None before it begins, and when everything was looked at. Held while the store is waited for.
    search: Mutex<Option<Search>>,
}

impl OrphanSearch {
    /// One that has not begun.
    pub fn new(
        health: Arc<Health>,
        store: Arc<dyn ObjectStore>,
        obsolete: Sender<Obsolete>,
    ) -> Self {
        Self {
            health,
            store,
            obsolete,
            search: Mutex::new(None),
        }
    }

    /// Begins after the open that gave `version`, whose epoch is this writer's; `kept` are files that prepared transactions name, and `with_log` says
    /// whether the log is in the store.
    pub fn begin(&self, version: &Version, kept: HashSet<u64>, with_log: bool) {
        *self.search.lock() = Some(Search::new(version, kept, with_log));
    }

    /// The thread's body: ends when everything was looked at.
    pub fn run(&self) {
        while !self.health.is_closing() {
            let seen = self.health.signal.now();
            match self.look() {
                None => return,
                Some(pause) if pause.is_zero() => {}
                // A signal may be the close.
                Some(pause) => self.health.signal.wait(seen, pause),
            }
        }
    }

    /// Looks at one more page. Returns how long to wait before the next one, if there is one.
    pub fn look(&self) -> Option<Duration> {
        let mut search = self.search.lock();
        let now = self.health.clock.now();
        let next = search.as_mut()?;
        if next.again_at > now {
            return Some(next.again_at - now);
        }
        match self.look_at_page(next) {
            Ok(true) => {
                next.pause = FIRST_PAUSE;
                Some(Duration::ZERO)
            }
            Ok(false) => {
                if next.found > 0 {
                    tracing::info!(
                        "{} objects that an earlier run left in the store are removed",
                        next.found
                    );
                }
                *search = None;
                None
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) => {
                if next.pause == FIRST_PAUSE {
                    tracing::warn!(
                        "the search for objects that an earlier run left failed, trying again: {error}"
                    );
                }
                next.again_at = self.health.clock.now().saturating_add(next.pause);
                next.pause = (next.pause * 2).min(LONGEST_PAUSE);
                Some(Duration::ZERO)
            }
        }
    }

    /// Whether there is another page.
    fn look_at_page(&self, search: &mut Search) -> Result<bool> {
        let Some((prefix, end)) = search.folders.last() else {
            return Ok(false);
        };
        let listed = self.store.list(prefix, &search.after, gc::PAGE);
        let mut listed = listed.context(|| format!("list {prefix}"))?;
        let full = listed.len() == gc::PAGE;
        let last = listed.last().map(|object| object.key.clone());
        listed.retain(|object| object.key < *end);
        for id in search.orphans.files(&listed) {
            search.found += 1;
            self.tell(Obsolete::File(id));
        }
        for id in search.orphans.chunks(&listed) {
            search.found += 1;
            self.tell(Obsolete::Chunk(id));
        }
        match last {
            Some(last) if full && last < *end => search.after = last,
            _ => {
                search.folders.pop();
                search.after.clear();
            }
        }
        Ok(!search.folders.is_empty())
    }
    fn tell(&self, obsolete: Obsolete) {
        // At shutdown nobody listens any more; the next open finds it again.
        let _ = self.obsolete.send(obsolete);
    }
}
