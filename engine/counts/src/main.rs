//! Fixed loops whose instructions are counted: `cargo xtask counts` runs each under callgrind and holds the counts against those of the tree.
//!
//! ```text
//! counts list                 the names of the loops
//! counts prepare DIR          makes the database that a loop starts from
//! counts run LOOP DIR         runs one loop on it and prints how many times it went round
//! ```
//!
//! Only what happens inside [`measured`] is counted. Nothing in there may depend on a clock, on other threads, on addresses, on the hash
//! keys that a process draws or on what was allocated before: the engine has no threads of its own, keys follow from seeds, the heap is one of
//! our own, and the answers are checked outside.

mod heap;

use std::hint::black_box;
use std::path::Path;

use smartengine::internals::env::{Sequence, seed_quick_random};
use smartengine::{Engine, Isolation, LockMode, Options, Result, Transaction, View, Write};

/// Rows of the table; their numbers are even.
const ROWS: u64 = 20_000;
const BATCH: u64 = 500;
const TABLE: u8 = 1;
const BY_FIRST: u8 = 2;
const BY_SECOND: u8 = 3;
const SCANNED: usize = 100;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

struct Loop {
    name: &'static str,
    /// How many times it goes round while it is counted.
    times: u64,
    run: fn(&Engine, u64) -> Result<()>,
}

const LOOPS: [Loop; 9] = [
    Loop {
        name: "get_hit",
        times: 2000,
        run: get_hit,
    },
    Loop {
        name: "get_miss",
        times: 2000,
        run: get_miss,
    },
    Loop {
        name: "get_in_memtable",
        times: 2000,
        run: get_in_memtable,
    },
    Loop {
        name: "seek",
        times: 1000,
        run: seek,
    },
    Loop {
        name: "scan_100",
        times: 200,
        run: scan,
    },
    Loop {
        name: "scan_100_backward",
        times: 200,
        run: scan_backward,
    },
    Loop {
        name: "insert",
        times: 2000,
        run: insert,
    },
    Loop {
        name: "update_two_indexes",
        times: 1000,
        run: update,
    },
    Loop {
        name: "commit",
        times: 1000,
        run: commit,
    },
];

/// What is counted: `--toggle-collect` names this function.
#[inline(never)]
fn measured(times: u64, work: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
    for turn in 0..times {
        work(turn)?;
    }
    Ok(())
}

