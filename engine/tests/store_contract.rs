//! What every object store promises, asked of each backend in turn.
//!
//! A new backend is added to [`backends`] and has to pass all of it. With the crate's feature `s3` and SMARTENGINE_TEST_S3_URL in the
//! environment (`cargo xtask test` sets it, and `cargo xtask s3 up` says what to set), the bucket there is one more.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};

use smartengine::ErrorKind;
use smartengine::internals::env::{Sequence, unique_u128};
use smartengine::internals::object_store::{
    FaultStore, LocalStore, MemoryStore, MeteredStore, probe_put_if_absent,
};
use smartengine::object_store::{ObjectStore, open_store};

/// A backend under test, and what has to stay alive for it.
struct Backend {
    name: &'static str,
    store: Arc<dyn ObjectStore>,
    /// Whether an open reader holds on to an object that is deleted.
    readers_hold: bool,
    _dir: Option<tempfile::TempDir>,
}

fn backends() -> Vec<Backend> {
    let dir = tempfile::tempdir().unwrap();
    let by_url = tempfile::tempdir().unwrap();
    let url = format!("file://{}", by_url.path().display());
    let mut backends = vec![
        Backend {
            name: "memory",
            store: Arc::new(MemoryStore::new()),
            readers_hold: true,
            _dir: None,
        },
        Backend {
            name: "local",
            store: Arc::new(LocalStore::open(dir.path()).unwrap()),
            readers_hold: true,
            _dir: Some(dir),
        },
        Backend {
            name: "local by URL",
            store: open_store(&url).unwrap(),
            readers_hold: true,
            _dir: Some(by_url),
        },
        Backend {
            name: "fault without rules",
            store: Arc::new(FaultStore::new(Arc::new(MemoryStore::new()))),
            readers_hold: true,
            _dir: None,
        },
        Backend {
            name: "metered",
            store: MeteredStore::wrap(Arc::new(MemoryStore::new())).0,
            readers_hold: true,
            _dir: None,
        },
    ];
    backends.extend(bucket());
    backends
}

/// An empty prefix in the bucket that the environment names.
fn bucket() -> Option<Backend> {
    let url = std::env::var("SMARTENGINE_TEST_S3_URL").ok()?;
    let (place, query) = url.split_once('?').unwrap_or((&url, ""));
    let url = format!(
        "{}/{:032x}?{query}",
        place.trim_end_matches('/'),
        unique_u128().unwrap()
    );
    Some(Backend {
        name: "s3",
        store: open_store(&url).unwrap(),
        readers_hold: false,
        _dir: None,
    })
}

fn kind<T>(result: smartengine::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn put_creates_and_replaces() {
    for backend in backends() {
        let store = &backend.store;
        store.put("CURRENT", b"one").unwrap();
        store.put("CURRENT", b"three").unwrap();
        assert_eq!(store.get("CURRENT").unwrap(), "three", "{}", backend.name);
        store.put("deep/er/key", b"").unwrap();
        assert_eq!(store.get("deep/er/key").unwrap(), "");
        assert_eq!(store.size("deep/er/key").unwrap(), 0);
    }
}

#[test]
fn put_if_absent_never_replaces() {
    for backend in backends() {
        let store = &backend.store;
        store.put_if_absent("manifest/1", b"first").unwrap();
        let again = store.put_if_absent("manifest/1", b"second");
        assert_eq!(
            kind(again),
            Some(ErrorKind::AlreadyExists),
            "{}",
            backend.name
        );
        assert_eq!(store.get("manifest/1").unwrap(), "first");
        store.delete("manifest/1").unwrap();
        store.put_if_absent("manifest/1", b"third").unwrap();
        assert_eq!(store.get("manifest/1").unwrap(), "third");
    }
}

#[test]
fn of_six_who_race_one_wins() {
    const RACERS: usize = 6;
    for backend in backends() {
        for round in 0..30 {
            let key = format!("manifest/{round:020}");
            let barrier = Barrier::new(RACERS);
            let won: Vec<usize> = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..RACERS)
                    .map(|racer| {
                        let (store, key, barrier) = (&backend.store, &key, &barrier);
                        scope.spawn(move || {
                            let data = vec![racer as u8; 3000];
                            barrier.wait();
                            match store.put_if_absent(key, &data) {
                                Ok(()) => true,
                                Err(error) => {
                                    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                                    // Whoever is told that it exists can read it whole.
                                    assert_eq!(store.get(key).unwrap().len(), 3000);
                                    false
                                }
                            }
                        })
                    })
                    .collect();
                let results = racers.into_iter().map(|racer| racer.join().unwrap());
                results
                    .enumerate()
                    .filter(|(_, won)| *won)
                    .map(|(racer, _)| racer)
                    .collect()
            });
            assert_eq!(won.len(), 1, "{} round {round}", backend.name);
            assert_eq!(backend.store.get(&key).unwrap(), vec![won[0] as u8; 3000]);
        }
    }
}

