use std::sync::Barrier;
use std::time::Duration;

use super::*;
use crate::env::fs::{self, OpenMode};
use crate::object_store::{Fault, Rule};

#[test]
fn a_miss_fetches_the_pieces_it_needs_in_one_read_and_a_hit_none() {
    let rig = Rig::new(SMALL);
    let len = 10 * PIECE + 100;
    let reader = rig.add(5, len);
    let bytes = content(5, len);
    let check = |from: usize, to: usize, gets: u64| {
        let before = rig.gets();
        let read = reader.read(from as u64..to as u64).unwrap();
        assert_eq!(read, bytes[from..to]);
        assert_eq!(rig.gets() - before, gets, "{from}..{to}");
    };
    check(3 * PIECE + 5000, 3 * PIECE + 21_000, 1);
    check(3 * PIECE, 4 * PIECE, 0);
    // Over the ends of it, to both sides: the two beside it come with one read.
    check(3 * PIECE - 1, 4 * PIECE + 1, 1);
    check(2 * PIECE, 5 * PIECE, 0);
    check(len - 1, len, 1);
    check(10 * PIECE, len, 0);
    check(0, len, 1);
    check(0, len, 0);
    check(7, 7, 1);
    let stats = rig.stats();
    assert_eq!((stats.pieces, stats.bytes), (11, len as u64));
    assert_eq!(rig.remote.count(Operation::Size), 0);
    for beyond in [len as u64..len as u64 + 1, 0..u64::MAX] {
        let error = reader.read(beyond).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
    }
}

#[test]
fn the_size_is_asked_for_once_where_it_is_not_known() {
    let rig = Rig::new(SMALL);
    rig.add(5, 100_000);
    let reader = rig.cached.reader(&key_of(5)).unwrap();
    for at in [99_999, 5, 70_000] {
        assert_eq!(
            reader.read(at..at + 1).unwrap(),
            content(5, 100_000)[at as usize..=at as usize]
        );
    }
    assert_eq!(rig.remote.count(Operation::Size), 1);
    let error = reader.read(0..100_001).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
}

#[test]
fn what_is_written_is_held_and_kept_over_a_restart() {
    let mut rig = Rig::new(SMALL);
    for (file, len, step) in [
        (1, 5 * PIECE + 1, 1000),
        (2, 3 * PIECE, 200_000),
        (3, 10, 3),
    ] {
        rig.write(file, len, step);
    }
    for _ in 0..3 {
        for (file, len) in [(1, 5 * PIECE + 1), (2, 3 * PIECE), (3, 10)] {
            let read = rig.reader(file, len).read(0..len as u64).unwrap();
            assert_eq!(read, content(file, len));
        }
        assert_eq!(rig.gets(), 0);
        assert_eq!(rig.stats().pieces, 10);
        rig = rig.restart(SMALL, 1);
    }
}

#[test]
fn an_object_that_did_not_come_to_be_is_forgotten() {
    let rig = Rig::new(SMALL);
    let mut writer = rig.cached.writer(&key_of(1)).unwrap();
    writer.append(&content(1, 3 * PIECE)).unwrap();
    assert_eq!(rig.stats().pieces, 3);
    drop(writer);
    assert_eq!(rig.stats().pieces, 0);
    let fail = Fault::Fail(ErrorKind::Unavailable);
    for rule in [
        Rule::once(Operation::Finish, fail),
        Rule::once(Operation::Finish, Fault::Ambiguous(ErrorKind::Unavailable)),
    ] {
        rig.remote.add(rule);
        let mut writer = rig.cached.writer(&key_of(2)).unwrap();
        writer.append(&content(2, 3 * PIECE)).unwrap();
        writer.finish().unwrap_err();
        assert_eq!(rig.stats().pieces, 0);
    }
}

#[test]
fn a_deleted_object_goes_and_keys_of_other_kinds_are_passed_on() {
    let rig = Rig::new(SMALL);
    rig.write(1, 4 * PIECE, PIECE);
    rig.write(2, 4 * PIECE, PIECE);
    rig.cached.delete(&key_of(1)).unwrap();
    assert_eq!(rig.stats().pieces, 4);
    let rig = rig.restart(SMALL, 1);
    assert_eq!(rig.stats().pieces, 4);
    let error = rig.reader_error(1);
    assert_eq!(error, ErrorKind::NotFound);
    rig.cached.put("manifest/7", b"text").unwrap();
    let reader = rig.cached.reader_of("manifest/7", 4).unwrap();
    for _ in 0..2 {
        assert_eq!(reader.read(0..4).unwrap(), "text");
    }
    assert_eq!(rig.stats().pieces, 4);
}

