//! Which old versions are still needed: the sequence numbers that running reads see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::types::SeqNo;

/// The newest published commit, and the snapshots taken of it.
///
/// Taking a snapshot and listing them exclude each other, so that a compaction which listed them never drops a version
/// that a snapshot taken before the listing sees.
#[derive(Default)]
pub struct Snapshots {
    visible: AtomicU64,
    taken: Mutex<BTreeMap<SeqNo, u32>>,
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
    pub fn take(self: &Arc<Self>) -> SnapshotGuard {
        let mut taken = self.taken.lock();
        let seq = self.visible();
        *taken.entry(seq).or_insert(0) += 1;
        SnapshotGuard {
            seq,
            list: self.clone(),
        }
    }

    /// The sequence numbers of all snapshots, ascending, and last the newest published one.
    pub fn list(&self) -> Vec<SeqNo> {
        let taken = self.taken.lock();
        let mut all: Vec<_> = taken.keys().copied().collect();
        let visible = self.visible();
        if all.last() != Some(&visible) {
            all.push(visible);
        }
        all
    }

    /// How many snapshots are held.
    pub fn count(&self) -> u64 {
        self.taken
            .lock()
            .values()
            .map(|&count| u64::from(count))
            .sum()
    }

    /// The oldest snapshot held, if any.
    pub fn oldest(&self) -> Option<SeqNo> {
        self.taken.lock().keys().next().copied()
    }
}

/// A snapshot; dropping it lets go of the versions that only it sees.
pub struct SnapshotGuard {
    seq: SeqNo,
    list: Arc<Snapshots>,
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
        if let Some(count) = taken.get_mut(&self.seq) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.seq);
            }
        }
    }
}
