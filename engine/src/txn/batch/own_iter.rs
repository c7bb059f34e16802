//! Iterates over a transaction's own writes: its list in memory alone, or merged with what it has spilled.

use std::sync::Arc;

use super::view::BatchView;
use crate::Result;
use crate::iter::{InternalIterator, MergingIterator};
use crate::memtable::{MemIter, SkipList};
use crate::sst::IterOptions;
use crate::txn::spill::RunIter;
use crate::types::KeyRef;

/// One sorted part of a batch. There are few of them, however large the variants.
#[allow(clippy::large_enum_variant)]
enum Part {
    List(MemIter),
    Run(RunIter),
}

macro_rules! each_part {
    ($self:expr, $part:ident => $call:expr) => {
        match $self {
            Part::List($part) => $call,
            Part::Run($part) => $call,
        }
    };
}

impl InternalIterator for Part {
    fn valid(&self) -> bool {
        each_part!(self, part => part.valid())
    }

    fn seek_to_first(&mut self) -> Result<()> {
        each_part!(self, part => part.seek_to_first())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        each_part!(self, part => part.seek_to_last())
    }

    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        each_part!(self, part => part.seek(target))
    }

    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        each_part!(self, part => part.seek_for_prev(target))
    }

    fn next(&mut self) -> Result<()> {
        each_part!(self, part => part.next())
    }

    fn next_key(&mut self) -> Result<()> {
        each_part!(self, part => part.next_key())
    }

    fn skip_to(&mut self, target: KeyRef<'_>) -> Result<()> {
        each_part!(self, part => part.skip_to(target))
    }

    fn prev(&mut self) -> Result<()> {
        each_part!(self, part => part.prev())
    }

    fn key(&self) -> &[u8] {
        each_part!(self, part => part.key())
    }

    fn value(&self) -> &[u8] {
        each_part!(self, part => part.value())
    }
}

enum Inner {
    List(MemIter),
    Merged(Box<MergingIterator<Part>>),
}

macro_rules! inner {
    ($self:expr, $inner:ident => $call:expr) => {
        match $self {
            Inner::List($inner) => $call,
            Inner::Merged($inner) => $call,
        }
    };
}

/// An iterator over what a transaction has written and not rolled back. All versions of a key show, newest first.
pub struct OwnIter {
    view: Arc<BatchView>,
    generation: u64,
    options: IterOptions,
    inner: Inner,
}

impl BatchView {
    /// An iterator over all live writes with keys of [lower, upper), and maybe others; also those written later.
    pub fn iter(self: &Arc<Self>, lower: &[u8], upper: &[u8]) -> OwnIter {
        OwnIter::new(self.clone(), Some((lower, upper)), IterOptions::default())
    }
}

impl OwnIter {
    /// Over the writes with keys of `range`, a first key and an end; others may show as well.
    pub(super) fn new(
        view: Arc<BatchView>,
        range: Option<(&[u8], &[u8])>,
        options: IterOptions,
    ) -> Self {
        let (generation, inner) = open(&view, range, options);
        Self {
            view,
            generation,
            options,
            inner,
        }
    }

    /// Whether the batch consists of other parts than when this was made or renewed.
    #[inline]
    pub fn is_stale(&self) -> bool {
        self.view.generation() != self.generation
    }

    /// Turns to what the batch consists of now, for keys of [lower, upper). It stands nowhere then.
    pub fn renew(&mut self, lower: &[u8], upper: &[u8]) {
        (self.generation, self.inner) = open(&self.view, Some((lower, upper)), self.options);
    }

    /// Whether it stands on a write that was rolled back since it came there.
    pub fn is_dead(&self) -> bool {
        match &self.inner {
            Inner::List(list) => list.is_dead(),
            Inner::Merged(merged) => merged.current().is_some_and(|part| match part {
                Part::List(list) => list.is_dead(),
                Part::Run(run) => run.is_dead(),
            }),
        }
    }
}

fn open(view: &BatchView, range: Option<(&[u8], &[u8])>, options: IterOptions) -> (u64, Inner) {
    let (parts, generation) = view.parts();
    // Between transactions there is no list.
    let list = parts
        .list
        .unwrap_or_else(|| Arc::new(SkipList::new(super::FIRST_CHUNK)));
    let list = MemIter::over(list);
    let mut runs = parts
        .runs
        .iter()
        .rev()
        .filter(|run| range.is_none_or(|(lower, upper)| run.overlaps(lower, upper)))
        .peekable();
    if runs.peek().is_none() {
        return (generation, Inner::List(list));
    }
    let mut all = vec![Part::List(list)];
    all.extend(runs.map(|run| Part::Run(run.iter(options))));
    (
        generation,
        Inner::Merged(Box::new(MergingIterator::new(all))),
    )
}

impl InternalIterator for OwnIter {
    fn valid(&self) -> bool {
        inner!(&self.inner, inner => inner.valid())
    }

    fn seek_to_first(&mut self) -> Result<()> {
        inner!(&mut self.inner, inner => inner.seek_to_first())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        inner!(&mut self.inner, inner => inner.seek_to_last())
    }

    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        inner!(&mut self.inner, inner => inner.seek(target))
    }

    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        inner!(&mut self.inner, inner => inner.seek_for_prev(target))
    }

    fn next(&mut self) -> Result<()> {
        inner!(&mut self.inner, inner => inner.next())
    }

    fn next_key(&mut self) -> Result<()> {
        inner!(&mut self.inner, inner => inner.next_key())
    }

    fn skip_to(&mut self, target: KeyRef<'_>) -> Result<()> {
        inner!(&mut self.inner, inner => inner.skip_to(target))
    }

    fn prev(&mut self) -> Result<()> {
        inner!(&mut self.inner, inner => inner.prev())
    }

    fn key(&self) -> &[u8] {
        inner!(&self.inner, inner => inner.key())
    }

    fn value(&self) -> &[u8] {
        inner!(&self.inner, inner => inner.value())
    }
}
