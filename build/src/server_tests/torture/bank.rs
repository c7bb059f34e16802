//! One client's transactions: transfers within an engine and across both, rows with unique keys, XA.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::deed::{Account, Deed, Fate, Mark, Side, Work};
use crate::server::client::{Client, SqlError};
use crate::server_tests::random::Random;

/// How many tables [`create`] makes.
pub const TABLES: usize = 5;
pub const ACCOUNTS: usize = 32;
pub const OPENING_BALANCE: i64 = 1000;
/// No statement may take longer: lock waits end long before.
const PATIENCE: Duration = Duration::from_secs(60);
const ROWS_OF_A_STATEMENT: u64 = 200;

const ER_SERVER_SHUTDOWN: u16 = 1053;
const ER_DUP_ENTRY: u16 = 1062;
const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
const ER_LOCK_DEADLOCK: u16 = 1213;
const ER_XA_RBTIMEOUT: u16 = 1613;
const ER_XA_RBDEADLOCK: u16 = 1614;

/// Makes the tables of both sides.
pub fn create(client: &mut Client, engine: &str) -> Result<()> {
    client.query("CREATE DATABASE torture")?;
    for side in Side::BOTH {
        let s = side.suffix();
        let engine = match side {
            Side::Tested => engine,
            Side::InnoDb => "InnoDB",
        };
        client.query(&format!(
            "CREATE TABLE torture.accounts_{s} (id INT PRIMARY KEY, balance BIGINT NOT NULL, changes BIGINT NOT NULL, \
             KEY by_balance (balance)) ENGINE={engine}"
        ))?;
        client.query(&format!(
            "CREATE TABLE torture.marks_{s} (client INT NOT NULL, number INT NOT NULL, round INT NOT NULL, what VARCHAR(80) NOT NULL, \
             PRIMARY KEY (client, number), KEY by_round (round)) ENGINE={engine}"
        ))?;
        let accounts: Vec<_> = (0..ACCOUNTS)
            .map(|id| format!("({id}, {OPENING_BALANCE}, 0)"))
            .collect();
        client.query(&format!(
            "INSERT INTO torture.accounts_{s} VALUES {}",
            accounts.join(", ")
        ))?;
    }
    client.query(&format!(
        "CREATE TABLE torture.uniques (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60) NOT NULL, client INT NOT NULL, \
         number INT NOT NULL, part INT NOT NULL, round INT NOT NULL, pad VARCHAR(200) NOT NULL, UNIQUE KEY by_name (name), \
         UNIQUE KEY by_part (client, number, part), KEY by_round (round, part)) ENGINE={engine}"
    ))?;
    Ok(())
}

/// Connects with everything a client of the tests needs.
pub fn connect(socket: &Path) -> Result<Client> {
    let mut client = Client::connect(socket)?;
    client.set_patience(PATIENCE)?;
    client.query("USE torture")?;
    Ok(client)
}

/// How a client's round ended.
pub enum Trouble {
    /// The server refused the transaction, as it is allowed to; it is to be rolled back.
    Refused,
    /// The connection is gone.
    Lost,
    /// What must not happen.
    Failed(anyhow::Error),
}

pub fn trouble(error: anyhow::Error) -> Trouble {
    match error.downcast_ref::<SqlError>().map(|sql| sql.code) {
        Some(ER_LOCK_WAIT_TIMEOUT | ER_LOCK_DEADLOCK | ER_XA_RBTIMEOUT | ER_XA_RBDEADLOCK) => {
            Trouble::Refused
        }
        Some(ER_SERVER_SHUTDOWN) => Trouble::Lost,
        Some(_) => Trouble::Failed(error),
        None if Client::ran_out_of_patience(&error) => Trouble::Failed(error),
        None => Trouble::Lost,
    }
}

/// What a client does, and what it tolerates.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Some transactions are external XA ones.
    pub xa: bool,
    /// The engine may fail by itself: a client that meets an error stops and says nothing.
    pub failing: bool,
}

pub struct Teller<'a> {
    socket: &'a Path,
    client: u64,
    /// The number of the next transaction.
    next: u64,
    round: u64,
    random: Random,
    manner: Manner,
    deeds: Vec<Deed>,
    /// Earlier inserts of this round that can be removed.
    inserted: Vec<u64>,
}

impl Manner {
    /// How a client's round ends when it meets this error.
    pub fn bear(self, error: anyhow::Error) -> Result<()> {
        match self.failing && error.downcast_ref::<SqlError>().is_some() {
            true => Ok(()),
            false => Err(error),
        }
    }
}

impl<'a> Teller<'a> {
    pub fn new(socket: &'a Path, mark: Mark, round: u64, random: Random, manner: Manner) -> Self {
        Self {
            socket,
            client: mark.client,
            next: mark.number,
            round,
            random,
            manner,
            deeds: Vec::new(),
            inserted: Vec::new(),
        }
    }

