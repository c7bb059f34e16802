//! valgrind: the host's, or Debian's, unpacked into the cache folder on first use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths::{self, FolderLock};
use crate::packages::apt::{self, Apt};
use crate::packages::tools::{is_complete, mark_complete};

/// The oldest Debian that is supported, as for the other tools: what is built there runs on every newer host.
const SUITE: &str = "bookworm";
const LAYOUT: &str = "1";

/// Where valgrind is.
pub struct Valgrind {
    program: PathBuf,
    /// The folder of its tools, if it is not where it was built for.
    tools: Option<PathBuf>,
}

impl Valgrind {
    /// Finds it, fetching it if the host has none.
    pub fn locate() -> Result<Self> {
        if exec::in_path("valgrind") {
            return Ok(Self {
                program: "valgrind".into(),
                tools: None,
            });
        }
        let folder = paths::cache()?.join("valgrind").join(SUITE);
        let root = folder.join("root");
        let complete = || is_complete(&folder, LAYOUT);
        if !complete() {
            let _lock = FolderLock::acquire(&folder)?;
            if !complete() {
                fetch(&folder, &root).context("fetch valgrind")?;
            }
        }
        Ok(Self {
            program: root.join("usr/bin/valgrind"),
            tools: Some(root.join("usr/libexec/valgrind")),
        })
    }

    /// What it calls itself: `valgrind-3.19.0`.
    pub fn version(&self) -> Result<String> {
        Ok(exec::output(self.plain().arg("--version"))?
            .trim()
            .to_string())
    }

    /// A command in the environment that this process has.
    pub fn plain(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.tools.as_ref().map(|tools| ("VALGRIND_LIB", tools)));
        command
    }

    /// A command that runs in `dir` with an environment of its own, which is the same on every machine: a program's stack begins with it.
    pub fn command(&self, dir: &Path) -> Result<Command> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = match self.tools {
            Some(_) => self.program.clone(),
            None => std::env::split_paths(&path)
                .map(|folder| folder.join(&self.program))
                .find(|program| program.is_file())
                .context("valgrind has left PATH")?,
        };
        let mut command = Command::new(program);
        command.current_dir(dir).env_clear();
        if let Some(tools) = &self.tools {
            // By a name that is as long everywhere.
            let link = dir.join("valgrind-tools");
            if link.symlink_metadata().is_err() {
                std::os::unix::fs::symlink(tools, &link)
                    .with_context(|| format!("link {}", link.display()))?;
            }
            command.env("VALGRIND_LIB", "./valgrind-tools");
        }
        Ok(command)
    }
}

fn fetch(folder: &Path, root: &Path) -> Result<()> {
    let apt = Apt::update(&folder.join("apt"), SUITE)?;
    let debs = folder.join("debs");
    // It links the host's C library alone.
    let files = apt.download(&debs, &["valgrind".to_string()], "valgrind")?;
    apt::unpack(&files, root, "valgrind")?;
    mark_complete(folder, LAYOUT)?;
    fs::remove_dir_all(&debs).with_context(|| format!("remove {}", debs.display()))
}
