//! One connection's random transactions, and the record of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::model::{Action, Key, Level, List, Op, Outcome, Time, Transaction, Value};
use crate::server::client::{Client, Rows, SqlError};
use crate::server_tests::random::Random;

/// How many lists are in use at a time: few, so that transactions meet.
const WINDOW: u64 = 10;
/// After so many appends the window moves on by one list, which keeps lists short.
const APPENDS_PER_LIST: u64 = 40;
const MAX_OPS: u64 = 6;
/// No statement may take longer: lock waits end long before.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a killed server may take to come back.
const AWAY: Duration = Duration::from_secs(120);

/// How a read may lock; each is chosen as often as it occurs here.
const LOCKS: [&str; 8] = [
    "",
    "",
    "",
    "",
    "",
    " FOR UPDATE",
    " FOR SHARE",
    " FOR UPDATE NOWAIT",
];

const ER_SERVER_SHUTDOWN: u16 = 1053;
pub const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
pub const ER_LOCK_DEADLOCK: u16 = 1213;
pub const ER_LOCK_NOWAIT: u16 = 3572;

/// What all connections share.
pub struct Shared {
    pub socket: PathBuf,
    pub level: Level,
    pub stop: AtomicBool,
    pub appended: AtomicU64,
    pub began: Instant,
}

impl Shared {
    pub fn now(&self) -> Time {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(Time::MAX)
    }

    pub fn connect(&self) -> Result<Client> {
        let mut client = Client::connect(&self.socket)?;
        client.set_patience(PATIENCE)?;
        client.query(&format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL {}",
            self.level.sql()
        ))?;
        client.query("USE history")?;
        Ok(client)
    }
}

/// Why a transaction ended early.
enum Trouble {
    /// The server refused a statement, as it is allowed to: the transaction is to be rolled back.
    Refused(u16),
    /// The connection is gone.
    Lost,
    /// Something that must not happen.
    Failed(anyhow::Error),
}

fn trouble(error: anyhow::Error) -> Trouble {
    match error.downcast_ref::<SqlError>().map(|sql| sql.code) {
        Some(code @ (ER_LOCK_WAIT_TIMEOUT | ER_LOCK_DEADLOCK | ER_LOCK_NOWAIT)) => {
            Trouble::Refused(code)
        }
        Some(ER_SERVER_SHUTDOWN) => Trouble::Lost,
        Some(_) => Trouble::Failed(error),
        None if Client::ran_out_of_patience(&error) => Trouble::Failed(error),
        None => Trouble::Lost,
    }
}

pub struct Worker<'a> {
    shared: &'a Shared,
    id: usize,
    random: Random,
    values: Value,
    history: Vec<Transaction>,
    /// Whether the server may go away.
    kills: bool,
}

impl<'a> Worker<'a> {
    pub fn new(shared: &'a Shared, id: usize, seed: u64, kills: bool) -> Self {
        Self {
            shared,
            id,
            random: Random::stream(seed, id as u64),
            values: 0,
            history: Vec::new(),
            kills,
        }
    }

