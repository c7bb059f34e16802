//! The folders that servers load the plugin from, one for each build of it.
//!
//! Several commands work in one checkout at once: a demo kills and starts its server while another command builds changed sources. Each
//! server has to find what its command built, at any moment. So a library never changes once it has its name: what is linked from other
//! code, or for another server, goes to a folder of its own, `mysql-plugins/<build>/`, where it appears whole by a rename. A command holds
//! its folder until it ends, and the next build removes the folders that nobody holds.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::host::in_use::{self, Hold};

/// The plugin's file, as servers are told to load it.
pub const LIBRARY: &str = "ha_smartengine.so";
/// What debuggers look for beside it.
pub const SYMBOLS: &str = "ha_smartengine.so.debug";

/// The folder of one build. Whoever works with it has the lock on the folder above.
pub struct BuildFolder {
    path: PathBuf,
}

impl BuildFolder {
    /// The folder in `parent` for what is linked of this archive for this server, if one is known, in the way that `how` names.
    pub fn of(parent: &Path, archive: &Path, mysqld: Option<&Path>, how: &str) -> Result<Self> {
        let mut hasher = DefaultHasher::new();
        how.hash(&mut hasher);
        for input in [Some(archive), mysqld].into_iter().flatten() {
            let data = fs::metadata(input).with_context(|| format!("read {}", input.display()))?;
            // Cargo makes a new file for other code, and gives the old one again when it goes back to it.
            (data.ino(), data.len(), data.mtime(), data.mtime_nsec()).hash(&mut hasher);
        }
        let path = parent.join(format!("{:016x}", hasher.finish()));
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes hold of it for as long as this process works with it.
    pub fn hold(&self) -> Result<Hold> {
        Hold::on(&self.path)
    }

    /// The library in it. It is there whole or not at all.
    pub fn library(&self) -> PathBuf {
        self.path.join(LIBRARY)
    }

    /// Its symbols file. It is there before the library is, and is never that of another one.
    pub fn symbols(&self) -> PathBuf {
        self.path.join(SYMBOLS)
    }

    /// Where a library is linked before it is known to be good.
    pub fn unchecked(&self) -> PathBuf {
        self.path.join(format!("{LIBRARY}.unchecked"))
    }

    /// Gives the library that was linked its name.
    pub fn accept(&self) -> Result<()> {
        let library = self.library();
        fs::rename(self.unchecked(), &library)
            .with_context(|| format!("write {}", library.display()))
    }

    /// Links what is in `stock`, the server's own plugins, beside the library. Links that are right stay, as a server may be using them.
    pub fn link_stock(&self, stock: &Path) -> Result<()> {
        for entry in fs::read_dir(stock).with_context(|| format!("read {}", stock.display()))? {
            let target = entry?.path();
            let link = self
                .path
                .join(target.file_name().context("a library has a name")?);
            if fs::read_link(&link).is_ok_and(|there| there == target) {
                continue;
            }
            replace(&link, |new| symlink(&target, new))?;
        }
        Ok(())
    }

    /// Makes the library and its symbols file in `to`, where people look for them, the same files as those in here.
    pub fn publish(&self, to: &Path) -> Result<()> {
        // Whoever finds the new library between the two finds its symbols; the old library's checksum tells it that they are not its own.
        for file in [self.symbols(), self.library()] {
            let name = file.file_name().context("a file of ours has a name")?;
            publish_file(&file, &to.join(name))?;
        }
        Ok(())
    }

    /// Removes the folders of other builds that nobody holds.
    pub fn remove_others(&self) -> Result<()> {
        let Some(parent) = self.path.parent() else {
            return Ok(());
        };
        for entry in fs::read_dir(parent).with_context(|| format!("read {}", parent.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.path() != self.path {
                in_use::remove_unless_held(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Makes `to` the same file as `file`.
fn publish_file(file: &Path, to: &Path) -> Result<()> {
    let inode = |path: &Path| fs::metadata(path).map(|data| data.ino()).ok();
    if inode(file) == inode(to) {
        return Ok(());
    }
    replace(to, |new| {
        // Some file systems have no hard links.
        fs::hard_link(file, new).or_else(|_| fs::copy(file, new).map(drop))
    })
}

/// Puts what `make` makes in the place of `path` at once: whoever looks finds the old one or the new one.
fn replace(path: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    if new.symlink_metadata().is_ok() {
        fs::remove_file(&new).with_context(|| format!("remove {}", new.display()))?;
    }
    make(&new).with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests;