#[test]
fn a_writer_and_put_if_absent_race_for_a_key() {
    for backend in backends() {
        let store = &backend.store;
        let mut early = store.writer("sst/1.sst").unwrap();
        early.append(b"early").unwrap();
        store.put_if_absent("sst/1.sst", b"winner").unwrap();
        assert_eq!(
            kind(early.finish()),
            Some(ErrorKind::AlreadyExists),
            "{}",
            backend.name
        );
        assert_eq!(store.get("sst/1.sst").unwrap(), "winner");
    }
}

#[test]
fn an_object_written_in_pieces_appears_whole_or_never() {
    for backend in backends() {
        let store = &backend.store;
        let mut expected = Vec::new();
        let mut writer = store.writer("sst/big.sst").unwrap();
        for (i, len) in [0, 1, 300_000, 17, 256 << 10, 100_000, 200_000, 5]
            .iter()
            .enumerate()
        {
            let piece = vec![i as u8; *len];
            writer.append(&piece).unwrap();
            expected.extend_from_slice(&piece);
        }
        assert_eq!(kind(store.get("sst/big.sst")), Some(ErrorKind::NotFound));
        assert!(
            store.list("", "", 10).unwrap().is_empty(),
            "{}",
            backend.name
        );
        writer.finish().unwrap();
        assert!(store.get("sst/big.sst").unwrap() == expected);

        let mut dropped = store.writer("sst/dropped.sst").unwrap();
        dropped.append(&expected).unwrap();
        drop(dropped);
        assert_eq!(
            kind(store.get("sst/dropped.sst")),
            Some(ErrorKind::NotFound)
        );
        let empty = store.writer("sst/empty.sst").unwrap();
        empty.finish().unwrap();
        assert_eq!(store.size("sst/empty.sst").unwrap(), 0);
    }
}

