//! The anomalies that a history can show, in the words of Adya, Liskov and O'Neil ("Generalized isolation level
//! definitions", 2000) and of Kingsbury and Alvaro ("Elle", 2020).

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// Transactions overwrote each other: a cycle of write dependencies.
    G0,
    /// What an aborted transaction wrote was read.
    G1a,
    /// A version was read that its writer overwrote itself.
    G1b,
    /// A cycle of write and read dependencies.
    G1c,
    /// A transaction overwrote what another had written since it read the row.
    LostUpdate,
    /// A cycle with one anti-dependency: what was read is not one state.
    GSingle,
    /// A cycle with several anti-dependencies, such as a write skew.
    G2Item,
    /// A transaction contradicts what it has itself read or written.
    Internal,
    /// Two reads of one list are not prefixes of one list.
    IncompatibleOrder,
    /// A value is in a list twice.
    Duplicate,
    /// A value is in a list that nobody appended to it.
    Garbage,
    /// An acknowledged append is gone.
    Lost,
    /// Of a transaction one append is there and another is not.
    Torn,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::G0 => "G0 (write cycle)",
            Self::G1a => "G1a (aborted read)",
            Self::G1b => "G1b (intermediate read)",
            Self::G1c => "G1c (circular information flow)",
            Self::LostUpdate => "lost update",
            Self::GSingle => "G-single (read skew)",
            Self::G2Item => "G2-item (write skew)",
            Self::Internal => "internal inconsistency",
            Self::IncompatibleOrder => "incompatible order",
            Self::Duplicate => "duplicate append",
            Self::Garbage => "garbage read",
            Self::Lost => "lost append",
            Self::Torn => "torn transaction",
        })
    }
}

/// An anomaly found, with what shows it.
#[derive(Clone, Debug)]
pub struct Violation {
    pub anomaly: Anomaly,
    pub text: String,
}

impl Violation {
    pub fn new(anomaly: Anomaly, text: impl Into<String>) -> Self {
        Self {
            anomaly,
            text: text.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.anomaly, self.text)
    }
}
