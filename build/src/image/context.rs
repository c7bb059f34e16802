//! What an image is built from: the files of `build/docker`, and the plugin or the sources that it is compiled from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::release;

/// The files of `build/docker` that belong to the image.
const FILES: [&str; 6] = [
    "Dockerfile",
    "entrypoint.sh",
    "healthcheck.sh",
    "install.sh",
    "my.cnf",
    "plugin.sh",
];

/// The folder with the licences of the plugin and of what is part of it.
const LICENCES: &str = "licences";

/// Where the plugin comes from.
pub enum Source {
    /// A library that was built on this machine.
    Built(PathBuf),
    /// This checkout, and the headers of that server.
    Checkout(Mysql),
}

/// Fills `target/image/context`.
pub fn gather(source: &Source) -> Result<PathBuf> {
    let folder = paths::fresh("image/context")?;
    let from = paths::workspace().join("build/docker");
    for name in FILES {
        let to = folder.join(name);
        fs::copy(from.join(name), &to).with_context(|| format!("copy {name} of build/docker"))?;
        // The image's files are alike whatever the umask of who built it.
        set_mode(&to, if name.ends_with(".sh") { 0o755 } else { 0o644 })?;
    }
    release::licences(&folder.join(LICENCES))?;
    match source {
        Source::Built(library) => {
            let to = folder.join("plugin");
            fs::create_dir(&to)?;
            let to = to.join("ha_smartengine.so");
            fs::copy(library, &to).with_context(|| format!("copy {}", library.display()))?;
            set_mode(&to, 0o644)?;
        }
        Source::Checkout(mysql) => {
            copy_checkout(&folder.join("smartengine"))?;
            copy_tree(&mysql.source, &folder.join("mysql"))?;
            copy_tree(
                &mysql.build.join("include"),
                &folder.join("mysql-build/include"),
            )?;
            // It tells headers of a server with debug assertions.
            let cache = mysql.build.join("CMakeCache.txt");
            if cache.is_file() {
                fs::copy(&cache, folder.join("mysql-build/CMakeCache.txt"))
                    .with_context(|| format!("copy {}", cache.display()))?;
            }
        }
    }
    Ok(folder)
}

fn set_mode(file: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", file.display()))
}

/// The files that git knows, as they are now.
fn copy_checkout(to: &Path) -> Result<()> {
    let mut list = exec::spawn(
        Command::new("git")
            .args(["ls-files", "-z"])
            .current_dir(paths::workspace())
            .stdout(Stdio::piped()),
    )?;
    let mut tar = exec::spawn(
        Command::new("tar")
            .args(["--null", "--ignore-failed-read", "-c", "-T", "-"])
            .current_dir(paths::workspace())
            .stdin(list.stdout.take().context("git's output is piped")?)
            .stdout(Stdio::piped()),
    )?;
    unpack(&mut tar, to)?;
    if !list.wait()?.success() {
        bail!("git does not list the files of this checkout");
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let mut tar = exec::spawn(
        Command::new("tar")
            .arg("-C")
            .arg(from)
            .args(["-c", "."])
            .stdout(Stdio::piped()),
    )?;
    unpack(&mut tar, to)
}

fn unpack(tar: &mut std::process::Child, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    let unpacked = Command::new("tar")
        .arg("-C")
        .arg(to)
        .args(["-x"])
        .stdin(tar.stdout.take().context("tar's output is piped")?)
        .status()?;
    if !tar.wait()?.success() || !unpacked.success() {
        bail!("{} could not be filled", to.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_has_every_file_that_the_dockerfile_copies() {
        let folder = paths::workspace().join("build/docker");
        let text = fs::read_to_string(folder.join("Dockerfile")).unwrap();
        let copied: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("COPY "))
            .filter(|line| !line.starts_with("--from") && !line.starts_with(". "))
            .filter_map(|line| line.split(' ').next())
            // Made, not a file of ours.
            .filter(|name| *name != LICENCES)
            .collect();
        assert!(copied.len() >= 4, "{copied:?}");
        for name in copied {
            assert!(FILES.contains(&name), "{name}");
            assert!(folder.join(name).is_file(), "{name}");
        }
    }
}
