//! `cargo xtask lostdisk`: a server is killed under load and loses its disk; another one on the same store has to be the same server.
//!
//! Each round: a new data directory, a stock server on the store, a comparison of everything that it shows of the users' work with what was there before
//! (`compare.rs`), a count of the transactions that were acknowledged (`load.rs`), then load again, a kill at a random moment, and the whole folder of
//! the server removed. With `--durability local` the count may be short by what was not sent yet: how much, and how old, is measured.

pub mod compare;
mod load;
mod loss;
pub mod schema;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::host::paths;
use crate::host::progress::Step;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, Plugin, PluginArgs};
use crate::s3;
use crate::server::client::Client;
use crate::server::{Server, Setup};
use crate::server_tests::random::Random;

use compare::Portrait;
use load::{Durability, Load};
use loss::Loss;

/// The time of a PUT, and what a busy machine is late, beyond the interval.
const LATE: Duration = Duration::from_millis(1500);

#[derive(clap::Args, Clone)]
pub struct LostDiskArgs {
    #[command(flatten)]
    pub plugin: PluginArgs,
    /// How often the server is killed and its disk lost
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Repeats the same choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Rows of the large table
    #[arg(long, default_value_t = 1_000_000)]
    pub rows: u64,
    /// When commits are acknowledged
    #[arg(long, default_value = "object")]
    pub durability: Durability,
    /// Milliseconds within which a commit at --durability local is sent to the store
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub interval: u64,
    /// The store: an s3:// URL of a bucket and prefix, or file for a folder [default: the server that cargo xtask s3 up started, else a folder]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Clients that write
    #[arg(long, default_value_t = 8)]
    pub clients: usize,
}

impl Default for LostDiskArgs {
    fn default() -> Self {
        Self {
            plugin: PluginArgs::default(),
            rounds: 3,
            seed: 1,
            rows: 20_000,
            durability: Durability::Object,
            interval: 200,
            store: None,
            clients: 8,
        }
    }
}

pub fn run(args: &LostDiskArgs, mysql: &MysqlArgs) -> Result<()> {
    let mysql = Mysql::locate(mysql)?;
    let plugin = plugin::build_for_tests(&mysql, args.plugin)?;
    run_with(args, &mysql, &plugin)
}

pub fn run_with(args: &LostDiskArgs, mysql: &Mysql, plugin: &Plugin) -> Result<()> {
    let work = paths::fresh("lostdisk")?;
    let store = Store::choose(args, &work)?;
    println!("the store is {}", store.url);
    let mut site = Site {
        mysql: mysql.clone(),
        plugin: plugin.clone(),
        work,
        store,
        options: vec![
            format!("--smartengine-commit-durability={}", args.durability.name()),
            format!("--smartengine-wal-upload-interval-ms={}", args.interval),
        ],
        servers: 0,
    };
    let mut random = Random::new(args.seed);
    let server = site.new_server()?;
    let step = Step::spinner(format!("make schemas of every kind, {} rows", args.rows));
    schema::make(&server, args.rows)?;
    step.done();
    let mut portrait = Portrait::of(&server, mysql)?;
    let mut load = Load::new(args.clients);
    load.prepare(&server)?;
    let mut running = server;
    let mut losses = Vec::new();
    for round in 1..=args.rounds {
        let time = Duration::from_millis(args.interval + random.between(300, 3000));
        let mut server = running;
        let killed_at = load.run(&mut server, time)?;
        drop(server);
        running = site
            .new_server()
            .with_context(|| format!("round {round}"))?;
        let loss = load
            .check(&running, killed_at)
            .with_context(|| format!("round {round}"))?;
        let after = Portrait::of(&running, mysql)?;
        portrait
            .compare(&after)
            .with_context(|| format!("round {round}: after the loss of the disk"))?;
        if args.durability == Durability::Object {
            ensure!(
                loss.transactions == 0,
                "round {round}: {} transactions that were acknowledged are gone, the first of them {}",
                loss.transactions,
                loss.oldest
            );
        }
        println!(
            "round {round}: {} transactions acknowledged so far, {loss}; {} objects compared",
            load.acknowledged(),
            after.len()
        );
        losses.push(loss);
        portrait = after;
    }
    running.shut_down()?;
    println!(
        "\n{} rounds at durability {}: {} transactions acknowledged, {} lost",
        args.rounds,
        args.durability.name(),
        load.acknowledged(),
        losses.iter().map(|loss| loss.transactions).sum::<u64>()
    );
    if args.durability == Durability::Local {
        show_losses(&mut losses, Duration::from_millis(args.interval))?;
    }
    site.store.remove(&site.work);
    Ok(())
}

