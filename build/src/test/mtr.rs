//! `cargo xtask mtr`: MySQL's own test runner, with the plugin loaded and our suites beside the stock ones.
//!
//! The runner looks for suites in its own folder, which all checkouts share. So each checkout has an overlay in `target/`: the
//! server's folders by symbolic links, and among them `mysql-test/suite/` of the checkout.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host::exec;
use crate::host::in_use;
use crate::host::paths;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::packages::tools::Tools;
use crate::plugin::{self, Plugin, PluginArgs, Sanitizer};
use crate::s3;
use crate::test::codec_functions;
use crate::test::sanitizers::Reports;
use crate::test::tally::Tally;

/// The suites of ours that run where none are named.
pub const OUR_SUITES: &str =
    "smartengine,smartengine_rpl,smartengine_store,smartengine_catalog,smartengine_s3";
/// Stock tests that are not run on SMARTENGINE, each with its reason.
pub const SKIPPED: &str = "mysql-test/stock-skipped.list";

#[derive(clap::Args, Default)]
pub struct MtrArgs {
    /// Tests to run, such as smartengine.types or main.insert [default: all of the suite]
    #[arg(value_name = "TESTS")]
    pub tests: Vec<String>,
    #[command(flatten)]
    pub plugin: PluginArgs,
    /// Suites to run, separated by commas, such as smartengine or engines/funcs
    #[arg(long)]
    pub suite: Option<String>,
    /// How many servers work at once [default: half as many again as there are processors]
    #[arg(long, value_name = "N")]
    pub parallel: Option<usize>,
    /// Write what the tests print into their result files
    #[arg(long)]
    pub record: bool,
    /// Run with the plugin's C++ compiled with this sanitizer; what it finds fails
    #[arg(long, value_name = "NAME", conflicts_with = "innodb")]
    pub sanitizer: Option<Sanitizer>,
    /// Run on InnoDB instead, without the plugin; with --record, to make results that SMARTENGINE has to match
    #[arg(long)]
    pub innodb: bool,
    /// The S3 server that tests of the store may use.
    #[arg(skip)]
    pub s3: Option<s3::Server>,
    /// Further options of mysql-test-run.pl, after --
    #[arg(last = true, value_name = "OPTIONS")]
    pub options: Vec<OsString>,
}

pub fn run(mut args: MtrArgs, mysql: &MysqlArgs) -> Result<()> {
    let mysql = Mysql::locate(mysql)?;
    let plugin = match args.sanitizer {
        _ if args.innodb => None,
        Some(sanitizer) => Some(plugin::build_sanitized(&mysql, sanitizer)?),
        None => Some(plugin::build_for_tests(&mysql, args.plugin)?),
    };
    args.s3 = s3::running()?;
    if let Some(server) = &args.s3 {
        server.make_bucket(s3::TEST_BUCKET)?;
    }
    let tally = run_suite(&args, &mysql, plugin.as_ref())?;
    if tally.failed > 0 {
        bail!(
            "{} of {} tests failed",
            tally.failed,
            tally.passed + tally.failed
        );
    }
    Ok(())
}

