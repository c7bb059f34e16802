//! Two writers on one store: one writes, the other learns that it does not any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smartengine::failpoint::{Action, arm};
use smartengine::internals::env::fs::{FaultFs, PowerLoss};
use smartengine::internals::env::unique_u128;
use smartengine::internals::object_store::{Fault, FaultStore, MemoryStore, Operation, Rule};
use smartengine::object_store::ObjectStore;
use smartengine::{Engine, ErrorKind, Index, Isolation};

use crate::history::{Writer, check_no_garbage, create, in_store};
use crate::{alone, with_others};

#[test]
fn the_later_writer_wins_and_has_all_that_was_acknowledged() {
    let _guard = with_others();
    let store = Arc::new(MemoryStore::new());
    create(in_store(&FaultFs::new(), store.clone()))
        .close()
        .unwrap();
    let writer = Writer::in_store(0);
    let mut older: Option<Engine> = None;
    for round in 0..6 {
        let newer = Engine::open(in_store(&FaultFs::new(), store.clone())).unwrap();
        if let Some(older) = older {
            let known = *writer.expected().start();
            let error = writer.write_one(&older).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
            assert!(error.message().contains("fenced by epoch"), "{error}");
            // For good, and reads go on.
            let error = writer.write_one(&older).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
            assert!(older.status().contains("READ ONLY"), "{}", older.status());
            assert!(writer.read(&older).is_ok());
            if let Err(error) = older.flush() {
                assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
            }
            drop(older);
            writer.check(&newer, known..=known);
        }
        for _ in 0..=round {
            writer.write_one(&newer).unwrap();
        }
        older = Some(newer);
    }
}

#[test]
fn writers_that_attach_and_write_at_once_lose_nothing_that_was_acknowledged() {
    let _guard = with_others();
    let store = Arc::new(MemoryStore::new());
    create(in_store(&FaultFs::new(), store.clone()))
        .close()
        .unwrap();
    let writers: Vec<Writer> = (0..3).map(Writer::in_store).collect();
    std::thread::scope(|scope| {
        for (id, writer) in writers.iter().enumerate() {
            let store = &store;
            scope.spawn(move || {
                for round in 0..12u64 {
                    let opened = Engine::open(in_store(&FaultFs::new(), store.clone()));
                    // Another may attach at the very same moment.
                    let Ok(engine) = opened else { continue };
                    let known = *writer.expected().start();
                    // What failed for want of an answer may have been kept.
                    writer.check(&engine, known..=known + 1);
                    for _ in 0..(round + id as u64) % 5 * 3 {
                        if let Err(error) = writer.write_one(&engine) {
                            assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
                            break;
                        }
                    }
                    if round % 3 == 0 {
                        let _ = engine.flush();
                    }
                }
            });
        }
    });
    let engine = Engine::open(in_store(&FaultFs::new(), store.clone())).unwrap();
    for writer in &writers {
        let known = *writer.expected().start();
        writer.check(&engine, known..=known + 1);
    }
    check_no_garbage(&engine);
}

#[test]
fn a_log_that_was_superseded_is_put_aside() {
    let _guard = with_others();
    let (fs, inner) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let store = FaultStore::new(inner.clone());
    let mut options = in_store(&fs, Arc::new(store.clone()));
    options.wal_upload_interval = Duration::from_secs(3600);
    options.wal_upload_size = 1 << 20;
    let engine = create(options);
    let writer = Writer::in_store(0);
    for _ in 0..5 {
        writer.write_one(&engine).unwrap();
    }
    // These are acknowledged here alone.
    let local = Writer::new(1);
    for _ in 0..3 {
        local.write_one(&engine).unwrap();
    }
    let fs = fs.crash(PowerLoss::All);
    drop(engine);
    let other = FaultFs::new();
    let engine = Engine::open(in_store(&other, inner.clone())).unwrap();
    writer.check(&engine, 5..=5);
    let kept = local.check(&engine, 0..=3);
    for _ in 0..5 {
        writer.write_one(&engine).unwrap();
    }
    drop(engine);
    // The first machine again: what it has beyond the store is not replayed.
    let engine = Engine::open(in_store(&fs, inner.clone())).unwrap();
    writer.check(&engine, 10..=10);
    local.check(&engine, kept..=kept);
    let aside = smartengine::internals::env::fs::Fs::list(
        &fs,
        std::path::Path::new("/engine/wal/superseded-epoch-1"),
    )
    .unwrap();
    assert!(!aside.is_empty());
    writer.write_one(&engine).unwrap();
    drop(engine);
    // And the second again.
    let engine = Engine::open(in_store(&other, inner)).unwrap();
    writer.check(&engine, 11..=11);
}

