//! `cargo xtask plugin --static`: a server that has the engine built in, from a source tree of MySQL that the user has.
//!
//! All of it is in `target/static/<version>/`:
//!
//! 1. `source/` is made of links to the user's tree, with the engine among the server's ([`overlay`]).
//! 2. cmake configures it in `build/`, and its table of built-in plugins has to name the engine then.
//! 3. The headers that the build generates are made, cargo compiles the engine with them, and the linker makes one object of it ([`object`]).
//! 4. The server is built, and linked with the object.
//!
//! What is up to date stays in every step, so a run that was cut short is gone on with by the next.

mod object;
mod overlay;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::PluginArgs;
use crate::host::exec;
use crate::host::in_use;
use crate::host::paths::{self, FolderLock};
use crate::host::progress::Step;
use crate::packages::cmake;
use crate::packages::mysql::{self, Mysql, MysqlArgs};
use crate::test::tally::Tally;

/// What the server is configured with before the user's own options. It is made as MySQL makes it, but for what no server is used for.
const OPTIONS: [&str; 3] = [
    "-DWITH_ROUTER=0",
    "-DWITH_UNIT_TESTS=0",
    // Newer cmakes refuse what older libraries inside the tree say about the oldest cmake that they work with.
    "-DCMAKE_POLICY_VERSION_MINIMUM=3.5",
];
/// The target that generates `mysqld_error.h`, the only header that the engine wants and configuring does not write.
const HEADERS: &str = "GenError";
/// The table of the plugins that a server has built in, as configuring writes it.
const TABLE: &str = "sql/sql_builtin.cc";

/// How the server is made.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "A server with the engine built in")]
pub struct StaticArgs {
    /// Build a server from --mysql-source that has the engine compiled in and enabled, in place of a library that servers load
    ///
    /// The source tree, which has to be a whole one, stays as it is. The server's build tree is target/static/VERSION/build; cmake --install takes it
    /// from there. Ninja is used if the environment says CMAKE_GENERATOR=Ninja.
    #[arg(long = "static", conflicts_with = "portable")]
    pub is_static: bool,
    /// With --static: configure the server's build, check that it has the engine, and end
    #[arg(long, requires = "is_static")]
    pub configure_only: bool,
    /// With --static: the server's own options for cmake, -DWITH_SSL=system for instance
    #[arg(last = true, value_name = "CMAKE_OPTION", requires = "is_static")]
    pub cmake: Vec<String>,
}

pub fn run(plugin: PluginArgs, args: &StaticArgs, mysql: &MysqlArgs) -> Result<()> {
    let server = Server::of(plugin, mysql)?;
    server.configure(&args.cmake)?;
    if args.configure_only {
        println!(
            "the server is configured in {}, with the engine in it; cargo xtask plugin --static builds it",
            server.build().display()
        );
        return Ok(());
    }
    server.build_all()?;
    println!(
        "{} has SMARTENGINE built in and enabled; cmake --install {} --prefix DIR installs the server",
        server
            .build()
            .join("runtime_output_directory/mysqld")
            .display(),
        server.build().display()
    );
    Ok(())
}

/// Configures a server from the source tree that was named, which nothing else here has; its build takes too long for a test.
pub fn run_tests(mysql: &MysqlArgs) -> Result<Tally> {
    let is_whole = |source: &PathBuf| overlay::is_whole(source);
    if !mysql.mysql_source.as_ref().is_some_and(is_whole) {
        println!(
            "static server: skipped: no whole source tree is here, and Debian's packages have headers alone (--mysql-source DIR names one)"
        );
        return Ok(Tally::one_skipped());
    }
    let args = MysqlArgs {
        mysql_root: None,
        mysql_build: None,
        ..mysql.clone()
    };
    Server::of(PluginArgs::default(), &args)?.configure(&[])?;
    Ok(Tally::one_passed())
}

/// The server that is made.
struct Server {
    source: PathBuf,
    boost: Option<PathBuf>,
    version: String,
    plugin: PluginArgs,
    folder: PathBuf,
}

impl Server {
    /// Checks what it will be made of.
    fn of(plugin: PluginArgs, args: &MysqlArgs) -> Result<Self> {
        let Some(source) = &args.mysql_source else {
            bail!(
                "--static builds a server from a source tree of MySQL: name it with --mysql-source"
            );
        };
        ensure!(
            args.mysql_root.is_none() && args.mysql_build.is_none(),
            "--static builds a server, in a build tree of its own: leave out --mysql-root and --mysql-build"
        );
        let source = std::path::absolute(source)?;
        overlay::ensure_whole(&source)?;
        let version = mysql::version_of_source(&source)?;
        let boost = mysql::boost_for(&source, args.boost.as_deref(), &version)?;
        let kind = if plugin.debug { "-debug" } else { "" };
        let folder = paths::target()
            .join("static")
            .join(format!("{version}{kind}"));
        Ok(Self {
            source,
            boost,
            version,
            plugin,
            folder,
        })
    }

