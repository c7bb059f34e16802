use super::behaviour::rows;
use super::*;
use crate::sst::verify;

/// A file of two indexes with deletions, and its bytes.
fn sample(options: SstOptions) -> (Bytes, SstSummary) {
    let mut entries = rows(2000);
    entries.extend((0..50u32).map(|n| {
        let user = [9u32.to_be_bytes(), n.to_be_bytes()].concat();
        entry(&user, 1, ValueKind::Delete, b"")
    }));
    build(&entries, options)
}

#[test]
fn a_sound_file_is_sound_and_counted() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        for filter in [true, false] {
            let options = SstOptions {
                compression,
                filter,
                ..SstOptions::default()
            };
            let (bytes, summary) = sample(options);
            let found = verify(&MemoryReader(bytes), summary.size).unwrap();
            assert_eq!(found.findings, []);
            assert_eq!(found.entries, summary.entries);
            assert_eq!(found.deletions, 50);
            assert_eq!(found.indexes, summary.indexes);
            assert_eq!(found.smallest, summary.smallest);
            assert_eq!(found.largest, summary.largest);
            assert_eq!(found.data_end, summary.size - summary.tail);
        }
    }
}

#[test]
fn every_flipped_bit_is_found_where_it_is() {
    let (bytes, summary) = sample(SstOptions {
        block_size: 1024,
        ..SstOptions::default()
    });
    for place in (0..bytes.len())
        .step_by(97)
        .chain(bytes.len() - 90..bytes.len())
    {
        let mut bad = bytes.to_vec();
        bad[place] ^= 1 << (place % 8);
        let found = verify(&MemoryReader(bad.into()), summary.size).unwrap();
        let [finding] = &found.findings[..] else {
            panic!("byte {place}: {:?}", found.findings);
        };
        assert!(finding.offset <= place as u64, "byte {place}: {finding:?}");
        assert!(
            finding.offset + 20_000 > place as u64,
            "byte {place}: {finding:?}"
        );
    }
}

#[test]
fn what_is_cut_or_longer_than_it_says_is_found() {
    let (bytes, summary) = sample(SstOptions::default());
    for len in [0, 10, 63, 64, 1000, bytes.len() - 1] {
        let cut = bytes.slice(..len);
        let found = verify(&MemoryReader(cut.clone()), len as u64).unwrap();
        assert!(!found.findings.is_empty(), "{len}");
        let found = verify(&MemoryReader(cut), summary.size);
        assert!(
            found.is_err() || !found.unwrap().findings.is_empty(),
            "{len}"
        );
    }
    let longer = [&bytes[..], b"more"].concat();
    let size = longer.len() as u64;
    let found = verify(&MemoryReader(longer.into()), size).unwrap();
    assert!(!found.findings.is_empty());
}
