//! The checker: a history in, the anomalies that a level forbids out.
//!
//! What each level forbids is what InnoDB's does, in the words of `anomaly`:
//!
//! | | READ COMMITTED | REPEATABLE READ | SERIALIZABLE |
//! | --- | --- | --- | --- |
//! | G0, G1a, G1b, G1c, torn or lost transactions | no | no | no |
//! | a plain SELECT that is not one state of the database, or older than what was committed when it began | no | no | no |
//! | two plain SELECTs of different states | the later one may be newer | no, except for lists the transaction appended to | no |
//! | locking reads, and reads of own appends | newest rows, kept to the end | newest rows and gaps, kept to the end | the same for every read |
//! | lost update, G-single | may happen | may, between a plain read and an append, as appends act on the newest rows | no |
//! | G2-item | may happen | may, between plain reads and appends | no |
//!
//! `points` turns each column into a graph that has a cycle if and only if one of its "no"s happened.

use std::collections::HashSet;

use super::anomaly::{Anomaly, Violation};
use super::graph::{Allowed, Edge, Why};
use super::internal;
use super::model::{Level, Transaction};
use super::order::Orders;
use super::points::Points;

pub fn check(history: &[Transaction], level: Level) -> Vec<Violation> {
    let mut orders = Orders::infer(history);
    let mut violations = std::mem::take(&mut orders.violations);
    violations.extend(internal::check(history, level));
    let points = Points::build(history, &orders, level);
    let everything = Allowed {
        wr: true,
        rw: true,
        time: true,
    };
    for component in points.graph.components(everything, None) {
        let nodes: HashSet<_> = component.into_iter().collect();
        violations.extend(classify(history, &points, &nodes));
    }
    violations.sort_by_key(|violation| violation.anomaly);
    violations
}

/// The plainest anomaly of a component: the fewer kinds of edges the better, and preferably none of time.
fn classify(history: &[Transaction], points: &Points, nodes: &HashSet<usize>) -> Option<Violation> {
    let graph = &points.graph;
    for time in [false, true] {
        let allowed = |wr| Allowed {
            wr,
            rw: false,
            time,
        };
        let found = None
            .or_else(|| Some((Anomaly::G0, graph.plain_cycle(nodes, allowed(false))?)))
            .or_else(|| Some((Anomaly::G1c, graph.plain_cycle(nodes, allowed(true))?)))
            .or_else(|| {
                let cycle = graph.anti_cycle(nodes, allowed(true), true)?;
                let anomaly = match is_lost_update(&cycle, points) {
                    true => Anomaly::LostUpdate,
                    false => Anomaly::GSingle,
                };
                Some((anomaly, cycle))
            })
            .or_else(|| {
                Some((
                    Anomaly::G2Item,
                    graph.anti_cycle(nodes, allowed(true), false)?,
                ))
            });
        if let Some((anomaly, cycle)) = found {
            return Some(Violation::new(anomaly, explain(history, points, &cycle)));
        }
    }
    None
}

/// Whether a transaction read a list, others appended to it, and then it did itself.
fn is_lost_update(cycle: &[Edge], points: &Points) -> bool {
    let Some((Why::Rw { key: read, .. }, rest)) = cycle.first().map(|edge| (edge.why, &cycle[1..]))
    else {
        return false;
    };
    let reader = points.of[cycle[0].from].map(|point| point.transaction);
    let appended = rest.iter().rfind(|edge| edge.why != Why::Program);
    let writer = appended.and_then(|edge| points.of[edge.to].map(|point| point.transaction));
    reader == writer
        && rest.iter().all(|edge| match edge.why {
            Why::Ww { key, .. } => key == read,
            Why::Program => true,
            _ => false,
        })
}

/// The cycle, one edge on each line, and then what its transactions did.
fn explain(history: &[Transaction], points: &Points, cycle: &[Edge]) -> String {
    let name = |node: usize| -> String {
        match points.of[node] {
            None => "…".to_string(),
            Some(point) => {
                let name = history[point.transaction].name();
                match point.read {
                    true => format!("{name}'s read"),
                    false => name,
                }
            }
        }
    };
    let mut lines = vec![format!("a cycle of {} steps", cycle.len())];
    for edge in cycle {
        let (from, to) = (name(edge.from), name(edge.to));
        lines.push(match edge.why {
            Why::Ww {
                key,
                from: a,
                to: b,
            } => {
                format!("{from} -ww-> {to}: list {key} has {b} after {a}")
            }
            Why::Wr { key, value } => format!("{from} -wr-> {to}: {value} of list {key} was read"),
            Why::Rw { key, next } => {
                format!("{from} -rw-> {to}: list {key} was read without {next}, which came next")
            }
            Why::Program => format!("{from} -po-> {to}: the same transaction, later"),
            // The links of the chain between two points say nothing by themselves.
            Why::Time if points.of[edge.to].is_none() && points.of[edge.from].is_none() => continue,
            Why::Time => format!("{from} -rt-> {to}: over before the other began"),
        });
    }
    let mut told = HashSet::new();
    for edge in cycle {
        if let Some(point) = points.of[edge.from]
            && told.insert(point.transaction)
        {
            lines.push(history[point.transaction].describe());
        }
    }
    lines.join("\n    ")
}
