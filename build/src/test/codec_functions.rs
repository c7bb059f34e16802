//! Builds what our MySQL tests load beside the plugin: checks of its codecs, as functions that the server loads.
//!
//! Each file of `mysql-plugin/tests/` becomes one library of its name, in the plugin's folder. The sources of the codecs are
//! compiled into it, as the plugin hides its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths::{self, FolderLock};
use crate::packages::mysql::Mysql;
use crate::plugin::Plugin;

/// What the checks are about.
const CODECS: [&str; 6] = [
    "catalog/entry.cc",
    "codec/collation.cc",
    "codec/key_codec.cc",
    "codec/row_codec.cc",
    "codec/table_def.cc",
    "codec/weight_code.cc",
];

/// Builds what is not newer than its sources.
pub fn build(mysql: &Mysql, plugin: &Plugin) -> Result<()> {
    let _lock = FolderLock::acquire(&plugin.folder)?;
    let sources = paths::workspace().join("mysql-plugin");
    let mut inputs = Vec::new();
    for room in ["", "base", "catalog", "codec"] {
        inputs.extend(files(&sources.join(room), &["cc", "h"])?);
    }
    let checks = files(&sources.join("tests"), &["cc"])?;
    inputs.extend(checks.iter().cloned());
    let changed = inputs.iter().filter_map(|path| modified(path)).max();
    for check in checks {
        let name = check.file_stem().context("a file has a name")?;
        let library = plugin.folder.join(name).with_extension("so");
        if changed.is_some() && modified(&library) > changed {
            continue;
        }
        // Under another name until it is whole.
        let unfinished = library.with_extension("so.unfinished");
        exec::run(&mut compiler(mysql, &sources, &check, &unfinished)?)
            .with_context(|| format!("compile {}", check.display()))?;
        fs::rename(&unfinished, &library)
            .with_context(|| format!("write {}", library.display()))?;
    }
    Ok(())
}

fn compiler(mysql: &Mysql, sources: &Path, check: &Path, library: &Path) -> Result<Command> {
    let mut command = Command::new("g++");
    command
        .args([
            "-shared", "-fPIC", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
        ])
        .arg(format!("-std={}", standard(mysql)?))
        .args(["-DMYSQL_SERVER", "-DMYSQL_DYNAMIC_PLUGIN", "-D_GNU_SOURCE"])
        .args(["-D_FILE_OFFSET_BITS=64", "-D_USE_MATH_DEFINES"])
        .args(["-D__STDC_FORMAT_MACROS", "-D__STDC_LIMIT_MACROS"]);
    if !is_debug(mysql) {
        command.arg("-DNDEBUG");
    }
    for dir in includes(mysql) {
        command.arg("-isystem").arg(dir);
    }
    command.arg("-I").arg(sources);
    command.arg("-o").arg(library).arg(check);
    command.args(CODECS.map(|file| sources.join(file)));
    Ok(command)
}

/// As the plugin's build script has it.
fn standard(mysql: &Mysql) -> Result<&'static str> {
    let version = mysql.version()?;
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    Ok(if major.unwrap_or(0) >= 9 {
        "gnu++23"
    } else {
        "gnu++17"
    })
}

fn is_debug(mysql: &Mysql) -> bool {
    fs::read_to_string(mysql.build.join("CMakeCache.txt"))
        .is_ok_and(|text| text.contains("CMAKE_BUILD_TYPE:STRING=Debug"))
}

fn includes(mysql: &Mysql) -> Vec<PathBuf> {
    let mut dirs = vec![mysql.build.clone(), mysql.build.join("include")];
    dirs.push(mysql.source.clone());
    for dir in ["include", "libs", "extra/rapidjson/include"] {
        dirs.push(mysql.source.join(dir));
    }
    // The folder below it carries a version in its name.
    if let Ok(entries) = fs::read_dir(mysql.source.join("extra/unordered_dense")) {
        dirs.extend(entries.flatten().map(|entry| entry.path().join("include")));
    }
    dirs
}

fn files(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or("");
        if extensions.contains(&extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}