/// Runs the tests; `plugin` is what they run on, or InnoDB.
pub fn run_suite(args: &MtrArgs, mysql: &Mysql, plugin: Option<&Plugin>) -> Result<Tally> {
    let tools = Tools::locate()?;
    if let Some(plugin) = plugin {
        codec_functions::build(mysql, plugin)?;
    }
    let work = paths::target().join("mtr");
    in_use::occupy(&work)?;
    let root = work.join("overlay");
    let suite = overlay(mysql, &root)?;
    let reports = match args.sanitizer {
        Some(sanitizer) => {
            let reports = Reports::new(&work.join("reports"))?;
            wrap_server(mysql, &root, sanitizer, &reports)?;
            Some(reports)
        }
        None => None,
    };
    let mut command = Command::new("perl");
    command
        .arg("mysql-test-run.pl")
        .current_dir(&suite)
        .env("PERL5LIB", tools.perl_modules())
        .arg(path_option(
            "--vardir=",
            &work.join(if plugin.is_some() {
                "var"
            } else {
                "var-innodb"
            }),
        ))
        .arg(format!(
            "--parallel={}",
            args.parallel.unwrap_or_else(workers)
        ))
        .args([
            "--force",
            "--retry=0",
            "--max-test-fail=0",
            "--nounit-tests",
        ])
        .arg("--mysqld=--loose-mysqlx=OFF");
    match plugin {
        Some(plugin) => {
            command
                .arg(path_option("--mysqld=--plugin-dir=", &plugin.folder))
                .arg("--mysqld=--plugin-load-add=ha_smartengine.so")
                .arg("--mysqld=--default-storage-engine=SMARTENGINE")
                .arg("--mysqld=--default-tmp-storage-engine=SMARTENGINE")
                .env("SMARTENGINE_TEST_PLUGIN", "1");
            let skipped = paths::workspace().join(SKIPPED);
            if skipped.is_file() {
                command.arg(path_option("--skip-test-list=", &skipped));
            }
        }
        None => {
            command.arg("--mysqld=--default-storage-engine=InnoDB");
        }
    }
    match &args.suite {
        Some(suite) => {
            command.arg(format!("--suite={suite}"));
        }
        None if args.tests.is_empty() => {
            command.arg(format!("--suite={OUR_SUITES}"));
        }
        None => {}
    }
    if let Some(server) = &args.s3 {
        command
            .env(
                "SMARTENGINE_TEST_BUCKET",
                format!("s3://{}", s3::TEST_BUCKET),
            )
            .env("SMARTENGINE_TEST_ENDPOINT", &server.endpoint)
            .envs(server.environment());
    }
    if args.record {
        command.arg("--record");
    }
    if reports.is_some() {
        // All is slower by a few times.
        command
            .args([
                "--testcase-timeout=60",
                "--suite-timeout=1200",
                "--debug-sync-timeout=1200",
            ])
            .env("MTR_START_TIMEOUT", "720");
    }
    command.args(&args.options).args(&args.tests);
    let mut tally = watch(&mut command)?;
    if let Some(reports) = reports {
        tally.failed += reports.show()?;
    }
    Ok(tally)
}

/// Puts in the overlay, in place of the server's program, a script that starts it with the runtime of a sanitizer: however the runner or a
/// test starts a server, it is under it, and nothing else is.
fn wrap_server(mysql: &Mysql, root: &Path, sanitizer: Sanitizer, reports: &Reports) -> Result<()> {
    let server = mysql.mysqld();
    let inside = server
        .strip_prefix(mysql.base())
        .with_context(|| format!("{} is outside the server's folder", server.display()))?;
    let mut from = mysql.base();
    let mut to = root.to_path_buf();
    for name in inside.parent().into_iter().flatten() {
        // On the way a folder of our own takes the place of a link, unless it is one already.
        from.push(name);
        to.push(name);
        if to.symlink_metadata()?.is_symlink() {
            fs::remove_file(&to).with_context(|| format!("remove {}", to.display()))?;
            link_all(&from, &to, inside.file_name())?;
        }
    }
    let mut script = OsString::from("#!/bin/sh\n");
    for (name, value) in sanitizer.environment(reports.folder())? {
        script.push(format!("export {name}="));
        script.push(quoted(&value));
        script.push("\n");
    }
    script.push("exec ");
    script.push(quoted(server.as_os_str()));
    script.push(" \"$@\"\n");
    let wrapper = root.join(inside);
    fs::write(&wrapper, script.as_bytes())
        .and_then(|()| fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("write {}", wrapper.display()))
}

/// As one word of the shell's.
fn quoted(text: &OsStr) -> OsString {
    let mut word = OsString::from("'");
    word.push(text.to_string_lossy().replace('\'', "'\\''"));
    word.push("'");
    word
}

/// Shows what the runner prints, and counts.
fn watch(command: &mut Command) -> Result<Tally> {
    let mut child = exec::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let output = BufReader::new(child.stdout.take().context("output is piped")?);
    let mut results = Results::default();
    for line in output.split(b'\n') {
        let line = line?;
        let mut out = std::io::stdout().lock();
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        results.take(&String::from_utf8_lossy(&line));
    }
    let tally = results.tally;
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        bail!("mysql-test-run.pl failed ({status}) though no test did: see above");
    }
    Ok(tally)
}

/// What the runner prints, read line by line.
#[derive(Default)]
struct Results {
    tally: Tally,
    /// Whether the lines now belong to a test that failed.
    failing: bool,
}

