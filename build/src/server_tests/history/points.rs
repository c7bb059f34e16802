//! The points in time that a history's reads and commits stand for, at the isolation that is to be shown.
//!
//! Every edge of the graph says "this was before that", so that any cycle is an anomaly of the level:
//!
//! - SERIALIZABLE: a transaction is one point.
//! - REPEATABLE READ as InnoDB's: a transaction is two. Its plain reads see the snapshot taken at the first of them (or by
//!   WITH CONSISTENT SNAPSHOT). Its appends, its locking reads and its reads of lists it has appended to act on the newest
//!   committed rows under locks kept to the end, so they stand at its commit.
//! - READ COMMITTED: each plain read is a point of its own, in the order of statements; appends, locking reads and reads
//!   of its own appends stand at the commit. A row that is not there cannot be locked, as gaps are not.
//!
//! Real time adds: a point that was over before another began precedes it. The edges of time run through a chain of
//! nodes, one for each end, so that their number stays linear.

use std::collections::{HashMap, HashSet};

use super::graph::{Graph, Node, Why};
use super::model::{Action, Key, Level, Outcome, Time, Transaction};
use super::order::{Index, Orders};

/// A node's place in the history; nodes of the time chain have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub transaction: Index,
    pub read: bool,
}

pub struct Points {
    pub graph: Graph,
    pub of: Vec<Option<Point>>,
    /// When a point began and, if it is known, was over.
    spans: Vec<(Node, Time, Option<Time>)>,
}

/// The points of one transaction while its edges are drawn.
struct Walk {
    index: Index,
    commit: Node,
    snapshot: Option<Node>,
    last: Option<Node>,
    own: HashSet<Key>,
}

impl Points {
    pub fn build(history: &[Transaction], orders: &Orders, level: Level) -> Self {
        let mut points = Self {
            graph: Graph::default(),
            of: Vec::new(),
            spans: Vec::new(),
        };
        let mut commits: HashMap<Index, Node> = HashMap::new();
        for (index, transaction) in history.iter().enumerate() {
            if !orders.is_effective(index) {
                continue;
            }
            let started = match level {
                Level::Serializable => transaction.started(),
                _ => transaction.commit_started,
            };
            let ended = (transaction.outcome == Outcome::Committed).then_some(transaction.ended);
            let node = points.add(index, false, started, ended);
            commits.insert(index, node);
        }
        points.add_write_edges(orders, &commits);
        for (index, transaction) in history.iter().enumerate() {
            if transaction.outcome == Outcome::Committed {
                points.add_reads(transaction, index, orders, &commits, level);
            }
        }
        points.add_time();
        points
    }

    fn add(&mut self, transaction: Index, read: bool, started: Time, ended: Option<Time>) -> Node {
        let node = self.graph.add_node();
        self.of.push(Some(Point { transaction, read }));
        self.spans.push((node, started, ended));
        node
    }

    fn add_write_edges(&mut self, orders: &Orders, commits: &HashMap<Index, Node>) {
        for key in orders.keys() {
            for pair in orders.of(key).windows(2) {
                let (from, to) = (pair[0], pair[1]);
                let writers = orders.writer(from).zip(orders.writer(to));
                if let Some((a, b)) = writers {
                    self.graph
                        .add_edge(commits[&a], commits[&b], Why::Ww { key, from, to });
                }
            }
        }
    }

    fn add_reads(
        &mut self,
        transaction: &Transaction,
        index: Index,
        orders: &Orders,
        commits: &HashMap<Index, Node>,
        level: Level,
    ) {
        let mut walk = Walk {
            index,
            commit: commits[&index],
            snapshot: None,
            last: None,
            own: HashSet::new(),
        };
        if let (Level::RepeatableRead, Some((started, ended))) = (level, transaction.snapshot) {
            walk.snapshot = Some(self.read_point(&mut walk, started, ended));
        }
        for op in &transaction.ops {
            let (locking, lists) = match &op.action {
                Action::Append { key, .. } => {
                    walk.own.insert(*key);
                    continue;
                }
                Action::Undone { .. } => continue,
                Action::Read { locking, lists, .. } => (*locking, lists),
            };
            // It is the first plain read that takes the snapshot, even if all it finds is the transaction's own.
            if level == Level::RepeatableRead && !locking && walk.snapshot.is_none() {
                walk.snapshot = Some(self.read_point(&mut walk, op.started, op.ended));
            }
            // The plain reads of one statement share its snapshot.
            let mut statement = None;
            for (key, list) in lists {
                let newest = locking || walk.own.contains(key);
                let node = match level {
                    Level::Serializable => walk.commit,
                    Level::RepeatableRead if newest => walk.commit,
                    Level::RepeatableRead => walk.snapshot.unwrap_or(walk.commit),
                    Level::ReadCommitted if newest && !list.is_empty() => walk.commit,
                    Level::ReadCommitted if newest => {
                        self.read_point(&mut walk, op.started, op.ended)
                    }
                    Level::ReadCommitted => match statement {
                        Some(node) => node,
                        None => {
                            let node = self.read_point(&mut walk, op.started, op.ended);
                            statement = Some(node);
                            node
                        }
                    },
                };
                let foreign = list
                    .iter()
                    .rposition(|value| orders.writer(*value).is_some_and(|by| by != index));
                if let Some(at) = foreign
                    && let Some(writer) = orders.writer(list[at])
                {
                    let (key, value) = (*key, list[at]);
                    self.graph
                        .add_edge(commits[&writer], node, Why::Wr { key, value });
                }
                if let Some(next) = orders.of(*key).get(list.len())
                    && let Some(writer) = orders.writer(*next)
                    && writer != index
                {
                    let (key, next) = (*key, *next);
                    self.graph
                        .add_edge(node, commits[&writer], Why::Rw { key, next });
                }
            }
        }
        if let Some(last) = walk.last {
            self.graph.add_edge(last, walk.commit, Why::Program);
        }
    }

    /// A point of its own for a read, after the transaction's earlier ones.
    fn read_point(&mut self, walk: &mut Walk, started: Time, ended: Time) -> Node {
        let node = self.add(walk.index, true, started, Some(ended));
        if let Some(before) = walk.last.replace(node) {
            self.graph.add_edge(before, node, Why::Program);
        }
        node
    }

    fn add_time(&mut self) {
        let spans = std::mem::take(&mut self.spans);
        let mut ends: Vec<(Time, Node)> = spans
            .iter()
            .filter_map(|(node, _, ended)| Some(((*ended)?, *node)))
            .collect();
        ends.sort_unstable();
        let mut chain: Vec<(Time, Node)> = Vec::with_capacity(ends.len());
        for (ended, node) in ends {
            let link = self.graph.add_node();
            self.of.push(None);
            self.graph.add_edge(node, link, Why::Time);
            if let Some((_, before)) = chain.last() {
                self.graph.add_edge(*before, link, Why::Time);
            }
            chain.push((ended, link));
        }
        for (node, started, _) in spans {
            let over = chain.partition_point(|(ended, _)| *ended < started);
            if let Some((_, link)) = over.checked_sub(1).map(|at| chain[at]) {
                self.graph.add_edge(link, node, Why::Time);
            }
        }
    }
}
