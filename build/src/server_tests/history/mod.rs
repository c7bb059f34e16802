//! `cargo xtask history`: random transactions from many connections against a live server, and a checker that looks for
//! anomalies in what they were told. The idea is that of Elle's list-append workload: since lists only grow and every
//! append is unique, reads tell the order of versions, and so who depended on whom.

mod anomaly;
mod check;
#[cfg(test)]
mod check_tests;
mod client;
mod graph;
mod internal;
mod model;
mod order;
mod points;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::host::paths;
use crate::host::progress::Step;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, Plugin, PluginArgs};
use crate::server::engines::Engine;
use crate::server::{Server, Setup};
use crate::server_tests::random::Random;

use anomaly::{Anomaly, Violation};
use client::{Shared, Worker};
use model::{Action, Op, Outcome, Transaction};

pub use model::Level;

/// How many anomalies of a kind are printed whole.
const SHOWN: usize = 2;

#[derive(clap::Args, Clone)]
pub struct HistoryArgs {
    #[command(flatten)]
    pub plugin: PluginArgs,
    /// Isolation level of the transactions
    #[arg(long, value_enum, default_value = "serializable")]
    pub level: Level,
    /// The level whose anomalies are looked for [default: that of --level]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub check_as: Option<Level>,
    /// Repeats the same choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[arg(long, default_value_t = 15)]
    pub seconds: u64,
    #[arg(long, default_value_t = 16)]
    pub connections: usize,
    /// Kill the server (-9) at random moments
    #[arg(long)]
    pub kills: bool,
    /// Write a binary log
    #[arg(long)]
    pub binlog: bool,
    #[arg(long, value_enum, default_value = "SMARTENGINE")]
    pub engine: Engine,
}

impl Default for HistoryArgs {
    fn default() -> Self {
        Self {
            plugin: PluginArgs::default(),
            level: Level::Serializable,
            check_as: None,
            seed: 1,
            seconds: 15,
            connections: 16,
            kills: false,
            binlog: false,
            engine: Engine::Smartengine,
        }
    }
}

pub fn run(args: &HistoryArgs, mysql: &MysqlArgs) -> Result<()> {
    let mysql = Mysql::locate(mysql)?;
    let plugin = match args.engine {
        Engine::Smartengine => Some(plugin::build_for_tests(&mysql, args.plugin)?),
        Engine::InnoDb => None,
    };
    run_with(args, &mysql, plugin.as_ref())
}

/// What was found in a history.
pub struct Findings {
    violations: Vec<Violation>,
    /// Where the whole history is, if there are any.
    file: PathBuf,
}

