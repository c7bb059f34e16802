//! Batches, in memory and spilled, against a list of writes.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::cache::BlockCache;
use crate::env::fs::{FaultFs, Fs, Operation};
use crate::types::user_key_of;
use crate::{Error, ErrorKind};

fn space(fs: &FaultFs) -> Arc<SpillSpace> {
    let cache = Arc::new(BlockCache::new(1 << 20));
    Arc::new(SpillSpace::open(Arc::new(fs.clone()), "/spill", cache, 64 << 10).unwrap())
}

fn batch() -> Batch {
    Batch::new(space(&FaultFs::new()))
}

type Write = (Vec<u8>, ValueKind, Vec<u8>);

/// The newest live write of every key.
fn contents(batch: &Batch) -> Vec<Write> {
    let mut all: Vec<Write> = Vec::new();
    let mut entries = batch.iter_once(1 << 20);
    entries.seek_to_first().unwrap();
    while entries.valid() {
        let key = KeyRef::decode(entries.key());
        if all.last().is_none_or(|(last, ..)| last != key.user) {
            let (kind, value) = (key.kind().unwrap(), entries.value().to_vec());
            all.push((key.user.to_vec(), kind, value));
        }
        entries.next().unwrap();
    }
    if !batch.is_spilled() {
        let mut in_memory = Vec::new();
        batch.for_each_in_memory(|key, kind, value| {
            in_memory.push((key.to_vec(), kind, value.to_vec()));
        });
        assert_eq!(in_memory, all);
    }
    all
}

fn found(batch: &Batch, key: &[u8]) -> Option<(ValueKind, Vec<u8>)> {
    let own = batch.find(key).unwrap()?;
    let kind = own.kind().unwrap();
    let value = match own {
        OwnWrite::Memory(position) => position.value().to_vec(),
        OwnWrite::Spilled(found) => found.value.to_vec(),
    };
    Some((kind, value))
}

#[test]
fn newest_write_of_a_key_counts() {
    let mut batch = batch();
    batch.put(b"b", b"1");
    batch.put(b"a", b"2");
    batch.put(b"b", b"3");
    batch.delete(b"c");
    assert_eq!(found(&batch, b"b"), Some((ValueKind::Put, b"3".to_vec())));
    assert_eq!(found(&batch, b"c"), Some((ValueKind::Delete, vec![])));
    assert_eq!(found(&batch, b"d"), None);
    assert_eq!(contents(&batch).len(), 3);
}

#[test]
fn a_cleared_batch_is_as_new_and_leaves_its_readers_what_they_read() {
    let mut batch = batch();
    for (size, spill) in [
        (1, false),
        (100, false),
        (100, true),
        (5000, false),
        (1, true),
    ] {
        batch.put(b"a", &vec![1; size]);
        if spill {
            batch.spill().unwrap();
        }
        let kept = (size == 100).then(|| batch.find(b"a").unwrap().unwrap());
        batch.clear();
        assert!(batch.is_empty() && contents(&batch).is_empty() && !batch.is_spilled());
        assert_eq!(found(&batch, b"a"), None);
        match kept {
            None => {}
            Some(OwnWrite::Memory(position)) => assert_eq!(position.value(), [1; 100]),
            Some(OwnWrite::Spilled(found)) => assert_eq!(*found.value, [1; 100]),
        }
    }
}

#[test]
fn rollback_uncovers_what_was_there() {
    for spill in [false, true] {
        let mut batch = batch();
        batch.put(b"a", b"1");
        let savepoint = batch.savepoint();
        batch.put(b"a", b"2");
        batch.put(b"b", b"3");
        let inner = batch.savepoint();
        batch.delete(b"a");
        if spill {
            batch.spill().unwrap();
        }
        batch.rollback_to(inner);
        assert_eq!(found(&batch, b"a"), Some((ValueKind::Put, b"2".to_vec())));
        batch.rollback_to(savepoint);
        let first = (b"a".to_vec(), ValueKind::Put, b"1".to_vec());
        assert_eq!(contents(&batch), [first]);
        batch.put(b"a", b"4");
        assert_eq!(found(&batch, b"a"), Some((ValueKind::Put, b"4".to_vec())));
    }
}

#[test]
fn iterators_see_what_is_spilled_under_them() {
    let mut batch = batch();
    batch.put(b"a", b"1");
    let mut entries = batch.view().iter(b"a", b"z");
    entries.seek_to_first().unwrap();
    batch.put(b"b", b"2");
    batch.spill().unwrap();
    batch.put(b"c", b"3");
    // As it was opened, it goes on with the list that was spilled.
    assert!(entries.is_stale());
    entries.next().unwrap();
    assert_eq!(user_key_of(entries.key()), b"b");
    entries.next().unwrap();
    assert!(!entries.valid());
    entries.renew(b"a", b"z");
    entries.seek(KeyRef::after(b"a")).unwrap();
    assert_eq!(user_key_of(entries.key()), b"b");
    entries.next().unwrap();
    assert_eq!(user_key_of(entries.key()), b"c");
}

#[test]
fn runs_leave_no_file_behind() {
    let fs = FaultFs::new();
    let mut batch = Batch::new(space(&fs));
    for round in 0..3 {
        for number in 0..100u32 {
            batch.put(&number.to_be_bytes(), &[round; 50]);
        }
        batch.spill().unwrap();
        assert_eq!(fs.list(Path::new("/spill")).unwrap(), [""; 0]);
    }
    assert_eq!(contents(&batch).len(), 100);
    assert_eq!(batch.len(), 300);
}

