//! Hand-made histories: each anomaly is found where a level forbids it, and nothing is found where all is well.

use super::anomaly::Anomaly;
use super::check::check;
use super::model::{Action, Key, Level, Op, Outcome, Transaction, Value};

const RC: Level = Level::ReadCommitted;
const RR: Level = Level::RepeatableRead;
const SER: Level = Level::Serializable;

/// A transaction that did everything within this time.
fn transaction(client: usize, time: (u64, u64), actions: Vec<Action>) -> Transaction {
    Transaction {
        client,
        number: 0,
        ops: actions
            .into_iter()
            .map(|action| Op {
                action,
                started: time.0,
                ended: time.1 - 1,
            })
            .collect(),
        outcome: Outcome::Committed,
        snapshot: None,
        commit_started: time.1 - 1,
        ended: time.1,
        error: None,
    }
}

/// All at once: real time says nothing.
fn concurrent(histories: Vec<Vec<Action>>) -> Vec<Transaction> {
    histories
        .into_iter()
        .enumerate()
        .map(|(client, actions)| transaction(client, (10, 100), actions))
        .collect()
}

fn ended(mut transaction: Transaction, outcome: Outcome) -> Transaction {
    transaction.outcome = outcome;
    transaction
}

fn append(key: Key, value: Value) -> Action {
    Action::Append { key, value }
}

fn read_all(lists: &[(Key, &[Value])], locking: bool) -> Action {
    Action::Read {
        locking,
        how: String::new(),
        lists: lists
            .iter()
            .map(|(key, list)| (*key, list.to_vec()))
            .collect(),
    }
}

fn read(key: Key, list: &[Value]) -> Action {
    read_all(&[(key, list)], false)
}

fn locking_read(key: Key, list: &[Value]) -> Action {
    read_all(&[(key, list)], true)
}

/// What the checker finds, each anomaly once.
fn found(history: &[Transaction], level: Level) -> Vec<Anomaly> {
    let mut anomalies: Vec<_> = check(history, level)
        .into_iter()
        .map(|violation| violation.anomaly)
        .collect();
    anomalies.dedup();
    anomalies
}

#[test]
fn a_serial_history_is_clean_at_every_level() {
    let history = [
        transaction(0, (1, 10), vec![append(1, 1), append(2, 2)]),
        transaction(
            1,
            (20, 30),
            vec![read(1, &[1]), append(1, 3), read(1, &[1, 3])],
        ),
        transaction(
            2,
            (40, 50),
            vec![read_all(&[(1, &[1, 3]), (2, &[2])], true)],
        ),
    ];
    for level in [RC, RR, SER] {
        assert_eq!(found(&history, level), []);
    }
}

#[test]
fn g0_is_forbidden_everywhere() {
    let mut history = concurrent(vec![
        vec![append(1, 1), append(2, 2)],
        vec![append(1, 3), append(2, 4)],
    ]);
    history.push(transaction(
        2,
        (200, 210),
        vec![read_all(&[(1, &[1, 3]), (2, &[4, 2])], false)],
    ));
    for level in [RC, RR, SER] {
        assert_eq!(found(&history, level), [Anomaly::G0]);
    }
}

#[test]
fn g1a_is_forbidden_everywhere() {
    let history = [
        ended(
            transaction(0, (10, 100), vec![append(1, 1)]),
            Outcome::Aborted,
        ),
        transaction(1, (10, 100), vec![read(1, &[1])]),
    ];
    let undone = concurrent(vec![
        vec![Action::Undone { key: 1, value: 1 }, append(2, 2)],
        vec![read(1, &[1])],
    ]);
    for level in [RC, RR, SER] {
        assert_eq!(found(&history, level), [Anomaly::G1a]);
        assert_eq!(found(&undone, level), [Anomaly::G1a]);
    }
}

