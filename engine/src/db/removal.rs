//! Removing what nobody needs any more: files, chunks of the log, and old manifest objects.
//!
//! What leaves the newest version may still be read by others for a while, where the store is shared: it is kept for the grace period. And nothing is
//! removed before the log records that made it superfluous are in the store themselves: a server that loses its disk goes back to
//! what is there, and must find what belongs to it. Without a log in the store there is no wait of either kind.
//!
//! What a crash or a close leaves to be done, the next open finds by comparing listings with the version ([`crate::gc`]).

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::core::Core;
use super::state::Obsolete;
use crate::env::failpoint;
use crate::gc;
use crate::manifest::{Manifest, sst_key};
use crate::remote_wal::chunk_key;
use crate::{Result, ResultExt};

/// How soon to look again for what waits for the log.
const SOON: Duration = Duration::from_millis(100);

/// Something that is to be removed.
enum Garbage {
    File(u64),
    Chunk(u64),
}

struct Pending {
    /// When, by the engine's clock.
    due: Duration,
    /// Not before the log up to here is in the store.
    logged: u64,
    what: Garbage,
}

/// What is to be removed, and where more of it is announced.
pub struct Removal {
    obsolete: Receiver<Obsolete>,
    pending: Vec<Pending>,
    stopped: bool,
}

impl Removal {
    pub fn new(obsolete: Receiver<Obsolete>) -> Self {
        Self {
            obsolete,
            pending: Vec::new(),
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
        removal.pending.push(pending);
    }

    fn time_to_next(&self, removal: &Removal) -> Option<Duration> {
        let now = self.clock.now();
        let times = removal.pending.iter().map(|pending| {
            match pending.due.saturating_sub(now) {
                // It is due, and waits for the log.
                Duration::ZERO => SOON,
                time => time,
            }
        });
        times.min()
    }

    fn remove_due(&self, removal: &mut Removal) {
        if self.remote.is_some() && self.check_open().is_err() {
            // The store may be away, and the close is not to wait for it.
            return;
        }
        let now = self.clock.now();
        let uploaded = match &self.remote {
            Some(remote) => remote.uploaded(),
            None => u64::MAX,
        };
        let mut due = Vec::new();
        removal.pending.retain_mut(|pending| {
            let ready = pending.due <= now && pending.logged <= uploaded;
            if ready {
                due.push(std::mem::replace(&mut pending.what, Garbage::Chunk(0)));
            }
            !ready
        });
        let mut files = HashSet::new();
        for what in due {
            match what {
                Garbage::File(id) => {
                    files.insert(id);
                }
                Garbage::Chunk(id) => self.delete_object(&chunk_key(id)),
            }
        }
        self.remove_files(&files);
    }

    fn remove_files(&self, files: &HashSet<u64>) {
        if files.is_empty() {
            return;
        }
        self.cache.erase_files(files);
        let mut ordered: Vec<u64> = files.iter().copied().collect();
        ordered.sort_unstable();
        for id in ordered {
            self.delete_object(&sst_key(id));
        }
    }

    fn trim_manifest(&self, next_id: u64) {
        if let Err(error) = Manifest::trim(&*self.store, next_id) {
            tracing::warn!("{error}");
        }
    }

    /// Deletes an object that nobody needs; a failure costs space until the next open.
    pub(super) fn delete_object(&self, key: &str) {
        if self.remote.is_some() && self.check_open().is_err() {
            return;
        }
        match failpoint::hit("gc.before_delete").and_then(|()| self.store.delete(key)) {
            Ok(()) => {
                self.stats.deleted_files.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!("delete {key}: {error}"),
        }
    }

    /// Removes what neither the version nor a file in `kept` needs, or, where others may read the store, has it removed after the grace period.
    pub(super) fn remove_orphans(&self, kept: &HashSet<u64>) -> Result<()> {
        let version = self.state.load().files.version.clone();
        let listed = gc::list_all(&*self.store, gc::SST_PREFIX).context(|| "list files")?;
        for orphan in gc::orphans(&version, kept, &listed) {
            match self.remote {
                None => {
                    tracing::info!("removing {}, which no version names", sst_key(orphan));
                    self.delete_object(&sst_key(orphan));
                }
                Some(_) => self.tell_obsolete(Obsolete::File(orphan)),
            }
        }
        if self.remote.is_some() {
            let listed = gc::list_all(&*self.store, crate::remote_wal::CHUNK_PREFIX)
                .context(|| "list the log in the store")?;
            for chunk in gc::old_chunks(&version, &listed) {
                self.tell_obsolete(Obsolete::Chunk(chunk));
            }
        }
        self.stats.deleted_files.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Has something removed when that may be.
    pub(super) fn tell_obsolete(&self, obsolete: Obsolete) {
        // At shutdown nobody listens any more; the next open finds what is left.
        let _ = self.files.obsolete.send(obsolete);
    }
}
