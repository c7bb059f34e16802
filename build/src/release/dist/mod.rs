//! `cargo xtask dist`: an archive for users of any system, one with the symbols, a bill of materials, and their checksums.
//!
//! Built twice of one commit, in whatever folders, they are the same bytes: entries are sorted and belong to root, all is dated by the commit, and no path of the machine
//! is in what is compiled (`plugin::PrefixMaps`). `--verify` builds a second time and compares. Compilers, linker and server are those of the machine: another version of
//! one of them makes other bytes.

mod bom;
mod test;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;
use crate::host::progress::Step;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{PluginArgs, portable};

use super::contents::{self, Built, Layout};
use super::facts::{self, VERSION};
use super::linked;

pub use test::run_tests;

const INSTALL: &str = include_str!("../../../release/INSTALL");
/// As MySQL's own archives have them, and as it is unpacked over `/usr/local`.
const LAYOUT: Layout = Layout {
    prefix: "",
    plugins: "lib/plugin",
    zsh: "share/zsh/site-functions",
};
const BOM: &str = "smartengine.cdx.json";
const CHECKSUMS: &str = "SHA256SUMS";

#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct DistArgs {
    /// Link plugin and program so that older systems load them: with their own C++ library, for glibc 2.28 (Oracle Linux 8) and later
    #[arg(long)]
    portable: bool,
    /// Then build a second time, of a fresh checkout of the commit in another folder, and compare byte for byte
    #[arg(long)]
    verify: bool,
}

impl DistArgs {
    fn plugin(self) -> PluginArgs {
        PluginArgs {
            portable: self.portable,
            ..PluginArgs::default()
        }
    }
}

pub fn run(args: DistArgs, mysql: &MysqlArgs) -> Result<()> {
    if args.verify {
        verify::check_committed()?;
    }
    let server = Mysql::for_building(mysql)?;
    let folder = paths::fresh("release-dist")?;
    let built = contents::build(&server, args.plugin(), &folder)?;
    let to = paths::target().join("dist");
    let files = pack(&built, &server, args.portable, &folder, &to)?;
    for file in &files {
        let bytes = fs::metadata(file)?.len();
        println!("{} ({:.1} MB)", file.display(), bytes as f64 / 1e6);
    }
    println!("{}", to.join(CHECKSUMS).display());
    match args.verify {
        true => verify::run(args, mysql, &files),
        false => Ok(()),
    }
}

/// `smartengine-0.1.0-mysql9.7.4-x86_64`, with what is special about it before the architecture.
fn name(server: &Mysql, is_portable: bool, is_dirty: bool) -> Result<String> {
    let dirty = if is_dirty { "-dirty" } else { "" };
    let debug = if server.is_debug { "-debug" } else { "" };
    let libc = match is_portable {
        true => format!("-glibc{}", portable::GLIBC),
        false => String::new(),
    };
    let architecture = std::env::consts::ARCH;
    let server_version = server.version()?;
    Ok(format!(
        "smartengine-{VERSION}{dirty}-mysql{server_version}{debug}{libc}-{architecture}"
    ))
}

/// Makes the files in `to`, by way of `folder`, and lists in `SHA256SUMS` all that is there then.
fn pack(
    built: &Built,
    server: &Mysql,
    is_portable: bool,
    folder: &Path,
    to: &Path,
) -> Result<Vec<PathBuf>> {
    let step = Step::spinner("make the archives");
    let server_version = server.version()?;
    let name = name(server, is_portable, facts::is_dirty())?;
    let crates = linked::crates()?;
    let compiled = [built.plugin.library.as_path(), &built.program.file];
    let bom = bom::text(compiled, &crates, &server_version, is_portable)?;
    let root = folder.join("files").join(&name);
    built.lay_out(&root, &LAYOUT)?;
    contents::licences(&root, &crates)?;
    let install = INSTALL
        .replace("{version}", VERSION)
        .replace("{server}", &server_version);
    contents::write(&root.join("INSTALL"), &install)?;
    contents::write(&root.join(BOM), &bom)?;
    let symbols_name = format!("{name}-symbols");
    let symbols = folder.join("files").join(&symbols_name);
    for (file, place) in [
        (&built.plugin.symbols, LAYOUT.plugins),
        (&built.program.symbols, "bin"),
    ] {
        let file_name = file.file_name().context("a file of ours has a name")?;
        contents::copy(file, &symbols.join(place).join(file_name), 0o644)?;
    }
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    let files = [
        to.join(format!("{name}.tar.gz")),
        to.join(format!("{symbols_name}.tar.gz")),
        to.join(format!("{name}.cdx.json")),
    ];
    archive(&root, &files[0])?;
    archive(&symbols, &files[1])?;
    contents::write(&files[2], &bom)?;
    let sums = checksums(to)?;
    contents::write(&to.join(CHECKSUMS), &sums)?;
    step.done();
    Ok(files.to_vec())
}

/// Packs a folder under its own name.
fn archive(folder: &Path, to: &Path) -> Result<()> {
    let parent = folder.parent().context("a folder lies in another")?;
    let name = folder.file_name().context("a folder has a name")?;
    let tar = folder.with_file_name("archive.tar");
    exec::run(
        Command::new("tar")
            .args(["--create", "--format=gnu", "--sort=name"])
            .args(["--owner=0", "--group=0", "--numeric-owner"])
            .arg(format!("--mtime=@{}", facts::date()?))
            .arg("--file")
            .arg(&tar)
            .arg("--directory")
            .args([parent.as_os_str(), name]),
    )?;
    contents::compress(&tar)?;
    let packed = tar.with_extension("tar.gz");
    fs::rename(&packed, to).with_context(|| format!("write {}", to.display()))
}

/// Of all files in `folder`, as `sha256sum --check` reads them there.
fn checksums(folder: &Path) -> Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name != CHECKSUMS {
            names.push(name);
        }
    }
    names.sort();
    exec::output(Command::new("sha256sum").args(names).current_dir(folder))
}
