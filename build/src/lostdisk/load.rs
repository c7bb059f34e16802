//! Clients that write, and the count of what they were told is committed.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::Client;
use crate::server::Server;

/// The schema of what the clients write.
pub const SCHEMA: &str = "ledger";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    Object,
    Local,
}

impl Durability {
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Local => "local",
        }
    }
}

/// What the loss of a disk has cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    /// Transactions that were acknowledged and are gone.
    pub transactions: u64,
    /// How long before the kill the oldest of them was acknowledged.
    pub age: Duration,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transactions {
            0 => f.write_str("none lost"),
            count => write!(
                f,
                "{count} lost, the oldest {} ms before the kill",
                self.age.as_millis()
            ),
        }
    }
}

/// The clients and what each was told.
pub struct Load {
    durability: Durability,
    /// Transactions of each writer, numbered from 0, that were acknowledged; and when the last ones were.
    writers: Vec<Writer>,
    /// Objects that were made in the round, by DDL that was acknowledged.
    made: Mutex<Vec<String>>,
    rounds: u64,
}

#[derive(Default)]
struct Writer {
    acknowledged: AtomicU64,
    times: Mutex<Vec<Instant>>,
    /// Of those acknowledged, how many were lost in earlier rounds.
    lost: AtomicU64,
}

impl Load {
    pub fn new(clients: usize, durability: Durability) -> Self {
        Self {
            durability,
            writers: (0..clients).map(|_| Writer::default()).collect(),
            made: Mutex::default(),
            rounds: 0,
        }
    }

    pub fn acknowledged(&self) -> u64 {
        let total = |writer: &Writer| {
            writer.acknowledged.load(Ordering::Relaxed) + writer.lost.load(Ordering::Relaxed)
        };
        self.writers.iter().map(total).sum()
    }

    pub fn prepare(&self, server: &Server) -> Result<()> {
        let mut client = server.connect()?;
        client.query(&format!("CREATE DATABASE {SCHEMA}"))?;
        client.query(&format!(
            "CREATE TABLE {SCHEMA}.entry (writer INT, number BIGINT, part INT, text VARCHAR(40), PRIMARY KEY (writer, number, part), KEY (text))"
        ))?;
        client.query(&format!(
            "CREATE TABLE {SCHEMA}.total (writer INT PRIMARY KEY, number BIGINT NOT NULL)"
        ))?;
        for writer in 0..self.writers.len() {
            client.query(&format!("INSERT INTO {SCHEMA}.total VALUES ({writer}, 0)"))?;
        }
        Ok(())
    }

    /// Writes for `time`, then kills the server; when that was.
    pub fn run(&mut self, server: &mut Server, time: Duration) -> Result<Instant> {
        self.rounds += 1;
        self.made.lock().expect("no panic").clear();
        let clients: Vec<Client> = self
            .writers
            .iter()
            .map(|_| server.connect())
            .collect::<Result<_>>()?;
        let ddl = server.connect()?;
        let load = &*self;
        thread::scope(|scope| -> Result<Instant> {
            for (number, (writer, client)) in load.writers.iter().zip(clients).enumerate() {
                scope.spawn(move || writer.work(number, client));
            }
            scope.spawn(move || load.define(ddl));
            thread::sleep(time);
            let now = Instant::now();
            server.kill_now()?;
            Ok(now)
        })
    }

