//! Cutting the local log into chunks and putting them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::format::{Chunk, ChunkBuilder, ChunkHeader, ChunkKind, RECORD_OVERHEAD, chunk_key};
use super::{Taken, WINDOW, claim};
use crate::env::{Clock, failpoint};
use crate::object_store::ObjectStore;
use crate::wal::Wal;
use crate::{Error, ErrorKind, Result, ResultExt};

/// The pause before a chunk that could not be put is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How often a waiter asks whether it is to stop.
const ASK: Duration = Duration::from_millis(50);
/// A backlog is cut into chunks of this many times the size.
const BACKLOG: u64 = 4;

/// When chunks are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadOptions {
    /// The longest time that a record waits for its chunk to be cut.
    pub interval: Duration,
    /// Bytes at which a chunk is cut sooner.
    pub size: u64,
    /// Whether waiters do the work themselves, since there are no threads.
    pub inline: bool,
}

/// What the upload has done since the writer attached, and its present state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteWalStats {
    /// Chunks put.
    pub chunks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Log position up to which all is in the store.
    pub uploaded: u64,
    /// Chunks on their way.
    pub in_flight: u64,
    /// Why the last put failed, if none has succeeded since, and when that began, by the engine's clock.
    pub failing: Option<(Duration, String)>,
    /// Why nothing is put any longer, if that is so.
    pub ended: Option<String>,
}

/// A chunk on its way.
struct Job {
    header: ChunkHeader,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct State {
    options: UploadTuning,
    /// Id of the next chunk to be cut.
    next_id: u64,
    /// Log position up to which it is cut: the end of the last chunk.
    cut: u64,
    /// Log position up to which it was read: there is no record between `cut` and this.
    read: u64,
    /// Whether a thread reads the local log for the next chunk.
    cutting: bool,
    /// Since when there is something to cut.
    since: Option<Duration>,
    /// Somebody waits for this position.
    wanted: u64,
    /// Id of the first chunk that is not acknowledged.
    first_open: u64,
    /// Chunks behind it that are in the store already: their ends.
    done: BTreeMap<u64, u64>,
    /// Acknowledged chunks that are still needed: ids and ends.
    chunks: VecDeque<(u64, u64)>,
    /// Chunks whose put failed, and when they are tried again.
    again: BTreeMap<u64, (Job, Duration)>,
    in_flight: u64,
    failing: Option<(Duration, String)>,
    /// Why no chunk will ever be put again.
    ended: Option<(ErrorKind, String)>,
}

#[derive(Clone, Copy, Default)]
struct UploadTuning {
    interval: Duration,
    size: u64,
}

/// The log in the store, open for appending.
pub struct RemoteWal {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    epoch: u64,
    writer_id: u128,
    inline: bool,
    uploaded: AtomicU64,
    state: Mutex<State>,
    /// For threads that upload.
    work: Condvar,
    /// For those who wait for an acknowledgement.
    acknowledged: Condvar,
    /// Whether a thread keeps an eye on the local log's end.
    watched: AtomicBool,
    cut_chunks: AtomicU64,
    put_chunks: AtomicU64,
    put_bytes: AtomicU64,
}

/// What a thread is to do next.
enum Next {
    Put(Job),
    Sleep(Option<Duration>),
    End,
}

impl RemoteWal {
    /// Goes on where the writer of this epoch and number has attached.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        epoch: u64,
        writer_id: u128,
        taken: Taken,
        options: UploadOptions,
    ) -> Self {
        let cut_chunks = AtomicU64::new(taken.chunks.len() as u64);
        let state = State {
            options: UploadTuning {
                interval: options.interval,
                size: options.size,
            },
            next_id: taken.next_id,
            cut: taken.end,
            read: taken.end,
            first_open: taken.next_id,
            chunks: taken.chunks,
            ..State::default()
        };
        Self {
            store,
            clock,
            epoch,
            writer_id,
            inline: options.inline,
            uploaded: AtomicU64::new(taken.end),
            state: Mutex::new(state),
            work: Condvar::new(),
            acknowledged: Condvar::new(),
            watched: AtomicBool::new(false),
            cut_chunks,
            put_chunks: AtomicU64::new(0),
            put_bytes: AtomicU64::new(0),
        }
    }

    /// Everything below this log position is in the store.
    pub fn uploaded(&self) -> u64 {
        self.uploaded.load(Ordering::Acquire)
    }

