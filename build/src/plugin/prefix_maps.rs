//! What files of this machine are called in what is compiled.
//!
//! Debug information and messages name sources by their paths. Of those, the folders that differ from one machine or checkout to the next are replaced, so that the same
//! sources give the same bytes, and nothing tells where they lay. A checkout is `.`: a debugger that is started in one finds its files. MySQL's headers are renamed by
//! the plugin's build script, which alone reads them: another server is no reason to compile the engine again.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;

/// What the folder of a registry is called.
const CRATES: &str = "crates";

/// Paths and what they are replaced by, of two that fit the later one.
pub struct PrefixMaps(Vec<(PathBuf, String)>);

impl PrefixMaps {
    pub fn of_this_machine() -> Result<Self> {
        let mut maps = Vec::new();
        // Each registry has a folder, whose name tells where crates were downloaded from.
        let crates = cargo_home()?.join("registry/src");
        if let Ok(entries) = fs::read_dir(&crates) {
            let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            folders.sort();
            maps.extend(folders.into_iter().map(|path| (path, CRATES.to_owned())));
        }
        // With its sources installed, the standard library is named by where they are.
        let (sysroot, commit) = rust()?;
        maps.push((
            sysroot.join("lib/rustlib/src/rust"),
            format!("/rustc/{commit}"),
        ));
        maps.push((paths::workspace(), ".".to_owned()));
        maps.push((paths::target(), "./target".to_owned()));
        Ok(Self(maps))
    }

    /// Gives them to all compilers that cargo starts, after the options that the environment has for them.
    pub fn apply(&self, cargo: &mut Command) -> Result<()> {
        let mut options = rust_options();
        options.extend(self.text()?.map(|map| format!("--remap-path-prefix={map}")));
        cargo.env("CARGO_ENCODED_RUSTFLAGS", options.join("\u{1f}"));
        for variable in ["CFLAGS", "CXXFLAGS"] {
            let mut options = std::env::var_os(variable).unwrap_or_default();
            // These are parted by spaces, so a path that has one cannot be named.
            for map in self.text()?.filter(|map| !map.contains(' ')) {
                options.push(OsString::from(format!(" -ffile-prefix-map={map}")));
            }
            cargo.env(variable, options);
        }
        Ok(())
    }

    fn text(&self) -> Result<impl Iterator<Item = String>> {
        let maps: Result<Vec<String>> = self
            .0
            .iter()
            .map(|(path, name)| {
                let path = path
                    .to_str()
                    .with_context(|| format!("{} is no text: build elsewhere", path.display()))?;
                Ok(format!("{path}={name}"))
            })
            .collect();
        Ok(maps?.into_iter())
    }

    /// The paths that nothing that was compiled may name.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(path, _)| path.as_path())
    }

    /// The folders that crates were unpacked into.
    pub fn registries(&self) -> impl Iterator<Item = PathBuf> {
        let all = self.0.iter().filter(|(_, name)| name == CRATES);
        all.map(|(path, _)| path.clone())
    }
}

/// Rust's options that the environment has, in cargo's order of precedence.
fn rust_options() -> Vec<String> {
    let parts = |name: &str, by: char| {
        let text = std::env::var(name).ok()?;
        let parts = text.split(by).filter(|part| !part.is_empty());
        Some(parts.map(str::to_owned).collect())
    };
    parts("CARGO_ENCODED_RUSTFLAGS", '\u{1f}')
        .or_else(|| parts("RUSTFLAGS", ' '))
        .unwrap_or_default()
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(std::path::absolute(home)?);
    }
    let home = std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// The compiler's folder, and the commit that it was made of.
fn rust() -> Result<(PathBuf, String)> {
    let rustc = || {
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.current_dir(paths::workspace());
        rustc
    };
    let sysroot = exec::output(rustc().args(["--print", "sysroot"]))?;
    let version = exec::output(rustc().arg("-vV"))?;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "));
    Ok((
        PathBuf::from(sysroot.trim()),
        commit.unwrap_or("unknown").to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_of_both_languages_name_a_source_by_its_new_name() {
        let dir = tempfile::tempdir().unwrap();
        let maps = PrefixMaps(vec![
            (dir.path().to_path_buf(), ".".to_owned()),
            (dir.path().join("inner"), "renamed".to_owned()),
        ]);
        let mut cargo = Command::new("cargo");
        maps.apply(&mut cargo).unwrap();
        let variable = |name: &str| {
            let mut variables = cargo.get_envs();
            let found = variables.find(|(it, _)| *it == name).unwrap().1.unwrap();
            found.to_str().unwrap().to_owned()
        };
        fs::create_dir(dir.path().join("inner")).unwrap();
        for (source, text, compiler, options) in [
            (
                "a.rs",
                "#[unsafe(no_mangle)] pub fn f() -> &'static str { file!() }",
                "rustc",
                variable("CARGO_ENCODED_RUSTFLAGS").replace('\u{1f}', "\n"),
            ),
            (
                "a.cc",
                "extern \"C\" const char *f() { return __FILE__; }",
                "g++",
                variable("CXXFLAGS").replace(' ', "\n"),
            ),
        ] {
            for folder in ["", "inner"] {
                let source = dir.path().join(folder).join(source);
                fs::write(&source, text).unwrap();
                let object = dir.path().join("object");
                let kind: &[&str] = match compiler {
                    "rustc" => &["--crate-type=lib", "--emit=obj", "--edition=2024", "-g"],
                    _ => &["-c", "-g"],
                };
                let mut command = Command::new(compiler);
                command
                    .args(kind)
                    .args(options.lines().filter(|option| !option.is_empty()))
                    .arg("-o")
                    .args([&object, &source])
                    // What else the compiler notes of where it runs.
                    .current_dir(dir.path());
                exec::output(&mut command).unwrap();
                let bytes = fs::read(&object).unwrap();
                let has = |text: &str| {
                    bytes
                        .windows(text.len())
                        .any(|window| window == text.as_bytes())
                };
                assert!(!has(dir.path().to_str().unwrap()), "{}", source.display());
                let name = source.file_name().unwrap().to_str().unwrap();
                let wanted = match folder {
                    "" => format!("./{name}"),
                    _ => format!("renamed/{name}"),
                };
                assert!(has(&wanted), "{} is not named {wanted}", source.display());
            }
        }
    }
}
