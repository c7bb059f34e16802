//! What every client was told, and whether the tables and the binary log agree with it.
//!
//! After a restart the deeds of the last round are settled first: prepared XA transactions are decided, and what was under
//! way when the server died is looked up. From then on all are either there or not, for good.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result, bail, ensure};

use super::bank::{ACCOUNTS, OPENING_BALANCE};
use super::binlog::Binlog;
use super::deed::{Deed, Fate, Mark, Side, Work, parse_xid};
use crate::server::client::{Client, Rows};
use crate::server_tests::random::Random;

/// Rows of earlier rounds, condensed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Condensed(Vec<String>);

/// The tables whose rows carry the number of their round.
const ROUND_TABLES: [(&str, &str); 3] = [
    ("marks_t", "client, number, what"),
    ("marks_i", "client, number, what"),
    ("uniques", "id, name, client, number, part, pad"),
];

pub struct Ledger {
    /// Those of the present round.
    deeds: Vec<Deed>,
    balances: [[i64; ACCOUNTS]; 2],
    condensed: Condensed,
    /// Committed transactions by side, to be found in the binary log.
    committed: HashSet<(Side, Mark)>,
    pub tally: Tally,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub acknowledged: usize,
    pub rolled_back: usize,
    pub cut_off: usize,
    pub prepared_found: usize,
}

impl Ledger {
    pub fn new() -> Self {
        Self {
            deeds: Vec::new(),
            balances: [[OPENING_BALANCE; ACCOUNTS]; 2],
            condensed: Condensed(vec!["0 0".to_string(); ROUND_TABLES.len()]),
            committed: HashSet::new(),
            tally: Tally::default(),
        }
    }

    pub fn add(&mut self, deeds: Vec<Deed>) {
        for deed in &deeds {
            match deed.fate {
                Fate::Committed => self.tally.acknowledged += 1,
                Fate::RolledBack => self.tally.rolled_back += 1,
                _ => self.tally.cut_off += 1,
            }
        }
        self.deeds.extend(deeds);
    }

    /// Decides every prepared XA transaction. Interrupted, it can be called again.
    pub fn decide_prepared(&mut self, client: &mut Client, random: &mut Random) -> Result<()> {
        let mut found = HashSet::new();
        let rows = client.query("XA RECOVER")?;
        for index in 0..rows.len() {
            let name = rows.row(index).into_iter().nth(3).flatten();
            let name = name.context("an XA transaction without a name")?;
            let mark = parse_xid(&name)
                .with_context(|| format!("XA RECOVER lists {name}, which no client began"))?;
            ensure!(found.insert(mark), "XA RECOVER lists {name} twice");
        }
        for deed in &mut self.deeds {
            let listed = found.remove(&deed.mark);
            match (deed.fate, listed) {
                (Fate::Prepared, false) => bail!(
                    "XA transaction {} was prepared, and XA RECOVER does not list it: {deed:?}",
                    deed.xid()
                ),
                (Fate::Committed | Fate::RolledBack, true) => bail!(
                    "XA transaction {} had ended, and XA RECOVER lists it: {deed:?}",
                    deed.xid()
                ),
                (Fate::CommitSent, true) if !deed.xa => bail!("{deed:?} was never prepared"),
                (_, false) => continue,
                (_, true) => {}
            }
            self.tally.prepared_found += 1;
            let verb = match deed.fate {
                Fate::CommitSent => "COMMIT",
                Fate::RollbackSent => "ROLLBACK",
                _ if random.chance(50) => "COMMIT",
                _ => "ROLLBACK",
            };
            let (sent, done) = match verb {
                "COMMIT" => (Fate::CommitSent, Fate::Committed),
                _ => (Fate::RollbackSent, Fate::RolledBack),
            };
            deed.fate = sent;
            client
                .query(&format!("XA {verb} '{}'", deed.xid()))
                .with_context(|| format!("decide {deed:?}"))?;
            deed.fate = done;
        }
        if let Some(mark) = found.iter().next() {
            bail!("XA RECOVER lists {mark:?}, whose end was known before this round");
        }
        Ok(())
    }

