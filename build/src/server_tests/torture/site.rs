//! The servers of a few rounds: a source, maybe with a replica, on fresh data directories, with options drawn for them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::bank;
use crate::host::exec;
use crate::packages::mysql::Mysql;
use crate::plugin::Plugin;
use crate::server::engines::Engine;
use crate::server::{Server, Setup, free_port};
use crate::server_tests::random::Random;

/// Where the engine keeps its files in a data directory.
const ENGINE_FOLDER: &str = ".smartengine";

/// How long a replica may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(120);

/// The options drawn for a site.
#[derive(Clone, Debug)]
pub struct Draw {
    pub binlog: bool,
    sync_binlog: u64,
    pub gtid: bool,
    memtable: &'static str,
    transaction_memory: &'static str,
    /// Those of the replica.
    replica_engine: &'static str,
    replica_workers: u64,
}

impl Draw {
    /// The first site always writes a binary log, and so does one with a replica.
    pub fn new(random: &mut Random, binlog: bool, engine: Engine) -> Self {
        Self {
            binlog: binlog || random.chance(65),
            sync_binlog: u64::from(random.chance(60)),
            gtid: random.chance(70),
            memtable: *random.pick(&["128K", "1M", "16M"]),
            transaction_memory: *random.pick(&["64K", "1M", "32M"]),
            replica_engine: match engine {
                Engine::Smartengine => *random.pick(&["SMARTENGINE", "SMARTENGINE", "InnoDB"]),
                Engine::InnoDb => "InnoDB",
            },
            replica_workers: *random.pick(&[1, 4, 4]),
        }
    }

    pub fn describe(&self) -> String {
        match self.binlog {
            false => format!("binlog off, memtable {}", self.memtable),
            true => format!(
                "binlog on, sync_binlog {}, GTID {}, memtable {}",
                self.sync_binlog,
                if self.gtid { "on" } else { "off" },
                self.memtable
            ),
        }
    }

    fn options(&self, engine: Engine, replica: bool) -> Vec<OsString> {
        let mut options: Vec<String> = [
            "--innodb-buffer-pool-size=64M",
            "--innodb-lock-wait-timeout=1",
            "--innodb-print-all-deadlocks=OFF",
        ]
        .map(Into::into)
        .into();
        if engine == Engine::Smartengine {
            options.extend([
                "--smartengine-lock-wait-timeout=1".to_string(),
                format!("--smartengine-memtable-size={}", self.memtable),
                // Only versions of the engine that spill have it.
                format!(
                    "--loose-smartengine-transaction-memory={}",
                    self.transaction_memory
                ),
            ]);
        }
        if !self.binlog {
            options.push("--skip-log-bin".into());
        } else {
            options.extend([
                "--log-bin=binlog".to_string(),
                "--binlog-format=ROW".to_string(),
                format!("--sync-binlog={}", self.sync_binlog),
                format!("--server-id={}", if replica { 2 } else { 1 }),
            ]);
            if self.gtid {
                options.extend(["--gtid-mode=ON", "--enforce-gtid-consistency=ON"].map(Into::into));
            }
        }
        if replica {
            options.extend([
                format!("--replica-parallel-workers={}", self.replica_workers),
                "--replica-preserve-commit-order=ON".to_string(),
                "--relay-log-recovery=ON".to_string(),
                "--replica-net-timeout=5".to_string(),
            ]);
        }
        options.into_iter().map(Into::into).collect()
    }
}

/// Where a site's files are, and how its servers are started.
pub struct Site {
    pub draw: Draw,
    pub source: Setup,
    pub replica: Option<Setup>,
    engine: Engine,
}