#[test]
fn g1b_is_forbidden_everywhere() {
    let history = concurrent(vec![
        vec![append(1, 1), append(1, 2)],
        vec![read(1, &[1])],
        vec![read(1, &[1, 2])],
    ]);
    for level in [RC, RR, SER] {
        assert!(found(&history, level).contains(&Anomaly::G1b));
    }
}

#[test]
fn g1c_is_forbidden_everywhere() {
    let history = concurrent(vec![
        vec![append(1, 1), locking_read(2, &[2])],
        vec![append(2, 2), locking_read(1, &[1])],
    ]);
    for level in [RC, RR, SER] {
        assert_eq!(found(&history, level), [Anomaly::G1c]);
    }
}

#[test]
fn a_lost_update_is_forbidden_in_serializable_alone() {
    let mut history = concurrent(vec![
        vec![read(1, &[]), append(1, 1)],
        vec![read(1, &[]), append(1, 2)],
    ]);
    history.push(transaction(2, (200, 210), vec![read(1, &[1, 2])]));
    assert_eq!(found(&history, RC), []);
    assert_eq!(found(&history, RR), []);
    assert_eq!(found(&history, SER), [Anomaly::LostUpdate]);
}

#[test]
fn a_lost_update_after_a_locking_read_is_forbidden_where_rows_and_gaps_are_locked() {
    let mut history = concurrent(vec![
        vec![locking_read(1, &[7]), append(1, 1)],
        vec![locking_read(1, &[7]), append(1, 2)],
    ]);
    history.push(transaction(2, (1, 5), vec![append(1, 7)]));
    history.push(transaction(3, (200, 210), vec![read(1, &[7, 1, 2])]));
    for level in [RC, RR, SER] {
        assert_eq!(found(&history, level), [Anomaly::LostUpdate]);
    }
    let mut absent = concurrent(vec![
        vec![locking_read(1, &[]), append(2, 2)],
        vec![append(1, 1)],
    ]);
    absent.push(transaction(
        2,
        (200, 210),
        vec![read_all(&[(1, &[1]), (2, &[2])], false)],
    ));
    // The one that did not find the row commits after the one that added it.
    absent[0].commit_started = 150;
    absent[0].ended = 160;
    assert_eq!(found(&absent, RC), []);
    assert_eq!(found(&absent, RR), [Anomaly::GSingle]);
}

#[test]
fn read_skew_within_one_snapshot_is_forbidden_from_repeatable_read_on() {
    let history = concurrent(vec![
        vec![read(1, &[]), read(2, &[2])],
        vec![append(1, 1), append(2, 2)],
        vec![read(1, &[1])],
    ]);
    assert_eq!(found(&history, RC), []);
    assert_eq!(found(&history, RR), [Anomaly::GSingle]);
    assert_eq!(found(&history, SER), [Anomaly::GSingle]);
}

#[test]
fn one_statement_sees_one_state_even_in_read_committed() {
    let history = concurrent(vec![
        vec![read_all(&[(1, &[]), (2, &[2])], false)],
        vec![append(1, 1), append(2, 2)],
        vec![read(1, &[1])],
    ]);
    for level in [RC, RR, SER] {
        assert_eq!(found(&history, level), [Anomaly::GSingle]);
    }
}

#[test]
fn statements_of_read_committed_do_not_go_back() {
    let history = concurrent(vec![vec![read(1, &[1]), read(1, &[])], vec![append(1, 1)]]);
    assert_eq!(found(&history, RC), [Anomaly::GSingle]);
}

#[test]
fn own_appends_act_on_the_newest_rows_in_repeatable_read() {
    // Another transaction's append came between the snapshot and its own append.
    let history = concurrent(vec![
        vec![read(1, &[]), append(1, 2), read(1, &[1, 2])],
        vec![append(1, 1)],
    ]);
    assert_eq!(found(&history, RR), []);
    assert!(found(&history, SER).contains(&Anomaly::Internal));
}

