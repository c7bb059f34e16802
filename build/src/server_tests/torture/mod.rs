//! `cargo xtask torture`: servers that are killed again and again while clients transfer money, insert, and change tables;
//! after each restart tables, binary log and replica have to agree with what the clients were told.
//!
//! A run is a sequence of sites: a few rounds on one set of data directories, with options drawn anew. In each round the
//! source dies at a random moment, or at one of the engine's failure points. Everything that is chosen follows from the
//! seed; when exactly a kill hits a statement does not.

mod bank;
mod binlog;
mod ddl;
mod deed;
mod ledger;
mod points;
mod site;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::host::paths;
use crate::host::progress::Step;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, Plugin, PluginArgs};
use crate::server::client::Client;
use crate::server::engines::Engine;
use crate::server::{Server, Setup};
use crate::server_tests::random::Random;

use bank::{Manner, Teller};
use binlog::Binlog;
use deed::Mark;
use ledger::Ledger;
use site::{Draw, Site};

/// Clients that change tables, of all.
const BUILDERS: usize = 2;

#[derive(clap::Args, Clone)]
pub struct TortureArgs {
    #[command(flatten)]
    pub plugin: PluginArgs,
    /// How often the server is killed
    #[arg(long, default_value_t = 10)]
    pub rounds: u64,
    /// Repeats the same choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Kill at the engine's failure points too
    #[arg(long)]
    pub failpoints: bool,
    /// Let a replica follow, which is killed as well and has to converge
    #[arg(long)]
    pub replica: bool,
    /// Never write a binary log
    #[arg(long, conflicts_with = "replica")]
    pub no_binlog: bool,
    /// Leave out external XA transactions
    #[arg(long)]
    pub no_xa: bool,
    /// Leave out DDL
    #[arg(long)]
    pub no_ddl: bool,
    #[arg(long, default_value_t = 10)]
    pub connections: usize,
    #[arg(long, value_enum, default_value = "SMARTENGINE")]
    pub engine: Engine,
}

impl Default for TortureArgs {
    fn default() -> Self {
        Self {
            plugin: PluginArgs::default(),
            rounds: 10,
            seed: 1,
            failpoints: false,
            replica: false,
            no_binlog: false,
            no_xa: false,
            no_ddl: false,
            connections: 10,
            engine: Engine::Smartengine,
        }
    }
}

/// What the whole run has done.
#[derive(Default)]
struct Totals {
    acknowledged: usize,
    rolled_back: usize,
    cut_off: usize,
    prepared_found: usize,
    ddl: usize,
    points_fired: usize,
    replica_kills: usize,
    tables_compared: usize,
}

pub fn run(args: &TortureArgs, mysql: &MysqlArgs) -> Result<()> {
    let mysql = Mysql::locate(mysql)?;
    let plugin = match args.engine {
        Engine::Smartengine => Some(plugin::build_for_tests(&mysql, args.plugin)?),
        Engine::InnoDb => None,
    };
    run_with(args, &mysql, plugin.as_ref())
}

/// Runs on a plugin that is built already.
pub fn run_with(args: &TortureArgs, mysql: &Mysql, plugin: Option<&Plugin>) -> Result<()> {
    let work = paths::fresh("torture")?;
    let points = match args.failpoints && args.engine == Engine::Smartengine {
        true => points::names()?,
        false => Vec::new(),
    };
    let mut random = Random::stream(args.seed, 0);
    let mut totals = Totals::default();
    let step = Step::count(
        format!(
            "kill a server, {} times on {}",
            args.rounds,
            args.engine.name()
        ),
        args.rounds,
    );
    let mut round = 0;
    while round < args.rounds {
        let first = round == 0;
        let mut draw = Draw::new(&mut random, first || args.replica, args.engine);
        draw.binlog &= !args.no_binlog;
        let rounds = match args.rounds {
            ..=12 => 5,
            _ => random.between(5, 15),
        };
        let rounds = rounds.min(args.rounds - round);
        let seed = random.next();
        let described = draw.describe();
        let site = Site::new(&work, mysql, plugin, args.engine, draw, args.replica)?;
        let rounds_here = Rounds::new(args, &site, &points, seed);
        rounds_here.note(&format!("{described}, from round {} on", round + 1))?;
        rounds_here
            .run(rounds, &step, &mut totals)
            .with_context(|| {
                format!(
                    "seed {}, round {} and on ({described}); logs and data are in {}",
                    args.seed,
                    round + 1,
                    work.display()
                )
            })?;
        round += rounds;
    }
    step.done();
    println!(
        "torture: {} rounds on {}, seed {}: {} transactions acknowledged, {} rolled back, {} cut off; {} prepared XA transactions found \
         and decided; {} DDL statements; {} kills at failure points; {} kills of a replica, {} tables compared with it; nothing lost, nothing half done",
        args.rounds,
        args.engine.name(),
        args.seed,
        totals.acknowledged,
        totals.rolled_back,
        totals.cut_off,
        totals.prepared_found,
        totals.ddl,
        totals.points_fired,
        totals.replica_kills,
        totals.tables_compared
    );
    Ok(())
}

