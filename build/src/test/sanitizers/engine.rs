//! The tests of what is `unsafe` in the engine and in ffi, and of what threads share, under Miri, the compiler's sanitizers and valgrind.
//!
//! ffi alone is under valgrind, which takes the program of its tests as it is: to compile it with a sanitizer, all of the S3 client would be, too.
//!
//! Miri needs a nightly toolchain that has it, and the sanitizer of threads the source of the standard library, which is then compiled with
//! it: without, each hand-over between threads inside of it would look like a race. What is not installed is skipped, with a word on how to get it. The
//! sanitizers are those of the pinned compiler, told to allow them (`RUSTC_BOOTSTRAP`).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::packages::tools::Tools;
use crate::packages::valgrind::Valgrind;
use crate::plugin;
use crate::test::count;
use crate::test::tally::Tally;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// How valgrind tells of a fault.
const STATUS: &str = "--error-exitcode=99";

/// Where the files with `unsafe` are tested: the memtable, and files of the machine. Of ffi all: each of its entries takes what C++ lends.
const UNSAFE: [&str; 2] = ["memtable::", "env::fs::"];
/// What threads share without a lock around it all.
const SHARED: [&str; 3] = ["memtable::", "txn::locks::", "txn::commit::"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Every access, as the language's rules have it, of one schedule of the threads after the other
    Miri,
    Address,
    Thread,
    /// Memory, too, and values that were never set
    Valgrind,
}

pub const CHECKS: [Check; 4] = [Check::Miri, Check::Address, Check::Thread, Check::Valgrind];

impl Check {
    pub fn title(self) -> &'static str {
        match self {
            Self::Miri => "the memtable under Miri",
            Self::Address => "the engine under the sanitizer of addresses",
            Self::Thread => "the engine under the sanitizer of threads",
            Self::Valgrind => "ffi under valgrind",
        }
    }

    pub fn run(self, mysql: &Mysql) -> Result<Tally> {
        if let Some(missing) = self.missing()? {
            println!("{}: skipped: {missing}", self.title());
            return Ok(Tally::one_skipped());
        }
        self.sees_planted_faults()?;
        match self {
            Self::Miri => miri(),
            Self::Address => self.tests(&UNSAFE),
            Self::Thread => self.tests(&SHARED),
            Self::Valgrind => ffi(mysql),
        }
    }

    /// What it needs and this machine has not.
    fn missing(self) -> Result<Option<&'static str>> {
        let there = match self {
            Self::Miri => exec::output(nightly().args(["cargo", "miri", "--version"])).is_ok(),
            Self::Address | Self::Valgrind => true,
            Self::Thread => sysroot()?
                .join("lib/rustlib/src/rust/library/Cargo.lock")
                .is_file(),
        };
        Ok(match self {
            _ if there => None,
            Self::Miri => Some(
                "no nightly toolchain has Miri (rustup toolchain install nightly --component miri,rust-src)",
            ),
            _ => Some(
                "the toolchain has no source of the standard library (rustup component add rust-src)",
            ),
        })
    }

    /// The compiler's option.
    fn option(self) -> &'static str {
        match self {
            Self::Miri | Self::Valgrind => "",
            Self::Address => "-Zsanitizer=address",
            Self::Thread => "-Zsanitizer=thread",
        }
    }

    fn folder(self) -> PathBuf {
        paths::target().join(match self {
            Self::Miri => "sanitizers/miri",
            Self::Address => "sanitizers/address",
            Self::Thread => "sanitizers/thread",
            Self::Valgrind => "sanitizers/valgrind",
        })
    }

    /// Compiles small programs with faults in them, as the tests are compiled, and runs them.
    fn sees_planted_faults(self) -> Result<()> {
        let faults: &[(&str, &str)] = match self {
            Self::Miri => &[
                ("use_after_free", "dangling"),
                ("race", "Data race detected"),
            ],
            Self::Address => &[("use_after_free", "heap-use-after-free")],
            Self::Thread => &[("race", "global 'race::PLACE'")],
            Self::Valgrind => &[("use_after_free", "Invalid read")],
        };
        let folder = self.folder().join("planted");
        std::fs::create_dir_all(&folder)?;
        for (name, words) in faults {
            let source = paths::workspace()
                .join("build/src/test/sanitizers/planted")
                .join(name)
                .with_extension("rs");
            match self.run_alone(&source, &folder.join(name)) {
                Ok(_) => bail!("{} did not see the planted {name}", self.title()),
                Err(error) if format!("{error:#}").contains(words) => {}
                Err(error) => return Err(error.context(format!("the planted {name}"))),
            }
        }
        Ok(())
    }

    fn run_alone(self, source: &Path, program: &Path) -> Result<String> {
        if self == Self::Miri {
            let sysroot =
                exec::output(nightly().args(["cargo", "miri", "setup", "--print-sysroot"]))
                    .context("build the standard library for Miri")?;
            return exec::output(
                nightly()
                    .arg("miri")
                    .args(["--sysroot", sysroot.trim(), "--edition=2024"])
                    .arg(source),
            );
        }
        exec::output(
            Command::new("rustc")
                .env("RUSTC_BOOTSTRAP", "1")
                .arg("--edition=2024")
                // The standard library of the toolchain will do for so little.
                .args(match self {
                    Self::Valgrind => vec![],
                    _ => vec![self.option(), "-Cunsafe-allow-abi-mismatch=sanitizer"],
                })
                .arg("-o")
                .args([program, source]),
        )?;
        match self {
            Self::Valgrind => exec::output(Valgrind::locate()?.plain().arg(STATUS).arg(program)),
            _ => exec::output(&mut Command::new(program)),
        }
    }

    /// Runs the engine's tests whose names contain one of `filters`.
    fn tests(self, filters: &[&str]) -> Result<Tally> {
        let nextest = exec::in_path("cargo-nextest");
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        exec::forget_package(&mut command);
        command
            .current_dir(paths::workspace())
            .env("RUSTC_BOOTSTRAP", "1")
            .env(
                "RUSTFLAGS",
                format!("{} -Cforce-frame-pointers=yes", self.option()),
            )
            .env("PROPTEST_CASES", "64")
            // Memory that is still there at the end is no fault.
            .env("ASAN_OPTIONS", "detect_leaks=0");
        command.args(match nextest {
            true => ["nextest", "run"].as_slice(),
            false => &["test"],
        });
        if self == Self::Thread {
            command.arg("-Zbuild-std");
        }
        command
            .args(["--target", TARGET, "--no-fail-fast", "--lib"])
            .args(["--package", "smartengine"])
            .arg("--target-dir")
            .arg(self.folder());
        if !nextest {
            command.arg("--");
        }
        let tally = count(command.args(filters), nextest)?;
        Ok(Tally {
            // The others are not left out by accident.
            skipped: 0,
            ..tally
        })
    }
}

