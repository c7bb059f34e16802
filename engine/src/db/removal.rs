//! Removing what nobody needs any more: files, chunks of the log, and old manifest objects.
//!
//! What leaves the newest version may still be read by others for a while, where the store is shared: it is kept for the grace period. And nothing is
//! removed before the log records that made it superfluous are in the store themselves: a server that loses its disk goes back to
//! what is there, and must find what belongs to it. Without a log in the store there is no wait of either kind.
//!
//! What is due goes together, by as few requests as the store can do with ([`crate::object_store::ObjectStore::delete_many`]). What could not be removed is tried again,
//! object by object with longer and longer pauses. What a crash or a close leaves to be done is found after the next open ([`super::orphans`]).

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::core::Core;
use super::state::Obsolete;
use crate::env::failpoint;
use crate::manifest::{Manifest, sst_key};
use crate::remote_wal::chunk_key;
use crate::{Error, Result};

/// How soon to look again for what waits for the log.
const SOON: Duration = Duration::from_millis(100);
/// Objects that are removed before it is looked whether the engine closes.
const AT_ONCE: usize = 4000;
/// The pause after a removal that failed; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Something that is to be removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Garbage {
    File(u64),
    Chunk(u64),
}

impl Garbage {
    fn key(self) -> String {
        match self {
            Self::File(id) => sst_key(id),
            Self::Chunk(id) => chunk_key(id),
        }
    }
}

struct Pending {
    /// When, by the engine's clock.
    due: Duration,
    /// Not before the log up to here is in the store.
    logged: u64,
    what: Garbage,
}

/// What could not be removed.
struct Again {
    due: Duration,
    pause: Duration,
    what: Garbage,
}

/// What is to be removed, and where more of it is announced.
pub struct Removal {
    obsolete: Receiver<Obsolete>,
    /// In the order in which it was announced, and so of both `due` and `logged`: only the first is looked at.
    pending: VecDeque<Pending>,
    again: Vec<Again>,
    stopped: bool,
}

impl Removal {
    pub fn new(obsolete: Receiver<Obsolete>) -> Self {
        Self {
            obsolete,
            pending: VecDeque::new(),
            again: Vec::new(),
            stopped: false,
        }
    }
}

impl Core {
    /// The thread's body.
    pub(super) fn run_removal(&self) {
        let mut removal = self.removal.lock();
        while !removal.stopped {
            let told = match self.time_to_next(&removal) {
                None => removal.obsolete.recv().ok(),
                Some(time) => match removal.obsolete.recv_timeout(time) {
                    Err(RecvTimeoutError::Disconnected) => None,
                    Err(RecvTimeoutError::Timeout) => {
                        self.remove_due(&mut removal);
                        continue;
                    }
                    Ok(told) => Some(told),
                },
            };
            match told {
                Some(told) => self.note_obsolete(&mut removal, told),
                None => removal.stopped = true,
            }
            self.take_told(&mut removal);
            self.remove_due(&mut removal);
        }
    }

    /// Removes what is due now.
    pub(super) fn work_on_removal(&self) {
        let mut removal = self.removal.lock();
        self.take_told(&mut removal);
        self.remove_due(&mut removal);
    }

    fn take_told(&self, removal: &mut Removal) {
        while let Ok(told) = removal.obsolete.try_recv() {
            self.note_obsolete(removal, told);
        }
    }

    fn note_obsolete(&self, removal: &mut Removal, told: Obsolete) {
        let what = match told {
            Obsolete::File(id) => Garbage::File(id),
            Obsolete::Chunk(id) => Garbage::Chunk(id),
            Obsolete::Manifest(next_id) => return self.trim_manifest(next_id),
            Obsolete::Stop => {
                removal.stopped = true;
                return;
            }
        };
        let mut pending = Pending {
            due: Duration::ZERO,
            logged: 0,
            what,
        };
        if self.remote.is_some() {
            let now = self.clock.now();
            pending.due = now.saturating_add(self.options.gc_grace);
            pending.logged = self.wal.end();
        }
        removal.pending.push_back(pending);
    }

