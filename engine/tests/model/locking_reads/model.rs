//! What is committed, and what each transaction has written and locked.

use std::collections::{BTreeMap, BTreeSet};

use smartengine::{ErrorKind, Isolation, LockMode, ReadSpec, RowWait};

use super::scan::{From, Scan, Seen, Way};
use super::table::{Rows, Table};

#[derive(Clone, Debug)]
pub struct Txn {
    pub id: u64,
    pub isolation: Isolation,
    pub snapshot: Option<Rows>,
    /// No value stands for a removal.
    pub writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Every key that it has given a value to.
    pub added: BTreeSet<Vec<u8>>,
    pub locks: BTreeMap<Vec<u8>, LockMode>,
    /// Where nobody else may add, and where it may be that nobody else can.
    pub closed: BTreeSet<Vec<u8>>,
    pub maybe_closed: BTreeSet<Vec<u8>>,
    pub scan: Option<Scan>,
    /// The locks that the last read of the scan, and the last read by a key, took.
    pub fresh: [Option<Vec<u8>>; 2],
}

impl Txn {
    pub fn new(id: u64, isolation: Isolation) -> Self {
        Self {
            id,
            isolation,
            snapshot: None,
            writes: BTreeMap::new(),
            added: BTreeSet::new(),
            locks: BTreeMap::new(),
            closed: BTreeSet::new(),
            maybe_closed: BTreeSet::new(),
            scan: None,
            fresh: [None, None],
        }
    }

    pub fn over(&self, base: &Rows) -> Rows {
        let mut rows = base.clone();
        for (key, value) in &self.writes {
            match value {
                Some(value) => rows.insert(key.clone(), value[..].into()),
                None => rows.remove(key),
            };
        }
        rows
    }
}

pub struct Model {
    pub table: Table,
    pub domain: Vec<Vec<u8>>,
    pub committed: Rows,
    pub txns: Vec<Txn>,
}

/// A read's outcome.
pub type Outcome = Result<Option<Seen>, ErrorKind>;

impl Model {
    /// The newest state, with the transaction's own writes.
    pub fn view(&self, slot: usize) -> Rows {
        self.txns[slot].over(&self.committed)
    }

    /// Whether no other transaction holds the key in a mode that goes against the one wanted.
    pub fn free(&self, slot: usize, key: &[u8], spec: ReadSpec) -> bool {
        spec.lock.is_none_or(|mode| self.can_lock(slot, key, mode))
    }

    pub fn can_lock(&self, slot: usize, key: &[u8], mode: LockMode) -> bool {
        let mut others = self.others(slot);
        !others.any(|txn| {
            let held = txn.locks.get(key);
            held.is_some_and(|held| mode.max(*held) == LockMode::Exclusive)
        })
    }

    pub fn others(&self, slot: usize) -> impl Iterator<Item = &Txn> {
        let others = self
            .txns
            .iter()
            .enumerate()
            .filter(move |(at, _)| *at != slot);
        others.map(|(_, txn)| txn)
    }

    /// Takes note of a lock that a read has got; whether it was not held.
    pub fn lock(&mut self, slot: usize, key: &[u8], mode: LockMode) -> bool {
        let locks = &mut self.txns[slot].locks;
        let before = locks.get(key).copied();
        locks.insert(key.to_vec(), before.map_or(mode, |held| held.max(mode)));
        before.is_none()
    }

    /// Takes a commit over.
    pub fn commit(&mut self, txn: &Txn) {
        self.committed = txn.over(&self.committed);
        for scan in self.txns.iter_mut().filter_map(|txn| txn.scan.as_mut()) {
            scan.history.push(self.committed.clone());
        }
    }

    fn assert_row(&self, seen: &Seen, rows: &Rows, context: &str) {
        let shown = rows.get(&seen.key).map(|value| &value[..]);
        assert_eq!(shown, Some(&seen.value[..]), "{context}: the entry");
        if seen.row_key.is_empty() {
            return;
        }
        let row_key = self.table.row_key(&seen.key, &seen.value);
        assert_eq!(seen.row_key, row_key, "{context}: where the row is");
        let row = rows.get(&row_key).map(|row| &row[..]);
        assert_eq!(row, Some(&seen.row[..]), "{context}: the row");
    }

    /// Checks a step of a scan that locks, and takes note of what is locked after it.
    pub fn locking_step(&mut self, slot: usize, way: Way, from: From, outcome: &Outcome) {
        let scan = self.txns[slot].scan.clone().unwrap();
        let locks_gaps = self.txns[slot].isolation.locks_gaps();
        self.txns[slot].fresh[0] = None;
        match outcome {
            Err(kind) => {
                let wanted = match scan.spec.wait {
                    RowWait::NoWait => ErrorKind::LockNotAvailable,
                    _ => ErrorKind::LockTimeout,
                };
                assert_eq!(*kind, wanted);
                assert!(
                    self.may_fail(slot, &scan, way, &from),
                    "nobody stands in the way"
                );
                if locks_gaps {
                    let all = self.domain.iter();
                    let reached = all.filter(|key| scan.touches(way, &from, key, None));
                    let reached: Vec<_> = reached.cloned().collect();
                    self.txns[slot].maybe_closed.extend(reached);
                }
                self.txns[slot].scan = None;
            }
            Ok(seen) => {
                let end = seen.as_ref().map(|seen| &seen.key[..]);
                match locks_gaps {
                    true => self.exact_step(slot, &scan, way, &from, seen.as_ref()),
                    false => self.loose_step(slot, &scan, way, &from, seen.as_ref()),
                }
                if let Some(seen) = seen
                    && !seen.unlocked
                {
                    let row_key = self.table.row_key(&seen.key, &seen.value);
                    assert!(self.free(slot, &row_key, scan.spec), "a row of another's");
                    if self.lock(slot, &row_key, scan.spec.lock.unwrap()) {
                        self.txns[slot].fresh[0] = Some(row_key);
                    }
                }
                let open = self.txns[slot].scan.as_mut().unwrap();
                open.at = end.map(<[u8]>::to_vec);
                open.unlocked = seen.as_ref().is_some_and(|seen| seen.unlocked);
            }
        }
    }

