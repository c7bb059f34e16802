//! sysbench on two engines of one server.

use anyhow::{Context, Result, ensure};

use crate::host::exec;
use crate::host::paths;
use crate::host::progress::Step;
use crate::host::table::Table;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::packages::tools::Tools;
use crate::plugin::{self, PluginArgs};
use crate::server::engines::Engine;
use crate::server::{Server, Setup};

/// Readers first, so that they see tables of the size asked for.
const WORKLOADS: [&str; 7] = [
    "oltp_point_select",
    "oltp_read_only",
    "select_random_ranges",
    "oltp_update_index",
    "oltp_write_only",
    "oltp_read_write",
    "oltp_insert",
];
const MIB: u64 = 1 << 20;

#[derive(clap::Args)]
pub struct SysbenchArgs {
    #[command(flatten)]
    plugin: PluginArgs,
    /// Seconds that each workload runs on each engine in each round
    #[arg(long, default_value_t = 10)]
    time: u32,
    /// Clients at once; each number given is measured
    #[arg(long, value_delimiter = ',', num_args = 1, default_value = "4")]
    threads: Vec<u32>,
    /// Tables
    #[arg(long, default_value_t = 4)]
    tables: u32,
    /// Rows in each table
    #[arg(long, default_value_t = 100_000)]
    size: u64,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Memory of each engine, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    cache: u64,
    /// Workloads to run [default: all]
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(WORKLOADS))]
    workloads: Vec<String>,
    /// The engine to measure, and the one to measure it against
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 1,
        default_value = "SMARTENGINE,InnoDB"
    )]
    engines: Vec<Engine>,
    /// Keep the binary log on; it is off otherwise, as it costs both engines the same
    #[arg(long)]
    binlog: bool,
}

/// What one workload with some number of clients gave: transactions per second by engine and round.
struct Measured {
    workload: String,
    threads: u32,
    rates: [Vec<f64>; 2],
}

struct Runner<'a> {
    args: &'a SysbenchArgs,
    tools: Tools,
    server: Server,
}

pub fn run(args: &SysbenchArgs, mysql: &MysqlArgs) -> Result<()> {
    ensure!(
        args.engines.len() == 2,
        "--engines takes two engines, such as SMARTENGINE,InnoDB"
    );
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let mysql = Mysql::locate(mysql)?;
    let plugin = match args.engines.contains(&Engine::Smartengine) {
        true => Some(plugin::build(&mysql, args.plugin)?),
        false => None,
    };
    let work = paths::fresh("bench")?;
    let setup = Setup {
        mysql,
        datadir: work.join("data"),
        options: server_options(args, plugin.is_some()),
        environment: Vec::new(),
        plugin,
        port: None,
        log: Some(work.join("server.log")),
    };
    let runner = Runner {
        args,
        tools: Tools::locate()?,
        server: setup.start()?,
    };
    for index in 0..args.engines.len() {
        runner.prepare(index)?;
    }
    let results = runner.measure()?;
    println!(
        "\nmedians of {} rounds of {} s, {} tables of {} rows, {} MiB for each engine, binary log {}",
        args.rounds,
        args.time,
        args.tables,
        args.size,
        args.cache,
        if args.binlog { "on" } else { "off" }
    );
    println!("{}", summary(args, &results));
    runner.server.shut_down()
}

/// Both engines sync each commit, and get the same memory.
fn server_options(args: &SysbenchArgs, plugin: bool) -> Vec<std::ffi::OsString> {
    let cache = args.cache * MIB;
    let mut options = vec![
        format!("--innodb-buffer-pool-size={cache}"),
        "--innodb-flush-log-at-trx-commit=1".to_string(),
        // Small enough for a log that wraps would measure checkpoints instead.
        "--innodb-redo-log-capacity=2G".to_string(),
        "--max-prepared-stmt-count=1000000".to_string(),
        format!("--max-connections={}", most_threads(args) + 50),
    ];
    if plugin {
        let memtables = cache / 4;
        options.extend([
            format!("--smartengine-block-cache-size={}", cache - memtables),
            format!("--smartengine-total-memtable-size={memtables}"),
            format!("--smartengine-memtable-size={}", memtables / 4),
            "--smartengine-flush-log-at-trx-commit=1".to_string(),
        ]);
    }
    if !args.binlog {
        options.push("--skip-log-bin".to_string());
    }
    options.into_iter().map(Into::into).collect()
}

