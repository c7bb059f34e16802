//! Memory stays within what was configured, plus the overhead that `Options` states.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use smartengine::internals::env::Sequence;
use smartengine::internals::txn::locks::{LockManager, LockMode, LockWait, TxnLocks};
use smartengine::{Engine, Isolation, Options, View, WalSync};

/// Counts what is allocated, and the most that ever was.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grew(bytes: usize) {
    PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there for a moment.
        grew(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;
const CACHE: usize = 8 * MIB;
const MEMTABLES: usize = 8 * MIB;
const ROWS: u64 = 160_000;

fn key(number: u64) -> Vec<u8> {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    [
        &1u32.to_be_bytes()[..],
        &scattered.to_be_bytes(),
        &number.to_be_bytes(),
    ]
    .concat()
}

fn value(number: u64) -> Vec<u8> {
    let mut sequence = Sequence::new(number);
    (0..50)
        .flat_map(|_| sequence.next_u64().to_le_bytes())
        .collect()
}

/// The most that was allocated since the last call, beyond `base`.
fn peak_since(base: usize) -> usize {
    let peak = PEAK.swap(NOW.load(Relaxed), Relaxed);
    peak.saturating_sub(base)
}

/// What is counted is the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_transaction_of_many_times_its_memory_stays_within_it() {
    let _alone = ALONE.lock().unwrap();
    const BUDGET: usize = 4 * MIB;
    const LARGE: u64 = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let base = NOW.load(Relaxed);
    let mut options = Options::new(dir.path());
    options.block_cache_size = CACHE as u64;
    options.memtable_size = 2 * MIB as u64;
    options.total_memtable_size = MEMTABLES as u64;
    options.target_file_size = 4 * MIB as u64;
    options.transaction_memory = BUDGET as u64;
    // The list is full before it is spilled, and then an idle cursor may look at it while the next one fills.
    let allowed = CACHE + MEMTABLES + 2 * BUDGET + options.memory_overhead() as usize;
    let engine = Engine::open(options).unwrap();
    peak_since(base);
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut idle = txn.cursor(&[0]..&[0xff], View::Snapshot).unwrap();
    idle.seek_to_first().unwrap();
    for number in 0..LARGE {
        txn.put(&key(number), &value(number)[..80]).unwrap();
    }
    let writing = peak_since(base);
    let mut cursor = txn.cursor(&[0]..&[0xff], View::Newest).unwrap();
    let mut count = 0;
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        count += 1;
        cursor.next().unwrap();
    }
    assert_eq!(count, LARGE);
    drop((cursor, idle));
    for number in (0..LARGE).step_by(997) {
        let found = txn.get(&key(number), View::Newest).unwrap();
        assert_eq!(found.unwrap()[..], value(number)[..80]);
    }
    let reading = peak_since(base);
    txn.commit().unwrap();
    let committing = peak_since(base);
    let stats = engine.stats();
    assert!(stats.spilled_bytes > 12 * BUDGET as u64, "{stats:?}");
    assert_eq!(stats.levels[6].entries, LARGE);
    for (what, peak) in [
        ("writing", writing),
        ("reading", reading),
        ("committing", committing),
    ] {
        assert!(
            peak <= allowed,
            "{what}: {peak} bytes, {allowed} are allowed"
        );
    }
    drop(txn);
    engine.close().unwrap();
}

