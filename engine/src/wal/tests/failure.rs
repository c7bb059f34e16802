//! Failing disks, and many threads at once.

use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

use super::*;
use crate::env::fs::Operation;

fn assert_poisoned(wal: &Wal, first: &str) {
    let end = wal.end();
    for error in [
        wal.append(&[b"x"]).err(),
        wal.sync(end).err(),
        wal.close().err(),
    ] {
        let error = error.expect("a poisoned log takes nothing");
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
        assert!(error.message().contains(first), "{error}");
    }
    assert_eq!(wal.end(), end);
}

#[test]
fn a_failed_write_stops_the_log_and_keeps_what_was_there() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, small(0), 0).unwrap();
    let kept = wal.append(&[&[1; 50]]).unwrap();
    fs.fail(Operation::Write, 0, 1, ErrorKind::OutOfSpace);
    let error = wal.append(&[&[2; 50]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    assert_poisoned(&wal, "injected failure");
    drop(wal);
    let (wal, found) = open(&fs, small(0), 0).unwrap();
    assert_eq!(found, [(kept.start, vec![1; 50])]);
    wal.append(&[b"goes on"]).unwrap();
}

#[test]
fn a_segment_that_cannot_be_made_stops_the_log() {
    for recycle in [0, 1] {
        let fs = FaultFs::new();
        let (wal, _) = open(&fs, small(recycle), 0).unwrap();
        let mut appended = 0;
        fs.fail(Operation::Rename, 2, u64::MAX, ErrorKind::OutOfSpace);
        let error = loop {
            match wal.append(&[&[appended as u8; 100]]) {
                Ok(_) => appended += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::OutOfSpace);
        assert_poisoned(&wal, "create log segment");
        fs.heal();
        drop(wal);
        let (_, found) = open(&fs, small(recycle), 0).unwrap();
        assert_eq!(found.len(), appended);
    }
}

#[test]
fn a_failed_sync_stops_the_log_and_the_next_open_makes_up_for_it() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, small(0), 0).unwrap();
    let range = wal.append(&[&[1; 50]]).unwrap();
    fs.fail(Operation::Sync, 0, 1, ErrorKind::Unavailable);
    assert!(wal.sync(range.end).is_err());
    assert_eq!(wal.synced(), 0);
    assert_poisoned(&wal, "injected failure");
    drop(wal);
    // The process restarts, finds the record, since memory still has it, and builds on it: now it must not vanish.
    let fs = fs.crash(PowerLoss::ProcessOnly);
    let (wal, found) = open(&fs, small(0), 0).unwrap();
    assert_eq!(found.len(), 1);
    drop(wal);
    let (_, found) = open(&fs.crash(PowerLoss::All), small(0), 0).unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn a_mark_is_made_durable_before_more_is_built_on_it() {
    // The mark that an open leaves after unsynced records ends a segment: what is appended next lies in another one.
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, small(0), 0).unwrap();
    let room = (small(0).segment_size - SEGMENT_HEADER_LEN) as usize;
    wal.append(&[&vec![1; room - 2 * CHUNK_HEADER_LEN]])
        .unwrap();
    drop(wal);
    drop(open(&fs, small(0), 0).unwrap());
    // In the open after that, the sync that covers the mark fails, which in memory leaves no trace.
    for pass in 0..3 {
        fs.fail(Operation::Sync, pass, 1, ErrorKind::Unavailable);
        drop(open(&fs, small(0), 0));
        fs.heal();
    }
    let (wal, _) = open(&fs, small(0), 0).unwrap();
    let range = wal.append(&[b"next"]).unwrap();
    assert!(range.start >= room as u64);
    wal.sync(range.end).unwrap();
    wal.append(&[b"knows that it is durable"]).unwrap();
    wal.sync(wal.end()).unwrap();
    let (_, found) = open(&fs.crash(PowerLoss::All), small(0), 0).unwrap();
    assert_eq!(found.len(), 3);
}

