//! A directed graph of points in time, its strongly connected components, and short cycles in them.
//!
//! An edge says that one point precedes another, and why. A cycle is a contradiction.

use std::collections::{HashSet, VecDeque};

use super::model::{Key, Value};

pub type Node = usize;

/// Why one point precedes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The second appended the next value.
    Ww { key: Key, from: Value, to: Value },
    /// The second read what the first appended.
    Wr { key: Key, value: Value },
    /// The second appended the value that comes after what the first read.
    Rw { key: Key, next: Value },
    /// Both are points of one transaction, in this order.
    Program,
    /// The first had ended before the second began.
    Time,
}

#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub from: Node,
    pub to: Node,
    pub why: Why,
}

/// Which edges a search may use.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    pub wr: bool,
    pub rw: bool,
    pub time: bool,
}

impl Allowed {
    fn has(self, why: Why) -> bool {
        match why {
            Why::Ww { .. } | Why::Program => true,
            Why::Wr { .. } => self.wr,
            Why::Rw { .. } => self.rw,
            Why::Time => self.time,
        }
    }
}

#[derive(Default)]
pub struct Graph {
    edges: Vec<Edge>,
    outgoing: Vec<Vec<usize>>,
}

impl Graph {
    pub fn add_node(&mut self) -> Node {
        self.outgoing.push(Vec::new());
        self.outgoing.len() - 1
    }

    pub fn add_edge(&mut self, from: Node, to: Node, why: Why) {
        if from != to {
            self.outgoing[from].push(self.edges.len());
            self.edges.push(Edge { from, to, why });
        }
    }

