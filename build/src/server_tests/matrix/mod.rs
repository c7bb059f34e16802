//! `cargo xtask matrix`: every suite and every test with kills, on each of several servers, and stores that go from one to another; one table at the end.
//!
//! Each server gets the plugin built of these sources for it. What fails is told at once and stands in the table; the rest goes on.

mod attach;
mod servers;

use std::fs;
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::demo;
use crate::host::paths;
use crate::host::table::Table;
use crate::plugin::{self, Plugin, PluginArgs};
use crate::s3::{self, OwnServer};
use crate::server_tests::lostdisk::{self, LostDiskArgs};
use crate::server_tests::stress;
use crate::server_tests::torture::{self, TortureArgs};
use crate::test::STOCK_SUITES;
use crate::test::mtr::{self, MtrArgs};
use crate::test::tally::Tally;

use attach::Side;
use servers::{Given, Server};

#[derive(clap::Args)]
pub struct MatrixArgs {
    /// A server to try: NAME=ROOT,SOURCE,BUILD,BOOST as --mysql-root, --mysql-source, --mysql-build and --boost have them, or `packages` for Debian's; may be given several times
    #[arg(long, value_name = "NAME=ROOT,SOURCE[,BUILD[,BOOST]]", required = true)]
    server: Vec<Given>,
    /// Try a part alone; may be given several times
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// How often torture kills a server; lostdisk does a third as often
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
    /// How many servers of a suite work at once [default: half as many again as there are processors]
    #[arg(long, value_name = "N")]
    parallel: Option<usize>,
}

/// What each server is put through, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Our suites of mysql-test-run
    Own,
    /// The stock suites engines/funcs and engines/iuds
    Stock,
    /// The stock suite engines/rr_trx, 20 seconds of clients that check what they see
    Stress,
    /// Servers killed under load
    Torture,
    /// Servers killed and robbed of their disks
    Lostdisk,
    /// Real data, beside InnoDB
    Demo,
    /// The stores of each server attached by every newer one
    Attach,
}

const PARTS: [Part; 6] = [
    Part::Own,
    Part::Stock,
    Part::Stress,
    Part::Torture,
    Part::Lostdisk,
    Part::Demo,
];

impl Part {
    fn title(self) -> &'static str {
        match self {
            Self::Own => "own suites",
            Self::Stock => "engines/*",
            Self::Stress => "rr_trx",
            Self::Torture => "torture",
            Self::Lostdisk => "lostdisk",
            Self::Demo => "demo",
            Self::Attach => "attach",
        }
    }
}

/// What is said of all that ran.
#[derive(Default)]
struct Outcome {
    total: Tally,
    errors: Vec<String>,
}

impl Outcome {
    /// Takes in a result; returns it as the table has it.
    fn note(&mut self, what: &str, result: Result<Tally>) -> String {
        match result {
            Ok(tally) => {
                if tally.failed > 0 {
                    self.errors.push(format!("{what}: {} failed", tally.failed));
                }
                let text = cell(&tally);
                self.total.add(tally);
                text
            }
            Err(error) => {
                let error = format!("{what}: {error:#}");
                println!("error: {error}");
                self.errors.push(error);
                self.total.failed += 1;
                "failed".to_owned()
            }
        }
    }
}

