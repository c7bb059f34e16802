//! The program `smartengine` for users, and its symbols.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::packages::mysql::Mysql;
use crate::plugin::{self, PluginArgs, portable, symbols};

use super::contents::copy;

/// A program that was built.
pub struct Program {
    /// Without debug information.
    pub file: PathBuf,
    /// `smartengine.debug`, where debuggers look for it.
    pub symbols: PathBuf,
    /// Manual pages and completions.
    pub pages: PathBuf,
}

impl Program {
    /// Compiles it; what is made of it goes to `folder`.
    pub fn build(mysql: &Mysql, args: PluginArgs, folder: &Path) -> Result<Self> {
        exec::run(plugin::cargo_build(mysql, args)?.args(["--bin", "smartengine"]))
            .context("compile the program smartengine")?;
        let compiled = args.profile().join("smartengine");
        if args.portable {
            portable::check_program(&compiled)?;
        }
        let program = Self {
            file: folder.join("smartengine"),
            symbols: folder.join("smartengine.debug"),
            pages: folder.join("pages"),
        };
        copy(&compiled, &program.file, 0o755)?;
        symbols::split(&program.file, &program.symbols)?;
        exec::run(Command::new(&compiled).arg("pages").arg(&program.pages))
            .context("make manual pages and completions")?;
        Ok(program)
    }
}