impl Site {
    /// Lays out fresh data directories below `work`.
    pub fn new(
        work: &Path,
        mysql: &Mysql,
        plugin: Option<&Plugin>,
        engine: Engine,
        draw: Draw,
        with_replica: bool,
    ) -> Result<Self> {
        let template = work.join("template");
        let setup = |name: &str, options, port| -> Result<Setup> {
            let datadir = work.join(name);
            copy_folder(&template, &datadir)?;
            Ok(Setup {
                mysql: mysql.clone(),
                datadir,
                plugin: plugin.cloned(),
                port: Some(port),
                log: Some(work.join(format!("{name}.log"))),
                options,
                environment: Vec::new(),
            })
        };
        if !template.exists() {
            Setup {
                mysql: mysql.clone(),
                datadir: template.clone(),
                plugin: None,
                port: None,
                log: None,
                options: Vec::new(),
                environment: Vec::new(),
            }
            .initialize()?;
        }
        let source = setup("source", draw.options(engine, false), free_port()?)?;
        let replica = match with_replica && draw.binlog {
            true => Some(setup("replica", draw.options(engine, true), free_port()?)?),
            false => None,
        };
        Ok(Self {
            draw,
            source,
            replica,
            engine,
        })
    }

    /// Starts the source for the first time and makes the tables.
    pub fn create(&self) -> Result<(Server, Option<Server>)> {
        let source = self.source.start()?;
        let mut client = source.connect()?;
        // The replica makes the tables by itself, so that they may be in another engine there.
        client.query("SET sql_log_bin = 0")?;
        bank::create(&mut client, self.engine.name())?;
        let Some(setup) = &self.replica else {
            return Ok((source, None));
        };
        let replica = setup.start()?;
        let mut there = replica.connect()?;
        there.query("SET sql_log_bin = 0")?;
        bank::create(&mut there, self.draw.replica_engine)?;
        let position = match self.draw.gtid {
            true => "SOURCE_AUTO_POSITION = 1".to_string(),
            false => {
                let status = client.query("SHOW BINARY LOG STATUS")?;
                let row: Vec<String> = status.row(0).into_iter().flatten().collect();
                format!(
                    "SOURCE_LOG_FILE = '{}', SOURCE_LOG_POS = {}",
                    row[0], row[1]
                )
            }
        };
        there.query(&format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, SOURCE_USER = 'root', \
             SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 100000, GET_SOURCE_PUBLIC_KEY = 1, {position}",
            source.port()
        ))?;
        there.query("START REPLICA")?;
        Ok((source, Some(replica)))
    }

    /// Keeps a copy of the source's files, all but the engine's, for [`Site::put_back`].
    pub fn set_aside(&self) -> Result<()> {
        copy_but_engine(&self.source.datadir, &self.aside())
    }

    /// Gives the server's files the state they were set aside in, after a start that was refused; the engine's stay. A stock server whose start ends
    /// between InnoDB's recovery and the coordinator's loses InnoDB tables whose TRUNCATE was cut off by a crash (seen without this plugin, with an
    /// unknown default engine), and that is not what is tested here.
    pub fn put_back(&self) -> Result<()> {
        let engine = self.source.datadir.join(ENGINE_FOLDER);
        let kept = self.source.datadir.with_extension("engine");
        fs::rename(&engine, &kept)?;
        fs::remove_dir_all(&self.source.datadir)?;
        fs::rename(self.aside(), &self.source.datadir)?;
        fs::rename(&kept, &engine)?;
        Ok(())
    }

    fn aside(&self) -> PathBuf {
        self.source.datadir.with_extension("aside")
    }

    pub fn binlog_program(&self) -> PathBuf {
        self.source.mysql.client("mysqlbinlog")
    }

    /// Waits until the replica has everything, and compares every table.
    pub fn converge(&self, source: &Server, replica: &Server) -> Result<usize> {
        let mut here = source.connect()?;
        let mut there = replica.connect()?;
        self.wait_for_replica(source, replica)?;
        let rows = here.query(
            "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables \
             WHERE table_schema LIKE 'torture%' AND table_type = 'BASE TABLE' ORDER BY 1",
        )?;
        let tables: Vec<String> = (0..rows.len())
            .filter_map(|index| rows.row(index).into_iter().next().flatten())
            .collect();
        for table in &tables {
            let sql = format!("CHECKSUM TABLE {table} EXTENDED");
            let (a, b) = (here.query(&sql)?.row(0), there.query(&sql)?.row(0));
            ensure!(
                a == b && a.get(1).cloned().flatten().is_some(),
                "{table} has checksum {a:?} on the source and {b:?} on the replica"
            );
        }
        let count =
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema LIKE 'torture%'";
        let (a, b) = (here.query(count)?.scalar(), there.query(count)?.scalar());
        ensure!(a == b, "the source has {a} tables, the replica {b}");
        Ok(tables.len())
    }

    fn wait_for_replica(&self, source: &Server, replica: &Server) -> Result<()> {
        let mut here = source.connect()?;
        let mut there = replica.connect()?;
        let waiting = match self.draw.gtid {
            true => {
                let executed = here.query("SELECT @@GLOBAL.gtid_executed")?.scalar();
                let executed = executed.replace('\n', "");
                format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', 5) = 0")
            }
            false => {
                let status = here.query("SHOW BINARY LOG STATUS")?;
                let row: Vec<String> = status.row(0).into_iter().flatten().collect();
                format!("SELECT SOURCE_POS_WAIT('{}', {}, 5) >= 0", row[0], row[1])
            }
        };
        let started = std::time::Instant::now();
        loop {
            if there.query(&waiting)?.scalar() == "1" {
                return Ok(());
            }
            let failed = there.query(
                "SELECT CONCAT(last_error_number, ': ', last_error_message) FROM performance_schema.replication_applier_status_by_worker \
                 WHERE last_error_number <> 0 \
                 UNION ALL SELECT CONCAT(last_error_number, ': ', last_error_message) FROM performance_schema.replication_connection_status \
                 WHERE service_state <> 'ON' AND last_error_number <> 0",
            )?;
            if self.draw.gtid && failed.len() > 0 && is_cut_off_xa(&failed.scalar()) {
                for sql in ["STOP REPLICA", "RESET REPLICA", "START REPLICA"] {
                    there.query(sql)?;
                }
            } else if failed.len() > 0 && started.elapsed() > Duration::from_secs(10) {
                bail!("the replica stopped: {}", failed.scalar());
            }
            ensure!(
                started.elapsed() < CATCH_UP,
                "the replica has not caught up after {} s",
                CATCH_UP.as_secs()
            );
        }
    }
}

