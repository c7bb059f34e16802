//! What `--portable` links differently, so that a plugin built on a newer machine loads on an older one.
//!
//! The C++ library and the unwinder go into the plugin, so it needs no version of theirs. Of the C library it may use what glibc 2.28 has, which
//! Oracle Linux 8 came with, the system that MySQL's own tarballs and image of 8.0 are made for. Where the machine's headers and libraries ask for
//! more, `older_libc.c` stands in: the linker leads those references there (`--wrap`). What the linked library asks for in the end is read from it
//! and checked, so what a newer compiler or C library begins to ask for is found here, by name, and not by the one who installs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::needs::Needs;
use crate::host::exec;

/// The newest version of the C library that may be asked for.
pub const GLIBC: &str = "2.28";

const SOURCE: &str = include_str!("older_libc.c");

/// What is led to `older_libc.c`: all that it defines, whether or not this machine's libraries ask for it.
fn wrapped() -> Vec<&'static str> {
    let mut names: Vec<&str> = SOURCE
        .match_indices("__wrap_")
        .map(|(at, prefix)| &SOURCE[at + prefix.len()..])
        .chain(
            SOURCE
                .match_indices("\nLEADS_TO(")
                .filter_map(|(at, _)| SOURCE[at..].split(',').nth(2))
                .map(str::trim),
        )
        .filter_map(|rest| {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            (end > 0).then_some(&rest[..end])
        })
        .collect();
    names.extend(LEFT_OUT);
    names.sort_unstable();
    names.dedup();
    names
}

/// What Rust's library asks for only to see whether it is there: no one defines the name that it is led to, so it is not.
const LEFT_OUT: [&str; 1] = ["posix_spawn_file_actions_addchdir_np"];

/// Compiles the stand-in beside `library`, and returns the linker's options, the object among them.
pub fn options(library: &Path) -> Result<Vec<String>> {
    let object = library.with_extension("older_libc.o");
    let source = library.with_extension("older_libc.c");
    fs::write(&source, SOURCE).with_context(|| format!("write {}", source.display()))?;
    exec::run(
        Command::new("gcc")
            .args(["-O2", "-fPIC", "-fno-builtin", "-ffunction-sections"])
            .args([
                "-fdata-sections",
                "-fvisibility=hidden",
                "-Wall",
                "-Wextra",
                "-Werror",
            ])
            .arg("-c")
            .arg(&source)
            .arg("-o")
            .arg(&object),
    )
    .context("compile the stand-in for newer functions of the C library")?;
    fs::remove_file(&source).with_context(|| format!("remove {}", source.display()))?;
    let mut options = vec!["-static-libstdc++".to_owned(), "-static-libgcc".to_owned()];
    options.extend(wrapped().iter().map(|name| format!("-Wl,--wrap={name}")));
    options.push(path_text(&object)?);
    Ok(options)
}

/// The same for a program of Rust, which has no C++ library but the system's unwinder, as all systems do.
pub fn program_options(program: &Path) -> Result<Vec<String>> {
    let mut options = options(program)?;
    options.retain(|option| !option.starts_with("-static"));
    Ok(options)
}

/// Refuses a program that an older system could not start.
pub fn check_program(program: &Path) -> Result<()> {
    let needs = Needs::of(program)?;
    let beyond = needs.beyond_of_c(GLIBC);
    if beyond.is_empty() {
        return Ok(());
    }
    bail!(
        "{} is not portable: it needs what the C library {GLIBC} does not have\n{}",
        program.display(),
        beyond.join("\n")
    )
}

fn path_text(path: &Path) -> Result<String> {
    PathBuf::from(path)
        .into_os_string()
        .into_string()
        .ok()
        .context("the checkout's path has to be text")
}

/// Refuses a library that an older system could not load.
pub fn check(library: &Path) -> Result<()> {
    let needs = Needs::of(library)?;
    let beyond = needs.beyond(GLIBC);
    if beyond.is_empty() {
        return Ok(());
    }
    bail!(
        "{} is not portable: it needs what the C library {GLIBC} does not have\n{}\n\
         (build/src/plugin/portable/older_libc.c stands in for such functions: add them there, or build without --portable)",
        library.display(),
        beyond.join("\n")
    )
}

#[cfg(test)]
mod tests;
