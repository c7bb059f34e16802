//! Level 0 while flushes write a file an index.

use smartengine::{Engine, Index, Isolation, Options, View};

use crate::small;

const INDEXES: u32 = 8;
const ROWS: u32 = 80;

fn row(index: Index, number: u32) -> Vec<u8> {
    index.key(number.to_be_bytes())
}

/// An engine without threads: nothing is compacted but by [`Engine::work`] or for a writer that would have to wait.
fn options(dir: &tempfile::TempDir) -> Options {
    let mut options = small(dir.path());
    options.manual = true;
    options.memtable_size = 1 << 20;
    // All that is compacted lies in one level.
    options.base_level_size = 64 << 20;
    options.total_memtable_size = 4 << 20;
    options.total_wal_size = 64 << 20;
    options
}

/// Writes rows of all indexes, which are a file each.
fn flush_all(engine: &Engine, indexes: &[Index], round: u32) {
    for &index in indexes {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        for number in 0..ROWS {
            let mut sequence =
                smartengine::internals::env::Sequence::new((index.id() * ROWS + number).into());
            let mut value = round.to_be_bytes().to_vec();
            value.extend((0..40).flat_map(|_| sequence.next_u64().to_be_bytes()));
            txn.put(&row(index, number), &value).unwrap();
        }
        txn.commit().unwrap();
    }
    engine.flush().unwrap();
}

fn check(engine: &Engine, indexes: &[Index], round: u32) {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    for &index in indexes {
        for number in 0..ROWS {
            let found = txn.get(&row(index, number), View::Snapshot).unwrap();
            assert_eq!(found.unwrap()[..4], round.to_be_bytes());
        }
        let mut cursor = txn.cursor(&index.all(), View::Snapshot).unwrap();
        cursor.seek_to_first().unwrap();
        let mut rows = 0;
        while cursor.valid() {
            assert_eq!(cursor.value()[..4], round.to_be_bytes());
            rows += 1;
            cursor.next().unwrap();
        }
        assert_eq!(rows, ROWS);
    }
}

#[test]
fn flushes_of_eight_indexes_hold_nobody_back() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(&dir)).unwrap();
    let indexes = engine.create_indexes(INDEXES).unwrap();
    for round in 0..10 {
        flush_all(&engine, &indexes, round);
        let stats = engine.stats();
        assert_eq!(
            (stats.levels[0].files, stats.level0_runs),
            (8 * u64::from(round) + 8, u64::from(round) + 1)
        );
    }
    assert_eq!(engine.stats().stalls, 0);
    check(&engine, &indexes, 9);
    assert!(
        engine
            .status()
            .contains("level 0: 10 sorted runs, compacted at 4 "),
        "{}",
        engine.status()
    );
    while engine.work().unwrap() {}
    assert_eq!(engine.stats().level0_runs, 0);
    check(&engine, &indexes, 9);
    // Below the trigger level 0 stays as it is.
    for round in 10..13 {
        flush_all(&engine, &indexes, round);
        while engine.work().unwrap() {}
        assert_eq!(engine.stats().level0_runs, u64::from(round) - 9);
    }
    flush_all(&engine, &indexes, 13);
    while engine.work().unwrap() {}
    assert_eq!(engine.stats().level0_runs, 0);
    check(&engine, &indexes, 13);
}

#[test]
fn what_a_lookup_asks_in_level_0_is_bounded_by_the_runs_at_which_writers_wait() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir);
    options.level0_slowdown_trigger = 8;
    options.level0_stop_trigger = 16;
    let engine = Engine::open(options).unwrap();
    let indexes = engine.create_indexes(INDEXES).unwrap();
    let mut most = 0;
    for round in 0..40 {
        flush_all(&engine, &indexes, round);
        most = most.max(engine.stats().level0_runs);
    }
    // Nobody works but writers that have to wait, at 16 runs or, as the engine takes it, twice the slowdown.
    assert!((8..=17).contains(&most), "{most} runs");
    assert!(engine.stats().stalls > 0);
    check(&engine, &indexes, 39);
}

#[test]
fn rows_that_come_in_order_do_not_stay_in_level_0() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(&dir)).unwrap();
    let index = engine.create_index().unwrap();
    for number in 0..40u32 {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        txn.put(&row(index, number), &[7; 100]).unwrap();
        txn.commit().unwrap();
        engine.flush().unwrap();
        while engine.work().unwrap() {}
        let stats = engine.stats();
        assert!(stats.levels[0].files < 4, "{}", engine.status());
    }
    assert_eq!(engine.stats().compaction_write_bytes, 0, "they are moved");
}
