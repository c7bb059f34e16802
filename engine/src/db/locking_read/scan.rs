//! A cursor that, where the transaction keeps others from adding to what it reads, locks the gaps that it goes over.
//!
//! Each step first moves the cursor, then locks the gap from where it stood to where it stands, or to the end of the range. What others had
//! added there is waited for; then, or if anything was committed since the cursor was made, the cursor is made anew and placed again: nothing
//! can come into the gap any more, so what it finds there now is all there will be.
//!
//! Where gaps are not locked, the cursor is made anew once it is known to lag behind what the scan has met: after a wait for a row, after a row in a
//! version that the cursor does not see, and after an entry that is gone. So of a commit that the scan has met it meets all that lies ahead: a row
//! that moved there is not missed, and not half of a transaction.

use std::cell::Cell;

use super::spec::SeekTo;
use crate::Result;
use crate::db::transaction::{Transaction, View};
use crate::db::tree::Cursor;
use crate::txn::locks::LockWait;
use crate::types::KeyBounds;

/// Which way a scan goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

/// Whether and how gaps are locked.
#[derive(Clone, Copy)]
pub enum Gaps {
    /// Not.
    Open,
    /// Not, but what others have added and not committed is waited for in this way.
    Awaited(LockWait),
    /// Waiting in this way for those who have added to one.
    Locked(LockWait),
    /// Passing over what others have added.
    LockedPassing,
}

/// An open scan.
pub struct Scan {
    cursor: Cursor,
    lower: Vec<u8>,
    upper: Vec<u8>,
    view: View,
    gaps: Gaps,
    placed: bool,
    /// The end of the locked gap from which the next step goes on.
    edge: Vec<u8>,
    /// Whether the entry at `edge` was read.
    past_edge: bool,
    /// Whether the entry that it stands on turned out to be gone.
    gone: bool,
    /// How far the gap was locked when the cursor was made.
    reach: Vec<u8>,
    /// Whether something was met that was committed after the cursor was made, or may have been.
    lags: Cell<bool>,
}

impl Scan {
    /// A scan of a range, placed nowhere.
    pub fn new(txn: &mut Transaction, keys: KeyBounds<'_>, view: View, gaps: Gaps) -> Result<Self> {
        Ok(Self {
            cursor: txn.cursor(keys, view)?,
            lower: keys.lower().to_vec(),
            upper: keys.upper().to_vec(),
            view,
            gaps,
            placed: false,
            edge: Vec::new(),
            past_edge: false,
            gone: false,
            reach: Vec::new(),
            lags: Cell::new(false),
        })
    }

    /// Locks gaps in another way from here on.
    pub fn set_gaps(&mut self, gaps: Gaps) {
        self.gaps = gaps;
    }

    /// What it stands on.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Whether it was placed.
    pub fn placed(&self) -> bool {
        self.placed
    }

    /// The entry that it stands on was removed by the time its row was locked. Its lock is given back, so it may be added again before the next
    /// step has locked the gap: that step begins with it instead of after it.
    pub fn entry_is_gone(&mut self) {
        self.gone = true;
        self.note_lag();
    }

    /// What was met at an entry was committed after the cursor was made, or may have been. A scan of a snapshot stays in it.
    pub fn note_lag(&self) {
        self.lags.set(self.view == View::Newest);
    }

    /// Goes to `target`.
    pub fn seek(&mut self, txn: &mut Transaction, target: SeekTo<'_>) -> Result<Direction> {
        self.placed = true;
        self.past_edge = false;
        self.gone = false;
        self.edge.clear();
        let direction = match target {
            SeekTo::AtOrAfter(key) => {
                self.cursor.seek(key)?;
                self.edge.extend_from_slice(key.max(&self.lower));
                Direction::Forward
            }
            SeekTo::First => {
                self.cursor.seek_to_first()?;
                self.edge.extend_from_slice(&self.lower);
                Direction::Forward
            }
            SeekTo::Before(key) => {
                self.cursor.seek_before(key)?;
                self.edge.extend_from_slice(key.min(&self.upper));
                Direction::Backward
            }
            SeekTo::Last => {
                self.cursor.seek_to_last()?;
                self.edge.extend_from_slice(&self.upper);
                Direction::Backward
            }
        };
        self.lock_gap(txn, direction)?;
        Ok(direction)
    }

    /// To the next entry in a direction. A scan that stands nowhere stays there.
    pub fn step(&mut self, txn: &mut Transaction, direction: Direction) -> Result<()> {
        if !self.cursor.valid() {
            return Ok(());
        }
        if self.lags.get() || !matches!(self.gaps, Gaps::Open) {
            self.edge.clear();
            self.edge.extend_from_slice(self.cursor.key());
            self.past_edge = !self.gone;
            let locks = matches!(self.gaps, Gaps::Locked(_) | Gaps::LockedPassing);
            match direction {
                // The end of a gap is not in it, and this one is to have the key.
                Direction::Backward if self.gone => self.edge.push(0),
                // Its row may have been given back: who writes it now is not waited for. Gaps that are locked begin with it, so that they join.
                Direction::Forward if !self.gone && !locks => {
                    self.edge.push(0);
                    // There may be an entry with just that key.
                    self.past_edge = false;
                }
                _ => {}
            }
        }
        self.gone = false;
        match direction {
            Direction::Forward => self.cursor.next()?,
            Direction::Backward => self.cursor.prev()?,
        }
        self.lock_gap(txn, direction)
    }

    /// Locks what lies between `edge` and the cursor.
    fn lock_gap(&mut self, txn: &mut Transaction, direction: Direction) -> Result<()> {
        if self.lags.get() {
            self.renew(txn, direction)?;
        }
        if matches!(self.gaps, Gaps::Open) {
            return Ok(());
        }
        let mut renewed = false;
        loop {
            let at = match direction {
                _ if self.cursor.valid() => self.cursor.key(),
                Direction::Forward => &self.upper,
                Direction::Backward => &self.lower,
            };
            let (from, to, reached) = match direction {
                Direction::Forward => (self.edge.as_slice(), at, at <= self.reach.as_slice()),
                Direction::Backward => (at, self.edge.as_slice(), at >= self.reach.as_slice()),
            };
            if from >= to || (renewed && reached) {
                return Ok(());
            }
            let done = match self.gaps {
                Gaps::Open => true,
                Gaps::Awaited(wait) => !txn.await_additions(from, to, wait)?,
                Gaps::Locked(wait) => {
                    txn.lock_gap(from, to, Some(wait))?;
                    txn.is_newest(&self.cursor)
                }
                Gaps::LockedPassing => {
                    txn.lock_gap(from, to, None)?;
                    txn.is_newest(&self.cursor)
                }
            };
            if done {
                return Ok(());
            }
            self.reach.clear();
            self.reach.extend_from_slice(at);
            renewed = true;
            self.renew(txn, direction)?;
        }
    }

    /// A cursor of what is newest now, placed after `edge`.
    fn renew(&mut self, txn: &mut Transaction, direction: Direction) -> Result<()> {
        self.lags.set(false);
        self.cursor = txn.cursor(&self.lower..&self.upper, View::Newest)?;
        match direction {
            Direction::Backward => self.cursor.seek_before(&self.edge)?,
            Direction::Forward => {
                self.cursor.seek(&self.edge)?;
                if self.past_edge && self.cursor.key() == self.edge {
                    self.cursor.next()?;
                }
            }
        }
        Ok(())
    }
}