    fn time_to_next(&self, removal: &Removal) -> Option<Duration> {
        let now = self.clock.now();
        let first = removal.pending.front().map(|pending| {
            match pending.due.saturating_sub(now) {
                // It is due, and waits for the log.
                Duration::ZERO => SOON,
                time => time,
            }
        });
        let again = removal.again.iter().map(|again| again.due);
        let again = again.min().map(|due| due.saturating_sub(now).max(SOON));
        first.into_iter().chain(again).min()
    }

    fn remove_due(&self, removal: &mut Removal) {
        let uploaded = match &self.remote {
            Some(remote) => remote.uploaded(),
            None => u64::MAX,
        };
        loop {
            if self.remote.is_some() && self.check_open().is_err() {
                // The store may be away, and the close is not to wait for it.
                return;
            }
            let now = self.clock.now();
            let mut due = Vec::new();
            removal.again.retain(|again| {
                let wait = again.due > now || due.len() == AT_ONCE;
                if !wait {
                    due.push((again.what, again.pause * 2));
                }
                wait
            });
            while due.len() < AT_ONCE
                && let Some(first) = removal.pending.front()
                && first.due <= now
                && first.logged <= uploaded
            {
                due.push((first.what, FIRST_PAUSE));
                removal.pending.pop_front();
            }
            if due.is_empty() {
                return;
            }
            self.remove(&due, &mut removal.again);
        }
    }

    /// Removes these; what fails is noted to be tried again after the pause beside it.
    fn remove(&self, due: &[(Garbage, Duration)], again: &mut Vec<Again>) {
        let files: HashSet<u64> = due
            .iter()
            .filter_map(|&(what, _)| match what {
                Garbage::File(id) => Some(id),
                Garbage::Chunk(_) => None,
            })
            .collect();
        if !files.is_empty() {
            self.cache.erase_files(&files);
        }
        let keys: Vec<String> = due.iter().map(|(what, _)| what.key()).collect();
        let mut failed = Vec::new();
        for (&(what, pause), result) in due.iter().zip(self.delete_objects(&keys)) {
            let Err(error) = result else {
                continue;
            };
            if pause == FIRST_PAUSE {
                failed.push(error);
            }
            let pause = pause.min(LONGEST_PAUSE);
            again.push(Again {
                due: self.clock.now().saturating_add(pause),
                pause,
                what,
            });
        }
        if let Some(first) = failed.first() {
            let count = failed.len();
            tracing::warn!(
                "{count} objects that are no longer needed could not be removed, trying again: {first}"
            );
        }
    }

    fn delete_objects(&self, keys: &[String]) -> Vec<Result<()>> {
        let hit: Vec<Result<()>> = keys
            .iter()
            .map(|_| failpoint::hit("gc.before_delete"))
            .collect();
        let go = keys.iter().zip(&hit).filter(|(_, hit)| hit.is_ok());
        let go: Vec<String> = go.map(|(key, _)| key.clone()).collect();
        let mut deleted = self.store.delete_many(&go).into_iter();
        let missing = || Err(Error::new(crate::ErrorKind::Internal, "no result"));
        let results = hit.into_iter().map(|hit| {
            let result = hit.and_then(|()| deleted.next().unwrap_or_else(missing));
            let done = u64::from(result.is_ok());
            self.stats.deleted_files.fetch_add(done, Ordering::Relaxed);
            result
        });
        results.collect()
    }

    fn trim_manifest(&self, next_id: u64) {
        if let Err(error) = Manifest::trim(&*self.store, next_id) {
            tracing::warn!("{error}");
        }
    }

    /// Has something removed when that may be.
    pub(super) fn tell_obsolete(&self, obsolete: Obsolete) {
        // At shutdown nobody listens any more; the next open finds what is left.
        let _ = self.files.obsolete.send(obsolete);
    }
}