/// The memtable's tests, with few cases: Miri is a thousand times slower.
fn miri() -> Result<Tally> {
    let mut command = nightly();
    command
        .current_dir(paths::workspace())
        .env("PROPTEST_CASES", "2")
        // Proptest looks where it is.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .args(["cargo", "miri", "test", "--package", "smartengine"])
        .arg("--target-dir")
        .arg(Check::Miri.folder())
        .args(["--lib", "memtable::"]);
    count(&mut command, false)
}

/// ffi's tests as every run has them, started by valgrind.
fn ffi(mysql: &Mysql) -> Result<Tally> {
    let nextest = exec::in_path("cargo-nextest");
    let valgrind = Valgrind::locate()?.plain();
    let runner = format!(
        "{} --quiet --leak-check=no {STATUS}",
        valgrind.get_program().to_string_lossy()
    );
    let mut command = plugin::cargo(mysql, &Tools::locate()?);
    command
        .envs(
            valgrind
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner)
        .args(match nextest {
            true => ["nextest", "run", "--no-fail-fast"].as_slice(),
            false => &["test", "--no-fail-fast"],
        })
        // Of all crates, as where the tests are run for themselves: alone, it has fewer features, and is compiled again.
        .args(["--workspace", "--exclude=xtask", "--lib"]);
    match nextest {
        true => command.args(["-E", "package(smartengine-ffi)"]),
        false => command.args(["--", "entries::"]),
    };
    let tally = count(&mut command, nextest)?;
    Ok(Tally {
        skipped: 0,
        ..tally
    })
}

fn nightly() -> Command {
    let mut command = Command::new("rustup");
    exec::forget_package(&mut command);
    // Which compiler it is, is the toolchain's to say.
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    command.args(["run", "nightly"]);
    command
}

fn sysroot() -> Result<PathBuf> {
    Ok(
        exec::output(Command::new("rustc").args(["--print", "sysroot"]))?
            .trim()
            .into(),
    )
}
