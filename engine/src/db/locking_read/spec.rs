//! What a reader is asked for, and what it shows.

use crate::txn::locks::LockMode;
use crate::types::Index;

/// What a [`Reader`](super::Reader) reads, and what it locks. The default is a plain read of an index's own entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadSpec {
    /// How each row is locked. `None` reads from the transaction's snapshot and locks nothing; any lock makes it a read of the newest commit.
    pub lock: Option<LockMode>,
    /// What to do about a row that another transaction holds. It matters to reads that lock.
    pub wait: RowWait,
    /// With an index: the entries read are those of a secondary index, and the row that each one stands for is read, and locked, from this
    /// one ([`RowLocator`](super::RowLocator)). `None`: the entries themselves are wanted.
    pub row_index: Option<Index>,
}

/// What a locking read does about a row that another transaction holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowWait {
    /// Waits for it, as long as [`Transaction::set_lock_wait_timeout`](crate::Transaction::set_lock_wait_timeout) says.
    #[default]
    Wait,
    /// Fails at once with [`ErrorKind::LockNotAvailable`](crate::ErrorKind::LockNotAvailable).
    NoWait,
    /// Passes it over: for the reader it is not there.
    SkipLocked,
    /// A scan shows it as it was last committed, not locked ([`Entry::unlocked`]). The next step reads it again and waits for it, unless
    /// [`Reader::unlock_row`](super::Reader::unlock_row) comes before: so a caller waits for those rows alone that it wants. Reads of a single
    /// row wait, and so does a scan from [`Isolation::RepeatableRead`](crate::Isolation::RepeatableRead) on.
    SemiConsistent,
}

/// Where a scan is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo<'a> {
    /// On the first entry at or after a key, to go on forward.
    AtOrAfter(&'a [u8]),
    /// On the last entry before a key, to go on backward.
    Before(&'a [u8]),
    /// On the first entry of the range.
    First,
    /// On the last entry of the range.
    Last,
}

/// What a reader has come to. It borrows from the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key of the entry.
    pub key: &'a [u8],
    /// Its value. For an index that holds the rows themselves, the row.
    pub value: &'a [u8],
    /// With [`ReadSpec::row_index`]: the key of the row. Empty without.
    pub row_key: &'a [u8],
    /// With [`ReadSpec::row_index`]: the row. Empty without.
    pub row: &'a [u8],
    /// Whether it is shown without the lock that was asked for ([`RowWait::SemiConsistent`]).
    pub unlocked: bool,
    /// In a plain read with [`ReadSpec::row_index`]: whether the transaction itself wrote the row. Where
    /// [`Transaction::saw_newer`](crate::Transaction::saw_newer), such a row need not be what the entry, which is the snapshot's, says of it.
    pub own_row: bool,
}