impl Rig {
    fn reader_error(&self, file: u64) -> ErrorKind {
        let read = self.cached.reader(&key_of(file));
        let read = read.and_then(|reader| reader.read(0..1));
        read.unwrap_err().kind()
    }
}

#[test]
fn a_read_that_passes_uses_what_is_held_and_keeps_nothing() {
    let rig = Rig::new(SMALL);
    let len = 6 * PIECE;
    let reader = rig.add(1, len);
    reader.read(2 * PIECE as u64..2 * PIECE as u64 + 1).unwrap();
    assert_eq!(
        reader.read_once(10..len as u64).unwrap(),
        content(1, len)[10..]
    );
    assert_eq!((rig.stats().pieces, rig.gets()), (1, 2));
    let inside = 2 * PIECE as u64 + 10..3 * PIECE as u64;
    assert_eq!(
        reader.read_once(inside).unwrap(),
        content(1, len)[2 * PIECE + 10..3 * PIECE]
    );
    assert_eq!(rig.gets(), 2);
}

#[test]
fn it_stays_within_its_size_and_shrinks_and_grows() {
    let mut rig = Rig::new(SMALL);
    for (round, size) in [SMALL, 3 * SMALL, SMALL + 12_345].into_iter().enumerate() {
        rig = rig.restart(size, 1);
        for file in 0..20 {
            rig.write(100 * round as u64 + file, 10 * PIECE + 77, PIECE);
            let stats = rig.stats();
            assert!(rig.used() <= size && stats.bytes <= size, "{}", rig.used());
        }
        assert!(rig.stats().pieces as usize * PIECE > size as usize * 8 / 10);
        assert!(rig.stats().evictions > 100);
    }
    let error = DiskCache::open(&FaultFs::new(), Path::new(DIR), 1 << 20, 1);
    assert_eq!(error.err().unwrap().kind(), ErrorKind::Invalid);
}

#[test]
fn many_shards_hold_most_of_what_fits() {
    let rig = Rig::new(1 << 30);
    for file in 0..100 {
        rig.write(file, 20 * PIECE, 1 << 20);
    }
    let rig = rig.restart(1 << 30, 1);
    assert_eq!(rig.stats().pieces, 2000);
    assert_eq!(rig.stats().evictions, 0);
    for file in 0..100 {
        let read = rig.reader(file, 20 * PIECE).read(0..20 * PIECE as u64);
        assert_eq!(read.unwrap(), content(file, 20 * PIECE));
    }
    assert_eq!(rig.gets(), 0);
}

#[test]
fn another_stores_pieces_are_not_this_ones() {
    let rig = Rig::new(SMALL);
    rig.write(1, 4 * PIECE, PIECE);
    let rig = rig.restart(SMALL, 2);
    assert_eq!((rig.stats().pieces, rig.used() < 5000), (0, true));
    let rig = rig.restart(SMALL, 1);
    assert_eq!(rig.stats().pieces, 0);
    let used = DiskCache::open(&rig.fs, Path::new(DIR), SMALL, 1);
    assert_eq!(used.err().unwrap().kind(), ErrorKind::Unavailable);
}