    fn edges_of(&self, node: Node, allowed: Allowed) -> impl Iterator<Item = Edge> + '_ {
        self.outgoing[node]
            .iter()
            .map(|edge| self.edges[*edge])
            .filter(move |edge| allowed.has(edge.why))
    }

    /// The components of more than one node (Tarjan, 1972), without recursion as histories are long.
    pub fn components(&self, allowed: Allowed, among: Option<&HashSet<Node>>) -> Vec<Vec<Node>> {
        const UNSEEN: usize = usize::MAX;
        let count = self.outgoing.len();
        let inside = |node: Node| among.is_none_or(|nodes| nodes.contains(&node));
        let mut index = vec![UNSEEN; count];
        let mut low = vec![0; count];
        let mut on_stack = vec![false; count];
        let mut stack = Vec::new();
        let mut next_index = 0;
        let mut found = Vec::new();
        for root in (0..count).filter(|node| inside(*node)) {
            if index[root] != UNSEEN {
                continue;
            }
            // Each frame: a node, and how many of its edges were followed.
            let mut frames = vec![(root, 0)];
            while let Some((node, followed)) = frames.last_mut() {
                let node = *node;
                if *followed == 0 {
                    index[node] = next_index;
                    low[node] = next_index;
                    next_index += 1;
                    stack.push(node);
                    on_stack[node] = true;
                }
                let mut deeper = None;
                while let Some(edge) = self.outgoing[node].get(*followed) {
                    *followed += 1;
                    let Edge { to, why, .. } = self.edges[*edge];
                    if !allowed.has(why) || !inside(to) {
                        continue;
                    }
                    if index[to] == UNSEEN {
                        deeper = Some(to);
                        break;
                    }
                    if on_stack[to] {
                        low[node] = low[node].min(index[to]);
                    }
                }
                if let Some(to) = deeper {
                    frames.push((to, 0));
                    continue;
                }
                frames.pop();
                if let Some((parent, _)) = frames.last() {
                    low[*parent] = low[*parent].min(low[node]);
                }
                if low[node] == index[node] {
                    let start = stack.iter().rposition(|on| *on == node).unwrap_or(0);
                    let component = stack.split_off(start);
                    for member in &component {
                        on_stack[*member] = false;
                    }
                    if component.len() > 1 {
                        found.push(component);
                    }
                }
            }
        }
        found
    }

    /// The shortest way from one node to another over `allowed` edges.
    fn path(
        &self,
        from: Node,
        to: Node,
        allowed: Allowed,
        among: &HashSet<Node>,
    ) -> Option<Vec<Edge>> {
        let mut reached: std::collections::HashMap<Node, Edge> = std::collections::HashMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            for edge in self.edges_of(node, allowed) {
                if !among.contains(&edge.to) || reached.contains_key(&edge.to) {
                    continue;
                }
                reached.insert(edge.to, edge);
                if edge.to == to {
                    let mut path = vec![edge];
                    while path[path.len() - 1].from != from {
                        path.push(reached[&path[path.len() - 1].from]);
                    }
                    path.reverse();
                    return Some(path);
                }
                queue.push_back(edge.to);
            }
        }
        None
    }

    /// A short cycle of a component over edges that are no anti-dependencies.
    pub fn plain_cycle(&self, among: &HashSet<Node>, allowed: Allowed) -> Option<Vec<Edge>> {
        let allowed = Allowed {
            rw: false,
            ..allowed
        };
        let component = self
            .components(allowed, Some(among))
            .into_iter()
            .min_by_key(Vec::len)?;
        let among: HashSet<Node> = component.iter().copied().collect();
        self.path(component[0], component[0], allowed, &among)
    }

    /// A short cycle through an anti-dependency: with no other one, if `single`.
    pub fn anti_cycle(
        &self,
        among: &HashSet<Node>,
        allowed: Allowed,
        single: bool,
    ) -> Option<Vec<Edge>> {
        /// How many anti-dependencies of a component are tried: enough to meet a short cycle in a large one.
        const TRIES: usize = 400;
        let back = Allowed {
            wr: true,
            rw: !single,
            ..allowed
        };
        let mut nodes: Vec<Node> = among.iter().copied().collect();
        nodes.sort_unstable();
        let mut shortest: Option<Vec<Edge>> = None;
        let anti = nodes
            .iter()
            .flat_map(|node| self.edges_of(*node, Allowed { rw: true, ..back }))
            .filter(|edge| matches!(edge.why, Why::Rw { .. }) && among.contains(&edge.to));
        for edge in anti.take(TRIES) {
            let Some(path) = self.path(edge.to, edge.from, back, among) else {
                continue;
            };
            if shortest
                .as_ref()
                .is_none_or(|known| path.len() + 1 < known.len())
            {
                let mut cycle = vec![edge];
                cycle.extend(path);
                let done = cycle.len() <= 2;
                shortest = Some(cycle);
                if done {
                    break;
                }
            }
        }
        shortest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Allowed = Allowed {
        wr: true,
        rw: true,
        time: true,
    };

    fn graph(nodes: usize, edges: &[(Node, Node, Why)]) -> Graph {
        let mut graph = Graph::default();
        for _ in 0..nodes {
            graph.add_node();
        }
        for (from, to, why) in edges {
            graph.add_edge(*from, *to, *why);
        }
        graph
    }

    const RW: Why = Why::Rw { key: 1, next: 1 };
    const WR: Why = Why::Wr { key: 1, value: 1 };

    #[test]
    fn components_are_the_cycles_alone() {
        let time = Why::Time;
        let graph = graph(
            7,
            &[
                (0, 1, time),
                (1, 2, time),
                (2, 0, time),
                (2, 3, time),
                (3, 4, time),
                (4, 3, time),
                (5, 0, time),
            ],
        );
        let mut found = graph.components(ALL, None);
        for component in &mut found {
            component.sort_unstable();
        }
        found.sort();
        assert_eq!(found, [vec![0, 1, 2], vec![3, 4]]);
        let none = Allowed { time: false, ..ALL };
        assert!(graph.components(none, None).is_empty());
        let among = HashSet::from([0, 1, 3, 4]);
        assert_eq!(graph.components(ALL, Some(&among)).len(), 1);
    }

    #[test]
    fn long_chains_need_no_stack() {
        let mut graph = graph(200_000, &[]);
        for node in 0..199_999 {
            graph.add_edge(node, node + 1, Why::Program);
        }
        assert!(graph.components(ALL, None).is_empty());
        graph.add_edge(199_999, 0, Why::Program);
        assert_eq!(graph.components(ALL, None)[0].len(), 200_000);
    }

    #[test]
    fn the_single_anti_dependency_is_told_from_several() {
        let two = graph(2, &[(0, 1, RW), (1, 0, RW)]);
        let among = HashSet::from([0, 1]);
        assert!(two.anti_cycle(&among, ALL, true).is_none());
        assert_eq!(two.anti_cycle(&among, ALL, false).unwrap().len(), 2);
        let one = graph(3, &[(0, 1, RW), (1, 2, WR), (2, 0, WR)]);
        let among = HashSet::from([0, 1, 2]);
        assert_eq!(one.anti_cycle(&among, ALL, true).unwrap().len(), 3);
        assert!(one.plain_cycle(&among, ALL).is_none());
    }
}
