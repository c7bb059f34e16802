//! What users install: the plugin for one server, the program `smartengine`, and what belongs to both.
//!
//! `contents` builds them and lays them out as they are installed; `deb` and `rpm` make packages of that, `dist` archives with a bill of materials, of which `linked` knows
//! the crates. Whatever is made carries the time of the commit that it was made of, and nothing of the machine that it was made on.

mod contents;
pub mod deb;
pub mod dist;
mod facts;
mod linked;
mod program;
pub mod rpm;

use std::path::Path;

use anyhow::Result;

use crate::host::paths;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, PluginArgs};
use crate::test::tally::Tally;

/// Puts the texts of all licences into `folder`, for what carries plugin or program otherwise.
pub fn licences(folder: &Path) -> Result<()> {
    contents::licences(folder, &linked::crates()?)
}

/// The part of `cargo xtask test`: all kinds of packages, of what is compiled once. How each went is told to `report`.
pub fn run_tests(mysql: &MysqlArgs, report: &mut dyn FnMut(&str, Result<Tally>)) {
    let build = || {
        let server = Mysql::locate(mysql)?;
        let folder = paths::fresh("release-test")?;
        let built = contents::build(&server, PluginArgs::default(), &folder)?;
        Ok((server, built))
    };
    let (server, built) = match build() {
        Ok(both) => both,
        Err(error) => return report("build for packages", Err(error)),
    };
    let portable = plugin::try_portable(&server);
    report("portable plugin", portable.map(|()| Tally::one_passed()));
    report("Debian package", deb::run_tests(&server, &built));
    report("rpm", rpm::run_tests(&server, &built));
    report("archives", dist::run_tests(&server, &built));
}
