//! The archives as a user meets them, made of what was compiled for other packages already.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::verify::unpack;
use super::{BOM, CHECKSUMS, pack};
use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::plugin::{PrefixMaps, contains};
use crate::release::contents::Built;
use crate::release::facts;
use crate::test::tally::Tally;

/// Of plugin and program that are not portable.
pub fn run_tests(server: &Mysql, built: &Built) -> Result<Tally> {
    let made = Made::of(server, built)?;
    let mut tally = Tally::default();
    let tests: [(&str, fn(&Made) -> Result<()>); 5] = [
        ("sha256sum finds what was written", checksums_hold),
        ("all is in the archives", nothing_is_missing),
        ("the bill of materials has what is linked", bill_is_right),
        ("packed twice, it is the same bytes", repeats),
        ("no path of this machine is in it", no_paths),
    ];
    for (name, test) in tests {
        tally.report(&format!("dist: {name}"), test(&made));
    }
    Ok(tally)
}

struct Made<'a> {
    server: &'a Mysql,
    built: &'a Built,
    /// Of this test alone.
    folder: PathBuf,
    /// Archive, symbols, bill of materials.
    files: Vec<PathBuf>,
    /// The two archives, unpacked.
    roots: [PathBuf; 2],
}

impl<'a> Made<'a> {
    fn of(server: &'a Mysql, built: &'a Built) -> Result<Self> {
        let folder = paths::fresh("release-dist-test")?;
        let files = pack(
            built,
            server,
            false,
            &folder.join("1"),
            &folder.join("dist"),
        )?;
        let unpacked = |at: usize| -> Result<PathBuf> {
            let to = folder.join("unpacked");
            unpack(&files[at], &to)?;
            let name = files[at].file_name().context("a file has a name")?;
            Ok(to.join(name.to_string_lossy().trim_end_matches(".tar.gz")))
        };
        let roots = [unpacked(0)?, unpacked(1)?];
        Ok(Self {
            server,
            built,
            folder,
            files,
            roots,
        })
    }
}

fn checksums_hold(made: &Made) -> Result<()> {
    let said = exec::output(
        Command::new("sha256sum")
            .args(["--check", CHECKSUMS])
            .current_dir(made.folder.join("dist")),
    )?;
    let lines = said.lines().filter(|line| line.ends_with(": OK")).count();
    ensure!(lines == made.files.len(), "it says {said}");
    Ok(())
}

fn nothing_is_missing(made: &Made) -> Result<()> {
    for file in [
        "INSTALL",
        "LICENSE",
        "LICENSE-APACHE-2.0",
        "LICENSE-GPL-2.0",
        "THIRD-PARTY-LICENSES",
        BOM,
        "share/bash-completion/completions/smartengine",
        "share/fish/vendor_completions.d/smartengine.fish",
        "share/zsh/site-functions/_smartengine",
        "share/man/man1/smartengine.1.gz",
        "share/doc/mysql-plugin-smartengine/examples/smartengine.cnf",
    ] {
        ensure!(made.roots[0].join(file).is_file(), "there is no {file}");
    }
    let install = fs::read_to_string(made.roots[0].join("INSTALL"))?;
    ensure!(!install.contains(['{', '}']), "INSTALL is\n{install}");
    for file in ["lib/plugin/ha_smartengine.so", "bin/smartengine"] {
        let stripped = made.roots[0].join(file);
        let symbols = made.roots[1].join(match file.ends_with(".so") {
            true => format!("{file}.debug"),
            false => "bin/smartengine.debug".to_owned(),
        });
        let (id, other) = (build_id(&stripped)?, build_id(&symbols)?);
        ensure!(id == other, "{file} is {id}, its symbols are of {other}");
    }
    let program = made.roots[0].join("bin/smartengine");
    let version = exec::output(Command::new(program).arg("version"))?;
    ensure!(version.starts_with("smartengine "), "it says {version:?}");
    Ok(())
}

fn build_id(file: &Path) -> Result<String> {
    let notes = exec::output(Command::new("readelf").arg("--notes").arg(file))?;
    let line = notes.lines().find(|line| line.contains("Build ID"));
    let line = line.with_context(|| format!("{} has no build id", file.display()))?;
    Ok(line.trim().to_owned())
}

