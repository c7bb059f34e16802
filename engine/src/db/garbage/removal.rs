//! Removing what nobody needs any more: files, chunks of the log, and old manifest objects.
//!
//! What leaves the newest version may still be read by others for a while, where the store is shared: it is kept for the grace period. And nothing is
//! removed before the log records that made it superfluous are in the store themselves: a server that loses its disk goes back to
//! what is there, and must find what belongs to it. Without a log in the store there is no wait of either kind.
//!
//! What is due goes together, by as few requests as the store can do with ([`crate::object_store::ObjectStore::delete_many`]). What could not be removed is tried again,
//! object by object with longer and longer pauses. What a crash or a close leaves to be done is found after the next open ([`super::OrphanSearch`]).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::Mutex;

use crate::cache::BlockCache;
use crate::db::health::Health;
use crate::db::log::Log;
use crate::db::tree::state::Obsolete;
use crate::env::failpoint;
use crate::manifest::{Manifest, sst_key};
use crate::object_store::ObjectStore;
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

/// What is to be removed.
struct Queue {
    obsolete: Receiver<Obsolete>,
    /// In the order in which it was announced, and so of both `due` and `logged`: only the first is looked at.
    pending: VecDeque<Pending>,
    again: Vec<Again>,
    stopped: bool,
}

/// Removes what it is told of, when that may be.
pub struct Remover {
    health: Arc<Health>,
    log: Arc<Log>,
    store: Arc<dyn ObjectStore>,
    cache: Arc<BlockCache>,
    /// How long what is no longer needed is kept where others may read it.
    grace: Duration,
    /// Held while the store is waited for.
    queue: Mutex<Queue>,
    pub deleted_files: AtomicU64,
}

impl Remover {
    /// What `obsolete` brings is to be removed from `store`, and from `cache`.
    pub fn new(
        health: Arc<Health>,
        log: Arc<Log>,
        store: Arc<dyn ObjectStore>,
        cache: Arc<BlockCache>,
        grace: Duration,
        obsolete: Receiver<Obsolete>,
    ) -> Self {
        Self {
            health,
            log,
            store,
            cache,
            grace,
            queue: Mutex::new(Queue {
                obsolete,
                pending: VecDeque::new(),
                again: Vec::new(),
                stopped: false,
            }),
            deleted_files: AtomicU64::new(0),
        }
    }

    /// The thread's body.
    pub fn run(&self) {
        let mut queue = self.queue.lock();
        while !queue.stopped {
            let told = match self.time_to_next(&queue) {
                None => queue.obsolete.recv().ok(),
                Some(time) => match queue.obsolete.recv_timeout(time) {
                    Err(RecvTimeoutError::Disconnected) => None,
                    Err(RecvTimeoutError::Timeout) => {
                        self.remove_due(&mut queue);
                        continue;
                    }
                    Ok(told) => Some(told),
                },
            };
            match told {
                Some(told) => self.note_obsolete(&mut queue, told),
                None => queue.stopped = true,
            }
            self.take_told(&mut queue);
            self.remove_due(&mut queue);
        }
    }

    /// Removes what is due now.
    pub fn work(&self) {
        let mut queue = self.queue.lock();
        self.take_told(&mut queue);
        self.remove_due(&mut queue);
    }

    fn take_told(&self, queue: &mut Queue) {
        while let Ok(told) = queue.obsolete.try_recv() {
            self.note_obsolete(queue, told);
        }
    }

    fn note_obsolete(&self, queue: &mut Queue, told: Obsolete) {
        let what = match told {
            Obsolete::File(id) => Garbage::File(id),
            Obsolete::Chunk(id) => Garbage::Chunk(id),
            Obsolete::Manifest(next_id) => return self.trim_manifest(next_id),
            Obsolete::Stop => {
                queue.stopped = true;
                return;
            }
        };
        let mut pending = Pending {
            due: Duration::ZERO,
            logged: 0,
            what,
        };
        if self.log.is_shared() {
            let now = self.health.clock.now();
            pending.due = now.saturating_add(self.grace);
            pending.logged = self.log.end();
        }
        queue.pending.push_back(pending);
    }

    fn time_to_next(&self, queue: &Queue) -> Option<Duration> {
        let now = self.health.clock.now();
        let first = queue.pending.front().map(|pending| {
            match pending.due.saturating_sub(now) {
                // It is due, and waits for the log.
                Duration::ZERO => SOON,
                time => time,
            }
        });
        let again = queue.again.iter().map(|again| again.due);
        let again = again.min().map(|due| due.saturating_sub(now).max(SOON));
        first.into_iter().chain(again).min()
    }

    fn remove_due(&self, queue: &mut Queue) {
        let uploaded = self.log.uploaded_end();
        loop {
            if self.log.is_shared() && self.health.check_open().is_err() {
                // The store may be away, and the close is not to wait for it.
                return;
            }
            let now = self.health.clock.now();
            let mut due = Vec::new();
            queue.again.retain(|again| {
                let wait = again.due > now || due.len() == AT_ONCE;
                if !wait {
                    due.push((again.what, again.pause * 2));
                }
                wait
            });
            while due.len() < AT_ONCE
                && let Some(first) = queue.pending.front()
                && first.due <= now
                && first.logged <= uploaded
            {
                due.push((first.what, FIRST_PAUSE));
                queue.pending.pop_front();
            }
            if due.is_empty() {
                return;
            }
            self.remove(&due, &mut queue.again);
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
                due: self.health.clock.now().saturating_add(pause),
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
            self.deleted_files.fetch_add(done, Ordering::Relaxed);
            result
        });
        results.collect()
    }

    fn trim_manifest(&self, next_id: u64) {
        if let Err(error) = Manifest::trim(&*self.store, next_id) {
            tracing::warn!("{error}");
        }
    }
}
