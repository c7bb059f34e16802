//! Everything that a run consists of, and what happens next, which a seed decides.
//!
//! All runs in one thread. Where a node calls the bucket or waits, others may act before it goes on: so they meet in the middle of each other's
//! attaching, flushing and committing. A node dies by an unwinding panic at such a place, or at a change of its disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use smartengine::internals::env::fs::{FaultFs, PowerLoss};
use smartengine::internals::env::{Clock, Sequence, seed_quick_random, seed_unique_numbers};
use smartengine::internals::object_store::MemoryStore;
use smartengine::{Engine, Error, ErrorKind, Result};

use crate::bucket::{Change, Defect, Fate};
use crate::model::Model;
use crate::node;

/// How long objects that are not needed any more are kept.
pub const GRACE: Duration = Duration::from_secs(20);
/// Actions of others that may begin while one is under way.
const INTERRUPTIONS: u64 = 6;

/// What unwinds when a node dies.
pub struct Death;

/// How one node reaches the bucket.
#[derive(Clone, Copy, Debug)]
enum Weather {
    Clear,
    /// Of so many calls one is refused, one is not answered, and one acts late.
    Rough(u64),
    /// Nothing until then.
    Away(Duration),
    /// Each call takes up to this long.
    Slow(Duration),
}

#[derive(Default)]
pub struct Node {
    pub disk: FaultFs,
    pub engine: Option<Engine>,
    /// Its number in the model.
    pub writer: usize,
}

struct State {
    now: Duration,
    sequence: Sequence,
    trace: Vec<String>,
    weather: Vec<Weather>,
    /// By when they act, and in which order they were sent.
    late: BTreeMap<(Duration, u64), Change>,
    sent: u64,
    lives: Vec<u64>,
    busy: Vec<bool>,
    opening: Vec<bool>,
    interruptions: u64,
    /// Of so many steps a node dies at one; 0 for none.
    death_odds: u64,
    /// Nothing happens while somebody looks.
    calm: bool,
}

pub struct World {
    pub objects: Arc<MemoryStore>,
    pub model: Mutex<Model>,
    pub nodes: Vec<Mutex<Node>>,
    pub defect: Option<Defect>,
    state: Mutex<State>,
}

/// One life of a node, from a start of its process to its end.
#[derive(Clone)]
pub struct Life {
    world: Weak<World>,
    pub node: usize,
    number: u64,
}

impl Life {
    /// The world, if this life has not ended.
    pub fn alive(&self) -> Result<Arc<World>> {
        let world = self.world.upgrade();
        world
            .filter(|world| world.state.lock().lives[self.node] == self.number)
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "this node is dead"))
    }

    /// Before a change of the local disk.
    pub fn local_step(&self) -> Result<()> {
        let world = self.alive()?;
        world.perhaps_die(self.node, 4);
        Ok(())
    }
}

impl Clock for Life {
    fn now(&self) -> Duration {
        let world = self.world.upgrade();
        world.map_or(Duration::ZERO, |world| world.now())
    }

    fn sleep(&self, duration: Duration) {
        let Ok(world) = self.alive() else { return };
        world.interrupt(self.node);
        world.pass(duration);
        world.perhaps_die(self.node, 1);
    }

    fn unix_millis(&self) -> u64 {
        Clock::now(self).as_millis() as u64
    }
}

impl World {
    pub fn new(seed: u64, defect: Option<Defect>) -> Arc<Self> {
        seed_quick_random(seed);
        seed_unique_numbers(seed);
        let mut sequence = Sequence::new(seed);
        let nodes = 2 + sequence.below(2) as usize;
        let death_odds = [0, 2000, 500, 120][sequence.below(4) as usize];
        Arc::new(Self {
            objects: Arc::new(MemoryStore::new()),
            model: Mutex::new(Model::new()),
            nodes: (0..nodes).map(|_| Mutex::default()).collect(),
            defect,
            state: Mutex::new(State {
                now: Duration::ZERO,
                sequence,
                trace: Vec::new(),
                weather: vec![Weather::Clear; nodes],
                late: BTreeMap::new(),
                sent: 0,
                lives: vec![0; nodes],
                busy: vec![false; nodes],
                opening: vec![false; nodes],
                interruptions: 0,
                death_odds,
                calm: false,
            }),
        })
    }

