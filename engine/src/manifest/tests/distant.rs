//! Loads of a store that is far away, and of one that is written to meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::*;
use crate::env::Clock;

/// A clock by which requests that are under way at the same time take one round trip together, however long their threads take to begin: all who sleep go
/// on once nobody has joined them for a while.
#[derive(Default)]
struct RoundTrips {
    /// How many sleep, when the last of them came, and how many round trips have ended.
    state: Mutex<(usize, Option<Instant>, u64)>,
    ended: Condvar,
}

impl RoundTrips {
    const QUIET: Duration = Duration::from_millis(100);

    fn count(&self) -> u64 {
        self.state.lock().2
    }
}

impl Clock for RoundTrips {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) {
        let mut state = self.state.lock();
        let mine = state.2;
        state.0 += 1;
        state.1 = Some(Instant::now());
        while state.2 == mine {
            let last = state.1.unwrap_or_else(Instant::now);
            if last.elapsed() >= Self::QUIET {
                *state = (0, None, mine + 1);
                self.ended.notify_all();
                return;
            }
            self.ended.wait_until(&mut state, last + Self::QUIET);
        }
    }

    fn unix_millis(&self) -> u64 {
        0
    }
}

/// A store with so many edits after its last full version.
fn with_edits(store: &Arc<dyn ObjectStore>, edits: u64) -> Manifest {
    let mut manifest = attach(store, "a");
    while manifest.next_id() <= FULL_EVERY + edits {
        let edit = flush(&manifest);
        manifest.commit(&edit).unwrap();
    }
    manifest
}

#[test]
fn a_load_takes_three_round_trips_however_many_edits_there_are() {
    let loads = |edits: u64, load: fn(Arc<dyn ObjectStore>) -> Result<(Manifest, Version)>| {
        let clock = Arc::new(RoundTrips::default());
        let faults = FaultStore::with_clock(Arc::new(MemoryStore::new()), clock.clone(), 0);
        let store: Arc<dyn ObjectStore> = Arc::new(faults.clone());
        let written = with_edits(&store, edits);
        for operation in [Operation::Get, Operation::List] {
            faults.add(FaultRule::always(
                operation,
                Fault::Delay(Duration::from_millis(1)),
            ));
        }
        let (loaded, version) = load(store).unwrap();
        assert_eq!(version, *written.current());
        assert_eq!(loaded.next_id(), written.next_id());
        clock.count()
    };
    for edits in [0, 1, 30] {
        assert_eq!(loads(edits, Manifest::load_at_once), 3, "{edits} edits");
    }
    let full = loads(FULL_EVERY - 1, Manifest::load_at_once);
    assert!((3..=4).contains(&full), "{full}");
    assert!(loads(30, Manifest::load) >= 33);
}

#[test]
fn objects_are_judged_in_their_order_and_only_up_to_the_end() {
    for at_once in [false, true] {
        let faults = FaultStore::new(Arc::new(MemoryStore::new()));
        let store: Arc<dyn ObjectStore> = Arc::new(faults.clone());
        let mut manifest = with_edits(&store, 10);
        let load = || match at_once {
            true => Manifest::load_at_once(store.clone()),
            false => Manifest::load(store.clone()),
        };
        // Behind the end there is nothing that could fail a load.
        let behind = manifest_key(manifest.next_id() + 3);
        faults.add(FaultRule {
            key_contains: behind,
            ..FaultRule::always(Operation::Get, Fault::Fail(ErrorKind::Unavailable))
        });
        assert_eq!(load().unwrap().1, *manifest.current());
        // Of two that are damaged the first is named; one that is out of reach before it goes before it.
        for id in [FULL_EVERY + 4, FULL_EVERY + 7] {
            store.put(&manifest_key(id), b"damaged").unwrap();
        }
        let error = load().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        let named = format!("manifest {}", FULL_EVERY + 4);
        assert!(error.message().contains(&named), "{error}");
        faults.add(FaultRule {
            key_contains: manifest_key(FULL_EVERY + 2),
            ..FaultRule::always(Operation::Get, Fault::Fail(ErrorKind::Unavailable))
        });
        assert_eq!(load().err().unwrap().kind(), ErrorKind::Unavailable);
        faults.heal();
        let edit = flush(&manifest);
        manifest.commit(&edit).unwrap();
        store.delete(&manifest_key(FULL_EVERY + 3)).unwrap();
        let error = load().err().unwrap();
        assert!(error.message().contains("but not"), "{error}");
    }
}

#[test]
fn loads_beside_a_writer_that_goes_on_find_no_gap() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let mut manifest = with_edits(&store, 0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loads = scope.spawn(|| {
            let mut last = 0;
            let mut loads = 0;
            while !done.load(Ordering::Relaxed) || loads < 20 {
                let (loaded, version) = Manifest::load_at_once(store.clone()).unwrap();
                assert!(loaded.next_id() >= last);
                // Each edit adds a file.
                assert_eq!(version.level(0).len() as u64, loaded.next_id() - 1);
                last = loaded.next_id();
                loads += 1;
            }
        });
        for _ in 0..600 {
            let edit = flush(&manifest);
            manifest.commit(&edit).unwrap();
            if manifest.trim_is_due() {
                Manifest::trim(&*store, manifest.next_id()).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        loads.join().unwrap();
    });
}
