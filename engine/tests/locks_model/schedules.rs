//! The programs: what the threads do, and what must hold whatever the order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use shuttle::thread;
use smartengine::Isolation;

use crate::txn::batch::Batch;
use crate::txn::locks::{LockManager, LockMode, LockWait, TxnLocks};
use crate::txn::sync::Mutex;
use crate::{ErrorKind, Result, Test, programs};

use LockMode::{Exclusive, Shared};

pub const PROGRAMS: &[Test] = programs![
    rows_in_opposite_orders,
    upgrades,
    bulk_locks,
    three_in_a_circle,
    an_interrupt,
    gaps_against_additions,
    additions_into_each_others_gaps,
    a_scan_in_steps,
    two_scans_in_steps,
    additions_that_are_undone_and_made_again,
];

/// Of writers that look for gaps before they show what they add, one slips through.
pub const WRONG: &[Test] = programs![looks_before_it_writes];

const WAIT: LockWait = LockWait::Timeout(Duration::from_secs(1));

fn key(number: u8) -> [u8; 5] {
    [0, 0, 0, 1, number]
}

/// What all threads share.
struct World {
    locks: LockManager,
    /// Who holds each key exclusively (all bits) or shared (a bit each), as the threads believe.
    held: [AtomicU64; 4],
    committed: Mutex<BTreeSet<Vec<u8>>>,
}

impl World {
    fn new(explicit: usize) -> Arc<Self> {
        Arc::new(Self {
            locks: LockManager::with_explicit_locks(1000, explicit),
            held: Default::default(),
            committed: Mutex::default(),
        })
    }

    /// Nothing is left when all threads have ended.
    fn check_idle(&self) {
        assert_eq!(self.locks.stats().held, 0);
        assert!(self.locks.list(10).is_empty() && self.locks.transactions().is_empty());
    }
}

/// A transaction on a thread of its own.
struct Session {
    world: Arc<World>,
    txn: TxnLocks,
    batch: Batch,
    taken: Vec<(usize, LockMode)>,
}

impl Session {
    fn new(world: &Arc<World>, id: u64) -> Self {
        Self {
            world: world.clone(),
            txn: TxnLocks::new(id, Isolation::RepeatableRead),
            batch: Batch::default(),
            taken: Vec::new(),
        }
    }

    fn bits(&self, mode: LockMode) -> u64 {
        if mode == Exclusive {
            u64::MAX
        } else {
            1 << self.txn.id()
        }
    }

    fn lock(&mut self, number: u8, mode: LockMode) -> Result<()> {
        let world = self.world.clone();
        world
            .locks
            .acquire(&mut self.txn, &key(number), mode, WAIT)?;
        let place = number as usize;
        let own = 1 << self.txn.id();
        let before = world.held[place].load(Relaxed);
        let others = if self.taken.contains(&(place, Exclusive)) {
            0
        } else {
            before & !own
        };
        match mode {
            Exclusive => assert_eq!(others, 0, "an exclusive lock beside another"),
            Shared => assert_ne!(others, !own, "a shared lock beside an exclusive one"),
        }
        world.held[place].fetch_or(self.bits(mode), Relaxed);
        self.taken.push((place, mode));
        Ok(())
    }

    fn gap(&mut self, from: u8, to: u8) -> Result<()> {
        let world = self.world.clone();
        world
            .locks
            .lock_gap(&mut self.txn, &key(from), &key(to), Some(WAIT))
    }

    fn add(&mut self, number: u8) -> Result<()> {
        let (world, key) = (self.world.clone(), key(number));
        let Self { txn, batch, .. } = self;
        world.locks.will_write(txn, &key, || batch.view().clone());
        loop {
            let savepoint = batch.savepoint();
            batch.put(&key, b"");
            let Some(owner) = world.locks.gap_owner(txn, &key) else {
                return Ok(());
            };
            batch.rollback_to(savepoint);
            world.locks.await_gap(txn, &key, owner, WAIT)?;
        }
    }

