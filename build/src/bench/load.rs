//! LOAD DATA and INSERT … SELECT of many rows, on two engines in turn, and one transaction of any size, which has to keep to its memory.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::host::paths;
use crate::host::progress::Step;
use crate::host::table::Table;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, PluginArgs};
use crate::server::Setup;
use crate::server::client::Client;
use crate::server::engines::Engine;
use crate::server_tests::random::Random;

#[derive(clap::Args)]
pub struct LoadArgs {
    #[command(flatten)]
    plugin: PluginArgs,
    /// Rows of the file that is loaded
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How many times as many rows one INSERT … SELECT writes into the first engine; 20 with a million rows makes 20 million
    #[arg(long, default_value_t = 1)]
    times: u64,
    /// Rounds; the shortest time counts
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// The engine to measure, and the one to measure it against
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 1,
        default_value = "SMARTENGINE,InnoDB"
    )]
    engines: Vec<Engine>,
}

const COLUMNS: &str = "id INT PRIMARY KEY, k INT, c VARCHAR(80), p VARCHAR(60), KEY (k)";

pub fn run(args: &LoadArgs, mysql: &MysqlArgs) -> Result<()> {
    ensure!(
        args.engines.len() == 2,
        "--engines takes two engines, such as SMARTENGINE,InnoDB"
    );
    ensure!(
        args.rounds > 0 && args.times > 0,
        "--rounds and --times must be at least 1"
    );
    let mysql = Mysql::locate(mysql)?;
    let plugin = match args.engines.contains(&Engine::Smartengine) {
        true => Some(plugin::build(&mysql, args.plugin)?),
        false => None,
    };
    let work = paths::fresh("bench-load")?;
    let file = work.join("rows.tsv");
    write_rows(&file, args.rows)?;
    let setup = Setup {
        mysql,
        datadir: work.join("data"),
        options: vec![
            "--innodb-buffer-pool-size=256M".into(),
            "--innodb-redo-log-capacity=2G".into(),
            "--skip-log-bin".into(),
            "--secure-file-priv=".into(),
        ],
        environment: Vec::new(),
        plugin,
        port: None,
        log: Some(work.join("server.log")),
    };
    let server = setup.start()?;
    let mut client = server.connect()?;
    client.query("CREATE DATABASE bench")?;
    client.query("USE bench")?;
    let mut times = [[Duration::MAX; 2]; 2];
    for round in 0..args.rounds {
        for turn in 0..2 {
            let index = (turn + round) % 2;
            let taken = measure(&mut client, args.engines[index], &file, args.rows)?;
            for (least, taken) in times[index].iter_mut().zip(taken) {
                *least = (*least).min(taken);
            }
        }
    }
    println!("\n{} rows, the least of {} rounds", args.rows, args.rounds);
    println!("{}", summary(&args.engines, &times));
    if args.times > 1 {
        let pid = fs::read_to_string(client.query("SELECT @@pid_file")?.scalar())?;
        one_transaction(&mut client, args, pid.trim())?;
    }
    server.shut_down()
}

fn write_rows(path: &Path, rows: u64) -> Result<()> {
    let mut out = BufWriter::new(fs::File::create(path)?);
    let mut random = Random::new(1);
    for id in 1..=rows {
        let k = random.below(rows);
        let c: Vec<String> = (0..5)
            .map(|_| format!("{:011}", random.below(100_000_000_000)))
            .collect();
        writeln!(
            out,
            "{id}\t{k}\t{}\trow number {id} of a table",
            c.join("-")
        )?;
    }
    out.flush()
        .with_context(|| format!("write {}", path.display()))
}

/// How long it takes to load the file into an empty table, and to copy that table.
fn measure(client: &mut Client, engine: Engine, file: &Path, rows: u64) -> Result<[Duration; 2]> {
    let name = engine.name();
    client.query(&format!(
        "DROP TABLE IF EXISTS loaded_{name}, copied_{name}"
    ))?;
    for table in ["loaded", "copied"] {
        client.query(&format!(
            "CREATE TABLE {table}_{name} ({COLUMNS}) ENGINE={name}"
        ))?;
    }
    let load = format!(
        "LOAD DATA INFILE '{}' INTO TABLE loaded_{name}",
        file.display()
    );
    let copy = format!("INSERT INTO copied_{name} SELECT * FROM loaded_{name}");
    let mut times = [Duration::ZERO; 2];
    for (time, sql) in times.iter_mut().zip([load, copy]) {
        let step = Step::spinner(sql.clone());
        let start = Instant::now();
        client.query(&sql)?;
        *time = start.elapsed();
        step.done();
    }
    let count = client
        .query(&format!("SELECT COUNT(*) FROM copied_{name}"))?
        .scalar();
    ensure!(
        count == rows.to_string(),
        "{count} rows of {rows} in {name}"
    );
    Ok(times)
}

fn summary(engines: &[Engine], times: &[[Duration; 2]; 2]) -> Table {
    let mut table = Table::new(&["", engines[0].name(), engines[1].name(), "ratio"]);
    for (place, what) in ["LOAD DATA", "INSERT … SELECT"].into_iter().enumerate() {
        let [mine, other] = [0, 1].map(|index| times[index][place].as_secs_f64());
        table.row([
            what.to_string(),
            format!("{mine:.2} s"),
            format!("{other:.2} s"),
            format!("{:.2}", other / mine),
        ]);
    }
    table
}

/// One statement that writes many times the rows into the first engine, and the most memory that the server took meanwhile.
fn one_transaction(client: &mut Client, args: &LoadArgs, pid: &str) -> Result<()> {
    let name = args.engines[0].name();
    client.query(&format!("CREATE TABLE large ({COLUMNS}) ENGINE={name}"))?;
    let rows = args.rows * args.times;
    let numbers: Vec<String> = (0..args.times).map(|n| format!("ROW({n})")).collect();
    let sql = format!(
        "INSERT INTO large SELECT id + {} * x, k, c, p FROM loaded_{name} JOIN (VALUES {}) AS v (x)",
        args.rows,
        numbers.join(", ")
    );
    // Makes the kernel measure the peak from here on.
    fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    let before = resident_mib(pid, "VmRSS")?;
    let step = Step::spinner(format!("one INSERT … SELECT of {rows} rows"));
    let start = Instant::now();
    client.query(&sql)?;
    let taken = start.elapsed();
    step.done();
    let peak = resident_mib(pid, "VmHWM")?;
    let count = client.query("SELECT COUNT(*) FROM large")?.scalar();
    ensure!(count == rows.to_string(), "{count} rows of {rows}");
    println!(
        "one INSERT … SELECT of {rows} rows: {:.1} s, the server's memory {before} MiB before it, {peak} MiB at the most",
        taken.as_secs_f64()
    );
    Ok(())
}

fn resident_mib(pid: &str, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: u64 = kib
        .with_context(|| format!("no {field} of process {pid}"))?
        .parse()?;
    Ok(kib >> 10)
}