    /// Works until the server is gone, and tells what it has done.
    pub fn run(mut self) -> (Vec<Deed>, Result<()>) {
        let ended = self.work();
        (self.deeds, ended)
    }

    fn work(&mut self) -> Result<()> {
        // A server may die before it takes the first connection.
        let Ok(mut client) = connect(self.socket) else {
            return Ok(());
        };
        loop {
            let mut deed = Deed {
                mark: Mark {
                    client: self.client,
                    number: self.next,
                },
                work: self.choose(),
                fate: Fate::RolledBack,
                xa: self.manner.xa && self.random.chance(25),
            };
            self.next += 1;
            let result = self.perform(&mut client, &mut deed);
            let left_behind = deed.fate == Fate::Prepared;
            if let (Work::Insert { .. }, Fate::Committed) = (deed.work, deed.fate) {
                self.inserted.push(deed.mark.number);
            }
            let undo = match deed.xa {
                true => format!("XA ROLLBACK '{}'", deed.xid()),
                false => "ROLLBACK".to_string(),
            };
            let is_xa = deed.xa;
            self.deeds.push(deed);
            match result {
                Ok(()) if left_behind => {
                    // A prepared transaction outlives its connection.
                    drop(client);
                    let Ok(next) = connect(self.socket) else {
                        return Ok(());
                    };
                    client = next;
                }
                Ok(()) => {}
                Err(Trouble::Refused) => {
                    if is_xa {
                        // Depending on the state in which the failure left it, either statement may be the wrong one.
                        let _ = client.query(&undo.replace("ROLLBACK", "END"));
                    }
                    match client.query(&undo).map_err(trouble) {
                        Ok(_) => {}
                        Err(Trouble::Failed(_)) if is_xa => {}
                        Err(Trouble::Failed(error)) => return self.manner.bear(error),
                        Err(_) => return Ok(()),
                    }
                }
                Err(Trouble::Lost) => return Ok(()),
                Err(Trouble::Failed(error)) => return self.manner.bear(error),
            }
        }
    }

    fn choose(&mut self) -> Work {
        match self.random.below(100) {
            0..25 => self.transfer(Side::Tested, Side::Tested),
            25..40 => self.transfer(Side::Tested, Side::InnoDb),
            40..55 => self.transfer(Side::InnoDb, Side::Tested),
            55..60 => self.transfer(Side::InnoDb, Side::InnoDb),
            60..90 => Work::Insert {
                rows: match self.random.below(50) {
                    0 => self.random.between(500, 2000),
                    _ => self.random.between(1, 30),
                },
            },
            90..95 => match self.inserted.pop() {
                Some(number) => Work::Remove { number },
                None => Work::Insert { rows: 1 },
            },
            _ => Work::Refused,
        }
    }

    fn transfer(&mut self, from: Side, to: Side) -> Work {
        let mut account = |side| Account {
            side,
            id: usize::try_from(self.random.below(ACCOUNTS as u64)).unwrap_or(0),
        };
        let from = account(from);
        let mut to = account(to);
        if from == to {
            to.id = (to.id + 1) % ACCOUNTS;
        }
        Work::Transfer {
            from,
            to,
            amount: i64::try_from(self.random.between(1, 20)).unwrap_or(1),
        }
    }

    /// One transaction; the deed says how far it came.
    fn perform(&mut self, client: &mut Client, deed: &mut Deed) -> Result<(), Trouble> {
        let xid = deed.xid();
        let begin = match deed.xa {
            true => format!("XA START '{xid}'"),
            false => "BEGIN".to_string(),
        };
        client.query(&begin).map_err(trouble)?;
        self.statements(client, deed)?;
        for side in Side::BOTH {
            if deed.touches(side) {
                client
                    .query(&format!(
                        "INSERT INTO marks_{} VALUES ({}, {}, {}, '{}')",
                        side.suffix(),
                        deed.mark.client,
                        deed.mark.number,
                        self.round,
                        deed.work.name()
                    ))
                    .map_err(trouble)?;
            }
        }
        match deed.xa {
            true => self.end_xa(client, deed, &xid),
            false => self.end(client, deed),
        }
    }

    fn end(&mut self, client: &mut Client, deed: &mut Deed) -> Result<(), Trouble> {
        if self.random.chance(5) {
            client.query("ROLLBACK").map_err(trouble)?;
            return Ok(());
        }
        deed.fate = Fate::CommitSent;
        self.settle(client, deed, "COMMIT", Fate::Committed)
    }