    fn committed(&self, from: u8, to: u8) -> Vec<Vec<u8>> {
        let committed = self.world.committed.lock();
        committed
            .range(key(from).to_vec()..key(to).to_vec())
            .cloned()
            .collect()
    }

    /// Ends the transaction: commits where all went well.
    fn end(mut self, result: Result<()>) -> bool {
        let world = self.world.clone();
        match &result {
            Ok(()) => {
                let added = self.batch.view().keys();
                world.committed.lock().extend(added);
            }
            Err(error) => assert!(
                [ErrorKind::Deadlock, ErrorKind::Interrupted].contains(&error.kind()),
                "{error}"
            ),
        }
        for (place, mode) in self.taken.drain(..) {
            let own = 1 << self.txn.id();
            if mode == Exclusive {
                world.held[place].store(0, Relaxed);
            } else if world.held[place].load(Relaxed) != u64::MAX {
                world.held[place].fetch_and(!own, Relaxed);
            }
        }
        world.locks.release_all(&mut self.txn);
        result.is_ok()
    }
}

type Program = fn(&mut Session) -> Result<()>;

/// Runs each program in a transaction of its own, on a thread of its own; how many went through.
fn run(world: &Arc<World>, programs: &[Program]) -> usize {
    let threads: Vec<_> = (1..)
        .zip(programs)
        .map(|(id, &program)| {
            let mut session = Session::new(world, id);
            thread::spawn(move || {
                let result = program(&mut session);
                session.end(result)
            })
        })
        .collect();
    let ends = threads.into_iter().map(|thread| thread.join().unwrap());
    let through = ends.filter(|&through| through).count();
    world.check_idle();
    through
}

fn rows_in_opposite_orders() {
    let programs: [Program; 3] = [
        |session| {
            session.lock(1, Exclusive)?;
            session.lock(2, Exclusive)
        },
        |session| {
            session.lock(2, Exclusive)?;
            session.lock(1, Shared)
        },
        |session| {
            session.lock(1, Shared)?;
            session.lock(2, Shared)
        },
    ];
    // One victim at the most breaks whatever circle there is, or two.
    assert!(run(&World::new(1000), &programs) >= 1);
}

fn upgrades() {
    let upgrade: Program = |session| {
        session.lock(1, Shared)?;
        session.lock(1, Exclusive)
    };
    let shares: Program = |session| session.lock(1, Shared);
    let takes: Program = |session| session.lock(1, Exclusive);
    let through = run(&World::new(1000), &[upgrade, upgrade, shares, takes]);
    assert!(through >= 3, "{through}");
}

fn bulk_locks() {
    let programs: [Program; 3] = [
        |session| {
            session.lock(3, Shared)?;
            session.lock(1, Shared)?;
            session.lock(1, Exclusive)?;
            session.lock(2, Exclusive)
        },
        |session| {
            session.lock(3, Shared)?;
            session.lock(2, Shared)?;
            session.lock(1, Exclusive)
        },
        |session| session.lock(1, Shared),
    ];
    assert!(run(&World::new(1), &programs) >= 2);
}

fn three_in_a_circle() {
    let programs: [Program; 3] = [
        |session| {
            session.lock(1, Exclusive)?;
            session.lock(2, Exclusive)
        },
        |session| {
            session.lock(2, Exclusive)?;
            session.lock(3, Exclusive)
        },
        |session| {
            session.lock(3, Exclusive)?;
            session.lock(1, Exclusive)
        },
    ];
    // Of one circle one is the victim.
    assert!(run(&World::new(1000), &programs) >= 2);
}

fn an_interrupt() {
    let world = World::new(1000);
    let killer = {
        let world = world.clone();
        thread::spawn(move || world.locks.interrupt(2))
    };
    let takes: Program = |session| session.lock(1, Exclusive);
    let through = run_with(&world, &[takes, takes, takes], killer);
    assert!(through >= 2);
}

