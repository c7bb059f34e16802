//! Damaged files: every bit, every length, every missing file. And the bytes that must never change.

use std::io::IoSlice;

use super::*;

/// A log of several segments, synced record by record, and closed or not.
fn build(close: bool) -> (FaultFs, Records) {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, small(0), 0).unwrap();
    let mut expected = Records::new();
    for i in 0..12_usize {
        let payload = vec![i as u8 + 1; i * 31];
        let range = wal.append(&[&payload]).unwrap();
        wal.sync(range.end).unwrap();
        expected.push((range.start, payload));
    }
    if close {
        wal.close().unwrap();
    }
    drop(wal);
    (fs, expected)
}

/// Opens a copy of `fs` in which `name` has `content`.
fn open_with(fs: &FaultFs, name: &str, content: Vec<u8>) -> Result<Records> {
    let copy = fs.crash(PowerLoss::ProcessOnly);
    copy.set_content(&dir().join(name), content)?;
    open(&copy, small(0), 0).map(|(_, found)| found)
}

fn segments(fs: &FaultFs) -> Vec<String> {
    let names = fs.list(&dir()).unwrap().into_iter();
    names.filter(|name| name.ends_with(".wal")).collect()
}

#[test]
fn a_flipped_bit_in_a_closed_log_is_refused_or_harmless() {
    let (fs, expected) = build(true);
    let names = segments(&fs);
    assert!(names.len() > 3);
    let mut refused = 0;
    for name in &names {
        let content = fs.content(&dir().join(name)).unwrap();
        for at in 0..content.len() {
            // Nothing is kept between the header and the first chunk.
            if (100..4000).contains(&at) {
                continue;
            }
            let mut damaged = content.clone();
            damaged[at] ^= 1 << (at % 8);
            match open_with(&fs, name, damaged) {
                Ok(found) => assert!(found == expected, "{name} byte {at}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corruption, "{name} byte {at}");
                    assert!(error.message().contains(name), "{error}");
                    refused += 1;
                }
            }
        }
    }
    let payload: usize = expected.iter().map(|(_, payload)| payload.len()).sum();
    assert!(refused > payload);
}

#[test]
fn a_flipped_bit_in_a_log_that_was_not_closed_costs_at_most_its_last_record() {
    let (fs, expected) = build(false);
    for name in segments(&fs) {
        let content = fs.content(&dir().join(&name)).unwrap();
        for at in 4096..content.len() {
            let mut damaged = content.clone();
            damaged[at] ^= 0x80;
            match open_with(&fs, &name, damaged) {
                Ok(found) => {
                    assert!(found.len() + 1 >= expected.len(), "{name} byte {at}");
                    assert!(found == expected[..found.len()]);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption),
            }
        }
    }
}

#[test]
fn a_cut_file_is_refused() {
    let (fs, _) = build(true);
    for name in segments(&fs) {
        let content = fs.content(&dir().join(&name)).unwrap();
        for len in (0..50).chain(4000..content.len()) {
            let error = open_with(&fs, &name, content[..len].to_vec())
                .err()
                .unwrap();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{name} cut to {len}");
        }
    }
}

#[test]
fn zeros_and_noise_in_place_of_a_record_are_told_apart_from_a_torn_tail() {
    let (fs, expected) = build(true);
    let names = segments(&fs);
    let second = dir().join(&names[1]);
    let content = fs.content(&second).unwrap();
    for fill in [0, 0xff, b'S'] {
        let mut damaged = content.clone();
        damaged[4096..].fill(fill);
        let error = open_with(&fs, &names[1], damaged).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.message().contains("durable up to"), "{error}");
    }
    // The last segment's tail behind the mark is not the log's.
    let last = names.last().unwrap();
    let mut padded = fs.content(&dir().join(last)).unwrap();
    let len = padded.len();
    padded[len - 20..].fill(0xff);
    assert!(open_with(&fs, last, padded).unwrap() == expected);
}

#[test]
fn a_missing_file_is_refused() {
    let (fs, _) = build(true);
    let names = segments(&fs);
    for name in &names[..names.len() - 1] {
        let copy = fs.crash(PowerLoss::ProcessOnly);
        copy.remove(&dir().join(name)).unwrap();
        let error = open(&copy, small(0), 0).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corruption);
    }
}

