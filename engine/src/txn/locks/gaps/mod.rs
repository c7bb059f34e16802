//! Gap locks: ranges of keys to which nobody but their owner adds.
//!
//! Gaps go with each other, whoever owns them. Who adds a key waits until no other transaction's gap covers it; who takes a gap
//! waits until no other transaction has added, and not committed, a key in it. The two meet like this.
//!
//! - Who adds a key is listed as a writer of its index, writes the key into its batch, where others can see it, and then looks whether anybody
//!   has gaps at all ([`Gaps::count`]). If so, it asks under the latch whether one covers the key. If one does, it takes the key back and waits;
//!   if none does, it *notes* the key with all who have gaps under this latch. Where no gap is held, adding a key costs one load.
//! - Who takes a gap is counted, from its first gap in an index to its end. It looks into the batches of the index's writers (a *survey*), and
//!   registers the gap under the latch if they hold nothing.
//!
//! Between the count and the first look, and between the write of the key and the load of the count, stands a fence. So of the two at
//! least one sees the other: if the load finds nobody counted, the look finds the key. If it does find somebody, the key is noted under the latch.
//!
//! A survey may read runs from disk, and asks many transactions. So it is made without the latch, and seldom:
//!
//! 1. Under the latch the owner begins to *watch*: what is noted from here on is kept.
//! 2. Without it, it surveys: of each writer, whether it has added to the gap, and the nearest keys before and behind that it wrote at all.
//! 3. Under the latch again, it *knows* that nobody has added to all that lies between the nearest keys, less what was noted since step 1.
//!
//! That holds since a key that the survey did not see was added by one who finds the owner counted, and who is under the latch after step 1: had it
//! been there before, the key would have been in the batch before the survey began. By the same argument what is known stays true, because
//! notes go on to take out of it what is added later. Whoever has added but is not yet under the latch when the owner registers a gap there
//! finds that gap then, and takes its key back.
//!
//! So a gap inside what is known is taken without asking anybody, and a scan surveys once, then again only where it comes to a key that another
//! transaction wrote: there it waits for that transaction, as a rule. What others remove, commit or roll back makes less known than is true, never
//! more: commits are for the scan to see, which looks whether there were any after it has the gap.
//!
//! A scan that passes over what others hold takes a gap without a survey: that keeps out what is added from then on, not what has been added already.
//! Such ranges are remembered as *unasked*. A request that waits surveys them though they are locked.

mod known;
mod ranges;

use self::known::Known;
use self::ranges::Ranges;
use super::key::index_of;
use crate::txn::TxnId;
use crate::txn::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::txn::sync::{Mutex, RwLock};

pub use self::ranges::after;

/// As many as bits with which a transaction remembers under which it has written.
pub const LATCHES: usize = 64;

struct Owned {
    owner: TxnId,
    ranges: Ranges,
    /// Of those, what was locked whatever others had added: a request that waits for them has to look there all the same.
    unasked: Ranges,
    known: Mutex<Known>,
}

/// The gap locks of an engine.
pub struct Gaps {
    /// How many transactions hold gaps or are about to, each counted for every latch.
    count: AtomicUsize,
    /// By the indexes' ids.
    latches: Box<[RwLock<Vec<Owned>>]>,
}

impl Default for Gaps {
    fn default() -> Self {
        Self {
            count: AtomicUsize::new(0),
            latches: (0..LATCHES).map(|_| RwLock::default()).collect(),
        }
    }
}

