//! Programs of readers that lock, over a table with two secondary indexes, against sessions that add, remove and move its rows.
//!
//! What is asserted of each reader, whatever the order: what it shows belongs together and is the newest there is; what it shows as locked stays as
//! it is until it ends; it holds locks on just the rows that it was to keep; and from REPEATABLE READ on, the range that it went over stays
//! as it is.

mod scan;
mod table;

use std::sync::Arc;

use shuttle::thread;

use self::scan::*;
use self::table::*;
use crate::db::locking_read::{Reader, RowWait, SeekTo};
use crate::db::transaction::{Isolation, Store, Transaction};
use crate::txn::locks::LockMode;
use crate::types::Index;
use crate::{ErrorKind, Result, Test, programs};

use Isolation::{ReadCommitted, RepeatableRead, Serializable};
use LockMode::{Exclusive, Shared};

pub const PROGRAMS: &[Test] = programs![
    rows_forward,
    rows_backward,
    entries_forward,
    entries_backward,
    unique_entries_forward,
    unique_entries_backward,
    a_row_removed_and_added_again_forward,
    a_row_removed_and_added_again_backward,
    a_scan_that_turns_around,
    a_scan_that_ends_early,
    a_row_that_moves_ahead_is_met,
    a_unique_entry_that_gets_another_row_is_met,
    the_other_row_of_a_unique_entry_is_locked,
    what_a_commit_did_ahead_is_met_once_it_was_met,
    a_rows_updates_add_up,
    semi_consistent_updates_add_up,
    semi_consistent_scans_keep_what_they_want,
    a_unique_entry_read_by_its_key,
    an_absent_key_stays_absent,
    an_absent_key_is_not_kept_at_read_committed,
    rows_passed_over_are_not_locked,
    what_was_passed_over_is_waited_for_later,
    rows_given_back_are_free,
    readers_that_add_to_each_others_ranges,
];

/// What is claimed without locks on gaps has to be refuted.
pub const WRONG: &[Test] = programs![no_phantoms_at_read_committed, both_add_at_read_committed,];

type Program = fn(&Arc<Store>) -> Result<()>;