    fn end_xa(&mut self, client: &mut Client, deed: &mut Deed, xid: &str) -> Result<(), Trouble> {
        client.query(&format!("XA END '{xid}'")).map_err(trouble)?;
        if self.random.chance(15) {
            deed.fate = Fate::CommitSent;
            let sql = format!("XA COMMIT '{xid}' ONE PHASE");
            return self.settle(client, deed, &sql, Fate::Committed);
        }
        deed.fate = Fate::PrepareSent;
        let sql = format!("XA PREPARE '{xid}'");
        self.settle(client, deed, &sql, Fate::Prepared)?;
        // What is left behind holds its locks to the round's end, so it must not hold the accounts'.
        if matches!(deed.work, Work::Insert { .. }) && self.random.chance(20) {
            return Ok(());
        }
        if self.random.chance(20) {
            deed.fate = Fate::RollbackSent;
            let sql = format!("XA ROLLBACK '{xid}'");
            return self.settle(client, deed, &sql, Fate::RolledBack);
        }
        deed.fate = Fate::CommitSent;
        let sql = format!("XA COMMIT '{xid}'");
        self.settle(client, deed, &sql, Fate::Committed)
    }

    /// Sends what decides the transaction.
    fn settle(
        &mut self,
        client: &mut Client,
        deed: &mut Deed,
        sql: &str,
        fate: Fate,
    ) -> Result<(), Trouble> {
        match client.query(sql).map_err(trouble) {
            Ok(_) => {
                deed.fate = fate;
                Ok(())
            }
            Err(Trouble::Refused) => {
                deed.fate = Fate::RolledBack;
                Err(Trouble::Refused)
            }
            Err(other) => Err(other),
        }
    }

    fn statements(&mut self, client: &mut Client, deed: &Deed) -> Result<(), Trouble> {
        match deed.work {
            Work::Transfer { from, to, amount } => {
                for (account, change) in [(from, -amount), (to, amount)] {
                    client
                        .query(&format!(
                            "UPDATE accounts_{} SET balance = balance + {change}, changes = changes + 1 WHERE id = {}",
                            account.side.suffix(),
                            account.id
                        ))
                        .map_err(trouble)?;
                }
                Ok(())
            }
            Work::Insert { rows } => self.insert(client, deed.mark, rows),
            Work::Refused => self.refused(client, deed.mark),
            Work::Remove { number } => {
                client
                    .query(&format!(
                        "DELETE FROM uniques WHERE client = {} AND number = {number}",
                        deed.mark.client
                    ))
                    .map_err(trouble)?;
                Ok(())
            }
        }
    }

    fn insert(&mut self, client: &mut Client, mark: Mark, rows: u64) -> Result<(), Trouble> {
        let mut first = 0;
        while first < rows {
            let end = rows.min(first + ROWS_OF_A_STATEMENT);
            let sql = self.insert_statement(mark, first..end);
            client.query(&sql).map_err(trouble)?;
            first = end;
        }
        if self.random.chance(20) {
            client
                .query(&format!(
                    "UPDATE uniques SET name = CONCAT(name, '*') WHERE client = {} AND number = {}",
                    mark.client, mark.number
                ))
                .map_err(trouble)?;
        }
        // External XA has no savepoints worth the trouble; the error of one is the same as none set.
        if self.random.chance(10) {
            client.query("SAVEPOINT s").map_err(trouble)?;
            let sql = self.insert_statement(mark, rows..rows + 3);
            client.query(&sql).map_err(trouble)?;
            client.query("ROLLBACK TO SAVEPOINT s").map_err(trouble)?;
        }
        Ok(())
    }

    fn insert_statement(&self, mark: Mark, parts: std::ops::Range<u64>) -> String {
        let Mark { client, number } = mark;
        let pad = "x".repeat(usize::try_from(number % 150).unwrap_or(0));
        let rows: Vec<_> = parts
            .map(|part| {
                format!(
                    "('{client}/{number}/{part}', {client}, {number}, {part}, {}, '{pad}')",
                    self.round
                )
            })
            .collect();
        format!(
            "INSERT INTO uniques (name, client, number, part, round, pad) VALUES {}",
            rows.join(", ")
        )
    }

    /// The last of its rows has the key of the first.
    fn refused(&mut self, client: &mut Client, mark: Mark) -> Result<(), Trouble> {
        let rows = self.random.between(2, 10);
        let mut sql = self.insert_statement(mark, 0..rows);
        sql.push_str(&format!(
            ", ('{0}/{1}/0', {0}, {1}, {rows}, {2}, '')",
            mark.client, mark.number, self.round
        ));
        match client.query(&sql) {
            Err(error)
                if error
                    .downcast_ref::<SqlError>()
                    .is_some_and(|sql| sql.code == ER_DUP_ENTRY) =>
            {
                Ok(())
            }
            Err(error) => Err(trouble(error)),
            Ok(_) => Err(Trouble::Failed(anyhow::anyhow!(
                "a second row of the same unique key was taken: {sql}"
            ))),
        }
    }
}
