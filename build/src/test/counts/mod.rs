//! `cargo xtask counts`: instructions of fixed loops, held against those that the tree records in `build/counts.txt`.
//!
//! Times on a shared machine differ by tens of percent from one minute to the next; the instructions of a loop that depends on nothing but its
//! seed do not. They are counted by callgrind: of the engine in `engine/counts`, and of the plugin's codecs in
//! `mysql-plugin/tests/image/codec_counts.cc`, as the release profile compiles both. What costs more than [`LIMIT`] percent
//! over the record fails; what saves more asks to be recorded, so that it is not lost again unseen.
//!
//! The counts follow from the compiler, the C library and what the processor offers as well. Those are recorded beside them, and where they
//! differ the counts are shown and nothing fails.

mod record;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::host::exec;
use crate::host::paths;
use crate::host::progress::Step;
use crate::host::table::Table;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::packages::tools::Tools;
use crate::packages::valgrind::Valgrind;
use crate::plugin::{self, PrefixMaps};
use crate::test::server_image::{self, ServerImage};
use crate::test::tally::Tally;

use record::{Count, Record, Verdict};

/// Percent that a count may grow by, and that it may shrink by before it is to be recorded.
pub const LIMIT: f64 = 3.0;
const FILE: &str = "build/counts.txt";

#[derive(clap::Args)]
pub struct CountsArgs {
    /// Write what is counted into build/counts.txt
    #[arg(long)]
    record: bool,
}

pub fn run(args: &CountsArgs, mysql: &MysqlArgs) -> Result<()> {
    let mysql = Mysql::locate(mysql)?;
    if args.record {
        let file = paths::workspace().join(FILE);
        fs::write(&file, count(&mysql)?.to_text())
            .with_context(|| format!("write {}", file.display()))?;
        println!("recorded in {FILE}");
        return Ok(());
    }
    let tally = check(&mysql)?;
    ensure!(tally.failed == 0, "{} loops failed", tally.failed);
    Ok(())
}

/// Counts, compares with the record and says what differs.
pub fn check(mysql: &Mysql) -> Result<Tally> {
    let file = paths::workspace().join(FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let recorded = Record::parse(&text).with_context(|| FILE)?;
    let now = count(mysql)?;
    let mut tally = Tally::default();
    let mut table = Table::new(&["loop", "recorded", "now", "", ""]);
    let mut foreign = Vec::new();
    for group in [record::ENGINE, record::CODEC] {
        let differences = recorded.environment_differences(&now, group);
        for verdict in recorded.compare(&now, group) {
            let comparable = differences.is_empty();
            match verdict.passes(LIMIT) || (!comparable && verdict.is_measured()) {
                true => tally.passed += 1,
                false => tally.fail(&verdict.name, &row(&verdict, comparable).join(" ")),
            }
            table.row(row(&verdict, comparable));
        }
        foreign.extend(differences);
    }
    print!("{table}");
    for difference in &foreign {
        println!("note: {difference}");
    }
    if !foreign.is_empty() {
        println!(
            "note: counts of another compiler, library or processor say little about a change of the code: they are shown, and none fails. To compare, \
             count the tree before the change on this machine as well (cargo xtask counts --record there)."
        );
    }
    if tally.failed > 0 {
        println!(
            "Where the instructions are: callgrind_annotate target/counts/<loop>/callgrind.out, before the change and after it. A cost that is meant is \
             recorded with cargo xtask counts --record, and the commit says what it buys."
        );
    }
    Ok(tally)
}

fn row(verdict: &Verdict, comparable: bool) -> [String; 5] {
    let number = |count: Option<f64>| count.map_or("-".to_string(), |count| format!("{count:.1}"));
    let change = verdict.change();
    let remark = match change {
        None if verdict.now.is_none() => "the loop is gone: cargo xtask counts --record",
        None => "not recorded: cargo xtask counts --record",
        Some(_) if !comparable => "",
        Some(change) if change > LIMIT => "FAILED: dearer than the limit allows",
        Some(change) if change < -LIMIT => {
            "cheaper: record it, so that it stays (cargo xtask counts --record)"
        }
        Some(_) => "",
    };
    [
        verdict.name.clone(),
        number(verdict.recorded),
        number(verdict.now),
        change.map_or(String::new(), |change| format!("{change:+.2} %")),
        remark.to_string(),
    ]
}

/// A loop to be counted, and how it is started.
struct Job {
    group: &'static str,
    name: String,
    folder: PathBuf,
    command: Vec<String>,
}

fn count(mysql: &Mysql) -> Result<Record> {
    let valgrind = Valgrind::locate()?;
    let work = paths::fresh("counts")?;
    let mut jobs = engine_jobs(mysql, &work)?;
    jobs.extend(codec_jobs(mysql, &work)?);
    let environment = environment(mysql, &valgrind)?;
    let step = Step::count("count instructions", jobs.len() as u64);
    let counts = run_all(&jobs, &valgrind, &step)?;
    step.done();
    Ok(Record {
        environment,
        counts,
    })
}

/// All of them, as many at once as there are processors.
fn run_all(jobs: &[Job], valgrind: &Valgrind, step: &Step) -> Result<Vec<Count>> {
    let next = Mutex::new(0..jobs.len());
    let results: Mutex<Vec<(usize, Result<Count>)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(at) = next.lock().expect("no one panics with it").next() else {
                        break;
                    };
                    let job = &jobs[at];
                    let count = run_one(job, valgrind)
                        .with_context(|| format!("count {} {}", job.group, job.name));
                    results
                        .lock()
                        .expect("no one panics with it")
                        .push((at, count));
                    step.advance();
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no one panics with it");
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, count)| count).collect()
}

