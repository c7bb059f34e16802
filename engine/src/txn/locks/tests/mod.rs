//! Who gets a lock, when, and who is refused.

mod bulk;
mod gaps;
mod victims;

use std::sync::atomic::AtomicU32;
use std::thread::{Scope, ScopedJoinHandle};

use super::*;
use LockMode::{Exclusive, Shared};

const LONG: LockWait = LockWait::Timeout(Duration::from_secs(600));

fn manager() -> LockManager {
    LockManager::new(1000)
}

fn txns<const N: usize>() -> [TxnLocks; N] {
    std::array::from_fn(|id| TxnLocks::new(id as TxnId + 1, Isolation::RepeatableRead))
}

impl LockManager {
    fn at_once(&self, txn: &mut TxnLocks, key: &str, mode: LockMode) -> Result<Granted> {
        self.acquire(txn, key.as_bytes(), mode, LockWait::NoWait)
    }

    /// Returns once `count` requests in all have begun to wait.
    fn await_waits(&self, count: u64) {
        while self.stats().waits < count {
            std::thread::yield_now();
        }
    }

    fn is_idle(&self) -> bool {
        let locks: usize = self.shards.iter().map(|shard| shard.lock().len()).sum();
        locks == 0
            && self.graph.lock().waits().next().is_none()
            && self.stats().held == 0
            && self.gaps.is_empty()
    }
}

/// Requests a lock from a thread of its own and returns once the request waits.
fn request<'scope>(
    scope: &'scope Scope<'scope, '_>,
    locks: &'scope LockManager,
    mut txn: TxnLocks,
    key: &'static str,
    mode: LockMode,
) -> ScopedJoinHandle<'scope, (TxnLocks, Result<Granted>)> {
    let waits = locks.stats().waits;
    let thread = scope.spawn(move || {
        let result = locks.acquire(&mut txn, key.as_bytes(), mode, LONG);
        (txn, result)
    });
    locks.await_waits(waits + 1);
    thread
}

fn kind(result: Result<Granted>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn shared_goes_with_shared_and_exclusive_with_nothing() {
    for (held, wanted, together) in [
        (Shared, Shared, true),
        (Shared, Exclusive, false),
        (Exclusive, Shared, false),
        (Exclusive, Exclusive, false),
    ] {
        let locks = manager();
        let [mut a, mut b] = txns();
        assert_eq!(locks.at_once(&mut a, "k", held).unwrap(), Granted::New);
        let result = locks.at_once(&mut b, "k", wanted);
        assert_eq!(result.is_ok(), together, "{held:?} {wanted:?}");
        if !together {
            assert_eq!(kind(result), ErrorKind::LockNotAvailable);
        }
        // Another key is another lock, and one's own lock is no obstacle.
        assert_eq!(
            locks.at_once(&mut b, "other", wanted).unwrap(),
            Granted::New
        );
        assert_eq!(locks.at_once(&mut a, "k", held).unwrap(), Granted::Held);
        assert_eq!(a.len(), 1);
        locks.release_all(&mut a);
        locks.release_all(&mut b);
        assert!(locks.is_idle());
    }
}

#[test]
fn a_weaker_request_keeps_the_stronger_lock() {
    let locks = manager();
    let [mut a, mut b] = txns();
    locks.at_once(&mut a, "k", Exclusive).unwrap();
    assert_eq!(locks.at_once(&mut a, "k", Shared).unwrap(), Granted::Held);
    assert!(locks.at_once(&mut b, "k", Shared).is_err());
    locks.release(&mut a, b"k");
    locks.release(&mut a, b"k");
    assert!(locks.at_once(&mut b, "k", Exclusive).is_ok());
}

#[test]
fn first_come_first_served() {
    let locks = manager();
    let [mut a, b, c, d, mut late] = txns();
    locks.at_once(&mut a, "k", Exclusive).unwrap();
    std::thread::scope(|scope| {
        let b = request(scope, &locks, b, "k", Shared);
        let c = request(scope, &locks, c, "k", Exclusive);
        let d = request(scope, &locks, d, "k", Shared);
        locks.release_all(&mut a);
        let (mut b, granted) = b.join().unwrap();
        granted.unwrap();
        // A shared request fits the holder, but does not pass the exclusive one that waits.
        assert!(locks.at_once(&mut late, "k", Shared).is_err());
        assert!(!c.is_finished() && !d.is_finished());
        locks.release_all(&mut b);
        let (mut c, granted) = c.join().unwrap();
        granted.unwrap();
        assert!(!d.is_finished());
        locks.release_all(&mut c);
        let (mut d, granted) = d.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut d);
    });
    assert!(locks.is_idle());
    assert_eq!(locks.stats().waits, 3);
}

