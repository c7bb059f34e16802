//! What builder, reader and iterator promise beyond the order of entries.

use super::*;
use crate::ErrorKind;
use crate::cache::ENTRY_OVERHEAD;
use crate::types::{KeyRef, MAX_SEQ};

fn row(n: u32) -> Entry {
    let user = [&7u32.to_be_bytes()[..], &n.to_be_bytes()].concat();
    let value: Vec<u8> = (0..100u32).map(|i| ((i * n) >> 3) as u8).collect();
    entry(&user, 5 + u64::from(n), ValueKind::Put, &value)
}

pub(super) fn rows(n: u32) -> Vec<Entry> {
    (0..n).map(row).collect()
}

fn cache() -> Arc<BlockCache> {
    Arc::new(BlockCache::new(64 << 20))
}

#[test]
fn keys_out_of_order_are_refused() {
    let object = MemoryObject::default();
    let mut builder = SstBuilder::new(object.writer(), SstOptions::default());
    let key = |user: &[u8], seq| InternalKeyBuf::new(user, seq, ValueKind::Put);
    builder.add(key(b"b", 5).as_bytes(), b"").unwrap();
    for bad in [key(b"b", 5), key(b"b", 6), key(b"a", 1)] {
        let error = builder.add(bad.as_bytes(), b"").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
    let unknown_kind = [&b"c"[..], &(!((7u64 << 8) | 9)).to_be_bytes()].concat();
    let error = builder.add(&unknown_kind, b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    builder.add(key(b"b", 4).as_bytes(), b"").unwrap();
    assert_eq!(builder.entries(), 2);
    assert_eq!(builder.finish().unwrap().entries, 2);
}

#[test]
fn an_empty_file_opens() {
    let (bytes, summary) = build(&[], SstOptions::default());
    assert_eq!((summary.entries, summary.smallest_seq), (0, 0));
    let reader = open_bytes(bytes, &cache(), 1).unwrap();
    assert_eq!(
        collect(&mut reader.iter(IterOptions::default())).unwrap(),
        []
    );
    assert_eq!(reader.get(b"x", key_hash(b"x"), MAX_SEQ).unwrap(), None);
    assert_eq!(reader.approximate_offset(KeyRef::before(b"x")).unwrap(), 0);
}

#[test]
fn nothing_appears_before_finish() {
    let object = MemoryObject::default();
    let mut builder = SstBuilder::new(object.writer(), SstOptions::default());
    for (key, value) in rows(5000) {
        builder.add(key.as_bytes(), &value).unwrap();
    }
    drop(builder);
    assert!(object.0.lock().unwrap().is_none());
}

#[test]
fn summary_and_properties_agree_with_the_entries() {
    let mut entries = rows(3000);
    let deleted = |index: u32, n: u32| {
        let user = [index.to_be_bytes(), n.to_be_bytes()].concat();
        entry(&user, 1, ValueKind::Delete, b"")
    };
    entries.extend((0..10).map(|n| deleted(9, n)));
    let (bytes, summary) = build(&entries, SstOptions::default());
    let reader = open_bytes(bytes, &cache(), 1).unwrap();
    let properties = reader.properties();
    assert_eq!(summary.entries, 3010);
    assert_eq!(summary.deletions, 10);
    assert_eq!(summary.key_bytes, 3010 * 8);
    assert_eq!(summary.value_bytes, 3000 * 100);
    assert_eq!((summary.smallest_seq, summary.largest_seq), (1, 3004));
    assert_eq!(summary.smallest, entries[0].0);
    assert_eq!(summary.largest, entries[3009].0);
    assert_eq!(properties.entries, summary.entries);
    assert_eq!(properties.smallest, summary.smallest);
    assert_eq!(properties.largest, summary.largest);
    assert_eq!(properties.indexes, summary.indexes);
    let by_index: Vec<_> = summary
        .indexes
        .iter()
        .map(|stats| (stats.index_id, stats.entries, stats.deletions))
        .collect();
    assert_eq!(by_index, [(7, 3000, 0), (9, 10, 10)]);
    assert!(properties.data_blocks > 15);
}

#[test]
fn the_estimate_is_near_the_size() {
    let object = MemoryObject::default();
    let options = SstOptions {
        compression: Compression::None,
        ..SstOptions::default()
    };
    let mut builder = SstBuilder::new(object.writer(), options);
    for (key, value) in rows(20_000) {
        builder.add(key.as_bytes(), &value).unwrap();
    }
    let estimate = builder.estimated_size();
    let size = builder.finish().unwrap().size;
    assert!(estimate.abs_diff(size) < size / 50, "{estimate} {size}");
}

#[test]
fn large_values_stand_alone_and_are_not_copied() {
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n ^ (n >> 7)) as u8).collect();
    let mut entries = rows(100);
    entries[50].1 = large.clone();
    entries[99].1 = large.clone();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let options = SstOptions {
            compression,
            ..SstOptions::default()
        };
        let (bytes, _) = build(&entries, options);
        let cache = cache();
        let reader = open_bytes(bytes, &cache, 1).unwrap();
        assert_eq!(
            collect(&mut reader.iter(IterOptions::default())).unwrap(),
            entries
        );
        let before = cache.stats().usage;
        let user = entries[50].0.user_key();
        let found = reader.get(user, key_hash(user), MAX_SEQ).unwrap().unwrap();
        assert_eq!(found.value[..], large[..]);
        let neighbour = entries[51].0.user_key();
        reader.get(neighbour, key_hash(neighbour), MAX_SEQ).unwrap();
        assert!(cache.stats().usage < before + 10_000);
    }
}

