mod damage;
mod distant;
mod model;
mod rules;

use super::*;
use crate::object_store::{Fault, FaultStore, MemoryStore, Operation, Rule as FaultRule};
use crate::types::{InternalKeyBuf, ValueKind};

fn file(id: u64, lower: &str, upper: &str, seq: u64) -> FileMeta {
    FileMeta {
        id,
        size: 1000,
        smallest: InternalKeyBuf::new(lower.as_bytes(), seq, ValueKind::Put),
        largest: InternalKeyBuf::new(upper.as_bytes(), seq, ValueKind::Put),
        smallest_seq: seq,
        largest_seq: seq,
        entries: 10,
        deletions: 1,
        raw_bytes: 3000,
        file_seq: None,
        tail: None,
    }
}

fn attach(store: &Arc<dyn ObjectStore>, writer: &str) -> Manifest {
    let (mut manifest, version) = Manifest::load(Arc::clone(store)).unwrap();
    manifest
        .commit(&VersionEdit {
            epoch: Some((version.epoch + 1, writer.to_owned())),
            ..VersionEdit::default()
        })
        .unwrap();
    manifest
}

/// An edit that adds the next file at level 0.
fn flush(manifest: &Manifest) -> VersionEdit {
    let version = manifest.current();
    let (id, seq) = (version.next_file, version.last_seq + 1);
    VersionEdit {
        last_seq: Some(seq),
        next_file: Some(id + 1),
        added: vec![(0, file(id, "a", "z", seq))],
        ..VersionEdit::default()
    }
}

#[test]
fn commits_are_there_after_a_load_with_and_without_the_hint() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let mut manifest = attach(&store, "a");
    for count in 0..200 {
        let edit = flush(&manifest);
        manifest.commit(&edit).unwrap();
        let hints: [Option<&[u8]>; 5] = [
            None,
            Some(b"garbage"),
            Some(b"00000000000000000000\n"),
            Some(b"00000000000000000640\n"),
            Some(b""),
        ];
        let (_, version) = Manifest::load(Arc::clone(&store)).unwrap();
        assert_eq!(version, *manifest.current());
        if count % 23 == 0 {
            let kept = store.get(CURRENT_KEY).unwrap();
            for hint in hints {
                match hint {
                    Some(hint) => store.put(CURRENT_KEY, hint).unwrap(),
                    None => store.delete(CURRENT_KEY).unwrap(),
                }
                let (_, version) = Manifest::load(Arc::clone(&store)).unwrap();
                assert_eq!(version, *manifest.current());
            }
            store.put(CURRENT_KEY, &kept).unwrap();
            Manifest::trim(&*store, manifest.next_id()).unwrap();
        }
    }
    assert_eq!(manifest.current().level(0).len(), 200);
    let seqs: Vec<u64> = manifest
        .current()
        .level(0)
        .iter()
        .map(|f| f.largest_seq)
        .collect();
    assert!(seqs.is_sorted_by(|a, b| a > b));
}

#[test]
fn a_second_writer_fences_the_first() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let mut first = attach(&store, "a");
    let mut second = attach(&store, "b");
    let edit = flush(&first);
    let error = first.commit(&edit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.message().contains("epoch 2, writer b"), "{error}");
    assert_eq!(first.commit(&edit).unwrap_err().kind(), ErrorKind::Fenced);
    let edit = flush(&second);
    second.commit(&edit).unwrap();
}

#[test]
fn two_writers_race_and_one_wins_each_epoch() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    for round in 1..30 {
        let racers: Vec<_> = (0..4)
            .map(|_| Manifest::load(Arc::clone(&store)).unwrap())
            .collect();
        let race = |(mut manifest, version): (Manifest, Version)| {
            // All under one name: the name is not what tells writers apart.
            let edit = VersionEdit {
                epoch: Some((version.epoch + 1, "same".to_owned())),
                ..VersionEdit::default()
            };
            match manifest.commit(&edit) {
                Ok(_) => 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Fenced);
                    0
                }
            }
        };
        let winners: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = racers
                .into_iter()
                .map(|racer| scope.spawn(move || race(racer)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(winners, 1);
        let (_, version) = Manifest::load(Arc::clone(&store)).unwrap();
        assert_eq!(version.epoch, round);
    }
}

