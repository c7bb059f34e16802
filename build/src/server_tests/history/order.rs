//! Who appended what, and in which order: the longest read of a list shows it, as lists only grow.

use std::collections::{HashMap, HashSet};

use super::anomaly::{Anomaly, Violation};
use super::model::{Action, Key, Outcome, Transaction, Value};

/// A transaction's place in the history.
pub type Index = usize;

/// Who appended a value.
#[derive(Clone, Copy, Debug)]
struct Writer {
    transaction: Index,
    undone: bool,
}

/// The order of versions of every list, and what was wrong when reading it off the history.
pub struct Orders<'a> {
    history: &'a [Transaction],
    writers: HashMap<Value, Writer>,
    longest: HashMap<Key, &'a [Value]>,
    /// Transactions that took effect: committed, or of unknown outcome with a value in a list.
    effective: Vec<bool>,
    pub violations: Vec<Violation>,
}

impl<'a> Orders<'a> {
    pub fn infer(history: &'a [Transaction]) -> Self {
        let mut orders = Self {
            history,
            writers: HashMap::new(),
            longest: HashMap::new(),
            effective: history
                .iter()
                .map(|transaction| transaction.outcome == Outcome::Committed)
                .collect(),
            violations: Vec::new(),
        };
        orders.find_writers();
        orders.find_longest();
        orders.check_values();
        orders.check_prefixes();
        orders.check_intermediate();
        orders.check_kept();
        orders
    }

    pub fn is_effective(&self, index: Index) -> bool {
        self.effective[index]
    }

    /// The list of a key, as far as any read saw it.
    pub fn of(&self, key: Key) -> &'a [Value] {
        self.longest.get(&key).copied().unwrap_or_default()
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.longest.keys().copied()
    }

    /// The transaction whose append of this value took effect.
    pub fn writer(&self, value: Value) -> Option<Index> {
        self.writers
            .get(&value)
            .filter(|writer| !writer.undone && self.effective[writer.transaction])
            .map(|writer| writer.transaction)
    }

    fn report(&mut self, anomaly: Anomaly, text: String) {
        self.violations.push(Violation::new(anomaly, text));
    }

    fn find_writers(&mut self) {
        for (index, transaction) in self.history.iter().enumerate() {
            for op in &transaction.ops {
                let (value, undone) = match op.action {
                    Action::Append { value, .. } => (value, false),
                    Action::Undone { value, .. } => (value, true),
                    Action::Read { .. } => continue,
                };
                let transaction = index;
                self.writers.insert(
                    value,
                    Writer {
                        transaction,
                        undone,
                    },
                );
            }
        }
    }

    /// What committed transactions read.
    fn reads(&self) -> impl Iterator<Item = (Index, Key, &'a [Value])> + use<'a> {
        let history = self.history;
        history
            .iter()
            .enumerate()
            .filter(|(_, transaction)| transaction.outcome == Outcome::Committed)
            .flat_map(|(index, transaction)| {
                transaction.ops.iter().flat_map(move |op| {
                    let lists = match &op.action {
                        Action::Read { lists, .. } => lists.as_slice(),
                        _ => &[],
                    };
                    lists
                        .iter()
                        .map(move |(key, list)| (index, *key, list.as_slice()))
                })
            })
    }

    fn find_longest(&mut self) {
        for (_, key, list) in self.reads() {
            let longest = self.longest.entry(key).or_default();
            if list.len() > longest.len() {
                *longest = list;
            }
        }
    }

    /// Each value has to be there once, appended to this list by a transaction that did not abort.
    fn check_values(&mut self) {
        let mut reported = HashSet::new();
        for (reader, key, list) in self.reads() {
            let mut seen = HashSet::with_capacity(list.len());
            for value in list {
                let problem = match self.writers.get(value) {
                    _ if !seen.insert(*value) => Anomaly::Duplicate,
                    None => Anomaly::Garbage,
                    Some(writer) if writer.undone => Anomaly::G1a,
                    Some(writer) => match self.history[writer.transaction].outcome {
                        Outcome::Aborted => Anomaly::G1a,
                        Outcome::Unknown => {
                            self.effective[writer.transaction] = true;
                            continue;
                        }
                        Outcome::Committed => continue,
                    },
                };
                if !reported.insert(*value) {
                    continue;
                }
                let mut text =
                    format!("{} read {value} in list {key}", self.history[reader].name());
                if let Some(writer) = self.writers.get(value) {
                    let writer = &self.history[writer.transaction];
                    text.push_str(&format!("\n    {}", writer.describe()));
                }
                self.report(problem, text);
            }
        }
    }

    fn check_prefixes(&mut self) {
        let mut reported = HashSet::new();
        for (reader, key, list) in self.reads() {
            let longest = self.of(key);
            let same = longest.iter().zip(list).take_while(|(a, b)| a == b).count();
            if same < list.len() && reported.insert(key) {
                let text = format!(
                    "list {key}: {} has {} as number {} where the longest read has {}",
                    self.history[reader].name(),
                    list[same],
                    same + 1,
                    longest[same]
                );
                self.report(Anomaly::IncompatibleOrder, text);
            }
        }
    }

    /// A list must not end with a value after which its writer appended another one to it.
    fn check_intermediate(&mut self) {
        for (reader, key, list) in self.reads() {
            let foreign = list.iter().rev().find_map(|value| {
                let writer = self.writer(*value)?;
                (writer != reader).then_some((*value, writer))
            });
            let Some((value, writer)) = foreign else {
                continue;
            };
            let last = self.history[writer]
                .appends()
                .filter(|(other, _)| *other == key)
                .last();
            if last.is_some_and(|(_, last)| last != value) {
                let text = format!(
                    "{} read list {key} up to {value}\n    {}",
                    self.history[reader].name(),
                    self.history[writer].describe()
                );
                self.report(Anomaly::G1b, text);
            }
        }
    }

    /// Once a transaction's outcome is known, a later read of the list shows whether its append is there: all of those
    /// of a committed one have to be, and of one of unknown outcome all or none.
    fn check_kept(&mut self) {
        let mut last_read: HashMap<Key, u64> = HashMap::new();
        for (reader, key, _) in self.reads() {
            // Its snapshot may be as old as the reader.
            let last = last_read.entry(key).or_default();
            *last = self.history[reader].started().max(*last);
        }
        let present: HashSet<Value> = self
            .longest
            .values()
            .flat_map(|list| list.iter().copied())
            .collect();
        for index in 0..self.history.len() {
            let transaction = &self.history[index];
            if !self.effective[index] {
                continue;
            }
            let missing: Vec<_> = transaction
                .appends()
                .filter(|(key, value)| {
                    let read_later = last_read
                        .get(key)
                        .is_some_and(|started| *started > transaction.ended);
                    read_later && !present.contains(value)
                })
                .collect();
            if let Some((key, value)) = missing.first() {
                let any = transaction
                    .appends()
                    .any(|(_, value)| present.contains(&value));
                let anomaly = if any { Anomaly::Torn } else { Anomaly::Lost };
                let text = format!(
                    "{value} is not in list {key}\n    {}",
                    transaction.describe()
                );
                self.report(anomaly, text);
            }
        }
    }
}