    /// Whether something of another's may stand in the way of a step.
    fn may_fail(&self, slot: usize, scan: &Scan, way: Way, from: &From) -> bool {
        let exact = self.txns[slot].isolation.locks_gaps();
        let end = match exact {
            true => scan.reach(way, from, &scan.views(self, slot)),
            false => scan.must(self, slot, way, from),
        };
        let additions = matches!(scan.spec.wait, RowWait::Wait | RowWait::NoWait)
            && self.others(slot).any(|txn| {
                let mut added = txn.added.iter();
                added.any(|key| scan.touches(way, from, key, end.as_deref()))
            });
        let rows = match scan.spec.wait {
            RowWait::Wait | RowWait::NoWait => {
                scan.may_meet_lock(self, slot, way, from, end.as_deref())
            }
            RowWait::SkipLocked => false,
            // What it has shown and reads again.
            RowWait::SemiConsistent => scan.unlocked,
        };
        additions || rows
    }

    /// From REPEATABLE READ on: the next entry that there is.
    fn exact_step(&mut self, slot: usize, scan: &Scan, way: Way, from: &From, seen: Option<&Seen>) {
        let now = self.view(slot);
        let skips = scan.spec.wait == RowWait::SkipLocked;
        let expected = scan.ahead(way, from, &now).into_iter().find(|key| {
            let row = self.table.row_key(key, &now[*key]);
            !skips || self.free(slot, &row, scan.spec)
        });
        assert_eq!(seen.map(|seen| &seen.key), expected, "the next entry");
        if let Some(seen) = seen {
            assert!(!seen.unlocked);
            self.assert_row(seen, &now, "locked");
        }
        let end = expected.map(|key| &key[..]);
        let gap = scan.gap(self, way, from, end);
        if !skips {
            let mut others = self.others(slot);
            let pending = others.find(|txn| !txn.added.is_disjoint(&gap));
            assert!(pending.is_none(), "an addition was not waited for");
        }
        // Behind each entry that it came to it may have looked farther at first.
        let views = scan.views(self, slot);
        let mut reach = scan.reach(way, from, &views);
        if skips {
            for key in scan.ahead(way, from, &now) {
                if !Scan::before(way, key, end) {
                    break;
                }
                let next = scan.reach(way, &From::Behind(key.clone()), &views);
                reach = match (reach, next) {
                    (Some(one), Some(other)) if Scan::before(way, &one, Some(&other)) => {
                        Some(other)
                    }
                    (Some(one), Some(_)) => Some(one),
                    _ => None,
                };
            }
        }
        let maybe: Vec<_> = self
            .domain
            .iter()
            .filter(|key| scan.touches(way, from, key, reach.as_deref()))
            .cloned()
            .collect();
        let txn = &mut self.txns[slot];
        txn.closed.extend(gap);
        txn.maybe_closed.extend(maybe);
    }

    /// Below: some entry that there is, and none that has been there all the time is passed over.
    fn loose_step(&mut self, slot: usize, scan: &Scan, way: Way, from: &From, seen: Option<&Seen>) {
        let now = self.view(slot);
        let must = scan.must(self, slot, way, from);
        let end = seen.map(|seen| &seen.key[..]);
        if let Some(must) = &must {
            let end = end.unwrap_or_else(|| panic!("{must:?} was passed over"));
            assert!(
                end == &must[..] || Scan::before(way, end, Some(must)),
                "{must:?} was passed over"
            );
        }
        if let Some(seen) = seen {
            assert!(
                scan.passes(way, from, &seen.key),
                "{:?} comes again",
                seen.key
            );
            match seen.unlocked {
                false => self.assert_row(seen, &now, "locked"),
                true => {
                    assert_eq!(scan.spec.wait, RowWait::SemiConsistent);
                    self.assert_row(seen, &self.committed, "as last committed");
                    let row_key = self.table.row_key(&seen.key, &seen.value);
                    assert!(!self.free(slot, &row_key, scan.spec), "it could be locked");
                }
            }
        }
        if matches!(scan.spec.wait, RowWait::Wait | RowWait::NoWait) {
            let passed = scan.gap(self, way, from, end);
            let mut pending = scan.pending.iter().filter(|(id, key)| {
                let runs = self.txns.iter().any(|txn| txn.id == *id);
                runs && passed.contains(key)
            });
            let pending = pending.next();
            assert!(pending.is_none(), "{pending:?} was not waited for");
        }
    }
}