/// How a start and what is verified after it failed.
enum Failure {
    /// The server was killed meanwhile.
    Killed(anyhow::Error),
    /// It ended by itself before it took connections.
    Refused(anyhow::Error),
    /// It is there, and something is wrong.
    Wrong(anyhow::Error),
}

impl Failure {
    fn into_error(self) -> anyhow::Error {
        match self {
            Self::Killed(error) | Self::Refused(error) | Self::Wrong(error) => error,
        }
    }
}

/// The rounds on one site.
struct Rounds<'a> {
    args: &'a TortureArgs,
    site: &'a Site,
    points: &'a [String],
    random: Random,
    seed: u64,
    ledger: Ledger,
    models: Vec<ddl::Model>,
    binlog: Option<Binlog>,
    /// The failure point that the source has been started with.
    armed: Option<String>,
    next_numbers: Vec<u64>,
    points_fired: usize,
    replica_kills: usize,
    tables_compared: usize,
}

impl<'a> Rounds<'a> {
    fn new(args: &'a TortureArgs, site: &'a Site, points: &'a [String], seed: u64) -> Self {
        let builders = match args.no_ddl {
            true => 0,
            false => BUILDERS,
        };
        let tellers = args.connections.saturating_sub(builders).max(1);
        Self {
            args,
            site,
            points,
            random: Random::stream(seed, 0),
            seed,
            ledger: Ledger::new(),
            models: vec![ddl::Model::default(); builders],
            binlog: site
                .draw
                .binlog
                .then(|| Binlog::new(site.binlog_program(), site.source.datadir.clone())),
            armed: None,
            next_numbers: vec![1; tellers],
            points_fired: 0,
            replica_kills: 0,
            tables_compared: 0,
        }
    }

    fn run(mut self, rounds: u64, step: &Step, totals: &mut Totals) -> Result<()> {
        let (mut source, mut replica) = self.site.create()?;
        for round in 1..=rounds {
            replica = self.work(&mut source, replica, round)?;
            source = self.restart(source, round, round < rounds)?;
            if let Some(server) = replica.take() {
                replica = Some(self.converge(&source, server)?);
            }
            step.advance();
        }
        for server in [Some(source), replica].into_iter().flatten() {
            server.shut_down()?;
        }
        let tally = self.ledger.tally;
        totals.acknowledged += tally.acknowledged;
        totals.rolled_back += tally.rolled_back;
        totals.cut_off += tally.cut_off;
        totals.prepared_found += tally.prepared_found;
        totals.ddl += self.models.iter().map(|model| model.done).sum::<usize>();
        totals.points_fired += self.points_fired;
        totals.replica_kills += self.replica_kills;
        totals.tables_compared += self.tables_compared;
        Ok(())
    }

