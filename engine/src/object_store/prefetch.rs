//! Reads of a distant store that are made ahead of need, a bounded number at once.
//!
//! As many threads as reads may be under way; each is started when it is first needed and then waits for work. There is no queue: a read that finds all
//! threads busy is not taken, and its caller makes it when it gets there. Dropping the pool waits for the reads that are under way.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use super::ObjectReader;
use crate::{Error, ErrorKind, Result};

type Job = Box<dyn FnOnce() + Send>;

/// The pool. See the module's description.
pub struct Prefetcher {
    jobs: Option<Sender<Job>>,
    receiver: Receiver<Job>,
    busy: Arc<AtomicUsize>,
    limit: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Slot<T> {
    result: Mutex<Option<Result<T>>>,
    done: Condvar,
}

/// Something that is being fetched.
pub struct Pending<T> {
    slot: Arc<Slot<T>>,
}

impl<T> Pending<T> {
    /// Waits for it.
    pub fn wait(self) -> Result<T> {
        let mut result = self.slot.result.lock();
        loop {
            match result.take() {
                Some(result) => return result,
                None => self.slot.done.wait(&mut result),
            }
        }
    }
}

impl<T> Pending<T> {
    /// Waits for it up to `time`; `None` if it takes longer. What is under way goes on.
    pub fn wait_for(self, time: Duration) -> Option<Result<T>> {
        let deadline = Instant::now() + time;
        let mut result = self.slot.result.lock();
        while result.is_none() {
            if self.slot.done.wait_until(&mut result, deadline).timed_out() {
                break;
            }
        }
        result.take()
    }
}

/// Frees its place in the pool, then answers; also for a job that panicked.
struct Finish<T> {
    slot: Arc<Slot<T>>,
    busy: Arc<AtomicUsize>,
    result: Option<Result<T>>,
}

impl<T> Drop for Finish<T> {
    fn drop(&mut self) {
        self.busy.fetch_sub(1, Ordering::AcqRel);
        let result = self.result.take().unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::Internal,
                "a read ahead ended without a result",
            ))
        });
        *self.slot.result.lock() = Some(result);
        self.slot.done.notify_all();
    }
}

impl Prefetcher {
    /// A pool for up to `limit` reads at once.
    pub fn new(limit: usize) -> Self {
        let (jobs, receiver) = crossbeam_channel::unbounded();
        Self {
            jobs: Some(jobs),
            receiver,
            busy: Arc::default(),
            limit,
            threads: Mutex::default(),
        }
    }

    /// Begins reading `range`; `None` if as much as may be is under way. With `once` as [`ObjectReader::read_once`].
    pub fn read(
        &self,
        reader: &Arc<dyn ObjectReader>,
        range: Range<u64>,
        once: bool,
    ) -> Option<Pending<Bytes>> {
        let reader = reader.clone();
        self.run(move || match once {
            true => reader.read_once(range),
            false => reader.read(range),
        })
    }

    /// Begins any work that is mostly waiting for the store; `None` if as much as may be is under way. Work whose result nobody waits for any more
    /// by the time it would begin is left out.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Option<Pending<T>> {
        self.start(false, work)
    }

    /// Begins work that nobody waits for, if there is room.
    pub fn run_detached(&self, work: impl FnOnce() + Send + 'static) {
        self.start(true, move || {
            work();
            Ok(())
        });
    }

    fn start<T: Send + 'static>(
        &self,
        detached: bool,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Option<Pending<T>> {
        let taken = self
            .busy
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |busy| {
                (busy < self.limit).then_some(busy + 1)
            });
        let Ok(before) = taken else {
            return None;
        };
        let slot = Arc::new(Slot {
            result: Mutex::new(None),
            done: Condvar::new(),
        });
        let mut finish = Finish {
            slot: slot.clone(),
            busy: self.busy.clone(),
            result: None,
        };
        if !self.has_thread_for(before + 1) {
            return None;
        }
        let job = move || {
            if detached || Arc::strong_count(&finish.slot) > 1 {
                finish.result = Some(work());
            }
            drop(finish);
        };
        self.jobs.as_ref()?.send(Box::new(job)).ok()?;
        Some(Pending { slot })
    }

    fn has_thread_for(&self, busy: usize) -> bool {
        let mut threads = self.threads.lock();
        if threads.len() < busy {
            let receiver = self.receiver.clone();
            let started = std::thread::Builder::new()
                .name("smartengine-ahead".to_owned())
                .spawn(move || {
                    for job in receiver {
                        // What it answers for a panic, `Finish` has done.
                        let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
                    }
                });
            match started {
                Ok(thread) => threads.push(thread),
                Err(error) => tracing::warn!("start a thread to read ahead: {error}"),
            }
        }
        !threads.is_empty()
    }
}

impl Drop for Prefetcher {
    fn drop(&mut self) {
        self.jobs = None;
        let me = std::thread::current().id();
        for thread in self.threads.get_mut().drain(..) {
            // The last work may have held the last handle.
            if thread.thread().id() != me {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_as_many_as_may_be_at_once_and_no_more() {
        let pool = Prefetcher::new(4);
        let begun = Instant::now();
        let wait = |n: u64| {
            pool.run(move || {
                std::thread::sleep(Duration::from_millis(100));
                Ok(n)
            })
        };
        let pending: Vec<_> = (0..4).map(|n| wait(n).unwrap()).collect();
        assert!(wait(9).is_none());
        for (n, pending) in (0..).zip(pending) {
            assert_eq!(pending.wait().unwrap(), n);
        }
        assert!(begun.elapsed() < Duration::from_millis(300));
        assert_eq!(wait(9).unwrap().wait().unwrap(), 9);
        assert!(Prefetcher::new(0).run(|| Ok(())).is_none());
    }

    #[test]
    fn who_waits_for_a_time_gets_what_is_there_by_then() {
        let pool = Prefetcher::new(2);
        let work = |time: u64| {
            let time = Duration::from_millis(time);
            pool.run(move || {
                std::thread::sleep(time);
                Ok(time)
            })
        };
        let (soon, late) = (work(1).unwrap(), work(2000).unwrap());
        assert!(late.wait_for(Duration::from_millis(10)).is_none());
        let patience = Duration::from_secs(60);
        let found = soon.wait_for(patience).unwrap().unwrap();
        assert_eq!(found, Duration::from_millis(1));
    }

    #[test]
    fn a_panic_is_an_error_and_costs_no_place() {
        let pool = Prefetcher::new(1);
        for _ in 0..3 {
            let error = pool.run(|| -> Result<()> { panic!("in a test") });
            let error = error.unwrap().wait().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
        assert_eq!(pool.run(|| Ok(7)).unwrap().wait().unwrap(), 7);
    }

    #[test]
    fn dropping_it_waits_for_what_is_under_way() {
        let pool = Arc::new(Prefetcher::new(2));
        let done = Arc::new(AtomicUsize::new(0));
        let counted = done.clone();
        pool.run_detached(move || {
            std::thread::sleep(Duration::from_millis(50));
            counted.fetch_add(1, Ordering::SeqCst);
        });
        drop(pool);
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }
}
