//! Compiles code of ours together with the plugin's codecs into a library that a server, or its image, loads.
//!
//! The sources of the codecs are compiled into it, as the plugin hides its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::Mysql;

/// What the code is about.
const CODECS: [&str; 9] = [
    "base/server_match.cc",
    "catalog/entry.cc",
    "codec/collation.cc",
    "codec/key_codec.cc",
    "codec/row_codec.cc",
    "codec/table_codec.cc",
    "codec/table_def.cc",
    "codec/weight_code.cc",
    // In place of what comes from the engine.
    "tests/stand_in/checksum.cc",
];

/// Compiles `files` and the codecs with further `options` of the compiler.
pub fn compile(mysql: &Mysql, options: &[&str], files: &[&Path], library: &Path) -> Result<()> {
    let sources = paths::workspace().join("mysql-plugin");
    let mut command = Command::new("g++");
    command
        .args(["-shared", "-fPIC", "-g", "-Wall", "-Wextra", "-Werror"])
        .args(options)
        .arg(format!("-std={}", standard(mysql)?))
        .args(["-DMYSQL_SERVER", "-DMYSQL_DYNAMIC_PLUGIN", "-D_GNU_SOURCE"])
        .args(["-D_FILE_OFFSET_BITS=64", "-D_USE_MATH_DEFINES"])
        .args(["-D__STDC_FORMAT_MACROS", "-D__STDC_LIMIT_MACROS"]);
    // As the plugin's build script has it.
    match mysql.is_debug {
        true => command.args(["-DSAFE_MUTEX", "-DENABLED_DEBUG_SYNC"]),
        false => command.arg("-DNDEBUG"),
    };
    for dir in includes(mysql) {
        command.arg("-isystem").arg(dir);
    }
    command.arg("-I").arg(&sources);
    command.arg("-o").arg(library).args(files);
    command
        .args(CODECS.map(|file| sources.join(file)))
        .arg("-ldl");
    exec::run(&mut command).with_context(|| format!("compile {}", library.display()))
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
