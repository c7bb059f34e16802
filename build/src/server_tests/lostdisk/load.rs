//! Clients that write, and the count of what they were told is committed.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::server::Server;
use crate::server::client::Client;

use super::column;
use super::loss::{Commit, Fate, Loss};

/// The schema of what the clients write.
pub const SCHEMA: &str = "ledger";
const WAIT_FOR_STORE: &str = "SET SESSION smartengine_commit_durability = 'object'";

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

/// The clients, and what each was told.
pub struct Load {
    writers: Vec<Writer>,
    /// Tables and users that were made in the round.
    made: Mutex<Vec<Made>>,
    /// Tables that were there when the round began.
    tables: Vec<String>,
    rounds: u64,
    acknowledged: u64,
}

/// One client; its transactions are numbered from 0.
#[derive(Default)]
struct Writer {
    /// How many of them were there when the round began.
    first: u64,
    /// Those of the round.
    commits: Mutex<Vec<Commit>>,
}

struct Made {
    kind: &'static str,
    name: String,
    commit: Commit,
}

impl Load {
    pub fn new(clients: usize) -> Self {
        Self {
            writers: (0..clients).map(|_| Writer::default()).collect(),
            made: Mutex::default(),
            tables: Vec::new(),
            rounds: 0,
            acknowledged: 0,
        }
    }

    /// Transactions that were acknowledged in all rounds.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub fn prepare(&self, server: &Server) -> Result<()> {
        let mut client = server.connect()?;
        // What was made before is then in the store too.
        client.query(WAIT_FOR_STORE)?;
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

    /// Writes for `time`, then kills the server; returns when that was.
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
                let commit = commit(&mut client, statement);
                let done = commit.acknowledged.is_some();
                let name = name.clone();
                self.made
                    .lock()
                    .expect("no panic")
                    .push(Made { kind, name, commit });
                if !done {
                    return;
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Compares what is there with what was acknowledged; what is missing may only be the last transactions.
    pub fn check(&mut self, server: &Server, killed_at: Instant) -> Result<Loss> {
        let mut client = server.connect()?;
        client.query(WAIT_FOR_STORE)?;
        let mut fates = Vec::new();
        for (number, writer) in self.writers.iter_mut().enumerate() {
            fates.extend(writer.check(number, &mut client)?);
        }
        let tables = column(
            &mut client,
            &format!(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = '{SCHEMA}'"
            ),
        )?;
        let users = column(
            &mut client,
            "SELECT user FROM mysql.user WHERE user REGEXP '^r[0-9]+_'",
        )?;
        for Made { kind, name, commit } in self.made.lock().expect("no panic").drain(..) {
            let found = match kind {
                "table" => tables.contains(&name),
                _ => users.contains(&name),
            };
            let what = format!("{kind} {name}");
            fates.push(Fate {
                what,
                commit,
                found,
            });
        }
        for table in &self.tables {
            ensure!(
                tables.contains(table),
                "table {table} of an earlier round is gone"
            );
        }
        for table in &tables {
            client
                .query(&format!("SELECT COUNT(*) FROM {SCHEMA}.{table}"))
                .with_context(|| format!("table {table}"))?;
        }
        self.tables = tables;
        // Not part of the next comparison.
        for name in users {
            client.query(&format!("SHOW GRANTS FOR {name}@localhost"))?;
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
        let told = fates
            .iter()
            .filter(|fate| fate.commit.acknowledged.is_some());
        self.acknowledged += told.count() as u64;
        Loss::of(&fates, killed_at)
    }
}

/// Runs a statement that commits.
fn commit(client: &mut Client, sql: &str) -> Commit {
    let sent = Instant::now();
    let acknowledged = client.query(sql).ok().map(|_| Instant::now());
    Commit { sent, acknowledged }
}

fn text(writer: usize, number: u64, part: u64) -> String {
    format!("{writer} wrote {number}.{part}")
}

impl Writer {
    /// Writes until the server is gone.
    fn work(&self, id: usize, mut client: Client) {
        for number in self.first.. {
            if Self::write(id, number, &mut client).is_err() {
                return;
            }
            let commit = commit(&mut client, "COMMIT");
            self.commits.lock().expect("no panic").push(commit);
            if commit.acknowledged.is_none() {
                return;
            }
        }
    }

    fn write(id: usize, number: u64, client: &mut Client) -> Result<()> {
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
        Ok(())
    }

    /// What became of the transactions of the round.
    fn check(&mut self, id: usize, client: &mut Client) -> Result<Vec<Fate>> {
        let found = Self::count(id, client)?;
        let commits = std::mem::take(&mut *self.commits.lock().expect("no panic"));
        let first = self.first;
        let sent = first + commits.len() as u64;
        ensure!(
            found <= sent,
            "writer {id} has {found} transactions, and sent {sent}"
        );
        ensure!(
            found >= first,
            "writer {id} has {found} transactions, and had {first} when the server started"
        );
        self.first = found;
        let fates = (first..).zip(commits).map(|(number, commit)| Fate {
            what: format!("transaction {number} of writer {id}"),
            commit,
            found: number < found,
        });
        Ok(fates.collect())
    }

    /// How many transactions are there, each whole and none missing in between.
    fn count(id: usize, client: &mut Client) -> Result<u64> {
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
