//! The files of a package, laid out in a folder as they are installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::packages::tools::Tools;
use crate::plugin::{self, Plugin, PluginArgs, portable};

use super::facts::NAME;

/// An example of a configuration, which nothing reads where it is installed.
const EXAMPLE: &str = include_str!("../../release/smartengine.cnf");

/// Where a family of systems has its files, from the root on.
pub struct Layout {
    pub plugins: &'static str,
    pub zsh: &'static str,
}

/// What was compiled.
pub struct Built {
    pub plugin: Plugin,
    /// The program, without debug information.
    pub program: PathBuf,
    /// Manual pages and completions.
    pages: PathBuf,
}

/// Compiles plugin and program; what is made of them goes to `folder`.
pub fn build(mysql: &Mysql, args: PluginArgs, folder: &Path) -> Result<Built> {
    let plugin = plugin::build(mysql, args)?;
    let target = paths::target().join("release");
    compile(mysql, &["build", "--example", "pages"], &[])?;
    let linked = match args.portable {
        true => portable::program_options(&folder.join("program"))?,
        false => Vec::new(),
    };
    compile(mysql, &["rustc", "--bin", "smartengine"], &linked)?;
    if args.portable {
        portable::check_program(&target.join("smartengine"))?;
    }
    let (program, pages) = (folder.join("smartengine"), folder.join("pages"));
    exec::run(
        Command::new("objcopy")
            .arg("--strip-all")
            .arg(target.join("smartengine"))
            .arg(&program),
    )
    .context("take the symbols out of the program smartengine")?;
    exec::run(Command::new(target.join("examples/pages")).arg(&pages))
        .context("make manual pages and completions")?;
    Ok(Built {
        plugin,
        program,
        pages,
    })
}

/// Runs cargo on the program's crate, with options for the linker.
fn compile(mysql: &Mysql, arguments: &[&str], linked: &[String]) -> Result<()> {
    let mut cargo = plugin::cargo(mysql, &Tools::locate()?);
    let (command, what) = arguments.split_at(1);
    cargo
        .args(command)
        .args(["--release", "--package", "smartengine-cli"])
        .args(what);
    if !linked.is_empty() {
        cargo.arg("--");
        cargo.args(linked.iter().map(|option| format!("-Clink-arg={option}")));
    }
    exec::run(&mut cargo).context("compile the program smartengine")
}

impl Built {
    /// Lays it out in `root`.
    pub fn lay_out(&self, root: &Path, layout: &Layout) -> Result<()> {
        copy(
            &self.plugin.library,
            &root.join(layout.plugins).join("ha_smartengine.so"),
            0o644,
        )?;
        copy(&self.program, &root.join("usr/bin/smartengine"), 0o755)?;
        for page in fs::read_dir(&self.pages)? {
            let page = page?;
            let name = page.file_name().to_string_lossy().into_owned();
            let to = match name.rsplit_once('.') {
                Some((_, "1")) => format!("usr/share/man/man1/{name}"),
                Some((_, "bash")) => "usr/share/bash-completion/completions/smartengine".to_owned(),
                Some((_, "fish")) => format!("usr/share/fish/vendor_completions.d/{name}"),
                _ => format!("{}/{name}", layout.zsh),
            };
            copy(&page.path(), &root.join(&to), 0o644)?;
            if to.ends_with(".1") {
                compress(&root.join(&to))?;
            }
        }
        let example = root.join(format!("usr/share/doc/{NAME}/examples/smartengine.cnf"));
        write(&example, EXAMPLE)
    }
}

/// Puts the texts of the licences into `folder`.
pub fn licences(folder: &Path) -> Result<()> {
    for name in ["LICENSE", "LICENSE-APACHE-2.0", "LICENSE-GPL-2.0"] {
        copy(&paths::workspace().join(name), &folder.join(name), 0o644)?;
    }
    Ok(())
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