/// Whether a replica stopped since its source had been cut off in the middle of an external XA transaction. When it has connected again, a stock server's
/// coordinator gives the worker that runs the first part a ROLLBACK, which is refused between XA START and XA PREPARE, whatever the engine (so it is with
/// tables of InnoDB alone). What a DBA does is to have the relay logs fetched again.
fn is_cut_off_xa(error: &str) -> bool {
    let states = ["in the  ACTIVE state'", "in the  IDLE state'"];
    error.starts_with("1399: ")
        && error.contains("Query: 'ROLLBACK'")
        && states.iter().any(|state| error.contains(state))
}

/// The length of a binary log whose list of earlier GTIDs is not written: a magic number and a description of the format.
const HEADLESS_BINLOG: u64 = 127;

/// Removes a newest binary log that a kill left without its list of earlier GTIDs. It has no transactions, but a stock server takes it for a sign
/// that there were none before, and gives their GTIDs out again.
pub fn remove_headless_binlog(setup: &Setup) -> Result<()> {
    let index = setup.datadir.join("binlog.index");
    let Ok(text) = fs::read_to_string(&index) else {
        return Ok(());
    };
    let Some(last) = text.lines().last() else {
        return Ok(());
    };
    let file = setup.datadir.join(last);
    if fs::metadata(&file).is_ok_and(|data| data.len() <= HEADLESS_BINLOG) {
        fs::write(&index, text.replace(&format!("{last}\n"), ""))?;
        fs::remove_file(&file)?;
    }
    Ok(())
}

/// Replaces `to` by a copy without the engine's folder.
fn copy_but_engine(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("remove {}", to.display()))?;
    }
    fs::create_dir_all(to)?;
    let mut copy = Command::new("cp");
    copy.arg("-a");
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name() != ENGINE_FOLDER {
            copy.arg(entry.path());
        }
    }
    exec::run(copy.arg(to))
}

/// Replaces `to` by a copy; a server identity in it is not copied.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("remove {}", to.display()))?;
    }
    exec::run(Command::new("cp").arg("-a").arg(from).arg(to))?;
    let identity = to.join("auto.cnf");
    if identity.exists() {
        fs::remove_file(&identity)?;
    }
    Ok(())
}
