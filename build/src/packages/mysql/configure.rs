//! The headers that MySQL's own build generates, made from its source tree alone: the server is not built.
//!
//! They stand in `headers/<version>-<hash>/` of the cache folder. The hash is of everything that they are made of: the files of the source tree
//! that cmake and the generator read, and the options. So another source tree, a changed one or other options have a folder of their own, and
//! equal ones share it. The steps, each of which may be cut short and is then done again from the first one:
//!
//! 1. cmake configures the source tree in `tree/`, with all that can be left out left out. This writes most of the headers.
//! 2. make builds the target `GenError`, which generates `mysqld_error.h` from the list of messages.
//! 3. The headers are copied to `build/`, the file `.complete` is written and `tree/` removed. Without that file the folder counts as absent.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::host::paths::{self, FolderLock};
use crate::host::progress::Step;
use crate::packages::cmake;
use crate::packages::tools::{is_complete, mark_complete};

/// Raised when headers are made or kept in another way, so that those of an older `xtask` are made again.
const LAYOUT: &str = "1";
/// Parts of the server that bring no header for a plugin, and that want further libraries. A version that lacks one passes over its option.
const OPTIONS: [&str; 15] = [
    "-DWITH_SSL=system",
    "-DWITH_MYSQLX=0",
    "-DWITH_GROUP_REPLICATION=0",
    "-DWITH_UNIT_TESTS=0",
    "-DWITH_ROUTER=0",
    "-DWITH_NDB=0",
    "-DWITH_AUTHENTICATION_FIDO=0",
    "-DWITH_AUTHENTICATION_WEBAUTHN=0",
    "-DWITH_AUTHENTICATION_LDAP=0",
    "-DWITH_AUTHENTICATION_KERBEROS=0",
    "-DWITH_FIDO=none",
    "-DWITH_CURL=none",
    // For the generator, which runs for a moment: it is compiled faster so.
    "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O0",
    "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O0",
    // Newer cmakes refuse what older libraries inside the tree say about the oldest cmake that they work with.
    "-DCMAKE_POLICY_VERSION_MINIMUM=3.5",
];
/// The target that generates `mysqld_error.h`.
const TARGET: &str = "GenError";
/// Of the source tree, what the headers are made of.
const MADE_OF: [&str; 9] = [
    "MYSQL_VERSION",
    "CMakeLists.txt",
    "config.h.cmake",
    "configure.cmake",
    "cmake",
    "include",
    "libbinlogevents/include",
    "share/messages_to_clients.txt",
    "share/messages_to_error_log.txt",
];
/// Of the configured tree, where headers are. Those of the binary log have a folder of their own in 8.0.
const HEADERS: [&str; 2] = ["include", "libbinlogevents/include"];

/// The version that a source tree is of, `8.0.36` for instance.
pub fn version_of_source(source: &Path) -> Result<String> {
    let path = source.join("MYSQL_VERSION");
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "read {}, which every source tree of MySQL has",
            path.display()
        )
    })?;
    parse_version(&text).with_context(|| format!("{} names no version", path.display()))
}

/// A folder with the generated headers in its `include/`, configured unless it is in the cache folder already.
pub fn headers(source: &Path, boost: Option<&Path>, is_debug: bool) -> Result<PathBuf> {
    let version = version_of_source(source)?;
    let mut options: Vec<String> = OPTIONS.map(str::to_owned).into();
    let kind = if is_debug { "Debug" } else { "RelWithDebInfo" };
    options.push(format!("-DCMAKE_BUILD_TYPE={kind}"));
    if let Some(boost) = boost_for(source, boost, &version)? {
        options.push(format!("-DWITH_BOOST={}", boost.display()));
    }
    let key = key(source, &options)?;
    let folder = paths::cache()?
        .join("headers")
        .join(format!("{version}-{key:016x}"));
    let build = folder.join("build");
    if is_complete(&folder, LAYOUT) {
        return Ok(build);
    }
    cmake::ensure_installed()?;
    let _lock = FolderLock::acquire(&folder)?;
    // Another process may have filled the folder while this one waited for it.
    if !is_complete(&folder, LAYOUT) {
        let programs = ["cmake", "make"].map(Path::new);
        make(source, &options, &folder, &version, programs)
            .with_context(|| format!("configure the headers of {}", source.display()))?;
    }
    Ok(build)
}

