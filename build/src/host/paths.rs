//! Where things are: the checkout, its `target/`, and the cache folder that all checkouts on a machine share.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::host::in_use;

/// The top of the checkout this `xtask` was built from.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("build/ lies in the workspace")
        .to_path_buf()
}

/// Cargo's target folder, honouring `CARGO_TARGET_DIR`.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// A folder in [`target`], empty, and this process's own until it ends: a second command that wants it waits.
pub fn fresh(name: &str) -> Result<PathBuf> {
    let dir = target().join(name);
    in_use::occupy(&dir)?;
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

/// The folder for what is downloaded once per machine.
///
/// `SMARTENGINE_CACHE_DIR` names it outright; otherwise it is `smartengine` under `XDG_CACHE_HOME` or `~/.cache`.
pub fn cache() -> Result<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let dir = if let Some(dir) = var("SMARTENGINE_CACHE_DIR") {
        PathBuf::from(dir)
    } else if let Some(dir) = var("XDG_CACHE_HOME") {
        Path::new(&dir).join("smartengine")
    } else if let Some(home) = var("HOME") {
        Path::new(&home).join(".cache/smartengine")
    } else {
        bail!(
            "no place for downloads: set SMARTENGINE_CACHE_DIR (neither XDG_CACHE_HOME nor HOME is set)"
        );
    };
    // Programs unpacked here are given absolute paths to their libraries, so a relative folder would break them.
    std::path::absolute(&dir).with_context(|| format!("resolve {}", dir.display()))
}

/// An exclusive hold on a folder of the cache, released on drop.
pub struct FolderLock(#[expect(dead_code, reason = "held for its lock")] File);

impl FolderLock {
    /// Waits for other `cargo xtask` processes that work on `dir`.
    pub fn acquire(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let path = dir.join(".lock");
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        if file.try_lock().is_err() {
            eprintln!(
                "waiting for another cargo xtask that is filling {}",
                dir.display()
            );
            file.lock()
                .with_context(|| format!("lock {}", path.display()))?;
        }
        Ok(Self(file))
    }
}

/// The GNU triplet that Debian uses in library paths, for the machine `xtask` runs on.
pub fn multiarch() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("x86_64-linux-gnu"),
        "aarch64" => Ok("aarch64-linux-gnu"),
        other => bail!("Debian carries no MySQL for {other}: use x86-64 or arm64"),
    }
}
