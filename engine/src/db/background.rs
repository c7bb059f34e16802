//! The engine's own threads: flush, compaction, the once-a-second sync, drops of indexes, the removal of files, and with a log in the store its upload and
//! a look at who else writes there.
//!
//! Each loops until the engine closes. A failure is logged once where it happens, and the work is tried again after a pause: the data is
//! still in the WAL or in the inputs. Only a manifest edit whose outcome is unknown stops the engine's writes, and a panic, which leaves a thread missing.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::core::Core;
use crate::{Error, Result};

/// How often a writer that sends its log looks whether another one has attached.
const LOOK: Duration = Duration::from_secs(1);

/// Starts all threads.
pub fn start(core: &Arc<Core>) -> Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    if core.options.manual {
        return Ok(threads);
    }
    let started = start_each(core, &mut threads);
    if started.is_err() {
        core.close_for_writes();
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
    }
    started.map(|()| threads)
}

fn start_each(core: &Arc<Core>, threads: &mut Vec<JoinHandle<()>>) -> Result<()> {
    let mut spawn = |name: String, body: fn(&Core)| {
        let core = core.clone();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || run_guarded(&core, &name, body))
            .map_err(|error| Error::io("start a background thread", error))?;
        threads.push(thread);
        Ok(())
    };
    spawn("se-flush".to_owned(), |core| core.flusher.run())?;
    for number in 0..core.options.compaction_threads {
        let name = format!("se-compact-{number}");
        spawn(name, |core| core.compactor.run())?;
    }
    spawn("se-sync".to_owned(), |core| core.log.run_sync())?;
    spawn("se-drop".to_owned(), |core| core.drops.run())?;
    if core.log.is_shared() {
        for number in 0..core.options.wal_upload_threads {
            let name = format!("se-upload-{number}");
            spawn(name, |core| core.log.run_upload())?;
        }
        spawn("se-watch".to_owned(), watch)?;
    }
    spawn("se-orphans".to_owned(), |core| core.orphans.run())?;
    spawn("se-gc".to_owned(), |core| core.remover.run())
}

/// Runs a thread's body; if it panics, the engine takes no more writes: work that they depend on is not done any more.
fn run_guarded(core: &Core, name: &str, body: fn(&Core)) {
    let run = std::panic::AssertUnwindSafe(|| body(core));
    if std::panic::catch_unwind(run).is_err() {
        tracing::error!("thread {name} panicked");
        let gate = core.health.gate();
        gate.close(&format!("thread {name} panicked"));
        core.health.signal.notify();
    }
}

/// Checks from time to time, while the log goes to the store, whether another writer has attached. That one cannot find the log's end
/// as long as this one adds to it; and the sooner this one stops, the less is lost that is acknowledged here alone.
fn watch(core: &Core) {
    let health = &core.health;
    let (mut seen, mut again) = (core.log.uploaded_end(), health.clock.now());
    while !health.is_closing() {
        let moment = health.signal.now();
        let (uploaded, now) = (core.log.uploaded_end(), health.clock.now());
        if uploaded != seen && now >= again && health.check_writes().is_ok() {
            (seen, again) = (uploaded, now + LOOK);
            if let Err(error) = core.tree.look_for_successor() {
                health.note_fence(&error);
            }
        }
        health.signal.wait(moment, LOOK);
    }
}