impl Results {
    /// Takes in a line such as `[ 33%] main.1st  w1  [ pass ]  4`, or one of those that follow a failure.
    fn take(&mut self, line: &str) {
        let result = result_of(line);
        match (result, self.tally.failures.last_mut()) {
            (None, Some(failure)) if self.failing => failure.line(line),
            _ => {}
        }
        let Some(result) = result else { return };
        self.failing = result == "fail";
        match result {
            "pass" => self.tally.passed += 1,
            "fail" => {
                let name = line
                    .split_ascii_whitespace()
                    .find(|word| word.contains('.'));
                self.tally.fail(name.unwrap_or(line), "");
            }
            "skipped" | "disabled" => self.tally.skipped += 1,
            _ => {}
        }
    }
}

/// What stands in the second pair of brackets of a line that tells of a test.
fn result_of(line: &str) -> Option<&str> {
    if !line.starts_with('[') || line.contains(" shutdown_report ") {
        return None;
    }
    let mut brackets = line.match_indices('[').skip(1);
    let (result, _) = brackets.find_map(|(at, _)| line[at + 1..].split_once(']'))?;
    Some(result.trim())
}

/// Builds the overlay anew; returns the folder of `mysql-test-run.pl` in it.
fn overlay(mysql: &Mysql, root: &Path) -> Result<PathBuf> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("remove {}", root.display()))?;
    }
    let base = mysql.base();
    let stock = mysql.test_suite();
    let inside = stock
        .strip_prefix(&base)
        .with_context(|| format!("{} is outside the server's folder", stock.display()))?;
    // Every folder on the way to the suites is a real one, whose other entries are links.
    let mut from = base.clone();
    let mut to = root.to_path_buf();
    for name in inside.iter().chain([OsStr::new("suite")]) {
        link_all(&from, &to, Some(name))?;
        from.push(name);
        to.push(name);
    }
    link_all(&from, &to, None)?;
    let ours = paths::workspace().join("mysql-test/suite");
    if ours.is_dir() {
        link_all(&ours, &to, None)?;
    }
    Ok(root.join(inside))
}

/// Links each entry of `from` into `to`, made for it; `except` is left out, and so is what a run leaves behind.
fn link_all(from: &Path, to: &Path, except: Option<&OsStr>) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if Some(name.as_os_str()) == except || name == "var" {
            continue;
        }
        let link = to.join(&name);
        symlink(entry.path(), &link).with_context(|| format!("link {}", link.display()))?;
    }
    Ok(())
}

fn path_option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// A good part of their time servers start and stop, or wait.
fn workers() -> usize {
    (3 * std::thread::available_parallelism().map_or(1, usize::from)).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_by_test_and_failures_kept() {
        let mut results = Results::default();
        for line in [
            "[ 25%] main.1st                                 w1  [ pass ]      4",
            "[ 50%] smartengine.a 'innodb'                   w2  [ fail ]",
            "        Test ended at 2026-11-30 12:00:00",
            "mysqltest: At line 3: [ pass ]",
            "",
            "[ 75%] main.b                                   w2  [ skipped ]  Needs debug",
            "[ 80%] main.c                                   w2  [ disabled ]  reason",
            "[100%] shutdown_report                          w0  [ pass ]       ",
            "worker[1] mysql-test-run: WARNING: running this script as _root_",
        ] {
            results.take(line);
        }
        let Tally {
            passed,
            failed,
            skipped,
            failures,
        } = results.tally;
        assert_eq!((passed, failed, skipped), (1, 1, 2));
        let [failure] = &failures[..] else {
            panic!("one failed: {failures:?}")
        };
        assert_eq!(failure.name, "smartengine.a");
        assert_eq!(failure.lines.len(), 2);
    }

    #[test]
    fn the_overlay_links_what_it_does_not_replace() {
        let root = std::env::temp_dir().join(format!("xtask-links-{}", std::process::id()));
        let (from, to) = (root.join("from"), root.join("to"));
        for name in ["bin", "suite", "var"] {
            fs::create_dir_all(from.join(name)).unwrap();
        }
        link_all(&from, &to, Some(OsStr::new("suite"))).unwrap();
        let names: Vec<_> = fs::read_dir(&to)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["bin"]);
        fs::remove_dir_all(&root).unwrap();
    }
}
