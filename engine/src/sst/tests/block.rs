//! Blocks alone: searches in them against a model, and walks over malformed ones.

use proptest::prelude::*;

use super::super::BlockCursor;
use crate::Result;
use crate::format::block::{Block, TAIL_LEN, digest, shared_prefix_len};
use crate::format::block_builder::BlockBuilder;
use crate::format::entry::trailer;
use crate::iter::InternalIterator;
use crate::iter::test_support::{Model, model, user_key};
use crate::types::{InternalKeyBuf, KeyRef, ValueKind, user_key_of};

fn build(model: &Model, restart_interval: usize) -> Vec<u8> {
    let mut builder = BlockBuilder::new(restart_interval);
    for (key, value) in model {
        builder.add(key.as_ref(), value);
    }
    builder.finish(<[u8]>::to_vec)
}

fn parse(raw: Vec<u8>) -> Block {
    Block::parse(raw.into()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_search_finds_the_first_entry_at_or_after(model in model(), interval in 1usize..20, keys in prop::collection::vec((user_key(), any::<u64>()), 1..50)) {
        let block = parse(build(&model, interval));
        prop_assert_eq!(block.count() as usize, model.len());
        let stored: Vec<_> = model.keys().map(|key| (key.user_key().to_vec(), key.as_ref().trailer)).collect();
        for (user, given) in stored.iter().chain(&keys) {
            for wanted in [*given, 0, u64::MAX, given.wrapping_sub(1), given.wrapping_add(1)] {
                let target = KeyRef { user, trailer: wanted };
                let wanted = model.iter().find(|(key, _)| key.as_ref() >= target);
                let hit = block.lower_bound(target).unwrap();
                prop_assert_eq!(hit.is_some(), wanted.is_some());
                if let (Some(hit), Some((key, value))) = (hit, wanted) {
                    let found = [&user[..hit.head.shared], block.slice(hit.head.key_at..hit.head.end)].concat();
                    prop_assert_eq!(&found, key.user_key());
                    prop_assert_eq!(trailer(hit.seq, hit.head.kind()), key.as_ref().trailer);
                    prop_assert_eq!(block.slice(hit.value_at..hit.value_at + hit.head.value_len), &value[..]);
                    prop_assert_eq!(hit.same_user, key.user_key() == user);
                }
            }
        }
    }

    #[test]
    fn an_index_is_searched_by_number(model in model(), keys in prop::collection::vec((user_key(), any::<u64>()), 1..50)) {
        let fixed: Model = model.keys().enumerate().map(|(i, key)| (key.clone(), i.to_le_bytes().to_vec())).collect();
        let block = parse(build(&fixed, 1));
        for (user, trailer) in &keys {
            let target = KeyRef { user, trailer: *trailer };
            let wanted = fixed.keys().take_while(|key| key.as_ref() < target).count();
            prop_assert_eq!(block.first_point_at_or_after(target).unwrap(), wanted);
            let value = block.fixed_value::<8>(wanted).map(usize::from_le_bytes);
            prop_assert_eq!(value, (wanted < fixed.len()).then_some(wanted));
        }
    }

    /// Behind a checksum that holds, the contents may still be malformed by a defect. Nothing panics or runs forever.
    #[test]
    fn malformed_blocks_are_walked_without_panic(
        model in model(),
        interval in 1usize..20,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        near_end in any::<bool>(),
        user in user_key(),
    ) {
        let mut raw = build(&model, interval);
        for (at, byte) in damage {
            let len = raw.len();
            let at = if near_end { len - 1 - at.index(len.min(60)) } else { at.index(len) };
            raw[at] = byte;
        }
        walk(raw, &user);
    }
}

fn walk(raw: Vec<u8>, user: &[u8]) {
    let limit = 10 * raw.len();
    let Ok(block) = Block::parse(raw.into()) else {
        return;
    };
    let targets = [
        KeyRef::before(user),
        KeyRef::after(user),
        KeyRef::at(&[0, 0, 0, 7], 3),
    ];
    for target in targets {
        let _ = block.lower_bound(target);
        let _ = block.first_point_at_or_after(target);
    }
    for i in 0..=block.intervals() {
        let _ = block.fixed_value::<16>(i);
    }
    let mut cursor = BlockCursor::default();
    cursor.set_block(block.into());
    type Step = fn(&mut BlockCursor) -> Result<()>;
    let walks: [(Step, Step); 2] = [
        (BlockCursor::seek_to_first, BlockCursor::next),
        (BlockCursor::seek_to_last, BlockCursor::prev),
    ];
    for (start, step) in walks {
        let mut steps = 0;
        let mut result = start(&mut cursor);
        while result.is_ok() && cursor.valid() {
            let _ = user_key_of(cursor.key()).len() + cursor.value().len();
            result = step(&mut cursor);
            steps += 1;
            assert!(steps < limit, "the walk does not end");
        }
        for target in targets {
            let _ = cursor.seek_for_prev(target);
            let _ = cursor.prev();
            let _ = cursor.seek(target);
            let _ = cursor.next();
        }
    }
}

#[test]
fn digests_order_as_bytes_do() {
    let keys: [&[u8]; 7] = [
        b"prefix",
        b"prefix\0",
        b"prefix\0\0\0\0\0\0\0\x01",
        b"prefix\x01",
        b"prefixab",
        b"prefixabcdefghi",
        b"prefixb",
    ];
    for from in [0, 3, 6] {
        assert!(keys.is_sorted_by_key(|key| digest(key, from)), "{from}");
    }
    assert_eq!(
        digest(b"prefixab", 6),
        u64::from_be_bytes(*b"ab\0\0\0\0\0\0")
    );
    assert_eq!(digest(b"ab", 1), u64::from_be_bytes(*b"b\0\0\0\0\0\0\0"));
    assert_eq!(digest(b"prefixab", 8), 0);
    assert_eq!(digest(b"", 0), 0);
}

#[test]
fn shared_prefixes() {
    let long = [7u8; 40];
    for len in 0..40 {
        let mut other = long;
        other[len] = 8;
        assert_eq!(shared_prefix_len(&long, &other), len);
        assert_eq!(shared_prefix_len(&long, &long[..len]), len);
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let model: Model = [(InternalKeyBuf::new(b"key", 1, ValueKind::Put), vec![1, 2])].into();
    let raw = build(&model, 16);
    for len in 0..raw.len() {
        assert!(Block::parse(raw[raw.len() - len..].to_vec().into()).is_err());
    }
    let tail = raw.len() - TAIL_LEN;
    for field in [8, 12, 16, 20] {
        for value in [u32::MAX, 1000, 0] {
            let mut bad = raw.clone();
            bad[tail + field..tail + field + 4].copy_from_slice(&value.to_le_bytes());
            let parsed = Block::parse(bad.into());
            // A shorter common prefix is merely less to skip; the number of entries is not walked by.
            assert!(
                parsed.is_err() || value == 0 || field == 8,
                "{field} {value}"
            );
        }
    }
}
