//! What a run consists of.

use proptest::prelude::*;

/// A row: which of the indexes, and which key in it.
pub type RowKey = (u8, u8);

/// A value, given by its seed and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub seed: u16,
    pub len: u16,
}

impl Content {
    /// Bytes that no compression makes smaller.
    pub fn bytes(self) -> Vec<u8> {
        let mut sequence = smartengine::internals::env::Sequence::new(u64::from(self.seed));
        let mut bytes = Vec::with_capacity(usize::from(self.len) + 8);
        while bytes.len() < usize::from(self.len) {
            bytes.extend(sequence.next_u64().to_le_bytes());
        }
        bytes.truncate(usize::from(self.len));
        bytes
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Move {
    First,
    Last,
    Seek(RowKey),
    SeekBefore(RowKey),
    Next(u8),
    Prev(u8),
}

#[derive(Clone, Debug)]
pub enum Op {
    /// A new transaction in a slot, whose old one is rolled back; with or without repeatable reads.
    Begin(u8, bool),
    Put(u8, RowKey, Content),
    Insert(u8, RowKey, Content),
    Delete(u8, RowKey),
    /// Moves a row, as one step.
    Rename(u8, RowKey, RowKey, Content),
    /// Many rows at once.
    Fill(u8, u8, u8, Content),
    Lock(u8, RowKey, bool),
    Savepoint(u8),
    RollbackTo(u8, u8),
    Get(u8, RowKey, bool),
    /// Opens a cursor, in place of the transaction's last one.
    Open(u8, RowKey, RowKey, bool),
    Move(u8, Move),
    /// Compares everything the transaction sees, in both directions.
    Compare(u8, bool),
    Statement(u8),
    Commit(u8),
    Rollback(u8),
    Raise(u8, u8, u16),
    Counter(u8),
    Flush,
    Compact,
    AutoCompaction(bool),
    Estimate(RowKey, RowKey),
    /// Drops an index and puts a new one in its place.
    Drop(u8),
    /// Drops all indexes but one.
    RetainOnly(u8),
    /// Closes and opens again; or drops and opens again.
    Reopen(bool),
    /// The process dies, and is started again.
    Kill,
}

pub const SLOTS: u8 = 3;
pub const INDEXES: u8 = 3;

fn slot() -> impl Strategy<Value = u8> {
    0..SLOTS
}

fn key() -> impl Strategy<Value = RowKey> {
    (0..INDEXES, any::<u8>().prop_map(|key| key % 80))
}

fn content() -> impl Strategy<Value = Content> {
    let len = prop_oneof![4 => 0u16..100, 3 => 100u16..3000, 1 => 3000u16..20_000];
    (any::<u16>(), len).prop_map(|(seed, len)| Content { seed, len })
}

fn motion() -> impl Strategy<Value = Move> {
    prop_oneof![
        1 => Just(Move::First),
        1 => Just(Move::Last),
        2 => key().prop_map(Move::Seek),
        2 => key().prop_map(Move::SeekBefore),
        5 => (1u8..20).prop_map(Move::Next),
        5 => (1u8..20).prop_map(Move::Prev),
    ]
}

fn write() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (slot(), key(), content()).prop_map(|(slot, key, content)| Op::Put(slot, key, content)),
        3 => (slot(), key(), content()).prop_map(|(slot, key, content)| Op::Insert(slot, key, content)),
        4 => (slot(), key()).prop_map(|(slot, key)| Op::Delete(slot, key)),
        2 => (slot(), key(), key(), content()).prop_map(|(slot, from, to, content)| Op::Rename(slot, from, to, content)),
        3 => (slot(), 0..INDEXES, any::<u8>(), content()).prop_map(|(slot, index, from, content)| Op::Fill(slot, index, from, content)),
        1 => (slot(), 0u8..2, any::<u16>()).prop_map(|(slot, counter, value)| Op::Raise(slot, counter, value)),
    ]
}

fn read() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (slot(), key(), any::<bool>()).prop_map(|(slot, key, newest)| Op::Get(slot, key, newest)),
        2 => (slot(), key(), key(), any::<bool>()).prop_map(|(slot, from, to, newest)| Op::Open(slot, from, to, newest)),
        8 => (slot(), motion()).prop_map(|(slot, motion)| Op::Move(slot, motion)),
        1 => (slot(), any::<bool>()).prop_map(|(slot, newest)| Op::Compare(slot, newest)),
        1 => (0u8..2).prop_map(Op::Counter),
        1 => (key(), key()).prop_map(|(from, to)| Op::Estimate(from, to)),
    ]
}

fn control() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (slot(), any::<bool>()).prop_map(|(slot, repeatable)| Op::Begin(slot, repeatable)),
        3 => slot().prop_map(Op::Savepoint),
        3 => (slot(), any::<u8>()).prop_map(|(slot, place)| Op::RollbackTo(slot, place)),
        3 => (slot(), key(), any::<bool>()).prop_map(|(slot, key, exclusive)| Op::Lock(slot, key, exclusive)),
        2 => slot().prop_map(Op::Statement),
        12 => slot().prop_map(Op::Commit),
        2 => slot().prop_map(Op::Rollback),
    ]
}

fn upkeep() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => Just(Op::Flush),
        2 => Just(Op::Compact),
        1 => any::<bool>().prop_map(Op::AutoCompaction),
        1 => (0..INDEXES).prop_map(Op::Drop),
        1 => (0..INDEXES).prop_map(Op::RetainOnly),
        1 => any::<bool>().prop_map(Op::Reopen),
        1 => Just(Op::Kill),
    ]
}

pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![40 => write(), 40 => read(), 25 => control(), 6 => upkeep()];
    prop::collection::vec(op, 50..400)
}