#[test]
fn many_versions_of_one_key_span_blocks() {
    let mut entries = vec![row(1)];
    let user = row(2).0.user_key().to_vec();
    entries.extend((1..=2000u64).rev().map(|seq| {
        let value = seq.to_be_bytes().repeat(5);
        entry(&user, seq * 10, ValueKind::Put, &value)
    }));
    entries.push(row(3));
    let (bytes, _) = build(&entries, SstOptions::default());
    let reader = open_bytes(bytes, &cache(), 1).unwrap();
    for snapshot in (0..=20_050).step_by(7) {
        let found = reader.get(&user, key_hash(&user), snapshot).unwrap();
        let wanted = (snapshot / 10).min(2000) * 10;
        assert_eq!(found.map(|found| found.seq), (wanted > 0).then_some(wanted));
    }
}

#[test]
fn a_lookup_of_a_cached_key_reads_nothing_and_an_absent_one_stops_at_the_filter() {
    let entries = rows(5000);
    let (bytes, _) = build(&entries, SstOptions::default());
    let cache = cache();
    let reader = open_bytes(bytes, &cache, 1).unwrap();
    let user = entries[777].0.user_key();
    for _ in 0..2 {
        let found = reader.get(user, key_hash(user), MAX_SEQ).unwrap().unwrap();
        assert_eq!(found.value[..], entries[777].1[..]);
    }
    let stats = cache.stats();
    for kind in [stats.data, stats.index, stats.filter] {
        assert_eq!((kind.hits, kind.misses), (1, 1));
    }
    let absent = (0..200u32).filter(|n| {
        let key = [&7u32.to_be_bytes()[..], &n.to_be_bytes(), &[1]].concat();
        assert_eq!(reader.get(&key, key_hash(&key), MAX_SEQ).unwrap(), None);
        !reader.may_contain(key_hash(&key)).unwrap()
    });
    assert!(absent.count() > 190);
    assert!(cache.stats().data.hits < 12);
}

#[test]
fn a_scan_reads_ahead_and_fills_the_cache_only_if_asked() {
    struct Counting(MemoryReader, Mutex<Vec<Range<u64>>>);
    impl ObjectReader for Counting {
        fn read(&self, range: Range<u64>) -> Result<Bytes> {
            self.1.lock().unwrap().push(range.clone());
            self.0.read(range)
        }
    }
    let entries = rows(40_000);
    let options = SstOptions {
        compression: Compression::None,
        ..SstOptions::default()
    };
    let (bytes, summary) = build(&entries, options);
    for (options, most_reads) in [
        (IterOptions::default(), 40),
        (IterOptions::sequential(), 12),
    ] {
        let object = Arc::new(Counting(MemoryReader(bytes.clone()), Mutex::default()));
        let cache = cache();
        let reader = SstReader::open(object.clone(), 1, summary.size, cache.clone()).unwrap();
        let reader = Arc::new(reader);
        assert_eq!(collect(&mut reader.iter(options)).unwrap().len(), 40_000);
        let reads = object.1.lock().unwrap().clone();
        assert!(reads.len() <= most_reads, "{}", reads.len());
        assert!(reader.properties().data_blocks > 250);
        let usage = cache.stats().usage;
        if options.fill_cache {
            assert!(usage > reader.properties().data_end);
        } else {
            assert!(usage < 100_000 + 10 * ENTRY_OVERHEAD);
        }
    }
    // A lookup here and there reads single blocks.
    let object = Arc::new(Counting(MemoryReader(bytes), Mutex::default()));
    let reader = SstReader::open(object.clone(), 1, summary.size, cache()).unwrap();
    let mut iter = Arc::new(reader).iter(IterOptions::default());
    for n in [30_000, 10, 20_000, 39_000] {
        iter.seek(entries[n].0.as_ref()).unwrap();
        assert_eq!(iter.key(), entries[n].0.as_bytes());
    }
    let reads = object.1.lock().unwrap();
    assert!(
        reads
            .iter()
            .skip(1)
            .all(|read| read.end - read.start < 17_000)
    );
}

#[test]
fn offsets_tell_how_much_lies_between_keys() {
    let entries = rows(20_000);
    let options = SstOptions {
        compression: Compression::None,
        ..SstOptions::default()
    };
    let (bytes, summary) = build(&entries, options);
    let reader = open_bytes(bytes, &cache(), 1).unwrap();
    let offset = |n: usize| reader.approximate_offset(entries[n].0.as_ref()).unwrap();
    let share = (offset(15_000) - offset(5000)) as f64 / summary.size as f64;
    assert!((0.47..0.53).contains(&share), "{share}");
    assert_eq!(
        reader.approximate_offset(KeyRef::after(&[255])).unwrap(),
        reader.properties().data_end
    );
}

#[test]
fn readers_and_iterators_are_shared_across_threads() {
    let entries = rows(5000);
    let (bytes, _) = build(&entries, SstOptions::default());
    let reader = open_bytes(bytes, &Arc::new(BlockCache::new(100_000)), 1).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (reader, entries) = (&reader, &entries);
            scope.spawn(move || {
                for n in (thread..5000).step_by(3) {
                    let user = entries[n].0.user_key();
                    let found = reader.get(user, key_hash(user), MAX_SEQ).unwrap().unwrap();
                    assert_eq!(found.value[..], entries[n].1[..]);
                }
                let all = collect(&mut reader.iter(IterOptions::default())).unwrap();
                assert_eq!(all, *entries);
            });
        }
    });
}