#[test]
fn of_many_who_miss_one_fetches_and_if_it_fails_another_does() {
    let rig = Rig::new(SMALL);
    // One piece: of several that a reader could not fetch, two others may each take a part.
    let len = PIECE;
    rig.add(1, len);
    let delay = Fault::Delay(Duration::from_millis(100));
    rig.remote.add(Rule::once(
        Operation::Read,
        Fault::Fail(ErrorKind::Unavailable),
    ));
    rig.remote.add(Rule::always(Operation::Read, delay));
    let barrier = Barrier::new(8);
    let failed: usize = std::thread::scope(|scope| {
        let readers = (0..8u64).map(|i| {
            let (rig, barrier) = (&rig, &barrier);
            scope.spawn(move || {
                let reader = rig.reader(1, len);
                barrier.wait();
                match reader.read(i..len as u64) {
                    Ok(read) => {
                        assert_eq!(read, content(1, len)[i as usize..]);
                        0
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable);
                        1
                    }
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        readers.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!((failed, rig.gets()), (1, 2));
}

#[test]
fn a_failing_disk_turns_it_off_and_no_read_fails() {
    for (operation, kind) in [
        (fs::Operation::Write, ErrorKind::OutOfSpace),
        (fs::Operation::Read, ErrorKind::Unavailable),
    ] {
        let rig = Rig::new(SMALL);
        let len = 5 * PIECE;
        rig.write(1, len, PIECE);
        rig.fs.fail(operation, 1, 1, kind);
        let reader = rig.add(2, len);
        for _ in 0..3 {
            assert_eq!(reader.read(0..len as u64).unwrap(), content(2, len));
            let other = rig.reader(1, len).read(0..len as u64).unwrap();
            assert_eq!(other, content(1, len));
            rig.write(3, len, PIECE);
            rig.cached.delete(&key_of(3)).unwrap();
        }
        drop(reader);
        let off = rig.stats().off.unwrap();
        assert!(off.contains("injected"), "{off}");
        let rig = rig.restart(SMALL, 1);
        assert_eq!(rig.stats().off, None);
        let again = rig.reader(2, len).read(0..len as u64).unwrap();
        assert_eq!(again, content(2, len));
    }
}

#[test]
fn many_threads_on_few_slots_read_what_was_written() {
    let rig = Rig::new(SMALL);
    let len = 7 * PIECE + 99;
    for file in 0..12 {
        rig.add(file, len);
    }
    std::thread::scope(|scope| {
        for seed in 0..6 {
            let rig = &rig;
            scope.spawn(move || {
                let mut sequence = crate::env::Sequence::new(seed);
                for turn in 0..400 {
                    let file = sequence.below(12);
                    let from = sequence.below(len as u64);
                    let to = from + sequence.below((len as u64 - from).min(150_000)) + 1;
                    let reader = rig.reader(file, len);
                    let read = match turn % 5 {
                        0 => reader.read_once(from..to),
                        _ => reader.read(from..to),
                    };
                    let wanted = &content(file, len)[from as usize..to as usize];
                    assert!(read.unwrap() == wanted);
                    if sequence.below(40) == 0 {
                        // As if another file's writer had taken the number back.
                        rig.cached.cache().remove_file(file);
                    }
                }
            });
        }
    });
    let stats = rig.stats();
    assert_eq!((stats.damaged, stats.off), (0, None));
    assert!(stats.hits > 100 && stats.evictions > 100);
    let counted = rig.restart(SMALL, 1).stats();
    assert_eq!(counted.pieces, stats.pieces);
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_large_index_is_read_in_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let size = 10 << 30;
    drop(DiskCache::open(&fs::RealFs, dir.path(), size, 1).unwrap());
    let slots = 160_000u32;
    let mut bytes = Vec::new();
    let real = fs::RealFs;
    // As it would be after the pieces were written, without writing 10 GB of them.
    let cache = DiskCache::open(&real, dir.path(), size, 1).unwrap();
    for slot in 0..slots {
        let shard = slot / cache.shard_slots;
        let key = (0..)
            .map(|piece| PieceKey {
                file: u64::from(slot),
                piece,
            })
            .find(|&key| cache.shard_number(key) == shard)
            .unwrap();
        bytes.extend(Entry::of(1, key, b"x").encode(1, slot));
    }
    drop(cache);
    let index = real
        .open(&dir.path().join("index"), OpenMode::Write)
        .unwrap();
    index.write_at(&[IoSlice::new(&bytes)], HEADER_LEN).unwrap();
    let data = real
        .open(&dir.path().join("pieces"), OpenMode::Write)
        .unwrap();
    data.set_len(u64::from(slots) * PIECE as u64).unwrap();
    let begun = std::time::Instant::now();
    let cache = DiskCache::open(&real, dir.path(), size, 1).unwrap();
    let taken = begun.elapsed();
    assert_eq!(cache.stats().pieces, u64::from(slots));
    assert!(taken < Duration::from_secs(5), "{taken:?}");
}