/// `120 passed`, `118 passed, 2 failed, 3 skipped`.
fn cell(tally: &Tally) -> String {
    let mut text = format!("{} passed", tally.passed);
    for (count, what) in [(tally.failed, "failed"), (tally.skipped, "skipped")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

pub fn run(args: &MatrixArgs) -> Result<()> {
    let begun = Instant::now();
    let wants = |part: Part| args.only.is_empty() || args.only.contains(&part);
    let servers = servers::find(&args.server)?;
    ensure!(
        servers.len() > 1 || args.only != [Part::Attach],
        "--only attach takes a store from one server to another: name two with --server"
    );
    // All of them before the first runs, so that sources that do not compile are known at once.
    let plugins = servers
        .iter()
        .map(|server| {
            println!("build the plugin for {} ({})", server.name, server.version);
            plugin::build_for_tests(&server.mysql, PluginArgs::default())
        })
        .collect::<Result<Vec<_>>>()?;
    let mut outcome = Outcome::default();
    let parts: Vec<Part> = PARTS.into_iter().filter(|part| wants(*part)).collect();
    let titles: Vec<&str> = parts.iter().map(|part| part.title()).collect();
    let mut table = Table::new(&[&["server", "version"], &titles[..]].concat());
    for (server, plugin) in servers.iter().zip(&plugins) {
        let mut row = vec![server.name.clone(), server.version.clone()];
        for part in &parts {
            println!("\n{} on {}", part.title(), server.name);
            let what = format!("{} on {}", part.title(), server.name);
            row.push(outcome.note(&what, try_part(*part, args, server, plugin)));
        }
        table.row(row);
    }
    let stores = match wants(Part::Attach) && servers.len() > 1 {
        true => Some(attach_all(&servers, &plugins, &mut outcome)?),
        false => None,
    };
    println!("\n{table}");
    if let Some(stores) = stores {
        println!("{stores}");
    }
    for error in &outcome.errors {
        println!("{error}");
    }
    let Tally {
        passed,
        failed,
        skipped,
        ..
    } = outcome.total;
    println!("in {} minutes", begun.elapsed().as_secs().div_ceil(60));
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 {
        bail!("{failed} failed");
    }
    Ok(())
}

fn try_part(part: Part, args: &MatrixArgs, server: &Server, plugin: &Plugin) -> Result<Tally> {
    let one = |()| Tally::one_passed();
    match part {
        Part::Own => suite(mtr::OUR_SUITES, args, server, plugin),
        Part::Stock => suite(&STOCK_SUITES.join(","), args, server, plugin),
        Part::Stress => stress::run_with(&server.mysql, Some(plugin), 20, 10),
        Part::Torture => {
            let torture = TortureArgs {
                rounds: args.rounds.into(),
                failpoints: true,
                ..TortureArgs::default()
            };
            torture::run_with(&torture, &server.mysql, Some(plugin)).map(one)
        }
        Part::Lostdisk => {
            let lostdisk = LostDiskArgs {
                rounds: args.rounds / 3,
                ..LostDiskArgs::default()
            };
            lostdisk::run_with(&lostdisk, &server.mysql, plugin).map(one)
        }
        Part::Demo => demo::run(&demo::DemoArgs::default(), &server.arguments).map(one),
        Part::Attach => bail!("stores are attached by pairs of servers"),
    }
}

fn suite(names: &str, args: &MatrixArgs, server: &Server, plugin: &Plugin) -> Result<Tally> {
    let own = OwnServer::start("mtr")?;
    own.server.make_bucket(s3::TEST_BUCKET)?;
    let mtr = MtrArgs {
        s3: Some(own.server.clone()),
        suite: Some(names.to_owned()),
        parallel: args.parallel,
        ..MtrArgs::default()
    };
    mtr::run_suite(&mtr, &server.mysql, Some(plugin))
}

/// Every server's store to every newer one.
fn attach_all(servers: &[Server], plugins: &[Plugin], outcome: &mut Outcome) -> Result<Table> {
    let work = paths::fresh("matrix")?;
    let sides: Vec<Side> = servers
        .iter()
        .zip(plugins)
        .map(|(server, plugin)| Side {
            version: &server.version,
            mysql: &server.mysql,
            plugin,
        })
        .collect();
    let mut table = Table::new(&["store of", "attached by", "objects", "and back"]);
    for (index, older) in sides.iter().enumerate() {
        for newer in &sides[index + 1..] {
            let what = format!("a store of {} attached by {}", older.version, newer.version);
            let mut objects = 0;
            let mut back = "failed";
            let result = attach::run(&work, older, newer).map(|attached| {
                objects = attached.objects;
                back = if attached.goes_back {
                    "goes on"
                } else {
                    "refused"
                };
                Tally::one_passed()
            });
            outcome.note(&what, result);
            table.row([
                older.version.to_owned(),
                newer.version.to_owned(),
                objects.to_string(),
                back.to_owned(),
            ]);
        }
    }
    // What failed has left its logs there.
    let _ = fs::remove_dir(&work);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_what_was_skipped_and_what_failed() {
        let tally = Tally {
            passed: 3,
            failed: 1,
            skipped: 2,
            ..Tally::default()
        };
        assert_eq!(cell(&tally), "3 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn an_error_counts_as_a_failure_and_the_rest_goes_on() {
        let mut outcome = Outcome::default();
        assert_eq!(outcome.note("a", Err(anyhow::anyhow!("broken"))), "failed");
        let good = Tally {
            passed: 2,
            ..Tally::default()
        };
        assert_eq!(outcome.note("b", Ok(good)), "2 passed");
        assert_eq!((outcome.total.passed, outcome.total.failed), (2, 1));
        assert_eq!(outcome.errors, ["a: broken"]);
    }
}