    /// Compares everything with the tables, and closes the round.
    pub fn verify(&mut self, client: &mut Client, round: u64) -> Result<()> {
        let marks = [
            read_marks(client, Side::Tested, round)?,
            read_marks(client, Side::InnoDb, round)?,
        ];
        let rows = read_uniques(client, round)?;
        let condensed = condense(client, round)?;
        ensure!(
            condensed == self.condensed,
            "rows of earlier rounds have changed: {condensed:?} instead of {:?}",
            self.condensed
        );
        let settled = self.settle(&marks)?;
        self.verify_uniques(&settled, &rows)?;
        let mut balances = self.balances;
        for deed in settled.values() {
            if let (Work::Transfer { from, to, amount }, Fate::Committed) = (deed.work, deed.fate) {
                balances[from.side.index()][from.id] -= amount;
                balances[to.side.index()][to.id] += amount;
            }
        }
        verify_balances(client, &balances)?;
        // All is well: what comes next is compared with this.
        for deed in settled.values() {
            for side in Side::BOTH {
                if deed.fate == Fate::Committed && deed.touches(side) {
                    self.committed.insert((side, deed.mark));
                }
            }
        }
        self.balances = balances;
        self.deeds.clear();
        self.condensed = condense(client, round + 1)?;
        Ok(())
    }

    /// Settles every deed by its marks, which are there on each side it touched or on none.
    fn settle(&self, marks: &[HashSet<Mark>; 2]) -> Result<BTreeMap<Mark, Deed>> {
        let mut settled = BTreeMap::new();
        for deed in &self.deeds {
            let touched: Vec<_> = Side::BOTH
                .into_iter()
                .filter(|side| deed.touches(*side))
                .collect();
            let present = touched
                .iter()
                .filter(|side| marks[side.index()].contains(&deed.mark))
                .count();
            let fate = match (deed.fate, present) {
                (Fate::Committed | Fate::CommitSent, count) if count == touched.len() => {
                    Fate::Committed
                }
                (Fate::Committed, 0) => bail!("acknowledged, and not there: {deed:?}"),
                (Fate::RolledBack, count) if count > 0 => {
                    bail!("rolled back, and there: {deed:?}")
                }
                (_, 0) => Fate::RolledBack,
                (_, count) if count < touched.len() => {
                    bail!("there in one engine and not in the other: {deed:?}")
                }
                _ => bail!("there without a commit: {deed:?}"),
            };
            settled.insert(
                deed.mark,
                Deed {
                    fate,
                    ..deed.clone()
                },
            );
        }
        for side in Side::BOTH {
            let unknown = marks[side.index()]
                .iter()
                .find(|mark| settled.get(mark).is_none_or(|deed| !deed.touches(side)));
            if let Some(mark) = unknown {
                bail!("{mark:?} is there on side {side:?}, and nobody did it");
            }
        }
        Ok(settled)
    }

    fn verify_uniques(
        &self,
        settled: &BTreeMap<Mark, Deed>,
        rows: &HashMap<Mark, u64>,
    ) -> Result<()> {
        let mut expected: HashMap<Mark, u64> = HashMap::new();
        for (mark, deed) in settled {
            match deed.work {
                _ if deed.fate != Fate::Committed => {}
                Work::Insert { rows } => {
                    expected.insert(*mark, rows);
                }
                Work::Remove { number } => {
                    expected.remove(&Mark { number, ..*mark });
                }
                Work::Transfer { .. } | Work::Refused => {}
            }
        }
        for (mark, deed) in settled {
            let (found, right) = (rows.get(mark), expected.get(mark));
            ensure!(
                found == right,
                "{} of its rows are there instead of {}: {deed:?}",
                found.unwrap_or(&0),
                right.unwrap_or(&0)
            );
        }
        ensure!(
            rows.len() == expected.len(),
            "rows of a transaction that nobody began"
        );
        Ok(())
    }