#[test]
fn write_skew_is_g2_item_and_forbidden_in_serializable_alone() {
    let mut history = concurrent(vec![
        vec![read(1, &[]), append(2, 2)],
        vec![read(2, &[]), append(1, 1)],
    ]);
    history.push(transaction(
        2,
        (200, 210),
        vec![read_all(&[(1, &[1]), (2, &[2])], false)],
    ));
    assert_eq!(found(&history, RC), []);
    assert_eq!(found(&history, RR), []);
    assert_eq!(found(&history, SER), [Anomaly::G2Item]);
}

#[test]
fn a_transaction_agrees_with_itself() {
    let own_append_missing = concurrent(vec![vec![append(1, 1), read(1, &[])]]);
    for level in [RC, RR, SER] {
        assert_eq!(found(&own_append_missing, level), [Anomaly::Internal]);
    }
    let locked_row_changed = concurrent(vec![
        vec![locking_read(1, &[7]), locking_read(1, &[7, 1])],
        vec![append(1, 1)],
        vec![append(1, 7)],
    ]);
    for level in [RC, RR, SER] {
        assert!(found(&locked_row_changed, level).contains(&Anomaly::Internal));
    }
    let snapshot_changed = concurrent(vec![vec![read(1, &[]), read(1, &[1])], vec![append(1, 1)]]);
    assert_eq!(found(&snapshot_changed, RC), []);
    assert!(found(&snapshot_changed, RR).contains(&Anomaly::Internal));
}

#[test]
fn the_snapshot_of_repeatable_read_is_that_of_the_first_plain_read() {
    let history = [
        transaction(0, (1, 10), vec![append(1, 1)]),
        transaction(1, (20, 30), vec![read(1, &[])]),
        transaction(2, (40, 50), vec![read(1, &[1])]),
    ];
    for level in [RC, RR, SER] {
        assert_eq!(
            found(&history, level),
            [Anomaly::GSingle],
            "stale at {level:?}"
        );
    }
    // Taken by WITH CONSISTENT SNAPSHOT before the append was over, the same read is right.
    let mut early = history;
    early[1].snapshot = Some((5, 6));
    assert_eq!(found(&early, RR), []);
}

#[test]
fn lists_that_contradict_each_other_are_reported() {
    let forked = concurrent(vec![
        vec![append(1, 1)],
        vec![append(1, 2)],
        vec![read(1, &[1])],
        vec![read(1, &[2, 1])],
    ]);
    assert!(found(&forked, RC).contains(&Anomaly::IncompatibleOrder));
    let twice = concurrent(vec![vec![append(1, 1)], vec![read(1, &[1, 1])]]);
    assert!(found(&twice, RC).contains(&Anomaly::Duplicate));
    let garbage = concurrent(vec![vec![read(1, &[9])]]);
    assert_eq!(found(&garbage, RC), [Anomaly::Garbage]);
}

#[test]
fn what_was_acknowledged_has_to_be_there() {
    let history = [
        transaction(0, (1, 10), vec![append(1, 1)]),
        transaction(1, (20, 30), vec![read(1, &[])]),
    ];
    assert!(!found(&history, RC).is_empty());
    let lost = [
        transaction(0, (1, 10), vec![append(1, 1)]),
        transaction(1, (20, 30), vec![append(1, 2)]),
        transaction(2, (40, 50), vec![read(1, &[2])]),
    ];
    assert_eq!(found(&lost, RC), [Anomaly::Lost]);
}

#[test]
fn an_unknown_transaction_is_there_wholly_or_not_at_all() {
    let unknown = || {
        let both = vec![append(1, 1), append(2, 2)];
        ended(transaction(0, (1, 10), both), Outcome::Unknown)
    };
    let reader = |first: &[Value], second: &[Value]| {
        transaction(
            1,
            (20, 30),
            vec![read_all(&[(1, first), (2, second)], false)],
        )
    };
    assert_eq!(found(&[unknown(), reader(&[], &[])], SER), []);
    assert_eq!(found(&[unknown(), reader(&[1], &[2])], SER), []);
    assert!(found(&[unknown(), reader(&[1], &[])], SER).contains(&Anomaly::Torn));
}