    pub fn now(&self) -> Duration {
        self.state.lock().now
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.state.lock().sequence.below(bound)
    }

    pub fn one_in(&self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub fn note(&self, what: &str) {
        let mut state = self.state.lock();
        let line = format!("{:>11.3?} {what}", state.now);
        state.trace.push(line);
    }

    pub fn trace(&self) -> Vec<String> {
        self.state.lock().trace.clone()
    }

    pub fn life(self: &Arc<Self>, node: usize) -> Life {
        Life {
            world: Arc::downgrade(self),
            node,
            number: self.state.lock().lives[node],
        }
    }

    pub fn is_opening(&self, node: usize) -> bool {
        self.state.lock().opening[node]
    }

    pub fn set_opening(&self, node: usize, opening: bool) {
        self.state.lock().opening[node] = opening;
    }

    /// Looks at something while nothing happens and all works.
    pub fn calmly<T>(&self, look: impl FnOnce() -> T) -> T {
        self.state.lock().calm = true;
        let seen = look();
        self.state.lock().calm = false;
        seen
    }

    fn is_calm(&self) -> bool {
        self.state.lock().calm
    }

    /// Lets time pass, and what was sent long ago act.
    pub fn pass(&self, time: Duration) {
        let until = self.now() + time;
        loop {
            let mut state = self.state.lock();
            match state.late.first_key_value() {
                Some((&(at, number), _)) if at <= until => {
                    let change = state.late.remove(&(at, number)).unwrap();
                    state.now = state.now.max(at);
                    drop(state);
                    let done = self.change(&change);
                    let done = done.map_err(|error| error.kind());
                    self.note(&format!("late change to {}: {done:?}", change.key));
                }
                _ => {
                    state.now = until;
                    return;
                }
            }
        }
    }

    pub fn change_later(&self, time: Duration, change: Change) {
        let mut state = self.state.lock();
        state.sent += 1;
        let at = (state.now + time, state.sent);
        state.late.insert(at, change);
    }

    /// Before a call acts: what becomes of it.
    pub fn begin_call(self: &Arc<Self>, life: &Life, what: &str, key: &str) -> Fate {
        if self.is_calm() {
            return Fate::Good;
        }
        self.interrupt(life.node);
        self.perhaps_die(life.node, 1);
        let mut time = Duration::from_millis(1 + self.below(20));
        let weather = self.state.lock().weather[life.node];
        let fate = match weather {
            Weather::Clear => Fate::Good,
            Weather::Slow(longest) => {
                time += longest.mul_f64(self.below(1000) as f64 / 1000.0);
                Fate::Good
            }
            Weather::Rough(many) => match self.below(many) {
                0 => Fate::Refused,
                1 => Fate::Unanswered,
                2 => Fate::Late(Duration::from_millis(50 << self.below(13))),
                _ => Fate::Good,
            },
            Weather::Away(until) if until > self.now() => {
                time += Duration::from_millis(self.below(2000));
                Fate::Refused
            }
            Weather::Away(_) => {
                self.state.lock().weather[life.node] = Weather::Clear;
                Fate::Good
            }
        };
        self.pass(time);
        if fate != Fate::Good || what == "create" {
            self.note(&format!("node {}: {what} {key}: {fate:?}", life.node));
        }
        fate
    }

    /// After a call that went well.
    pub fn end_call(self: &Arc<Self>, life: &Life) {
        if !self.is_calm() {
            self.perhaps_die(life.node, 1);
            self.interrupt(life.node);
        }
    }

    /// Others may act.
    fn interrupt(self: &Arc<Self>, node: usize) {
        let mut state = self.state.lock();
        if state.calm || state.interruptions == 0 || state.sequence.below(30) > 0 {
            return;
        }
        state.interruptions -= 1;
        let free: Vec<usize> = (0..state.busy.len())
            .filter(|&other| !state.busy[other])
            .collect();
        if free.is_empty() {
            return;
        }
        let other = free[state.sequence.below(free.len() as u64) as usize];
        drop(state);
        self.note(&format!("node {node} is interrupted"));
        self.act(other);
        self.note(&format!("node {node} goes on"));
    }

    /// The node dies here, one time in `scarce` times the odds.
    fn perhaps_die(&self, node: usize, scarce: u64) {
        let mut state = self.state.lock();
        if state.calm || state.death_odds == 0 || std::thread::panicking() {
            return;
        }
        let odds = state.death_odds * scarce;
        if state.sequence.below(odds) == 0 {
            drop(state);
            self.die(node);
        }
    }

    /// The node dies; what its disk keeps is up to chance.
    pub fn die(&self, node: usize) -> ! {
        let loss = match self.below(4) {
            0 => PowerLoss::ProcessOnly,
            1 => PowerLoss::All,
            _ => PowerLoss::Part(self.below(u64::MAX)),
        };
        self.note(&format!("node {node} dies, loses {loss:?}"));
        let mut dead = self.nodes[node].lock();
        dead.disk = dead.disk.crash(loss);
        drop(dead);
        self.state.lock().lives[node] += 1;
        std::panic::resume_unwind(Box::new(Death))
    }

    /// A node that does nothing now does something.
    pub fn act(self: &Arc<Self>, node: usize) {
        self.with_engine(node, node::act);
    }

    /// Lends a node's engine to `body`, which returns what is left of it.
    pub fn with_engine(
        self: &Arc<Self>,
        node: usize,
        body: fn(&Arc<Self>, usize, Option<Engine>) -> Option<Engine>,
    ) {
        let engine = self.nodes[node].lock().engine.take();
        self.state.lock().busy[node] = true;
        let run = std::panic::AssertUnwindSafe(|| body(self, node, engine));
        let engine = match std::panic::catch_unwind(run) {
            Ok(engine) => engine,
            Err(panic) if panic.is::<Death>() => None,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        self.nodes[node].lock().engine = engine;
        let mut state = self.state.lock();
        state.busy[node] = false;
        state.opening[node] = false;
    }

    fn change_weather(&self) {
        let node = self.below(self.nodes.len() as u64) as usize;
        let weather = match self.below(8) {
            0..=2 => Weather::Clear,
            3..=5 => Weather::Rough(6 + self.below(40)),
            6 => Weather::Away(self.now() + Duration::from_millis(500 << self.below(9))),
            _ => Weather::Slow(Duration::from_millis(10 << self.below(8))),
        };
        self.note(&format!("node {node}: {weather:?}"));
        self.state.lock().weather[node] = weather;
    }

    /// One run.
    pub fn run(self: &Arc<Self>) {
        let steps = 20 + self.below(60);
        for _ in 0..steps {
            self.state.lock().interruptions = INTERRUPTIONS;
            if self.one_in(12) {
                self.change_weather();
            }
            let node = self.below(self.nodes.len() as u64) as usize;
            self.act(node);
        }
        self.end();
    }

    /// All is well again: whoever opens last has it all, on its own disk and then on an empty one.
    fn end(self: &Arc<Self>) {
        {
            let mut state = self.state.lock();
            state.interruptions = 0;
            state.death_odds = 0;
            let clear = vec![Weather::Clear; state.weather.len()];
            state.weather = clear;
        }
        let last = self.below(self.nodes.len() as u64) as usize;
        self.note("the end");
        self.with_engine(last, node::finish);
        self.nodes[last].lock().disk = FaultFs::new();
        self.model.lock().disk_lost(last);
        self.pass(Duration::from_secs(600));
        self.with_engine(last, node::finish);
        for node in &self.nodes {
            node.lock().engine = None;
        }
    }
}