    /// Committed in the tables and committed in the log have to be the same; call it after [`Ledger::verify`].
    pub fn verify_binlog(&self, binlog: &Binlog) -> Result<()> {
        if let Some(mark) = self.committed.difference(&binlog.committed).next() {
            bail!("{mark:?} is in the tables and not in the binary log");
        }
        if let Some(mark) = binlog.committed.difference(&self.committed).next() {
            bail!("{mark:?} is in the binary log and not in the tables");
        }
        Ok(())
    }
}

fn number(row: &[Option<String>], column: usize) -> Result<u64> {
    let text = row.get(column).cloned().flatten();
    text.and_then(|text| text.parse().ok())
        .with_context(|| format!("column {column} of {row:?} is no number"))
}

fn mark_of(rows: &Rows, index: usize) -> Result<Mark> {
    let row = rows.row(index);
    Ok(Mark {
        client: number(&row, 0)?,
        number: number(&row, 1)?,
    })
}

fn read_marks(client: &mut Client, side: Side, round: u64) -> Result<HashSet<Mark>> {
    let mut found: Vec<HashSet<Mark>> = Vec::new();
    for index in ["PRIMARY", "by_round"] {
        let rows = client.query(&format!(
            "SELECT client, number FROM marks_{} FORCE INDEX ({index}) WHERE client >= 0 AND round = {round}",
            side.suffix()
        ))?;
        let marks: Result<HashSet<_>> = (0..rows.len()).map(|at| mark_of(&rows, at)).collect();
        let marks = marks?;
        ensure!(
            marks.len() == rows.len(),
            "index {index} of side {side:?} has a row twice"
        );
        found.push(marks);
    }
    ensure!(
        found[0] == found[1],
        "the indexes of marks disagree on side {side:?}"
    );
    Ok(found.swap_remove(0))
}

/// How many rows each transaction of the round has.
fn read_uniques(client: &mut Client, round: u64) -> Result<HashMap<Mark, u64>> {
    let mut found: Vec<HashMap<Mark, u64>> = Vec::new();
    for index in ["PRIMARY", "by_name", "by_part", "by_round"] {
        let rows = client.query(&format!(
            "SELECT client, number, COUNT(*), COUNT(DISTINCT part) FROM uniques FORCE INDEX ({index}) \
             WHERE id > 0 AND name > '' AND client >= 0 AND round = {round} GROUP BY client, number"
        ))?;
        let mut counts = HashMap::new();
        for at in 0..rows.len() {
            let row = rows.row(at);
            let count = number(&row, 2)?;
            let mark = mark_of(&rows, at)?;
            ensure!(
                count == number(&row, 3)?,
                "index {index}: a row of {mark:?} is there twice"
            );
            counts.insert(mark, count);
        }
        found.push(counts);
    }
    ensure!(
        found.iter().all(|counts| *counts == found[0]),
        "the indexes of uniques disagree"
    );
    Ok(found.swap_remove(0))
}

/// The rows of rounds before this one, as a count and a sum of checksums for each table.
fn condense(client: &mut Client, round: u64) -> Result<Condensed> {
    let mut sums = Vec::new();
    for (table, columns) in ROUND_TABLES {
        let row = client.query(&format!(
            "SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(CRC32(CONCAT_WS('|', {columns}))), 0)) FROM {table} WHERE round < {round}"
        ))?;
        sums.push(row.scalar());
    }
    Ok(Condensed(sums))
}