impl Findings {
    pub fn is_empty(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Runs on a plugin that is built already; any anomaly is an error.
pub fn run_with(args: &HistoryArgs, mysql: &Mysql, plugin: Option<&Plugin>) -> Result<()> {
    let found = find(args, mysql, plugin)?;
    let level = args.check_as.unwrap_or(args.level);
    if found.is_empty() {
        println!("no anomaly that {} forbids", level.sql());
        return Ok(());
    }
    let mut counts: BTreeMap<Anomaly, usize> = BTreeMap::new();
    for violation in &found.violations {
        let count = counts.entry(violation.anomaly).or_default();
        *count += 1;
        if *count <= SHOWN {
            println!("\n{violation}");
        }
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(anomaly, count)| format!("{count} of {anomaly}"))
        .collect();
    bail!(
        "anomalies that {} forbids: {} (seed {}); the whole history is in {}, the server's log beside it",
        level.sql(),
        counts.join(", "),
        args.seed,
        found.file.display()
    );
}

/// Runs the transactions and looks for anomalies.
pub fn find(args: &HistoryArgs, mysql: &Mysql, plugin: Option<&Plugin>) -> Result<Findings> {
    // Apart from each other, so that the next one does not remove what a failure has left to look at.
    let work = paths::fresh(&format!("history/{}", folder(args)))?;
    let setup = setup(args, mysql, plugin, &work);
    let server = setup.start()?;
    create_table(&server, args.engine)?;
    let (history, kills) = record(args, &setup, server)?;
    let step = Step::spinner("look for anomalies");
    let violations = check::check(&history, args.check_as.unwrap_or(args.level));
    step.done();
    println!("{}", summary(args, &history, kills));
    let file = work.join("history.txt");
    if !violations.is_empty() {
        let lines: Vec<_> = history.iter().map(Transaction::describe).collect();
        fs::write(&file, lines.join("\n") + "\n")?;
    }
    Ok(Findings { violations, file })
}

fn folder(args: &HistoryArgs) -> String {
    let name = |level: Level| level.sql().to_lowercase().replace(' ', "_");
    match args.check_as {
        None => name(args.level),
        Some(other) => format!("{}_as_{}", name(args.level), name(other)),
    }
}

fn setup(args: &HistoryArgs, mysql: &Mysql, plugin: Option<&Plugin>, work: &Path) -> Setup {
    let mut options: Vec<_> = [
        "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=2",
        "--performance-schema=OFF",
    ]
    .map(Into::into)
    .into();
    if plugin.is_some() {
        options.push("--smartengine-lock-wait-timeout=2".into());
        // Small, so that flushes and compactions happen while transactions run.
        options.push("--smartengine-memtable-size=1M".into());
    }
    if !args.binlog {
        options.push("--skip-log-bin".into());
    }
    Setup {
        mysql: mysql.clone(),
        datadir: work.join("data"),
        plugin: plugin.cloned(),
        port: None,
        log: Some(work.join("server.log")),
        options,
        environment: Vec::new(),
    }
}

fn create_table(server: &Server, engine: Engine) -> Result<()> {
    let mut client = server.connect()?;
    client.query("CREATE DATABASE history")?;
    client.query(&format!(
        "CREATE TABLE history.lists (k BIGINT PRIMARY KEY, s BIGINT NOT NULL, v VARCHAR(1000) CHARACTER SET ascii NOT NULL, \
         KEY s (s), KEY sv (s, v)) ENGINE={}",
        engine.name()
    ))?;
    Ok(())
}

/// Runs the connections, kills the server if asked to, and reads every list at the end.
fn record(args: &HistoryArgs, setup: &Setup, server: Server) -> Result<(Vec<Transaction>, usize)> {
    let shared = Shared {
        socket: server.socket().to_path_buf(),
        level: args.level,
        stop: AtomicBool::new(false),
        appended: AtomicU64::new(0),
        began: Instant::now(),
    };
    let step = Step::count(
        format!(
            "{} connections at {} on {}",
            args.connections,
            args.level.sql(),
            args.engine.name()
        ),
        args.seconds,
    );
    let (mut history, kills, server) = thread::scope(|scope| -> Result<_> {
        let workers: Vec<_> = (0..args.connections)
            .map(|id| {
                let worker = Worker::new(&shared, id, args.seed, args.kills);
                scope.spawn(move || worker.run())
            })
            .collect();
        let lived = live(args, setup, server, &shared, &step, &|| {
            workers.iter().any(thread::ScopedJoinHandle::is_finished)
        });
        shared.stop.store(true, Ordering::Relaxed);
        let mut history = Vec::new();
        let mut failed = None;
        for worker in workers {
            match worker.join().expect("a worker does not panic") {
                Ok(transactions) => history.extend(transactions),
                Err(error) => failed = Some(error),
            }
        }
        let (server, kills) = lived?;
        match failed {
            Some(error) => Err(error),
            None => Ok((history, kills, server)),
        }
    })?;
    step.done();
    history.push(read_all(args, &shared, &history)?);
    server.shut_down()?;
    Ok((history, kills))
}

/// Lets the server run, or die now and then, until time is up or a worker has given up.
fn live(
    args: &HistoryArgs,
    setup: &Setup,
    mut server: Server,
    shared: &Shared,
    step: &Step,
    given_up: &dyn Fn() -> bool,
) -> Result<(Server, usize)> {
    let mut random = Random::stream(args.seed, u64::MAX);
    let mut kills = 0;
    let mut next_kill = Duration::from_millis(random.between(1000, 4000));
    let mut alive = Instant::now();
    loop {
        let elapsed = shared.began.elapsed();
        step.set(elapsed.as_secs());
        if elapsed >= Duration::from_secs(args.seconds) || given_up() {
            return Ok((server, kills));
        }
        if let Some(status) = server.ended()? {
            bail!("the server ended by itself ({status}): see its log");
        }
        if args.kills && alive.elapsed() >= next_kill {
            server.kill()?;
            server = setup.start().context("start after a kill")?;
            kills += 1;
            alive = Instant::now();
            next_kill = Duration::from_millis(random.between(500, 4000));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// One transaction that reads every list there may be, by either index.
fn read_all(args: &HistoryArgs, shared: &Shared, history: &[Transaction]) -> Result<Transaction> {
    let last = history
        .iter()
        .flat_map(|transaction| &transaction.ops)
        .filter_map(|op| match op.action {
            Action::Append { key, .. } | Action::Undone { key, .. } => Some(key),
            Action::Read { .. } => None,
        })
        .max();
    let keys: Vec<_> = (0..=last.unwrap_or(0)).collect();
    let mut client = shared.connect()?;
    let mut ops = Vec::new();
    client.query("BEGIN")?;
    for index in ["PRIMARY", "s", "sv"] {
        let started = shared.now();
        let rows = client.query(&format!(
            "SELECT k, v FROM lists FORCE INDEX ({index}) WHERE k >= 0 AND s > -1000000000"
        ))?;
        ops.push(Op {
            action: Action::Read {
                locking: false,
                how: format!("by {index}"),
                lists: client::parse(&rows, &keys)?,
            },
            started,
            ended: shared.now(),
        });
    }
    let commit_started = shared.now();
    client.query("COMMIT")?;
    Ok(Transaction {
        client: args.connections,
        number: 0,
        ops,
        outcome: Outcome::Committed,
        snapshot: None,
        commit_started,
        ended: shared.now(),
        error: None,
    })
}

fn summary(args: &HistoryArgs, history: &[Transaction], kills: usize) -> String {
    let ended = |outcome| {
        history
            .iter()
            .filter(|transaction| transaction.outcome == outcome)
            .count()
    };
    let refused = |code| {
        history
            .iter()
            .filter(|transaction| transaction.error == Some(code))
            .count()
    };
    let (mut reads, mut appends) = (0, 0);
    for op in history.iter().flat_map(|transaction| &transaction.ops) {
        match op.action {
            Action::Read { .. } => reads += 1,
            _ => appends += 1,
        }
    }
    format!(
        "history: {} on {}, seed {}: {} transactions committed, \
         {} rolled back ({} deadlocks, {} lock-wait timeouts, {} of NOWAIT), {} unknown; {reads} reads, {appends} appends, {kills} kills",
        args.level.sql(),
        args.engine.name(),
        args.seed,
        ended(Outcome::Committed),
        ended(Outcome::Aborted),
        refused(client::ER_LOCK_DEADLOCK),
        refused(client::ER_LOCK_WAIT_TIMEOUT),
        refused(client::ER_LOCK_NOWAIT),
        ended(Outcome::Unknown)
    )
}
