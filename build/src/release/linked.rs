//! Which crates are linked into plugin and program.
//!
//! Cargo tells: of both together, with the features that they are compiled with, without what only builds or tests need and without macros, which run in the compiler.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;
use crate::plugin::PrefixMaps;

/// The crates that are linked as plugin and program.
pub const ROOTS: [&str; 2] = ["smartengine-plugin", "smartengine-cli"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Crate {
    /// As its manifest has it.
    pub licence: String,
    pub repository: String,
    /// SHA-256 of the file that it comes in; none of our own, which come in none.
    pub checksum: Option<String>,
    pub dependencies: BTreeSet<Id>,
}

pub type Crates = BTreeMap<Id, Crate>;

pub fn crates() -> Result<Crates> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(paths::workspace())
        .args(["tree", "--locked", "--edges=normal,no-proc-macro"])
        .args(["--prefix=depth", "--format=|{p}|{l}|{r}|"])
        .args(ROOTS.map(|root| format!("--package={root}")));
    let tree = exec::output(&mut cargo).context("ask cargo what is linked")?;
    let lock = paths::workspace().join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("read {}", lock.display()))?;
    read(&tree, &checksums(&lock))
}

/// Reads cargo's tree: a line for each crate, with its depth; what a crate depends on follows it, the first time that it is named.
fn read(tree: &str, checksums: &BTreeMap<Id, String>) -> Result<Crates> {
    let mut crates = Crates::new();
    let mut above: Vec<Id> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let wrong = || format!("cargo tree printed {line:?}");
        let mut fields = line.split('|');
        let mut field = || fields.next().with_context(wrong);
        let depth: usize = field()?.parse().with_context(wrong)?;
        let mut package = field()?.split(' ');
        let id = Id {
            name: package.next().with_context(wrong)?.to_owned(),
            version: package
                .next()
                .and_then(|version| version.strip_prefix('v'))
                .with_context(wrong)?
                .to_owned(),
        };
        let (licence, repository) = (field()?.to_owned(), field()?.to_owned());
        above.truncate(depth);
        if let Some(parent) = above.last().and_then(|parent| crates.get_mut(parent)) {
            parent.dependencies.insert(id.clone());
        }
        let checksum = checksums.get(&id).cloned();
        crates.entry(id.clone()).or_insert_with(|| Crate {
            licence,
            repository,
            checksum,
            dependencies: BTreeSet::new(),
        });
        above.push(id);
    }
    Ok(crates)
}

/// Those of Cargo.lock, which has lines `name = "…"`, `version = "…"` and `checksum = "…"` of each package in this order.
fn checksums(lock: &str) -> BTreeMap<Id, String> {
    let mut checksums = BTreeMap::new();
    let (mut name, mut version) = (String::new(), String::new());
    for line in lock.lines() {
        let Some((key, value)) = line.split_once(" = ") else {
            continue;
        };
        let value = value.trim_matches('"').to_owned();
        match key {
            "name" => name = value,
            "version" => version = value,
            "checksum" => {
                let id = Id {
                    name: name.clone(),
                    version: version.clone(),
                };
                checksums.insert(id, value);
            }
            _ => {}
        }
    }
    checksums
}

/// The texts of the licences of others' crates, each text once, with the crates that have it.
pub fn licences(crates: &Crates) -> Result<String> {
    let registries: Vec<PathBuf> = PrefixMaps::of_this_machine()?.registries().collect();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut list = String::new();
    for (id, it) in crates.iter().filter(|(_, it)| it.checksum.is_some()) {
        let title = format!("{} {}", id.name, id.version);
        list.push_str(&format!("{title}: {}\n", it.licence));
        let folder = format!("{}-{}", id.name, id.version);
        let folder = registries
            .iter()
            .map(|registry| registry.join(&folder))
            .find(|folder| folder.is_dir())
            .with_context(|| format!("the sources of {title} are not in cargo's folder"))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().to_uppercase();
            let is_text = [
                "LICENSE",
                "LICENCE",
                "COPYING",
                "COPYRIGHT",
                "NOTICE",
                "UNLICENSE",
            ]
            .iter()
            .any(|start| name.starts_with(start));
            if is_text && entry.path().is_file() {
                let text = fs::read(entry.path())?;
                let text = String::from_utf8_lossy(&text).trim().replace('\r', "");
                texts.entry(text).or_default().insert(title.clone());
            }
        }
    }
    let mut out = format!("Crates of others that are part of plugin and program:\n\n{list}");
    for (text, titles) in texts {
        let titles: Vec<String> = titles.into_iter().collect();
        let line = "-".repeat(76);
        out.push_str(&format!(
            "\n{line}\n{}\n{line}\n\n{text}\n",
            titles.join(", ")
        ));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, version: &str) -> Id {
        Id {
            name: name.to_owned(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn the_tree_and_the_lock_file_are_read() {
        let lock = "[[package]]\nname = \"zstd\"\nversion = \"0.13.3\"\nsource = \"registry\"\nchecksum = \"ab12\"\n\
                    dependencies = [\n \"zstd-safe\",\n]\n\n[[package]]\nname = \"own\"\nversion = \"1.0.0\"\n";
        let tree = "0|own v1.0.0 (/somewhere/own)|GPL-2.0-only||\n1|zstd v0.13.3|MIT|https://z|\n2|libc v0.2.1|MIT|https://l|\n\
                    1|libc v0.2.1|MIT|https://l| (*)\n\n0|other v2.0.0 (/somewhere/other)|GPL-2.0-only||\n1|zstd v0.13.3|MIT|https://z| (*)\n";
        let crates = read(tree, &checksums(lock)).unwrap();
        assert_eq!(crates.len(), 4);
        let (zstd, libc) = (id("zstd", "0.13.3"), id("libc", "0.2.1"));
        assert_eq!(crates[&zstd].checksum.as_deref(), Some("ab12"));
        assert_eq!(crates[&zstd].dependencies, BTreeSet::from([libc.clone()]));
        let own = &crates[&id("own", "1.0.0")];
        assert_eq!(own.checksum, None);
        assert_eq!(own.dependencies, BTreeSet::from([zstd.clone(), libc]));
        assert_eq!(
            crates[&id("other", "2.0.0")].dependencies,
            BTreeSet::from([zstd])
        );
        assert!(read("zstd v0.13.3|MIT", &BTreeMap::new()).is_err());
    }
}