/// While it slept, all that it had written was flushed and removed.
#[test]
fn a_writer_that_slept_does_not_find_its_place_free_again() {
    let _guard = with_others();
    let store = Arc::new(MemoryStore::new());
    let asleep = create(in_store(&FaultFs::new(), store.clone()));
    let writer = Writer::in_store(0);
    for _ in 0..5 {
        writer.write_one(&asleep).unwrap();
    }
    let other = Engine::open(in_store(&FaultFs::new(), store.clone())).unwrap();
    let chunks = || ObjectStore::list(&*store, "wal/", "", 1000).unwrap();
    let before = chunks();
    for _ in 0..3 {
        writer.write_one(&other).unwrap();
        other.flush().unwrap();
    }
    // Fences alone are left of what was there.
    let start = Instant::now();
    while chunks()
        .iter()
        .filter(|chunk| before.contains(chunk))
        .count()
        > 2
    {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = writer.write_one(&asleep).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    drop(asleep);
    writer.write_one(&other).unwrap();
    drop(other);
    let engine = Engine::open(in_store(&FaultFs::new(), store)).unwrap();
    writer.check(&engine, 9..=9);
}

/// What a writer that was superseded had on its way arrives after the fence.
#[test]
fn late_chunks_of_a_fenced_writer_are_not_read() {
    let _guard = with_others();
    let inner = Arc::new(MemoryStore::new());
    let store = FaultStore::new(inner.clone());
    let old = create(in_store(&FaultFs::new(), Arc::new(store.clone())));
    let writer = Writer::in_store(0);
    for _ in 0..3 {
        writer.write_one(&old).unwrap();
    }
    // The chunks after the next one arrive, the next one itself does not.
    store.add(Rule {
        key_contains: "wal/".to_owned(),
        times: 1,
        ..Rule::always(Operation::PutIfAbsent, Fault::Fail(ErrorKind::Unavailable))
    });
    let late = Writer::new(1);
    let before = inner.copy();
    for _ in 0..40 {
        late.write_one(&old).unwrap();
    }
    std::thread::sleep(Duration::from_millis(60));
    drop((before, old));
    let engine = Engine::open(in_store(&FaultFs::new(), inner.clone())).unwrap();
    writer.check(&engine, 3..=3);
    let kept = late.check(&engine, 0..=40);
    late.acknowledged.store(kept, Ordering::Relaxed);
    for _ in 0..20 {
        late.write_one(&engine).unwrap();
        writer.write_one(&engine).unwrap();
    }
    engine.close().unwrap();
    let engine = Engine::open(in_store(&FaultFs::new(), inner)).unwrap();
    writer.check(&engine, 23..=23);
    late.check(&engine, kept + 20..=kept + 20);
    check_no_garbage(&engine);
}

#[test]
fn who_cannot_draw_a_number_to_be_told_by_does_not_attach() {
    let _guard = alone();
    let store = Arc::new(MemoryStore::new());
    create(in_store(&FaultFs::new(), store.clone()))
        .close()
        .unwrap();
    let attached = Engine::open(in_store(&FaultFs::new(), store.clone())).unwrap();
    let keys = store.list("", "", usize::MAX).unwrap();
    let armed = arm("random.before_draw", Action::Error, 1);
    assert_eq!(unique_u128().unwrap_err().kind(), ErrorKind::Unavailable);
    let opened = Engine::open(in_store(&FaultFs::new(), store.clone()));
    let error = opened.err().unwrap();
    assert!(error.message().contains("random.before_draw"), "{error}");
    drop(armed);
    // It took nothing from the writer that is there.
    assert_eq!(store.list("", "", usize::MAX).unwrap(), keys);
    let writer = Writer::in_store(0);
    writer.write_one(&attached).unwrap();
}

/// Makes an object one of another version, with a checksum that is right.
fn set_version(store: &dyn ObjectStore, key: &str, version: u8) {
    let mut bytes = store.get(key).unwrap().to_vec();
    bytes[8] = version;
    let end = bytes.len() - 4;
    let checksum = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    store.put(key, &bytes).unwrap();
}

#[test]
fn a_successor_of_a_later_release_fences_too() {
    let _guard = with_others();
    // What this release does not know of it: its log, its manifest, or both.
    for unknown in [&["wal/"][..], &["manifest/"], &["wal/", "manifest/"]] {
        let store = Arc::new(MemoryStore::new());
        let engine = create(in_store(&FaultFs::new(), store.clone()));
        let writer = Writer::in_store(0);
        writer.write_one(&engine).unwrap();
        let mut prepared = engine.begin(Isolation::ReadCommitted);
        prepared.put(&Index::DICTIONARY.key("p"), b"1").unwrap();
        prepared.prepare(b"p", true).unwrap();
        let end = engine.log_end();
        assert!(engine.wait_uploaded(end, Duration::from_secs(20)).unwrap());
        let keys = || -> Vec<String> {
            let all = store.list("", "", 1000).unwrap();
            all.into_iter().map(|object| object.key).collect()
        };
        let before = keys();
        drop(Engine::open(in_store(&FaultFs::new(), store.clone())).unwrap());
        for key in keys() {
            let new = !before.contains(&key);
            if new && unknown.iter().any(|folder| key.starts_with(folder)) {
                set_version(&*store, &key, 99);
            }
        }
        let error = writer.write_one(&engine).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{unknown:?}: {error}");
        let error = engine.check_writes().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{unknown:?}: {error}");
        // What others may have built on is carried out.
        prepared.commit().unwrap();
    }
}
