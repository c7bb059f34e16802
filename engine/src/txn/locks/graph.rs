//! Who waits for whom, and who has to give way if they wait in a circle.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use super::{LockMode, key};
use crate::txn::TxnId;
use crate::txn::sync::{Condvar, Mutex};

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The lock on a key.
    Row,
    /// To add a key where another transaction has locked the gap.
    Insertion,
    /// A gap in which another transaction has added a key.
    Gap,
}

/// The state of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Waiting,
    Granted,
    Interrupted,
    /// Of those that waited for each other, it was the cheapest to give up.
    Victim,
}

/// A request that waits.
pub struct Waiter {
    pub id: TxnId,
    pub mode: LockMode,
    /// What its transaction would lose by giving up: its locks and writes.
    pub weight: u64,
    pub wanted: Wanted,
    /// The key of the lock, of the addition, or of the gap's start.
    pub key: Box<[u8]>,
    pub since: SystemTime,
    outcome: Mutex<Outcome>,
    changed: Condvar,
}

impl Waiter {
    pub fn new(id: TxnId, mode: LockMode, weight: u64, wanted: Wanted, key: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            id,
            mode,
            weight,
            wanted,
            key: key.into(),
            since: SystemTime::now(),
            outcome: Mutex::new(Outcome::Waiting),
            changed: Condvar::new(),
        })
    }

    /// Its state.
    pub fn outcome(&self) -> Outcome {
        *self.outcome.lock()
    }

    /// Sleeps until it is decided, or until `deadline`.
    pub fn sleep(&self, deadline: std::time::Instant) {
        let mut outcome = self.outcome.lock();
        while *outcome == Outcome::Waiting {
            if self.changed.wait_until(&mut outcome, deadline).timed_out() {
                return;
            }
        }
    }

    /// Decides it, unless it is decided.
    fn finish(&self, outcome: Outcome) -> bool {
        let mut now = self.outcome.lock();
        if *now != Outcome::Waiting {
            return false;
        }
        *now = outcome;
        self.changed.notify_one();
        true
    }
}

struct Edges {
    to: Vec<TxnId>,
    waiter: Arc<Waiter>,
}

/// Who waits, and for whom.
#[derive(Default)]
pub struct WaitGraph {
    edges: HashMap<TxnId, Edges>,
    /// Transactions that were interrupted before they began to wait.
    interrupted: HashSet<TxnId>,
    /// When the last deadlock was, and what is told of it.
    last_deadlock: Option<(SystemTime, String)>,
}

/// What became of a request that is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It waits.
    Waits,
    /// Its transaction was interrupted before.
    Interrupted,
    /// It would close a circle in which nobody has less to lose.
    Victim,
}

impl WaitGraph {
    /// Lets a request wait for `to`. Of each circle that it closes the member of the least weight gives way, the request itself where weights are equal.
    /// Also returns how many victims there were.
    pub fn enter(&mut self, waiter: &Arc<Waiter>, to: Vec<TxnId>) -> (Entered, u64) {
        if self.interrupted.remove(&waiter.id) {
            return (Entered::Interrupted, 0);
        }
        let mut victims = 0;
        while let Some(circle) = self.circle(&to, waiter.id) {
            let cheapest = circle
                .iter()
                .filter_map(|id| self.edges.get(id))
                .map(|edges| edges.waiter.clone())
                .filter(|other| other.weight < waiter.weight)
                .min_by_key(|other| other.weight);
            victims += 1;
            let victim = cheapest.as_ref().unwrap_or(waiter);
            self.last_deadlock = Some((SystemTime::now(), self.tell(waiter, &circle, victim.id)));
            let Some(victim) = cheapest else {
                return (Entered::Victim, victims);
            };
            self.edges.remove(&victim.id);
            victim.finish(Outcome::Victim);
        }
        let waiter = waiter.clone();
        self.edges.insert(waiter.id, Edges { to, waiter });
        (Entered::Waits, victims)
    }