    /// Chunks with records that were cut so far, counted from the first that was needed when the writer attached.
    pub fn cut_chunks(&self) -> u64 {
        self.cut_chunks.load(Ordering::Relaxed)
    }

    /// The epoch of this writer.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Why the last put failed, if none has succeeded since.
    pub fn failing(&self) -> Option<String> {
        let state = self.state.lock();
        state.failing.as_ref().map(|(_, why)| why.clone())
    }

    /// The same for messages, and since when by the engine's clock: here a put that the store itself is still repeating counts as failed as well.
    pub fn trouble(&self) -> Option<(Duration, String)> {
        if let Some(failing) = &self.state.lock().failing {
            return Some(failing.clone());
        }
        let (age, why) = self.store.meter()?.trouble()?;
        Some((self.clock.now().saturating_sub(age), why))
    }

    /// Asks for the log up to a position to be sent without delay.
    pub fn want(&self, position: u64) {
        let mut state = self.state.lock();
        if state.wanted < position {
            state.wanted = position;
            self.work.notify_one();
        }
    }

    /// Tells that the local log has grown. Costs next to nothing while a thread looks at the log's end anyway.
    pub fn appended(&self) {
        fence(Ordering::SeqCst);
        if !self.watched.load(Ordering::Relaxed) {
            let _state = self.state.lock();
            self.work.notify_one();
        }
    }

    /// Changes when chunks are cut.
    pub fn set_tuning(&self, interval: Duration, size: u64) {
        self.state.lock().options = UploadTuning { interval, size };
        self.work.notify_all();
    }

    /// Uploads until [`RemoteWal::stop`], or until uploading has ended for good: then the error says why, [`ErrorKind::Fenced`] if another writer took over.
    pub fn run(&self, wal: &Wal) -> Result<()> {
        let _guard = PanicGuard(self);
        let mut state = self.state.lock();
        loop {
            match self.next(wal, &mut state)? {
                Next::Put(job) => MutexGuard::unlocked(&mut state, || self.put(job)),
                Next::Sleep(time) => match time {
                    Some(time) => drop(self.work.wait_for(&mut state, time)),
                    None => self.work.wait(&mut state),
                },
                Next::End => {
                    return match &state.ended {
                        Some((ErrorKind::Interrupted, _)) => Ok(()),
                        _ => state.outcome(),
                    };
                }
            }
        }
    }

    /// Uploads what is due now, or, with `all`, everything, without waiting for anything that failed. Returns whether there was anything. For engines without threads.
    pub fn step(&self, wal: &Wal, all: bool) -> Result<bool> {
        let mut any = false;
        let mut state = self.state.lock();
        loop {
            if all {
                state.wanted = wal.end();
            }
            match self.next(wal, &mut state)? {
                Next::Put(job) => {
                    any = true;
                    MutexGuard::unlocked(&mut state, || self.put(job));
                }
                Next::Sleep(_) => return Ok(any),
                Next::End => return state.outcome().map(|()| any),
            }
        }
    }