#[test]
fn an_upgrade_goes_before_those_that_hold_nothing() {
    let locks = manager();
    let [mut a, mut b, c] = txns();
    locks.at_once(&mut a, "alone", Shared).unwrap();
    assert_eq!(
        locks.at_once(&mut a, "alone", Exclusive).unwrap(),
        Granted::Stronger
    );
    locks.at_once(&mut a, "k", Shared).unwrap();
    locks.at_once(&mut b, "k", Shared).unwrap();
    std::thread::scope(|scope| {
        let c = request(scope, &locks, c, "k", Exclusive);
        let a = request(scope, &locks, a, "k", Exclusive);
        locks.release_all(&mut b);
        let (mut a, granted) = a.join().unwrap();
        assert_eq!(granted.unwrap(), Granted::Stronger);
        assert!(!c.is_finished());
        locks.release_all(&mut a);
        let (mut c, granted) = c.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut c);
    });
    assert!(locks.is_idle());
}

#[test]
fn of_two_upgrades_the_second_is_refused() {
    let locks = manager();
    let [mut a, mut b] = txns();
    locks.at_once(&mut a, "k", Shared).unwrap();
    locks.at_once(&mut b, "k", Shared).unwrap();
    std::thread::scope(|scope| {
        let a = request(scope, &locks, a, "k", Exclusive);
        let refused = locks.acquire(&mut b, b"k", Exclusive, LONG);
        assert_eq!(kind(refused), ErrorKind::Deadlock);
        // The victim still holds its shared lock until it is rolled back.
        assert!(!a.is_finished());
        locks.release_all(&mut b);
        let (mut a, granted) = a.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut a);
    });
    assert!(locks.is_idle());
    assert_eq!(locks.stats().deadlocks, 1);
}

#[test]
fn the_request_that_closes_a_cycle_is_refused_however_long_the_cycle() {
    for length in 2..6 {
        let locks = manager();
        let keys = ["a", "b", "c", "d", "e"];
        let mut all: Vec<TxnLocks> = (1..=length)
            .map(|id| TxnLocks::new(id, Isolation::RepeatableRead))
            .collect();
        for (txn, key) in all.iter_mut().zip(keys) {
            locks.at_once(txn, key, Exclusive).unwrap();
        }
        let mut last = all.pop().unwrap();
        std::thread::scope(|scope| {
            let waiting: Vec<_> = all
                .drain(..)
                .zip(&keys[1..])
                .map(|(txn, key)| request(scope, &locks, txn, key, Shared))
                .collect();
            let refused = locks.acquire(&mut last, b"a", Shared, LONG);
            assert_eq!(kind(refused), ErrorKind::Deadlock);
            locks.release_all(&mut last);
            for waiting in waiting.into_iter().rev() {
                let (mut txn, granted) = waiting.join().unwrap();
                granted.unwrap();
                locks.release_all(&mut txn);
            }
        });
        assert!(locks.is_idle());
    }
}

#[test]
fn whoever_gave_a_lock_back_is_waited_for_no_more() {
    let locks = manager();
    let [mut a, b, mut c] = txns();
    locks.at_once(&mut a, "k", Exclusive).unwrap();
    locks.at_once(&mut c, "other", Exclusive).unwrap();
    std::thread::scope(|scope| {
        let b = request(scope, &locks, b, "k", Exclusive);
        let c = request(scope, &locks, c, "k", Exclusive);
        locks.release(&mut a, b"k");
        let (mut b, granted) = b.join().unwrap();
        granted.unwrap();
        // c waits for b now, so a may wait for c.
        let a = request(scope, &locks, a, "other", Exclusive);
        locks.release_all(&mut b);
        let (mut c, granted) = c.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut c);
        let (mut a, granted) = a.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut a);
    });
    assert!(locks.is_idle());
    assert_eq!(locks.stats().deadlocks, 0);
}

#[test]
fn whoever_gave_up_waiting_is_waited_for_no_more() {
    let locks = manager();
    let [mut a, b, mut c] = txns();
    locks.at_once(&mut a, "k", Exclusive).unwrap();
    locks.at_once(&mut c, "other", Exclusive).unwrap();
    std::thread::scope(|scope| {
        let b = request(scope, &locks, b, "k", Exclusive);
        let c = request(scope, &locks, c, "k", Exclusive);
        locks.interrupt(2);
        let (b, refused) = b.join().unwrap();
        assert_eq!(kind(refused), ErrorKind::Interrupted);
        let b = request(scope, &locks, b, "other", Exclusive);
        locks.release_all(&mut a);
        let (mut c, granted) = c.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut c);
        let (mut b, granted) = b.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut b);
    });
    assert!(locks.is_idle());
}

