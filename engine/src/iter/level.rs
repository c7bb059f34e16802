//! Iterates over files that do not overlap as if they were one.

use super::InternalIterator;
use crate::Result;
use crate::types::KeyRef;

/// The files of a level: ascending, not overlapping, their ranges known without opening them.
pub trait LevelFiles {
    /// The iterator over one file.
    type Iter: InternalIterator;
    /// Number of files.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The first internal key of file `i`.
    fn smallest(&self, i: usize) -> KeyRef<'_>;
    /// The last internal key of file `i`.
    fn largest(&self, i: usize) -> KeyRef<'_>;
    /// Opens file `i`. Called when the iterator gets there, not before.
    fn open(&self, i: usize) -> Result<Self::Iter>;
    /// The same for an iterator that comes from the file beside it, going forward or back.
    fn open_next(&self, i: usize, forward: bool) -> Result<Self::Iter> {
        let _ = forward;
        self.open(i)
    }
    /// Called after every step within file `i`, so that what will be needed can be made ready.
    #[inline]
    fn look_ahead(&self, i: usize, iter: &mut Self::Iter) {
        let _ = (i, iter);
    }
}

/// The concatenation of a level's files, of which at most one is open at a time.
pub struct LevelIter<F: LevelFiles> {
    files: F,
    current: Option<(usize, F::Iter)>,
}

impl<F: LevelFiles> LevelIter<F> {
    /// Iterates over `files`.
    pub fn new(files: F) -> Self {
        Self {
            files,
            current: None,
        }
    }

    /// The index of the first file for which `before` is false.
    fn partition_point(&self, before: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.files.len());
        while low < high {
            let middle = low.midpoint(high);
            if before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Runs `place` on the iterator of file `i`, opening it if it is not open already.
    fn place(&mut self, i: usize, place: impl FnOnce(&mut F::Iter) -> Result<()>) -> Result<()> {
        let iter = match self.current.take() {
            Some((open, iter)) if open == i => iter,
            _ => self.files.open(i)?,
        };
        self.place_in(i, iter, place)
    }

    fn place_in(
        &mut self,
        i: usize,
        mut iter: F::Iter,
        place: impl FnOnce(&mut F::Iter) -> Result<()>,
    ) -> Result<()> {
        place(&mut iter)?;
        self.current = Some((i, iter));
        Ok(())
    }

    /// While the current file is used up, goes on to the one after it.
    fn skip_forward(&mut self) -> Result<()> {
        while let Some((i, iter)) = &self.current {
            if iter.valid() {
                return Ok(());
            }
            let next = i + 1;
            if next >= self.files.len() {
                self.current = None;
                return Ok(());
            }
            self.current = None;
            let iter = self.files.open_next(next, true)?;
            self.place_in(next, iter, F::Iter::seek_to_first)?;
        }
        Ok(())
    }

    /// While the current file is used up, goes back to the one before it.
    fn skip_backward(&mut self) -> Result<()> {
        while let Some((i, iter)) = &self.current {
            if iter.valid() {
                return Ok(());
            }
            let Some(previous) = i.checked_sub(1) else {
                self.current = None;
                return Ok(());
            };
            self.current = None;
            let iter = self.files.open_next(previous, false)?;
            self.place_in(previous, iter, F::Iter::seek_to_last)?;
        }
        Ok(())
    }
}

impl<F: LevelFiles> InternalIterator for LevelIter<F> {
    #[inline]
    fn valid(&self) -> bool {
        self.current.as_ref().is_some_and(|(_, iter)| iter.valid())
    }

    fn seek_to_first(&mut self) -> Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }
        self.place(0, F::Iter::seek_to_first)?;
        self.skip_forward()
    }

    fn seek_to_last(&mut self) -> Result<()> {
        let Some(last) = self.files.len().checked_sub(1) else {
            return Ok(());
        };
        self.place(last, F::Iter::seek_to_last)?;
        self.skip_backward()
    }

    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        let i = self.partition_point(|i| self.files.largest(i) < target);
        if i == self.files.len() {
            self.current = None;
            return Ok(());
        }
        self.place(i, |iter| iter.seek(target))?;
        self.skip_forward()
    }

    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        let after = self.partition_point(|i| self.files.smallest(i) <= target);
        let Some(i) = after.checked_sub(1) else {
            self.current = None;
            return Ok(());
        };
        self.place(i, |iter| iter.seek_for_prev(target))?;
        self.skip_backward()
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let Some((i, iter)) = &mut self.current else {
            return Ok(());
        };
        iter.next()?;
        self.files.look_ahead(*i, iter);
        if iter.valid() {
            return Ok(());
        }
        self.skip_forward()
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        let Some((i, iter)) = &mut self.current else {
            return Ok(());
        };
        iter.prev()?;
        self.files.look_ahead(*i, iter);
        if iter.valid() {
            return Ok(());
        }
        self.skip_backward()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |(_, iter)| iter.key())
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |(_, iter)| iter.value())
    }
}
