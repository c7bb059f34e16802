//! A damaged file is refused or gives what was written; it never gives anything else and never panics.

use super::*;
use crate::ErrorKind;
use crate::types::MAX_SEQ;

fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for n in 0u32..26 {
        let user = [&[0, 0, 0, (n / 13) as u8][..], &n.to_be_bytes()].concat();
        if n % 7 == 0 {
            entries.push(entry(&user, 900, ValueKind::Delete, b""));
        }
        let value = vec![n as u8; (n as usize * 13) % 60];
        entries.push(entry(&user, 100 + u64::from(n), ValueKind::Put, &value));
    }
    entries
}

fn options(compression: Compression) -> SstOptions {
    SstOptions {
        block_size: 1024,
        compression,
        ..SstOptions::default()
    }
}

/// Everything that a reader can be asked, compared with what was written. `Ok` if all answers were right.
fn read_all(bytes: Bytes, entries: &[Entry]) -> Result<()> {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let reader = open_bytes(bytes, &cache, 1)?;
    let found = collect(&mut reader.iter(IterOptions::default()));
    if let Ok(found) = &found {
        assert_eq!(found, entries);
    }
    let mut iter = reader.iter(IterOptions::sequential());
    let mut result = iter.seek_to_last();
    let mut back = entries.iter().rev();
    while result.is_ok() && iter.valid() {
        let (key, value) = back.next().expect("no more entries than were written");
        assert_eq!((iter.key(), iter.value()), (key.as_bytes(), &value[..]));
        result = iter.prev();
    }
    for (key, value) in entries {
        let user = key.user_key();
        let seq = key.as_ref().seq();
        let got = reader.get(user, key_hash(user), seq);
        if let Ok(found) = &got {
            let found = found.as_ref().expect("a key that was written is found");
            assert_eq!((found.seq, &found.value[..]), (seq, &value[..]));
        }
        result = result.and(got.map(|_| ()));
        result = result.and(reader.approximate_offset(key.as_ref()).map(|_| ()));
    }
    result = result.and(
        reader
            .get(b"absent", key_hash(b"absent"), MAX_SEQ)
            .map(|found| {
                assert_eq!(found, None);
            }),
    );
    found.map(|_| ()).and(result)
}

#[test]
fn every_flipped_byte_is_caught() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let entries = entries();
        let (bytes, _) = build(&entries, options(compression));
        read_all(bytes.clone(), &entries).unwrap();
        for at in 0..bytes.len() {
            for flip in [0x01, 0xff] {
                let mut bad = bytes.to_vec();
                bad[at] ^= flip;
                let error = read_all(bad.into(), &entries).expect_err("damage is noticed");
                assert_eq!(error.kind(), ErrorKind::Corruption, "byte {at}: {error}");
                assert!(error.message().contains("SST 1"), "{error}");
            }
        }
    }
}

#[test]
fn every_truncation_is_caught() {
    let entries = entries();
    let (bytes, _) = build(&entries, options(Compression::Lz4));
    for len in 0..bytes.len() {
        let error = read_all(bytes.slice(..len), &entries).expect_err("damage is noticed");
        assert_eq!(error.kind(), ErrorKind::Corruption, "length {len}: {error}");
        // The same, but with the size that the file should have.
        let cache = Arc::new(BlockCache::new(1 << 20));
        let reader = Arc::new(MemoryReader(bytes.slice(..len)));
        let opened = SstReader::open(reader, 1, bytes.len() as u64, cache);
        let error = opened.err().expect("damage is noticed");
        assert_eq!(error.kind(), ErrorKind::Corruption, "length {len}: {error}");
    }
}

#[test]
fn blocks_that_changed_places_are_caught() {
    let value = vec![5; 600];
    let entries: Vec<Entry> = (0u8..4)
        .map(|n| entry(&[0, 0, 0, 1, n], 9, ValueKind::Put, &value))
        .collect();
    let (bytes, _) = build(&entries, options(Compression::None));
    let block = bytes.len() / 4 / 100 * 100;
    assert!(block > 600);
    let len = 645;
    let mut swapped = bytes.to_vec();
    let (first, rest) = swapped.split_at_mut(len);
    first.swap_with_slice(&mut rest[..len]);
    let error = read_all(swapped.into(), &entries).expect_err("damage is noticed");
    assert_eq!(error.kind(), ErrorKind::Corruption);
}
