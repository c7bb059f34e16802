//! One client's tables: made, filled, renamed, altered, dropped. The server dies in the middle of a statement at most, so
//! after a restart its tables are as they were before it or as they are after it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::bank::{self, Manner, Trouble, trouble};
use crate::server::client::{Client, SqlError};
use crate::server_tests::random::Random;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    engine: &'static str,
    rows: u64,
    columns: u64,
    indexes: u64,
}

/// Tables by schema and name.
pub type Tables = BTreeMap<(String, String), Table>;

/// What there is, and what there may be instead.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub now: Tables,
    pub pending: Option<Tables>,
    /// The statement under way.
    pub sql: String,
    pub done: usize,
}

pub struct Builder<'a> {
    socket: &'a Path,
    id: usize,
    random: Random,
    engine: &'static str,
    manner: Manner,
    model: Model,
}

/// ER_SCHEMA_DIR_EXISTS
const SCHEMA_FOLDER_EXISTS: u16 = 3678;

fn is_left_behind(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<SqlError>()
        .is_some_and(|sql| sql.code == SCHEMA_FOLDER_EXISTS)
}

/// The schema of a client's own, which it makes and drops.
pub fn own_schema(id: usize) -> String {
    format!("torture_{id}")
}

impl<'a> Builder<'a> {
    pub fn new(
        socket: &'a Path,
        id: usize,
        random: Random,
        engine: &'static str,
        manner: Manner,
        model: Model,
    ) -> Self {
        Self {
            socket,
            id,
            random,
            engine,
            manner,
            model,
        }
    }

    /// Works until the server is gone.
    pub fn run(mut self) -> (Model, Result<()>) {
        let ended = self.work();
        (self.model, ended)
    }

    fn work(&mut self) -> Result<()> {
        let Ok(mut client) = bank::connect(self.socket) else {
            return Ok(());
        };
        let mut schema_is_there = false;
        // The server may have died while it made or dropped the schema.
        let mut is_after_a_kill = true;
        loop {
            if !schema_is_there {
                match self.make_schema(&mut client) {
                    Ok(()) => {}
                    Err(Trouble::Failed(error)) if is_after_a_kill && is_left_behind(&error) => {
                        is_after_a_kill = false;
                        self.remove_left_behind()?;
                        continue;
                    }
                    Err(Trouble::Failed(error)) => return self.manner.bear(error),
                    Err(_) => return Ok(()),
                }
                is_after_a_kill = false;
            }
            let Some((sql, after)) = self.choose() else {
                continue;
            };
            schema_is_there = !sql.starts_with("DROP DATABASE");
            self.model.sql.clone_from(&sql);
            self.model.pending = Some(after.clone());
            match client.query(&sql).map_err(trouble) {
                Ok(_) => {
                    self.model.now = after;
                    self.model.done += 1;
                }
                Err(Trouble::Refused) => {}
                Err(Trouble::Lost) => return Ok(()),
                Err(Trouble::Failed(error)) => return self.manner.bear(error.context(sql)),
            }
            self.model.pending = None;
        }
    }

    fn make_schema(&self, client: &mut Client) -> Result<(), Trouble> {
        let sql = format!("CREATE DATABASE IF NOT EXISTS {}", own_schema(self.id));
        match client.query(&sql).map_err(trouble) {
            Err(Trouble::Failed(error)) => Err(Trouble::Failed(error.context(sql))),
            other => other.map(|_| ()),
        }
    }

    /// The server makes a schema's folder before the schema, and removes it after; what a kill in between leaves, users are told to remove by hand. It
    /// is empty, or this fails.
    fn remove_left_behind(&self) -> Result<()> {
        let data = self
            .socket
            .parent()
            .context("the socket is in the data directory")?;
        let folder = data.join(own_schema(self.id));
        fs::remove_dir(&folder).with_context(|| format!("remove {}", folder.display()))
    }

    /// A table that there is.
    fn existing(&mut self) -> Option<(String, String)> {
        let names: Vec<_> = self.model.now.keys().cloned().collect();
        (!names.is_empty()).then(|| self.random.pick(&names).clone())
    }

    /// A name that no table has; names come back, so that what a drop left behind is met.
    fn free(&mut self) -> Option<(String, String)> {
        let schema = match self.random.below(4) {
            0 => own_schema(self.id),
            _ => "torture".to_string(),
        };
        let name = (schema, format!("d{}_{}", self.id, self.random.below(8)));
        (!self.model.now.contains_key(&name)).then_some(name)
    }