#[test]
fn a_disk_that_fails_leaves_the_batch_as_it_was() {
    let fs = FaultFs::new();
    let mut batch = Batch::new(space(&fs));
    batch.put(b"a", b"1");
    let savepoint = batch.savepoint();
    batch.put(b"b", b"2");
    for operation in [Operation::Open, Operation::Write, Operation::Remove] {
        fs.fail(operation, 0, 1, ErrorKind::OutOfSpace);
        let error: Error = batch.spill().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
        assert!(error.message().contains("/spill"), "{error}");
        fs.heal();
        assert_eq!(contents(&batch).len(), 2);
        assert!(!batch.is_spilled());
    }
    batch.spill().unwrap();
    batch.rollback_to(savepoint);
    assert_eq!(contents(&batch).len(), 1);
    // A crash or a failure may leave a name; opening removes it.
    drop(batch);
    space(&fs);
    assert_eq!(fs.list(Path::new("/spill")).unwrap(), [""; 0]);
}

#[derive(Clone, Debug)]
enum Op {
    Write(u8, Option<u8>),
    Savepoint,
    RollbackTo(u8),
    Spill,
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0u8..40, prop::option::of(any::<u8>())).prop_map(|(key, value)| Op::Write(key, value)),
        3 => Just(Op::Savepoint),
        1 => any::<u8>().prop_map(Op::RollbackTo),
        5 => Just(Op::Spill),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let more = prop_oneof![60 => op(), 1 => Just(Op::Clear)];
    prop::collection::vec(more, 1..400)
}

fn check(batch: &Batch, writes: &[(u8, Option<u8>)]) {
    let mut newest = BTreeMap::new();
    for &(key, value) in writes {
        newest.insert(vec![key], value);
    }
    let expected: Vec<Write> = newest
        .iter()
        .map(|(key, value)| match value {
            Some(value) => (key.clone(), ValueKind::Put, vec![*value; 20]),
            None => (key.clone(), ValueKind::Delete, vec![]),
        })
        .collect();
    assert_eq!(contents(batch), expected);
    assert_eq!(batch.is_empty(), writes.is_empty());
    for key in 0..40u8 {
        let wanted = expected.iter().find(|(k, ..)| k[..] == [key]);
        let wanted = wanted.map(|(_, kind, value)| (*kind, value.clone()));
        assert_eq!(found(batch, &[key]), wanted);
    }
    // Backwards all versions show as well, oldest first.
    let mut entries = batch.iter_once(1 << 20);
    entries.seek_to_last().unwrap();
    let mut count = 0;
    while entries.valid() {
        count += 1;
        entries.prev().unwrap();
    }
    assert_eq!(count, writes.len());
    for (from, to) in [(0, 40), (3, 9), (20, 21), (7, 8)] {
        check_nearby(batch, writes, &expected, from, to);
    }
}

fn check_nearby(batch: &Batch, writes: &[(u8, Option<u8>)], expected: &[Write], from: u8, to: u8) {
    let inside = |key: &u8| (from..to).contains(key);
    match batch.view().nearby(&[from], &[to]).unwrap() {
        Nearby::Within => {
            let put = |(key, value): &(u8, Option<u8>)| inside(key) && value.is_some();
            assert!(writes.iter().any(put));
        }
        Nearby::Around { before, behind } => {
            let before = before.map(|key| key[0]);
            let behind = behind.map(|key| key[0]);
            assert!(before.is_none_or(|key| key < from) && behind.is_none_or(|key| key >= to));
            for (key, kind, _) in expected {
                let key = key[0];
                assert!(!inside(&key) || *kind == ValueKind::Delete);
                assert!(key >= from || before.is_some_and(|before| key <= before));
                assert!(key < to || behind.is_some_and(|behind| behind <= key));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_list_of_writes(ops in ops()) {
        let mut batch = batch();
        let mut writes: Vec<(u8, Option<u8>)> = Vec::new();
        let mut savepoints: Vec<(usize, usize)> = Vec::new();
        for op in ops {
            match op {
                Op::Write(key, value) => {
                    match value {
                        Some(value) => batch.put(&[key], &[value; 20]),
                        None => batch.delete(&[key]),
                    }
                    writes.push((key, value));
                    continue;
                }
                Op::Savepoint => savepoints.push((batch.savepoint(), writes.len())),
                Op::RollbackTo(_) if savepoints.is_empty() => continue,
                Op::RollbackTo(place) => {
                    // Later ones more often: rolling all back each time shows little.
                    let back = usize::from(place.leading_zeros() as u8) % savepoints.len();
                    let place = savepoints.len() - 1 - back;
                    savepoints.truncate(place + 1);
                    let (savepoint, len) = savepoints[place];
                    batch.rollback_to(savepoint);
                    writes.truncate(len);
                }
                Op::Spill => batch.spill().unwrap(),
                Op::Clear => {
                    batch.clear();
                    writes.clear();
                    savepoints.clear();
                }
            }
            check(&batch, &writes);
        }
        prop_assert!(batch.runs.len() < 2 * FAN_IN);
    }
}
