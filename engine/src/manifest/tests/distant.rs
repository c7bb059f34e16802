//! Loads of a store that is far away, and of one that is written to meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;

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
    const LATENCY: Duration = Duration::from_millis(40);
    for edits in [0, 1, 30, FULL_EVERY - 1] {
        let faults = FaultStore::new(Arc::new(MemoryStore::new()));
        let store: Arc<dyn ObjectStore> = Arc::new(faults.clone());
        let written = with_edits(&store, edits);
        for operation in [Operation::Get, Operation::List] {
            faults.add(FaultRule::always(operation, Fault::Delay(LATENCY)));
        }
        let trips = |load: &dyn Fn() -> Result<(Manifest, Version)>| {
            let start = Instant::now();
            let (loaded, version) = load().unwrap();
            assert_eq!(version, *written.current());
            assert_eq!(loaded.next_id(), written.next_id());
            start.elapsed().as_secs_f64() / LATENCY.as_secs_f64()
        };
        let at_once = trips(&|| Manifest::load_at_once(store.clone()));
        // Three, and what threads take on a busy machine; a full load by one after the other takes 67.
        let most = if edits == FULL_EVERY - 1 { 4.0 } else { 3.0 } + 3.0;
        assert!((3.0..most).contains(&at_once), "{edits} edits: {at_once}");
        if edits == 30 {
            let in_turn = trips(&|| Manifest::load(store.clone()));
            assert!(in_turn >= 34.0, "{in_turn}, at once {at_once}");
        }
    }
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