/// Runs each program on a thread of its own, over a table with these rows. Victims of deadlocks have done nothing.
fn run(rows: &[Row], programs: &[Program]) -> Arc<Store> {
    let store = Store::new();
    let mut txn = Transaction::begin(&store, ReadCommitted);
    for row in rows {
        add(&mut txn, *row).unwrap();
    }
    txn.commit();
    let threads = programs.iter().map(|&program| {
        let store = store.clone();
        thread::spawn(move || {
            if let Err(error) = program(&store) {
                assert_eq!(error.kind(), ErrorKind::Deadlock, "{error}");
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(store.locks.stats().held, 0);
    assert!(store.locks.list(10).is_empty() && store.locks.transactions().is_empty());
    store
}

/// Does something in a transaction and commits it.
fn commit(
    store: &Arc<Store>,
    isolation: Isolation,
    work: impl FnOnce(&mut Transaction) -> Result<()>,
) -> Result<()> {
    let mut txn = Transaction::begin(store, isolation);
    work(&mut txn)?;
    txn.commit();
    Ok(())
}

const WRITER: Isolation = ReadCommitted;

/// Reads a range as `scan` says, twice, and goes by what has to hold from REPEATABLE READ on.
fn no_phantoms(store: &Arc<Store>, isolation: Isolation, scan: Scan) -> Result<()> {
    let mut txn = Transaction::begin(store, isolation);
    let rows = scan.read(&mut txn)?;
    for _ in 0..2 {
        assert_eq!(scan.committed(store), rows, "a phantom");
        assert_eq!(txn.locked_keys(), distinct(&rows), "locks on rows");
        thread::yield_now();
    }
    let mut again = scan;
    again.spec.wait = RowWait::NoWait;
    assert_eq!(again.read(&mut txn)?, rows, "a phantom");
    txn.commit();
    Ok(())
}

const THREE: [Row; 3] = [row(2, 2, 2), row(4, 4, 4), row(6, 6, 6)];

/// A scan against one that adds before it and behind it, and one that removes and moves.
fn against_all(scan: Program) {
    run(
        &THREE,
        &[
            scan,
            |store| commit(store, WRITER, |txn| add(txn, row(3, 3, 3))),
            |store| {
                commit(store, WRITER, |txn| {
                    remove(txn, 4)?;
                    regroup(txn, 2, 5)
                })
            },
        ],
    );
}

fn rows_forward() {
    against_all(|store| no_phantoms(store, RepeatableRead, Scan::new(ROWS, Forward)));
}

fn rows_backward() {
    against_all(|store| no_phantoms(store, RepeatableRead, Scan::new(ROWS, Backward)));
}

fn entries_forward() {
    against_all(|store| no_phantoms(store, RepeatableRead, Scan::new(BY_GROUP, Forward)));
}

fn entries_backward() {
    against_all(|store| no_phantoms(store, Serializable, Scan::new(BY_GROUP, Backward)));
}

/// A scan against one that gives names to other rows.
fn against_renumbering(scan: Program) {
    run(
        &THREE,
        &[
            scan,
            |store| commit(store, WRITER, |txn| renumber(txn, 4, 3)),
            |store| commit(store, WRITER, |txn| renumber(txn, 2, 7)),
        ],
    );
}

fn unique_entries_forward() {
    against_renumbering(|store| no_phantoms(store, RepeatableRead, Scan::new(BY_NAME, Forward)));
}

fn unique_entries_backward() {
    against_renumbering(|store| no_phantoms(store, RepeatableRead, Scan::new(BY_NAME, Backward)));
}

/// Waits for a row, finds it gone, and has to see whether it comes again.
fn against_removal_and_return(scan: Program) {
    run(
        &THREE,
        &[
            scan,
            |store| commit(store, WRITER, |txn| remove(txn, 4).map(drop)),
            |store| {
                commit(store, WRITER, |txn| match take(txn, 4)? {
                    None => {
                        txn.unlock(&ROWS.key([4]));
                        add(txn, row(4, 4, 4))
                    }
                    Some(_) => Ok(()),
                })
            },
        ],
    );
}

fn a_row_removed_and_added_again_forward() {
    against_removal_and_return(|store| {
        no_phantoms(store, RepeatableRead, Scan::new(ROWS, Forward))
    });
}

fn a_row_removed_and_added_again_backward() {
    against_removal_and_return(|store| {
        no_phantoms(store, RepeatableRead, Scan::new(BY_GROUP, Backward))
    });
}

fn a_scan_that_turns_around() {
    against_all(|store| {
        let scan = Scan::new(ROWS, Forward);
        let mut txn = Transaction::begin(store, RepeatableRead);
        let mut reader = Reader::new();
        scan.open(&mut txn, &mut reader)?;
        let mut forth = Vec::new();
        if let Some(entry) = reader.seek(&mut txn, SeekTo::AtOrAfter(&ROWS.key([3])))? {
            forth.push(scan.row_of(&entry));
            while let Some(entry) = reader.next(&mut txn)? {
                forth.push(scan.row_of(&entry));
            }
        }
        let mut back = Vec::new();
        let mut entry = reader.seek(&mut txn, SeekTo::Last)?;
        while let Some(found) = entry {
            back.push(scan.row_of(&found));
            entry = reader.prev(&mut txn)?;
        }
        back.reverse();
        assert_eq!(scan.committed(store), back, "a phantom");
        back.retain(|row| row.number >= 3);
        assert_eq!(forth, back, "a phantom");
        Ok(())
    });
}

/// What it went over stays as it is; what is behind it is free.
fn a_scan_that_ends_early() {
    let store = run(
        &THREE,
        &[
            |store| {
                let scan = Scan::new(ROWS, Forward);
                let mut txn = Transaction::begin(store, RepeatableRead);
                let mut reader = Reader::new();
                scan.open(&mut txn, &mut reader)?;
                let first = reader.next(&mut txn)?.map(|entry| scan.row_of(&entry));
                let second = reader.next(&mut txn)?.map(|entry| scan.row_of(&entry));
                thread::yield_now();
                let committed = scan.committed(store);
                assert_eq!(
                    (committed.first(), committed.get(1)),
                    (first.as_ref(), second.as_ref())
                );
                Ok(())
            },
            |store| commit(store, WRITER, |txn| add(txn, row(1, 1, 1))),
            |store| commit(store, WRITER, |txn| add(txn, row(3, 3, 3))),
        ],
    );
    assert_eq!(Scan::new(ROWS, Forward).committed(&store).len(), 5);
}

/// A scan at READ COMMITTED has to come to the row of this name, which is there all the time.
fn meets_four(store: &Arc<Store>, scan: Scan) -> Result<()> {
    let mut txn = Transaction::begin(store, ReadCommitted);
    let rows = scan.read(&mut txn)?;
    let fours = rows.iter().filter(|row| row.name == 4);
    assert_eq!(fours.count(), 1, "{rows:?}");
    assert_eq!(txn.locked_keys(), distinct(&rows), "locks on rows");
    still_there(store, &rows);
    Ok(())
}

fn a_row_that_moves_ahead_is_met() {
    let ahead: Program = |store| commit(store, WRITER, |txn| regroup(txn, 4, 7));
    let forward: Program = |store| meets_four(store, Scan::new(BY_GROUP, Forward));
    run(&THREE, &[forward, ahead]);
    let ahead: Program = |store| commit(store, WRITER, |txn| regroup(txn, 4, 1));
    let backward: Program = |store| meets_four(store, Scan::new(BY_GROUP, Backward));
    run(&THREE, &[backward, ahead]);
}

fn a_unique_entry_that_gets_another_row_is_met() {
    against_renumbering(|store| meets_four(store, Scan::new(BY_NAME, Forward)));
    against_renumbering(|store| meets_four(store, Scan::new(BY_NAME, Backward)));
}

/// Not the one that the entry led to before.
fn the_other_row_of_a_unique_entry_is_locked() {
    let renumbers: Program = |store| commit(store, WRITER, |txn| renumber(txn, 4, 3));
    let counts: Program = |store| commit(store, WRITER, |txn| count(txn, 3));
    let scans: [Program; 3] = [
        |store| meets_four(store, Scan::new(BY_NAME, Forward)),
        |store| no_phantoms(store, RepeatableRead, Scan::new(BY_NAME, Backward)),
        |store| {
            let mut txn = Transaction::begin(store, ReadCommitted);
            let row = found(&mut txn, &mut Reader::new(), BY_NAME, 4)?;
            thread::yield_now();
            still_there(store, row.as_slice());
            Ok(())
        },
    ];
    for scan in scans {
        run(&[row(4, 4, 4)], &[scan, renumbers, counts]);
    }
}

/// One that shows a row as a commit left it shows what else that commit did ahead.
fn what_a_commit_did_ahead_is_met_once_it_was_met() {
    fn meets(store: &Arc<Store>, scan: Scan) -> Result<()> {
        let mut txn = Transaction::begin(store, ReadCommitted);
        let rows = scan.read(&mut txn)?;
        if rows[0].count == 1 {
            assert_eq!(rows.len(), 4, "{rows:?}");
        }
        Ok(())
    }
    fn counts_and_adds(store: &Arc<Store>, number: u8, new: Row) -> Result<()> {
        commit(store, WRITER, |txn| {
            count(txn, number)?;
            add(txn, new)
        })
    }
    let writer: Program = |store| counts_and_adds(store, 2, row(5, 5, 5));
    let rows: Program = |store| meets(store, Scan::new(ROWS, Forward));
    run(&THREE, &[rows, writer]);
    let entries: Program = |store| meets(store, Scan::new(BY_GROUP, Forward));
    run(&THREE, &[entries, writer]);
    let writer: Program = |store| counts_and_adds(store, 6, row(3, 3, 3));
    let entries: Program = |store| meets(store, Scan::new(BY_NAME, Backward));
    run(&THREE, &[entries, writer]);
}

fn count(txn: &mut Transaction, number: u8) -> Result<()> {
    if let Some(old) = take(txn, number)? {
        counted(txn, old);
    }
    Ok(())
}

fn counted(txn: &mut Transaction, old: Row) {
    let count = old.count + 1;
    let new = Row { count, ..old };
    txn.put(&new.key(), &new.value());
}

fn assert_counts(store: &Store, count: u8) {
    let rows = Scan::new(ROWS, Forward).committed(store);
    assert!(rows.iter().all(|row| row.count == count), "{rows:?}");
}

/// No update is lost: not of rows read by their keys, nor by the keys of their entries.
fn a_rows_updates_add_up() {
    fn counts(store: &Arc<Store>, index: Index) -> Result<()> {
        let mut txn = Transaction::begin(store, ReadCommitted);
        let scan = Scan::new(index, Forward);
        let mut reader = Reader::new();
        let found = reader.get(&mut txn, &index.key([4]), scan.spec)?;
        let old = scan.row_of(&found.unwrap());
        counted(&mut txn, old);
        txn.commit();
        Ok(())
    }
    let by_key: Program = |store| counts(store, ROWS);
    let by_name: Program = |store| counts(store, BY_NAME);
    let store = run(&[row(4, 4, 4)], &[by_key, by_name, by_name]);
    assert_counts(&store, 3);
}

fn semi_consistent(index: Index) -> Scan {
    let mut scan = Scan::new(index, Forward);
    scan.spec.wait = RowWait::SemiConsistent;
    scan
}

fn semi_consistent_updates_add_up() {
    let counts: Program = |store| {
        let scan = semi_consistent(ROWS);
        let mut txn = Transaction::begin(store, ReadCommitted);
        let mut reader = Reader::new();
        scan.open(&mut txn, &mut reader)?;
        while let Some(entry) = reader.next(&mut txn)? {
            // One that is shown but not locked is wanted: the next step reads it again.
            if !entry.unlocked {
                let old = scan.row_of(&entry);
                counted(&mut txn, old);
            }
            thread::yield_now();
        }
        txn.commit();
        Ok(())
    };
    let store = run(&THREE, &[counts, counts, counts]);
    assert_counts(&store, 3);
}

/// It wants rows with even groups, and keeps nothing else.
fn semi_consistent_scans_keep_what_they_want() {
    fn keeps(store: &Arc<Store>, index: Index) -> Result<()> {
        let scan = semi_consistent(index);
        let mut txn = Transaction::begin(store, ReadCommitted);
        let mut reader = Reader::new();
        scan.open(&mut txn, &mut reader)?;
        let mut kept = Vec::new();
        loop {
            let Some(entry) = reader.next(&mut txn)? else {
                break;
            };
            let unlocked = entry.unlocked;
            let group = match index {
                ROWS => entry.value[0],
                _ => entry.row[0],
            };
            let row = (!unlocked).then(|| scan.row_of(&entry));
            thread::yield_now();
            match row {
                _ if group % 2 == 1 => reader.unlock_row(&mut txn),
                Some(row) => kept.push(row),
                None => {}
            }
        }
        still_there(store, &kept);
        assert_eq!(txn.locked_keys(), kept.len(), "locks on rows");
        assert!(kept.iter().any(|row| row.number == 6), "{kept:?}");
        assert!(kept.iter().all(|row| row.group % 2 == 0), "{kept:?}");
        Ok(())
    }
    let writers: [Program; 2] = [
        |store| commit(store, WRITER, |txn| regroup(txn, 2, 3)),
        |store| {
            commit(store, WRITER, |txn| {
                regroup(txn, 4, 3)?;
                count(txn, 6)
            })
        },
    ];
    let rows: Program = |store| keeps(store, ROWS);
    run(&THREE, &[rows, writers[0], writers[1]]);
    let entries: Program = |store| keeps(store, BY_NAME);
    run(&THREE, &[entries, writers[0], writers[1]]);
}

/// The row that a point read of an index finds, and whether it is the same the next time.
fn found(
    txn: &mut Transaction,
    reader: &mut Reader,
    index: Index,
    key_of: u8,
) -> Result<Option<Row>> {
    let scan = Scan::new(index, Forward);
    let found = reader.get(txn, &index.key([key_of]), scan.spec)?;
    Ok(found.map(|entry| scan.row_of(&entry)))
}

/// The name is there all the time, though of one row and then of another.
fn a_unique_entry_read_by_its_key() {
    fn finds(store: &Arc<Store>, isolation: Isolation) -> Result<()> {
        let mut txn = Transaction::begin(store, isolation);
        let mut reader = Reader::new();
        let row = found(&mut txn, &mut reader, BY_NAME, 4)?.expect("it is there");
        for _ in 0..2 {
            thread::yield_now();
            still_there(store, &[row]);
            assert_eq!(found(&mut txn, &mut reader, BY_NAME, 4)?, Some(row));
            assert_eq!(txn.locked_keys(), 1, "locks on rows");
        }
        Ok(())
    }
    against_renumbering(|store| finds(store, RepeatableRead));
    against_renumbering(|store| finds(store, ReadCommitted));
}

fn an_absent_key_stays_absent() {
    fn looks(store: &Arc<Store>, index: Index) -> Result<()> {
        let mut txn = Transaction::begin(store, RepeatableRead);
        let mut reader = Reader::new();
        let first = found(&mut txn, &mut reader, index, 5)?;
        thread::yield_now();
        let committed = store.newest(&row(5, 5, 5).entry(index).0).1;
        assert_eq!(committed.is_some(), first.is_some(), "a phantom");
        assert_eq!(found(&mut txn, &mut reader, index, 5)?, first);
        assert_eq!(txn.locked_keys(), 1);
        Ok(())
    }
    let by_key: Program = |store| looks(store, ROWS);
    let by_name: Program = |store| looks(store, BY_NAME);
    let adds: Program = |store| commit(store, WRITER, |txn| add(txn, row(5, 5, 5)));
    let removes: Program = |store| commit(store, WRITER, |txn| remove(txn, 5).map(drop));
    run(&THREE, &[by_key, adds, removes]);
    run(&THREE, &[by_name, adds, removes]);
}

fn an_absent_key_is_not_kept_at_read_committed() {
    fn looks(store: &Arc<Store>, index: Index) -> Result<()> {
        let mut txn = Transaction::begin(store, ReadCommitted);
        let mut reader = Reader::new();
        let found = found(&mut txn, &mut reader, index, 5)?;
        assert_eq!(txn.locked_keys(), usize::from(found.is_some()));
        Ok(())
    }
    let by_key: Program = |store| looks(store, ROWS);
    let by_name: Program = |store| looks(store, BY_NAME);
    let adds: Program = |store| commit(store, WRITER, |txn| add(txn, row(5, 5, 5)));
    let removes: Program = |store| commit(store, WRITER, |txn| remove(txn, 5).map(drop));
    run(&THREE, &[by_key, by_name, adds, removes]);
}

/// Those that are shown are locked, and no others.
fn rows_passed_over_are_not_locked() {
    fn skips(store: &Arc<Store>, isolation: Isolation, index: Index) -> Result<()> {
        let mut scan = Scan::new(index, Forward);
        scan.spec.wait = RowWait::SkipLocked;
        let mut txn = Transaction::begin(store, isolation);
        let rows = scan.read(&mut txn)?;
        still_there(store, &rows);
        assert_eq!(txn.locked_keys(), rows.len(), "locks on rows");
        // Nobody else touches this one.
        assert!(rows.iter().any(|row| row.number == 6), "{rows:?}");
        Ok(())
    }
    against_all(|store| skips(store, RepeatableRead, ROWS));
    against_all(|store| skips(store, ReadCommitted, BY_GROUP));
}

/// One range, first with SKIP LOCKED, then without.
fn what_was_passed_over_is_waited_for_later() {
    fn skips_and_waits(store: &Arc<Store>, index: Index) -> Result<()> {
        let mut scan = Scan::new(index, Forward);
        let mut txn = Transaction::begin(store, RepeatableRead);
        scan.spec.wait = RowWait::SkipLocked;
        let skipped = scan.read(&mut txn)?;
        scan.spec.wait = RowWait::Wait;
        let rows = scan.read(&mut txn)?;
        assert!(skipped.iter().all(|row| rows.contains(row)), "{rows:?}");
        thread::yield_now();
        assert_eq!(scan.committed(store), rows, "a phantom");
        Ok(())
    }
    against_all(|store| skips_and_waits(store, ROWS));
    against_all(|store| skips_and_waits(store, BY_GROUP));
}

fn rows_given_back_are_free() {
    fn gives_back(store: &Arc<Store>, index: Index) -> Result<()> {
        let scan = Scan::new(index, Forward);
        let mut txn = Transaction::begin(store, ReadCommitted);
        let mut reader = Reader::new();
        scan.open(&mut txn, &mut reader)?;
        while let Some(entry) = reader.next(&mut txn)? {
            let row = scan.row_of(&entry);
            still_there(store, &[row]);
            reader.unlock_row(&mut txn);
        }
        assert_eq!(txn.locked_keys(), 0);
        Ok(())
    }
    against_all(|store| gives_back(store, ROWS));
    against_all(|store| gives_back(store, BY_GROUP));
}

/// Each adds a row if there are three: from REPEATABLE READ on only one does.
fn add_a_fourth(store: &Arc<Store>, isolation: Isolation, new: Row) -> Result<()> {
    let mut scan = Scan::new(BY_GROUP, Forward);
    scan.spec.lock = Some(Shared);
    commit(store, isolation, |txn| {
        if scan.read(txn)?.len() == 3 {
            add(txn, new)?;
        }
        Ok(())
    })
}

fn assert_four(store: &Store) {
    assert_eq!(Scan::new(ROWS, Forward).committed(store).len(), 4);
}

fn readers_that_add_to_each_others_ranges() {
    let before: Program = |store| add_a_fourth(store, Serializable, row(3, 3, 3));
    let behind: Program = |store| add_a_fourth(store, RepeatableRead, row(7, 7, 7));
    assert_four(&run(&THREE, &[before, behind]));
}

fn both_add_at_read_committed() {
    let before: Program = |store| add_a_fourth(store, ReadCommitted, row(3, 3, 3));
    let behind: Program = |store| add_a_fourth(store, ReadCommitted, row(7, 7, 7));
    assert_four(&run(&THREE, &[before, behind]));
}

fn no_phantoms_at_read_committed() {
    against_all(|store| no_phantoms(store, ReadCommitted, Scan::new(ROWS, Forward)));
}
