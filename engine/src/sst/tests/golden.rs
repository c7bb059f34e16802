//! The bytes of format version 1, as they were written once. A change that fails here needs a new format version.

use super::*;
use crate::types::MAX_SEQ;

const NONE: &[u8] = include_bytes!("../../../tests/golden/sst-v1-none.sst");
const LZ4: &[u8] = include_bytes!("../../../tests/golden/sst-v1-lz4.sst");
const ZSTD: &[u8] = include_bytes!("../../../tests/golden/sst-v1-zstd.sst");

const FILES: [(Compression, &[u8]); 3] = [
    (Compression::None, NONE),
    (Compression::Lz4, LZ4),
    (Compression::Zstd, ZSTD),
];

/// Several indexes, versions, deletions, prefixes of one another, empty and long values, several blocks and partitions.
fn entries() -> Vec<Entry> {
    let mut entries = vec![
        entry(b"", 3, ValueKind::Put, b"empty key"),
        entry(&[0, 0, 0, 1], 1 << 40, ValueKind::Put, b"newest"),
        entry(&[0, 0, 0, 1], 9, ValueKind::Delete, b""),
        entry(&[0, 0, 0, 1], 0, ValueKind::Put, b"oldest"),
        entry(&[0, 0, 0, 1, 0], MAX_SEQ, ValueKind::Put, b"longer key"),
    ];
    for n in 0u32..120 {
        let user = [&2u32.to_be_bytes()[..], &(n * 3).to_be_bytes()].concat();
        let value = format!("row {n} ").repeat((n as usize * 7) % 23);
        entries.push(entry(
            &user,
            100 + u64::from(n),
            ValueKind::Put,
            value.as_bytes(),
        ));
    }
    for n in 0u8..40 {
        let user = [&[0, 0, 0, 3][..], &[b'k'; 90], &[n]].concat();
        entries.push(entry(&user, 50, ValueKind::Put, b""));
    }
    entries.push(entry(&[0, 0, 0, 4], 7, ValueKind::Put, &[42; 5000]));
    entries
}

fn options(compression: Compression) -> SstOptions {
    SstOptions {
        block_size: 1024,
        compression,
        zstd_level: 3,
        filter: true,
        creator: "golden",
    }
}

#[test]
fn files_of_version_1_are_read() {
    for (compression, bytes) in FILES {
        let cache = Arc::new(BlockCache::new(1 << 20));
        let reader = open_bytes(Bytes::from_static(bytes), &cache, 1).unwrap();
        let mut iter = reader.iter(IterOptions::default());
        assert_eq!(collect(&mut iter).unwrap(), entries(), "{compression:?}");
        for (key, value) in entries() {
            let user = key.user_key();
            let found = reader
                .get(user, key_hash(user), key.as_ref().seq())
                .unwrap();
            assert_eq!(found.unwrap().value[..], value[..]);
        }
        let properties = reader.properties();
        assert_eq!(properties.entries, entries().len() as u64);
        assert_eq!(properties.indexes.len(), 4);
    }
}

/// Compressed bytes may change with the libraries that compress; the layout, which an uncompressed file shows, may not.
#[test]
fn version_1_is_written_as_ever() {
    let (bytes, _) = build(&entries(), options(Compression::None));
    assert_eq!(bytes, NONE);
}