    /// Lets the clients work until the server dies; also the replica may.
    fn work(
        &mut self,
        source: &mut Server,
        mut replica: Option<Server>,
        round: u64,
    ) -> Result<Option<Server>> {
        let mut life = Duration::from_millis(self.random.between(200, 2000));
        if self.armed.is_some() {
            // Time for the point to be reached; it ends the round.
            life += Duration::from_secs(3);
        }
        let replica_life = self
            .random
            .chance(50)
            .then(|| Duration::from_millis(self.random.between(100, 1500)));
        let socket = source.socket().to_path_buf();
        let client_seed = self.random.next();
        let stream = |id: usize| Random::stream(client_seed, id as u64);
        let manner = Manner {
            xa: !self.args.no_xa,
            failing: self.armed.as_deref().is_some_and(points::survives),
        };
        let tellers: Vec<_> = (0u64..)
            .zip(&self.next_numbers)
            .map(|(client, next)| {
                let mark = Mark {
                    client,
                    number: *next,
                };
                let random = Random::stream(client_seed, client);
                Teller::new(&socket, mark, round, random, manner)
            })
            .collect();
        let engine = self.args.engine.name();
        let builders: Vec<_> = self
            .models
            .iter()
            .enumerate()
            .map(|(id, model)| {
                ddl::Builder::new(
                    &socket,
                    id,
                    stream(1000 + id),
                    engine,
                    manner,
                    model.clone(),
                )
            })
            .collect();
        let site = self.site;
        let (told, built) = thread::scope(|scope| -> Result<_> {
            let tellers: Vec<_> = tellers
                .into_iter()
                .map(|teller| scope.spawn(move || teller.run()))
                .collect();
            let builders: Vec<_> = builders
                .into_iter()
                .map(|builder| scope.spawn(move || builder.run()))
                .collect();
            let began = Instant::now();
            let mut replica_dies = replica_life.filter(|_| replica.is_some());
            while began.elapsed() < life && source.ended()?.is_none() {
                if replica_dies.is_some_and(|life| began.elapsed() >= life) {
                    replica_dies = None;
                    if let (Some(server), Some(setup)) = (replica.take(), &site.replica) {
                        replica = Some(self.restart_replica(setup, server)?);
                    }
                }
                thread::sleep(Duration::from_millis(2));
            }
            let fired = source.ended()?.is_some();
            self.points_fired += usize::from(fired);
            self.note(&format!(
                "round {round}: dead after {} ms{}",
                began.elapsed().as_millis(),
                match (&self.armed, fired) {
                    (None, _) => String::new(),
                    (Some(point), true) => format!(" of {point}"),
                    (Some(point), false) if points::survives(point) => format!(", with {point}"),
                    (Some(point), false) => format!(", {point} was not reached"),
                }
            ))?;
            source.kill_now()?;
            let told: Vec<_> = tellers.into_iter().map(join).collect();
            let built: Vec<_> = builders.into_iter().map(join).collect();
            Ok((told, built))
        })?;
        let mut failed = None;
        for (next, (deeds, ended)) in self.next_numbers.iter_mut().zip(told) {
            *next += deeds.len() as u64;
            self.ledger.add(deeds);
            failed = failed.or(ended.err());
        }
        for (model, (built, ended)) in self.models.iter_mut().zip(built) {
            *model = built;
            failed = failed.or(ended.err());
        }
        match failed {
            Some(error) => Err(error.context(format!("round {round}: a statement failed"))),
            None => Ok(replica),
        }
    }

    /// Keeps a line beside the servers' logs.
    fn note(&self, line: &str) -> Result<()> {
        use std::io::Write;
        let path = self.site.source.datadir.with_file_name("rounds.log");
        let mut file = fs::File::options().create(true).append(true).open(path)?;
        writeln!(file, "{line}")?;
        Ok(())
    }

    fn restart_replica(&mut self, setup: &Setup, replica: Server) -> Result<Server> {
        replica.kill()?;
        site::remove_headless_binlog(setup)?;
        self.replica_kills += 1;
        setup.start().context("start the replica after a kill")
    }

    /// Starts the source after its death and verifies everything; a failure point armed for the next round may go off
    /// in the middle of it, and then all begins again without.
    fn restart(&mut self, dead: Server, round: u64, armed: bool) -> Result<Server> {
        drop(dead);
        self.armed = None;
        if self.random.chance(25) {
            // Recovery is killed too, wherever it is.
            let life = Duration::from_millis(self.random.between(20, 2500));
            site::remove_headless_binlog(&self.site.source)?;
            let mut server = self.site.source.launch()?;
            thread::sleep(life);
            server.kill_now()?;
            self.note(&format!(
                "round {round}: restart killed after {} ms",
                life.as_millis()
            ))?;
        }
        let point = match armed && !self.points.is_empty() && self.random.chance(60) {
            true => Some(points::arm(self.points, &mut self.random)),
            false => None,
        };
        if let Some(point) = point {
            let mut setup = self.site.source.clone();
            setup.environment = vec![(points::VARIABLE.to_string(), point.clone())];
            let survives = points::survives(&point);
            if survives {
                self.site.set_aside()?;
            }
            match self.start_and_verify(&setup, round) {
                Ok(server) => {
                    self.armed = Some(point);
                    return Ok(server);
                }
                // If it was not the point that failed, it fails without it as well.
                Err(failure) if survives || matches!(failure, Failure::Killed(_)) => {
                    self.points_fired += 1;
                    if matches!(failure, Failure::Refused(_)) {
                        self.site.put_back()?;
                    }
                    let error = failure.into_error();
                    self.note(&format!(
                        "round {round}: {point} before the next: {error:#}"
                    ))?;
                }
                Err(failure) => {
                    let error = failure.into_error();
                    return Err(error.context(format!("round {round}, next point {point}")));
                }
            }
        }
        let setup = self.site.source.clone();
        self.start_and_verify(&setup, round)
            .map_err(|failure| failure.into_error().context(format!("round {round}")))
    }

