//! `cargo xtask test`: every test there is, each runner's closing line, and their sum.

mod ahead;
mod builtin;
pub mod codec_functions;
mod codec_library;
pub mod counts;
pub mod lint;
pub mod mtr;
mod sanitizers;
mod server_image;
pub mod tally;

use std::io::{BufRead, BufReader, Write};
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use crate::host::exec;
use crate::image;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::packages::tools::Tools;
use crate::plugin::{self, Plugin, PluginArgs, Sanitizer};
use crate::release;
use crate::s3::{self, OwnServer, Server};
use crate::server_tests::history::{self, HistoryArgs};
use crate::server_tests::lostdisk::{self, LostDiskArgs};
use crate::server_tests::stress;
use crate::server_tests::torture::{self, TortureArgs};

use ahead::Ahead;
use mtr::MtrArgs;
use tally::{Failure, Tally};

/// Stock suites that name no engine, so that they run on the default one.
pub const STOCK_SUITES: [&str; 2] = ["engines/funcs", "engines/iuds"];

/// The bucket of the tests of the S3 store.
const BUCKET: &str = "smartengine-test";
/// Where these tests look for it.
const BUCKET_URL: &str = "SMARTENGINE_TEST_S3_URL";
const BUCKET_TLS_URL: &str = "SMARTENGINE_TEST_S3_TLS_URL";

#[derive(clap::Args)]
pub struct TestArgs {
    /// Also run what takes long: more cases of the randomised tests, longer runs of clients and kills
    #[arg(long)]
    full: bool,
    /// Run a part alone; may be given several times
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// How many servers work at once [default: half as many again as there are processors]
    #[arg(long, value_name = "N")]
    parallel: Option<usize>,
}

/// The parts of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Formatting, clippy, the rules of the tree
    Lint,
    /// Tests of the crates
    Rust,
    /// Instructions of fixed loops, held against those that are recorded
    Counts,
    /// The plugin's decoders fuzzed; named, or with --full, also codecs and engine under sanitizers; with --full servers too
    Sanitizers,
    /// Our suites of mysql-test-run, and the stock ones
    Suites,
    /// Servers under load, killed, and robbed of their disks
    Live,
    /// The container image, built and tried
    Image,
    /// The packages and archives, built and checked, Debian's installed
    Packages,
    /// A server with the engine built in, configured; named, or with --full, what such a server does
    Static,
}

impl TestArgs {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// What every runner said, for the end.
struct Report {
    lines: Vec<String>,
    total: Tally,
    /// When the last runner had ended.
    since: Instant,
}

impl Report {
    fn new() -> Self {
        Self {
            lines: Vec::new(),
            total: Tally::default(),
            since: Instant::now(),
        }
    }

    fn add(&mut self, name: &str, result: Result<Tally>) {
        let tally = match result {
            Ok(tally) => tally,
            Err(error) => {
                // A runner that could not do its work is a failure, whatever it counted.
                let text = format!("{error:#}");
                println!("{name}: error: {text}");
                let mut tally = Tally::default();
                tally.fail(name, &text);
                tally
            }
        };
        let skipped = match tally.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        };
        let seconds = self.since.elapsed().as_secs();
        self.since = Instant::now();
        let line = format!(
            "{name}: {} passed, {} failed{skipped}, in {seconds} s",
            tally.passed, tally.failed
        );
        println!("{line}");
        self.lines.push(line);
        self.total.add(tally);
    }
}