/// A gap lock, for a listing.
pub struct Gap {
    pub owner: TxnId,
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

/// A range of keys, with its end outside.
pub type Range = (Vec<u8>, Vec<u8>);

/// Which latch guards the gaps of a key's index.
pub fn latch_of(key: &[u8]) -> usize {
    index_of(key) as usize % LATCHES
}

/// All keys of the index that [from, to) is of, and that range if it reaches beyond.
pub fn index_around(from: &[u8], to: &[u8]) -> Range {
    let start = from[..from.len().min(4)].to_vec();
    let end = index_of(from).checked_add(1).map(u32::to_be_bytes);
    let end = end.as_ref().map_or(to, |end| to.max(end));
    (start, end.to_vec())
}

impl Gaps {
    /// A transaction other than `id` whose gap covers `key`, which `id` has written into its batch. If there is none, all who might rely on
    /// nobody's having added it know by then.
    pub fn owner_of(&self, id: TxnId, key: &[u8]) -> Option<TxnId> {
        // The write must be seen by whoever raises the count after it is read here.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let owners = self.latches[latch_of(key)].read();
        let others = || owners.iter().filter(|owned| owned.owner != id);
        let covers = others().find(|owned| owned.ranges.covers(key));
        if let Some(owned) = covers {
            return Some(owned.owner);
        }
        others().for_each(|owned| owned.known.lock().note(key));
        None
    }

    /// Locks [from, to) for `id`, unless somebody has added a key to what of it is not locked yet: that is returned. `latches` are those under which
    /// the transaction is counted.
    ///
    /// `survey` is called without the latch, with a range, where it is not known that nobody has added to it. It returns the range that is clear around
    /// it, at most as far as [`index_around`] goes, or who has added to it. With no `survey`, the gap is locked whatever others have added; a later call
    /// with one asks about it.
    pub fn take(
        &self,
        id: TxnId,
        latches: &mut Vec<usize>,
        from: &[u8],
        to: &[u8],
        survey: Option<&dyn Fn(&[u8], &[u8]) -> Result<Range, TxnId>>,
    ) -> Result<(), TxnId> {
        let latch = latch_of(from);
        let mut owners = self.latches[latch].write();
        let mut place = self.enter(&mut owners, id, latch, latches);
        loop {
            let owned = &mut owners[place];
            let (open_from, open_to) = match survey {
                Some(_) if owned.unasked.meet(from, to) => (from, to),
                _ => owned.ranges.uncovered(from, to),
            };
            if open_from >= open_to {
                return Ok(());
            }
            let known = &owned.known;
            let Some(survey) = survey.filter(|_| !known.lock().is_clear(open_from, open_to)) else {
                owned.ranges.add(from, to);
                if survey.is_none() {
                    owned.unasked.add(from, to);
                }
                return Ok(());
            };
            let gap = (open_from.to_vec(), open_to.to_vec());
            let around = index_around(open_from, open_to);
            known.lock().watch(gap.clone(), around);
            drop(owners);
            let found = survey(&gap.0, &gap.1);
            owners = self.latches[latch].write();
            place = self.enter(&mut owners, id, latch, latches);
            owners[place].known.lock().learn(found.as_ref().ok());
            found?;
        }
    }

    /// The place of a transaction among the owners under a latch; it becomes one if it is not.
    fn enter(
        &self,
        owners: &mut Vec<Owned>,
        id: TxnId,
        latch: usize,
        latches: &mut Vec<usize>,
    ) -> usize {
        if let Some(place) = owners.iter().position(|owned| owned.owner == id) {
            return place;
        }
        latches.push(latch);
        self.count.fetch_add(1, Ordering::SeqCst);
        // What it looks at from here on shows the keys of all who did not find it counted.
        fence(Ordering::SeqCst);
        owners.push(Owned {
            owner: id,
            ranges: Ranges::default(),
            unasked: Ranges::default(),
            known: Mutex::default(),
        });
        owners.len() - 1
    }

    /// Gives back all that `id` has under a latch.
    pub fn release(&self, id: TxnId, latch: usize) {
        let mut owners = self.latches[latch].write();
        if let Some(place) = owners.iter().position(|owned| owned.owner == id) {
            owners.swap_remove(place);
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether nobody holds any.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// All of them, by latch and owner.
    pub fn all(&self) -> Vec<Gap> {
        let mut all = Vec::new();
        for latch in &self.latches {
            for owned in latch.read().iter() {
                all.extend(owned.ranges.iter().map(|(from, to)| Gap {
                    owner: owned.owner,
                    from: from.clone(),
                    to: to.clone(),
                }));
            }
        }
        all
    }
}
