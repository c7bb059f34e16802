//! `cargo xtask bench`: measurements. All of them compare on the same machine in the same run; an absolute number means
//! little elsewhere.

mod coldstart;
mod commit;
mod load;
mod sysbench;

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use clap::Subcommand;

use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::MysqlArgs;

#[derive(Subcommand)]
pub enum Bench {
    /// sysbench's OLTP workloads on SMARTENGINE and InnoDB in turn, in one server
    ///
    /// Both engines get the same memory (buffer pool for the one; block cache and memtables for the other) and sync
    /// each commit. The order of the engines alternates by round, and the median of the rounds counts.
    Sysbench(sysbench::SysbenchArgs),
    /// LOAD DATA and INSERT … SELECT of many rows on SMARTENGINE and InnoDB in turn, and one transaction of 20 million with `--times 20`
    Load(load::LoadArgs),
    /// From an empty disk to the first row: a few tables, ten thousand, and a database of some size
    Coldstart(coldstart::ColdStartArgs),
    /// Commits that are acknowledged by the store, through SQL: how long one takes, and how many there are a second with more clients
    Commit(commit::CommitArgs),
    /// The engine's own benchmarks, without a server
    Engine {
        /// Options of cargo bench, such as a name to filter by
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
}

pub fn run(bench: &Bench, mysql: &MysqlArgs) -> Result<()> {
    match bench {
        Bench::Sysbench(args) => sysbench::run(args, mysql),
        Bench::Coldstart(args) => coldstart::run(args, mysql),
        Bench::Commit(args) => commit::run(args, mysql),
        Bench::Load(args) => load::run(args, mysql),
        Bench::Engine { options } => exec::run(
            Command::new("cargo")
                .args(["bench", "--package", "smartengine"])
                .args(options)
                .current_dir(paths::workspace()),
        ),
    }
}