pub fn run(args: &TestArgs, mysql_args: &MysqlArgs) -> Result<()> {
    let mysql = Mysql::locate(mysql_args)?;
    let tools = Tools::locate()?;
    let mut report = Report::new();
    if args.wants(Part::Lint) {
        report.add(
            "lint",
            lint::check(&mysql, false).map(|()| Tally::one_passed()),
        );
    }
    if args.wants(Part::Rust) {
        rust(args.full, &mysql, &tools, &mut report);
    }
    if args.wants(Part::Counts) {
        report.add("instruction counts", counts::check(&mysql));
    }
    if args.wants(Part::Sanitizers) {
        sanitized(args, &mysql, &mut report);
    }
    let plugin = match args.wants(Part::Suites) || args.wants(Part::Live) {
        true => plugin_for_tests(&mysql, &mut report),
        false => None,
    };
    let ahead = match args.wants(Part::Packages) && plugin.is_some() {
        true => Ahead::start(mysql_args).ok(),
        false => None,
    };
    if let Some(plugin) = plugin.as_ref().filter(|_| args.wants(Part::Suites)) {
        suites(args, &mysql, plugin, None, &mut report);
    }
    side_by_side(
        args,
        mysql_args,
        &mysql,
        plugin.as_ref(),
        ahead,
        &mut report,
    );
    if args.wants(Part::Static) {
        report.add(
            "static server, configured",
            plugin::builtin::run_tests(mysql_args),
        );
        // The plugin's C++ is compiled once more for it.
        if args.full || !args.only.is_empty() {
            let result = builtin::check(&mysql);
            report.add(
                "engine that is built in",
                result.map(|()| Tally::one_passed()),
            );
        }
    }
    println!("\nSummary");
    for line in &report.lines {
        println!("  {line}");
    }
    let Tally {
        passed,
        failed,
        failures,
        ..
    } = report.total;
    for Failure { name, lines } in failures {
        println!("\nfailed: {name}");
        for line in lines {
            println!("  {line}");
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} tests failed");
    }
    Ok(())
}

fn rust(full: bool, mysql: &Mysql, tools: &Tools, report: &mut Report) {
    let buckets = [
        (BUCKET_URL, bucket(report, OwnServer::start("test"))),
        (BUCKET_TLS_URL, bucket(report, OwnServer::start_tls("test"))),
    ];
    report.add("rust tests", rust_tests(mysql, tools, full, &buckets));
    drop(buckets);
    report.add("rust documentation tests", doc_tests(mysql, tools));
}

fn sanitized(args: &TestArgs, mysql: &Mysql, report: &mut Report) {
    let seconds = if args.full { 60 } else { 2 };
    let result = sanitizers::fuzz::decoders(mysql, seconds);
    report.add("decoders of the plugin, fuzzed", result);
    if !args.full && args.only.is_empty() {
        return;
    }
    let result = sanitizers::codecs::check(mysql);
    report.add(
        "codecs under sanitizers",
        result.map(|()| Tally::one_passed()),
    );
    for check in sanitizers::engine::CHECKS {
        report.add(check.title(), check.run(mysql));
    }
    if !args.full {
        return;
    }
    for sanitizer in [Sanitizer::Address, Sanitizer::Thread] {
        match plugin::build_sanitized(mysql, sanitizer) {
            Ok(plugin) => suites(args, mysql, &plugin, Some(sanitizer), report),
            Err(error) => report.add("plugin build", Err(error)),
        }
    }
}

fn plugin_for_tests(mysql: &Mysql, report: &mut Report) -> Option<Plugin> {
    match plugin::build_for_tests(mysql, PluginArgs::default()) {
        Ok(plugin) => {
            report.add("plugin build", Ok(Tally::one_passed()));
            Some(plugin)
        }
        Err(error) => {
            report.add("plugin build", Err(error));
            None
        }
    }
}

