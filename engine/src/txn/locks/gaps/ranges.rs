//! Ranges of keys.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

/// Ranges [from, to) that do not touch each other: from their starts to their ends.
#[derive(Default)]
pub struct Ranges(BTreeMap<Vec<u8>, Vec<u8>>);

/// The first key behind `key`.
pub fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

fn set(bytes: &mut Vec<u8>, to: &[u8]) {
    bytes.clear();
    bytes.extend_from_slice(to);
}

impl Ranges {
    /// Whether `key` is in one of them.
    pub fn covers(&self, key: &[u8]) -> bool {
        let before = self.0.range::<[u8], _>((Unbounded, Included(key)));
        before.last().is_some_and(|(_, end)| key < end.as_slice())
    }

    /// Whether all of [from, to) is in them.
    pub fn contain(&self, from: &[u8], to: &[u8]) -> bool {
        let before = self.0.range::<[u8], _>((Unbounded, Included(from)));
        before.last().is_some_and(|(_, end)| to <= end.as_slice())
    }

    /// Whether any of [from, to) is in one of them.
    pub fn meet(&self, from: &[u8], to: &[u8]) -> bool {
        let before = self.0.range::<[u8], _>((Unbounded, Excluded(to)));
        from < to && before.last().is_some_and(|(_, end)| from < end.as_slice())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes one key out of the range that it is in.
    pub fn exclude(&mut self, key: &[u8]) {
        let mut before = self.0.range_mut::<[u8], _>((Unbounded, Included(key)));
        let Some((start, end)) = before.next_back() else {
            return;
        };
        if end.as_slice() <= key {
            return;
        }
        let end = std::mem::replace(end, key.to_vec());
        if start.as_slice() == key {
            self.0.remove(key);
        }
        let behind = after(key);
        if behind < end {
            self.0.insert(behind, end);
        }
    }

    /// What of [from, to) is left once its start and its end are cut off as far as they are covered.
    pub fn uncovered<'a>(&'a self, from: &'a [u8], to: &'a [u8]) -> (&'a [u8], &'a [u8]) {
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
    pub fn add(&mut self, from: &[u8], to: &[u8]) {
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
    fn excluding_keys_leaves_all_others_and_containment_is_coverage_without_a_break() {
        for seed in 0..200 {
            let mut sequence = Sequence::new(seed);
            let mut ranges = Ranges::default();
            // Each byte stands for its key and for all keys that begin with it: these stay when the key goes.
            let (mut keys, mut behind) = ([false; 40], [false; 40]);
            for _ in 0..30 {
                let from = sequence.below(39) as u8;
                if sequence.below(2) == 0 {
                    let to = from + 1 + sequence.below(5.min(39 - u64::from(from)).max(1)) as u8;
                    ranges.add(&[from], &[to]);
                    keys[from as usize..to as usize].fill(true);
                    behind[from as usize..to as usize].fill(true);
                } else {
                    ranges.exclude(&[from]);
                    keys[from as usize] = false;
                }
                for key in 0..40u8 {
                    let at = key as usize;
                    assert_eq!(ranges.covers(&[key]), keys[at], "{seed} {key}");
                    assert_eq!(ranges.covers(&[key, 0]), behind[at], "{seed} {key}");
                    for to in key + 1..40 {
                        let whole = (at..to as usize).all(|at| keys[at] && behind[at]);
                        assert_eq!(ranges.contain(&[key], &[to]), whole, "{seed} {key} {to}");
                    }
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
