//! Random runs with crashes against a model: what was synced is there, what was not is there up to some record or not at all, and nothing else.

use proptest::prelude::*;

use super::*;
use crate::env::fs::Operation;

#[derive(Clone, Debug)]
enum Step {
    /// Appends records of these sizes.
    Append(Vec<usize>),
    /// Syncs up to this record, counted from the end.
    Sync(usize),
    /// Releases what is below this record, counted from the end.
    Release(usize),
    Crash(Loss),
    /// Crashes, and again in the middle of the next open, after so many file operations of a kind.
    CrashTwice(Loss, usize, u64),
    Close,
}

#[derive(Clone, Copy, Debug)]
enum Loss {
    Process,
    All,
    Part(u64),
}

impl Loss {
    fn of(self) -> PowerLoss {
        match self {
            Self::Process => PowerLoss::ProcessOnly,
            Self::All => PowerLoss::All,
            Self::Part(seed) => PowerLoss::Part(seed),
        }
    }
}

const OPERATIONS: [Operation; 6] = [
    Operation::Write,
    Operation::Sync,
    Operation::Rename,
    Operation::Remove,
    Operation::SyncDir,
    Operation::Open,
];

fn losses() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::Process),
        Just(Loss::All),
        any::<u64>().prop_map(Loss::Part),
        any::<u64>().prop_map(Loss::Part),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![4 => 0..60_usize, 3 => 60..600_usize, 1 => 600..3000_usize];
    let step = prop_oneof![
        8 => proptest::collection::vec(size, 1..6).prop_map(Step::Append),
        4 => (0..4_usize).prop_map(Step::Sync),
        2 => (0..12_usize).prop_map(Step::Release),
        3 => losses().prop_map(Step::Crash),
        2 => (losses(), 0..OPERATIONS.len(), 0..6_u64)
            .prop_map(|(loss, operation, pass)| Step::CrashTwice(loss, operation, pass)),
        1 => Just(Step::Close),
    ];
    proptest::collection::vec(step, 1..40)
}

struct Run {
    fs: FaultFs,
    options: WalOptions,
    wal: Option<Wal>,
    floor: u64,
    /// Records from the floor on: range and payload.
    records: Vec<(WalRange, Vec<u8>)>,
    /// How many of them were synced.
    durable: usize,
    appended: usize,
}

impl Run {
    fn new(recycle: usize) -> Self {
        let fs = FaultFs::new();
        let options = small(recycle);
        let (wal, found) = open(&fs, options.clone(), 0).unwrap();
        assert!(found.is_empty());
        Self {
            fs,
            options,
            wal: Some(wal),
            floor: 0,
            records: Vec::new(),
            durable: 0,
            appended: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        let wal = self.wal.as_ref().unwrap();
        match step {
            Step::Append(sizes) => {
                for size in sizes {
                    self.appended += 1;
                    let number = self.appended;
                    let payload: Vec<u8> = (0..*size).map(|i| (i * 7 + number) as u8).collect();
                    let (a, b) = payload.split_at(size / 2);
                    let range = wal.append(&[a, b]).unwrap();
                    self.records.push((range, payload));
                }
            }
            Step::Sync(back) => {
                let Some(upto) = self.records.len().checked_sub(*back + 1) else {
                    return;
                };
                wal.sync(self.records[upto].0.end).unwrap();
                let synced = wal.synced();
                let durable = self.records.iter().filter(|r| r.0.end <= synced).count();
                assert!(durable > upto);
                self.durable = durable;
            }
            Step::Release(back) => {
                let Some(at) = self.records.len().checked_sub(*back + 1) else {
                    return;
                };
                // The floor is kept elsewhere before the log may forget: here, in a variable that survives.
                self.floor = self.records[at].0.start;
                self.records.drain(..at);
                self.durable = self.durable.saturating_sub(at);
                wal.release(self.floor).unwrap();
            }
            Step::Crash(loss) => {
                self.crash(*loss);
                self.reopen();
            }
            Step::CrashTwice(loss, operation, pass) => {
                self.crash(*loss);
                let operation = OPERATIONS[*operation];
                self.fs.fail(operation, *pass, 1, ErrorKind::Unavailable);
                if let Ok((wal, _)) = open(&self.fs, self.options.clone(), self.floor) {
                    drop(wal);
                }
                self.fs.heal();
                self.fs = self.fs.crash(loss.of());
                self.reopen();
            }
            Step::Close => {
                wal.close().unwrap();
                self.durable = self.records.len();
            }
        }
    }

    fn crash(&mut self, loss: Loss) {
        let after = self.fs.crash(loss.of());
        if matches!(loss, Loss::Process) {
            // All that was written is there, synced or not, as long as the machine runs on.
            let (_, found) = open(
                &after.crash(PowerLoss::ProcessOnly),
                self.options.clone(),
                self.floor,
            )
            .unwrap();
            assert_eq!(found.len(), self.records.len());
        }
        self.wal = None;
        self.fs = after;
    }

    fn reopen(&mut self) {
        let (wal, found) = open(&self.fs, self.options.clone(), self.floor).unwrap();
        assert!(
            found.len() >= self.durable,
            "{} of {} synced",
            found.len(),
            self.durable
        );
        assert!(found.len() <= self.records.len());
        for (found, (range, payload)) in found.iter().zip(&self.records) {
            assert_eq!(found.0, range.start);
            assert!(found.1 == *payload, "record at {} differs", range.start);
        }
        // What an open replayed is as good as synced.
        self.records.truncate(found.len());
        self.durable = found.len();
        self.wal = Some(wal);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crashes_lose_only_what_was_not_synced(steps in steps(), recycle in 0..2_usize) {
        let mut run = Run::new(recycle);
        for step in &steps {
            run.step(step);
        }
        run.crash(Loss::All);
        run.reopen();
    }
}