#[test]
fn a_writer_has_to_take_an_epoch_first() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    drop(attach(&store, "a"));
    let (mut manifest, _) = Manifest::load(Arc::clone(&store)).unwrap();
    let edit = VersionEdit {
        wal_floor: Some(5),
        ..VersionEdit::default()
    };
    let error = manifest.commit(&edit).unwrap_err();
    assert!(error.message().contains("EpochRises"), "{error}");
}

#[test]
fn a_lost_answer_is_looked_up() {
    let faults = FaultStore::new(Arc::new(MemoryStore::new()));
    let store: Arc<dyn ObjectStore> = Arc::new(faults.clone());
    let mut manifest = attach(&store, "a");
    faults.add(FaultRule::once(
        Operation::PutIfAbsent,
        Fault::Ambiguous(ErrorKind::Unavailable),
    ));
    let edit = flush(&manifest);
    manifest.commit(&edit).unwrap();
    // The store retried by itself: it says that the object exists, which is this writer's own.
    faults.add(FaultRule::once(
        Operation::PutIfAbsent,
        Fault::Ambiguous(ErrorKind::AlreadyExists),
    ));
    let edit = flush(&manifest);
    manifest.commit(&edit).unwrap();
    assert_eq!(manifest.current().level(0).len(), 2);
    let (_, version) = Manifest::load(store).unwrap();
    assert_eq!(version, *manifest.current());
}

#[test]
fn an_edit_of_unknown_outcome_is_adopted_or_replaced_by_the_next() {
    for landed in [true, false] {
        let faults = FaultStore::new(Arc::new(MemoryStore::new()));
        let store: Arc<dyn ObjectStore> = Arc::new(faults.clone());
        let mut manifest = attach(&store, "a");
        let put = match landed {
            true => Fault::Ambiguous(ErrorKind::Unavailable),
            false => Fault::Fail(ErrorKind::Unavailable),
        };
        faults.add(FaultRule::once(Operation::PutIfAbsent, put));
        let get = Fault::Fail(ErrorKind::Unavailable);
        faults.add(FaultRule::once(Operation::Get, get));
        let edit = flush(&manifest);
        let error = manifest.commit(&edit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(manifest.current().level(0).is_empty());

        let floor = VersionEdit {
            wal_floor: Some(7),
            ..VersionEdit::default()
        };
        let version = manifest.commit(&floor).unwrap();
        assert_eq!(version.wal_floor, 7);
        assert_eq!(version.level(0).len(), usize::from(landed));
        let (_, loaded) = Manifest::load(store).unwrap();
        assert_eq!(loaded, *version);
    }
}

#[test]
fn trimming_keeps_what_a_load_needs_and_bounds_the_rest() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let mut manifest = attach(&store, "a");
    for _ in 0..1000 {
        let edit = flush(&manifest);
        manifest.commit(&edit).unwrap();
        Manifest::trim(&*store, manifest.next_id()).unwrap();
        let left = store.list(MANIFEST_PREFIX, "", 1000).unwrap().len();
        assert!(left <= 128, "{left} objects");
    }
    store.delete(CURRENT_KEY).unwrap();
    let (_, version) = Manifest::load(store).unwrap();
    assert_eq!(version.level(0).len(), 1000);
}

