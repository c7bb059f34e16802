//! How long it takes from an empty disk to the first row, for few and many tables, and for a database of some size.
//!
//! The disk holds what `mysqld --initialize` makes, no more. A server without the plugin on such a disk is measured in turn with it: what it takes
//! beyond that is the engine's doing. Part of it is making the definitions; the error log says how long that took.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::host::paths;
use crate::host::progress::Step;
use crate::host::table::Table;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, Plugin, PluginArgs};
use crate::s3;
use crate::server::client::Client;
use crate::server::{Server, Setup};

/// Clients that make the tables.
const CLIENTS: usize = 8;

#[derive(clap::Args)]
pub struct ColdStartArgs {
    #[command(flatten)]
    plugin: PluginArgs,
    /// Numbers of tables; each number gets a store of its own
    #[arg(long, value_delimiter = ',', default_value = "10,10000", value_parser = clap::value_parser!(u64).range(1..))]
    tables: Vec<u64>,
    /// Size of the data of one more store, of 10 tables, in MiB; 0 for none
    #[arg(long, default_value_t = 3000)]
    mib: u64,
    /// How often each start is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// A folder instead of the S3 server that cargo xtask s3 up started
    #[arg(long)]
    file: bool,
}

/// How long starts took: medians.
struct Starts {
    /// Until the first row was there.
    whole: Duration,
    /// Of that, making the definitions.
    replay: Duration,
    /// A server without the plugin, until it takes connections.
    alone: Duration,
}

/// A store's URL, and the variables of the environment by which it is reached.
type Store = (String, Vec<(String, String)>);

struct Bench<'a> {
    args: &'a ColdStartArgs,
    mysql: Mysql,
    plugin: Plugin,
    work: std::path::PathBuf,
}

pub fn run(args: &ColdStartArgs, mysql: &MysqlArgs) -> Result<()> {
    let mysql = Mysql::locate(mysql)?;
    let bench = Bench {
        args,
        plugin: plugin::build(&mysql, args.plugin)?,
        mysql,
        work: paths::fresh("coldstart")?,
    };
    let mut stores: Vec<_> = args
        .tables
        .iter()
        .map(|&tables| (format!("{tables} tables"), tables, 0))
        .collect();
    if args.mib > 0 {
        stores.push((format!("10 tables, {} MiB", args.mib), 10, args.mib));
    }
    let mut table = Table::new(&[
        "",
        "from an empty disk to the first row",
        "a server alone",
        "beyond it",
        "definitions made in",
    ]);
    for (name, tables, mib) in stores {
        let Starts {
            whole,
            replay,
            alone,
        } = bench.measure(&name, tables, mib)?;
        let beyond = whole.saturating_sub(alone);
        let times = [whole, alone, beyond, replay].map(seconds);
        table.row([name].into_iter().chain(times));
    }
    println!("\n{table}");
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

impl Bench<'_> {
    /// Makes a store and starts servers on it from nothing.
    fn measure(&self, name: &str, tables: u64, mib: u64) -> Result<Starts> {
        let prefix = format!("coldstart-{}-{tables}-{mib}", std::process::id());
        let (url, environment) = match self.args.file {
            true => (
                format!("file://{}", self.work.join(&prefix).display()),
                Vec::new(),
            ),
            false => s3::own_store(&prefix)?,
        };
        let store = (url, environment);
        let setup = self.setup(Some(&store))?;
        let server = setup.start()?;
        let step = Step::spinner(format!("make {name}"));
        fill(&server, tables, mib)?;
        step.done();
        server.shut_down()?;
        let last = tables - 1;
        let (mut wholes, mut replays, mut alones) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            alones.push(self.start(None, &mut |_| Ok(()))?);
            wholes.push(self.start(Some(&store), &mut |client| {
                let row = client.query(&format!("SELECT id FROM cold.t{last} LIMIT 1"))?;
                ensure!(row.scalar() == "1", "the row is not there");
                Ok(())
            })?);
            replays.push(replay_time(&self.log())?);
        }
        Ok(Starts {
            whole: median(wholes),
            replay: median(replays),
            alone: median(alones),
        })
    }

    /// How long it takes from the start of a server on an empty disk until `look` has seen what it looks for.
    fn start(
        &self,
        store: Option<&Store>,
        look: &mut dyn FnMut(&mut Client) -> Result<()>,
    ) -> Result<Duration> {
        let setup = self.setup(store)?;
        setup.initialize()?;
        let started = Instant::now();
        let server = setup.start()?;
        look(&mut server.connect()?)?;
        let time = started.elapsed();
        server.kill()?;
        Ok(time)
    }

    fn log(&self) -> std::path::PathBuf {
        self.work.join("server.log")
    }

    fn setup(&self, store: Option<&Store>) -> Result<Setup> {
        let datadir = self.work.join("data");
        empty(&datadir)?;
        let mut options: Vec<std::ffi::OsString> =
            vec!["--skip-log-bin".into(), "--log-error-verbosity=3".into()];
        let mut environment = Vec::new();
        if let Some((url, variables)) = store {
            options.push(format!("--smartengine-store-url={url}").into());
            environment.clone_from(variables);
        }
        Ok(Setup {
            mysql: self.mysql.clone(),
            datadir,
            plugin: store.map(|_| self.plugin.clone()),
            port: None,
            log: Some(self.log()),
            options,
            environment,
        })
    }
}

/// What the last start in the error log says.
fn replay_time(log: &Path) -> Result<Duration> {
    let text = fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    let line = text
        .lines()
        .rfind(|line| line.contains("definitions made from the store"))
        .context("the error log tells of no definitions made")?;
    ensure!(line.contains(" 0 failed,"), "{line}");
    let millis = line
        .rsplit_once(" in ")
        .and_then(|(_, rest)| rest.split_once(" ms"));
    let (millis, _) = millis.with_context(|| format!("no time in: {line}"))?;
    Ok(Duration::from_millis(millis.parse()?))
}

fn empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    Ok(())
}

/// Makes tables with a row each, and spreads `mib` MiB of rows over them.
fn fill(server: &Server, tables: u64, mib: u64) -> Result<()> {
    let mut client = server.connect()?;
    // This server's own disk is thrown away.
    client.query("SET GLOBAL innodb_flush_log_at_trx_commit = 0")?;
    client.query("CREATE DATABASE cold")?;
    // Clients that create tables at once share the flushes of the server's dictionary.
    let next = AtomicU64::new(0);
    let make_some = || -> Result<()> {
        let mut client = server.connect()?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= tables {
                return Ok(());
            }
            client.query(&format!(
                "CREATE TABLE cold.t{number} (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) NOT NULL, made DATETIME DEFAULT CURRENT_TIMESTAMP, \
                 body VARBINARY(1100), KEY (name))"
            ))?;
            client.query(&format!(
                "INSERT INTO cold.t{number} (name) VALUES ('first of {number}')"
            ))?;
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(make_some)).collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().expect("a client does not panic"))
    })?;
    if mib == 0 {
        return Ok(());
    }
    // A kilobyte for each row, which hardly compresses.
    let rows = mib * 1024 / tables;
    client.query("SET SESSION cte_max_recursion_depth = 100000000")?;
    for number in 0..tables {
        client.query(&format!(
            "INSERT INTO cold.t{number} (name, body) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             SELECT CONCAT('row ', i), RANDOM_BYTES(1024) FROM n"
        ))?;
    }
    Ok(())
}
