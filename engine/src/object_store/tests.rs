use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::ErrorKind;
use crate::env::Clock;

/// A clock that only counts what was slept.
#[derive(Default)]
struct StillClock(Mutex<Duration>);

impl Clock for StillClock {
    fn now(&self) -> Duration {
        *self.0.lock()
    }

    fn sleep(&self, duration: Duration) {
        *self.0.lock() += duration;
    }

    fn unix_millis(&self) -> u64 {
        0
    }
}

fn store() -> (FaultStore, Arc<StillClock>) {
    let clock = Arc::new(StillClock::default());
    let inner = Arc::new(MemoryStore::new());
    (FaultStore::with_clock(inner, clock.clone(), 11), clock)
}

#[test]
fn faults_happen_when_and_where_they_are_told_to() {
    let (store, clock) = store();
    store.add(Rule {
        key_contains: "sst/".to_owned(),
        pass: 1,
        times: 2,
        ..Rule::always(Operation::Put, Fault::Fail(ErrorKind::Unavailable))
    });
    let results: Vec<bool> = (0..5).map(|_| store.put("sst/1", b"x").is_ok()).collect();
    assert_eq!(results, [true, false, false, true, true]);
    store.put("manifest/1", b"0123456789").unwrap();
    assert_eq!(store.count(Operation::Put), 6);

    store.add(Rule::once(Operation::Get, Fault::ShortRead));
    assert_eq!(store.get("manifest/1").unwrap(), "01234");
    store.add(Rule::once(Operation::Get, Fault::BitFlip));
    assert_eq!(store.get("manifest/1").unwrap(), "0123446789");
    let late = Fault::Delay(Duration::from_secs(9));
    store.add(Rule::once(Operation::Get, late));
    assert_eq!(store.get("manifest/1").unwrap(), "0123456789");
    assert_eq!(clock.now(), Duration::from_secs(9));
}

#[test]
fn an_ambiguous_call_has_done_its_work() {
    let (store, _) = store();
    let lost = Fault::Ambiguous(ErrorKind::Unavailable);
    store.add(Rule::once(Operation::PutIfAbsent, lost));
    assert!(store.put_if_absent("a", b"1").is_err());
    assert_eq!(store.get("a").unwrap(), "1");
    store.add(Rule::once(Operation::Finish, lost));
    let mut writer = store.writer("b").unwrap();
    writer.append(b"2").unwrap();
    assert!(writer.finish().is_err());
    assert_eq!(store.get("b").unwrap(), "2");
    store.add(Rule::once(
        Operation::Finish,
        Fault::Fail(ErrorKind::OutOfSpace),
    ));
    let error = store.writer("c").unwrap().finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    assert_eq!(store.get("c").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn random_faults_follow_the_seed() {
    let run = || {
        let (store, _) = store();
        store.put("a", b"1").unwrap();
        store.add(Rule {
            one_in: 4,
            ..Rule::always(Operation::Get, Fault::Fail(ErrorKind::Unavailable))
        });
        let results: Vec<bool> = (0..400).map(|_| store.get("a").is_ok()).collect();
        results
    };
    let first = run();
    let failed = first.iter().filter(|ok| !**ok).count();
    assert!((50..150).contains(&failed), "{failed}");
    assert_eq!(first, run());
}

#[test]
fn a_read_of_a_local_object_that_shrank_is_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    store.put("sst/1", &[1; 100]).unwrap();
    let reader = store.reader("sst/1").unwrap();
    let file = std::fs::OpenOptions::new();
    let file = file
        .clone()
        .write(true)
        .open(dir.path().join("sst/1"))
        .unwrap();
    file.set_len(50).unwrap();
    assert_eq!(
        reader.read(0..60).unwrap_err().kind(),
        ErrorKind::Corruption
    );
    assert_eq!(reader.read(0..50).unwrap().len(), 50);
}

#[test]
fn a_local_store_that_cannot_write_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    // An object stands where a folder would have to be.
    store.put("sst", b"in the way").unwrap();
    assert!(store.put("sst/1", b"x").is_err());
    assert!(store.put_if_absent("sst/1", b"x").is_err());
    let mut writer = store.writer("sst/1").unwrap();
    writer.append(b"x").unwrap();
    assert!(writer.finish().is_err());
    let left: Vec<_> = std::fs::read_dir(dir.path().join(".tmp"))
        .unwrap()
        .flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"], "temporary files of failed writes");
    let blocked = LocalStore::open(dir.path().join("sst")).err().unwrap();
    assert_ne!(blocked.kind(), ErrorKind::Corruption);
}