    fn next(&self, wal: &Wal, state: &mut MutexGuard<'_, State>) -> Result<Next> {
        loop {
            if state.ended.is_some() {
                return Ok(Next::End);
            }
            let now = self.clock.now();
            let retry = state.again.first_key_value();
            let mut wake = retry.map(|(_, (_, at))| at.saturating_sub(now));
            if wake == Some(Duration::ZERO)
                && let Some((_, (job, _))) = state.again.pop_first()
            {
                state.in_flight += 1;
                // This thread may have been the one that looks at the log's end.
                self.watched.store(false, Ordering::Relaxed);
                self.work.notify_one();
                return Ok(Next::Put(job));
            }
            if state.cutting || state.next_id >= state.first_open + WINDOW {
                // A thread that cuts, or whose put ends, wakes another.
                return Ok(Next::Sleep(wake));
            }
            let waiting = wal.end().saturating_sub(state.read);
            if waiting == 0 {
                state.since = None;
                self.watched.store(false, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                if wal.end() <= state.read {
                    return Ok(Next::Sleep(wake));
                }
                continue;
            }
            self.watched.store(true, Ordering::Relaxed);
            let since = *state.since.get_or_insert(now);
            let due = since
                .saturating_add(state.options.interval)
                .saturating_sub(now);
            if !due.is_zero() && waiting < state.options.size && state.wanted <= state.read {
                wake = Some(wake.map_or(due, |wake| wake.min(due)));
                return Ok(Next::Sleep(wake));
            }
            if let Some(job) = self.cut(wal, state)? {
                return Ok(Next::Put(job));
            }
        }
    }

    /// Cuts the next chunk; none if there was no record, only what separates records.
    fn cut(&self, wal: &Wal, state: &mut MutexGuard<'_, State>) -> Result<Option<Job>> {
        state.cutting = true;
        let (from, size) = (state.read, state.options.size);
        let backlog = wal.end() - from;
        let limit = match backlog > BACKLOG * size {
            true => BACKLOG * size,
            false => size,
        };
        let read = MutexGuard::unlocked(state, || {
            let mut builder = ChunkBuilder::new(backlog.min(limit) as usize + 4 * RECORD_OVERHEAD);
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            failpoint::hit("remote_wal.before_cut")?;
            let end = wal.read(from, limit, &mut |position, payload| {
                builder.add(position, payload);
            })?;
            Ok((builder, end))
        });
        state.cutting = false;
        let (builder, end) = read.inspect_err(|error: &Error| {
            self.end(state, error.kind(), error.message());
        })?;
        state.read = end;
        state.since = None;
        if builder.is_empty() {
            self.advance(state);
            return Ok(None);
        }
        let header = ChunkHeader {
            kind: ChunkKind::Records,
            id: state.next_id,
            epoch: self.epoch,
            writer_id: self.writer_id,
            start: state.cut,
            end,
            next: state.next_id + 1,
            durable: self.uploaded().min(state.cut),
        };
        state.cut = end;
        state.next_id += 1;
        state.in_flight += 1;
        self.cut_chunks.fetch_add(1, Ordering::Relaxed);
        // Another thread looks after what is left.
        self.watched.store(false, Ordering::Relaxed);
        self.work.notify_one();
        let bytes = builder.finish(&header);
        Ok(Some(Job { header, bytes }))
    }

    /// Puts a chunk, once; a failure is noted, to be tried again.
    fn put(&self, job: Job) {
        let id = job.header.id;
        let put = failpoint::hit("remote_wal.before_put")
            .and_then(|()| claim(&*self.store, id, &job.bytes))
            .and_then(|taken| failpoint::hit("remote_wal.after_put").map(|()| taken));
        let mut state = self.state.lock();
        state.in_flight -= 1;
        match put {
            Ok(None) => {
                self.put_chunks.fetch_add(1, Ordering::Relaxed);
                let bytes = job.bytes.len() as u64;
                self.put_bytes.fetch_add(bytes, Ordering::Relaxed);
                if let Some((since, _)) = state.failing.take() {
                    let away = self.clock.now().saturating_sub(since);
                    tracing::info!("the log goes to the store again, after {away:.1?}");
                }
                state.done.insert(id, job.header.end);
                self.advance(&mut state);
                // The window may have been full.
                self.work.notify_one();
            }
            Ok(Some(found)) => {
                let (kind, why) = self.explain_conflict(id, &found);
                self.end(&mut state, kind, &why);
            }
            Err(error) => {
                let now = self.clock.now();
                let message = format!("put {}: {error}", chunk_key(id));
                if state.failing.is_none() {
                    tracing::error!("the log does not reach the store, trying again: {message}");
                }
                let since = state.failing.take().map_or(now, |(since, _)| since);
                state.failing = Some((since, message));
                state.again.insert(id, (job, now + RETRY));
                self.work.notify_one();
            }
        }
    }

    /// What it means that another chunk stands in the place of one of ours.
    fn explain_conflict(&self, id: u64, found: &[u8]) -> (ErrorKind, String) {
        match Chunk::decode(found, id) {
            Ok(chunk) if chunk.header.epoch > self.epoch => (
                ErrorKind::Fenced,
                format!(
                    "fenced by epoch {}, writer {:032x}, which has {}",
                    chunk.header.epoch,
                    chunk.header.writer_id,
                    chunk_key(id)
                ),
            ),
            Ok(chunk) => (
                ErrorKind::Corruption,
                format!(
                    "{} is there already, of epoch {}, which is not after ours, {}",
                    chunk_key(id),
                    chunk.header.epoch,
                    self.epoch
                ),
            ),
            // Sound, and of a release that came later: that one has taken over.
            Err(error) if error.kind() == ErrorKind::Invalid => {
                let has = chunk_key(id);
                let error = error.message();
                (
                    ErrorKind::Fenced,
                    format!("fenced by a writer of another release, which has {has}: {error}"),
                )
            }
            Err(error) => (ErrorKind::Corruption, error.message().to_owned()),
        }
    }

    /// Moves the acknowledged end over all chunks that are there without a gap.
    fn advance(&self, state: &mut State) {
        while let Some(end) = state.done.remove(&state.first_open) {
            state.chunks.push_back((state.first_open, end));
            state.first_open += 1;
        }
        let uploaded = match state.first_open == state.next_id {
            // What was read beyond the last chunk holds no record.
            true => state.read,
            false => state.chunks.back().map_or(0, |&(_, end)| end),
        };
        if uploaded > self.uploaded() {
            self.uploaded.store(uploaded, Ordering::Release);
            self.acknowledged.notify_all();
        }
    }

    fn end(&self, state: &mut State, kind: ErrorKind, why: &str) {
        state.ended.get_or_insert_with(|| (kind, why.to_owned()));
        self.acknowledged.notify_all();
        self.work.notify_all();
    }

    /// Puts nothing from now on: threads in [`RemoteWal::run`] return, and waiters fail with [`ErrorKind::Interrupted`].
    pub fn stop(&self) {
        let mut state = self.state.lock();
        self.end(&mut state, ErrorKind::Interrupted, "the engine is closing");
    }

    /// Puts nothing from now on, since this writer was found elsewhere to be superseded.
    pub fn fenced(&self, why: &str) {
        let mut state = self.state.lock();
        self.end(&mut state, ErrorKind::Fenced, why);
    }

    /// Returns once everything below `up_to`, a position that the log has reached, is in the store.
    ///
    /// It waits for as long as the store is away, unless `give_up` fails, which is called from time to time. [`ErrorKind::Fenced`] if another writer took over:
    /// whether what was waited for is kept is then not known.
    pub fn wait(
        &self,
        wal: &Wal,
        up_to: u64,
        give_up: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        if self.uploaded() >= up_to {
            return Ok(());
        }
        let mut state = self.state.lock();
        loop {
            if self.uploaded() >= up_to {
                return Ok(());
            }
            state
                .outcome()
                .context(|| "wait for the log in the store")?;
            if state.wanted < up_to {
                state.wanted = up_to;
                self.work.notify_one();
            }
            if let Err(error) = MutexGuard::unlocked(&mut state, &mut *give_up) {
                return Err(match &state.failing {
                    Some((_, failing)) => error.context(failing),
                    None => error,
                });
            }
            if self.inline {
                let done = MutexGuard::unlocked(&mut state, || self.step(wal, true))?;
                if !done && self.uploaded() < up_to {
                    MutexGuard::unlocked(&mut state, || self.clock.sleep(RETRY));
                }
            } else if self.uploaded() < up_to {
                self.acknowledged.wait_for(&mut state, ASK);
            }
        }
    }

    /// Id of the first chunk that is needed when records below `floor` are not.
    pub fn first_chunk(&self, floor: u64) -> u64 {
        let state = self.state.lock();
        let needed = state.chunks.iter().find(|&&(_, end)| end > floor);
        needed.map_or(state.first_open, |&(id, _)| id)
    }

    /// Forgets the chunks below the id `first`, which nobody needs any more; returns their ids.
    pub fn release(&self, first: u64) -> Vec<u64> {
        let mut state = self.state.lock();
        let keep = state.chunks.partition_point(|&(id, _)| id < first);
        state.chunks.drain(..keep).map(|(id, _)| id).collect()
    }

    /// Its present state.
    pub fn stats(&self) -> RemoteWalStats {
        let failing = self.trouble();
        let state = self.state.lock();
        RemoteWalStats {
            chunks: self.put_chunks.load(Ordering::Relaxed),
            bytes: self.put_bytes.load(Ordering::Relaxed),
            uploaded: self.uploaded(),
            in_flight: state.in_flight + state.again.len() as u64,
            failing,
            ended: state.ended.as_ref().map(|(_, why)| why.clone()),
        }
    }
}

/// Dropped by a panic of a thread that uploads: its chunk will never be acknowledged, so nobody may wait for it.
struct PanicGuard<'a>(&'a RemoteWal);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.state.lock();
            let why = "a thread that sends the log to the store panicked";
            self.0.end(&mut state, ErrorKind::ReadOnly, why);
        }
    }
}

impl State {
    /// Fails if nothing will be put from now on.
    fn outcome(&self) -> Result<()> {
        match &self.ended {
            None => Ok(()),
            Some((kind, why)) => Err(Error::new(*kind, why.clone())),
        }
    }
}
