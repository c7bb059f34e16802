//! The next segment, made ready before the writer needs it.
//!
//! Since every segment is filled to its end, the next one's start is known as soon as a segment is begun, and its file can stand complete under its
//! final name by then; taking it costs the writer nothing. A thread does that, unless the log keeps no spares: then, and whenever the
//! thread has not got that far or has failed, the writer makes the segment itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::WalOptions;
use super::segment::Segment;
use crate::env::fs::Fs;
use crate::{Error, Result};

pub(super) struct Preparer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    segment_size: u64,
    recycle: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    spares: Vec<String>,
    next: Option<Arc<Segment>>,
    /// Start of the segment the thread is to make.
    wanted: Option<u64>,
    busy: bool,
    stop: bool,
}

impl Preparer {
    pub fn start(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: &WalOptions,
        next: Option<Arc<Segment>>,
        mut spares: Vec<String>,
    ) -> Result<Self> {
        while spares.len() > options.recycle {
            if let Some(name) = spares.pop() {
                fs.remove(&dir.join(name))?;
            }
        }
        let shared = Arc::new(Shared {
            fs,
            dir: dir.to_owned(),
            segment_size: options.segment_size,
            recycle: options.recycle,
            state: Mutex::new(State {
                spares,
                next,
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        let thread = if options.recycle == 0 {
            None
        } else {
            let shared = Arc::clone(&shared);
            let spawned = std::thread::Builder::new()
                .name("se-wal-prepare".to_owned())
                .spawn(move || shared.run());
            Some(spawned.map_err(|error| Error::io("start the log's thread", error))?)
        };
        Ok(Self { shared, thread })
    }

    /// Asks for the segment that starts at `start` to be made ready.
    pub fn want(&self, start: u64) {
        if self.thread.is_none() {
            return;
        }
        let mut state = self.shared.state.lock();
        if state.next.as_ref().is_none_or(|next| next.start != start) {
            state.wanted = Some(start);
            self.shared.changed.notify_all();
        }
    }

    /// The segment that starts at `start`, ready or made now.
    pub fn take(&self, start: u64) -> Result<Arc<Segment>> {
        let spare = {
            let mut state = self.shared.state.lock();
            while state.busy {
                self.shared.changed.wait(&mut state);
            }
            // From here the thread makes nothing: two makers would meet in one file.
            state.wanted = None;
            match state.next.take() {
                Some(next) if next.start == start => return Ok(next),
                _ => state.spares.pop(),
            }
        };
        self.shared.create(start, spare)
    }

    /// Whether `segment` may become a spare beside `more` others that are not yet counted.
    pub fn accepts(&self, segment: &Segment, more: usize) -> bool {
        let fits = segment.offset(segment.end) == self.shared.segment_size;
        let shared = &self.shared;
        fits && shared.state.lock().spares.len() + more < shared.recycle
    }

    pub fn add_spares(&self, spares: Vec<String>) {
        self.shared.state.lock().spares.extend(spares);
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook; the log itself is not harmed by it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn create(&self, start: u64, spare: Option<String>) -> Result<Arc<Segment>> {
        Segment::create(
            &*self.fs,
            &self.dir,
            start,
            self.segment_size,
            spare.as_deref(),
        )
        .map(Arc::new)
    }

    fn run(&self) {
        let mut state = self.state.lock();
        while !state.stop {
            let Some(start) = state.wanted.take() else {
                self.changed.wait(&mut state);
                continue;
            };
            state.busy = true;
            let spare = state.spares.pop();
            drop(state);
            let made = self.create(start, spare);
            state = self.state.lock();
            state.busy = false;
            match made {
                Ok(segment) => state.next = Some(segment),
                // The writer will try by itself and report what it meets.
                Err(error) => tracing::warn!("prepare the next log segment: {error}"),
            }
            self.changed.notify_all();
        }
    }
}