    /// Runs transactions until it is told to stop.
    pub fn run(mut self) -> Result<Vec<Transaction>> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let Some(mut client) = self.connect()? else {
                break;
            };
            while !self.shared.stop.load(Ordering::Relaxed) {
                match self.transaction(&mut client) {
                    Ok(()) | Err(Trouble::Refused(_)) => {}
                    Err(Trouble::Lost) if self.kills => break,
                    Err(Trouble::Lost) => bail!("connection {} is lost", self.id),
                    Err(Trouble::Failed(error)) => {
                        return Err(error.context(format!("connection {}", self.id)));
                    }
                }
            }
        }
        Ok(self.history)
    }

    /// Tries until the server is there; `None` if it is time to stop.
    fn connect(&self) -> Result<Option<Client>> {
        let started = Instant::now();
        loop {
            match self.shared.connect() {
                Ok(client) => return Ok(Some(client)),
                Err(_) if self.shared.stop.load(Ordering::Relaxed) => return Ok(None),
                Err(error) if started.elapsed() > AWAY => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Runs one transaction and records it, however it ends.
    fn transaction(&mut self, client: &mut Client) -> Result<(), Trouble> {
        let mut record = Transaction {
            client: self.id,
            number: self.history.len(),
            ops: Vec::new(),
            outcome: Outcome::Aborted,
            snapshot: None,
            commit_started: 0,
            ended: 0,
            error: None,
        };
        let result = match self.random.chance(10) {
            true => self.single_statement(client, &mut record),
            false => self.several_statements(client, &mut record),
        };
        record.ended = self.shared.now();
        if let Err(Trouble::Refused(code)) = result {
            record.error = Some(code);
            // After a lock-wait timeout the transaction is still open.
            client.query("ROLLBACK").map_err(trouble)?;
        }
        self.history.push(record);
        result
    }

    fn single_statement(
        &mut self,
        client: &mut Client,
        record: &mut Transaction,
    ) -> Result<(), Trouble> {
        record.commit_started = self.shared.now();
        record.outcome = Outcome::Unknown;
        let result = match self.random.chance(50) {
            true => self.read(client, record, &LOCKS),
            false => self.append(client, record),
        };
        match result {
            Ok(()) => record.outcome = Outcome::Committed,
            Err(Trouble::Lost) => {}
            Err(_) => record.outcome = Outcome::Aborted,
        }
        result
    }

    fn several_statements(
        &mut self,
        client: &mut Client,
        record: &mut Transaction,
    ) -> Result<(), Trouble> {
        let read_only = self.random.chance(15);
        let snapshot = self.shared.level == Level::RepeatableRead && self.random.chance(15);
        let started = self.shared.now();
        let begin = match (snapshot, read_only) {
            (true, _) => "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            (false, true) => "START TRANSACTION READ ONLY",
            (false, false) => "BEGIN",
        };
        client.query(begin).map_err(trouble)?;
        if snapshot {
            record.snapshot = Some((started, self.shared.now()));
        }
        for _ in 0..self.random.between(1, MAX_OPS) {
            match self.random.below(100) {
                _ if read_only => self.read(client, record, &["", " FOR SHARE"])?,
                0..50 => self.read(client, record, &LOCKS)?,
                50..95 => self.append(client, record)?,
                _ => self.append_and_take_back(client, record)?,
            }
        }
        if self.random.chance(5) {
            client.query("ROLLBACK").map_err(trouble)?;
            return Ok(());
        }
        record.commit_started = self.shared.now();
        record.outcome = Outcome::Unknown;
        match client.query("COMMIT").map_err(trouble) {
            Ok(_) => {
                record.outcome = Outcome::Committed;
                Ok(())
            }
            Err(Trouble::Refused(code)) => {
                record.outcome = Outcome::Aborted;
                Err(Trouble::Refused(code))
            }
            Err(other) => Err(other),
        }
    }

    /// A list of the window, the older ones more often.
    fn key(&mut self) -> Key {
        let first = self.shared.appended.load(Ordering::Relaxed) / APPENDS_PER_LIST;
        let offset = self.random.below(WINDOW).min(self.random.below(WINDOW));
        first + offset
    }

    fn append(&mut self, client: &mut Client, record: &mut Transaction) -> Result<(), Trouble> {
        let (key, value) = self.next_append();
        let started = self.shared.now();
        // It is in the record before it is sent: whether it took effect may never be known.
        record.ops.push(Op {
            action: Action::Append { key, value },
            started,
            ended: started,
        });
        // The row moves in the other indexes now and then: `s` is the key or its negative.
        let turn = *self.random.pick(&["", "", ", s = -s"]);
        let updated = match self.random.below(4) {
            0 => 0,
            way => {
                let place = match way {
                    1 | 2 => format!("k = {key}"),
                    _ => format!("s IN ({key}, -{key})"),
                };
                let sql = format!("UPDATE lists SET v = CONCAT(v, ',{value}'){turn} WHERE {place}");
                client.query(&sql).map_err(trouble)?.affected
            }
        };
        if updated == 0 {
            client
                .query(&format!(
                    "INSERT INTO lists (k, s, v) VALUES ({key}, {key}, '{value}') \
                     ON DUPLICATE KEY UPDATE v = CONCAT(v, ',{value}')"
                ))
                .map_err(trouble)?;
        }
        if let Some(op) = record.ops.last_mut() {
            op.ended = self.shared.now();
        }
        Ok(())
    }

    fn next_append(&mut self) -> (Key, Value) {
        let key = self.key();
        self.shared.appended.fetch_add(1, Ordering::Relaxed);
        self.values += 1;
        (key, (self.id as u64 + 1) * 10_000_000 + self.values)
    }

    fn append_and_take_back(
        &mut self,
        client: &mut Client,
        record: &mut Transaction,
    ) -> Result<(), Trouble> {
        client.query("SAVEPOINT s").map_err(trouble)?;
        let first = record.ops.len();
        for _ in 0..self.random.between(1, 2) {
            self.append(client, record)?;
        }
        client.query("ROLLBACK TO SAVEPOINT s").map_err(trouble)?;
        for op in &mut record.ops[first..] {
            if let Action::Append { key, value } = op.action {
                op.action = Action::Undone { key, value };
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        client: &mut Client,
        record: &mut Transaction,
        locks: &[&str],
    ) -> Result<(), Trouble> {
        let lock = *self.random.pick(locks);
        let first = self.key();
        let keys: Vec<Key> = match self.random.below(3) {
            0 => {
                let second = self.key();
                let mut keys = vec![first.min(second), first.max(second)];
                keys.dedup();
                keys
            }
            1 => (first..=first + self.random.below(4)).collect(),
            _ => vec![first],
        };
        // Without gap locks, a row that moves behind the scan's back escapes a locking read, in InnoDB too.
        let by_key = self.shared.level == Level::ReadCommitted && !lock.is_empty();
        let index = match by_key {
            true => "PRIMARY",
            false => *self.random.pick(&["PRIMARY", "s", "sv"]),
        };
        let place = place(index, &keys);
        let started = self.shared.now();
        let rows = client
            .query(&format!(
                "SELECT k, v FROM lists FORCE INDEX ({index}) WHERE {place}{lock}"
            ))
            .map_err(trouble)?;
        let lists = parse(&rows, &keys).map_err(Trouble::Failed)?;
        record.ops.push(Op {
            action: Action::Read {
                locking: !lock.is_empty(),
                how: format!("by {index}{lock}"),
                lists,
            },
            started,
            ended: self.shared.now(),
        });
        Ok(())
    }
}

/// The condition that finds the lists of `keys`, by ranges or by single values.
fn place(index: &str, keys: &[Key]) -> String {
    let (first, last) = (keys[0], keys[keys.len() - 1]);
    let in_a_row = last - first + 1 == keys.len() as u64;
    match (index, in_a_row) {
        ("PRIMARY", true) => format!("k BETWEEN {first} AND {last}"),
        ("PRIMARY", false) => format!("k IN ({first}, {last})"),
        (_, true) => format!("s BETWEEN {first} AND {last} OR s BETWEEN -{last} AND -{first}"),
        (_, false) => format!("s IN ({first}, {last}, -{first}, -{last})"),
    }
}

/// The lists of all keys asked for; those without a row are empty.
pub fn parse(rows: &Rows, keys: &[Key]) -> Result<Vec<(Key, List)>> {
    let mut lists: Vec<(Key, List)> = keys.iter().map(|key| (*key, List::new())).collect();
    for index in 0..rows.len() {
        let row = rows.row(index);
        let [Some(key), Some(text)] = row.as_slice() else {
            bail!("row {row:?} has NULL");
        };
        let key: Key = key.parse().with_context(|| format!("key {key:?}"))?;
        let list: Result<List, _> = text.split(',').map(str::parse).collect();
        let list = list.with_context(|| format!("list {key} is {text:?}"))?;
        let slot = lists
            .iter_mut()
            .find(|(asked, _)| *asked == key)
            .with_context(|| format!("row {key} was not asked for"))?;
        if !slot.1.is_empty() {
            bail!("row {key} came twice");
        }
        slot.1 = list;
    }
    Ok(lists)
}
