//! Gap locks: ranges of keys to which nobody but their owner adds.
//!
//! Gaps do not exclude each other, whoever owns them. A transaction that adds a key waits until no other transaction's gap covers it; one that takes a gap
//! waits until no other transaction has added, and not committed, a key in it. The two meet like this. The one that adds writes the key
//! into its batch first, where others can see it, then looks whether there are gaps at all, then, under the latch, whether one covers the key: if
//! so it takes the key back and waits. The one that takes a gap announces that there will be a gap, then, under the latch, looks
//! into all batches, and registers the gap if they hold nothing. So of two that meet at least one sees the other, and under the latch
//! only one of them goes on. Where no gap is held, adding a key costs one load.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use super::key::index_of;
use crate::txn::TxnId;
use crate::txn::sync::RwLock;
use crate::txn::sync::atomic::{AtomicUsize, Ordering, fence};

const LATCHES: usize = 64;

/// Ranges [from, to) that do not touch each other: from their starts to their ends.
#[derive(Default)]
struct Ranges(BTreeMap<Vec<u8>, Vec<u8>>);

fn set(bytes: &mut Vec<u8>, to: &[u8]) {
    bytes.clear();
    bytes.extend_from_slice(to);
}

impl Ranges {
    fn covers(&self, key: &[u8]) -> bool {
        let before = self.0.range::<[u8], _>((Unbounded, Included(key)));
        before.last().is_some_and(|(_, end)| key < end.as_slice())
    }

    /// What of [from, to) is left once its start and its end are cut off as far as they are covered.
    fn uncovered<'a>(&'a self, from: &'a [u8], to: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let at_start = self.0.range::<[u8], _>((Unbounded, Included(from))).last();
        let at_end = self.0.range::<[u8], _>((Unbounded, Excluded(to))).last();
        let from = at_start.map_or(from, |(_, end)| end.as_slice().max(from));
        let to = at_end.map_or(to, |(start, end)| {
            if to <= end.as_slice() {
                start.as_slice()
            } else {
                to
            }
        });
        (from, to)
    }

    /// Adds a range; one that it touches grows, without being allocated anew.
    fn add(&mut self, from: &[u8], to: &[u8]) {
        let mut grown = false;
        let mut before = self.0.range_mut::<[u8], _>((Unbounded, Included(from)));
        if let Some((_, end)) = before.next_back()
            && from <= end.as_slice()
        {
            if to <= end.as_slice() {
                return;
            }
            set(end, to);
            grown = true;
        }
        // Those that begin inside or at the end are made part of it.
        let touched = (Excluded(from), Included(to));
        while let Some(start) = self.0.range::<[u8], _>(touched).next() {
            let start = start.0.clone();
            let Some((mut start, mut end)) = self.0.remove_entry(&start) else {
                break;
            };
            if !grown {
                if end.as_slice() < to {
                    set(&mut end, to);
                }
                set(&mut start, from);
                self.0.insert(start, end);
                grown = true;
            } else if to < end.as_slice() {
                let mut before = self.0.range_mut::<[u8], _>((Unbounded, Included(from)));
                if let Some((_, grown)) = before.next_back() {
                    *grown = end;
                }
            }
        }
        if !grown {
            self.0.insert(from.to_vec(), to.to_vec());
        }
    }
}

struct Owned {
    owner: TxnId,
    ranges: Ranges,
}

/// The gap locks of an engine.
pub struct Gaps {
    /// How many transactions hold gaps, each counted for every latch, and how many are about to.
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

/// Which latch guards the gaps of a key's index.
pub fn latch_of(key: &[u8]) -> usize {
    index_of(key) as usize % LATCHES
}

impl Gaps {
    /// A transaction other than `id` whose gap covers `key`, which `id` has written into its batch.
    pub fn owner_of(&self, id: TxnId, key: &[u8]) -> Option<TxnId> {
        // The write must be seen by whoever raises the count after it is read here.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let owners = self.latches[latch_of(key)].read();
        let mut others = owners.iter().filter(|owned| owned.owner != id);
        others
            .find(|owned| owned.ranges.covers(key))
            .map(|owned| owned.owner)
    }

    /// Locks [from, to) for `id` unless `writer` finds somebody who has added a key to what of it is not locked yet. Returns whom it
    /// found, or whether this is the transaction's first gap under its latch.
    pub fn take(
        &self,
        id: TxnId,
        from: &[u8],
        to: &[u8],
        writer: impl FnOnce(&[u8], &[u8]) -> Option<TxnId>,
    ) -> Result<bool, TxnId> {
        self.count.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let mut owners = self.latches[latch_of(from)].write();
        let place = owners.iter().position(|owned| owned.owner == id);
        let (open_from, open_to) = match place {
            Some(place) => {
                // The count has it already.
                self.count.fetch_sub(1, Ordering::SeqCst);
                owners[place].ranges.uncovered(from, to)
            }
            None => (from, to),
        };
        if open_from >= open_to {
            return Ok(false);
        }
        if let Some(other) = writer(open_from, open_to) {
            if place.is_none() {
                self.count.fetch_sub(1, Ordering::SeqCst);
            }
            return Err(other);
        }
        if let Some(place) = place {
            owners[place].ranges.add(from, to);
            return Ok(false);
        }
        let mut ranges = Ranges::default();
        ranges.add(from, to);
        owners.push(Owned { owner: id, ranges });
        Ok(true)
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
                all.extend(owned.ranges.0.iter().map(|(from, to)| Gap {
                    owner: owned.owner,
                    from: from.clone(),
                    to: to.clone(),
                }));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Sequence;

    #[test]
    fn ranges_are_the_union_of_what_was_added_and_never_touch() {
        for seed in 0..200 {
            let mut sequence = Sequence::new(seed);
            let mut ranges = Ranges::default();
            let mut model = [false; 40];
            for _ in 0..12 {
                let from = sequence.below(39) as u8;
                let to = from + 1 + sequence.below(39 - u64::from(from)) as u8;
                ranges.add(&[from], &[to]);
                model[from as usize..to as usize].fill(true);
                for key in 0..40u8 {
                    assert_eq!(ranges.covers(&[key]), model[key as usize], "{seed} {key}");
                }
                let all = &model[from as usize..to as usize];
                assert!(all.iter().all(|&covered| covered));
                let (open_from, open_to) = (from.saturating_sub(3), to.saturating_add(3).min(40));
                let (left, right) = ([open_from], [open_to]);
                let (left, right) = ranges.uncovered(&left, &right);
                let cut = (open_from..left[0].max(open_from)).chain(right[0]..open_to);
                assert!(cut.clone().all(|key| model[key as usize]));
                if left < right {
                    assert!(!model[left[0] as usize] && !model[right[0] as usize - 1]);
                }
                let mut end: Option<&Vec<u8>> = None;
                for (from, to) in &ranges.0 {
                    assert!(from < to && end.is_none_or(|end| end < from));
                    end = Some(to);
                }
            }
        }
    }

    #[test]
    fn a_scan_makes_one_range_in_either_direction() {
        let mut ranges = Ranges::default();
        for key in 0..100u8 {
            ranges.add(&[key], &[key + 1]);
        }
        for key in (100..200u8).rev() {
            ranges.add(&[key], &[key + 1]);
        }
        assert_eq!(ranges.0.len(), 1);
        assert!(ranges.covers(&[0]) && ranges.covers(&[199]) && !ranges.covers(&[200]));
        assert_eq!(ranges.uncovered(&[0], &[201]), (&[200][..], &[201][..]));
    }
}
