//! mdBook: one version, compiled on first use into the cache folder.

use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths::{self, FolderLock};

const VERSION: &str = "0.5.4";

/// mdBook, as a command that arguments are added to.
pub fn command() -> Result<Command> {
    let folder = paths::cache()?.join("mdbook").join(VERSION);
    let program = folder.join("bin/mdbook");
    if !program.exists() {
        let _lock = FolderLock::acquire(&folder)?;
        if !program.exists() {
            eprintln!(
                "compiling mdBook {VERSION} into {}, once; it takes some minutes",
                folder.display()
            );
            // Cargo shows its own progress. The program is put in place when it is whole.
            let mut install = Command::new(env!("CARGO"));
            install.args(["install", "mdbook", "--version", VERSION, "--locked"]);
            install.args(["--no-default-features", "--features", "search"]);
            install.arg("--root").arg(&folder).current_dir(&folder);
            install.env("CARGO_TARGET_DIR", folder.join("build"));
            exec::run(&mut install).context("compile mdBook")?;
            // If the folder stays, it only takes up space.
            let _ = std::fs::remove_dir_all(folder.join("build"));
        }
    }
    Ok(Command::new(program))
}
