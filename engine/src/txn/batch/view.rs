//! The part of a batch that others look at: the transaction's cursors, and other transactions that take a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::own_iter::OwnIter;
use crate::Result;
use crate::iter::InternalIterator;
use crate::memtable::{MemIter, SkipList};
use crate::sst::IterOptions;
use crate::txn::spill::Run;
use crate::types::{KeyRef, ValueKind, user_key_of};

/// What a batch consists of at one moment.
#[derive(Clone)]
pub(super) struct Parts {
    /// The writes in memory. Another list takes its place when it is spilled; none while the batch empties it.
    pub list: Option<Arc<SkipList>>,
    /// Oldest first.
    pub runs: Vec<Arc<Run>>,
}

/// A batch as others see it. It stays the same for as long as the transaction runs.
pub struct BatchView {
    parts: Mutex<Parts>,
    /// Rises whenever the parts change, so that readers know when to look again.
    generation: AtomicU64,
}

impl BatchView {
    pub(super) fn new(list: Arc<SkipList>) -> Self {
        let parts = Parts {
            list: Some(list),
            runs: Vec::new(),
        };
        Self {
            parts: Mutex::new(parts),
            generation: AtomicU64::new(0),
        }
    }

    /// What it consists of, and which generation that is.
    pub(super) fn parts(&self) -> (Parts, u64) {
        let parts = self.parts.lock();
        (parts.clone(), self.generation.load(Ordering::Relaxed))
    }

    /// Puts other parts in place; no list while its owner is to have it alone.
    pub(super) fn set(&self, list: Option<&Arc<SkipList>>, runs: &[Arc<Run>]) {
        let mut parts = self.parts.lock();
        parts.list = list.cloned();
        parts.runs.clear();
        parts.runs.extend_from_slice(runs);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Rises whenever the batch consists of other parts.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether the transaction has added or changed a key of [from, to), as far as that is not rolled back. A key that it has removed again counts as well: a
    /// rollback to a savepoint may bring it back without asking anybody.
    pub fn has_live_put_in(&self, from: &[u8], to: &[u8]) -> Result<bool> {
        let (parts, _) = self.parts();
        if let Some(list) = parts.list
            && list_has_put_in(list, from, to)?
        {
            return Ok(true);
        }
        for run in parts.runs.iter().rev() {
            if run.overlaps(from, to) && run_has_put_in(run, from, to)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An iterator over all live writes with keys of [lower, upper), and maybe others; also those written later.
    pub fn iter(self: &Arc<Self>, lower: &[u8], upper: &[u8]) -> OwnIter {
        OwnIter::new(self.clone(), Some((lower, upper)), IterOptions::default())
    }
}

fn list_has_put_in(list: Arc<SkipList>, from: &[u8], to: &[u8]) -> Result<bool> {
    let mut position = MemIter::over(list);
    position.seek(KeyRef::before(from))?;
    while position.valid() && user_key_of(position.key()) < to {
        if KeyRef::decode(position.key()).kind() == Some(ValueKind::Put) {
            return Ok(true);
        }
        position.next()?;
    }
    Ok(false)
}

fn run_has_put_in(run: &Arc<Run>, from: &[u8], to: &[u8]) -> Result<bool> {
    let mut position = run.iter(IterOptions::default());
    position.seek(KeyRef::before(from))?;
    while position.valid() && user_key_of(position.key()) < to {
        if KeyRef::decode(position.key()).kind() == Some(ValueKind::Put) {
            return Ok(true);
        }
        position.next()?;
    }
    Ok(false)
}
