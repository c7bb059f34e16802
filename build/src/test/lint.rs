//! `cargo xtask lint`: what can be said about the code without running it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::docs;
use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::packages::tools::Tools;
use crate::plugin;

#[derive(clap::Args, Clone, Copy)]
pub struct LintArgs {
    /// Format the files in place instead of complaining about them
    #[arg(long)]
    fix: bool,
}

pub fn run(args: LintArgs, mysql: &MysqlArgs) -> Result<()> {
    let mysql = Mysql::locate(mysql)?;
    check(&mysql, args.fix)
}

/// Runs every check, also after one has failed, and names those that did.
pub fn check(mysql: &Mysql, fix: bool) -> Result<()> {
    let tools = Tools::locate()?;
    let mut failed = Vec::new();

    let mut rustfmt = plugin::cargo(mysql, &tools);
    rustfmt.args(["fmt", "--all"]);
    if !fix {
        rustfmt.arg("--check");
    }
    let mut clang_format = tools.clang_format();
    clang_format.arg("--style=file").args(cpp_files()?);
    match fix {
        true => clang_format.arg("-i"),
        false => clang_format.args(["--dry-run", "-Werror"]),
    };
    let mut clippy = plugin::cargo(mysql, &tools);
    clippy.args(["clippy", "--workspace", "--all-targets", "--quiet"]);
    clippy.args(["--", "-D", "warnings"]);
    // What is installed has no failure points, and the tests, which turn them on, do not compile it.
    let mut installed = plugin::cargo(mysql, &tools);
    installed.args(["clippy", "--package", "smartengine-plugin", "--quiet"]);
    installed.args(["--", "-D", "warnings"]);
    let mut rustdoc = plugin::cargo(mysql, &tools);
    rustdoc
        .args([
            "doc",
            "--package",
            "smartengine",
            // With it and these features, what both depend on has been checked for the command before.
            "--package",
            "smartengine-plugin",
            "--features",
            "smartengine/failpoints,smartengine/s3",
            "--no-deps",
            "--quiet",
        ])
        .env("RUSTDOCFLAGS", "-D warnings");
    let mut tidy = plugin::cargo(mysql, &tools);
    tidy.args([
        "test",
        "--workspace",
        "--exclude=xtask",
        "--test",
        "tidy",
        "--quiet",
    ]);

    for (name, command) in [
        ("rustfmt", &mut rustfmt),
        ("clang-format", &mut clang_format),
        ("clippy", &mut clippy),
        ("clippy of what is installed", &mut installed),
        ("rustdoc", &mut rustdoc),
        ("tidy", &mut tidy),
    ] {
        let passed = exec::run_status(command.current_dir(paths::workspace()))?;
        println!("lint: {name} {}", if passed { "passed" } else { "FAILED" });
        if !passed {
            failed.push(name);
        }
    }
    let documents = docs::check();
    if let Err(error) = &documents {
        println!("lint: {error:#}");
    }
    println!(
        "lint: docs {}",
        if documents.is_ok() {
            "passed"
        } else {
            "FAILED"
        }
    );
    if documents.is_err() {
        failed.push("docs");
    }
    if !failed.is_empty() {
        bail!(
            "lint failed: {} (cargo xtask lint --fix mends what is only formatting)",
            failed.join(", ")
        );
    }
    Ok(())
}

/// The C and C++ files of ours.
fn cpp_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for dir in ["mysql-plugin", "ffi"] {
        collect(&paths::workspace().join(dir), &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "cc" || extension == "h")
        {
            files.push(path);
        }
    }
    Ok(())
}
