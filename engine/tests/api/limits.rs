//! Sizes at their extremes: nothing waits for ever, nothing is lost.

use smartengine::{Engine, ErrorKind, Isolation, Options, View};

use crate::{key, small};

fn number_key(number: u32) -> Vec<u8> {
    [1u32.to_be_bytes(), number.to_be_bytes()].concat()
}

/// Loads rows in transactions of `at_once`, and reads them all.
fn load_and_read(options: Options, rows: u32, at_once: u32, size: usize) {
    let engine = Engine::open(options.clone()).unwrap();
    let value = |number: u32| {
        let mut sequence = smartengine::internals::env::Sequence::new(number.into());
        (0..size)
            .map(|_| sequence.next_u64() as u8)
            .collect::<Vec<u8>>()
    };
    let mut txn = engine.begin(Isolation::ReadCommitted);
    for number in 0..rows {
        txn.put(&number_key(number), &value(number)).unwrap();
        if number % at_once == at_once - 1 {
            txn.commit().unwrap();
            txn.restart(Isolation::ReadCommitted).unwrap();
        }
    }
    txn.commit().unwrap();
    drop(txn);
    drop(engine);
    let engine = Engine::open(options).unwrap();
    for _ in 0..2 {
        let mut txn = engine.begin(Isolation::ReadCommitted);
        let mut cursor = txn.cursor(&[0]..&[0xff], View::Snapshot).unwrap();
        cursor.seek_to_first().unwrap();
        for number in 0..rows {
            assert_eq!(cursor.key(), number_key(number));
            assert!(cursor.value() == value(number));
            cursor.next().unwrap();
        }
        assert!(!cursor.valid());
        drop(cursor);
        let middle = txn.get(&number_key(rows / 2), View::Newest).unwrap();
        assert!(middle.unwrap()[..] == value(rows / 2));
        drop(txn);
        engine.compact().unwrap();
    }
    engine.close().unwrap();
}

#[test]
fn one_memtable_is_all_the_memory_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.total_memtable_size = options.memtable_size;
    load_and_read(options, 500, 5, 1000);
}

#[test]
fn a_transaction_several_times_larger_than_all_memtables() {
    let dir = tempfile::tempdir().unwrap();
    load_and_read(small(dir.path()), 2000, 1500, 1000);
}

#[test]
fn a_block_cache_of_one_byte() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.block_cache_size = 1;
    load_and_read(options, 300, 10, 500);
}

#[test]
fn rows_larger_than_a_memtable_and_a_log_segment() {
    let dir = tempfile::tempdir().unwrap();
    load_and_read(small(dir.path()), 6, 1, 400 << 10);
}

#[test]
fn level_0_is_compacted_from_its_first_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.level0_compaction_trigger = 1;
    options.level0_slowdown_trigger = 1;
    options.level0_stop_trigger = 2;
    load_and_read(options, 400, 10, 1000);
}

#[test]
fn keys_of_any_length_up_to_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let lengths = [0, 1, 3, 4, 5, 1000, 16 * 1024];
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for length in lengths {
        txn.insert(&vec![0; length], &[length as u8]).unwrap();
    }
    let error = txn.insert(&vec![0; 16 * 1024 + 1], b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("16385") && error.message().contains("16384"));
    txn.commit().unwrap();
    for _ in 0..3 {
        txn.restart(Isolation::RepeatableRead).unwrap();
        for length in lengths {
            let found = txn.get(&vec![0; length], View::Snapshot).unwrap();
            assert_eq!(found.as_deref(), Some(&[length as u8][..]), "{length}");
        }
        txn.rollback().unwrap();
        engine.compact().unwrap();
    }
}

#[test]
fn sizes_can_change_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for number in 0..1000u32 {
        txn.put(&number_key(number), &[number as u8; 700]).unwrap();
        txn.commit().unwrap();
        txn.restart(Isolation::RepeatableRead).unwrap();
        match number {
            200 => engine.set_memtable_sizes(1, 1),
            400 => engine.set_memtable_sizes(1 << 20, 1 << 20),
            500 => engine.set_block_cache_size(0),
            600 => engine.set_block_cache_size(1 << 20),
            700 => engine.set_rate_limit(50 << 20),
            800 => engine.set_level0_compaction_trigger(1),
            _ => {}
        }
    }
    txn.rollback().unwrap();
    engine.set_rate_limit(1);
    // Closing does not wait for what a byte a second would take.
    drop(txn);
    drop(engine);
    let engine = Engine::open(small(dir.path())).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for number in 0..1000u32 {
        let found = txn.get(&number_key(number), View::Snapshot).unwrap();
        assert_eq!(found.unwrap()[0], number as u8);
    }
}

#[test]
fn paused_work_is_done_by_whoever_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(small(dir.path())).unwrap();
    engine.pause_background_work(true);
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.insert(&key("a"), b"1").unwrap();
    txn.commit().unwrap();
    engine.flush().unwrap();
    assert_eq!(engine.stats().sst_files(), 1);
    let error = engine.compact().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    engine.pause_background_work(false);
    engine.compact().unwrap();
}