    fn start_and_verify(&mut self, setup: &Setup, round: u64) -> Result<Server, Failure> {
        site::remove_headless_binlog(setup).map_err(Failure::Wrong)?;
        let mut server = setup.start().map_err(|error| {
            let killed = error.to_string().contains("SIGKILL");
            let error = error.context("start after a kill");
            match killed {
                true => Failure::Killed(error),
                false => Failure::Refused(error),
            }
        })?;
        match self.verify(&server, round) {
            Ok(()) => Ok(server),
            Err(error) => {
                // The connection may be lost a moment before the process is seen to be gone.
                thread::sleep(Duration::from_millis(50));
                Err(match server.ended() {
                    Ok(Some(_)) => Failure::Killed(error),
                    _ => Failure::Wrong(error),
                })
            }
        }
    }

    fn verify(&mut self, server: &Server, round: u64) -> Result<()> {
        let mut client = bank::connect(server.socket())?;
        self.ledger
            .decide_prepared(&mut client, &mut Random::stream(self.seed, round))?;
        ddl::verify(&mut client, &mut self.models)?;
        check_tables(&mut client)?;
        if self.args.engine == Engine::Smartengine {
            check_indexes(&mut client)?;
        }
        self.ledger.verify(&mut client, round)?;
        if let Some(binlog) = &mut self.binlog {
            binlog.read(&mut client)?;
            self.ledger.verify_binlog(binlog)?;
        }
        Ok(())
    }

    fn converge(&mut self, source: &Server, mut replica: Server) -> Result<Server> {
        let site = self.site;
        if let Some(setup) = &site.replica
            && self.random.chance(30)
        {
            replica = self.restart_replica(setup, replica)?;
        }
        self.tables_compared += self
            .site
            .converge(source, &replica)
            .context("the replica")?;
        let mut there = bank::connect(replica.socket())?;
        check_tables(&mut there).context("the replica")?;
        if self.args.engine == Engine::Smartengine {
            check_indexes(&mut there).context("the replica")?;
        }
        Ok(replica)
    }
}

fn join<T>(handle: thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().expect("a client does not panic")
}

/// No index is left over of a table that is gone.
fn check_indexes(client: &mut Client) -> Result<()> {
    let status = client.query("SHOW ENGINE SMARTENGINE STATUS")?;
    let text = status.row(0).into_iter().flatten().last();
    let text = text.context("the engine has no status")?;
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix("indexes without a table: "));
    if found != Some("0") {
        bail!("indexes without a table: {found:?}");
    }
    Ok(())
}

/// Every table, every entry of every index.
fn check_tables(client: &mut Client) -> Result<()> {
    let rows = client.query(
        "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables \
         WHERE table_schema LIKE 'torture%' AND table_type = 'BASE TABLE'",
    )?;
    let tables: Vec<String> = (0..rows.len())
        .filter_map(|index| rows.row(index).into_iter().next().flatten())
        .collect();
    let said = client.query(&format!("CHECK TABLE {} EXTENDED", tables.join(", ")))?;
    for index in 0..said.len() {
        let row: Vec<String> = said.row(index).into_iter().flatten().collect();
        if row.get(2).map(String::as_str) != Some("status")
            || row.get(3).map(String::as_str) != Some("OK")
        {
            bail!("CHECK TABLE says {row:?}");
        }
    }
    Ok(())
}