#[test]
fn a_million_locks_of_a_scan_or_of_inserts_take_less_than_forty_mebibytes() {
    let _alone = ALONE.lock().unwrap();
    for mode in [LockMode::Shared, LockMode::Exclusive] {
        let base = NOW.load(Relaxed);
        peak_since(base);
        let locks = LockManager::new(u64::MAX);
        let mut txn = TxnLocks::new(1, Isolation::RepeatableRead);
        for number in 0..1_000_000 {
            let key = key(number);
            locks
                .acquire(&mut txn, &key, mode, LockWait::NoWait)
                .unwrap();
        }
        let peak = peak_since(base);
        assert_eq!(locks.stats().held, 1_000_000);
        assert!(peak < 40 * MIB, "{mode:?}: {peak} bytes");
        assert!(peak > 20 * MIB, "{mode:?}: only {peak} bytes");
        // They are locks all the same: the first, whose keys are kept, and the others.
        let mut other = TxnLocks::new(2, Isolation::RepeatableRead);
        for number in (0..1_000_000).step_by(50_000) {
            let request = locks.acquire(
                &mut other,
                &key(number),
                LockMode::Exclusive,
                LockWait::NoWait,
            );
            assert!(request.is_err(), "{number}");
        }
        locks.release_all(&mut other);
        locks.release_all(&mut txn);
        assert_eq!(locks.stats().held, 0);
        // The tables of explicit locks keep their size.
        let left = NOW.load(Relaxed).saturating_sub(base);
        assert!(left < 6 * MIB, "{left} bytes are left");
    }
}

#[test]
fn loading_and_reading_many_times_the_memory_stays_within_it() {
    let _alone = ALONE.lock().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let base = NOW.load(Relaxed);
    let mut options = Options::new(dir.path());
    options.wal_sync = WalSync::EachSecond;
    options.block_cache_size = CACHE as u64;
    options.memtable_size = 2 * MIB as u64;
    options.total_memtable_size = MEMTABLES as u64;
    options.target_file_size = 2 * MIB as u64;
    options.base_level_size = 4 * MIB as u64;
    options.level0_compaction_trigger = 4;
    options.level0_stop_trigger = 8;
    options.level0_slowdown_trigger = 6;
    let allowed = CACHE + MEMTABLES + options.memory_overhead() as usize;
    let engine = Engine::open(options).unwrap();
    peak_since(base);

    let mut txn = engine.begin(Isolation::RepeatableRead);
    for number in 0..ROWS {
        txn.put(&key(number), &value(number)).unwrap();
        if number % 50 == 49 {
            txn.commit().unwrap();
            txn.restart(Isolation::RepeatableRead).unwrap();
        }
    }
    let loading = peak_since(base);
    engine.compact().unwrap();
    let compacting = peak_since(base);

    let mut cursor = txn.cursor(&[0]..&[0xff], View::Snapshot).unwrap();
    cursor.seek_to_first().unwrap();
    let mut count = 0;
    while cursor.valid() {
        count += 1;
        cursor.next().unwrap();
    }
    assert_eq!(count, ROWS);
    drop(cursor);
    let scanning = peak_since(base);
    for number in (0..ROWS).step_by(37) {
        let found = txn.get(&key(number), View::Newest).unwrap();
        assert_eq!(found.unwrap().len(), 400);
    }
    let looking_up = peak_since(base);
    // All at once, with the cache full.
    for number in 0..ROWS / 4 {
        txn.put(&key(number), &value(number + 1)).unwrap();
        let read = number.wrapping_mul(7) % ROWS;
        assert!(txn.get(&key(read), View::Newest).unwrap().is_some());
        if number % 50 == 49 {
            txn.commit().unwrap();
            txn.restart(Isolation::RepeatableRead).unwrap();
        }
    }
    let all_at_once = peak_since(base);
    let stored = engine.stats().sst_bytes();
    assert!(stored > 3 * (CACHE + MEMTABLES) as u64, "{stored}");
    for (what, peak) in [
        ("loading", loading),
        ("compacting", compacting),
        ("scanning", scanning),
        ("looking up", looking_up),
        ("all at once", all_at_once),
    ] {
        assert!(
            peak <= allowed,
            "{what}: {peak} bytes, {allowed} are allowed"
        );
    }
    drop(txn);
    engine.close().unwrap();
    let left = NOW.load(Relaxed).saturating_sub(base);
    assert!(
        left < MIB,
        "{left} bytes are left after the engine was closed"
    );
}