fn bill_is_right(made: &Made) -> Result<()> {
    let text = fs::read_to_string(&made.files[2])?;
    let inside = fs::read_to_string(made.roots[0].join(BOM))?;
    ensure!(text == inside, "the one in the archive is another");
    let bom: Value = serde_json::from_str(&text).context("read it as JSON")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let components = list(&bom["components"]);
    let names: BTreeSet<&str> = components
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    for name in [
        "smartengine",
        "smartengine-ffi",
        "cxx",
        "aws-sdk-s3",
        "ring",
        "clap",
        "mysql",
        "zstd-c",
        "rust-std",
    ] {
        ensure!(names.contains(name), "{name} is not in it");
    }
    for name in [
        "xtask",
        "bindgen",
        "cxx-build",
        "cc",
        "proptest",
        "tempfile",
        "serde_derive",
        "libstdc++",
    ] {
        ensure!(!names.contains(name), "{name} is in it, and not linked");
    }
    let mut known: BTreeSet<&str> = components
        .iter()
        .filter_map(|it| it["bom-ref"].as_str())
        .collect();
    for component in &components {
        let is_others = component["purl"]
            .as_str()
            .is_some_and(|purl| purl.starts_with("pkg:cargo/"));
        let digest = component["hashes"][0]["content"]
            .as_str()
            .unwrap_or_default();
        ensure!(
            !is_others || digest.len() == 64,
            "{component} has no digest"
        );
        let licence = component["licenses"][0]["expression"].as_str();
        ensure!(
            licence.is_some_and(|it| !it.is_empty()),
            "{component} has no licence"
        );
    }
    let own = list(&bom["metadata"]["component"]["components"]);
    for (component, file) in own
        .iter()
        .zip(["lib/plugin/ha_smartengine.so", "bin/smartengine"])
    {
        let digest = facts::sha256(&made.roots[0].join(file))?;
        ensure!(
            component["hashes"][0]["content"] == digest.as_str(),
            "{file} is {digest}, not {component}"
        );
        known.extend(component["bom-ref"].as_str());
    }
    known.extend(bom["metadata"]["component"]["bom-ref"].as_str());
    let mut described = BTreeSet::new();
    let dependencies = list(&bom["dependencies"]);
    for dependency in &dependencies {
        for needed in list(&dependency["dependsOn"]) {
            ensure!(
                needed.as_str().is_some_and(|it| known.contains(it)),
                "{dependency} names {needed}"
            );
        }
        described.extend(dependency["ref"].as_str());
    }
    ensure!(described == known, "its graph is not of its components");
    Ok(())
}

fn repeats(made: &Made) -> Result<()> {
    let folder = made.folder.join("in-another-folder");
    let again = pack(
        made.built,
        made.server,
        false,
        &folder,
        &folder.join("dist"),
    )?;
    for (first, second) in made.files.iter().zip(&again) {
        ensure!(
            fs::read(first)? == fs::read(second)?,
            "{} differs from {}",
            first.display(),
            second.display()
        );
    }
    Ok(())
}

fn no_paths(made: &Made) -> Result<()> {
    let maps = PrefixMaps::of_this_machine()?;
    let mut paths: Vec<&Path> = maps.paths().collect();
    paths.extend([made.server.source.as_path(), made.server.build.as_path()]);
    // A name below the root may be part of any path.
    paths.retain(|path| path.components().count() > 2);
    for (root, file) in [
        (0, "lib/plugin/ha_smartengine.so"),
        (0, "bin/smartengine"),
        (1, "lib/plugin/ha_smartengine.so.debug"),
        (1, "bin/smartengine.debug"),
    ] {
        let plain = made.folder.join("plain");
        exec::output(
            Command::new("objcopy")
                .arg("--decompress-debug-sections")
                .args([&made.roots[root].join(file), &plain]),
        )?;
        let bytes = fs::read(&plain)?;
        for path in &paths {
            let text = path.to_str().context("paths are text")?;
            ensure!(
                !contains(&bytes, text.as_bytes()),
                "{file} has {text} in it"
            );
        }
    }
    Ok(())
}
