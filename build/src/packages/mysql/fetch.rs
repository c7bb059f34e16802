//! Debian's unstable suite carries MySQL 9.7; its packages are unpacked into `mysql/<version>/` of the cache folder, once
//! per machine. The steps, each of which may be cut short and repeated:
//!
//! 1. apt downloads the packages into `mysql/debs/`, resuming what is half there.
//! 2. They are unpacked into `server/`; of the source package only headers and `libservices` go to `source/`.
//! 3. Every program is given the loader and the libraries of `server/`, which are newer than the host's.
//! 4. The file `.complete` is written and `mysql/debs/` removed. Without that file the folder counts as absent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::Mysql;
use crate::host::exec;
use crate::host::paths::{self, FolderLock};
use crate::host::progress::Step;
use crate::packages::apt::{self, Apt};
use crate::packages::tools::{Tools, is_complete, mark_complete};

const SUITE: &str = "sid";
/// The release series whose server the plugin is built against here.
const SERIES: &str = "9.7.";
/// Raised when what is unpacked changes, so that folders filled by an older `xtask` are filled again.
const LAYOUT: &str = "1";
const PROGRAMS: [&str; 6] = [
    "mysql-server-core",
    "mysql-server",
    "mysql-client",
    "mysql-client-core",
    "mysql-common",
    "mysql-testsuite",
];
const HEADERS: [&str; 2] = ["libmysqlclient-dev", "mysql-source"];
/// Of the programs above, those whose libraries are wanted; the others only add what their maintainer scripts run.
const LINKED: [&str; 3] = ["mysql-server-core", "mysql-client-core", "mysql-client"];
/// What a plugin's compiler reads of the source tree.
const SOURCE_PARTS: [&str; 14] = [
    "MYSQL_VERSION",
    "builddir/include",
    "components",
    "extra/rapidjson/include",
    "extra/unordered_dense",
    "include",
    "libs",
    "libservices",
    "mysys",
    "sql",
    "sql-common",
    "storage/perfschema",
    "strings",
    "vio",
];
/// Among those, what no compiler of a plugin reads.
const SOURCE_LEAVE: [&str; 6] = ["*.cc", "*.yy", "*.txt", "CMakeFiles", "Makefile", "uca900*"];

/// What is in the cache folder already, or else what the archive has.
pub fn cached(folder: &Path) -> Result<Mysql> {
    match newest_complete(folder)? {
        Some(version) => Ok(Mysql::in_cache(&folder.join(version))),
        None => fetch(folder, false),
    }
}

