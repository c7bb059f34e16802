//! Random operations on an SST and on an ordered map give the same.

use proptest::prelude::*;

use super::*;
use crate::iter::test_support::{Model, compare, model, moves, seq, user_key};
use crate::types::KeyRef;

fn options() -> impl Strategy<Value = SstOptions> {
    (
        prop_oneof![
            Just(Compression::None),
            Just(Compression::Lz4),
            Just(Compression::Zstd)
        ],
        any::<bool>(),
        prop_oneof![Just(1024usize), Just(16 << 10)],
    )
        .prop_map(|(compression, filter, block_size)| SstOptions {
            compression,
            filter,
            block_size,
            ..SstOptions::default()
        })
}

fn sorted(model: &Model) -> Vec<Entry> {
    model.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn an_sst_is_an_ordered_map(model in model(), options in options(), moves in moves(), cache_size in prop_oneof![Just(0u64), Just(1 << 20)]) {
        let cache = Arc::new(BlockCache::new(cache_size));
        let (bytes, summary) = build(&sorted(&model), options);
        let reader = open_bytes(bytes, &cache, 1).unwrap();
        prop_assert_eq!(collect(&mut reader.iter(IterOptions::default())).unwrap(), sorted(&model));
        prop_assert_eq!(collect(&mut reader.iter(IterOptions::sequential())).unwrap(), sorted(&model));
        prop_assert_eq!(summary.entries, model.len() as u64);
        compare(&mut reader.iter(IterOptions::default()), &model, &moves)?;
        compare(&mut reader.iter(IterOptions { fill_cache: false, readahead: 3000, readahead_at_once: false }), &model, &moves)?;
    }

    #[test]
    fn lookups_find_the_newest_visible_version(model in model(), options in options(), keys in prop::collection::vec((user_key(), seq()), 1..60)) {
        let cache = Arc::new(BlockCache::new(1 << 20));
        let (bytes, _) = build(&sorted(&model), options);
        let reader = open_bytes(bytes, &cache, 1).unwrap();
        let stored = model.keys().map(|key| (key.user_key().to_vec(), key.as_ref().seq()));
        for (user, snapshot) in stored.collect::<Vec<_>>().into_iter().chain(keys) {
            let target = KeyRef::at(&user, snapshot);
            let wanted = model
                .iter()
                .find(|(key, _)| key.as_ref() >= target)
                .filter(|(key, _)| key.user_key() == user)
                .map(|(key, value)| (key.as_ref().seq(), key.as_ref().kind().unwrap(), value.clone()));
            let found = reader
                .get(&user, key_hash(&user), snapshot)
                .unwrap()
                .map(|found| (found.seq, found.kind, found.value.to_vec()));
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn offsets_ascend_with_keys(model in model(), options in options(), mut keys in prop::collection::vec(user_key(), 2..20)) {
        let cache = Arc::new(BlockCache::new(1 << 20));
        let (bytes, _) = build(&sorted(&model), options);
        let reader = open_bytes(bytes, &cache, 1).unwrap();
        keys.sort();
        let offsets: Vec<u64> = keys
            .iter()
            .map(|key| reader.approximate_offset(KeyRef::before(key)).unwrap())
            .collect();
        prop_assert!(offsets.is_sorted());
        prop_assert!(offsets.iter().all(|&offset| offset <= reader.properties().data_end));
    }
}
