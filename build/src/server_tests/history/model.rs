//! What clients did and what they were told: all that the checker knows.

use clap::ValueEnum;

pub type Key = u64;
/// Every append of a history has a value of its own.
pub type Value = u64;
/// Nanoseconds since the history began, on one clock for all clients.
pub type Time = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Level {
    /// The name in SQL.
    pub fn sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// A list as a read found it; an absent row is an empty one.
pub type List = Vec<Value>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Append {
        key: Key,
        value: Value,
    },
    /// An append that a ROLLBACK TO SAVEPOINT took back.
    Undone {
        key: Key,
        value: Value,
    },
    /// One SELECT; FOR SHARE and FOR UPDATE are `locking`.
    Read {
        locking: bool,
        /// How it asked, for the report.
        how: String,
        lists: Vec<(Key, List)>,
    },
}

/// One statement, from when it was sent to when its answer came.
#[derive(Clone, Debug)]
pub struct Op {
    pub action: Action,
    pub started: Time,
    pub ended: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    Aborted,
    /// COMMIT was sent and its answer never came.
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Transaction {
    pub client: usize,
    /// Counts the client's transactions.
    pub number: usize,
    pub ops: Vec<Op>,
    pub outcome: Outcome,
    /// When WITH CONSISTENT SNAPSHOT was sent and when it was answered.
    pub snapshot: Option<(Time, Time)>,
    /// When COMMIT was sent; of a statement that commits by itself, when that was.
    pub commit_started: Time,
    /// When the outcome was known.
    pub ended: Time,
    /// The error for which it was rolled back.
    pub error: Option<u16>,
}

impl Transaction {
    pub fn name(&self) -> String {
        format!("T{}.{}", self.client, self.number)
    }

    /// When it first did something.
    pub fn started(&self) -> Time {
        let first = self
            .ops
            .first()
            .map_or(self.commit_started, |op| op.started);
        self.snapshot.map_or(first, |(at, _)| at.min(first))
    }

    /// What it appended and did not take back, in order.
    pub fn appends(&self) -> impl Iterator<Item = (Key, Value)> + '_ {
        self.ops.iter().filter_map(|op| match op.action {
            Action::Append { key, value } => Some((key, value)),
            _ => None,
        })
    }

    /// On one line for a report.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if self.snapshot.is_some() {
            parts.push("snapshot".to_string());
        }
        for op in &self.ops {
            match &op.action {
                Action::Append { key, value } => parts.push(format!("append {key}:{value}")),
                Action::Undone { key, value } => {
                    parts.push(format!("append {key}:{value} and take it back"));
                }
                Action::Read {
                    locking,
                    how,
                    lists,
                } => {
                    let lists: Vec<_> = lists
                        .iter()
                        .map(|(key, list)| format!("{key}={}", abbreviated(list)))
                        .collect();
                    let verb = if *locking { "lock and read" } else { "read" };
                    parts.push(format!("{verb} {how} {}", lists.join(" ")));
                }
            }
        }
        format!("{} ({:?}): {}", self.name(), self.outcome, parts.join(", "))
    }
}

/// A list with the middle left out when it is long.
fn abbreviated(list: &[Value]) -> String {
    const SHOWN: usize = 6;
    let hidden = list.len().saturating_sub(SHOWN);
    let texts: Vec<_> = list[hidden..].iter().map(Value::to_string).collect();
    match hidden {
        0 => format!("[{}]", texts.join(" ")),
        _ => format!("[({hidden} more) {}]", texts.join(" ")),
    }
}