    fn choose(&mut self) -> Option<(String, Tables)> {
        let mut after = self.model.now.clone();
        let sql = match self.random.below(100) {
            0..22 => self.create(&mut after)?,
            22..34 => self.create_select(&mut after)?,
            34..50 => self.fill(&mut after)?,
            50..60 => self.rename(&mut after)?,
            60..66 => self.exchange(&mut after)?,
            66..74 => {
                let name = self.existing()?;
                after.get_mut(&name)?.rows = 0;
                format!("TRUNCATE TABLE {}", quoted(&name))
            }
            74..86 => self.alter(&mut after)?,
            86..98 => {
                let names = [self.existing()?, self.existing()?];
                let count = match names[0] == names[1] {
                    true => 1,
                    false => 2,
                };
                for name in &names {
                    after.remove(name);
                }
                let names: Vec<_> = names[..count].iter().map(quoted).collect();
                format!("DROP TABLE {}", names.join(", "))
            }
            _ => {
                let schema = own_schema(self.id);
                after.retain(|name, _| name.0 != schema);
                return Some((format!("DROP DATABASE IF EXISTS {schema}"), after));
            }
        };
        Some((sql, after))
    }

    fn create(&mut self, after: &mut Tables) -> Option<String> {
        let name = self.free()?;
        let engine = self.some_engine();
        let sql = format!(
            "CREATE TABLE {} (a BIGINT AUTO_INCREMENT PRIMARY KEY, b VARCHAR(100), KEY by_b (b)) ENGINE={engine}",
            quoted(&name)
        );
        let table = Table {
            engine,
            rows: 0,
            columns: 2,
            indexes: 2,
        };
        after.insert(name, table);
        Some(sql)
    }

    fn create_select(&mut self, after: &mut Tables) -> Option<String> {
        let from = self.existing()?;
        let rows = after.get(&from)?.rows;
        let name = self.free()?;
        let engine = self.some_engine();
        let sql = format!(
            "CREATE TABLE {} (a BIGINT PRIMARY KEY, b VARCHAR(100), KEY by_b (b)) ENGINE={engine} AS SELECT a, b FROM {}",
            quoted(&name),
            quoted(&from)
        );
        let table = Table {
            engine,
            rows,
            columns: 2,
            indexes: 2,
        };
        after.insert(name, table);
        Some(sql)
    }

    fn fill(&mut self, after: &mut Tables) -> Option<String> {
        let name = self.existing()?;
        let rows = self.random.between(1, 60);
        let first = after.get(&name)?.rows;
        after.get_mut(&name)?.rows += rows;
        // Keys of its own, as a copy's table counts by itself no more.
        let rows: Vec<_> = (first..first + rows)
            .map(|row| format!("({}, 'row {row}')", row + 1))
            .collect();
        Some(format!(
            "INSERT INTO {} (a, b) VALUES {}",
            quoted(&name),
            rows.join(", ")
        ))
    }

    fn rename(&mut self, after: &mut Tables) -> Option<String> {
        let (from, to) = (self.existing()?, self.free()?);
        let table = after.remove(&from)?;
        after.insert(to.clone(), table);
        Some(format!("RENAME TABLE {} TO {}", quoted(&from), quoted(&to)))
    }

    /// Three renames in one statement.
    fn exchange(&mut self, after: &mut Tables) -> Option<String> {
        let (a, b, free) = (self.existing()?, self.existing()?, self.free()?);
        if a == b {
            return None;
        }
        let (first, second) = (after.remove(&a)?, after.remove(&b)?);
        after.insert(b.clone(), first);
        after.insert(a.clone(), second);
        let (a, b, free) = (quoted(&a), quoted(&b), quoted(&free));
        Some(format!(
            "RENAME TABLE {a} TO {free}, {b} TO {a}, {free} TO {b}"
        ))
    }

    fn alter(&mut self, after: &mut Tables) -> Option<String> {
        let name = self.existing()?;
        let table = after.get_mut(&name)?;
        let change = match self.random.below(3) {
            0 if table.columns == 2 => {
                table.columns = 3;
                "ADD COLUMN c INT NOT NULL DEFAULT 5, ALGORITHM=COPY".to_string()
            }
            0 => {
                table.columns = 2;
                "DROP COLUMN c, ALGORITHM=COPY".to_string()
            }
            1 if table.indexes == 2 => {
                table.indexes = 3;
                "ADD UNIQUE KEY by_both (b, a)".to_string()
            }
            1 => {
                table.indexes = 2;
                "DROP KEY by_both".to_string()
            }
            _ => {
                table.engine = match table.engine {
                    "InnoDB" => self.engine,
                    _ => "InnoDB",
                };
                format!("ENGINE={}", table.engine)
            }
        };
        Some(format!("ALTER TABLE {} {change}", quoted(&name)))
    }

