//! The commit pipeline: many transactions commit at once, in one order, with few writes and syncs of the WAL.
//!
//! It knows no database; it is given a [`GroupWriter`] that appends a group to the log, and per commit two functions that apply it and
//! make it durable. In order, for each commit:
//!
//! 1. *Queue.* The first to come to an empty queue leads; the others sleep.
//! 2. *Write.* The leader takes all that is queued, gives each commit the next sequence number and hands the group to the writer, which
//!    appends it to the log in one write. Then the next queued commit, if any, becomes the leader of its group.
//! 3. *Apply*, each commit on its own thread: its writes go to the memtable, where nobody sees them yet.
//! 4. *Sync*, each on its own thread; the log shares one sync among all that wait for it.
//! 5. *Publish.* In the order of sequence numbers, every commit that has reached this point becomes visible; a commit returns when it is.
//!
//! A crash before the sync has ended keeps any prefix of the log, so no commit without the ones before it, and nothing of it was
//! acknowledged. If a write or sync fails, the log may hold more or less than was acknowledged: the pipeline stops for good, every commit
//! under way fails, and what is visible stays what it was. A panic in any of the functions given does the same, so that nobody waits for
//! a commit that will not come.
//!
//! A fence is another matter: the log here is sound, and nothing that is in it is in doubt here. Nothing new is accepted, but what was accepted goes on, and so
//! do decisions about prepared transactions, on which others may have built.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::gate::Gate;
use super::snapshots::Snapshots;
use crate::types::{MAX_SEQ, SeqNo};
use crate::{Error, ErrorKind, Result};

/// Appends groups of commits to the log.
pub trait GroupWriter {
    /// What a commit brings to the writer.
    type Request: Send;
    /// What a commit gets back: where to apply itself, and what to wait for.
    type Slot: Send;

    /// Writes `group` as one piece; commit `i` has sequence number `first + i`. Called by one leader at a time.
    /// [`ErrorKind::Interrupted`] says that nothing was written, and harms no other group.
    fn write(&self, first: SeqNo, group: &mut [Self::Request]) -> Result<Vec<Self::Slot>>;

    /// Whether a request carries out what was decided about something prepared.
    fn decides(request: &Self::Request) -> bool;
}

struct Ticket<W: GroupWriter> {
    thread: Thread,
    ready: AtomicBool,
    turn: Mutex<Turn<W>>,
}

enum Turn<W: GroupWriter> {
    /// In the queue.
    Queued(W::Request),
    /// Taken into a group by a leader.
    Taken,
    /// To lead the next group.
    Lead(W::Request),
    /// In the log.
    Written(SeqNo, W::Slot),
    Failed(Error),
}

impl<W: GroupWriter> Ticket<W> {
    fn set(&self, turn: Turn<W>) {
        *self.turn.lock() = turn;
        self.ready.store(true, Ordering::Release);
        self.thread.unpark();
    }

    fn wait(&self) -> Turn<W> {
        while !self.ready.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
        std::mem::replace(&mut *self.turn.lock(), Turn::Taken)
    }
}

struct Queue<W: GroupWriter> {
    waiting: Vec<Arc<Ticket<W>>>,
    led: bool,
}

#[derive(Default)]
struct Finished {
    /// Sequence numbers above the visible one whose commits are durable and applied.
    ahead: std::collections::BTreeSet<SeqNo>,
}

/// Where commits wait until those before them are visible.
#[derive(Default)]
struct Order {
    finished: Mutex<Finished>,
    published: Condvar,
}

impl Order {
    fn wake(&self) {
        // Whoever waits holds this mutex between its check and its sleep.
        drop(self.finished.lock());
        self.published.notify_all();
    }
}

/// The pipeline.
pub struct Pipeline<W: GroupWriter> {
    queue: Mutex<Queue<W>>,
    next_seq: AtomicU64,
    order: Arc<Order>,
    snapshots: Arc<Snapshots>,
    gate: Arc<Gate>,
    groups: AtomicU64,
}

