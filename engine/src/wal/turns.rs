//! Whose turn it is to sync: one thread at a time, for all that wait.
//!
//! A thread that comes while a sync runs sleeps until that has ended. If it was too late for that one, the first such thread runs the next sync, which
//! serves all the others. Sleepers are woken each by itself and take no lock on their way out, so that they do not queue a second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use parking_lot::Mutex;

#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: bool,
    closed: bool,
    waiting: Vec<Arc<Waiter>>,
}

struct Waiter {
    up_to: u64,
    thread: Thread,
    woken: AtomicBool,
}

impl Waiter {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// The turn to sync.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    /// How far the sync got; 0 if it never ended, so that another thread takes over.
    synced: u64,
}

impl Turns {
    /// Takes the turn, or, if another has it, waits: `None` once a sync has ended that may have served `up_to`.
    pub fn take(&self, up_to: u64) -> Option<Turn<'_>> {
        let waiter = {
            let mut state = self.state.lock();
            if state.closed {
                return None;
            }
            if !state.running {
                state.running = true;
                return Some(Turn {
                    turns: self,
                    synced: 0,
                });
            }
            let waiter = Arc::new(Waiter {
                up_to,
                thread: std::thread::current(),
                woken: AtomicBool::new(false),
            });
            state.waiting.push(Arc::clone(&waiter));
            waiter
        };
        while !waiter.woken.load(Ordering::Acquire) {
            std::thread::park();
        }
        None
    }

    /// Wakes all, and lets nobody wait any more: there will be no further sync.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.iter().for_each(|waiter| waiter.wake());
    }
}

impl Turn<'_> {
    /// Gives the turn back after a sync up to `synced`.
    pub fn end(mut self, synced: u64) {
        self.synced = synced;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let (next, served) = {
            let mut state = self.turns.state.lock();
            state.running = false;
            let (served, mut rest): (Vec<_>, Vec<_>) = std::mem::take(&mut state.waiting)
                .into_iter()
                .partition(|waiter| waiter.up_to <= self.synced);
            let next = (!rest.is_empty()).then(|| rest.remove(0));
            state.waiting = rest;
            (next, served)
        };
        // The next sync comes first: the others are in no hurry.
        for waiter in next.iter().chain(&served) {
            waiter.wake();
        }
    }
}