    fn some_engine(&mut self) -> &'static str {
        match self.random.below(5) {
            0 => "InnoDB",
            _ => self.engine,
        }
    }
}

fn quoted(name: &(String, String)) -> String {
    format!("{}.{}", name.0, name.1)
}

/// The server's tables against the models; settles each model.
pub fn verify(client: &mut Client, models: &mut [Model]) -> Result<()> {
    for (id, model) in models.iter_mut().enumerate() {
        let found = read_tables(client, id)?;
        let expected = match &model.pending {
            Some(pending) if found == *pending => pending.clone(),
            _ => model.now.clone(),
        };
        ensure!(
            found == expected,
            "tables are neither as before the statement nor as after it: {}\n  found   {found:?}\n  before  {:?}\n  after   {:?}",
            model.sql,
            model.now,
            model.pending
        );
        model.now = expected;
        model.pending = None;
    }
    verify_nothing_else(client, models)
}

/// No table but the clients' own and the bank's, and no unfinished copy of an ALTER TABLE.
fn verify_nothing_else(client: &mut Client, models: &[Model]) -> Result<()> {
    let known: usize = models.iter().map(|model| model.now.len()).sum();
    let counted = client.query(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema LIKE 'torture%'",
    )?;
    let expected = known + bank::TABLES;
    ensure!(
        counted.scalar() == expected.to_string(),
        "there are {} tables instead of {expected}",
        counted.scalar()
    );
    let copies = client.query(
        "SELECT name FROM information_schema.innodb_tables WHERE name LIKE 'torture%/#sql%'",
    )?;
    ensure!(
        copies.len() == 0,
        "a copy is left over: {}",
        copies.scalar()
    );
    Ok(())
}

/// A client's tables as the server's dictionary and the tables themselves have them.
fn read_tables(client: &mut Client, id: usize) -> Result<Tables> {
    let rows = client.query(&format!(
        "SELECT t.table_schema, t.table_name, t.engine, \
           (SELECT COUNT(*) FROM information_schema.columns c WHERE c.table_schema = t.table_schema AND c.table_name = t.table_name), \
           (SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics s WHERE s.table_schema = t.table_schema AND s.table_name = t.table_name) \
         FROM information_schema.tables t WHERE t.table_name LIKE 'd{id}\\_%' OR t.table_schema = '{}'",
        own_schema(id)
    ))?;
    let mut tables = Tables::new();
    for index in 0..rows.len() {
        let row: Vec<String> = rows.row(index).into_iter().flatten().collect();
        let [schema, name, engine, columns, indexes] = row.as_slice() else {
            anyhow::bail!("information_schema has {row:?}");
        };
        let name = (schema.clone(), name.clone());
        let engine = match engine.as_str() {
            "InnoDB" => "InnoDB",
            "SMARTENGINE" => "SMARTENGINE",
            other => anyhow::bail!("{name:?} is in engine {other}"),
        };
        let counted = |index: &str| -> Result<String> {
            let sql = format!(
                "SELECT COUNT(*) FROM {} FORCE INDEX ({index})",
                quoted(&name)
            );
            Ok(client
                .query(&sql)
                .with_context(|| format!("read {name:?}"))?
                .scalar())
        };
        let counts = ["PRIMARY", "by_b"].map(counted);
        let [by_primary, by_b] = counts;
        let (by_primary, by_b) = (by_primary?, by_b?);
        ensure!(
            by_primary == by_b,
            "{name:?} has {by_primary} rows by its primary key and {by_b} by its other index"
        );
        let shown = client.query(&format!("SHOW CREATE TABLE {}", quoted(&name)))?;
        ensure!(
            shown.len() == 1,
            "SHOW CREATE TABLE of {name:?} says nothing"
        );
        let table = Table {
            engine,
            rows: by_primary.parse()?,
            columns: columns.parse()?,
            indexes: indexes.parse()?,
        };
        tables.insert(name, table);
    }
    Ok(tables)
}
