//! Merges sorted sources into one, both ways.
//!
//! The sources that stand on an entry form a binary heap by key; the root is the current entry. A step moves the root's source and compares
//! its new key with the runner-up, which is known from the last time: while one source supplies a run of entries, a step costs one comparison,
//! however many sources there are. With one source nothing is compared at all.
//!
//! Keys are internal keys, of which no two sources hold the same; should they, the source given first comes first.

use std::cmp::Ordering;

use super::InternalIterator;
use crate::Result;
use crate::types::{InternalKeyBuf, KeyRef, compare_internal, trailer_of, user_key_of};

/// An index that no source has.
const NONE: usize = usize::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// The merge of several iterators of one type. See the module's description.
pub struct MergingIterator<I> {
    sources: Vec<I>,
    /// The source that stands on the current entry, which is the first of the heap; `NONE` while invalid.
    current: usize,
    /// Indexes of the valid sources; the current one first.
    heap: Vec<usize>,
    /// Where in the heap the runner-up is: 1 or 2. 0 while unknown.
    runner_up: usize,
    direction: Direction,
    /// The current key while a change of direction moves its source.
    pivot: InternalKeyBuf,
}

impl<I: InternalIterator> MergingIterator<I> {
    /// Merges `sources`. Newer sources come first.
    pub fn new(sources: Vec<I>) -> Self {
        Self {
            heap: Vec::with_capacity(sources.len()),
            sources,
            current: NONE,
            runner_up: 0,
            direction: Direction::Forward,
            pivot: InternalKeyBuf::default(),
        }
    }

    /// The sources, in the order given.
    pub fn sources(&self) -> &[I] {
        &self.sources
    }

    /// A source, to be changed before the next seek. The iterator is invalid until then.
    pub fn source_mut(&mut self, i: usize) -> Option<&mut I> {
        self.invalidate();
        self.sources.get_mut(i)
    }

    /// The source of the current entry, if there is one.
    pub fn current(&self) -> Option<&I> {
        self.sources.get(self.current)
    }

    /// Whether source `a` comes before source `b` in the current direction. Both are valid.
    #[inline]
    fn precedes(&self, a: usize, b: usize) -> bool {
        let order = compare_internal(self.sources[a].key(), self.sources[b].key());
        match self.direction {
            Direction::Forward => order.then(a.cmp(&b)) == Ordering::Less,
            Direction::Backward => order.then(b.cmp(&a)) == Ordering::Greater,
        }
    }

    fn rebuild(&mut self, direction: Direction) {
        self.direction = direction;
        self.runner_up = 0;
        self.heap.clear();
        for (i, source) in self.sources.iter().enumerate() {
            if source.valid() {
                self.heap.push(i);
            }
        }
        for at in (0..self.heap.len() / 2).rev() {
            self.sift_down(at);
        }
        self.find_current();
    }

    fn find_current(&mut self) {
        self.current = self.heap.first().copied().unwrap_or(NONE);
    }

    /// Makes the iterator invalid.
    fn invalidate(&mut self) {
        self.heap.clear();
        self.current = NONE;
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let child =
                if right < self.heap.len() && self.precedes(self.heap[right], self.heap[left]) {
                    right
                } else {
                    left
                };
            if !self.precedes(self.heap[child], self.heap[at]) {
                return;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }

    /// Restores the heap after the root's source has moved.
    #[inline]
    fn settle_root(&mut self) {
        if self.heap.len() <= 1 {
            return;
        }
        if self.runner_up == 0 {
            self.runner_up = if self.heap.len() > 2 && self.precedes(self.heap[2], self.heap[1]) {
                2
            } else {
                1
            };
        }
        let runner_up = self.runner_up;
        if self.precedes(self.heap[runner_up], self.heap[0]) {
            self.heap.swap(0, runner_up);
            self.runner_up = 0;
            self.sift_down(runner_up);
            self.find_current();
        }
    }

    /// Drops the root, whose source has no more entries.
    fn drop_root(&mut self) {
        self.heap.swap_remove(0);
        self.runner_up = 0;
        self.sift_down(0);
        self.find_current();
    }

    fn seek_all(
        &mut self,
        direction: Direction,
        mut seek: impl FnMut(&mut I) -> Result<()>,
    ) -> Result<()> {
        self.invalidate();
        for source in &mut self.sources {
            #[cfg(test)]
            super::test_support::count_move();
            seek(source)?;
        }
        self.rebuild(direction);
        Ok(())
    }

    /// Makes every source stand on the other side of the current entry. The root's source itself stays on it.
    fn turn(&mut self, direction: Direction) -> Result<()> {
        let root = self.current;
        let Some(source) = self.sources.get(root) else {
            return Ok(());
        };
        let key = source.key();
        let mut pivot = std::mem::take(&mut self.pivot);
        pivot.set(user_key_of(key), trailer_of(key));
        let result = self.turn_around(root, pivot.as_ref(), direction);
        self.pivot = pivot;
        result
    }

    fn turn_around(&mut self, root: usize, pivot: KeyRef<'_>, direction: Direction) -> Result<()> {
        self.invalidate();
        for (i, source) in self.sources.iter_mut().enumerate() {
            if i == root {
                continue;
            }
            match direction {
                Direction::Forward => source.seek(pivot)?,
                Direction::Backward => source.seek_for_prev(pivot)?,
            }
        }
        self.rebuild(direction);
        Ok(())
    }

    /// One step in `direction`, by `advance`.
    #[inline]
    fn step(
        &mut self,
        direction: Direction,
        advance: impl FnOnce(&mut I) -> Result<()>,
    ) -> Result<()> {
        if self.direction != direction && self.sources.len() > 1 {
            self.turn(direction)?;
        }
        let Some(source) = self.sources.get_mut(self.current) else {
            return Ok(());
        };
        #[cfg(test)]
        super::test_support::count_move();
        let moved = advance(source);
        if moved.is_err() {
            self.invalidate();
        } else if !source.valid() {
            self.drop_root();
        } else {
            self.settle_root();
        }
        moved
    }
}

impl<I: InternalIterator> InternalIterator for MergingIterator<I> {
    #[inline]
    fn valid(&self) -> bool {
        self.current != NONE
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.seek_all(Direction::Forward, I::seek_to_first)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.seek_all(Direction::Backward, I::seek_to_last)
    }

    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.seek_all(Direction::Forward, |source| source.seek(target))
    }

    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.seek_all(Direction::Backward, |source| source.seek_for_prev(target))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.step(Direction::Forward, I::next)
    }

    #[inline]
    fn next_key(&mut self) -> Result<()> {
        self.step(Direction::Forward, I::next_key)
    }

    fn skip_to(&mut self, target: KeyRef<'_>) -> Result<()> {
        while self.valid() && target.cmp_encoded(self.key()).is_gt() {
            self.step(Direction::Forward, |source| source.skip_to(target))?;
        }
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        self.step(Direction::Backward, I::prev)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.current().map_or(&[], I::key)
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current().map_or(&[], I::value)
    }
}
