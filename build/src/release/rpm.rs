//! `cargo xtask rpm`: an rpm of the same files, for MySQL's own rpm packages of the server.
//!
//! Plugin and program are linked as `cargo xtask plugin --portable` does, since those packages are for older systems than this may be. What they ask of a system's
//! libraries is read from them and required by the package.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rpm::{BuildConfig, Dependency, FileMode, FileOptions, PackageBuilder};

use crate::host::exec;
use crate::host::paths;
use crate::host::progress::Step;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{Needs, PluginArgs};
use crate::test::tally::Tally;

use super::contents::{self, Built, Layout, files_below};
use super::facts::{self, DESCRIPTION, LICENCE, NAME, SUMMARY, VERSION};
use super::linked;

/// The server's package.
const SERVER: &str = "mysql-community-server";
const LAYOUT: Layout = Layout {
    prefix: "usr/",
    plugins: "usr/lib64/mysql/plugin",
    zsh: "usr/share/zsh/site-functions",
};

#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct RpmArgs {
    /// Then have rpm read the package and compare what it finds
    #[arg(long)]
    test: bool,
}

pub fn run(args: RpmArgs, mysql: &MysqlArgs) -> Result<()> {
    ensure!(
        !mysql.mysql_debug,
        "--mysql-debug: a package is for mysqld; copy the plugin for mysqld-debug to the folder of its plugins yourself"
    );
    let server = Mysql::locate(mysql)?;
    let folder = paths::fresh("release-rpm")?;
    let portable = PluginArgs {
        portable: true,
        ..PluginArgs::default()
    };
    let built = contents::build(&server, portable, &folder)?;
    let made = Made::of(&server, &built, &folder, &paths::target().join("packages"))?;
    let bytes = fs::metadata(&made.package)?.len();
    println!("{} ({:.1} MB)", made.package.display(), bytes as f64 / 1e6);
    if args.test {
        let tally = made.test()?;
        println!("rpm: {} passed, {} skipped", tally.passed, tally.skipped);
    }
    Ok(())
}

/// The part of `cargo xtask test`, of what was compiled already. The package is not one for users: what is in it may not be portable.
pub fn run_tests(server: &Mysql, built: &Built) -> Result<Tally> {
    let folder = paths::fresh("release-rpm")?;
    Made::of(server, built, &folder, &folder.join("packages"))?.test()
}

/// A package that was made.
struct Made {
    package: PathBuf,
    /// What was packed, as it is installed.
    root: PathBuf,
    server_version: String,
}

impl Made {
    /// Makes it in `to`, by way of `folder`.
    fn of(server: &Mysql, built: &Built, folder: &Path, to: &Path) -> Result<Self> {
        let server_version = server.version()?;
        let step = Step::spinner("make the rpm");
        let root = folder.join("root");
        built.lay_out(&root, &LAYOUT)?;
        let licences = root.join("usr/share/licenses").join(NAME);
        contents::licences(&licences, &linked::crates()?)?;
        let package = pack(&root, &server_version, to)?;
        step.done();
        Ok(Self {
            package,
            root,
            server_version,
        })
    }

    /// Reads the package with rpm itself, where it is installed.
    fn test(&self) -> Result<Tally> {
        if !exec::in_path("rpm") {
            println!("rpm: skipped: it is not installed (apt-get install rpm)");
            return Ok(Tally::one_skipped());
        }
        let ask = |options: &[&str]| {
            let mut rpm = Command::new("rpm");
            exec::output(rpm.arg("-qp").args(options).arg(&self.package))
        };
        let name = ask(&["--queryformat", "%{NAME} %{VERSION} %{LICENSE}"])?;
        let version = version_for(&self.server_version);
        ensure!(
            name == format!("{NAME} {version} {LICENCE}"),
            "rpm -qp says {name:?}"
        );
        let requires = ask(&["--requires"])?;
        let server = format!("{SERVER} = {}", self.server_version);
        ensure!(
            requires.lines().any(|line| line.trim() == server),
            "it does not require {server}, but\n{requires}"
        );
        let listed = ask(&["--list"])?;
        let listed: BTreeSet<&str> = listed.lines().collect();
        let packed = files_below(&self.root)?;
        let packed: BTreeSet<String> = packed.iter().map(|file| format!("/{file}")).collect();
        ensure!(
            listed.iter().copied().eq(packed.iter().map(String::as_str)),
            "rpm -qpl lists {listed:?}, and packed was {packed:?}"
        );
        // Digests of header and payload.
        exec::output(
            Command::new("rpm")
                .args(["--checksig", "--nosignature"])
                .arg(&self.package),
        )?;
        println!("rpm: rpm reads it: {} files", packed.len());
        Ok(Tally::one_passed())
    }
}

/// An rpm's version has no hyphen.
fn version_for(server_version: &str) -> String {
    format!("{VERSION}+mysql{}", server_version.replace('-', "_"))
}

fn pack(root: &Path, server_version: &str, to: &Path) -> Result<PathBuf> {
    let version = version_for(server_version);
    let date = u32::try_from(facts::date()?).context("a time after 2106")?;
    let mut builder = PackageBuilder::new(NAME, &version, LICENCE, std::env::consts::ARCH, SUMMARY);
    builder
        .using_config(BuildConfig::v4().source_date(date))
        .release("1")
        .description(DESCRIPTION.join("\n\n"))
        .packager(facts::maintainer()?)
        .group("Applications/Databases")
        .build_host("localhost")
        .requires(Dependency::eq(SERVER, server_version))
        .add_changelog_entry(
            format!("{} - {version}-1", facts::maintainer()?),
            format!("- Built for {SERVER} {server_version}."),
            date,
        );
    for library in required_libraries(root)? {
        builder.requires(Dependency::any(library));
    }
    for file in files_below(root)? {
        let mode = if file.starts_with("usr/bin/") {
            0o755
        } else {
            0o644
        };
        let mut options = FileOptions::new(format!("/{file}")).mode(FileMode::regular(mode));
        if file.starts_with("usr/share/licenses/") {
            options = options.license();
        } else if file.starts_with("usr/share/doc/") || file.starts_with("usr/share/man/") {
            options = options.doc();
        }
        builder.with_file(root.join(&file), options)?;
    }
    let package = builder.build().context("make the rpm")?;
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    let path = to.join(format!("{NAME}-{version}-1.{}.rpm", std::env::consts::ARCH));
    package
        .write_file(&path)
        .with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// As rpm's own packages require libraries: by name, and the C library by the newest version of a symbol.
fn required_libraries(root: &Path) -> Result<BTreeSet<String>> {
    let mut required = BTreeSet::new();
    for file in [
        format!("{}/ha_smartengine.so", LAYOUT.plugins),
        "usr/bin/smartengine".to_owned(),
    ] {
        let needs = Needs::of(&root.join(file))?;
        let loaders = |name: &&String| name.starts_with("ld-linux");
        let libraries = needs.libraries.iter().filter(|name| !loaders(name));
        required.extend(libraries.map(|name| format!("{name}()(64bit)")));
        if let Some(glibc) = needs.glibc() {
            required.insert(format!("libc.so.6(GLIBC_{glibc})(64bit)"));
        }
    }
    Ok(required)
}