#[test]
fn a_large_object_is_written_once_and_read_in_ranges() {
    const PIECE: usize = 700_000;
    let piece = |number: u64| {
        let mut sequence = Sequence::new(number);
        let bytes: Vec<u8> = (0..PIECE).map(|_| sequence.next_u64() as u8).collect();
        bytes
    };
    for backend in backends() {
        let (store, name) = (&backend.store, backend.name);
        let mut writer = store.writer("sst/large.sst").unwrap();
        let mut late = store.writer("sst/large.sst").unwrap();
        for number in 0..30 {
            writer.append(&piece(number)).unwrap();
            late.append(&piece(number + 1)).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(
            kind(late.finish()),
            Some(ErrorKind::AlreadyExists),
            "{name}"
        );
        assert_eq!(store.size("sst/large.sst").unwrap(), 30 * PIECE as u64);
        for number in [0, 11, 12, 29] {
            let start = number * PIECE as u64;
            let found = store.get_range("sst/large.sst", start..start + PIECE as u64);
            assert!(found.unwrap() == piece(number), "{name}");
        }
    }
}

#[test]
fn no_backend_fails_the_probe() {
    for backend in backends() {
        probe_put_if_absent(&backend.store).unwrap();
        assert!(backend.store.list("", "", 10).unwrap().is_empty());
    }
}

#[test]
fn ranges_are_exact_or_refused() {
    for backend in backends() {
        let store = &backend.store;
        let data: Vec<u8> = (0..=255).collect();
        store.put("a/b", &data).unwrap();
        let reader = store.reader("a/b").unwrap();
        for range in [0..0, 0..256, 10..20, 255..256, 256..256] {
            let expected = &data[range.start as usize..range.end as usize];
            assert_eq!(store.get_range("a/b", range.clone()).unwrap(), expected);
            assert_eq!(reader.read(range).unwrap(), expected);
        }
        for range in [
            0..257,
            256..257,
            300..301,
            5..u64::MAX,
            u64::MAX - 1..u64::MAX,
        ] {
            let name = backend.name;
            let direct = kind(store.get_range("a/b", range.clone()));
            assert_eq!(direct, Some(ErrorKind::Corruption), "{name} {range:?}");
            let opened = kind(reader.read(range.clone()));
            assert_eq!(opened, Some(ErrorKind::Corruption), "{name} {range:?}");
        }
        #[expect(clippy::reversed_empty_ranges)]
        let reversed = 20..10;
        assert_eq!(
            kind(store.get_range("a/b", reversed)),
            Some(ErrorKind::Invalid)
        );
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    for backend in backends() {
        let store = &backend.store;
        store.put("sst/1", b"x").unwrap();
        for key in ["none", "sst", "sst/2", "sst/1/below", "other/none"] {
            let not_found = Some(ErrorKind::NotFound);
            assert_eq!(kind(store.get(key)), not_found, "{} {key}", backend.name);
            assert_eq!(kind(store.get_range(key, 0..1)), not_found);
            let read = store.reader(key).and_then(|reader| reader.read(0..1));
            assert_eq!(kind(read), not_found);
            assert_eq!(kind(store.size(key)), not_found);
            store.delete(key).unwrap();
        }
        assert_eq!(store.get("sst/1").unwrap(), "x");
    }
}

#[test]
fn many_are_deleted_at_once_and_each_is_answered() {
    for backend in backends() {
        let (store, name) = (&backend.store, backend.name);
        assert!(store.delete_many(&[]).is_empty());
        let mut keys: Vec<String> = (0..25).map(|number| format!("sst/{number:03}")).collect();
        for key in keys.iter().step_by(2) {
            store.put(key, b"x").unwrap();
        }
        store.put("sst/kept", b"x").unwrap();
        let requests = || -> u64 {
            let meter = store.meter();
            meter.map_or(0, |meter| {
                meter.stats().iter().map(|one| one.requests).sum()
            })
        };
        let before = requests();
        let results = store.delete_many(&keys);
        assert!(
            requests() - before <= 1,
            "{name}: {} requests",
            requests() - before
        );
        assert_eq!(results.len(), 25, "{name}");
        assert!(results.iter().all(Result::is_ok), "{name}");
        let left = store.list("sst/", "", 100).unwrap();
        assert_eq!(left.len(), 1, "{name}");
        // One that is no key is refused, and the others go.
        store.put("sst/001", b"x").unwrap();
        keys[7] = "../up".to_owned();
        let kinds: Vec<_> = store.delete_many(&keys).into_iter().map(kind).collect();
        let invalid = |at| (at == 7).then_some(ErrorKind::Invalid);
        assert_eq!(kinds, (0..25).map(invalid).collect::<Vec<_>>(), "{name}");
        assert_eq!(store.list("sst/", "", 100).unwrap().len(), 1, "{name}");
    }
}

#[test]
fn an_open_reader_outlives_deletion() {
    for backend in backends()
        .into_iter()
        .filter(|backend| backend.readers_hold)
    {
        let store = &backend.store;
        store.put("sst/1", b"still here").unwrap();
        let reader = store.reader("sst/1").unwrap();
        store.delete("sst/1").unwrap();
        assert_eq!(reader.read(0..5).unwrap(), "still", "{}", backend.name);
    }
}

#[test]
fn keys_that_are_no_keys_are_refused() {
    for backend in backends() {
        let store = &backend.store;
        let long = "k".repeat(2000);
        for key in [
            "",
            "/etc/passwd",
            "../up",
            "a/../b",
            "a//b",
            "a/",
            ".tmp/x",
            "a b",
            &long,
        ] {
            let invalid = Some(ErrorKind::Invalid);
            assert_eq!(
                kind(store.put(key, b"")),
                invalid,
                "{} {key:?}",
                backend.name
            );
            assert_eq!(kind(store.put_if_absent(key, b"")), invalid);
            assert_eq!(kind(store.writer(key).map(|_| ())), invalid);
            assert_eq!(kind(store.get(key)), invalid);
            assert_eq!(kind(store.reader(key).map(|_| ())), invalid);
            assert_eq!(kind(store.size(key)), invalid);
            assert_eq!(kind(store.delete(key)), invalid);
        }
        assert!(store.list("../", "", 10).unwrap().is_empty());
        assert!(store.list("/", "", 10).unwrap().is_empty());
    }
}

#[test]
fn listings_agree_with_an_ordered_map() {
    for backend in backends() {
        let store = &backend.store;
        let mut model = BTreeMap::new();
        let mut sequence = Sequence::new(7);
        let parts = ["a", "b", "sst", "sst-x", "sst.y", "m", "0", "00"];
        for i in 0..300_u64 {
            let depth = 1 + sequence.below(3);
            let mut key: Vec<&str> = Vec::new();
            for _ in 0..depth {
                key.push(parts[sequence.below(parts.len() as u64) as usize]);
            }
            // The last part differs in kind, so that no object lies below another: a file system cannot hold both.
            let key = format!("{}/f{}", key.join("/"), i % 40);
            let data = vec![0; (i % 50) as usize];
            if sequence.below(4) == 0 {
                store.delete(&key).unwrap();
                model.remove(&key);
            } else {
                store.put(&key, &data).unwrap();
                model.insert(key, data.len() as u64);
            }
        }
        let keys: Vec<&String> = model.keys().collect();
        let mut afters = vec![String::new(), "zzz".to_owned(), "sst/".to_owned()];
        afters.extend(keys.iter().step_by(9).map(|key| (*key).clone()));
        for prefix in [
            "", "sst", "sst/", "sst/0", "a/b", "sst-x/", "none/", "none", "a/b/f1",
        ] {
            for after in &afters {
                for limit in [0, 1, 3, 1000] {
                    let found = store.list(prefix, after, limit).unwrap();
                    let found: Vec<_> = found.into_iter().map(|m| (m.key, m.size)).collect();
                    let expected: Vec<_> = model
                        .iter()
                        .filter(|(key, _)| key.starts_with(prefix) && *key > after)
                        .take(limit)
                        .map(|(key, size)| (key.clone(), *size))
                        .collect();
                    assert_eq!(
                        found, expected,
                        "{} {prefix:?} {after:?} {limit}",
                        backend.name
                    );
                }
            }
        }
    }
}

#[test]
fn a_local_store_keeps_objects_and_clears_what_dead_writers_left() {
    let dir = tempfile::tempdir().unwrap();
    let first = LocalStore::open(dir.path()).unwrap();
    first.put("a/b", b"kept").unwrap();
    let mut living = first.writer("a/living").unwrap();
    living.append(&[1; 1 << 20]).unwrap();
    let dead = dir.path().join(".tmp/dead");
    std::fs::create_dir_all(&dead).unwrap();
    std::fs::write(dead.join("lock"), b"").unwrap();
    std::fs::write(dead.join("0"), b"half an object").unwrap();

    let second = LocalStore::open(dir.path()).unwrap();
    assert!(!dead.exists());
    assert_eq!(second.get("a/b").unwrap(), "kept");
    living.finish().unwrap();
    assert_eq!(second.size("a/living").unwrap(), 1 << 20);
    drop((first, second));
    let left = std::fs::read_dir(dir.path().join(".tmp")).unwrap().count();
    assert_eq!(left, 0, "temporary directories left by closed stores");
}