/// The newest version in the folder that was unpacked to the end.
fn newest_complete(folder: &Path) -> Result<Option<String>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(None);
    };
    let mut versions = Vec::new();
    for entry in entries {
        let entry = entry?;
        if is_complete(&entry.path(), LAYOUT) {
            versions.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(versions
        .into_iter()
        .max_by_key(|version| version_key(version)))
}

/// Orders versions by their numbers: `9.7.10-1` after `9.7.4-2`.
fn version_key(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// Fetches what the archive has; with `update` even where an older version is there.
pub fn fetch(folder: &Path, update: bool) -> Result<Mysql> {
    let _lock = FolderLock::acquire(folder)?;
    if let (false, Some(version)) = (update, newest_complete(folder)?) {
        // Another process filled the folder while this one waited for it.
        return Ok(Mysql::in_cache(&folder.join(version)));
    }
    let apt = Apt::update(&folder.join("apt"), SUITE)?;
    let version = apt.candidate("mysql-server-core")?;
    ensure!(
        version.starts_with(SERIES),
        "Debian {SUITE} carries MySQL {version} now, and this checkout builds against {SERIES}x: \
         name a server with --mysql-root, and the source tree of its version with --mysql-source"
    );
    // Colons of an epoch would split library paths.
    let target = folder.join(version.replace(':', "_"));
    let mysql = Mysql::in_cache(&target);
    if is_complete(&target, LAYOUT) {
        return Ok(mysql);
    }
    install(&apt, folder, &target, &mysql)
        .with_context(|| format!("fetch MySQL {version} into {}", target.display()))?;
    Ok(mysql)
}

fn install(apt: &Apt, folder: &Path, target: &Path, mysql: &Mysql) -> Result<()> {
    let tools = Tools::locate()?;
    let mut names: Vec<String> = PROGRAMS
        .iter()
        .chain(&HEADERS)
        .map(|name| name.to_string())
        .collect();
    names.extend(apt.libraries(&LINKED)?);
    let debs = folder.join("debs");
    let files = apt.download(&debs, &names, "MySQL")?;
    let (sources, packages): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| file.to_string_lossy().contains("mysql-source_"));
    apt::unpack(&packages, &mysql.root, "MySQL")?;
    let source = sources
        .first()
        .context("apt gave no mysql-source package")?;
    unpack_headers(source, mysql)?;
    adopt_programs(mysql, &tools)?;
    link_test_programs(mysql)?;
    mark_complete(target, LAYOUT)?;
    fs::remove_dir_all(&debs).with_context(|| format!("remove {}", debs.display()))
}

/// Takes the wanted parts out of the tarball inside the package, without a copy of either on disk.
fn unpack_headers(deb: &Path, mysql: &Mysql) -> Result<()> {
    let step = Step::spinner("unpack MySQL's headers");
    let tarball = || -> Result<std::process::ChildStdout> {
        let mut package = exec::spawn(
            Command::new("dpkg")
                .arg("--fsys-tarfile")
                .arg(deb)
                .stdout(Stdio::piped())
                .stderr(Stdio::null()),
        )?;
        let inner = exec::spawn(
            Command::new("tar")
                .args(["-xOf", "-", "./usr/src/mysql/mysql-source.tar.gz"])
                .stdin(package.stdout.take().context("dpkg's output is piped")?)
                .stdout(Stdio::piped())
                .stderr(Stdio::null()),
        )?;
        inner.stdout.context("tar's output is piped")
    };
    let top = top_folder(tarball()?)?;
    if mysql.source.exists() {
        fs::remove_dir_all(&mysql.source)?;
    }
    fs::create_dir_all(&mysql.source)?;
    exec::run(
        Command::new("tar")
            .arg("-C")
            .arg(&mysql.source)
            .args(["-xzf", "-", "--strip-components=1"])
            .args(SOURCE_LEAVE.map(|pattern| format!("--exclude={pattern}")))
            .args(SOURCE_PARTS.map(|part| format!("{top}/{part}")))
            .arg(format!("{top}/vector-common"))
            .stdin(tarball()?),
    )?;
    // The one generated header that Debian's build folder lacks is in the client library's package.
    let from = mysql.root.join("usr/include/mysql/mysqld_error.h");
    let to = mysql.build.join("include/mysqld_error.h");
    fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
    step.done();
    Ok(())
}

/// The name of the folder that the tarball's entries stand in, `mysql-9.7` for instance.
fn top_folder(tarball: std::process::ChildStdout) -> Result<String> {
    use std::io::{BufRead, BufReader};
    let mut list = exec::spawn(
        Command::new("tar")
            .args(["-tzf", "-"])
            .stdin(tarball)
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    )?;
    let lines = BufReader::new(list.stdout.take().context("tar's output is piped")?).lines();
    let mut top = None;
    for line in lines {
        if let Some((first, _)) = line?.trim_start_matches("./").split_once('/') {
            top = Some(first.to_string());
            break;
        }
    }
    // The name is known after a few entries of gigabytes.
    let _ = list.kill();
    let _ = list.wait();
    match top {
        Some(top) => Ok(top),
        None => bail!("the source tarball is empty"),
    }
}

/// Points every program at the loader and the libraries beside it.
fn adopt_programs(mysql: &Mysql, tools: &Tools) -> Result<()> {
    let libraries = mysql.root.join("usr/lib").join(paths::multiarch()?);
    let loader = loader(&mysql.root)?;
    let mut programs = Vec::new();
    for dir in ["usr/bin", "usr/sbin", "usr/lib/mysql-test"] {
        collect_programs(&mysql.root.join(dir), &mut programs)?;
    }
    let step = Step::count(
        "point MySQL's programs at their libraries",
        programs.len() as u64,
    );
    for program in &programs {
        exec::output(
            tools
                .patchelf()
                .arg("--set-interpreter")
                .arg(&loader)
                .arg("--force-rpath")
                .arg("--set-rpath")
                .arg(&libraries)
                .arg(program),
        )?;
        step.advance();
    }
    step.done();
    Ok(())
}

fn loader(root: &Path) -> Result<PathBuf> {
    [
        "usr/lib64/ld-linux-x86-64.so.2",
        "usr/lib/ld-linux-aarch64.so.1",
    ]
    .map(|name| root.join(name))
    .into_iter()
    .find(|path| path.exists())
    .with_context(|| format!("no dynamic loader in {}", root.display()))
}

fn collect_programs(dir: &Path, programs: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect_programs(&entry.path(), programs)?;
        } else if kind.is_file() && is_dynamic_program(&entry.path())? {
            programs.push(entry.path());
        }
    }
    Ok(())
}

