//! Random operations on an SST and on an ordered map give the same.

use proptest::prelude::*;

use super::*;
use crate::iter::test_support::{Model, compare, model, moves, seq, user_key};
use crate::types::{InternalKeyBuf, KeyRef};

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
    fn a_file_may_get_its_number_from_outside(model in model(), options in options(), moves in moves(), number in seq(), snapshots in prop::collection::vec(seq(), 1..4)) {
        let mut numbered = Model::new();
        let mut stored = Vec::new();
        for (key, value) in &model {
            let (user, kind) = (key.user_key(), key.as_ref().kind().unwrap());
            if numbered.keys().next_back().is_some_and(|last: &InternalKeyBuf| last.user_key() == user) {
                continue;
            }
            numbered.insert(InternalKeyBuf::new(user, number, kind), value.clone());
            stored.push(entry(user, UNNUMBERED, kind, value));
        }
        let cache = Arc::new(BlockCache::new(1 << 20));
        let (bytes, _) = build(&stored, options);
        let size = bytes.len() as u64;
        let open = || SstReader::open(Arc::new(MemoryReader(bytes.clone())), 1, size, cache.clone()).unwrap();
        prop_assert!(stored.is_empty() || open().with_file_seq(None).is_err());
        let reader = Arc::new(open().with_file_seq(Some(number)).unwrap());
        prop_assert_eq!(collect(&mut reader.iter(IterOptions::sequential())).unwrap(), sorted(&numbered));
        compare(&mut reader.iter(IterOptions::default()), &numbered, &moves)?;
        for (key, value) in &numbered {
            for snapshot in snapshots.iter().copied().chain([number]) {
                let found = reader.get(key.user_key(), key_hash(key.user_key()), snapshot).unwrap();
                let wanted = (number <= snapshot).then(|| (number, key.as_ref().kind().unwrap(), value.clone()));
                prop_assert_eq!(found.map(|found| (found.seq, found.kind, found.value.to_vec())), wanted);
            }
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
