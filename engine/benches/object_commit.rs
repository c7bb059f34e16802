//! Commits that are acknowledged by the store: how long one takes and how many there are per second, on stores that take a fixed time for each put.
//!
//! `cargo bench -p smartengine --bench object_commit`. Each client commits transactions of one row of 100 bytes, one after another. The two ratios that count are that of
//! one client's commit to the put, and that of 64 clients' throughput to one client's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use smartengine::internals::object_store::{Fault, FaultStore, MemoryStore, Operation, Rule};
use smartengine::{Durability, Engine, Isolation, Options};

const CLIENTS: [usize; 3] = [1, 8, 64];
const PUTS_MS: [u64; 3] = [5, 20, 100];
const ROUNDS: usize = 3;

/// Commits per second, and the median time of one in milliseconds.
fn measure(engine: &Engine, number: &AtomicU64, clients: usize, time: Duration) -> (f64, f64) {
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut times = Vec::new();
                    let mut txn = engine.begin(Isolation::RepeatableRead);
                    txn.set_durability(Durability::Object);
                    while !stop.load(Ordering::Relaxed) {
                        let begun = Instant::now();
                        let row = number.fetch_add(1, Ordering::Relaxed);
                        let key = [&1u32.to_be_bytes()[..], &row.to_be_bytes()].concat();
                        txn.insert(&key, &[7; 100]).unwrap();
                        txn.commit().unwrap();
                        times.push(begun.elapsed());
                        txn.restart(Isolation::RepeatableRead).unwrap();
                    }
                    times
                })
            })
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64() * 1e3;
    (times.len() as f64 / start.elapsed().as_secs_f64(), median)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    // Criterion's options mean nothing here.
    println!("put ms   clients   commits/s   commit ms   commit / put   throughput / one client's");
    for put in PUTS_MS {
        let dir = tempfile::tempdir().unwrap();
        let store = FaultStore::new(Arc::new(MemoryStore::new()));
        let mut options = Options::new(dir.path());
        options.store = Some(Arc::new(store.clone()));
        options.remote_wal = true;
        let engine = Engine::open(options).unwrap();
        assert_eq!(engine.create_index().unwrap().id(), 1);
        store.add(Rule::always(
            Operation::PutIfAbsent,
            Fault::Delay(Duration::from_millis(put)),
        ));
        let number = AtomicU64::new(0);
        let mut one = 0.0;
        for clients in CLIENTS {
            let time = Duration::from_millis(put * 30 + 700);
            let rounds: Vec<_> = (0..ROUNDS)
                .map(|_| measure(&engine, &number, clients, time))
                .collect();
            let rate = median(rounds.iter().map(|round| round.0).collect());
            let took = median(rounds.iter().map(|round| round.1).collect());
            if clients == 1 {
                one = rate;
            }
            println!(
                "{put:>6} {clients:>9} {rate:>11.0} {took:>11.2} {:>14.2} {:>27.1}",
                took / put as f64,
                rate / one
            );
        }
        store.heal();
        engine.close().unwrap();
    }
}