impl<W: GroupWriter> Pipeline<W> {
    /// A pipeline that publishes to `snapshots`, goes on after its newest sequence number, and stops when `gate` closes.
    pub fn new(snapshots: Arc<Snapshots>, gate: Arc<Gate>) -> Self {
        let order = Arc::new(Order::default());
        let waiting = order.clone();
        gate.tell(move |_, _| waiting.wake());
        Self {
            queue: Mutex::new(Queue {
                waiting: Vec::new(),
                led: false,
            }),
            next_seq: AtomicU64::new(snapshots.visible() + 1),
            order,
            snapshots,
            gate,
            groups: AtomicU64::new(0),
        }
    }

    /// How many groups were written.
    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Commits: has `request` written by `writer`, then runs `apply`, then `sync`, then publishes. Returns its sequence number.
    pub fn commit(
        &self,
        writer: &W,
        request: W::Request,
        apply: impl FnOnce(SeqNo, &mut W::Slot) -> Result<()>,
        sync: impl FnOnce(&W::Slot) -> Result<()>,
    ) -> Result<SeqNo> {
        let seq = self.run(writer, request, apply, sync)?;
        self.publish(seq)?;
        Ok(seq)
    }

    /// As [`Pipeline::commit`], for what changes nothing visible: it does not wait for the commits before it to become visible.
    pub fn log(
        &self,
        writer: &W,
        request: W::Request,
        apply: impl FnOnce(SeqNo, &mut W::Slot) -> Result<()>,
        sync: impl FnOnce(&W::Slot) -> Result<()>,
    ) -> Result<()> {
        let seq = self.run(writer, request, apply, sync)?;
        drop(self.finish(seq)?);
        Ok(())
    }

    fn run(
        &self,
        writer: &W,
        request: W::Request,
        apply: impl FnOnce(SeqNo, &mut W::Slot) -> Result<()>,
        sync: impl FnOnce(&W::Slot) -> Result<()>,
    ) -> Result<SeqNo> {
        match W::decides(&request) {
            true => self.gate.check_sound()?,
            false => self.gate.check()?,
        }
        let guard = PanicGuard(self);
        let written = self.write(writer, request);
        let done = written.and_then(|(seq, mut slot)| {
            let done = apply(seq, &mut slot).and_then(|()| sync(&slot));
            done.map(|()| seq).map_err(|error| {
                self.gate.lose(&error);
                error.context("commit")
            })
        });
        std::mem::forget(guard);
        done
    }

    fn write(&self, writer: &W, request: W::Request) -> Result<(SeqNo, W::Slot)> {
        let mut queue = self.queue.lock();
        if !queue.led {
            queue.led = true;
            drop(queue);
            return self.lead(writer, request);
        }
        let ticket = Arc::new(Ticket {
            thread: std::thread::current(),
            ready: AtomicBool::new(false),
            turn: Mutex::new(Turn::Queued(request)),
        });
        queue.waiting.push(ticket.clone());
        drop(queue);
        match ticket.wait() {
            Turn::Lead(request) => self.lead(writer, request),
            Turn::Written(seq, slot) => Ok((seq, slot)),
            Turn::Failed(error) => Err(error),
            Turn::Queued(_) | Turn::Taken => Err(Error::new(
                ErrorKind::Internal,
                "a commit was woken without a result",
            )),
        }
    }

    fn lead(&self, writer: &W, own: W::Request) -> Result<(SeqNo, W::Slot)> {
        let followers = std::mem::take(&mut self.queue.lock().waiting);
        let mut group = Vec::with_capacity(followers.len() + 1);
        group.push(own);
        for ticket in &followers {
            if let Turn::Queued(request) = std::mem::replace(&mut *ticket.turn.lock(), Turn::Taken)
            {
                group.push(request);
            }
        }
        let guard = LeadGuard {
            pipeline: self,
            followers: &followers,
        };
        let result = self.write_group(writer, &mut group);
        std::mem::forget(guard);
        self.pass_on_lead();
        match result {
            Ok((first, slots)) => {
                let mut slots = slots.into_iter();
                let own = slots.next();
                for ((seq, slot), ticket) in (first + 1..).zip(slots).zip(&followers) {
                    ticket.set(Turn::Written(seq, slot));
                }
                own.map(|slot| (first, slot))
                    .ok_or_else(|| Error::new(ErrorKind::Internal, "a group without a leader"))
            }
            Err(error) => {
                for ticket in &followers {
                    ticket.set(Turn::Failed(Error::new(error.kind(), error.message())));
                }
                Err(error)
            }
        }
    }