fn run_one(job: &Job, valgrind: &Valgrind) -> Result<Count> {
    let printed = exec::output(
        valgrind
            .command(&job.folder)?
            .args([
                "--quiet",
                "--tool=callgrind",
                "--callgrind-out-file=callgrind.out",
                // Only what the function of this name does.
                "--collect-atstart=no",
                "--toggle-collect=*measured*",
            ])
            .args(&job.command),
    )?;
    let turns: f64 = printed.trim().parse().context("the loop's turns")?;
    let profile = fs::read_to_string(job.folder.join("callgrind.out"))?;
    let total = instructions(&profile).context("callgrind.out has no summary")?;
    ensure!(
        total > turns,
        "only {total} instructions were counted: the function `measured` was not found"
    );
    Ok(Count {
        group: job.group.to_string(),
        name: job.name.clone(),
        instructions: total / turns,
    })
}

fn instructions(profile: &str) -> Option<f64> {
    profile
        .lines()
        .find_map(|line| line.strip_prefix("summary:"))
        .and_then(|total| total.trim().parse().ok())
}

fn engine_jobs(mysql: &Mysql, work: &Path) -> Result<Vec<Job>> {
    let mut cargo = plugin::cargo(mysql, &Tools::locate()?);
    // As the plugin is compiled, so that what both are made of is compiled once.
    PrefixMaps::of_this_machine()?.apply(&mut cargo)?;
    exec::run(cargo.args(["build", "--release", "--package", "smartengine-counts"]))
        .context("compile the engine's loops")?;
    let program = paths::target().join("release/smartengine-counts");
    let mut jobs = Vec::new();
    for name in exec::output(Command::new(&program).arg("list"))?.lines() {
        let folder = work.join(name);
        fs::create_dir(&folder)?;
        // A program's stack begins with its arguments, so they are as long in every checkout.
        fs::copy(&program, folder.join("counts"))?;
        exec::output(
            Command::new("./counts")
                .args(["prepare", "db"])
                .current_dir(&folder),
        )?;
        jobs.push(Job {
            group: record::ENGINE,
            name: name.to_string(),
            folder,
            command: ["./counts", "run", name, "db"].map(Into::into).to_vec(),
        });
    }
    Ok(jobs)
}

fn codec_jobs(mysql: &Mysql, work: &Path) -> Result<Vec<Job>> {
    let image = ServerImage::build(
        mysql,
        "codec_counts",
        // As the plugin's build script has it.
        &["-O2", "-fno-omit-frame-pointer"],
        &work.join("codec"),
    )?;
    let mut jobs = Vec::new();
    for name in image.output(&["list"])?.lines() {
        let folder = work.join(name);
        image.link_into(&folder)?;
        let mut command = server_image::COMMAND.map(String::from).to_vec();
        command.extend(["run", name].map(String::from));
        jobs.push(Job {
            group: record::CODEC,
            name: name.to_string(),
            folder,
            command,
        });
    }
    Ok(jobs)
}

/// What the counts depend on besides the code, of each group.
fn environment(mysql: &Mysql, valgrind: &Valgrind) -> Result<Vec<(String, String)>> {
    let line = |command: &mut Command| -> Result<String> {
        let text = exec::output(command)?;
        Ok(text.lines().next().unwrap_or_default().trim().to_string())
    };
    let rustc = line(Command::new("rustc").arg("--version"))?;
    let libc = line(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let compiler = format!("g++ {}", line(Command::new("g++").arg("-dumpfullversion"))?);
    let server = format!("MySQL {}", mysql.version()?);
    let valgrind = valgrind.version()?;
    let processor = processor()?;
    let of = |group: &str, facts: [&String; 4]| {
        facts.map(|fact| (group.to_string(), fact.clone())).to_vec()
    };
    let mut all = of(record::ENGINE, [&rustc, &libc, &valgrind, &processor]);
    all.extend(of(
        record::CODEC,
        [&compiler, &server, &valgrind, &processor],
    ));
    Ok(all)
}

/// The architecture, and the extensions by which libraries choose how they copy, compare and sum up bytes.
fn processor() -> Result<String> {
    const ASKED_FOR: [&str; 6] = ["ssse3", "sse4_2", "pclmulqdq", "avx2", "bmi2", "crc32"];
    let mut text = std::env::consts::ARCH.to_string();
    let about = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let Some(flags) = about
        .lines()
        .find(|line| line.starts_with("flags") || line.starts_with("Features"))
    else {
        bail!("/proc/cpuinfo names no features of the processor");
    };
    for flag in flags.split_ascii_whitespace() {
        if ASKED_FOR.contains(&flag) {
            text.push(' ');
            text.push_str(flag);
        }
    }
    Ok(text)
}