fn is_dynamic_program(path: &Path) -> Result<bool> {
    use std::io::Read;
    // Program headers follow the ELF header at once, and the interpreter's is among the first.
    let mut head = Vec::new();
    fs::File::open(path)?.take(1024).read_to_end(&mut head)?;
    Ok(has_interpreter(&head))
}

/// Whether the beginning of a file is that of a 64-bit little-endian ELF with an interpreter (a `PT_INTERP` header).
fn has_interpreter(head: &[u8]) -> bool {
    const PT_INTERP: [u8; 4] = 3u32.to_le_bytes();
    let field = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return false;
    }
    let (Some(offset), Some(size), Some(count)) = (field(32), field(54), field(56)) else {
        return false;
    };
    (0..usize::from(count))
        .map(|index| usize::from(offset) + index * usize::from(size))
        .any(|at| head.get(at..at + 4) == Some(&PT_INTERP[..]))
}

/// mysql-test-run looks for its helper programs among the client programs.
fn link_test_programs(mysql: &Mysql) -> Result<()> {
    let bin = mysql.base().join("bin");
    for entry in fs::read_dir(mysql.test_suite().join("bin"))? {
        let name = entry?.file_name();
        let link = bin.join(&name);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(Path::new("../lib/mysql-test/bin").join(&name), &link)
                .with_context(|| format!("link {}", link.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let mut versions = ["9.7.10-1", "9.7.4-2", "9.7.4-10"];
        versions.sort_by_key(|version| version_key(version));
        assert_eq!(versions, ["9.7.4-2", "9.7.4-10", "9.7.10-1"]);
    }

    #[test]
    fn a_folder_counts_only_once_it_is_complete() {
        let folder = std::env::temp_dir().join(format!("xtask-versions-{}", std::process::id()));
        for version in ["9.7.4-2", "9.7.11-1"] {
            fs::create_dir_all(folder.join(version)).unwrap();
        }
        assert_eq!(newest_complete(&folder).unwrap(), None);
        mark_complete(&folder.join("9.7.4-2"), LAYOUT).unwrap();
        mark_complete(&folder.join("9.7.11-1"), "of another layout").unwrap();
        assert_eq!(
            newest_complete(&folder).unwrap().as_deref(),
            Some("9.7.4-2")
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn programs_are_told_from_other_files() {
        assert!(is_dynamic_program(Path::new("/bin/sh")).unwrap());
        assert!(!has_interpreter(b"#!/bin/sh\n"));
        assert!(!has_interpreter(b"\x7fELF\x02\x01"));
    }
}
