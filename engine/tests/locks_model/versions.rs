//! Programs over the list of snapshots: a key with versions in a memtable and in files, a writer, a compaction, and reads.
//!
//! Every commit writes the key, so a read as of a number has to find just that version.

use std::sync::Arc;

use shuttle::thread;

use crate::txn::snapshots::Snapshots;
use crate::txn::sync::Mutex;
use crate::{Test, programs};

pub const PROGRAMS: &[Test] = programs![
    a_registered_snapshot_is_kept,
    a_read_of_the_newest_needs_no_registration,
    snapshots_in_several_lists_are_all_kept,
    what_is_listed_is_enough,
];

/// What is not registered is dropped between its number and its state.
pub const WRONG: &[Test] = programs![reads_the_number_before_the_state];

type SeqNo = u64;

/// What is read, made anew by each change.
#[derive(Clone)]
struct State {
    /// The one that takes writes last.
    memtables: Vec<Arc<Mutex<Vec<SeqNo>>>>,
    files: Vec<SeqNo>,
}

impl State {
    fn newest(&self, at: SeqNo) -> Option<SeqNo> {
        let mut all = self.files.clone();
        for table in &self.memtables {
            all.extend(table.lock().iter());
        }
        all.into_iter().filter(|&seq| seq <= at).max()
    }
}

struct World {
    snapshots: Snapshots,
    state: Mutex<Arc<State>>,
}

const COMMITS: SeqNo = 4;

impl World {
    fn new() -> Arc<Self> {
        let state = State {
            memtables: vec![Arc::default()],
            files: vec![0],
        };
        Arc::new(Self {
            snapshots: Snapshots::default(),
            state: Mutex::new(Arc::new(state)),
        })
    }

    fn load(&self) -> Arc<State> {
        self.state.lock().clone()
    }

    fn change(&self, change: impl FnOnce(&State) -> State) {
        let mut state = self.state.lock();
        let changed = change(&state);
        *state = Arc::new(changed);
    }

    /// Commits in pairs. A memtable is closed, and may be flushed, before what it holds is published.
    fn write(&self) {
        for first in (1..=COMMITS).step_by(2) {
            let table = self.load().memtables.last().cloned().unwrap();
            table.lock().extend([first, first + 1]);
            self.change(|now| {
                let mut state = now.clone();
                state.memtables.push(Arc::default());
                state
            });
            self.snapshots.publish(first);
            self.snapshots.publish(first + 1);
        }
    }

    /// Merges the files and all memtables but the last, by the rule of `output::drop_rules`.
    fn compact(&self) {
        let before = self.load();
        let merged = before.memtables.len() - 1;
        let mut all = before.files.clone();
        for table in &before.memtables[..merged] {
            all.extend(table.lock().iter());
        }
        // Rules are made once it is known what is merged.
        let list = self.snapshots.list();
        let interval = |seq: SeqNo| list.partition_point(|&snapshot| snapshot < seq);
        let kept = all.iter().copied().filter(|&seq| {
            let newer = all.iter().any(|&other| {
                other > seq && interval(other) == interval(seq) && interval(seq) < list.len()
            });
            !newer
        });
        let files = kept.collect();
        self.change(|now| State {
            memtables: now.memtables[merged..].to_vec(),
            files,
        });
    }

    fn spawn(self: &Arc<Self>, work: fn(&Self)) -> thread::JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || work(&world))
    }

    /// As a cursor does, and who looks up rows as of a cursor: from two states, the second one later.
    fn read_registered(&self) {
        let guard = self.snapshots.take();
        for _ in 0..2 {
            let found = self.load().newest(guard.seq());
            assert_eq!(found, Some(guard.seq()), "a version was dropped");
            thread::yield_now();
        }
    }

    fn read_newest(&self) {
        let before = self.snapshots.visible();
        let state = self.load();
        let newest = self.snapshots.visible();
        let found = state.newest(newest);
        assert!(
            found.is_some_and(|found| (before..=newest).contains(&found)),
            "{found:?} is not between {before} and {newest}"
        );
    }
}

fn run(reads: &[fn(&World)]) {
    let world = World::new();
    let mut threads = vec![world.spawn(World::write)];
    threads.push(world.spawn(|world| (0..2).for_each(|_| world.compact())));
    threads.extend(reads.iter().map(|&read| world.spawn(read)));
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(world.snapshots.count(), 0);
    assert_eq!(world.snapshots.list(), [COMMITS]);
    world.compact();
    assert_eq!(world.load().newest(COMMITS), Some(COMMITS));
}

fn a_registered_snapshot_is_kept() {
    run(&[World::read_registered]);
}

fn a_read_of_the_newest_needs_no_registration() {
    run(&[World::read_newest, World::read_newest]);
}

fn snapshots_in_several_lists_are_all_kept() {
    run(&[
        World::read_registered,
        World::read_registered,
        World::read_registered,
    ]);
}

/// Each snapshot taken is among those listed, or not below the last of them, above which everything is kept.
fn what_is_listed_is_enough() {
    let snapshots = Arc::new(Snapshots::default());
    let spawn = |work: fn(&Snapshots) -> Vec<SeqNo>| {
        let snapshots = snapshots.clone();
        thread::spawn(move || work(&snapshots))
    };
    let take = |snapshots: &Snapshots| {
        let guards: Vec<_> = (0..8).map(|_| snapshots.take()).collect();
        let seqs = guards.iter().map(|guard| guard.seq()).collect();
        // None is let go of here: a list may be made as long as they are held.
        std::mem::forget(guards);
        seqs
    };
    let takers = [spawn(take), spawn(take)];
    let lister = spawn(Snapshots::list);
    for seq in 1..20 {
        snapshots.publish(seq);
    }
    let listed = lister.join().unwrap();
    for seq in takers.map(|taker| taker.join().unwrap()).concat() {
        let last = listed.last().copied().unwrap();
        assert!(seq >= last || listed.contains(&seq), "{seq} {listed:?}");
    }
}

fn reads_the_number_before_the_state() {
    let wrong = |world: &World| {
        for _ in 0..4 {
            let newest = world.snapshots.visible();
            let found = world.load().newest(newest);
            assert_eq!(found, Some(newest), "a version was dropped");
        }
    };
    run(&[wrong, wrong, wrong, World::compact]);
}