fn run_with(world: &Arc<World>, programs: &[Program], other: thread::JoinHandle<()>) -> usize {
    let threads: Vec<_> = (1..)
        .zip(programs)
        .map(|(id, &program)| {
            let mut session = Session::new(world, id);
            thread::spawn(move || {
                let result = program(&mut session);
                session.end(result)
            })
        })
        .collect();
    let ends = threads.into_iter().map(|thread| thread.join().unwrap());
    let through = ends.filter(|&through| through).count();
    other.join().unwrap();
    // An interrupt that met nobody waits for nobody.
    world.locks.forget_interrupt(2);
    world.check_idle();
    through
}

/// Reads the committed keys of a range that it has locked, twice.
fn reads_twice(session: &mut Session) -> Result<()> {
    session.gap(0, 2)?;
    let before = session.committed(0, 2);
    thread::yield_now();
    session.gap(1, 4)?;
    let wider = session.committed(0, 4);
    thread::yield_now();
    let end = wider.partition_point(|found| found[..] < key(2)[..]);
    assert_eq!(wider[..end], before, "a phantom");
    assert_eq!(session.committed(0, 4), wider, "a phantom");
    Ok(())
}

fn gaps_against_additions() {
    let adds: Program = |session| {
        session.add(1)?;
        session.add(3)
    };
    let programs: [Program; 3] = [reads_twice, adds, |session| session.add(2)];
    assert!(run(&World::new(1000), &programs) >= 2);
}

/// Reads a range gap by gap, as a scan does. What it has read stays as it is, to the end.
fn scan(session: &mut Session, gaps: impl Iterator<Item = u8> + Clone) -> Result<()> {
    let mut read = Vec::new();
    for from in gaps {
        session.gap(from, from + 1)?;
        read.push((from, session.committed(from, from + 1)));
        thread::yield_now();
        for (from, before) in &read {
            assert_eq!(session.committed(*from, from + 1), *before, "a phantom");
        }
    }
    Ok(())
}

fn scans_forward(session: &mut Session) -> Result<()> {
    scan(session, 0..4)
}

fn scans_backward(session: &mut Session) -> Result<()> {
    scan(session, (0..4).rev())
}

fn a_scan_in_steps() {
    let adds: Program = |session| {
        session.add(3)?;
        session.add(1)
    };
    let programs: [Program; 3] = [scans_forward, adds, |session| session.add(2)];
    assert!(run(&World::new(1000), &programs) >= 2);
    let programs: [Program; 3] = [scans_backward, adds, |session| session.add(0)];
    assert!(run(&World::new(1000), &programs) >= 2);
}

fn two_scans_in_steps() {
    let programs: [Program; 4] = [
        scans_forward,
        scans_backward,
        |session| session.add(2),
        |session| session.add(1),
    ];
    assert!(run(&World::new(1000), &programs) >= 3);
}

/// A statement that fails gives back what it added; the next one adds it all the same.
fn additions_that_are_undone_and_made_again() {
    let adds: Program = |session| {
        let savepoint = session.batch.savepoint();
        session.add(3)?;
        session.batch.rollback_to(savepoint);
        session.add(2)?;
        session.add(3)
    };
    let programs: [Program; 3] = [scans_forward, adds, |session| session.add(1)];
    assert!(run(&World::new(1000), &programs) >= 2);
}

fn additions_into_each_others_gaps() {
    let programs: [Program; 3] = [
        |session| {
            session.gap(0, 3)?;
            session.lock(3, Exclusive)?;
            session.add(1)
        },
        |session| {
            session.gap(0, 3)?;
            session.add(2)
        },
        |session| {
            session.add(1)?;
            session.lock(3, Shared)
        },
    ];
    assert!(run(&World::new(1000), &programs) >= 1);
}

fn looks_before_it_writes() {
    let adds: Program = |session| {
        let (world, key) = (session.world.clone(), key(1));
        let Session { txn, batch, .. } = session;
        world.locks.will_write(txn, &key, || batch.view().clone());
        if world.locks.gap_owner(txn, &key).is_none() {
            batch.put(&key, b"");
        }
        Ok(())
    };
    run(&World::new(1000), &[reads_twice, adds]);
}
