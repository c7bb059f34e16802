use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::env::fs::{FaultFs, Operation, PowerLoss, RealFs};

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
    let _ = Operation::Sync;
}
