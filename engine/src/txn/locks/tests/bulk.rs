//! Locks of which only fingerprints are kept are locks as others are.

use super::*;

/// Of each transaction the first two locks are explicit.
fn manager() -> LockManager {
    LockManager::with_explicit_locks(1000, 2)
}

fn fill(locks: &LockManager, txn: &mut TxnLocks) {
    for key in ["first", "second"] {
        let key = format!("{key} of {}", txn.id());
        locks.at_once(txn, &key, Exclusive).unwrap();
    }
}

#[test]
fn they_conflict_as_their_modes_say() {
    for (held, wanted, together) in [
        (Shared, Shared, true),
        (Shared, Exclusive, false),
        (Exclusive, Shared, false),
        (Exclusive, Exclusive, false),
    ] {
        let locks = manager();
        let [mut a, mut b] = txns();
        fill(&locks, &mut a);
        fill(&locks, &mut b);
        assert_eq!(locks.at_once(&mut a, "k", held).unwrap(), Granted::New);
        assert_eq!(locks.at_once(&mut a, "k", held).unwrap(), Granted::Held);
        assert_eq!((a.len(), locks.stats().held), (3, 5));
        let result = locks.at_once(&mut b, "k", wanted);
        assert_eq!(result.is_ok(), together, "{held:?} {wanted:?}");
        // The request of the other has made it explicit; it counts as before.
        let both = u64::from(together);
        assert_eq!(locks.stats().held, 5 + both);
        assert_eq!(locks.at_once(&mut a, "k", held).unwrap(), Granted::Held);
        locks.at_once(&mut b, "other", Exclusive).unwrap();
        locks.release_all(&mut a);
        locks.at_once(&mut b, "k", Exclusive).unwrap();
        locks.release_all(&mut b);
        assert!(locks.is_idle());
    }
}

#[test]
fn they_are_upgraded_waited_for_and_given_back() {
    let locks = manager();
    let [mut a, mut b, mut c] = txns();
    fill(&locks, &mut a);
    fill(&locks, &mut b);
    locks.at_once(&mut a, "up", Shared).unwrap();
    assert_eq!(
        locks.at_once(&mut a, "up", Exclusive).unwrap(),
        Granted::Stronger
    );
    assert!(locks.at_once(&mut c, "up", Shared).is_err());
    locks.at_once(&mut a, "k", Shared).unwrap();
    locks.at_once(&mut b, "k", Shared).unwrap();
    std::thread::scope(|scope| {
        let a = request(scope, &locks, a, "k", Exclusive);
        assert!(locks.at_once(&mut c, "k", Shared).is_err());
        locks.release(&mut b, b"k");
        let (mut a, granted) = a.join().unwrap();
        assert_eq!(granted.unwrap(), Granted::Stronger);
        locks.at_once(&mut a, "single", Exclusive).unwrap();
        let before = a.len();
        locks.release(&mut a, b"single");
        locks.release(&mut a, b"single");
        assert_eq!(a.len(), before - 1);
        locks.at_once(&mut c, "single", Exclusive).unwrap();
        let c = request(scope, &locks, c, "up", Exclusive);
        locks.release_all(&mut a);
        let (mut c, granted) = c.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut c);
    });
    locks.release_all(&mut b);
    assert!(locks.is_idle());
}

#[test]
fn a_scan_that_gives_back_what_it_rejects_keeps_little() {
    let locks = LockManager::new(u64::MAX);
    let [mut a] = txns();
    for number in 0..100_000u32 {
        let key = number.to_be_bytes();
        let wait = LockWait::NoWait;
        locks.acquire(&mut a, &key, Exclusive, wait).unwrap();
        // Every other step gives back the lock before the last.
        if number % 2 == 1 {
            locks.release(&mut a, &(number - 1).to_be_bytes());
            locks.release(&mut a, &key);
        }
    }
    assert!(a.is_empty() && a.keys.len() < 100);
    // In the order in which they were taken, too.
    for number in 0..1000u32 {
        let key = number.to_be_bytes();
        locks
            .acquire(&mut a, &key, Exclusive, LockWait::NoWait)
            .unwrap();
    }
    for number in 0..1000u32 {
        locks.release(&mut a, &number.to_be_bytes());
    }
    assert!(a.is_empty() && a.keys.len() < 100);
    locks.release_all(&mut a);
    assert!(locks.is_idle());
}
