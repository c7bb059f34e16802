//! What the binary logs say was committed: the marks of the transactions in them, as `mysqlbinlog` prints them.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::deed::{Mark, Side};
use crate::host::exec;
use crate::server::client::Client;

/// Reads each log once, in order.
pub struct Binlog {
    program: PathBuf,
    folder: PathBuf,
    read: HashSet<String>,
    /// Marks of XA transactions whose end has not been read.
    prepared: HashMap<String, Vec<(Side, Mark)>>,
    pub committed: HashSet<(Side, Mark)>,
}

impl Binlog {
    pub fn new(program: PathBuf, folder: PathBuf) -> Self {
        Self {
            program,
            folder,
            read: HashSet::new(),
            prepared: HashMap::new(),
            committed: HashSet::new(),
        }
    }

    /// Takes in all logs up to now, checksums verified.
    pub fn read(&mut self, client: &mut Client) -> Result<()> {
        client.query("FLUSH BINARY LOGS")?;
        let logs = client.query("SHOW BINARY LOGS")?;
        // The last one has just been begun.
        for index in 0..logs.len().saturating_sub(1) {
            let name = logs.row(index).into_iter().next().flatten();
            let name = name.context("a binary log without a name")?;
            if !self.read.insert(name.clone()) {
                continue;
            }
            let text = exec::output(
                Command::new(&self.program)
                    .args(["--no-defaults", "--verify-binlog-checksum", "--verbose"])
                    .arg("--base64-output=decode-rows")
                    .arg(self.folder.join(&name)),
            )?;
            self.take_in(&text).with_context(|| name.clone())?;
        }
        Ok(())
    }

    fn take_in(&mut self, text: &str) -> Result<()> {
        let mut marks: Vec<(Side, Mark)> = Vec::new();
        let mut insert: Option<(Side, Option<u64>)> = None;
        let mut xid: Option<String> = None;
        for line in text.lines() {
            if let Some(table) = line.strip_prefix("### INSERT INTO `torture`.`marks_") {
                let side = Side::BOTH
                    .into_iter()
                    .find(|side| table.starts_with(side.suffix()));
                insert = side.map(|side| (side, None));
            } else if let (Some(value), Some((_, client))) =
                (line.strip_prefix("###   @1="), insert.as_mut())
            {
                *client = value.parse().ok();
            } else if let (Some(value), Some((side, Some(client)))) =
                (line.strip_prefix("###   @2="), insert)
            {
                let number = value.parse().context("a mark's number")?;
                marks.push((side, Mark { client, number }));
                insert = None;
            } else if let Some(rest) = line.strip_prefix("XA ") {
                let (verb, name) = rest.split_once(' ').unwrap_or((rest, ""));
                let name = name.trim_end_matches("/*!*/;").trim().to_string();
                match verb {
                    "START" => xid = Some(name),
                    "PREPARE" => {
                        self.prepared.insert(name, std::mem::take(&mut marks));
                        xid = None;
                    }
                    "COMMIT" => match name.strip_suffix(" ONE PHASE") {
                        Some(_) => self.commit(&mut marks)?,
                        None => {
                            let mut marks = self
                                .prepared
                                .remove(&name)
                                .with_context(|| format!("XA COMMIT {name} without a prepare"))?;
                            self.commit(&mut marks)?;
                        }
                    },
                    "ROLLBACK" => {
                        self.prepared.remove(&name);
                    }
                    _ => {}
                }
            } else if line.starts_with("COMMIT") {
                self.commit(&mut marks)?;
            } else if line.starts_with("ROLLBACK") && xid.is_none() {
                // The end of a log that was cut off.
                marks.clear();
            }
        }
        Ok(())
    }

    fn commit(&mut self, marks: &mut Vec<(Side, Mark)>) -> Result<()> {
        for (side, mark) in marks.drain(..) {
            ensure!(
                self.committed.insert((side, mark)),
                "{mark:?} is there twice on side {side:?}"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Side = Side::Tested;

    fn read(text: &str) -> Binlog {
        let mut binlog = Binlog::new(PathBuf::new(), PathBuf::new());
        binlog.take_in(text).unwrap();
        binlog
    }

    fn row(table: &str, client: u64, number: u64) -> String {
        format!(
            "### INSERT INTO `torture`.`{table}`\n### SET\n###   @1={client}\n###   @2={number}\n###   @3=7\n"
        )
    }

    #[test]
    fn marks_count_once_their_transaction_is_committed() {
        let text = format!(
            "BEGIN\n/*!*/;\n{}{}{}COMMIT/*!*/;\n{}",
            row("uniques", 9, 9),
            row("marks_t", 1, 2),
            row("marks_i", 1, 2),
            row("marks_t", 1, 3),
        );
        let mark = Mark {
            client: 1,
            number: 2,
        };
        let expected = HashSet::from([(T, mark), (Side::InnoDb, mark)]);
        assert_eq!(read(&text).committed, expected);
    }

    #[test]
    fn a_prepared_transaction_counts_when_its_commit_follows() {
        let prepared = |xid: &str, number| {
            format!(
                "XA START {xid}\n/*!*/;\n{}XA END {xid}\n/*!*/;\nXA PREPARE {xid}\n/*!*/;\n",
                row("marks_t", 1, number)
            )
        };
        let text = [
            prepared("X'31',X'',1", 1),
            prepared("X'32',X'',1", 2),
            prepared("X'33',X'',1", 3),
            "XA COMMIT X'32',X'',1\n/*!*/;\nXA ROLLBACK X'31',X'',1\n/*!*/;\n".to_string(),
        ]
        .concat();
        let binlog = read(&text);
        let mark = Mark {
            client: 1,
            number: 2,
        };
        assert_eq!(binlog.committed, HashSet::from([(T, mark)]));
        assert_eq!(binlog.prepared.len(), 1);
    }

    #[test]
    fn a_transaction_that_is_there_twice_is_an_error() {
        let once = format!("BEGIN\n{}COMMIT/*!*/;\n", row("marks_t", 1, 2));
        let mut binlog = read(&once);
        assert!(binlog.take_in(&once).is_err());
    }
}