    /// Those who wait, each for the next and the last for `id`, the first being one of `targets`: the smallest such circle, so that nobody is made to
    /// give way who only stands in line with those that really wait for each other.
    fn circle(&self, targets: &[TxnId], id: TxnId) -> Option<Vec<TxnId>> {
        let mut came_from: HashMap<TxnId, TxnId> = HashMap::new();
        let mut next: VecDeque<(TxnId, TxnId)> = targets.iter().map(|&to| (id, to)).collect();
        while let Some((from, at)) = next.pop_front() {
            if at == id {
                let mut members = Vec::new();
                let mut member = from;
                while member != id {
                    members.push(member);
                    member = *came_from.get(&member)?;
                }
                members.reverse();
                return Some(members);
            }
            if let std::collections::hash_map::Entry::Vacant(new) = came_from.entry(at) {
                new.insert(from);
                if let Some(edges) = self.edges.get(&at) {
                    next.extend(edges.to.iter().map(|&to| (at, to)));
                }
            }
        }
        None
    }

    fn tell(&self, request: &Arc<Waiter>, circle: &[TxnId], victim: TxnId) -> String {
        let mut text = String::new();
        let others = circle
            .iter()
            .filter_map(|id| self.edges.get(id))
            .map(|edges| &edges.waiter);
        let members: Vec<_> = std::iter::once(request).chain(others).collect();
        for (place, member) in members.iter().enumerate() {
            let next = members[(place + 1) % members.len()];
            let what = match member.wanted {
                Wanted::Row if member.mode == LockMode::Shared => "the shared lock on",
                Wanted::Row => "the exclusive lock on",
                Wanted::Insertion => "the insertion of",
                Wanted::Gap => "the gap from",
            };
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "transaction {}, {} locks and writes, waits for {what} {} that transaction {} stands in the way of",
                member.id,
                member.weight,
                describe(&member.key),
                next.id,
            );
        }
        let _ = write!(text, "transaction {victim} is the victim");
        text
    }

    /// Decides that a request is granted, which then waits for nobody; false where it was decided otherwise.
    pub fn granted(&mut self, waiter: &Waiter) -> bool {
        let granted = waiter.finish(Outcome::Granted);
        if granted {
            self.edges.remove(&waiter.id);
        }
        granted
    }

    /// A request no longer waits. Its state is final from here on.
    pub fn leave(&mut self, waiter: &Arc<Waiter>) -> Outcome {
        if let Some(edges) = self.edges.get(&waiter.id)
            && Arc::ptr_eq(&edges.waiter, waiter)
        {
            self.edges.remove(&waiter.id);
        }
        waiter.outcome()
    }

    /// `id`, which waits, does so for `other` as well.
    pub fn waits_also_for(&mut self, id: TxnId, other: TxnId) {
        if let Some(edges) = self.edges.get_mut(&id)
            && !edges.to.contains(&other)
        {
            edges.to.push(other);
        }
    }

    /// `id` no longer waits for `other`.
    pub fn waits_no_more_for(&mut self, id: TxnId, other: TxnId) {
        if let Some(edges) = self.edges.get_mut(&id) {
            edges.to.retain(|&to| to != other);
        }
    }

    /// Interrupts a wait, the present one or the next; true where it is the next.
    pub fn interrupt(&mut self, id: TxnId) -> bool {
        if let Some(edges) = self.edges.get(&id) {
            edges.waiter.finish(Outcome::Interrupted);
            return false;
        }
        self.interrupted.insert(id)
    }

    /// Takes back an interrupt that found nothing to interrupt; returns whether there was one.
    pub fn forget_interrupt(&mut self, id: TxnId) -> bool {
        self.interrupted.remove(&id)
    }

    /// When the last deadlock was, and what is told of it.
    pub fn last_deadlock(&self) -> Option<&(SystemTime, String)> {
        self.last_deadlock.as_ref()
    }

    /// All waits, and whom each is for.
    pub fn waits(&self) -> impl Iterator<Item = (&Arc<Waiter>, &[TxnId])> {
        self.edges
            .values()
            .map(|edges| (&edges.waiter, edges.to.as_slice()))
    }
}

/// A key as people read it: its index, then the rest.
pub fn describe(key: &[u8]) -> String {
    let rest = key.get(4..).unwrap_or_default();
    format!("index {} key {}", key::index_of(key), hex(rest))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
