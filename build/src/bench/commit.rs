//! Commits that are acknowledged by the store, through SQL: how long one takes, and how many there are a second with more clients.
//!
//! A proxy in front of the S3 server lets every PUT take a fixed time, or as long as the server itself takes if that is more; PUTs are measured there. What counts is the
//! ratio of one client's commit to the PUT, and that of many clients' throughput to one client's.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use faulty_proxy::Proxy;

use super::sysbench::median;
use crate::host::paths;
use crate::host::progress::Step;
use crate::host::table::Table;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, Plugin, PluginArgs};
use crate::s3;
use crate::server::client::Client;
use crate::server::{Server, Setup};

#[derive(clap::Args)]
pub struct CommitArgs {
    #[command(flatten)]
    plugin: PluginArgs,
    /// How long a PUT takes, in milliseconds; each value given is measured
    #[arg(long, value_delimiter = ',', num_args = 1, default_value = "5,20,100")]
    put_ms: Vec<u64>,
    /// Clients at once; the first number is what the others are compared with
    #[arg(long, value_delimiter = ',', num_args = 1, default_value = "1,8,64")]
    clients: Vec<usize>,
    /// Runs, of which the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only with the binary log, or only without it [default: both]
    #[arg(long)]
    binlog: Option<bool>,
    /// Further options of mysqld, after --
    #[arg(last = true, value_name = "MYSQLD OPTIONS")]
    options: Vec<std::ffi::OsString>,
}

/// What one run came to.
#[derive(Clone, Copy)]
struct Run {
    commits_per_second: f64,
    /// Medians, in milliseconds.
    commit_ms: f64,
    put_ms: f64,
    puts_per_second: f64,
}

pub fn run(args: &CommitArgs, mysql: &MysqlArgs) -> Result<()> {
    ensure!(
        args.rounds > 0 && !args.clients.is_empty(),
        "--rounds and --clients want at least one"
    );
    let mysql = Mysql::locate(mysql)?;
    let plugin = plugin::build(&mysql, args.plugin)?;
    let own = match s3::running()? {
        Some(_) => None,
        None => Some(s3::OwnServer::start("bench-commit")?),
    };
    let upstream = match &own {
        Some(own) => own.server.clone(),
        None => s3::running()?.context("the S3 server has gone")?,
    };
    let modes = match args.binlog {
        Some(mode) => vec![mode],
        None => vec![false, true],
    };
    for binlog in modes {
        let table = measure(args, &mysql, &plugin, &upstream, binlog)?;
        println!(
            "\nmedians of {} runs on {}, binary log {}\n{table}",
            args.rounds,
            upstream.name(),
            if binlog { "on" } else { "off" }
        );
    }
    Ok(())
}

fn measure(
    args: &CommitArgs,
    mysql: &Mysql,
    plugin: &Plugin,
    upstream: &s3::Server,
    binlog: bool,
) -> Result<Table> {
    let address: SocketAddr = upstream.endpoint.trim_start_matches("http://").parse()?;
    let proxy = Proxy::start(address, 1)?;
    let server = start(args, mysql, plugin, upstream, &proxy, binlog)?;
    let mut table = Table::new(&[
        "PUT, ms",
        "clients",
        "PUT measured, ms",
        "commit, ms",
        "commit / PUT",
        "commits/s",
        "ratio to the first",
        "commits a PUT",
    ]);
    for &put_ms in &args.put_ms {
        proxy.set_latency("PUT", Duration::from_millis(put_ms));
        let mut first = None;
        for &clients in &args.clients {
            let step = Step::spinner(format!("{clients} clients, {put_ms} ms a PUT"));
            let runs = (0..args.rounds)
                .map(|_| one_run(&server, &proxy, clients, put_ms))
                .collect::<Result<Vec<Run>>>()?;
            step.done();
            let of = |value: fn(&Run) -> f64| median(&runs.iter().map(value).collect::<Vec<_>>());
            let rate = of(|run| run.commits_per_second);
            let (commit, put) = (of(|run| run.commit_ms), of(|run| run.put_ms));
            let first = *first.get_or_insert(rate);
            table.row([
                put_ms.to_string(),
                clients.to_string(),
                format!("{put:.2}"),
                format!("{commit:.2}"),
                format!("{:.2}", of(|run| run.commit_ms / run.put_ms)),
                format!("{rate:.0}"),
                format!("{:.1}", rate / first),
                format!(
                    "{:.1}",
                    of(|run| run.commits_per_second / run.puts_per_second)
                ),
            ]);
        }
    }
    server.shut_down()?;
    Ok(table)
}

/// A server on an empty disk and an empty store behind the proxy.
fn start(
    args: &CommitArgs,
    mysql: &Mysql,
    plugin: &Plugin,
    upstream: &s3::Server,
    proxy: &Proxy,
    binlog: bool,
) -> Result<Server> {
    let work = paths::fresh("bench-commit")?;
    upstream.make_bucket(s3::TEST_BUCKET)?;
    let behind = s3::Server {
        endpoint: proxy.url(),
        ..upstream.clone()
    };
    let prefix = format!("commit-{}-{binlog}", std::process::id());
    let most = args.clients.iter().copied().max().unwrap_or(1);
    let mut options = vec![
        format!(
            "--smartengine-store-url={}",
            behind.url(s3::TEST_BUCKET, &prefix)
        )
        .into(),
        "--smartengine-commit-durability=object".into(),
        format!("--max-connections={}", most + 50).into(),
    ];
    if !binlog {
        options.push("--skip-log-bin".into());
    }
    options.extend(args.options.iter().cloned());
    let server = Setup {
        mysql: mysql.clone(),
        datadir: work.join("data"),
        plugin: Some(plugin.clone()),
        port: None,
        log: Some(work.join("server.log")),
        options,
        environment: upstream.environment(),
    }
    .start()?;
    let mut client = server.connect()?;
    client.query("CREATE DATABASE bench")?;
    client.query(
        "CREATE TABLE bench.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, v CHAR(100) NOT NULL)",
    )?;
    Ok(server)
}

/// Lets clients insert rows for a while, each one row after another, each in a transaction of its own.
fn one_run(server: &Server, proxy: &Proxy, clients: usize, put_ms: u64) -> Result<Run> {
    let connections = (0..clients)
        .map(|_| server.connect())
        .collect::<Result<Vec<Client>>>()?;
    let length = Duration::from_millis(put_ms * 30 + 1500);
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    proxy.start_timing("PUT");
    let mut commits = thread::scope(|scope| -> Result<_> {
        let threads: Vec<_> = connections
            .into_iter()
            .map(|client| scope.spawn(|| insert_until(&stop, client)))
            .collect();
        thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok(all)
    })?;
    let elapsed = started.elapsed();
    let mut puts = proxy.stop_timing();
    ensure!(
        !commits.is_empty() && !puts.is_empty(),
        "nothing was committed"
    );
    Ok(Run {
        commits_per_second: commits.len() as f64 / elapsed.as_secs_f64(),
        commit_ms: middle(&mut commits),
        put_ms: middle(&mut puts),
        puts_per_second: puts.len() as f64 / elapsed.as_secs_f64(),
    })
}

fn insert_until(stop: &AtomicBool, mut client: Client) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        client.query("INSERT INTO bench.t (v) VALUES (REPEAT('v', 100))")?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// The median, in milliseconds.
fn middle(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
