use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;

use super::test_support::{Model, compare, model, moves};
use super::*;
use crate::types::{InternalKeyBuf, ValueKind};
use crate::{Error, ErrorKind};

/// Iterates over entries in memory; fails once it has made as many moves as it may.
struct Entries {
    entries: Vec<(InternalKeyBuf, Vec<u8>)>,
    at: Option<usize>,
    moves_left: usize,
}

impl Entries {
    fn new(model: &Model) -> Self {
        Self {
            entries: model.clone().into_iter().collect(),
            at: None,
            moves_left: usize::MAX,
        }
    }

    fn move_to(&mut self, at: Option<usize>) -> Result<()> {
        self.at = at.filter(|&at| at < self.entries.len());
        match self.moves_left.checked_sub(1) {
            Some(left) => self.moves_left = left,
            None => {
                self.at = None;
                return Err(Error::new(ErrorKind::Unavailable, "out of moves"));
            }
        }
        Ok(())
    }
}

impl InternalIterator for Entries {
    fn valid(&self) -> bool {
        self.at.is_some()
    }
    fn seek_to_first(&mut self) -> Result<()> {
        self.move_to(Some(0))
    }
    fn seek_to_last(&mut self) -> Result<()> {
        self.move_to(self.entries.len().checked_sub(1))
    }
    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.move_to(Some(
            self.entries
                .partition_point(|(key, _)| key.as_ref() < target),
        ))
    }
    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        let after = self
            .entries
            .partition_point(|(key, _)| key.as_ref() <= target);
        self.move_to(after.checked_sub(1))
    }
    fn next(&mut self) -> Result<()> {
        self.move_to(self.at.map(|at| at + 1))
    }
    fn prev(&mut self) -> Result<()> {
        self.move_to(self.at.and_then(|at| at.checked_sub(1)))
    }
    fn key(&self) -> &[u8] {
        self.at.map_or(&[], |at| self.entries[at].0.as_bytes())
    }
    fn value(&self) -> &[u8] {
        self.at.map_or(&[], |at| &self.entries[at].1)
    }
}

/// Deals the entries out to `n` sources, by `choices`.
fn deal(model: &Model, choices: &[usize], n: usize) -> Vec<Entries> {
    let mut parts = vec![BTreeMap::new(); n];
    for (i, (key, value)) in model.iter().enumerate() {
        let choice = choices.get(i % choices.len().max(1)).copied().unwrap_or(0);
        parts[choice % n].insert(key.clone(), value.clone());
    }
    parts.iter().map(Entries::new).collect()
}

/// A level cut from a model at the given places.
struct Cut {
    files: Vec<Model>,
    opened: Rc<RefCell<Vec<usize>>>,
}

impl Cut {
    fn new(model: &Model, file_len: usize) -> Self {
        let entries: Vec<_> = model.clone().into_iter().collect();
        Self {
            files: entries
                .chunks(file_len)
                .map(|chunk| chunk.iter().cloned().collect())
                .collect(),
            opened: Rc::default(),
        }
    }
}

impl LevelFiles for Cut {
    type Iter = Entries;
    fn len(&self) -> usize {
        self.files.len()
    }
    fn smallest(&self, i: usize) -> KeyRef<'_> {
        self.files[i].first_key_value().unwrap().0.as_ref()
    }
    fn largest(&self, i: usize) -> KeyRef<'_> {
        self.files[i].last_key_value().unwrap().0.as_ref()
    }
    fn open(&self, i: usize) -> Result<Entries> {
        self.opened.borrow_mut().push(i);
        Ok(Entries::new(&self.files[i]))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_merge_is_the_union(model in model(), moves in moves(), n in 1usize..9, choices in prop::collection::vec(0usize..9, 1..50)) {
        compare(&mut MergingIterator::new(deal(&model, &choices, n)), &model, &moves)?;
    }

    #[test]
    fn a_level_is_the_concatenation(model in model(), moves in moves(), file_len in 1usize..40) {
        compare(&mut LevelIter::new(Cut::new(&model, file_len)), &model, &moves)?;
    }

    #[test]
    fn a_merge_of_levels_and_merges(model in model(), moves in moves(), file_len in 1usize..40) {
        let (mut odd, mut even) = (Model::new(), Model::new());
        for (i, (key, value)) in model.iter().enumerate() {
            let part = if i % 3 == 0 { &mut odd } else { &mut even };
            part.insert(key.clone(), value.clone());
        }
        let levels = vec![LevelIter::new(Cut::new(&odd, file_len)), LevelIter::new(Cut::new(&even, file_len))];
        compare(&mut MergingIterator::new(levels), &model, &moves)?;
    }

    #[test]
    fn after_an_error_a_merge_is_invalid_and_can_be_placed_again(model in model(), limit in 0usize..60) {
        let mut sources = deal(&model, &[0, 1, 1, 2, 0], 3);
        sources[1].moves_left = limit;
        let mut merged = MergingIterator::new(sources);
        let mut result = merged.seek_to_first();
        let mut seen = 0;
        while result.is_ok() && merged.valid() {
            seen += 1;
            result = merged.next();
        }
        if result.is_err() {
            prop_assert!(!merged.valid());
            prop_assert!(merged.next().is_ok() && merged.prev().is_ok() && !merged.valid());
            prop_assert!(merged.seek_to_last().is_err());
        } else {
            prop_assert_eq!(seen, model.len());
        }
    }
}

fn numbers(range: std::ops::Range<u8>) -> Model {
    range
        .map(|n| (InternalKeyBuf::new(&[n], 1, ValueKind::Put), vec![n]))
        .collect()
}

#[test]
fn a_level_opens_only_the_files_it_needs() {
    let cut = Cut::new(&numbers(0..100), 10);
    let opened = cut.opened.clone();
    let mut level = LevelIter::new(cut);
    level.seek(KeyRef::before(&[55])).unwrap();
    assert_eq!(level.value(), [55]);
    assert_eq!(*opened.borrow(), [5]);
    for _ in 0..5 {
        level.next().unwrap();
    }
    assert_eq!(level.value(), [60]);
    assert_eq!(*opened.borrow(), [5, 6]);
    level.prev().unwrap();
    level.seek_for_prev(KeyRef::after(&[200])).unwrap();
    assert_eq!(level.value(), [99]);
    assert_eq!(*opened.borrow(), [5, 6, 5, 9]);
}

#[test]
fn nothing_to_merge() {
    let mut merged = MergingIterator::<Entries>::new(Vec::new());
    merged.seek_to_first().unwrap();
    merged.next().unwrap();
    assert!(!merged.valid());
    let mut merged = MergingIterator::new(vec![Entries::new(&Model::new())]);
    merged.seek_to_last().unwrap();
    merged.prev().unwrap();
    assert!(!merged.valid());
}