    /// Makes tables and users until the server is gone.
    fn define(&self, mut client: Client) {
        for number in 0.. {
            let name = format!("r{}_{number}", self.rounds);
            let statements = [
                format!("CREATE TABLE {SCHEMA}.{name} (id INT PRIMARY KEY)"),
                format!("CREATE USER {name}@localhost IDENTIFIED BY 'x'"),
            ];
            for (statement, kind) in statements.iter().zip(["table", "user"]) {
                if client.query(statement).is_err() {
                    return;
                }
                let made = format!("{kind} {name}");
                self.made.lock().expect("no panic").push(made);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Compares what is there with what was acknowledged; what a local acknowledgement did not keep is counted.
    pub fn check(&mut self, server: &Server, killed_at: Instant) -> Result<Loss> {
        let mut client = server.connect()?;
        let mut loss = Loss::default();
        for (number, writer) in self.writers.iter().enumerate() {
            let found = writer.check(number, &mut client)?;
            let acknowledged = writer.acknowledged.load(Ordering::Relaxed);
            ensure!(
                found <= acknowledged + 1,
                "writer {number} has {found} transactions, and was told of {acknowledged}"
            );
            let mut times = writer.times.lock().expect("no panic");
            if let Some(lost) = acknowledged.checked_sub(found)
                && lost > 0
            {
                loss.transactions += lost;
                let first = times.len().saturating_sub(usize::try_from(lost)?);
                if let Some(&at) = times.get(first) {
                    loss.age = loss.age.max(killed_at.saturating_duration_since(at));
                }
                writer.lost.fetch_add(lost, Ordering::Relaxed);
            }
            writer.acknowledged.store(found, Ordering::Relaxed);
            times.clear();
        }
        if self.durability == Durability::Object {
            for made in self.made.lock().expect("no panic").iter() {
                let (kind, name) = made.split_once(' ').context("a kind and a name")?;
                let sql = match kind {
                    "table" => format!("SELECT COUNT(*) FROM {SCHEMA}.{name}"),
                    _ => format!("SHOW GRANTS FOR {name}@localhost"),
                };
                client
                    .query(&sql)
                    .with_context(|| format!("{made}, which was made, is gone"))?;
            }
        }
        // Not part of the next comparison.
        let users = client.query("SELECT user FROM mysql.user WHERE user REGEXP '^r[0-9]+_'")?;
        for index in 0..users.len() {
            let name = users
                .row(index)
                .into_iter()
                .next()
                .flatten()
                .unwrap_or_default();
            client.query(&format!("DROP USER {name}@localhost"))?;
        }
        let checked = client.query(&format!(
            "CHECK TABLE {SCHEMA}.entry, {SCHEMA}.total EXTENDED"
        ))?;
        for index in 0..checked.len() {
            let row = checked.row(index);
            ensure!(
                row.last().cloned().flatten().as_deref() == Some("OK"),
                "{row:?}"
            );
        }
        Ok(loss)
    }
}

fn text(writer: usize, number: u64, part: u64) -> String {
    format!("{writer} wrote {number}.{part}")
}

impl Writer {
    /// Writes until the server is gone.
    fn work(&self, id: usize, mut client: Client) {
        loop {
            let number = self.acknowledged.load(Ordering::Relaxed);
            if Self::transaction(id, number, &mut client).is_err() {
                return;
            }
            self.times.lock().expect("no panic").push(Instant::now());
            self.acknowledged.store(number + 1, Ordering::Relaxed);
        }
    }

    fn transaction(id: usize, number: u64, client: &mut Client) -> Result<()> {
        client.query("BEGIN")?;
        for part in 0..=number % 3 {
            let text = text(id, number, part);
            client.query(&format!(
                "INSERT INTO {SCHEMA}.entry VALUES ({id}, {number}, {part}, '{text}')"
            ))?;
        }
        client.query(&format!(
            "UPDATE {SCHEMA}.total SET number = {} WHERE writer = {id}",
            number + 1
        ))?;
        client.query("COMMIT")?;
        Ok(())
    }

    /// How many transactions are there, each whole and none missing in between.
    fn check(&self, id: usize, client: &mut Client) -> Result<u64> {
        let total: u64 = client
            .query(&format!(
                "SELECT number FROM {SCHEMA}.total WHERE writer = {id}"
            ))?
            .scalar()
            .parse()
            .with_context(|| format!("writer {id} has no total"))?;
        let rows = client.query(&format!(
            "SELECT number, part, text FROM {SCHEMA}.entry WHERE writer = {id} ORDER BY number, part"
        ))?;
        let mut index = 0;
        for number in 0..total {
            for part in 0..=number % 3 {
                ensure!(
                    index < rows.len(),
                    "writer {id} ends at {number}.{part}, its total says {total}"
                );
                let expected = [number.to_string(), part.to_string(), text(id, number, part)];
                let row: Vec<String> = rows.row(index).into_iter().flatten().collect();
                ensure!(
                    row == expected,
                    "writer {id}: {row:?} stands where {expected:?} belongs"
                );
                index += 1;
            }
        }
        ensure!(
            index == rows.len(),
            "writer {id} has rows beyond its total of {total}"
        );
        Ok(total)
    }
}
