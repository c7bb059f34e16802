//! What a durable commit of 200 bytes costs, on the log as it is and on the ways it could have been laid out.
//!
//! `TMPDIR=<a directory on the disk in question> cargo bench -p smartengine --bench wal`. The ways take turns, each for a run of commits, so that a
//! busy machine is busy for all of them, and one never rides on another's journal commit.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smartengine::internals::env::fs::RealFs;
use smartengine::internals::wal::{Wal, WalOptions};

const RECORD: [u8; 200] = [7; 200];
const FILE: u64 = 64 << 20;
const ROUNDS: usize = 8;
const RUN: usize = 150;

/// A way to make 200 bytes durable.
type Way<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// How a file is laid down before the first commit.
#[derive(Clone, Copy)]
enum Layout {
    Growing,
    Sparse,
    Filled(u8),
}

fn lay_down(path: &Path, layout: Layout) -> File {
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(path)
        .unwrap();
    match layout {
        Layout::Growing => {}
        Layout::Sparse => file.set_len(FILE).unwrap(),
        Layout::Filled(byte) => {
            for _ in 0..FILE >> 20 {
                file.write_all(&vec![byte; 1 << 20]).unwrap();
            }
        }
    }
    file.sync_all().unwrap();
    file
}

fn commit_to(file: File) -> Box<dyn FnMut()> {
    let mut at = 0;
    Box::new(move || {
        file.write_all_at(&RECORD, at).unwrap();
        file.sync_data().unwrap();
        at += RECORD.len() as u64;
    })
}

fn report(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e6;
    println!("{name:32} {:>9.1} {:>9.1} {:>9.1}", at(10), at(50), at(90));
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let ignore = &mut |_, _: &[u8]| Ok(());
    let options = WalOptions::default();
    let wal = Wal::open(
        Arc::new(RealFs),
        &dir.path().join("wal"),
        options,
        0,
        ignore,
    )
    .unwrap();
    let mut ways: Vec<Way<'_>> = [
        ("growing file", Layout::Growing),
        ("sparse file", Layout::Sparse),
        ("file of written zeros", Layout::Filled(0)),
        ("recycled file", Layout::Filled(0xa5)),
    ]
    .into_iter()
    .map(|(name, layout)| -> Way<'_> {
        (name, commit_to(lay_down(&dir.path().join(name), layout)))
    })
    .collect();
    ways.push((
        "Wal",
        Box::new(|| {
            let range = wal.append(&[&RECORD]).unwrap();
            wal.sync(range.end).unwrap();
        }),
    ));
    let mut times = vec![Vec::with_capacity(ROUNDS * RUN); ways.len()];
    for _ in 0..ROUNDS {
        for ((_, commit), times) in ways.iter_mut().zip(&mut times) {
            for _ in 0..RUN {
                let start = Instant::now();
                commit();
                times.push(start.elapsed());
            }
        }
    }
    println!(
        "{:32} {:>9} {:>9} {:>9}",
        "200 B, microseconds", "p10", "p50", "p90"
    );
    for ((name, _), times) in ways.iter().zip(&mut times) {
        report(&format!("{name}, synced"), times);
    }
    let mut unsynced: Vec<Duration> = (0..100_000)
        .map(|_| {
            let start = Instant::now();
            wal.append(&[&RECORD]).unwrap();
            start.elapsed()
        })
        .collect();
    report("Wal, not synced", &mut unsynced);
}
