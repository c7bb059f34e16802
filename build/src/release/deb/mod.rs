//! `cargo xtask deb`: a Debian package of the plugin for Debian's server, in exactly the version that it was built for.
//!
//! The server checks the version itself, and loads no plugin that was built for another one. So the package depends on that version of the server's package, and apt
//! keeps the two together or says why it cannot.

mod control;
mod test;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;
use crate::host::progress::Step;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::PluginArgs;
use crate::test::tally::Tally;

use super::contents::{self, Built, Layout};
use super::facts::{self, NAME};
use super::linked;
use control::Control;

/// The server's package.
const SERVER: &str = "mysql-server-core";
const LAYOUT: Layout = Layout {
    prefix: "usr/",
    plugins: "usr/lib/mysql/plugin",
    zsh: "usr/share/zsh/vendor-completions",
};

#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct DebArgs {
    /// Then check the package with lintian and install it into a fresh Debian; takes root, debootstrap and lintian
    #[arg(long)]
    test: bool,
}

pub fn run(args: DebArgs, mysql: &MysqlArgs) -> Result<()> {
    let server = Mysql::locate(mysql)?;
    // Before minutes are spent.
    server.debian_version()?;
    let folder = paths::fresh("release-deb")?;
    let built = contents::build(&server, PluginArgs::default(), &folder)?;
    let package = pack(&server, &built, &folder)?;
    if args.test {
        let tally = test::run(&package)?;
        println!(
            "deb: {} passed, {} failed, {} skipped",
            tally.passed, tally.failed, tally.skipped
        );
        anyhow::ensure!(tally.failed == 0, "{} tests failed", tally.failed);
    }
    Ok(())
}

/// The part of `cargo xtask test`, of what was compiled already.
pub fn run_tests(server: &Mysql, built: &Built) -> Result<Tally> {
    let folder = paths::fresh("release-deb")?;
    test::run(&pack(server, built, &folder)?)
}

/// Makes the package in `target/packages`, by way of `folder`.
fn pack(server: &Mysql, built: &Built, folder: &Path) -> Result<PathBuf> {
    let server_version = server.debian_version()?;
    let step = Step::spinner("make the Debian package");
    let root = folder.join("root");
    built.lay_out(&root, &LAYOUT)?;
    let control = Control::new(&server_version, &root)?;
    let documents = root.join("usr/share/doc").join(NAME);
    contents::write(&documents.join("copyright"), &control.copyright()?)?;
    // The name is none of those that Debian wants in the file above alone.
    let others = documents.join("third-party");
    contents::write(&others, &linked::licences(&linked::crates()?)?)?;
    contents::compress(&others)?;
    let log = documents.join("changelog.Debian");
    contents::write(&log, &control.changelog()?)?;
    contents::compress(&log)?;
    contents::write(
        &root.join("usr/share/lintian/overrides").join(NAME),
        control::OVERRIDES,
    )?;
    contents::write(&root.join("DEBIAN/md5sums"), &checksums(&root)?)?;
    contents::write(&root.join("DEBIAN/control"), &control.text(folder)?)?;
    let packages = paths::target().join("packages");
    fs::create_dir_all(&packages).with_context(|| format!("create {}", packages.display()))?;
    let package = packages.join(control.file_name());
    exec::output(
        Command::new("dpkg-deb")
            .env("SOURCE_DATE_EPOCH", facts::date()?.to_string())
            .args(["--root-owner-group", "-Zxz", "--build"])
            .args([&root, &package]),
    )?;
    step.done();
    let bytes = fs::metadata(&package)?.len();
    println!("{} ({:.1} MB)", package.display(), bytes as f64 / 1e6);
    Ok(package)
}

/// A line for each file below `root`, as dpkg checks them later.
fn checksums(root: &Path) -> Result<String> {
    exec::output(
        Command::new("sh")
            .args([
                "-c",
                "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum",
            ])
            .current_dir(root),
    )
}
