//! For tests: random sorted entries, random moves over them, and what they should lead to.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::InternalIterator;
use crate::types::{InternalKeyBuf, KeyRef, MAX_SEQ, SeqNo, ValueKind, encode_trailer};

thread_local! {
    static MOVES: Cell<u64> = const { Cell::new(0) };
}

/// A source of a merge on this thread was moved.
pub(crate) fn count_move() {
    MOVES.set(MOVES.get() + 1);
}

/// How often merges on this thread have moved one of their sources, since this was asked last.
pub(crate) fn take_moves() -> u64 {
    MOVES.replace(0)
}

/// Entries in order.
pub(crate) type Model = BTreeMap<InternalKeyBuf, Vec<u8>>;

/// Few distinct bytes and short lengths, so that keys share prefixes, are prefixes of one another, and have several versions.
pub(crate) fn user_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(0u8..3, 0..6),
        1 => prop::collection::vec(prop_oneof![Just(0u8), Just(127), Just(255)], 4..14),
        1 => (0u32..50).prop_map(|n| [&[0, 0, 0, 7][..], &n.to_be_bytes()].concat()),
        1 => (0u8..3, 0u8..3).prop_map(|(a, b)| [&[9; 20][..], &[a], &[5; 130], &[b]].concat()),
    ]
}

pub(crate) fn seq() -> impl Strategy<Value = SeqNo> {
    prop_oneof![0u64..20, Just(1 << 40), Just(MAX_SEQ)]
}

fn kind() -> impl Strategy<Value = ValueKind> {
    prop_oneof![3 => Just(ValueKind::Put), 1 => Just(ValueKind::Delete)]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        (0usize..200).prop_map(|len| vec![3; len]),
        (0usize..5000).prop_map(|len| vec![4; len]),
    ]
}

pub(crate) fn model() -> impl Strategy<Value = Model> {
    let key = (user_key(), seq(), kind())
        .prop_map(|(user, seq, kind)| InternalKeyBuf::new(&user, seq, kind));
    prop::collection::btree_map(key, value(), 0..250)
}

/// One move of an iterator.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    First,
    Last,
    Seek(Vec<u8>, u64),
    SeekForPrev(Vec<u8>, u64),
    Next(u8),
    Prev(u8),
    /// To or past a version of the user key that it stands on.
    SkipTo(u64),
}

pub(crate) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let trailer = prop_oneof![
        (seq(), kind()).prop_map(|(seq, kind)| encode_trailer(seq, kind)),
        Just(0),
        Just(u64::MAX)
    ];
    let one = prop_oneof![
        1 => Just(Move::First),
        1 => Just(Move::Last),
        4 => (user_key(), trailer.clone()).prop_map(|(user, trailer)| Move::Seek(user, trailer)),
        4 => (user_key(), trailer.clone()).prop_map(|(user, trailer)| Move::SeekForPrev(user, trailer)),
        4 => (1u8..40).prop_map(Move::Next),
        4 => (1u8..40).prop_map(Move::Prev),
        4 => trailer.prop_map(Move::SkipTo),
    ];
    prop::collection::vec(one, 1..40)
}

/// What an iterator over the model would do.
struct ModelIter<'a> {
    entries: Vec<(&'a InternalKeyBuf, &'a Vec<u8>)>,
    at: Option<usize>,
}

impl ModelIter<'_> {
    /// The user key that it stands on with `trailer`, or with its own if that is behind.
    fn skip_target(&self, trailer: u64) -> Option<InternalKeyBuf> {
        let key = self.entries[self.at?].0.as_ref();
        let mut target = InternalKeyBuf::default();
        target.set(key.user, trailer.max(key.trailer));
        Some(target)
    }

    fn apply(&mut self, step: &Move) {
        let len = self.entries.len();
        let lower = |target: KeyRef<'_>, entries: &[(&InternalKeyBuf, &Vec<u8>)]| {
            entries.partition_point(|(key, _)| key.as_ref() < target)
        };
        self.at = match step {
            Move::First => (len > 0).then_some(0),
            Move::Last => len.checked_sub(1),
            Move::Seek(user, trailer) => {
                let target = KeyRef {
                    user,
                    trailer: *trailer,
                };
                Some(lower(target, &self.entries)).filter(|&at| at < len)
            }
            Move::SeekForPrev(user, trailer) => {
                let target = KeyRef {
                    user,
                    trailer: *trailer,
                };
                self.entries
                    .partition_point(|(key, _)| key.as_ref() <= target)
                    .checked_sub(1)
            }
            Move::Next(n) => self.at.map(|at| at + *n as usize).filter(|&at| at < len),
            Move::Prev(n) => self.at.and_then(|at| at.checked_sub(*n as usize)),
            Move::SkipTo(trailer) => self.skip_target(*trailer).and_then(|target| {
                Some(lower(target.as_ref(), &self.entries)).filter(|&at| at < len)
            }),
        };
    }
}

/// Applies the same moves to `iter` and to the model and compares after each.
pub(crate) fn compare(
    iter: &mut impl InternalIterator,
    model: &Model,
    moves: &[Move],
) -> std::result::Result<(), TestCaseError> {
    let mut expected = ModelIter {
        entries: model.iter().collect(),
        at: None,
    };
    prop_assert!(!iter.valid());
    for step in moves {
        match step {
            Move::First => iter.seek_to_first().unwrap(),
            Move::Last => iter.seek_to_last().unwrap(),
            Move::Seek(user, trailer) => iter
                .seek(KeyRef {
                    user,
                    trailer: *trailer,
                })
                .unwrap(),
            Move::SeekForPrev(user, trailer) => {
                iter.seek_for_prev(KeyRef {
                    user,
                    trailer: *trailer,
                })
                .unwrap();
            }
            Move::Next(n) => (0..*n).for_each(|_| iter.next().unwrap()),
            Move::Prev(n) => (0..*n).for_each(|_| iter.prev().unwrap()),
            Move::SkipTo(trailer) => {
                if let Some(target) = expected.skip_target(*trailer) {
                    iter.skip_to(target.as_ref()).unwrap();
                }
            }
        }
        expected.apply(step);
        let found = iter.valid().then(|| (iter.key(), iter.value()));
        let wanted = expected.at.map(|at| {
            (
                expected.entries[at].0.as_bytes(),
                &expected.entries[at].1[..],
            )
        });
        prop_assert_eq!(found, wanted, "after {:?}", step);
    }
    Ok(())
}
