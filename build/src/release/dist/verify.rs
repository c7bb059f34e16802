//! The second build: of a fresh checkout, in another folder, by that checkout's own `cargo xtask`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::DistArgs;
use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::MysqlArgs;
use crate::release::contents::files_below;
use crate::release::facts;

/// What is compared is the last commit.
pub fn check_committed() -> Result<()> {
    ensure!(
        !facts::is_dirty(),
        "--verify compares with a build of the last commit, and there are changes that are not in it: commit them or put them away (git stash)"
    );
    Ok(())
}

/// Builds again and compares with `files`.
pub fn run(args: DistArgs, mysql: &MysqlArgs, files: &[PathBuf]) -> Result<()> {
    let folder = paths::fresh("dist-verify")?;
    let checkout = folder.join("a-fresh-checkout");
    check_out(&checkout)?;
    println!("building a second time in {}", checkout.display());
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    exec::forget_package(&mut cargo);
    cargo
        .args(["run", "--quiet", "--package=xtask", "--profile=xtask"])
        .arg("--manifest-path")
        .arg(checkout.join("Cargo.toml"))
        .args(["--", "dist"])
        .args(mysql.to_options())
        .env_remove("CARGO_TARGET_DIR");
    if args.portable {
        cargo.arg("--portable");
    }
    exec::run(&mut cargo).context("build a second time")?;
    for file in files {
        let name = file.file_name().context("a file of ours has a name")?;
        let second = checkout.join("target/dist").join(name);
        compare(file, &second, &folder)?;
    }
    println!("built twice, the same bytes: {} files", files.len());
    fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))
}

/// The last commit, in a folder that has nothing else.
fn check_out(to: &Path) -> Result<()> {
    let git = || {
        let mut git = Command::new("git");
        git.current_dir(paths::workspace());
        git
    };
    let head = exec::output(git().args(["rev-parse", "HEAD"]))?;
    exec::output(
        git()
            .args(["clone", "--quiet", "--shared", "--no-checkout", "."])
            .arg(to),
    )?;
    exec::output(
        git()
            .arg("-C")
            .arg(to)
            .args(["checkout", "--quiet", "--detach", head.trim()]),
    )?;
    Ok(())
}

/// Of archives that differ, the first file in them that does is named.
fn compare(first: &Path, second: &Path, folder: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    if read(first)? == read(second)? {
        return Ok(());
    }
    let name = first.file_name().unwrap_or_default().to_string_lossy();
    if !name.ends_with(".tar.gz") {
        bail!(
            "{name} differs: {} and {}",
            first.display(),
            second.display()
        );
    }
    let (one, other) = (folder.join("first"), folder.join("second"));
    unpack(first, &one)?;
    unpack(second, &other)?;
    let (files, others) = (files_below(&one)?, files_below(&other)?);
    if let Some(file) = files.symmetric_difference(&others).next() {
        bail!("{name} differs: one has {file}, the other has not");
    }
    for file in files {
        if read(&one.join(&file))? != read(&other.join(&file))? {
            bail!(
                "{name} differs: first in {file} (unpacked: {} and {})",
                one.display(),
                other.display()
            );
        }
    }
    bail!("{name} differs in what it says of its files (dates, modes, owners, order), not in them")
}

/// Unpacks an archive into a folder that is made.
pub fn unpack(archive: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    exec::output(
        Command::new("tar")
            .args(["--extract", "--gzip", "--file"])
            .arg(archive)
            .arg("--directory")
            .arg(to),
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::archive;
    use super::*;

    #[test]
    fn the_first_file_that_differs_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let make = |side: &str, text: &str| {
            let root = dir.path().join(side).join("name");
            fs::create_dir_all(&root).unwrap();
            fs::write(root.join("a"), "same").unwrap();
            fs::write(root.join("b"), text).unwrap();
            let to = dir.path().join(side).join("name.tar.gz");
            archive(&root, &to).unwrap();
            to
        };
        let (first, equal, other) = (make("1", "x"), make("2", "x"), make("3", "y"));
        compare(&first, &equal, &dir.path().join("work")).unwrap();
        let error = compare(&first, &other, &dir.path().join("work")).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("name.tar.gz differs: first in name/b"),
            "{error}"
        );
    }
}
