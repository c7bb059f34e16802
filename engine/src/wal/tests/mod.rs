mod damage;
mod failure;
mod model;

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::env::fs::{FaultFs, PowerLoss, RealFs};

type Records = Vec<(u64, Vec<u8>)>;

fn dir() -> PathBuf {
    PathBuf::from("/log")
}

fn small(recycle: usize) -> WalOptions {
    WalOptions {
        segment_size: SEGMENT_HEADER_LEN + 600,
        recycle,
    }
}

fn open(fs: &FaultFs, options: WalOptions, floor: u64) -> Result<(Wal, Records)> {
    let mut records = Records::new();
    let wal = Wal::open(
        Arc::new(fs.clone()),
        &dir(),
        options,
        floor,
        &mut |position, payload| {
            records.push((position, payload.to_vec()));
            Ok(())
        },
    )?;
    Ok((wal, records))
}

#[test]
fn replays_what_was_appended() {
    for recycle in [0, 2] {
        let fs = FaultFs::new();
        let mut expected = Records::new();
        let (wal, found) = open(&fs, small(recycle), 0).unwrap();
        assert!(found.is_empty());
        for i in 0..40_usize {
            let payload = vec![i as u8; i * 37 % 1500];
            let (a, b) = payload.split_at(payload.len() / 3);
            let range = wal.append(&[a, b, &[]]).unwrap();
            expected.push((range.start, payload));
        }
        wal.sync(wal.end()).unwrap();
        drop(wal);
        let fs = fs.crash(PowerLoss::All);
        let (wal, found) = open(&fs, small(recycle), 0).unwrap();
        assert!(found == expected);
        let floor = expected[20].0;
        wal.release(floor).unwrap();
        drop(wal);
        let (_, found) = open(&fs, small(recycle), floor).unwrap();
        assert!(found == expected[20..]);
    }
}

#[test]
fn works_on_the_real_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions {
        segment_size: 1 << 16,
        recycle: 1,
    };
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut expected = Vec::new();
    let mut floor = 0;
    for round in 0..4_u8 {
        let mut found = Vec::new();
        let wal = Wal::open(
            Arc::clone(&fs),
            dir.path(),
            options.clone(),
            floor,
            &mut |position, payload| {
                found.push((position, payload.to_vec()));
                Ok(())
            },
        )
        .unwrap();
        assert!(found == expected);
        for i in 0..30_usize {
            let payload = vec![round; i * 1000];
            let range = wal.append(&[&payload]).unwrap();
            wal.sync(range.end).unwrap();
            assert!(wal.synced() >= range.end);
            expected.push((range.start, payload));
        }
        floor = expected[20].0;
        wal.release(floor).unwrap();
        expected.drain(..20);
        assert_eq!(wal.stats().appends, 30);
        assert!(wal.stats().syncs >= 1);
    }
}

#[test]
fn a_record_may_be_longer_than_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions {
        segment_size: 1 << 20,
        recycle: 1,
    };
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let long: Vec<u8> = (0..20_000_003_u32).map(|i| (i % 251) as u8).collect();
    let pieces: Vec<&[u8]> = long.chunks(777_777).collect();
    let ignore = &mut |_, _: &[u8]| Ok(());
    let wal = Wal::open(Arc::clone(&fs), dir.path(), options.clone(), 0, ignore).unwrap();
    wal.append(&[b"before"]).unwrap();
    let range = wal.append(&pieces).unwrap();
    wal.append(&[b"after"]).unwrap();
    wal.sync(wal.end()).unwrap();
    assert!(wal.stats().segments > 19);
    wal.release(range.end).unwrap();
    assert_eq!(wal.stats().segments, 1);
    drop(wal);

    let mut found = Vec::new();
    let mut collect = |_, payload: &[u8]| {
        found.push(payload.to_vec());
        Ok(())
    };
    Wal::open(fs, dir.path(), options, range.end, &mut collect).unwrap();
    assert_eq!(found, [b"after"]);
}

#[test]
fn a_record_of_thousands_of_pieces_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let options = WalOptions {
        segment_size: 1 << 16,
        recycle: 0,
    };
    let pieces: Vec<Vec<u8>> = (0..5000_usize).map(|i| vec![i as u8; i % 40]).collect();
    let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    let ignore = &mut |_, _: &[u8]| Ok(());
    let wal = Wal::open(Arc::clone(&fs), dir.path(), options.clone(), 0, ignore).unwrap();
    wal.append(&slices).unwrap();
    drop(wal);
    let mut found = Vec::new();
    let mut collect = |_, payload: &[u8]| {
        found.push(payload.to_vec());
        Ok(())
    };
    Wal::open(fs, dir.path(), options, 0, &mut collect).unwrap();
    assert!(found == [pieces.concat()]);
}

#[test]
fn a_log_is_opened_by_one_process_and_with_sensible_options() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, small(0), 0).unwrap();
    let second = open(&fs, small(0), 0).err().unwrap();
    assert_eq!(second.kind(), ErrorKind::Unavailable);
    drop(wal);
    for segment_size in [0, 4096, (1 << 30) + 1] {
        let options = WalOptions {
            segment_size,
            recycle: 0,
        };
        let error = open(&fs, options, 0).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_floor_beyond_the_log_starts_it_anew_there() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, small(1), 0).unwrap();
    wal.append(&[&[1; 100]]).unwrap();
    drop(wal);
    // What the SSTs hold was synced there, and the log was not: its end was lost.
    let floor = 1_000_000;
    let fs = fs.crash(PowerLoss::All);
    let (wal, found) = open(&fs, small(1), floor).unwrap();
    assert!(found.is_empty());
    let range = wal.append(&[b"new"]).unwrap();
    assert_eq!(range.start, floor);
    wal.sync(range.end).unwrap();
    drop(wal);
    let (_, found) = open(&fs.crash(PowerLoss::All), small(1), floor).unwrap();
    assert_eq!(found, [(floor, b"new".to_vec())]);
}

#[test]
fn released_segments_are_reused_and_their_number_stays_bounded() {
    for recycle in [0, 1, 3] {
        let fs = FaultFs::new();
        let (wal, _) = open(&fs, small(recycle), 0).unwrap();
        for i in 0..200_u8 {
            let range = wal.append(&[&[i; 250]]).unwrap();
            wal.sync(range.end).unwrap();
            wal.release(range.start).unwrap();
        }
        let last = wal.end();
        drop(wal);
        let files = fs.list(&dir()).unwrap();
        assert!(files.len() <= recycle + 4, "{files:?}");
        let (_, found) = open(&fs, small(recycle), last).unwrap();
        assert!(found.is_empty());
    }
}

#[test]
fn a_log_that_begins_above_its_floor_is_refused() {
    let fs = FaultFs::new();
    let (wal, _) = open(&fs, small(0), 0).unwrap();
    let mut floor = 0;
    for i in 0..20_u8 {
        floor = wal.append(&[&[i; 200]]).unwrap().start;
    }
    wal.close().unwrap();
    wal.release(floor).unwrap();
    drop(wal);
    let error = open(&fs, small(0), 0).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.message().contains("missing"), "{error}");
}