#[test]
fn an_error_of_the_reader_is_passed_on_and_harms_nothing() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, small(0), 0).unwrap();
    wal.append(&[b"one"]).unwrap();
    wal.append(&[b"two"]).unwrap();
    drop(wal);
    let mut calls = 0;
    let refused = Wal::open(Arc::new(fs.clone()), &dir(), small(0), 0, &mut |_, _| {
        calls += 1;
        Err(Error::invalid("not mine"))
    });
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::Invalid);
    assert_eq!(calls, 1);
    assert_eq!(open(&fs, small(0), 0).unwrap().1.len(), 2);
}

#[test]
fn nothing_is_called_synced_without_a_sync_after_it() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, small(0), 0).unwrap();
    for i in 0..50_u8 {
        let before = fs.count(Operation::Sync);
        let range = wal.append(&[&[i; 90]]).unwrap();
        assert!(wal.synced() < range.end);
        wal.sync(range.end).unwrap();
        assert!(fs.count(Operation::Sync) > before);
        // A second sync of the same finds nothing to do.
        let before = fs.count(Operation::Sync);
        wal.sync(range.end).unwrap();
        assert_eq!(fs.count(Operation::Sync), before);
        let (_, found) = open(&fs.crash(PowerLoss::All), small(0), 0).unwrap();
        assert_eq!(found.len(), usize::from(i) + 1);
    }
}

#[test]
fn all_who_wait_for_a_sync_that_fails_are_told() {
    for seed in 0..20 {
        let fs = FaultFs::new();
        let (wal, _) = open(&fs, small(0), 0).unwrap();
        fs.fail(Operation::Sync, seed, u64::MAX, ErrorKind::Unavailable);
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    // Until the failure reaches it: an endless wait would be one of the test as well.
                    while let Ok(range) = wal.append(&[&[3; 40]]) {
                        if wal.sync(range.end).is_err() {
                            break;
                        }
                        assert!(wal.synced() >= range.end);
                    }
                });
            }
        });
        assert_poisoned(&wal, "injected failure");
    }
}

#[test]
fn many_threads_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let ignore = &mut |_, _: &[u8]| Ok(());
    let wal = Wal::open(Arc::new(RealFs), dir.path(), small(1), 0, ignore).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let range = wal.append(&[&[9; 100]]).unwrap();
                    wal.sync(range.end).unwrap();
                }
            });
        }
    });
    let stats = wal.stats();
    assert_eq!(stats.appends, 320);
    assert!(stats.syncs < 200, "{} syncs", stats.syncs);
}

#[test]
fn threads_append_and_sync_together() {
    for recycle in [0, 2] {
        let fs = FaultFs::new();
        let (wal, _) = open(&fs, small(recycle), 0).unwrap();
        let acknowledged = Mutex::new(Vec::new());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..6_u8 {
                let (wal, acknowledged, stop) = (&wal, &acknowledged, &stop);
                scope.spawn(move || {
                    for i in 0..60_usize {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let range = wal.append(&[&[thread], &vec![i as u8; i * 5]]).unwrap();
                        wal.sync(range.end).unwrap();
                        acknowledged.lock().push(range.start);
                    }
                });
            }
            for seed in 0..20 {
                let known = acknowledged.lock().clone();
                let after = fs.crash(PowerLoss::Part(seed));
                let (_, found) = open(&after, small(recycle), 0).unwrap();
                for start in known {
                    assert!(found.iter().any(|record| record.0 == start));
                }
            }
            stop.store(seed_done(&wal), Ordering::Relaxed);
        });
        let stats = wal.stats();
        assert!(stats.syncs <= stats.appends);
        assert_eq!(acknowledged.lock().len() as u64, stats.appends);
    }
}

/// Whether enough was appended for the run to mean something.
fn seed_done(wal: &Wal) -> bool {
    wal.stats().appends > 100
}