fn most_threads(args: &SysbenchArgs) -> u32 {
    args.threads.iter().copied().max().unwrap_or(1)
}

impl Runner<'_> {
    fn schema(&self, index: usize) -> String {
        format!("sbtest{index}")
    }

    fn sysbench(&self, script: &str, index: usize, threads: u32, task: &str) -> Result<String> {
        let args = self.args;
        let mut command = self.tools.sysbench();
        command
            .arg(self.tools.scripts().join(format!("{script}.lua")))
            .args(["--db-driver=mysql", "--mysql-user=root"])
            .arg(format!("--mysql-socket={}", self.server.socket().display()))
            .arg(format!("--mysql-db={}", self.schema(index)))
            .arg(format!("--threads={threads}"))
            .arg(format!("--time={}", args.time))
            .arg(format!("--table-size={}", args.size));
        match script {
            // It works on the first table alone, and refuses to be told of others.
            "select_random_ranges" => {}
            _ => {
                command
                    .arg(format!("--tables={}", args.tables))
                    .arg(format!(
                        "--mysql-storage-engine={}",
                        args.engines[index].name()
                    ));
            }
        }
        exec::output(command.arg(task))
    }

    fn prepare(&self, index: usize) -> Result<()> {
        let mut client = self.server.connect()?;
        client.query(&format!("CREATE DATABASE {}", self.schema(index)))?;
        let name = self.args.engines[index].name();
        let step = Step::spinner(format!("fill the tables of {name}"));
        self.sysbench("oltp_read_write", index, self.args.tables, "prepare")
            .with_context(|| format!("fill the tables of {name}"))?;
        step.done();
        Ok(())
    }

    fn measure(&self) -> Result<Vec<Measured>> {
        let workloads: Vec<String> = match self.args.workloads.is_empty() {
            true => WORKLOADS.map(str::to_string).to_vec(),
            false => self.args.workloads.clone(),
        };
        let mut results = Vec::new();
        for workload in workloads {
            for &threads in &self.args.threads {
                let rates = self.rates(&workload, threads)?;
                results.push(Measured {
                    workload: workload.clone(),
                    threads,
                    rates,
                });
            }
        }
        Ok(results)
    }

    fn rates(&self, workload: &str, threads: u32) -> Result<[Vec<f64>; 2]> {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..self.args.rounds {
            for turn in 0..2 {
                let index = (round + turn) % 2;
                let report = self.sysbench(workload, index, threads, "run")?;
                let rate = transactions_per_second(&report)
                    .with_context(|| format!("sysbench gave no rate:\n{report}"))?;
                let name = self.args.engines[index].name();
                println!(
                    "{workload}, {threads} clients, round {} {name}: {rate:.0} /s",
                    round + 1
                );
                rates[index].push(rate);
            }
        }
        Ok(rates)
    }
}

/// Reads `    transactions:                        12345  (1234.50 per sec.)`.
fn transactions_per_second(report: &str) -> Option<f64> {
    let line = report
        .lines()
        .find_map(|line| line.trim().strip_prefix("transactions:"))?;
    line.split_once('(')?
        .1
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

fn summary(args: &SysbenchArgs, results: &[Measured]) -> Table {
    let names = [args.engines[0].name(), args.engines[1].name()];
    let mut table = Table::new(&["transactions/s", "clients", names[0], names[1], "ratio"]);
    for measured in results {
        let [ours, theirs] = [median(&measured.rates[0]), median(&measured.rates[1])];
        table.row([
            measured.workload.clone(),
            measured.threads.to_string(),
            format!("{ours:.0}"),
            format!("{theirs:.0}"),
            format!("{:.2}", ours / theirs),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_the_report() {
        let report = "SQL statistics:\n    transactions:                        4021   (401.87 per sec.)\n    queries: 1\n";
        assert_eq!(transactions_per_second(report), Some(401.87));
        assert_eq!(transactions_per_second("FATAL: no"), None);
    }

    #[test]
    fn medians_do_not_follow_outliers() {
        assert_eq!(median(&[3.0, 100.0, 1.0]), 3.0);
        assert_eq!(median(&[4.0, 2.0]), 3.0);
        assert_eq!(median(&[]), 0.0);
    }
}
