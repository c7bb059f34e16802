//! The part of a batch that others look at: the transaction's cursors, and other transactions that take a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::Result;
use crate::iter::InternalIterator;
use crate::memtable::{MemIter, SkipList};
use crate::sst::IterOptions;
use crate::txn::spill::Run;
use crate::types::{KeyRef, ValueKind, user_key_of};

/// What a batch holds in and around a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nearby {
    /// It adds or changes a key of the range. A key that it has removed again counts as well: a rollback to a savepoint may bring it back without
    /// asking anybody.
    Within,
    /// It does not. Outside of the range, nothing of it lies between the two keys, where there are any.
    Around {
        /// A key before the range.
        before: Option<Vec<u8>>,
        /// A key at or behind its end.
        behind: Option<Vec<u8>>,
    },
}

impl Default for Nearby {
    fn default() -> Self {
        Self::Around {
            before: None,
            behind: None,
        }
    }
}

impl Nearby {
    /// What two parts of a batch hold together.
    fn and(self, other: Self) -> Self {
        let (
            Self::Around { before, behind },
            Self::Around {
                before: other_before,
                behind: other_behind,
            },
        ) = (self, other)
        else {
            return Self::Within;
        };
        let behind = match (behind, other_behind) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self::Around {
            before: before.max(other_before),
            behind,
        }
    }
}

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

    /// What the transaction has written in and around [from, to), as far as that is not rolled back. Reads from disk where it was spilled.
    pub fn nearby(&self, from: &[u8], to: &[u8]) -> Result<Nearby> {
        let (parts, _) = self.parts();
        let mut all = match parts.list {
            Some(list) => look(&mut MemIter::over(list), from, to)?,
            None => Nearby::default(),
        };
        for run in parts.runs.iter().rev() {
            if all == Nearby::Within {
                break;
            }
            let found = match run.outside(from, to) {
                Some((before, behind)) => Nearby::Around {
                    before: before.map(<[u8]>::to_vec),
                    behind: behind.map(<[u8]>::to_vec),
                },
                None => look(&mut run.iter(IterOptions::default()), from, to)?,
            };
            all = all.and(found);
        }
        Ok(all)
    }
}

fn look(entries: &mut impl InternalIterator, from: &[u8], to: &[u8]) -> Result<Nearby> {
    entries.seek(KeyRef::before(from))?;
    while entries.valid() && user_key_of(entries.key()) < to {
        if KeyRef::decode(entries.key()).kind() == Some(ValueKind::Put) {
            return Ok(Nearby::Within);
        }
        entries.next()?;
    }
    let behind = entries.valid().then(|| user_key_of(entries.key()).to_vec());
    entries.seek_for_prev(KeyRef::before(from))?;
    let before = entries.valid().then(|| user_key_of(entries.key()).to_vec());
    Ok(Nearby::Around { before, behind })
}