    fn write_group(&self, writer: &W, group: &mut [W::Request]) -> Result<(SeqNo, Vec<W::Slot>)> {
        self.gate.check_sound()?;
        let first = self.next_seq.load(Ordering::Relaxed);
        let after = first + group.len() as u64;
        // Half of the range of sequence numbers is for uncommitted writes.
        if after >= MAX_SEQ / 2 {
            return Err(Error::new(
                ErrorKind::Internal,
                "sequence numbers are used up",
            ));
        }
        let wanted = group.len();
        let written = writer.write(first, group).and_then(|slots| {
            if slots.len() == wanted {
                return Ok(slots);
            }
            Err(Error::new(
                ErrorKind::Internal,
                "a slot is missing for a commit",
            ))
        });
        match written {
            Ok(slots) => {
                self.next_seq.store(after, Ordering::Relaxed);
                self.groups.fetch_add(1, Ordering::Relaxed);
                Ok((first, slots))
            }
            Err(error) => {
                if error.kind() != ErrorKind::Interrupted {
                    self.gate.lose(&error);
                }
                Err(error.context("commit"))
            }
        }
    }

    /// Makes the longest waiting commit the leader, or leaves the queue without one.
    fn pass_on_lead(&self) {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() {
            queue.led = false;
            return;
        }
        let next = queue.waiting.remove(0);
        drop(queue);
        let turn = std::mem::replace(&mut *next.turn.lock(), Turn::Taken);
        if let Turn::Queued(request) = turn {
            next.set(Turn::Lead(request));
        }
    }

    fn publish(&self, seq: SeqNo) -> Result<()> {
        let mut finished = self.finish(seq)?;
        while self.snapshots.visible() < seq {
            self.gate.check_sound()?;
            self.order.published.wait(&mut finished);
        }
        Ok(())
    }

    /// Makes `seq` and all that waits for nothing but it visible, if it is the next one, or else leaves that to the one before it.
    fn finish(&self, seq: SeqNo) -> Result<MutexGuard<'_, Finished>> {
        let mut finished = self.order.finished.lock();
        let mut visible = self.snapshots.visible();
        if visible + 1 != seq {
            finished.ahead.insert(seq);
            return Ok(finished);
        }
        self.gate.check_sound()?;
        visible = seq;
        while finished.ahead.first() == Some(&(visible + 1)) {
            finished.ahead.pop_first();
            visible += 1;
        }
        self.snapshots.publish(visible);
        if visible != seq {
            self.order.published.notify_all();
        }
        Ok(finished)
    }
}

/// Dropped by a panic in a commit.
struct PanicGuard<'a, W: GroupWriter>(&'a Pipeline<W>);

impl<W: GroupWriter> Drop for PanicGuard<'_, W> {
    fn drop(&mut self) {
        self.0.gate.close("a commit panicked");
    }
}

/// Dropped by a panic of the writer: the group has failed, and the next one has to learn that too.
struct LeadGuard<'a, W: GroupWriter> {
    pipeline: &'a Pipeline<W>,
    followers: &'a [Arc<Ticket<W>>],
}

impl<W: GroupWriter> Drop for LeadGuard<'_, W> {
    fn drop(&mut self) {
        const WHY: &str = "a commit panicked";
        self.pipeline.gate.close(WHY);
        self.pipeline.pass_on_lead();
        for ticket in self.followers {
            ticket.set(Turn::Failed(Error::new(ErrorKind::ReadOnly, WHY)));
        }
    }
}
