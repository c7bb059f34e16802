//! Work that someone asks for.

use std::time::Duration;

use super::core::Core;
use crate::{Error, Result, ResultExt};

/// How long to wait for a notification before looking again all the same.
const WAIT: Duration = Duration::from_millis(20);

impl Core {
    /// Does what the threads would do now, each kind of work once; whether there was any. What fails is tried again later, as by a thread.
    pub fn work(&self) -> Result<bool> {
        let mut any = self.log.upload_due();
        any |= self.flusher.work();
        any |= self.compactor.work();
        match self.drops.publish() {
            Ok(done) => any |= done,
            Err(error) => tracing::warn!("drop of an index, left to the next start: {error}"),
        }
        self.orphans.look();
        self.remover.work();
        self.health.check_open()?;
        Ok(any)
    }

    /// Flushes, then compacts everything to the bottom level, and waits for it. Fails as soon as an attempt fails.
    pub fn compact(&self) -> Result<()> {
        // Nothing of what was dropped before is to be left.
        self.drops.publish()?;
        self.flusher.flush()?;
        self.compactor
            .everything(|start| self.wait_for_compaction(start))
    }

    fn wait_for_compaction(&self, start: Duration) -> Result<()> {
        loop {
            let seen = self.health.signal.now();
            self.health.check_open()?;
            if self.tree.tuning.is_paused() {
                return Err(Error::invalid(
                    "background work is paused: compaction would never end",
                ));
            }
            if self.compactor.is_done(start).context(|| "compact")? {
                return Ok(());
            }
            if !self.options.manual || !self.work()? {
                self.health.pause(seen, WAIT);
            }
        }
    }
}
