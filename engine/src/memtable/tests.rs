//! The skip list against an ordered map, alone and from several threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::types::{InternalKeyBuf, encode_trailer};

fn key(user: &[u8], seq: SeqNo) -> KeyRef<'_> {
    KeyRef {
        user,
        trailer: encode_trailer(seq, ValueKind::Put),
    }
}

proptest! {
    #[test]
    fn behaves_as_an_ordered_map(
        entries in prop::collection::btree_map((prop::collection::vec(0u8..4, 0..4), 1u64..5), prop::collection::vec(any::<u8>(), 0..20), 0..60),
        order in any::<u64>(),
        one_hint in any::<bool>(),
        target in (prop::collection::vec(0u8..4, 0..4), 0u64..6),
    ) {
        let list = Arc::new(SkipList::new(256));
        let mut shuffled: Vec<_> = entries.iter().collect();
        let len = shuffled.len().max(1);
        shuffled.rotate_left(order as usize % len);
        let mut model = BTreeMap::new();
        let mut kept = InsertHint::default();
        for ((user, seq), value) in shuffled {
            let mut fresh = InsertHint::default();
            list.insert(key(user, *seq), value, if one_hint { &mut kept } else { &mut fresh });
            model.insert(InternalKeyBuf::new(user, *seq, ValueKind::Put), value.clone());
        }
        let mut iter = MemIter::over(list.clone());
        iter.seek_to_first().unwrap();
        for (wanted, value) in &model {
            prop_assert_eq!(iter.key(), wanted.as_bytes());
            prop_assert_eq!(iter.value(), &value[..]);
            iter.next().unwrap();
        }
        prop_assert!(!iter.valid());
        iter.seek_to_last().unwrap();
        for (wanted, _) in model.iter().rev() {
            prop_assert_eq!(iter.key(), wanted.as_bytes());
            iter.prev().unwrap();
        }
        prop_assert!(!iter.valid());
        for wanted in model.keys() {
            iter.seek(wanted.as_ref()).unwrap();
            iter.next_key().unwrap();
            let next = model.keys().find(|key| key.user_key() > wanted.user_key());
            prop_assert_eq!(iter.valid().then(|| iter.key()), next.map(|key| key.as_bytes()));
        }
        let (user, seq) = &target;
        let target = InternalKeyBuf::new(user, *seq, ValueKind::Put);
        iter.seek(key(user, *seq)).unwrap();
        prop_assert_eq!(iter.valid().then(|| iter.key()), model.range(target.clone()..).next().map(|(k, _)| k.as_bytes()));
        iter.seek_for_prev(key(user, *seq)).unwrap();
        prop_assert_eq!(iter.valid().then(|| iter.key()), model.range(..=target).next_back().map(|(k, _)| k.as_bytes()));
    }
}

#[test]
fn dead_entries_are_passed_over_both_ways() {
    let list = Arc::new(SkipList::new(256));
    let mut hint = InsertHint::default();
    let nodes: Vec<_> = (0u8..10)
        .map(|i| list.insert(key(&[i], 1), &[i], &mut hint))
        .collect();
    for i in [0, 4, 5, 9] {
        list.kill(nodes[i]);
    }
    let mut iter = MemIter::over(list);
    let mut seen = Vec::new();
    iter.seek_to_first().unwrap();
    while iter.valid() {
        seen.push(iter.value()[0]);
        iter.next().unwrap();
    }
    assert_eq!(seen, [1, 2, 3, 6, 7, 8]);
    iter.seek_to_last().unwrap();
    let mut back = Vec::new();
    while iter.valid() {
        back.push(iter.value()[0]);
        iter.prev().unwrap();
    }
    back.reverse();
    assert_eq!(seen, back);
}

#[test]
fn threads_insert_and_read_at_once() {
    const THREADS: u64 = 4;
    // Miri takes its time.
    const EACH: u64 = if cfg!(miri) { 60 } else { 5_000 };
    let table = Arc::new(MemTable::new(1, 0, 64 << 10));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let table = table.clone();
            scope.spawn(move || {
                let mut hint = InsertHint::default();
                for i in 0..EACH {
                    let number = (i * 7919 % EACH) * THREADS + thread;
                    let bytes = number.to_be_bytes();
                    table.insert(&bytes, 1, ValueKind::Put, &bytes, &mut hint);
                    assert_eq!(table.find(&bytes, 1).unwrap().value(), bytes);
                }
            });
        }
        let table = table.clone();
        scope.spawn(move || {
            for _ in 0..20 {
                let mut iter = table.iter();
                iter.seek_to_first().unwrap();
                let mut last = None;
                while iter.valid() {
                    let now = iter.key().to_vec();
                    assert!(last < Some(now.clone()));
                    last = Some(now);
                    iter.next().unwrap();
                }
            }
        });
    });
    let mut iter = table.iter();
    iter.seek_to_first().unwrap();
    for number in 0..THREADS * EACH {
        assert_eq!(user_key_of(iter.key()), number.to_be_bytes());
        iter.next().unwrap();
    }
    assert!(!iter.valid());
    let lower = EACH.to_be_bytes();
    let upper = (3 * EACH).to_be_bytes();
    let estimate = table.estimate_between(KeyRef::before(&lower), KeyRef::before(&upper));
    assert!(
        (EACH..=4 * EACH).contains(&estimate),
        "estimated {estimate} of {}",
        2 * EACH
    );
}
