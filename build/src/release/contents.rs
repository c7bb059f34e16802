//! The files of a package, laid out in a folder as they are installed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::plugin::{self, Plugin, PluginArgs};

use super::facts::NAME;
use super::linked::{self, Crates};
use super::program::Program;

/// An example of a configuration, which nothing reads where it is installed.
const EXAMPLE: &str = include_str!("../../release/smartengine.cnf");

/// Where a family of systems has its files, from the root on.
pub struct Layout {
    /// What stands before `bin` and `share`.
    pub prefix: &'static str,
    pub plugins: &'static str,
    pub zsh: &'static str,
}

/// What was compiled.
pub struct Built {
    pub plugin: Plugin,
    pub program: Program,
}

/// Compiles plugin and program; what is made of them goes to `folder`.
pub fn build(mysql: &Mysql, args: PluginArgs, folder: &Path) -> Result<Built> {
    Ok(Built {
        plugin: plugin::build(mysql, args)?,
        program: Program::build(mysql, args, folder)?,
    })
}

impl Built {
    /// Lays it out in `root`.
    pub fn lay_out(&self, root: &Path, layout: &Layout) -> Result<()> {
        copy(
            &self.plugin.library,
            &root.join(layout.plugins).join("ha_smartengine.so"),
            0o644,
        )?;
        let prefix = layout.prefix;
        let share = format!("{prefix}share");
        copy(
            &self.program.file,
            &root.join(format!("{prefix}bin/smartengine")),
            0o755,
        )?;
        for page in fs::read_dir(&self.program.pages)? {
            let page = page?;
            let name = page.file_name().to_string_lossy().into_owned();
            let to = match name.rsplit_once('.') {
                Some((_, "1")) => format!("{share}/man/man1/{name}"),
                Some((_, "bash")) => format!("{share}/bash-completion/completions/smartengine"),
                Some((_, "fish")) => format!("{share}/fish/vendor_completions.d/{name}"),
                _ => format!("{}/{name}", layout.zsh),
            };
            copy(&page.path(), &root.join(&to), 0o644)?;
            if to.ends_with(".1") {
                compress(&root.join(&to))?;
            }
        }
        let example = root.join(format!("{share}/doc/{NAME}/examples/smartengine.cnf"));
        write(&example, EXAMPLE)
    }
}

/// Puts the texts of the licences into `folder`, ours and those of others' crates.
pub fn licences(folder: &Path, crates: &Crates) -> Result<()> {
    for name in ["LICENSE", "LICENSE-APACHE-2.0", "LICENSE-GPL-2.0"] {
        copy(&paths::workspace().join(name), &folder.join(name), 0o644)?;
    }
    write(
        &folder.join("THIRD-PARTY-LICENSES"),
        &linked::licences(crates)?,
    )
}

/// Copies a file, with the folders above it. Its mode does not depend on who builds.
pub fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    make_folder_of(to)?;
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    set_mode(to, mode)
}

/// Writes a text that everybody may read, with the folders above it.
pub fn write(to: &Path, text: &str) -> Result<()> {
    make_folder_of(to)?;
    fs::write(to, text).with_context(|| format!("write {}", to.display()))?;
    set_mode(to, 0o644)
}

/// Puts the file `a.gz` in the place of `a`, without name and time in it.
pub fn compress(file: &Path) -> Result<()> {
    exec::run(Command::new("gzip").arg("-9n").arg(file))
}

/// The files below `root`, as paths from there.
pub fn files_below(root: &Path) -> Result<BTreeSet<String>> {
    let text = exec::output(
        Command::new("find")
            .args([".", "-type", "f", "-printf", "%P\\n"])
            .current_dir(root),
    )?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn make_folder_of(file: &Path) -> Result<()> {
    let folder = file.parent().context("a file has a folder")?;
    let mut missing: Vec<&Path> = folder.ancestors().take_while(|dir| !dir.exists()).collect();
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    while let Some(folder) = missing.pop() {
        set_mode(folder, 0o755)?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}