/// What waits for most of its time, for servers and for what it installs.
fn side_by_side(
    args: &TestArgs,
    mysql_args: &MysqlArgs,
    mysql: &Mysql,
    plugin: Option<&Plugin>,
    ahead: Option<Ahead>,
    report: &mut Report,
) {
    let reports: Vec<Report> = thread::scope(|scope| {
        let plugin = plugin.filter(|_| args.wants(Part::Live));
        let live = plugin.map(|plugin| {
            scope.spawn(move || {
                let mut report = Report::new();
                live(args.full, mysql, plugin, &mut report);
                report
            })
        });
        // The others begin with what it compiles.
        drop(ahead);
        let image = args.wants(Part::Image).then(|| {
            scope.spawn(|| {
                let mut report = Report::new();
                report.add("image", image::run_tests(mysql_args));
                report
            })
        });
        let mut packages = Report::new();
        if args.wants(Part::Packages) {
            release::run_tests(mysql_args, &mut |name, result| packages.add(name, result));
        }
        let join = |thread: thread::ScopedJoinHandle<Report>| {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        let others = live.into_iter().chain(image).map(join);
        others.chain([packages]).collect()
    });
    for other in reports {
        report.lines.extend(other.lines);
        report.total.add(other.total);
    }
    report.since = Instant::now();
}

/// An S3 server with a bucket, for the tests of the S3 store.
fn bucket(report: &mut Report, started: Result<OwnServer>) -> Option<OwnServer> {
    let made = started.and_then(|own| {
        own.server.make_bucket(BUCKET)?;
        Ok(own)
    });
    match made {
        Ok(own) => {
            let Server { endpoint, .. } = &own.server;
            println!(
                "the S3 store is tested on {} at {endpoint}",
                own.server.name()
            );
            Some(own)
        }
        Err(error) => {
            report.add("S3 server", Err(error));
            None
        }
    }
}

fn rust_tests(
    mysql: &Mysql,
    tools: &Tools,
    full: bool,
    buckets: &[(&str, Option<OwnServer>)],
) -> Result<Tally> {
    let nextest = exec::in_path("cargo-nextest");
    let mut tally = Tally::default();
    // This program has a profile of its own, with which it is compiled already.
    for (crates, profile) in [
        (["--workspace", "--exclude=xtask"], "dev"),
        (["--package", "xtask"], "xtask"),
    ] {
        let mut command = plugin::cargo(mysql, tools);
        match nextest {
            true => command.args([
                "nextest",
                "run",
                "--no-fail-fast",
                "--failure-output=immediate-final",
                "--cargo-profile",
                profile,
            ]),
            false => command.args([
                "test",
                "--lib",
                "--bins",
                "--tests",
                "--no-fail-fast",
                "--profile",
                profile,
            ]),
        };
        command.args(crates);
        for (variable, own) in buckets {
            if let Some(OwnServer { server, .. }) = own {
                command
                    .env(variable, server.url(BUCKET, "test"))
                    .envs(server.environment());
            }
        }
        if full {
            // The randomised tests read how many cases to try from here.
            command
                .env("PROPTEST_CASES", "2000")
                .env("SMARTENGINE_TEST_FULL", "1");
        }
        tally.add(count(&mut command, nextest)?);
    }
    Ok(tally)
}

/// nextest runs no examples of the documentation, so cargo does.
fn doc_tests(mysql: &Mysql, tools: &Tools) -> Result<Tally> {
    let mut command = plugin::cargo(mysql, tools);
    // Of all crates, as the tests were: alone, one has fewer features, and so other dependencies to compile.
    command.args(["test", "--workspace", "--exclude=xtask", "--doc"]);
    count(&mut command, false)
}

/// Shows what a runner prints and adds up its closing lines.
fn count(command: &mut Command, nextest: bool) -> Result<Tally> {
    // nextest reports on standard error, libtest on standard output.
    command.stdin(Stdio::null());
    let mut child = match nextest {
        true => exec::spawn(command.stderr(Stdio::piped()))?,
        false => exec::spawn(command.stdout(Stdio::piped()))?,
    };
    let output: Box<dyn std::io::Read> = match nextest {
        true => Box::new(child.stderr.take().context("output is piped")?),
        false => Box::new(child.stdout.take().context("output is piped")?),
    };
    let mut tally = Tally::default();
    let mut said = Failure::new("what the runner said of them");
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(std::io::stdout().lock(), "{line}")?;
        if let Some(closing) = closing_line(&line) {
            tally.add(closing);
        }
        // nextest says all of the failed ones again behind its closing line, libtest before it.
        if (nextest && tally.failed > 0) || (!nextest && line.ends_with(" FAILED")) {
            said.line(&line);
        }
    }
    if tally.failed > 0 {
        tally.failures.push(said);
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        bail!("the runner failed ({status}) before it could count");
    }
    Ok(tally)
}

/// Reads `Summary [ 1.2s] 5 tests run: 4 passed (1 slow), 1 failed, 2 skipped` or
/// `test result: FAILED. 4 passed; 1 failed; 2 ignored; …`.
fn closing_line(line: &str) -> Option<Tally> {
    let line = line.trim();
    let counts = if line.starts_with("Summary [") {
        line.split_once("run:")?.1
    } else {
        line.strip_prefix("test result:")?.split_once('.')?.1
    };
    let mut tally = Tally::default();
    for part in counts.split([',', ';']) {
        let mut words = part.split_ascii_whitespace();
        let Some(number) = words.next().and_then(|word| word.parse::<usize>().ok()) else {
            continue;
        };
        match words.next() {
            Some("passed") => tally.passed += number,
            Some("failed" | "timed") => tally.failed += number,
            Some("ignored" | "skipped") => tally.skipped += number,
            _ => {}
        }
    }
    Some(tally)
}