    fn build(&self) -> PathBuf {
        self.folder.join("build")
    }

    fn object(&self) -> PathBuf {
        self.folder.join("smartengine.o")
    }

    fn configure(&self, options: &[String]) -> Result<()> {
        cmake::ensure_installed()?;
        in_use::occupy(&self.folder)?;
        let overlay = self.folder.join("source");
        let engine = paths::workspace().join("build/static");
        let build = self.build();
        if overlay::make(&self.source, &engine, &overlay)? && build.exists() {
            fs::remove_dir_all(&build).with_context(|| format!("remove {}", build.display()))?;
        }
        let mut command = Command::new("cmake");
        command
            .arg("-S")
            .arg(&overlay)
            .arg("-B")
            .arg(&build)
            .arg(format!(
                "-DCMAKE_BUILD_TYPE={}",
                if self.plugin.debug {
                    "Debug"
                } else {
                    "RelWithDebInfo"
                }
            ))
            .args(OPTIONS);
        if let Some(boost) = &self.boost {
            command.arg(format!("-DWITH_BOOST={}", boost.display()));
        }
        command
            .args(options)
            .arg(format!("-DSMARTENGINE_OBJECT={}", self.object().display()));
        let step = Step::spinner(format!(
            "configure MySQL {} with the engine in it",
            self.version
        ));
        self.logged("configure.log", &mut command, |_| ())?;
        step.done();
        ensure_has_engine(&build)
    }

    fn build_all(&self) -> Result<()> {
        let build = self.build();
        let step = Step::count(
            format!("generate the headers of MySQL {}", self.version),
            100,
        );
        self.target(Some(HEADERS), &step)?;
        step.done();

        // What kind of server it is the user's options may say too, so the build tree is asked.
        let mysql = Mysql::for_building(&MysqlArgs {
            mysql_source: Some(self.source.clone()),
            mysql_build: Some(build),
            ..MysqlArgs::default()
        })?;
        object(&mysql, self.plugin, &self.object())?;

        let step = Step::count(
            format!("build MySQL {} with the engine in it", self.version),
            100,
        );
        self.target(None, &step)?;
        step.done();
        Ok(())
    }

    /// Builds a target, or all that is installed.
    fn target(&self, target: Option<&str>, step: &Step) -> Result<()> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut command = Command::new("cmake");
        command
            .arg("--build")
            .arg(self.build())
            .arg(format!("--parallel={jobs}"));
        if let Some(target) = target {
            command.args(["--target", target]);
        }
        // The flags of a make that we may have been started by are not for this one.
        command.env_remove("MAKEFLAGS").env_remove("MFLAGS");
        self.logged("build.log", &mut command, |line| {
            if let Some(percent) = cmake::percent(line) {
                step.set(percent);
            }
        })
    }

    fn logged(&self, log: &str, command: &mut Command, see: impl FnMut(&str)) -> Result<()> {
        let log = self.folder.join(log);
        let mut output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        cmake::logged(command, &mut output, &log, see)
            .with_context(|| format!("build a server from {}", self.source.display()))
    }
}

/// Compiles the engine for a server that has it built in, and makes one object of it.
pub fn object(mysql: &Mysql, plugin: PluginArgs, object: &Path) -> Result<()> {
    let target = plugin.profile();
    // From here on no other command changes the archive that the object is made of.
    let _lock = FolderLock::acquire(&target.join("mysql-plugins"))?;
    let mut cargo = super::cargo_build(mysql, plugin)?;
    cargo.args(["--lib", "--features", "smartengine-plugin/builtin"]);
    exec::run(&mut cargo).context("compile the engine")?;
    object::make(&target.join("libsmartengine_plugin.a"), object)
}

/// Refuses a build tree whose server would be without the engine.
fn ensure_has_engine(build: &Path) -> Result<()> {
    let table = build.join(TABLE);
    let text = fs::read_to_string(&table).with_context(|| format!("read {}", table.display()))?;
    ensure!(
        text.contains(object::DECLARATION),
        "{} names no {}: the server would be without the engine, as -DWITHOUT_SMARTENGINE=1 asks for",
        table.display(),
        object::DECLARATION
    );
    Ok(())
}

#[cfg(test)]
mod tests;
