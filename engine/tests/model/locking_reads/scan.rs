//! An open scan, and what the next step of it may come to.

use std::collections::BTreeSet;

use smartengine::{ReadSpec, RowWait};

use super::model::Model;
use super::table::{Of, Rows};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Forward,
    Backward,
}

/// Where a step begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// With this key (forward), or before it (backward).
    Edge(Vec<u8>),
    /// Behind this one, which was shown.
    Behind(Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct Scan {
    pub of: Of,
    pub lower: Vec<u8>,
    pub upper: Vec<u8>,
    pub spec: ReadSpec,
    /// What was committed when it was opened, and after each commit since.
    pub history: Vec<Rows>,
    /// What others had added, and not committed, when it was opened: transactions and keys.
    pub pending: Vec<(u64, Vec<u8>)>,
    /// The entry that it stands on.
    pub at: Option<Vec<u8>>,
    /// Whether that is shown without its lock.
    pub unlocked: bool,
    pub placed: bool,
    /// Whether the transaction has written something since the last seek, which the scan may or may not show.
    pub stale: bool,
}

/// What a read came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub row_key: Vec<u8>,
    pub row: Vec<u8>,
    pub unlocked: bool,
}

impl Scan {
    /// Whether a step from here passes a key.
    pub fn passes(&self, way: Way, from: &From, key: &[u8]) -> bool {
        let inside = self.lower.as_slice() <= key && key < self.upper.as_slice();
        inside
            && match (way, from) {
                (Way::Forward, From::Edge(edge)) => key >= edge.as_slice(),
                (Way::Forward, From::Behind(edge)) => key > edge.as_slice(),
                (Way::Backward, From::Edge(edge) | From::Behind(edge)) => key < edge.as_slice(),
            }
    }

    /// The keys ahead, nearest first.
    pub fn ahead<'a>(&self, way: Way, from: &From, rows: &'a Rows) -> Vec<&'a Vec<u8>> {
        let keys = rows.keys().filter(|key| self.passes(way, from, key));
        match way {
            Way::Forward => keys.collect(),
            Way::Backward => keys.rev().collect(),
        }
    }

    /// Whether `key` comes before `other` on the way; the end comes last.
    pub fn before(way: Way, key: &[u8], other: Option<&[u8]>) -> bool {
        other.is_none_or(|other| match way {
            Way::Forward => key < other,
            Way::Backward => key > other,
        })
    }

    /// All that a step may look at: what was committed at some time since the scan was opened, with the transaction's own writes.
    pub fn views(&self, model: &Model, slot: usize) -> Vec<Rows> {
        let bases = self.history.iter();
        bases.map(|base| model.txns[slot].over(base)).collect()
    }

    /// How far a step may look before it knows better: to the farthest of what was the next entry at some time; `None` for the end of the range.
    pub fn reach(&self, way: Way, from: &From, views: &[Rows]) -> Option<Vec<u8>> {
        let next = views
            .iter()
            .map(|view| self.ahead(way, from, view).first().map(|key| key.to_vec()));
        next.reduce(|one, other| match (one, other) {
            (Some(one), Some(other)) if way == Way::Forward => Some(one.max(other)),
            (Some(one), Some(other)) => Some(one.min(other)),
            _ => None,
        })
        .flatten()
    }

    /// Whether a step up to `end` goes over a key, or comes to it.
    pub fn touches(&self, way: Way, from: &From, key: &[u8], end: Option<&[u8]>) -> bool {
        let at_edge = matches!((way, from), (Way::Forward, From::Behind(edge)) if edge == key);
        (at_edge || self.passes(way, from, key))
            && (Self::before(way, key, end) || end == Some(key))
    }

    /// The nearest entry that the step must not pass over, whatever of its history it looks at: one that has been there all the time.
    pub fn must(&self, model: &Model, slot: usize, way: Way, from: &From) -> Option<Vec<u8>> {
        let views = self.views(model, slot);
        let now = model.view(slot);
        let lasting = self.ahead(way, from, &now).into_iter().find(|key| {
            let free = |rows: &Rows| {
                let row = model.table.row_key(key, &rows[*key]);
                model.free(slot, &row, self.spec)
            };
            let there = views.iter().all(|rows| rows.contains_key(*key));
            there && (self.spec.wait != RowWait::SkipLocked || views.iter().all(free))
        });
        lasting.cloned()
    }

    /// Whether a step up to `end` may find a row locked by another.
    pub fn may_meet_lock(
        &self,
        model: &Model,
        slot: usize,
        way: Way,
        from: &From,
        end: Option<&[u8]>,
    ) -> bool {
        self.views(model, slot).iter().any(|rows| {
            let mut ahead = self.ahead(way, from, rows).into_iter();
            ahead.any(|key| {
                let row = model.table.row_key(key, &rows[key]);
                self.touches(way, from, key, end) && !model.free(slot, &row, self.spec)
            })
        })
    }

    /// The keys of the domain that a step goes over on its way to `end`, without that.
    pub fn gap(
        &self,
        model: &Model,
        way: Way,
        from: &From,
        end: Option<&[u8]>,
    ) -> BTreeSet<Vec<u8>> {
        let keys = model.domain.iter();
        keys.filter(|key| self.passes(way, from, key) && Self::before(way, key, end))
            .cloned()
            .collect()
    }
}