fn key(index: u8, number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[3] = index;
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

/// An entry of a secondary index: its column, then the row's number.
fn entry(index: u8, column: u64, number: u64) -> [u8; 20] {
    let mut entry = [0; 20];
    entry[..12].copy_from_slice(&key(index, column));
    entry[12..].copy_from_slice(&number.to_be_bytes());
    entry
}

/// A row of 100 bytes that compress to about a half.
fn row(number: u64) -> [u8; 100] {
    let mut sequence = Sequence::new(number);
    let mut row = [0; 100];
    for word in row[..48].chunks_exact_mut(8) {
        word.copy_from_slice(&sequence.next_u64().to_le_bytes());
    }
    row
}

/// The value of an indexed column after so many updates.
fn column(number: u64, updates: u64) -> u64 {
    Sequence::new(number ^ (updates << 32)).next_u64()
}

fn open(dir: &Path) -> Result<Engine> {
    let mut options = Options::new(dir);
    options.manual = true;
    Engine::open(options)
}

fn again(txn: &mut Transaction) -> Result<()> {
    txn.commit()?;
    txn.restart(Isolation::ReadCommitted)
}

fn put_row(txn: &mut Transaction, number: u64) -> Result<()> {
    txn.put(&key(TABLE, number), &row(number))?;
    for index in [BY_FIRST, BY_SECOND] {
        txn.put(&entry(index, column(number, u64::from(index)), number), b"")?;
    }
    Ok(())
}

fn prepare(dir: &Path) -> Result<()> {
    let engine = open(dir)?;
    let mut txn = engine.begin(Isolation::ReadCommitted);
    for number in 0..ROWS {
        put_row(&mut txn, 2 * number)?;
        if number % BATCH == BATCH - 1 {
            again(&mut txn)?;
        }
    }
    drop(txn);
    engine.compact()?;
    engine.close()
}

/// Everything in the cache of blocks, as far as the loops read it.
fn warm_up(engine: &Engine) -> Result<()> {
    let mut txn = engine.begin(Isolation::ReadCommitted);
    let mut rows = 0;
    let mut cursor = txn.cursor(&key(TABLE, 0)..&key(BY_SECOND + 1, 0), View::Snapshot)?;
    cursor.seek_to_first()?;
    while cursor.valid() {
        rows += 1;
        cursor.next()?;
    }
    assert_eq!(rows, 3 * ROWS);
    for number in 0..ROWS {
        assert!(
            txn.get(&key(TABLE, 2 * number), View::Snapshot)?.is_some(),
            "row {number} is not there"
        );
    }
    Ok(())
}

fn get_hit(engine: &Engine, times: u64) -> Result<()> {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut sequence = Sequence::new(1);
    let mut found = 0;
    measured(times, &mut |_| {
        let number = 2 * sequence.below(ROWS);
        let row = txn.get(&key(TABLE, number), View::Snapshot)?;
        found += u64::from(row.is_some());
        Ok(())
    })?;
    assert_eq!(found, times);
    Ok(())
}

fn get_miss(engine: &Engine, times: u64) -> Result<()> {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut sequence = Sequence::new(2);
    let mut found = 0;
    measured(times, &mut |_| {
        let number = 2 * sequence.below(ROWS) + 1;
        let row = txn.get(&key(TABLE, number), View::Snapshot)?;
        found += u64::from(row.is_some());
        Ok(())
    })?;
    assert_eq!(found, 0);
    Ok(())
}

fn get_in_memtable(engine: &Engine, times: u64) -> Result<()> {
    let mut txn = engine.begin(Isolation::ReadCommitted);
    for number in 0..times {
        put_row(&mut txn, 2 * number)?;
    }
    txn.commit()?;
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut sequence = Sequence::new(3);
    let mut found = 0;
    measured(times, &mut |_| {
        let row = txn.get(&key(TABLE, 2 * sequence.below(times)), View::Snapshot)?;
        found += u64::from(row.is_some());
        Ok(())
    })?;
    assert_eq!(found, times);
    Ok(())
}

fn seek(engine: &Engine, times: u64) -> Result<()> {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut sequence = Sequence::new(4);
    measured(times, &mut |_| {
        let lower = key(TABLE, 2 * sequence.below(ROWS));
        let mut cursor = txn.cursor(&lower..&key(TABLE + 1, 0), View::Snapshot)?;
        cursor.seek_to_first()?;
        black_box(cursor.value()[0]);
        Ok(())
    })
}

fn scan(engine: &Engine, times: u64) -> Result<()> {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut sequence = Sequence::new(5);
    let mut rows = 0;
    measured(times, &mut |_| {
        let lower = key(TABLE, 2 * sequence.below(ROWS - SCANNED as u64));
        let mut cursor = txn.cursor(&lower..&key(TABLE + 1, 0), View::Snapshot)?;
        cursor.seek_to_first()?;
        for _ in 0..SCANNED {
            rows += u64::from(cursor.valid() && cursor.value().len() == 100);
            cursor.next()?;
        }
        Ok(())
    })?;
    assert_eq!(rows, times * SCANNED as u64);
    Ok(())
}

fn scan_backward(engine: &Engine, times: u64) -> Result<()> {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut sequence = Sequence::new(6);
    let mut rows = 0;
    measured(times, &mut |_| {
        let upper = key(
            TABLE,
            2 * (SCANNED as u64 + sequence.below(ROWS - SCANNED as u64)),
        );
        let mut cursor = txn.cursor(&key(TABLE, 0)..&upper, View::Snapshot)?;
        cursor.seek_to_last()?;
        for _ in 0..SCANNED {
            rows += u64::from(cursor.valid() && cursor.value().len() == 100);
            cursor.prev()?;
        }
        Ok(())
    })?;
    assert_eq!(rows, times * SCANNED as u64);
    Ok(())
}

/// Rows with two entries each, a hundred in a transaction, which is committed with the last.
fn insert(engine: &Engine, times: u64) -> Result<()> {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    measured(times, &mut |turn| {
        let number = 2 * turn + 1;
        let row = row(number);
        let first = entry(BY_FIRST, column(number, 1), number);
        let second = entry(BY_SECOND, column(number, 2), number);
        txn.apply(&[
            Write::Insert(&key(TABLE, number), &row),
            Write::Add(&first, b""),
            Write::Add(&second, b""),
        ])
        .map_err(|(_, error)| error)?;
        if turn % 100 == 99 {
            again(&mut txn)?;
        }
        Ok(())
    })
}

/// A row is locked and read, and it and both its entries are changed; a transaction each.
fn update(engine: &Engine, times: u64) -> Result<()> {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    measured(times, &mut |turn| {
        // Each row once: 7 and the number of rows have no common divisor.
        let number = 2 * (7 * turn % ROWS);
        let key = key(TABLE, number);
        txn.lock(&key, LockMode::Exclusive)?;
        let old = txn.get(&key, View::Newest)?;
        assert!(old.is_some_and(|old| old.len() == 100));
        let row = row(number + 1);
        txn.apply(&[
            Write::Put(&key, &row),
            Write::Delete(&entry(BY_FIRST, column(number, BY_FIRST.into()), number)),
            Write::Add(&entry(BY_FIRST, column(number, 8), number), b""),
            Write::Delete(&entry(BY_SECOND, column(number, BY_SECOND.into()), number)),
            Write::Add(&entry(BY_SECOND, column(number, 9), number), b""),
        ])
        .map_err(|(_, error)| error)?;
        again(&mut txn)
    })
}

/// A transaction that sets one row, from its beginning to its end.
fn commit(engine: &Engine, times: u64) -> Result<()> {
    let mut sequence = Sequence::new(7);
    measured(times, &mut |turn| {
        let mut txn = engine.begin(Isolation::ReadCommitted);
        txn.put(&key(TABLE, 2 * sequence.below(ROWS)), &row(turn))?;
        txn.commit()
    })
}

fn run(name: &str, dir: &Path) -> Result<()> {
    let Some(this) = LOOPS.iter().find(|this| this.name == name) else {
        panic!("there is no loop {name:?}: counts list names them");
    };
    seed_quick_random(1);
    let engine = open(dir)?;
    warm_up(&engine)?;
    (this.run)(&engine, this.times)?;
    println!("{}", this.times);
    engine.close()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["list"] => {
            for this in LOOPS {
                println!("{}", this.name);
            }
            Ok(())
        }
        ["prepare", dir] => prepare(Path::new(dir)),
        ["run", name, dir] => run(name, Path::new(dir)),
        // What cargo bench and cargo test pass.
        _ => {
            println!(
                "the loops of cargo xtask counts; arguments: list | prepare DIR | run LOOP DIR"
            );
            Ok(())
        }
    };
    result.unwrap_or_else(|error| panic!("{error}"));
}
