//! What a run consists of.

use proptest::prelude::*;
use smartengine::{Isolation, LockMode, RowWait};

use super::table::{Of, Row, SIZE};

pub const SLOTS: u8 = 3;

#[derive(Clone, Copy, Debug)]
pub enum Move {
    First,
    Last,
    AtOrAfter(u8),
    Before(u8),
    Next,
    Prev,
}

/// How a read locks, if it does.
pub type Locking = Option<LockMode>;

#[derive(Clone, Debug)]
pub enum Op {
    /// A new transaction in a slot, whose old one is rolled back.
    Begin(u8, Isolation),
    Commit(u8),
    Statement(u8),
    Add(u8, Row),
    Remove(u8, u8),
    /// Gives a row another number and group, and another name unless it is to keep that.
    Change(u8, u8, Row, bool),
    /// A read by a whole key, of a row or a name.
    Get(u8, Of, u8, Locking, RowWait),
    /// Opens a scan of all keys that begin with one of these bytes.
    Open(u8, Of, u8, u8, Locking, RowWait),
    Move(u8, Move),
    SetWait(u8, RowWait),
    /// Gives the row back that was read last, by a scan or by its key.
    Unlock(u8, bool),
}

fn byte() -> impl Strategy<Value = u8> {
    0..SIZE
}

fn slot() -> impl Strategy<Value = u8> {
    0..SLOTS
}

fn row() -> impl Strategy<Value = Row> {
    (byte(), byte(), byte()).prop_map(|(number, group, name)| Row {
        number,
        group,
        name,
    })
}

fn isolation() -> impl Strategy<Value = Isolation> {
    prop_oneof![
        1 => Just(Isolation::ReadUncommitted),
        3 => Just(Isolation::ReadCommitted),
        3 => Just(Isolation::RepeatableRead),
        1 => Just(Isolation::Serializable),
    ]
}

fn wait() -> impl Strategy<Value = RowWait> {
    prop_oneof![
        Just(RowWait::Wait),
        Just(RowWait::NoWait),
        Just(RowWait::SkipLocked),
        Just(RowWait::SemiConsistent),
    ]
}

fn locking() -> impl Strategy<Value = Locking> {
    prop_oneof![
        1 => Just(None),
        2 => Just(Some(LockMode::Shared)),
        4 => Just(Some(LockMode::Exclusive)),
    ]
}

fn motion() -> impl Strategy<Value = Move> {
    prop_oneof![
        1 => Just(Move::First),
        1 => Just(Move::Last),
        1 => byte().prop_map(Move::AtOrAfter),
        1 => byte().prop_map(Move::Before),
        6 => Just(Move::Next),
        4 => Just(Move::Prev),
    ]
}

fn any_index() -> impl Strategy<Value = Of> {
    prop_oneof![Just(Of::Rows), Just(Of::Groups), Just(Of::Names)]
}

fn op() -> impl Strategy<Value = Op> {
    let by_key = prop_oneof![Just(Of::Rows), Just(Of::Names)];
    prop_oneof![
        2 => (slot(), isolation()).prop_map(|(slot, isolation)| Op::Begin(slot, isolation)),
        5 => slot().prop_map(Op::Commit),
        1 => slot().prop_map(Op::Statement),
        8 => (slot(), row()).prop_map(|(slot, row)| Op::Add(slot, row)),
        3 => (slot(), byte()).prop_map(|(slot, number)| Op::Remove(slot, number)),
        4 => (slot(), byte(), row(), any::<bool>())
            .prop_map(|(slot, number, row, same_name)| Op::Change(slot, number, row, same_name)),
        5 => (slot(), by_key, byte(), locking(), wait())
            .prop_map(|(slot, of, key, locking, wait)| Op::Get(slot, of, key, locking, wait)),
        6 => (slot(), any_index(), byte(), byte(), locking(), wait())
            .prop_map(|(slot, of, one, other, locking, wait)| Op::Open(slot, of, one.min(other), one.max(other), locking, wait)),
        30 => (slot(), motion()).prop_map(|(slot, motion)| Op::Move(slot, motion)),
        1 => (slot(), wait()).prop_map(|(slot, wait)| Op::SetWait(slot, wait)),
        4 => (slot(), any::<bool>()).prop_map(|(slot, scan)| Op::Unlock(slot, scan)),
    ]
}

/// The table is filled first, as far as the rows go with each other.
pub fn ops() -> impl Strategy<Value = (Vec<Row>, Vec<Op>)> {
    let rows = proptest::collection::vec(row(), 0..8);
    (rows, proptest::collection::vec(op(), 1..120))
}