#[test]
fn a_load_asks_for_little() {
    let faults = FaultStore::new(Arc::new(MemoryStore::new()));
    let store: Arc<dyn ObjectStore> = Arc::new(faults.clone());
    let mut manifest = attach(&store, "a");
    for _ in 0..500 {
        let edit = flush(&manifest);
        manifest.commit(&edit).unwrap();
    }
    let (gets, lists) = (faults.count(Operation::Get), faults.count(Operation::List));
    Manifest::load(store).unwrap();
    assert!(faults.count(Operation::Get) - gets <= FULL_EVERY + 2);
    assert_eq!(faults.count(Operation::List) - lists, 1);
}

#[test]
fn an_unreachable_store_is_not_called_damaged_or_empty() {
    let faults = FaultStore::new(Arc::new(MemoryStore::new()));
    let store: Arc<dyn ObjectStore> = Arc::new(faults.clone());
    drop(attach(&store, "a"));
    for operation in [Operation::Get, Operation::List] {
        let unavailable = Fault::Fail(ErrorKind::Unavailable);
        faults.add(FaultRule::always(operation, unavailable));
        let error = Manifest::load(Arc::clone(&store)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        faults.heal();
    }
}

#[test]
fn keys_of_ssts_are_told_from_others() {
    assert_eq!(sst_key(42), "sst/00000000000000000042.sst");
    assert_eq!(parse_sst_key(&sst_key(u64::MAX)), Some(u64::MAX));
    for other in [
        "sst/42.sst",
        "sst/0000000000000000004x.sst",
        "manifest/00000000000000000042",
    ] {
        assert_eq!(parse_sst_key(other), None);
    }
    assert_eq!(first_file_of_epoch(1), 1 << 40);
}

/// While it slept, others have written and trimmed so much that its place is free again.
#[test]
fn a_writer_that_slept_learns_that_its_place_means_nothing() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let mut asleep = attach(&store, "asleep");
    let edit = flush(&asleep);
    asleep.commit(&edit).unwrap();
    // This one had not even attached.
    let (mut comes_late, loaded) = Manifest::load(Arc::clone(&store)).unwrap();
    let place = manifest_key(asleep.next_id());
    let mut other = attach(&store, "other");
    for _ in 0..200 {
        let edit = flush(&other);
        other.commit(&edit).unwrap();
    }
    Manifest::trim(&*store, other.next_id()).unwrap();
    assert_eq!(store.get(&place).unwrap_err().kind(), ErrorKind::NotFound);
    let edit = flush(&asleep);
    let fenced = asleep.commit(&edit).unwrap_err();
    assert_eq!(fenced.kind(), ErrorKind::Fenced, "{fenced}");
    store.delete(&place).unwrap();
    let epoch = Some((loaded.epoch + 1, "comes late".to_owned()));
    let fenced = comes_late
        .commit(&VersionEdit {
            epoch,
            ..VersionEdit::default()
        })
        .unwrap_err();
    assert_eq!(fenced.kind(), ErrorKind::Fenced, "{fenced}");
    let edit = flush(&other);
    other.commit(&edit).unwrap();
    let (_, version) = Manifest::load(store).unwrap();
    assert_eq!(version, *other.current());
}

/// An attach whose edit takes effect only when it is tried again is the same attach.
#[test]
fn an_attach_that_is_tried_again_finds_its_own_edit() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let attach_as = |name: &str| VersionEdit {
        epoch: Some((1, name.to_owned())),
        ..VersionEdit::default()
    };
    let (mut first, _) = Manifest::load(Arc::clone(&store)).unwrap();
    let (mut again, _) = Manifest::load(Arc::clone(&store)).unwrap();
    let (mut other, _) = Manifest::load(Arc::clone(&store)).unwrap();
    again.resume(first.nonce());
    first.commit(&attach_as("process 1")).unwrap();
    let version = again.commit(&attach_as("process 2")).unwrap();
    assert_eq!((version.epoch, &*version.writer), (1, "process 1"));
    let edit = flush(&again);
    again.commit(&edit).unwrap();
    let fenced = other.commit(&attach_as("another")).unwrap_err();
    assert_eq!(fenced.kind(), ErrorKind::Fenced, "{fenced}");
}