/// Under a sanitizer our own alone: the stock ones reach no more of our code.
fn suites(
    args: &TestArgs,
    mysql: &Mysql,
    plugin: &Plugin,
    sanitizer: Option<Sanitizer>,
    report: &mut Report,
) {
    let own = OwnServer::start("mtr").and_then(|own| {
        own.server.make_bucket(s3::TEST_BUCKET)?;
        Ok(own)
    });
    let own = own
        .map_err(|error| report.add("S3 server", Err(error)))
        .ok();
    let stock = if sanitizer.is_none() {
        &STOCK_SUITES[..]
    } else {
        &[]
    };
    for suite in [mtr::OUR_SUITES].iter().chain(stock) {
        let mtr = MtrArgs {
            s3: own.as_ref().map(|own| own.server.clone()),
            suite: Some(suite.to_string()),
            parallel: args.parallel,
            sanitizer,
            ..MtrArgs::default()
        };
        let title = match sanitizer {
            Some(sanitizer) => format!("{suite}, {}", sanitizer.title()),
            None => (*suite).to_string(),
        };
        report.add(&title, mtr::run_suite(&mtr, mysql, Some(plugin)));
    }
}

/// Histories at each level, with kills and without, and servers killed under load.
fn live(full: bool, mysql: &Mysql, plugin: &Plugin, report: &mut Report) {
    use crate::server_tests::history::Level;
    let stress = stress::run_with(mysql, Some(plugin), if full { 600 } else { 20 }, 10);
    report.add("engines/rr_trx", stress);
    let seconds = if full { 120 } else { 12 };
    for (level, kills) in [
        (Level::ReadCommitted, false),
        (Level::RepeatableRead, true),
        (Level::Serializable, false),
    ] {
        let history = HistoryArgs {
            level,
            kills,
            binlog: kills,
            seconds,
            ..HistoryArgs::default()
        };
        let name = format!("history at {}", level.sql());
        let result = history::run_with(&history, mysql, Some(plugin));
        report.add(&name, result.map(|()| Tally::one_passed()));
    }
    // A checker that never finds anything would pass too.
    let seeing = HistoryArgs {
        level: Level::ReadCommitted,
        check_as: Some(Level::Serializable),
        seconds: 3,
        ..HistoryArgs::default()
    };
    let result = match history::find(&seeing, mysql, Some(plugin)) {
        Ok(found) if found.is_empty() => Err(anyhow!(
            "READ COMMITTED passed for SERIALIZABLE: the checker is blind"
        )),
        Ok(_) => Ok(Tally::one_passed()),
        Err(error) => Err(error),
    };
    report.add("history at READ COMMITTED, checked as SERIALIZABLE", result);
    let lost_disk = LostDiskArgs {
        rounds: if full { 20 } else { 3 },
        ..LostDiskArgs::default()
    };
    let result = lostdisk::run_with(&lost_disk, mysql, plugin);
    report.add("lost disk", result.map(|()| Tally::one_passed()));
    let torture = TortureArgs {
        rounds: if full { 200 } else { 10 },
        failpoints: true,
        replica: full,
        ..TortureArgs::default()
    };
    let result = torture::run_with(&torture, mysql, Some(plugin));
    report.add("torture", result.map(|()| Tally::one_passed()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_read() {
        let expected = Tally {
            passed: 12,
            failed: 1,
            skipped: 2,
            ..Tally::default()
        };
        let nextest =
            "     Summary [   0.5s] 13 tests run: 12 passed (3 slow), 1 failed, 2 skipped";
        assert_eq!(closing_line(nextest), Some(expected.clone()));
        let libtest =
            "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out";
        assert_eq!(closing_line(libtest), Some(expected));
        assert_eq!(closing_line("test a::b ... ok"), None);
    }

    #[test]
    fn a_runner_that_breaks_counts_as_a_failure() {
        let mut report = Report::new();
        report.add("x", Err(anyhow::anyhow!("broken")));
        report.add("y", Ok(Tally::one_passed()));
        assert_eq!((report.total.passed, report.total.failed), (1, 1));
    }
}