#[test]
fn waiting_ends_in_time_and_leaves_no_trace() {
    let locks = manager();
    let [mut a, mut b, c] = txns();
    locks.at_once(&mut a, "k", Shared).unwrap();
    let wait = LockWait::Timeout(Duration::from_millis(1));
    let error = locks.acquire(&mut b, b"k", Exclusive, wait).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LockTimeout);
    assert!(error.message().contains("1 ms"), "{error}");
    assert_eq!((b.len(), locks.stats().timeouts), (0, 1));
    // Those behind one that gives up are served if they can be.
    std::thread::scope(|scope| {
        let b = request(scope, &locks, b, "k", Exclusive);
        let c = request(scope, &locks, c, "k", Shared);
        locks.interrupt(2);
        assert_eq!(kind(b.join().unwrap().1), ErrorKind::Interrupted);
        let (mut c, granted) = c.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut c);
    });
    locks.release_all(&mut a);
    assert!(locks.is_idle());
}

#[test]
fn any_timeout_will_do() {
    let locks = manager();
    let [mut a, mut b] = txns();
    locks.at_once(&mut a, "k", Exclusive).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let forever = LockWait::Timeout(Duration::MAX);
            locks.acquire(&mut b, b"k", Exclusive, forever).unwrap();
        });
        locks.await_waits(1);
        locks.release_all(&mut a);
        waiting.join().unwrap();
    });
    let [_, _, mut c] = txns();
    let now = LockWait::Timeout(Duration::ZERO);
    let refused = locks.acquire(&mut c, b"k", Shared, now);
    assert_eq!(kind(refused), ErrorKind::LockTimeout);
}

#[test]
fn an_interrupt_that_meets_the_grant_leaves_the_lock_held_or_not_never_between() {
    let locks = manager();
    let (mut granted, mut interrupted) = (0, 0);
    for round in 0..300u64 {
        let mut a = TxnLocks::new(3 * round + 1, Isolation::RepeatableRead);
        let b = TxnLocks::new(3 * round + 2, Isolation::RepeatableRead);
        let mut c = TxnLocks::new(3 * round + 3, Isolation::RepeatableRead);
        locks.at_once(&mut a, "k", Exclusive).unwrap();
        std::thread::scope(|scope| {
            let waiting = request(scope, &locks, b, "k", Exclusive);
            let killer = scope.spawn(|| locks.interrupt(3 * round + 2));
            locks.release_all(&mut a);
            killer.join().unwrap();
            let (mut b, result) = waiting.join().unwrap();
            match result {
                Ok(_) => {
                    granted += 1;
                    assert!(locks.at_once(&mut c, "k", Shared).is_err());
                    locks.release_all(&mut b);
                }
                Err(error) => {
                    interrupted += 1;
                    assert_eq!(error.kind(), ErrorKind::Interrupted);
                    assert_eq!(b.len(), 0);
                    locks.at_once(&mut c, "k", Exclusive).unwrap();
                    locks.release_all(&mut c);
                }
            }
        });
        assert!(locks.is_idle());
    }
    assert_eq!(granted + interrupted, 300);
}

#[test]
fn an_interrupt_that_comes_too_soon_meets_the_next_wait_until_it_is_forgotten() {
    let locks = manager();
    let [mut a, mut b] = txns();
    locks.at_once(&mut a, "k", Exclusive).unwrap();
    locks.interrupt(2);
    locks.interrupt(2);
    // What needs no waiting is not interrupted.
    locks.at_once(&mut b, "l", Exclusive).unwrap();
    let refused = locks.acquire(&mut b, b"k", Exclusive, LONG);
    assert_eq!(kind(refused), ErrorKind::Interrupted);
    let short = LockWait::Timeout(Duration::from_millis(1));
    let refused = locks.acquire(&mut b, b"k", Exclusive, short);
    assert_eq!(kind(refused), ErrorKind::LockTimeout);
    locks.interrupt(2);
    locks.forget_interrupt(2);
    let refused = locks.acquire(&mut b, b"k", Exclusive, short);
    assert_eq!(kind(refused), ErrorKind::LockTimeout);
    locks.interrupt(2);
    locks.release_all(&mut b);
    assert_eq!(locks.interrupted.load(Ordering::Relaxed), 0);
    locks.release_all(&mut a);
    assert!(locks.is_idle());
}