/// What a round has cost, and that it is what the interval allows.
fn show_losses(losses: &mut [Loss], interval: Duration) -> Result<()> {
    let middle = losses.len() / 2;
    losses.sort_by_key(|loss| loss.transactions);
    let (median, most) = (&losses[middle], &losses[losses.len() - 1]);
    println!(
        "lost in a round: median {}, at most {}; always the last ones, and whole transactions",
        median.transactions, most.transactions
    );
    losses.sort_by_key(|loss| loss.age);
    let (median, most) = (&losses[middle], &losses[losses.len() - 1]);
    println!(
        "the oldest of them was acknowledged before the kill: median {} ms, at most {} ms; the interval is {} ms",
        median.age.as_millis(),
        most.age.as_millis(),
        interval.as_millis()
    );
    let bound = interval + LATE;
    ensure!(
        most.age <= bound,
        "{} was lost and {:?} old, {bound:?} is allowed",
        most.oldest,
        most.age
    );
    Ok(())
}

/// Where the data is that survives.
struct Store {
    url: String,
    environment: Vec<(String, String)>,
}

impl Store {
    fn choose(args: &LostDiskArgs, work: &std::path::Path) -> Result<Self> {
        let prefix = format!("lostdisk-{}-{}", args.seed, std::process::id());
        let in_folder = || Self {
            url: format!("file://{}", work.join("store").display()),
            environment: Vec::new(),
        };
        match &args.store {
            Some(url) if url == "file" => Ok(in_folder()),
            Some(url) => {
                let (url, environment) = s3::with_own_server(url.clone())?;
                Ok(Self { url, environment })
            }
            None if s3::running()?.is_none() => Ok(in_folder()),
            None => {
                let (url, environment) = s3::own_store(&prefix)?;
                Ok(Self { url, environment })
            }
        }
    }

    fn remove(&self, work: &std::path::Path) {
        // Only what is in a folder of ours; what is in a bucket goes with the server.
        let _ = fs::remove_dir_all(work.join("store"));
    }
}

/// Where servers come and go.
struct Site {
    mysql: Mysql,
    plugin: Plugin,
    work: PathBuf,
    store: Store,
    /// How the servers acknowledge.
    options: Vec<String>,
    servers: u32,
}

impl Site {
    /// A server on an empty disk. Those of the one before are removed first, whole.
    fn new_server(&mut self) -> Result<Server> {
        let before = self.folder();
        if before.exists() {
            fs::remove_dir_all(&before).with_context(|| format!("remove {}", before.display()))?;
        }
        self.servers += 1;
        let folder = self.folder();
        fs::create_dir_all(&folder)?;
        let setup = Setup {
            mysql: self.mysql.clone(),
            datadir: folder.join("data"),
            plugin: Some(self.plugin.clone()),
            port: None,
            log: Some(self.work.join(format!("server-{}.log", self.servers))),
            options: [
                format!("--smartengine-store-url={}", self.store.url),
                "--gtid-mode=ON".to_owned(),
                "--enforce-gtid-consistency=ON".to_owned(),
                "--partial-revokes=ON".to_owned(),
                format!("--server-id={}", self.servers),
            ]
            .iter()
            .chain(&self.options)
            .map(Into::into)
            .collect(),
            environment: self.store.environment.clone(),
        };
        setup.initialize()?;
        let begun = Instant::now();
        let server = setup.start()?;
        eprintln!(
            "server {} is up after {:.1} s",
            self.servers,
            begun.elapsed().as_secs_f64()
        );
        Ok(server)
    }

    fn folder(&self) -> PathBuf {
        self.work.join(format!("server-{}", self.servers))
    }
}

/// The values of the first column.
fn column(client: &mut Client, sql: &str) -> Result<Vec<String>> {
    let rows = client.query(sql)?;
    Ok((0..rows.len())
        .filter_map(|index| rows.row(index).into_iter().next().flatten())
        .collect())
}