/// Does the three steps with these programs for cmake and make.
fn make(
    source: &Path,
    options: &[String],
    folder: &Path,
    version: &str,
    [cmake, generate]: [&Path; 2],
) -> Result<()> {
    let tree = folder.join("tree");
    for left in [&tree, &folder.join("build")] {
        if left.exists() {
            fs::remove_dir_all(left).with_context(|| format!("remove {}", left.display()))?;
        }
    }
    let log = folder.join("log");
    let mut output = File::create(&log).with_context(|| format!("create {}", log.display()))?;

    let step = Step::spinner(format!("configure MySQL {version} with cmake"));
    let mut cmake = Command::new(cmake);
    cmake
        .arg("-S")
        .arg(source)
        .arg("-B")
        .arg(&tree)
        .args(["-G", "Unix Makefiles"])
        .args(options);
    cmake::logged(&mut cmake, &mut output, &log, |_| ())?;
    step.done();

    let step = Step::count(format!("generate the headers of MySQL {version}"), 100);
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut generate = Command::new(generate);
    generate
        .arg("-C")
        .arg(&tree)
        .arg(format!("-j{jobs}"))
        .arg(TARGET)
        // The flags of a make that we may have been started by are not for this one.
        .env_remove("MAKEFLAGS")
        .env_remove("MFLAGS");
    cmake::logged(&mut generate, &mut output, &log, |line| {
        if let Some(percent) = cmake::percent(line) {
            step.set(percent);
        }
    })?;
    step.done();

    let build = folder.join("build");
    for part in HEADERS {
        copy_headers(&tree.join(part), &build.join(part))?;
    }
    // Says which kind of server they are for.
    fs::copy(tree.join("CMakeCache.txt"), build.join("CMakeCache.txt"))?;
    ensure!(
        super::is_configured(&build),
        "{} lacks my_config.h, mysqld_error.h or mysql_version.h after cmake and make {TARGET}: {} has what they said",
        build.display(),
        log.display()
    );
    mark_complete(folder, LAYOUT)?;
    fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))
}

/// Copies a folder's headers, which may be in folders below it.
fn copy_headers(from: &Path, to: &Path) -> Result<()> {
    // Newer versions have no folder for the binary log's headers.
    let Ok(entries) = fs::read_dir(from) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "CMakeFiles" {
                copy_headers(&from, &to)?;
            }
        } else if from.extension().is_some_and(|extension| extension == "h") {
            let parent = to.parent().context("a file is in a folder")?;
            fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
            fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
        }
    }
    Ok(())
}

/// Stands for what the headers are made of.
fn key(source: &Path, options: &[String]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    (LAYOUT, options).hash(&mut hasher);
    for part in MADE_OF {
        hash_tree(&source.join(part), Path::new(part), &mut hasher)?;
    }
    Ok(hasher.finish())
}

fn hash_tree(path: &Path, name: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    if path.is_dir() {
        let mut entries = fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            hash_tree(&entry.path(), &name.join(entry.file_name()), hasher)?;
        }
    } else if path.is_file() {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        (name, bytes).hash(hasher);
    }
    Ok(())
}

/// What cmake is to be told about boost: nothing if the tree brings its own in `extra/`, as it does from 8.4 on.
pub fn boost_for(source: &Path, given: Option<&Path>, version: &str) -> Result<Option<PathBuf>> {
    let has_own = fs::read_dir(source.join("extra/boost")).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir()))
    });
    if has_own {
        return Ok(None);
    }
    let text = fs::read_to_string(source.join("cmake/boost.cmake")).unwrap_or_default();
    let wanted = boost_name(&text).unwrap_or("boost");
    if let Some(given) = given {
        let given = std::path::absolute(given)?;
        ensure!(
            ["boost/version.hpp", &format!("{wanted}/boost/version.hpp")]
                .iter()
                .any(|file| given.join(file).is_file()),
            "--boost {}: there is no boost/version.hpp in it: name the folder that {wanted} was unpacked to",
            given.display()
        );
        return Ok(Some(given));
    }
    let inside = source.join("boost");
    if inside.is_dir() {
        return Ok(Some(inside));
    }
    bail!(
        "MySQL {version} is configured with {wanted}, which is not in {}: take the source tarball with boost (mysql-boost-{version}.tar.gz), or \
         unpack {wanted} and name its folder with --boost",
        source.display()
    )
}

/// `boost_1_77_0` of `SET(BOOST_PACKAGE_NAME "boost_1_77_0")`.
fn boost_name(cmake: &str) -> Option<&str> {
    cmake
        .lines()
        .find(|line| line.contains("BOOST_PACKAGE_NAME \"boost_"))?
        .split('"')
        .nth(1)
}

fn parse_version(text: &str) -> Option<String> {
    let number = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().parse::<u32>().ok())?
        })
    };
    Some(format!(
        "{}.{}.{}",
        number("MYSQL_VERSION_MAJOR")?,
        number("MYSQL_VERSION_MINOR")?,
        number("MYSQL_VERSION_PATCH")?
    ))
}

#[cfg(test)]
mod tests;
