//! Which versions of a key are still needed: the rule that flush and compaction share.
//!
//! Versions of one key come newest first. Of two versions that no snapshot tells apart (none lies between them) only the newer is needed. Versions
//! newer than the newest snapshot given are all kept, since a snapshot may yet be taken between them. A deletion that every snapshot sees is
//! itself not needed once no older version of its key can lie below. Everything in a dropped index is dropped.

use std::collections::BTreeMap;

use crate::types::{IndexId, SeqNo, ValueKind, index_id_of};

/// Decides, entry by entry in internal-key order, what is kept.
pub struct DropRules {
    /// Ascending; the last is the newest published commit when the list was made.
    snapshots: Vec<SeqNo>,
    dropped: BTreeMap<IndexId, u64>,
    last_key: Vec<u8>,
    /// The snapshot interval of the last version seen of `last_key`; none before its first.
    last_interval: Option<usize>,
    index: Option<IndexId>,
    index_dropped: bool,
}

impl DropRules {
    /// `snapshots` as [`crate::txn::snapshots::Snapshots::list`] gives it; `dropped` as the version holds it.
    pub fn new(snapshots: Vec<SeqNo>, dropped: BTreeMap<IndexId, u64>) -> Self {
        Self {
            snapshots,
            dropped,
            last_key: Vec::new(),
            last_interval: None,
            index: None,
            index_dropped: false,
        }
    }

    /// Whether the entry is kept. `nothing_below` tells whether no older version of a key can lie outside of what is being merged.
    pub fn keep(
        &mut self,
        user_key: &[u8],
        seq: SeqNo,
        kind: ValueKind,
        nothing_below: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        let index = index_id_of(user_key);
        if index != self.index {
            self.index = index;
            self.index_dropped = index.is_some_and(|id| self.dropped.contains_key(&id));
        }
        if self.index_dropped {
            return false;
        }
        let interval = self.snapshots.partition_point(|&snapshot| snapshot < seq);
        if self.last_interval.is_some() && self.last_key == user_key {
            let same = self.last_interval == Some(interval) && interval < self.snapshots.len();
            self.last_interval = Some(interval);
            if same {
                return false;
            }
        } else {
            self.last_key.clear();
            self.last_key.extend_from_slice(user_key);
            self.last_interval = Some(interval);
        }
        !(kind == ValueKind::Delete && interval == 0 && nothing_below(user_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(
        snapshots: &[SeqNo],
        versions: &[(&[u8], SeqNo, ValueKind)],
        nothing_below: bool,
    ) -> Vec<SeqNo> {
        let mut rules = DropRules::new(snapshots.to_vec(), BTreeMap::from([(9, 1)]));
        versions
            .iter()
            .filter(|(key, seq, kind)| rules.keep(key, *seq, *kind, |_| nothing_below))
            .map(|(_, seq, _)| *seq)
            .collect()
    }

    use ValueKind::{Delete, Put};

    #[test]
    fn one_version_a_snapshot_interval() {
        let key = b"\0\0\0\x01k".as_slice();
        let versions = [
            (key, 9, Put),
            (key, 7, Put),
            (key, 6, Put),
            (key, 3, Put),
            (key, 2, Put),
        ];
        assert_eq!(kept(&[10], &versions, false), [9]);
        assert_eq!(kept(&[6, 10], &versions, false), [9, 6]);
        assert_eq!(kept(&[2, 6, 10], &versions, false), [9, 6, 2]);
        assert_eq!(kept(&[6], &versions, false), [9, 7, 6]);
        assert_eq!(kept(&[1], &versions, false), [9, 7, 6, 3, 2]);
    }

    #[test]
    fn deletions_go_only_when_all_see_them_and_nothing_is_below() {
        let key = b"\0\0\0\x01k".as_slice();
        let versions = [(key, 5, Delete), (key, 4, Put)];
        assert_eq!(kept(&[10], &versions, true), [] as [SeqNo; 0]);
        assert_eq!(kept(&[10], &versions, false), [5]);
        assert_eq!(kept(&[4, 10], &versions, true), [5, 4]);
        assert_eq!(kept(&[3], &versions, true), [5, 4]);
    }

    #[test]
    fn dropped_indexes_go_whole() {
        let versions = [
            (b"\0\0\0\x08".as_slice(), 5, Put),
            (b"\0\0\0\x09", 6, Put),
            (b"\0\0\0\x0a", 7, Put),
        ];
        assert_eq!(kept(&[10], &versions, false), [5, 7]);
    }
}
