//! Configuring and building with cmake: what has to be installed for it, progress, and errors that say what is missing.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::host::exec;

/// What cmake and make want, and the Debian packages that bring it.
const PROGRAMS: [(&str, &str); 5] = [
    ("cmake", "cmake"),
    ("make", "make"),
    ("bison", "bison"),
    ("g++", "g++"),
    ("pkg-config", "pkgconf"),
];
/// What configuring says when a library is missing, and the Debian package that has it.
const LIBRARIES: [(&str, &str); 4] = [
    ("WITH_SSL", "libssl-dev"),
    ("Curses library not found", "libncurses-dev"),
    ("tirpc", "libtirpc-dev"),
    ("rpc/rpc.h", "libtirpc-dev"),
];

/// Refuses to begin where a program is missing, with the packages that bring all that are.
pub fn ensure_installed() -> Result<()> {
    let missing = missing_programs(exec::in_path);
    ensure!(
        missing.is_empty(),
        "MySQL is configured with {}, not installed here: apt-get install {}",
        names(&missing, |(program, _)| program).join(", "),
        names(&missing, |(_, package)| package).join(" ")
    );
    Ok(())
}

/// Runs to the end with all output in `log`, of which `see` is shown each line; the error has what it says is wrong.
pub fn logged(
    command: &mut Command,
    output: &mut File,
    log: &Path,
    mut see: impl FnMut(&str),
) -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = exec::spawn(command)?;
    let program = command.get_program().to_string_lossy().into_owned();
    // It holds the pipe's end too, which has to close when the program ends.
    *command = Command::new(&program);
    let mut lines = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(output, "{line}").with_context(|| format!("write {}", log.display()))?;
        see(&line);
        lines.push(line);
    }
    if child.wait()?.success() {
        return Ok(());
    }
    let wrong = what_is_wrong(&lines);
    let mut packages: Vec<_> = wrong.iter().filter_map(|line| package_for(line)).collect();
    packages.sort_unstable();
    packages.dedup();
    let advice = match packages[..] {
        [] => String::new(),
        _ => format!(
            "\nIf a library is missing: apt-get install {}",
            packages.join(" ")
        ),
    };
    bail!(
        "{program} failed; {} has all that it said, and in it:\n{}{advice}",
        log.display(),
        wrong.join("\n")
    )
}

/// The errors among the lines of a program that failed, or the last lines if none is known as one. cmake's errors are followed by pages of what it
/// found out.
fn what_is_wrong(lines: &[String]) -> Vec<&str> {
    const SHOWN: usize = 25;
    const LAST: usize = 12;
    let mut is_error = false;
    let mut wrong = Vec::new();
    for line in lines {
        if line.starts_with("CMake ") || line.starts_with("-- ") || line.starts_with("Call Stack") {
            is_error = line.starts_with("CMake Error");
        } else if line.contains(" error: ") || line.contains("***") {
            wrong.push(line.as_str());
        }
        if is_error && !line.trim().is_empty() {
            wrong.push(line);
        }
    }
    wrong.truncate(SHOWN);
    if wrong.is_empty() {
        let last = lines.len().saturating_sub(LAST);
        wrong.extend(lines[last..].iter().map(String::as_str));
    }
    wrong
}

fn missing_programs(is_there: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
    PROGRAMS
        .into_iter()
        .filter(|(program, _)| !is_there(program))
        .collect()
}

fn names(
    missing: &[(&'static str, &'static str)],
    which: impl Fn((&'static str, &'static str)) -> &'static str,
) -> Vec<&'static str> {
    missing.iter().map(|pair| which(*pair)).collect()
}

fn package_for(line: &str) -> Option<&'static str> {
    LIBRARIES
        .iter()
        .find(|(words, _)| line.contains(words))
        .map(|(_, package)| *package)
}

/// How far make says that it is, `[ 42%] Building …`, or ninja, `[21/50] Building …`.
pub fn percent(line: &str) -> Option<u64> {
    let place = line.strip_prefix('[')?.split_once(']')?.0;
    if let Some(percent) = place.strip_suffix('%') {
        return percent.trim().parse().ok();
    }
    let (done, all) = place.split_once('/')?;
    let (done, all): (u64, u64) = (done.parse().ok()?, all.parse().ok()?);
    (done * 100).checked_div(all)
}

#[cfg(test)]
mod tests;
