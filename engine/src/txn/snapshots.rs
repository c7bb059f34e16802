//! Which old versions are still needed: the sequence numbers that running reads see.
//!
//! A flush or a compaction lists the snapshots and drops the versions that none of them sees, in the files that it writes; those that it reads
//! stay as they are for readers that have them. What it lists has to be enough for everyone who will read its files:
//!
//! - A snapshot is *registered* in one of several lists, each under its own mutex, so that threads do not meet here. [`Snapshots::take`] reads
//!   the newest published number with the list locked; [`Snapshots::list`] reads it before it locks the first list. So a snapshot that is not in
//!   a list by the time it is looked at, is at that number or above; and versions above it are all kept, as are the newest ones at or below it. What
//!   others have registered above it meanwhile is left out: there may be snapshots between that were missed.
//! - A read that only lasts a moment need not register. It first loads the state (memtables and files) and then the newest published number:
//!   every list that the files of this state were made by was made before the state was published, and with a number that is not above the one read
//!   here. So of what this number sees nothing was dropped from them. What was committed before the read began is in the state, since a memtable is part
//!   of the state before anything is written to it. A commit between the two may be missing, where a new memtable began for it; then the read
//!   was before it. In the other order it would not do: a compaction between the two could drop what the number sees.
//!   That holds for one key. Who reads several, or the same twice, registers.

use std::sync::Arc;

use super::sync::Mutex;
use super::sync::atomic::{AtomicU64, Ordering};
use super::sync::thread_number;
use crate::types::SeqNo;

/// How many lists there are: as a rule more than the threads that run at once.
const LISTS: usize = 32;

/// Snapshots of the threads that share this list. Alone on its lines of the processors' caches.
#[derive(Default)]
#[repr(align(128))]
struct List {
    /// Ascending, each with how many hold it.
    taken: Mutex<Vec<(SeqNo, u32)>>,
}

/// The newest published commit, and the snapshots taken of it.
pub struct Snapshots {
    visible: AtomicU64,
    lists: Box<[Arc<List>]>,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            visible: AtomicU64::new(0),
            lists: (0..LISTS).map(|_| Arc::default()).collect(),
        }
    }
}

impl Snapshots {
    /// The newest published sequence number.
    pub fn visible(&self) -> SeqNo {
        self.visible.load(Ordering::Acquire)
    }

    /// Publishes every commit up to `seq`. Called in ascending order.
    pub fn publish(&self, seq: SeqNo) {
        self.visible.store(seq, Ordering::Release);
    }

    /// Takes a snapshot of what is published now.
    pub fn take(&self) -> SnapshotGuard {
        let list = &self.lists[thread_number() % LISTS];
        let mut taken = list.taken.lock();
        let seq = self.visible();
        match taken.last_mut() {
            Some((last, count)) if *last == seq => *count += 1,
            _ => taken.push((seq, 1)),
        }
        drop(taken);
        SnapshotGuard {
            seq,
            list: list.clone(),
        }
    }

    /// The sequence numbers of all snapshots, ascending, and last the newest published one when this was called.
    pub fn list(&self) -> Vec<SeqNo> {
        let visible = self.visible();
        let mut all = self.below(visible);
        all.push(visible);
        all
    }

    /// The sequence numbers of the snapshots below `end`, ascending.
    fn below(&self, end: SeqNo) -> Vec<SeqNo> {
        let mut all = Vec::new();
        for list in &self.lists {
            let taken = list.taken.lock();
            let seqs = taken.iter().map(|&(seq, _)| seq);
            all.extend(seqs.take_while(|&seq| seq < end));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// How many snapshots are held.
    pub fn count(&self) -> u64 {
        let count = |list: &Arc<List>| -> u64 {
            let taken = list.taken.lock();
            taken.iter().map(|&(_, count)| u64::from(count)).sum()
        };
        self.lists.iter().map(count).sum()
    }

    /// The oldest snapshot held, if any.
    pub fn oldest(&self) -> Option<SeqNo> {
        let oldest = |list: &Arc<List>| list.taken.lock().first().map(|&(seq, _)| seq);
        self.lists.iter().filter_map(oldest).min()
    }
}

/// A snapshot; dropping it lets go of the versions that only it sees.
pub struct SnapshotGuard {
    seq: SeqNo,
    list: Arc<List>,
}

impl SnapshotGuard {
    /// The newest sequence number that it sees.
    pub fn seq(&self) -> SeqNo {
        self.seq
    }
}

impl Drop for SnapshotGuard {
    fn drop(&mut self) {
        let mut taken = self.list.taken.lock();
        if let Ok(place) = taken.binary_search_by_key(&self.seq, |&(seq, _)| seq) {
            let (_, count) = &mut taken[place];
            *count -= 1;
            if *count == 0 {
                taken.remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_have_taken_is_listed_until_they_let_go() {
        let snapshots = Snapshots::default();
        let mut guards = Vec::new();
        for seq in 1..=100 {
            snapshots.publish(seq);
            let taken = std::thread::scope(|scope| {
                let take = || [snapshots.take(), snapshots.take()];
                scope.spawn(take).join().unwrap()
            });
            guards.extend(taken);
        }
        snapshots.publish(200);
        assert_eq!(snapshots.count(), 200);
        let all: Vec<_> = (1..=100).chain([200]).collect();
        assert_eq!(snapshots.list(), all);
        // One of two that are alike.
        guards.retain(|guard| guard.seq() % 2 == 0);
        drop(guards.remove(0));
        assert_eq!(snapshots.oldest(), Some(2));
        drop(guards.remove(0));
        assert_eq!((snapshots.oldest(), snapshots.count()), (Some(4), 98));
        let even: Vec<_> = (4..=100).step_by(2).chain([200]).collect();
        assert_eq!(snapshots.list(), even);
        drop(guards);
        assert_eq!((snapshots.list(), snapshots.oldest()), (vec![200], None));
    }
}