#[test]
fn a_transaction_locks_only_so_many_rows() {
    let locks = LockManager::new(2);
    let [mut a, mut b] = txns();
    locks.at_once(&mut a, "1", Shared).unwrap();
    locks.at_once(&mut a, "2", Shared).unwrap();
    let error = locks.at_once(&mut a, "3", Shared).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LockLimit);
    assert!(error.message().contains("at most 2"), "{error}");
    locks.at_once(&mut a, "2", Exclusive).unwrap();
    locks.at_once(&mut b, "3", Exclusive).unwrap();
    locks.set_max_per_txn(3);
    locks.at_once(&mut a, "4", Shared).unwrap();
    assert_eq!(locks.stats().held, 4);
}

#[test]
fn threads_that_fight_over_few_keys_exclude_each_other_and_all_come_to_an_end() {
    let locks = manager();
    let inside: [AtomicU32; 4] = Default::default();
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let (locks, inside) = (&locks, &inside);
            scope.spawn(move || {
                let mut sequence = crate::env::Sequence::new(thread);
                let mut txn = TxnLocks::new(thread + 1, Isolation::RepeatableRead);
                let mut exclusive = [false; 4];
                for _ in 0..1500 {
                    let key = sequence.below(4) as usize;
                    let mode = match sequence.below(2) {
                        0 => Shared,
                        _ => Exclusive,
                    };
                    let wait = match sequence.below(8) {
                        0 => LockWait::NoWait,
                        1 => LockWait::Timeout(Duration::from_micros(200)),
                        _ => LONG,
                    };
                    let give_up = match locks.acquire(&mut txn, &[key as u8], mode, wait) {
                        Ok(_) if mode == Exclusive && !exclusive[key] => {
                            exclusive[key] = true;
                            assert_eq!(inside[key].fetch_add(1, Ordering::SeqCst), 0);
                            false
                        }
                        Ok(_) => {
                            let others = u32::from(exclusive[key]);
                            assert_eq!(inside[key].load(Ordering::SeqCst), others);
                            false
                        }
                        Err(error) => error.kind() == ErrorKind::Deadlock,
                    };
                    if give_up || sequence.below(4) == 0 {
                        for (key, held) in exclusive.iter_mut().enumerate() {
                            inside[key]
                                .fetch_sub(u32::from(std::mem::take(held)), Ordering::SeqCst);
                        }
                        locks.release_all(&mut txn);
                    }
                }
                for (key, held) in exclusive.iter().enumerate() {
                    inside[key].fetch_sub(u32::from(*held), Ordering::SeqCst);
                }
                locks.release_all(&mut txn);
            });
        }
    });
    assert!(locks.is_idle());
}

#[test]
fn a_lock_made_weaker_is_shared_with_those_who_wait_in_front() {
    let locks = manager();
    let [mut a, b, c] = txns();
    locks.at_once(&mut a, "k", Exclusive).unwrap();
    std::thread::scope(|scope| {
        let shared = request(scope, &locks, b, "k", Shared);
        let exclusive = request(scope, &locks, c, "k", Exclusive);
        locks.downgrade(&a, b"k");
        let (mut b, granted) = shared.join().unwrap();
        assert_eq!(granted.unwrap(), Granted::New);
        locks.release_all(&mut b);
        assert_eq!(locks.stats().held, 1);
        locks.release_all(&mut a);
        let (mut c, granted) = exclusive.join().unwrap();
        assert_eq!(granted.unwrap(), Granted::New);
        locks.release_all(&mut c);
    });
    assert!(locks.is_idle());
}

#[test]
fn an_observer_is_told_of_each_who_is_waited_for() {
    let locks = manager();
    let [mut a, mut b, mut c] = txns();
    for (txn, label) in [(&mut a, 1), (&mut b, 2), (&mut c, 3)] {
        txn.set_label(label);
    }
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = told.clone();
    // A request counts as waiting before it tells of it.
    let wait_for = |count: usize| {
        while told.lock().unwrap().len() < count {
            std::thread::yield_now();
        }
        told.lock().unwrap().clone()
    };
    locks.observe_waits(Box::new(move |waiting, awaited| {
        sink.lock().unwrap().push((waiting, awaited));
    }));
    locks.at_once(&mut a, "k", Shared).unwrap();
    locks.at_once(&mut c, "k", Shared).unwrap();
    assert_eq!(*told.lock().unwrap(), []);
    std::thread::scope(|scope| {
        let exclusive = request(scope, &locks, b, "k", Exclusive);
        assert_eq!(wait_for(2), [(2, 1), (2, 3)]);
        // It goes before who waits already, and waits itself.
        let stronger = request(scope, &locks, a, "k", Exclusive);
        assert_eq!(wait_for(4)[2..], [(2, 1), (1, 3)]);
        locks.release_all(&mut c);
        let (mut a, granted) = stronger.join().unwrap();
        assert_eq!(granted.unwrap(), Granted::Stronger);
        locks.release_all(&mut a);
        let (mut b, granted) = exclusive.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut b);
    });
}
