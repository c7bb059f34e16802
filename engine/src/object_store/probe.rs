//! Asks a store whether it keeps the one promise on which everything rests: put-if-absent.
//!
//! Two writers tell by nothing else which of them owns the store: whoever creates the next manifest edit or WAL chunk does. A store that lets a second
//! creation of a key succeed lets both believe so, and each overwrites what the other acknowledged. Some servers that speak S3's protocol
//! ignore `If-None-Match`, others check it only while nobody else is at the same key; so both are tried here, before anything is written.
//!
//! The objects of a probe lie under `probe/`, are removed at its end, and have names that no other probe has. A crash leaves some of
//! them; nothing reads them.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::ObjectStore;
use crate::env::{Clock, SystemClock, unique_u128};
use crate::{Error, ErrorKind, Result, ResultExt};

/// How many create one key at once.
const RACERS: usize = 5;
/// How often they do.
const ROUNDS: usize = 3;
/// No further round is begun after this.
const ENOUGH: Duration = Duration::from_millis(100);
const WHY: &str = "two servers on it would each believe that they own it and destroy what the other acknowledged; \
                   use S3 itself or a server that enforces If-None-Match on PUT";

/// Refuses a store that lets a key be created twice, one after the other or at once: [`ErrorKind::Invalid`]. That it
/// cannot be reached is passed on as it is.
pub fn probe_put_if_absent(store: &Arc<dyn ObjectStore>) -> Result<()> {
    let clock = SystemClock::new();
    let name = format!("probe/{:032x}", unique_u128()?);
    let mut result = probe_existing(&**store, &name);
    for round in 0..ROUNDS {
        if result.is_err() || (round > 0 && clock.now() > ENOUGH) {
            break;
        }
        result = probe_race(&**store, &format!("{name}-{round}"));
    }
    result.context(|| "probe put-if-absent")
}

/// Whether a key that exists is left alone.
fn probe_existing(store: &dyn ObjectStore, key: &str) -> Result<()> {
    let check = || {
        store.put_if_absent(key, b"first")?;
        match store.put_if_absent(key, b"second") {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => {
                return refuse(
                    "it created an object whose key was taken, as if put-if-absent had been a plain put",
                );
            }
        }
        if store.get(key)? != b"first".as_slice() {
            return refuse(
                "it refused to create an object whose key was taken, and replaced it all the same",
            );
        }
        Ok(())
    };
    let result = check();
    clean(store, key);
    result
}

/// Whether of several who create a key at once one succeeds.
fn probe_race(store: &dyn ObjectStore, key: &str) -> Result<()> {
    let barrier = Barrier::new(RACERS);
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|racer| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    store.put_if_absent(key, data(racer).as_bytes())
                })
            })
            .collect();
        let panicked = |_| Err(Error::new(ErrorKind::Internal, "a racer panicked"));
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap_or_else(panicked))
            .collect()
    });
    let result = check_winners(store, key, &results);
    clean(store, key);
    result
}

fn check_winners(store: &dyn ObjectStore, key: &str, results: &[Result<()>]) -> Result<()> {
    let mut winners = Vec::new();
    for (racer, result) in results.iter().enumerate() {
        match result {
            Ok(()) => winners.push(racer),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::new(error.kind(), error.message())),
        }
    }
    match winners[..] {
        [winner] if store.get(key)? == data(winner).as_bytes() => Ok(()),
        [_] => refuse(
            "of several who created one key at once it told one that it succeeded, and kept another's object",
        ),
        [] => refuse("of several who created one key at once none succeeded"),
        _ => refuse(&format!(
            "of {RACERS} who created one key at once {} succeeded",
            winners.len()
        )),
    }
}

/// What a racer writes; all differ.
fn data(racer: usize) -> String {
    format!("racer {racer}")
}

fn refuse(what: &str) -> Result<()> {
    Err(Error::invalid(format!(
        "the store is not safe: {what}; {WHY}"
    )))
}

fn clean(store: &dyn ObjectStore, key: &str) {
    // What stays behind is of no consequence, and the probe's answer counts.
    let _ = store.delete(key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_store::{
        Fault, FaultStore, MemoryStore, MeteredStore, Operation, Rule, Wrapped, Wrapper,
    };

    /// What is wrong with a store.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Defect {
        /// Put-if-absent is a put.
        Ignored,
        /// It looks and then puts, so that several see a free key.
        Racy,
        /// It says that the key is taken, and replaces the object.
        Replaced,
    }

    struct Broken {
        inner: MemoryStore,
        defect: Defect,
    }

    impl Wrapper for Broken {
        fn inner(&self) -> &dyn ObjectStore {
            &self.inner
        }
        fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
            match self.defect {
                Defect::Ignored => self.inner.put(key, data),
                Defect::Racy => {
                    let free = self.inner.get(key).is_err();
                    std::thread::sleep(Duration::from_millis(5));
                    match free {
                        true => self.inner.put(key, data),
                        false => self.inner.put_if_absent(key, data),
                    }
                }
                Defect::Replaced => {
                    let result = self.inner.put_if_absent(key, data);
                    self.inner.put(key, data)?;
                    result
                }
            }
        }
    }

    #[test]
    fn a_good_store_passes_and_nothing_stays_behind() {
        let (store, meter) = MeteredStore::wrap(Arc::new(MemoryStore::new()));
        probe_put_if_absent(&store).unwrap();
        let requests: u64 = meter.stats().iter().map(|stats| stats.requests).sum();
        assert!(
            requests <= 4 + ROUNDS as u64 * (RACERS as u64 + 2),
            "{requests}"
        );
        assert!(store.list("", "", 10).unwrap().is_empty());
    }

    #[test]
    fn each_defect_is_named_and_nothing_stays_behind() {
        for (defect, named) in [
            (Defect::Ignored, "plain put"),
            (Defect::Racy, "succeeded"),
            (Defect::Replaced, "replaced it all the same"),
        ] {
            let store: Arc<dyn ObjectStore> = Arc::new(Wrapped(Broken {
                inner: MemoryStore::new(),
                defect,
            }));
            let error = probe_put_if_absent(&store).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{defect:?}");
            assert!(error.message().contains(named), "{error}");
            assert!(error.message().contains("two servers"), "{error}");
            assert!(store.list("", "", 10).unwrap().is_empty(), "{defect:?}");
        }
    }

    #[test]
    fn a_store_that_is_away_is_not_called_unsafe() {
        let faults = FaultStore::new(Arc::new(MemoryStore::new()));
        let away = Fault::Fail(ErrorKind::Unavailable);
        faults.add(Rule {
            pass: 4,
            ..Rule::always(Operation::PutIfAbsent, away)
        });
        let store: Arc<dyn ObjectStore> = Arc::new(faults);
        let error = probe_put_if_absent(&store).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}
