//! Who gives way where transactions wait for each other in a circle.

use super::*;

/// Gives a transaction further locks, on keys that nobody else wants.
fn make_heavier(locks: &LockManager, txn: &mut TxnLocks, by: usize) {
    for number in 0..by {
        let key = format!("only {} {number}", txn.id());
        locks.at_once(txn, &key, Exclusive).unwrap();
    }
}

#[test]
fn the_cheapest_of_the_circle_gives_way_though_it_came_first() {
    let locks = manager();
    let [mut a, mut b, mut c] = txns();
    for (txn, key, more) in [(&mut a, "a", 5), (&mut b, "b", 2), (&mut c, "c", 9)] {
        locks.at_once(txn, key, Exclusive).unwrap();
        make_heavier(&locks, txn, more);
    }
    std::thread::scope(|scope| {
        let a = request(scope, &locks, a, "b", Exclusive);
        let b = request(scope, &locks, b, "c", Exclusive);
        let c = request(scope, &locks, c, "a", Exclusive);
        // The victim still holds what it had until it is rolled back.
        let (mut b, refused) = b.join().unwrap();
        assert_eq!(kind(refused), ErrorKind::Deadlock);
        assert!(!a.is_finished() && !c.is_finished());
        let (_, told) = locks.last_deadlock().unwrap();
        assert!(told.ends_with("transaction 2 is the victim"), "{told}");
        assert_eq!(told.lines().count(), 4);
        locks.release_all(&mut b);
        let (mut a, granted) = a.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut a);
        let (mut c, granted) = c.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut c);
    });
    assert!(locks.is_idle());
    assert_eq!(locks.stats().deadlocks, 1);
}

#[test]
fn writes_weigh_as_locks_do() {
    let locks = manager();
    let [mut a, mut b] = txns();
    locks.at_once(&mut a, "a", Exclusive).unwrap();
    locks.at_once(&mut b, "b", Exclusive).unwrap();
    a.note_writes(3, 1000);
    b.note_writes(4, 1000);
    std::thread::scope(|scope| {
        let a = request(scope, &locks, a, "b", Exclusive);
        let b = request(scope, &locks, b, "a", Exclusive);
        let (mut a, refused) = a.join().unwrap();
        assert_eq!(kind(refused), ErrorKind::Deadlock);
        locks.release_all(&mut a);
        let (mut b, granted) = b.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut b);
    });
    assert!(locks.is_idle());
}

#[test]
fn one_request_that_closes_two_circles_has_a_victim_in_each() {
    let locks = manager();
    let [mut a, mut b, mut c] = txns();
    make_heavier(&locks, &mut c, 5);
    locks.at_once(&mut a, "k", Shared).unwrap();
    locks.at_once(&mut b, "k", Shared).unwrap();
    locks.at_once(&mut c, "c", Exclusive).unwrap();
    std::thread::scope(|scope| {
        let a = request(scope, &locks, a, "c", Shared);
        let b = request(scope, &locks, b, "c", Shared);
        let c = request(scope, &locks, c, "k", Exclusive);
        for victim in [a, b] {
            let (mut victim, refused) = victim.join().unwrap();
            assert_eq!(kind(refused), ErrorKind::Deadlock);
            locks.release_all(&mut victim);
        }
        let (mut c, granted) = c.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut c);
    });
    assert!(locks.is_idle());
    assert_eq!(locks.stats().deadlocks, 2);
}

#[test]
fn who_shares_a_lock_is_not_waited_for_but_through_who_wants_it_alone() {
    let locks = manager();
    let [mut a, b, mut c] = txns();
    for key in ["1", "2"] {
        locks.at_once(&mut a, key, Shared).unwrap();
    }
    locks.at_once(&mut c, "1", Shared).unwrap();
    std::thread::scope(|scope| {
        let b = request(scope, &locks, b, "2", Exclusive);
        let c = request(scope, &locks, c, "2", Shared);
        // a waits for c, that for b, that for a; b has nothing to lose.
        let a = request(scope, &locks, a, "1", Exclusive);
        let (mut b, refused) = b.join().unwrap();
        assert_eq!(kind(refused), ErrorKind::Deadlock);
        locks.release_all(&mut b);
        let (mut c, granted) = c.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut c);
        let (mut a, granted) = a.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut a);
    });
    assert!(locks.is_idle());
}

#[test]
fn an_upgrade_is_waited_for_by_those_it_goes_before() {
    let locks = manager();
    let [mut a, b, mut c] = txns();
    make_heavier(&locks, &mut c, 9);
    locks.at_once(&mut a, "k", Shared).unwrap();
    locks.at_once(&mut c, "c", Exclusive).unwrap();
    std::thread::scope(|scope| {
        let b = request(scope, &locks, b, "k", Exclusive);
        let c = request(scope, &locks, c, "k", Shared);
        assert_eq!(
            locks.at_once(&mut a, "k", Exclusive).unwrap(),
            Granted::Stronger
        );
        locks.interrupt(2);
        assert_eq!(kind(b.join().unwrap().1), ErrorKind::Interrupted);
        // Nobody is between them any more, and c waits for a still.
        let refused = locks.acquire(&mut a, b"c", Exclusive, LONG);
        assert_eq!(kind(refused), ErrorKind::Deadlock);
        locks.release_all(&mut a);
        let (mut c, granted) = c.join().unwrap();
        granted.unwrap();
        locks.release_all(&mut c);
    });
    assert!(locks.is_idle());
}