#[test]
fn a_floor_inside_a_record_is_refused() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, small(0), 0).unwrap();
    wal.append(&[&[7; 2000]]).unwrap();
    let inner = wal.append(&[b"next"]).unwrap().start;
    drop(wal);
    // The second segment begins inside the long record.
    let start = small(0).segment_size - SEGMENT_HEADER_LEN;
    assert!(start < inner);
    let error = open(&fs, small(0), start).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corruption);
}

/// A chunk with a correct checksum, whatever its header claims.
fn sealed(header: ChunkHeader, payload: &[u8]) -> Vec<u8> {
    let head = header.encode(&[IoSlice::new(payload)]);
    [&head[..], payload].concat()
}

#[test]
fn chunks_that_lie_about_themselves_bring_nothing_down() {
    let (fs, _) = build(false);
    let first = &segments(&fs)[0];
    let content = fs.content(&dir().join(first)).unwrap();
    let honest = ChunkHeader {
        kind: ChunkKind::First,
        position: 0,
        durable: 0,
        length: 10,
        remaining: 10,
    };
    let lies = [
        ChunkHeader {
            length: u32::MAX,
            remaining: u64::MAX,
            ..honest
        },
        ChunkHeader {
            length: 600,
            remaining: 600,
            ..honest
        },
        ChunkHeader {
            remaining: u64::MAX,
            ..honest
        },
        ChunkHeader {
            remaining: 9,
            ..honest
        },
        ChunkHeader {
            durable: u64::MAX,
            ..honest
        },
        ChunkHeader {
            position: 36,
            ..honest
        },
        ChunkHeader {
            kind: ChunkKind::Later,
            ..honest
        },
        ChunkHeader {
            kind: ChunkKind::Mark,
            ..honest
        },
    ];
    for lie in lies {
        let mut damaged = content.clone();
        let chunk = sealed(lie, &[5; 10]);
        damaged[4096..4096 + chunk.len()].copy_from_slice(&chunk);
        let error = open_with(&fs, first, damaged).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{lie:?}");
    }
}

#[test]
fn noise_in_place_of_a_log_brings_nothing_down() {
    let mut sequence = crate::env::Sequence::new(5);
    let fs = FaultFs::new();
    drop(open(&fs, small(0), 0).unwrap());
    let name = segments(&fs).remove(0);
    let mut content = fs.content(&dir().join(&name)).unwrap();
    for _ in 0..2000 {
        for byte in &mut content[4096..] {
            // Mostly bytes that a header is made of.
            *byte = match sequence.below(8) {
                0 => b'S',
                1 => b'E',
                2 => b'c',
                3..=5 => sequence.below(4) as u8,
                _ => sequence.below(256) as u8,
            };
        }
        assert!(open_with(&fs, &name, content.clone()).unwrap().is_empty());
    }
}

#[test]
fn the_bytes_of_version_1_do_not_change() {
    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/wal-v1.wal");
    let options = WalOptions {
        segment_size: GOLDEN.len() as u64,
        recycle: 0,
    };
    let records: [&[u8]; 3] = [b"first record", b"", &[0xa5; 100]];
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, options.clone(), 0).unwrap();
    for record in records {
        wal.append(&[record]).unwrap();
        wal.sync(wal.end()).unwrap();
    }
    wal.close().unwrap();
    drop(wal);
    let name = dir().join(segment::segment_name(0));
    let written = fs.content(&name).unwrap();
    if std::env::var_os("SMARTENGINE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wal-v1.wal");
        std::fs::write(path, &written).unwrap();
    }
    assert!(
        written == GOLDEN,
        "the log's format changed: raise its version and keep reading this one"
    );

    let fs = FaultFs::new();
    drop(open(&fs, options.clone(), 0).unwrap());
    fs.set_content(&name, GOLDEN.to_vec()).unwrap();
    let (_, found) = open(&fs, options, 0).unwrap();
    let found: Vec<&[u8]> = found
        .iter()
        .map(|(_, payload)| payload.as_slice())
        .collect();
    assert_eq!(found, records);
}
