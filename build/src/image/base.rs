//! A Debian base image made of Debian's packages, for machines that reach no registry.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::docker::Docker;
use crate::host::exec;
use crate::host::paths;
use crate::host::progress::Step;
use crate::packages::bootstrap;

/// What the official slim images leave out as well, and what apt keeps for its next run.
const LEAVE: [&str; 7] = [
    "./usr/share/man/*",
    "./usr/share/info/*",
    "./usr/share/locale/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
    "./dev/*",
];

/// Makes the image `name`: `debootstrap` into a folder, which then is imported and removed.
pub fn make(docker: &Docker, name: &str) -> Result<()> {
    let root = paths::fresh("image/base")?;
    let step = Step::spinner(format!("make {name} by debootstrap"));
    bootstrap::sid(&root)?;
    // But not the licences.
    let documents = root.join("usr/share/doc");
    exec::run(Command::new("find").arg(&documents).args([
        "-type",
        "f",
        "!",
        "-name",
        "copyright",
        "-delete",
    ]))?;
    let mut tar = exec::spawn(
        Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-c")
            .args(LEAVE.map(|pattern| format!("--exclude={pattern}")))
            .arg(".")
            .stdout(Stdio::piped()),
    )?;
    let imported = docker
        .command()
        .args(["import", "-", name])
        .stdin(tar.stdout.take().context("tar's output is piped")?)
        .stdout(Stdio::null())
        .status()?;
    if !tar.wait()?.success() || !imported.success() {
        bail!("{} could not be imported as {name}", root.display());
    }
    fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    step.done();
    Ok(())
}
