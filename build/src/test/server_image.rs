//! Programs that run inside the image of the server without starting it: a library of ours is preloaded into `mysqld` and takes its `main`
//! over (`mysql-plugin/tests/image/start.cc`). So code that needs the server's collations and fields runs alone, in a second,
//! under any tool.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::packages::tools::Tools;
use crate::test::codec_library;

/// A program in a folder that it runs in.
pub struct ServerImage {
    folder: PathBuf,
}

/// How it is started, in its folder, before its own arguments. The loader takes the library, so that a tool around it does not load it too.
pub const COMMAND: [&str; 4] = ["./ld.so", "--preload", "./program.so", "./mysqld"];

impl ServerImage {
    /// Compiles `name`.cc of `mysql-plugin/tests/image/` into `folder`.
    pub fn build(mysql: &Mysql, name: &str, options: &[&str], folder: &Path) -> Result<Self> {
        let sources = paths::workspace().join("mysql-plugin/tests/image");
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        codec_library::compile(
            mysql,
            options,
            &[
                &sources.join("start.cc"),
                &sources.join(name).with_extension("cc"),
            ],
            &folder.join("program.so"),
        )?;
        let loader = exec::output(
            Tools::locate()?
                .patchelf()
                .arg("--print-interpreter")
                .arg(mysql.mysqld()),
        )?;
        let image = Self {
            folder: folder.to_path_buf(),
        };
        link(&folder.join("ld.so"), Path::new(loader.trim()))?;
        link(&folder.join("mysqld"), &mysql.mysqld())?;
        Ok(image)
    }

    /// Runs it to its end and returns what it printed.
    pub fn output(&self, arguments: &[&str]) -> Result<String> {
        self.output_with(&[], &[], arguments)
    }

    /// The same with libraries loaded before its own, and variables in its environment.
    pub fn output_with(
        &self,
        libraries: &[PathBuf],
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<String> {
        let [loader, option, library, server] = COMMAND;
        let mut preloaded = OsString::new();
        for before in libraries {
            preloaded.push(before);
            preloaded.push(" ");
        }
        preloaded.push(library);
        exec::output(
            Command::new(loader)
                .arg(option)
                .arg(preloaded)
                .arg(server)
                .args(arguments)
                .envs(environment.iter().copied())
                .current_dir(&self.folder),
        )
    }

    /// Makes another folder that it can run in: the same program there.
    pub fn link_into(&self, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        for name in ["ld.so", "program.so", "mysqld"] {
            let target = fs::canonicalize(self.folder.join(name))?;
            link(&folder.join(name), &target)?;
        }
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }
}

fn link(link: &Path, target: &Path) -> Result<()> {
    if link.symlink_metadata().is_ok() {
        fs::remove_file(link).with_context(|| format!("remove {}", link.display()))?;
    }
    std::os::unix::fs::symlink(target, link).with_context(|| format!("link {}", link.display()))
}
