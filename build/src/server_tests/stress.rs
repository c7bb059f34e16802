//! `cargo xtask stress`: the stock suite engines/rr_trx, transactions of many clients at REPEATABLE READ that check what they see.
//!
//! Its own starting script wants a mysql-test-run that is no longer there, so its tests are run by mysql-stress-test.pl on a server of ours. They
//! are copied first and adapted to a server of today, which has `rows` as a reserved word and gives warnings that the
//! recorded results do not know.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::host::paths;
use crate::host::progress::Step;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, Plugin, PluginArgs};
use crate::server::engines::Engine;
use crate::server::{Server, Setup};
use crate::test::tally::Tally;

const SUITE: &str = "engines/rr_trx";
/// Tests with warnings that their results lack.
const WARNED: [&str; 2] = ["rr_i_40-44", "rr_sc_sum_total"];

#[derive(clap::Args)]
pub struct StressArgs {
    #[command(flatten)]
    plugin: PluginArgs,
    /// Seconds
    #[arg(long, default_value_t = 60)]
    time: u32,
    /// Clients at once
    #[arg(long, default_value_t = 10)]
    threads: u32,
    /// The engine under test
    #[arg(long, default_value = "SMARTENGINE")]
    engine: Engine,
}

pub fn run(args: &StressArgs, mysql: &MysqlArgs) -> Result<()> {
    let mysql = Mysql::locate(mysql)?;
    let plugin = match args.engine {
        Engine::Smartengine => Some(plugin::build_for_tests(&mysql, args.plugin)?),
        _ => None,
    };
    let tally = run_with(&mysql, plugin.as_ref(), args.time, args.threads)?;
    println!("{SUITE}: {} passed, {} failed", tally.passed, tally.failed);
    ensure!(tally.failed == 0, "{} test runs failed", tally.failed);
    Ok(())
}

/// Runs the suite on `plugin`, or on InnoDB, and counts the runs of its tests.
pub fn run_with(
    mysql: &Mysql,
    plugin: Option<&Plugin>,
    seconds: u32,
    threads: u32,
) -> Result<Tally> {
    let work = paths::fresh("stress")?;
    let engine = match plugin {
        Some(_) => "SMARTENGINE",
        None => "InnoDB",
    };
    copy_suite(
        &mysql.test_suite().join("suite"),
        &work.join("suite"),
        engine,
    )?;
    fs::create_dir_all(work.join("run"))?;
    fs::create_dir_all(work.join("log"))?;
    let mut options = vec![
        "--innodb-lock-wait-timeout=2".into(),
        "--sql-mode=NO_ENGINE_SUBSTITUTION".into(),
    ];
    if plugin.is_some() {
        options.push("--smartengine-lock-wait-timeout=2".into());
    }
    let server = Setup {
        mysql: mysql.clone(),
        datadir: work.join("data"),
        plugin: plugin.cloned(),
        port: None,
        log: Some(work.join("server.log")),
        options,
        environment: Vec::new(),
    }
    .start()?;
    server.connect()?.query("CREATE DATABASE test")?;
    let step = Step::spinner(format!("{SUITE} on {engine} for {seconds} s"));
    let report = stress(mysql, &server, &work, seconds, threads)?;
    step.done();
    server.shut_down()?;
    let tally = count(&report);
    fs::write(work.join("report.txt"), &report)?;
    if tally.passed == 0 {
        bail!(
            "no test has passed: see {}",
            work.join("report.txt").display()
        );
    }
    Ok(tally)
}

fn stress(
    mysql: &Mysql,
    server: &Server,
    work: &Path,
    seconds: u32,
    threads: u32,
) -> Result<String> {
    let suite = work.join("suite").join(SUITE);
    let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
    let mut command = Command::new("perl");
    command
        .arg(mysql.test_suite().join("mysql-stress-test.pl"))
        .arg(option("stress-suite-basedir", work))
        .arg(format!("--suite={SUITE}"))
        .arg(option("stress-basedir", &work.join("run")))
        .arg(option("server-logs-dir", &work.join("log")))
        .arg(option("stress-datadir", &work.join("data")))
        .arg(option("server-socket", server.socket()))
        .args(["--server-user=root", "--server-database=test"])
        .arg(option("stress-init-file", &suite.join("init_innodb.txt")))
        .arg(option("stress-tests-file", &suite.join("run.txt")))
        .arg(format!("--threads={threads}"))
        .arg(format!("--test-duration={seconds}"))
        .arg(option("mysqltest", &mysql.client("mysqltest")))
        .arg("--verbose")
        .current_dir(work)
        .stdin(Stdio::null());
    // It ends by a signal to itself, so its status says nothing.
    let output = command.output().context("start perl")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn copy_suite(from: &Path, to: &Path, engine: &str) -> Result<()> {
    let (from, to) = (from.join(SUITE), to.join(SUITE));
    copy(&from, &to)?;
    edit(&to.join("t/init_innodb.test"), |text| {
        text.replace("InnoDB", engine)
    })?;
    edit(&to.join("include/rr_init.test"), |text| {
        let text = text.replace("insertRows(rows INT)", "insertRows(number INT)");
        text.replace("UNTIL @n > rows", "UNTIL @n > number")
    })?;
    // What it prints names the engine and the server's version.
    fs::remove_file(to.join("r/init_innodb.result"))?;
    for test in WARNED {
        edit(&to.join(format!("t/{test}.test")), |text| {
            format!("--disable_warnings\n{text}")
        })?;
    }
    Ok(())
}

fn edit(path: &Path, change: impl FnOnce(&str) -> String) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    fs::write(path, change(&text)).with_context(|| format!("write {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("list {}", from.display()))?;
    for entry in entries {
        let path: PathBuf = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// Whether a line tells of a test, and not of the making of the tables, whose output has no result to compare with.
fn is_test(line: &str) -> bool {
    line.starts_with("test_loop") && !line.contains("'init_innodb'")
}

/// Reads lines such as `test_loop[0:0 0:876]: TID 5 test: 'rr_id_3'  Errors: No Errors. Test Passed OK`. Tests that were under way at the end
/// count if they passed; a failure may be that of the connection cut off.
fn count(report: &str) -> Tally {
    let mut tally = Tally::default();
    for line in report.lines().filter(|line| is_test(line)) {
        if line.contains("Test Passed OK") {
            tally.passed += 1;
        } else if !line.contains("thread aborting") {
            tally.fail("engines/rr_trx", line);
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn runs_are_counted() {
        let report = "test_loop[0:0 0:1]: TID 1 test: 'a'  Errors: No Errors. Test Passed OK\n\
                      test_loop[0:0 0:2]: TID 2 test: 'b'  Errors: Severity S4: 1\n\
                      test_loop[0:0 0:3]: TID 3 test: 'b'  Errors: Severity S4: 1 (thread aborting)\n\
                      test_loop[1: 1:1]: TID 0 test: 'init_innodb'  Errors: Severity S1: 1\n\
                      something else";
        let tally = count(report);
        assert_eq!((tally.passed, tally.failed), (1, 1));
    }
}