fn verify_balances(client: &mut Client, expected: &[[i64; ACCOUNTS]; 2]) -> Result<()> {
    let mut total: i64 = 0;
    for side in Side::BOTH {
        for index in ["PRIMARY", "by_balance"] {
            let rows = client.query(&format!(
                "SELECT id, balance FROM accounts_{} FORCE INDEX ({index}) WHERE id >= 0 AND balance > -1000000000 ORDER BY id",
                side.suffix()
            ))?;
            let found: Vec<String> = (0..rows.len())
                .map(|at| {
                    rows.row(at)
                        .into_iter()
                        .flatten()
                        .collect::<Vec<_>>()
                        .join("=")
                })
                .collect();
            let wanted: Vec<String> = expected[side.index()]
                .iter()
                .enumerate()
                .map(|(id, balance)| format!("{id}={balance}"))
                .collect();
            ensure!(
                found == wanted,
                "balances on side {side:?} by index {index} are {found:?}, and should be {wanted:?}"
            );
        }
        let sql = format!("SELECT SUM(balance) FROM accounts_{}", side.suffix());
        total += client.query(&sql)?.scalar().parse::<i64>()?;
    }
    let opened = 2 * OPENING_BALANCE * i64::try_from(ACCOUNTS)?;
    ensure!(
        total == opened,
        "all accounts hold {total} together, and should hold {opened}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::deed::Account;
    use super::*;

    fn deed(number: u64, work: Work, fate: Fate) -> Deed {
        Deed {
            mark: Mark { client: 1, number },
            work,
            fate,
            xa: false,
        }
    }

    fn across() -> Work {
        let account = |side| Account { side, id: 0 };
        Work::Transfer {
            from: account(Side::Tested),
            to: account(Side::InnoDb),
            amount: 1,
        }
    }

    /// Settles one deed by where its mark is.
    fn settle(fate: Fate, tested: bool, innodb: bool) -> Result<Fate> {
        let mut ledger = Ledger::new();
        ledger.add(vec![deed(1, across(), fate)]);
        let mark = Mark {
            client: 1,
            number: 1,
        };
        let marks = [tested, innodb].map(|there| match there {
            true => HashSet::from([mark]),
            false => HashSet::new(),
        });
        Ok(ledger.settle(&marks)?[&mark].fate)
    }

    #[test]
    fn a_transaction_is_wholly_there_or_not_at_all() {
        assert_eq!(
            settle(Fate::Committed, true, true).unwrap(),
            Fate::Committed
        );
        assert_eq!(
            settle(Fate::CommitSent, true, true).unwrap(),
            Fate::Committed
        );
        assert_eq!(
            settle(Fate::CommitSent, false, false).unwrap(),
            Fate::RolledBack
        );
        assert_eq!(
            settle(Fate::RolledBack, false, false).unwrap(),
            Fate::RolledBack
        );
        assert_eq!(
            settle(Fate::PrepareSent, false, false).unwrap(),
            Fate::RolledBack
        );
        for (fate, tested, innodb) in [
            (Fate::Committed, false, false),
            (Fate::Committed, true, false),
            (Fate::CommitSent, false, true),
            (Fate::RolledBack, true, true),
            (Fate::PrepareSent, true, true),
        ] {
            assert!(settle(fate, tested, innodb).is_err(), "{fate:?}");
        }
    }

    #[test]
    fn rows_that_were_removed_are_not_expected() {
        let mut ledger = Ledger::new();
        ledger.add(vec![
            deed(1, Work::Insert { rows: 5 }, Fate::Committed),
            deed(2, Work::Insert { rows: 3 }, Fate::Committed),
            deed(3, Work::Remove { number: 1 }, Fate::Committed),
        ]);
        let mark = |number| Mark { client: 1, number };
        let all = HashSet::from([mark(1), mark(2), mark(3)]);
        let settled = ledger.settle(&[all, HashSet::new()]).unwrap();
        let rows = |list: &[(u64, u64)]| -> HashMap<Mark, u64> {
            list.iter()
                .map(|(number, rows)| (mark(*number), *rows))
                .collect()
        };
        assert!(ledger.verify_uniques(&settled, &rows(&[(2, 3)])).is_ok());
        assert!(ledger.verify_uniques(&settled, &rows(&[(2, 2)])).is_err());
        assert!(
            ledger
                .verify_uniques(&settled, &rows(&[(1, 5), (2, 3)]))
                .is_err()
        );
        assert!(
            ledger
                .verify_uniques(&settled, &rows(&[(2, 3), (9, 1)]))
                .is_err()
        );
    }
}
