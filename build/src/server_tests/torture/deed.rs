//! What a client did, and what it was told about the outcome: the truth that tables and binary log are compared with.

/// Which engine a row is in: the one under test, or InnoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Tested,
    InnoDb,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Tested, Self::InnoDb];

    /// The ending of this side's tables' names.
    pub fn suffix(self) -> char {
        match self {
            Self::Tested => 't',
            Self::InnoDb => 'i',
        }
    }

    pub fn index(self) -> usize {
        match self {
            Self::Tested => 0,
            Self::InnoDb => 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub side: Side,
    pub id: usize,
}

/// The number of a client and of one of its transactions: every transaction leaves a row with both, its mark, in each
/// engine that it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    pub client: u64,
    pub number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Transfer {
        from: Account,
        to: Account,
        amount: i64,
    },
    /// Rows with unique keys.
    Insert { rows: u64 },
    /// A statement in the middle of which a unique key was violated: its rows must not be there.
    Refused,
    /// The rows that another transaction of the same client inserted are removed.
    Remove { number: u64 },
}

impl Work {
    pub fn name(self) -> &'static str {
        match self {
            Self::Transfer { from, to, .. } if from.side == to.side => "transfer",
            Self::Transfer { .. } => "transfer across engines",
            Self::Insert { .. } => "insert",
            Self::Refused => "refused insert",
            Self::Remove { .. } => "remove",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Committed,
    RolledBack,
    /// COMMIT or XA COMMIT was sent.
    CommitSent,
    /// XA PREPARE was sent.
    PrepareSent,
    /// XA PREPARE was answered.
    Prepared,
    /// XA ROLLBACK was sent.
    RollbackSent,
}

#[derive(Clone, Debug)]
pub struct Deed {
    pub mark: Mark,
    pub work: Work,
    pub fate: Fate,
    pub xa: bool,
}

impl Deed {
    pub fn touches(&self, side: Side) -> bool {
        match self.work {
            Work::Transfer { from, to, .. } => from.side == side || to.side == side,
            Work::Insert { .. } | Work::Refused | Work::Remove { .. } => side == Side::Tested,
        }
    }

    /// The name of its XA transaction.
    pub fn xid(&self) -> String {
        xid(self.mark)
    }
}

pub fn xid(mark: Mark) -> String {
    format!("{}-{}", mark.client, mark.number)
}

pub fn parse_xid(text: &str) -> Option<Mark> {
    let (client, number) = text.split_once('-')?;
    Some(Mark {
        client: client.parse().ok()?,
        number: number.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_xa_transaction_is_its_mark() {
        let mark = Mark {
            client: 3,
            number: 45,
        };
        assert_eq!(parse_xid(&xid(mark)), Some(mark));
        assert_eq!(parse_xid("x"), None);
    }
}
