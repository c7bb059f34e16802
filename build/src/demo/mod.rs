//! `cargo xtask demo`: real data in SMARTENGINE and InnoDB tables of one server, the same queries on both, and a server that
//! is killed while it takes inserts. Anything that differs ends it with an error.

mod data;
mod kill;
mod lost_disk;
mod queries;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::host::paths;
use crate::host::progress::Step;
use crate::host::table::Table;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, PluginArgs};
use crate::s3;
use crate::server::client::Client;
use crate::server::engines::Engine;
use crate::server::{Server, Setup};

use data::Dataset;

#[derive(clap::Args)]
pub struct DemoArgs {
    #[command(flatten)]
    plugin: PluginArgs,
    /// The engine to show, and the one to compare it with
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 1,
        default_value = "SMARTENGINE,InnoDB"
    )]
    engines: Vec<Engine>,
    /// How long the stream of inserts runs before the server is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    stream: u64,
    /// Keep the data in a bucket of an S3 server on this machine, which is started if none runs, and lose the disk at the end
    #[arg(long)]
    s3: bool,
}

impl Default for DemoArgs {
    fn default() -> Self {
        Self {
            plugin: PluginArgs::default(),
            engines: vec![Engine::Smartengine, Engine::InnoDb],
            stream: 3,
            s3: false,
        }
    }
}

/// The tables of one engine, and what was measured on them.
struct Side {
    engine: Engine,
    schema: String,
    rows: u64,
    load: Duration,
    queries: Duration,
    bytes: u64,
}

pub fn run(args: &DemoArgs, mysql: &MysqlArgs) -> Result<()> {
    ensure!(
        args.engines.len() == 2,
        "--engines takes two engines, such as SMARTENGINE,InnoDB"
    );
    ensure!(
        !args.s3 || args.engines[0] == Engine::Smartengine,
        "with --s3 SMARTENGINE comes first in --engines: no other outlives the disk"
    );
    let mysql = Mysql::locate(mysql)?;
    let dataset = Dataset::locate()?;
    let plugin = match args.engines.contains(&Engine::Smartengine) {
        true => Some(plugin::build(&mysql, args.plugin)?),
        false => None,
    };
    let work = paths::fresh("demo")?;
    let mut options = Vec::new();
    let mut environment = Vec::new();
    if args.s3 {
        let prefix = format!("demo-{}", std::process::id());
        s3::run_one()?;
        let (url, variables) = s3::own_store(&prefix)?;
        println!("the data goes to {url}");
        options.push(format!("--smartengine-store-url={url}").into());
        options.push("--smartengine-commit-durability=object".into());
        environment = variables;
    }
    let setup = Setup {
        mysql: mysql.clone(),
        datadir: work.join("data"),
        plugin,
        port: None,
        log: Some(work.join("server.log")),
        options,
        environment,
    };
    let server = setup.start()?;
    println!(
        "MySQL {}, unmodified, with its files in {}",
        server.connect()?.query("SELECT VERSION()")?.scalar(),
        work.display()
    );
    let mut sides: Vec<Side> = args
        .engines
        .iter()
        .enumerate()
        .map(|(index, engine)| Side::new(*engine, index))
        .collect();
    for side in &mut sides {
        side.load(&server, &dataset)?;
    }
    compare_tables(&server, &sides)?;
    queries::run_all(&server, &mut sides)?;
    for side in &mut sides {
        side.measure_bytes(&server, &setup.datadir)?;
    }
    let server = kill::run(
        &setup,
        server,
        sides[0].engine,
        Duration::from_secs(args.stream),
    )?;
    compare_tables(&server, &sides)?;
    let server = match args.s3 {
        true => {
            let schemas: Vec<&str> = sides.iter().map(|side| side.schema.as_str()).collect();
            lost_disk::run(&setup, server, &[&schemas[..], &["stream"]].concat())?
        }
        false => server,
    };
    server.shut_down()?;
    println!("\n{}", summary(&sides));
    println!("Nothing differs and nothing that was acknowledged is lost.");
    Ok(())
}

impl Side {
    fn new(engine: Engine, index: usize) -> Self {
        Self {
            engine,
            schema: format!("flights_{}_{}", index + 1, engine.name().to_lowercase()),
            rows: 0,
            load: Duration::ZERO,
            queries: Duration::ZERO,
            bytes: 0,
        }
    }

    fn connect(&self, server: &Server) -> Result<Client> {
        let mut client = server.connect()?;
        client.query(&format!("USE {}", self.schema))?;
        Ok(client)
    }

    fn load(&mut self, server: &Server, dataset: &Dataset) -> Result<()> {
        server
            .connect()?
            .query(&format!("CREATE DATABASE {}", self.schema))?;
        let mut client = self.connect(server)?;
        let step = Step::spinner(format!("load into {}", self.engine.name()));
        for table in data::TABLES {
            client.query(&table.create(self.engine))?;
            let started = Instant::now();
            let loaded = client.query(&table.load(&dataset.csv(table)))?.affected;
            self.load += started.elapsed();
            ensure!(
                loaded == table.rows,
                "{}: {loaded} rows of {} arrived in {}",
                table.name,
                table.rows,
                self.engine.name()
            );
            self.rows += loaded;
        }
        step.done();
        for table in data::TABLES {
            client.query(&format!("ANALYZE TABLE {}", table.name))?;
        }
        Ok(())
    }

    fn measure_bytes(&mut self, server: &Server, datadir: &Path) -> Result<()> {
        let mut client = self.connect(server)?;
        self.bytes = self
            .engine
            .bytes_stored(&mut client, datadir, &self.schema)?;
        Ok(())
    }
}

/// Every row of every table, in key order, has to be the same on both sides.
fn compare_tables(server: &Server, sides: &[Side]) -> Result<()> {
    let step = Step::spinner("compare every row of every table");
    for table in data::TABLES {
        let sql = format!("SELECT * FROM {} ORDER BY {}", table.name, table.key);
        queries::same_rows(server, sides, &sql).with_context(|| table.name)?;
    }
    step.done();
    Ok(())
}

fn summary(sides: &[Side]) -> String {
    let mut table = Table::new(&["", sides[0].engine.name(), sides[1].engine.name(), "ratio"]);
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let ratio = |a: f64, b: f64| format!("{:.2}", a / b);
    let [a, b] = [&sides[0], &sides[1]];
    table.row([
        "rows".into(),
        a.rows.to_string(),
        b.rows.to_string(),
        String::new(),
    ]);
    table.row([
        "load time".into(),
        seconds(a.load),
        seconds(b.load),
        ratio(a.load.as_secs_f64(), b.load.as_secs_f64()),
    ]);
    table.row([
        "query time".into(),
        seconds(a.queries),
        seconds(b.queries),
        ratio(a.queries.as_secs_f64(), b.queries.as_secs_f64()),
    ]);
    table.row([
        "bytes stored".into(),
        a.bytes.to_string(),
        b.bytes.to_string(),
        ratio(a.bytes as f64, b.bytes as f64),
    ]);
    table.to_string()
}
