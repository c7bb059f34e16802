//! Folders of `target/` that a command works in: another command of the same checkout neither empties nor removes them meanwhile.
//!
//! Both kinds of hold are locks on files, which the system lets go of when a process ends, however it ends.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

/// What this process has to itself. The same command may empty a folder again and again.
static OCCUPIED: Mutex<Option<HashMap<PathBuf, File>>> = Mutex::new(None);

/// Takes `dir` for this process alone until it ends; waits while another has it.
pub fn occupy(dir: &Path) -> Result<()> {
    let mut occupied = OCCUPIED.lock().unwrap_or_else(PoisonError::into_inner);
    let occupied = occupied.get_or_insert_default();
    if occupied.contains_key(dir) {
        return Ok(());
    }
    // Beside the folder, as what is in it comes and goes.
    let name = dir.file_name().context("a folder has a name")?;
    let path = dir.with_file_name(format!(".{}.in-use", name.to_string_lossy()));
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!(
            "waiting for another cargo xtask that works in {}",
            dir.display()
        );
        file.lock()
            .with_context(|| format!("lock {}", path.display()))?;
    }
    occupied.insert(dir.to_path_buf(), file);
    Ok(())
}

/// A hold on a folder that any number of processes share; until the last lets go, [`remove_unless_held`] leaves it.
#[derive(Clone, Debug)]
pub struct Hold(#[expect(dead_code, reason = "held for its lock")] Arc<File>);

impl Hold {
    /// Takes hold of `dir`, which exists. The caller sees to it that nobody removes it in the same moment.
    pub fn on(dir: &Path) -> Result<Self> {
        let file = hold_file(dir)?;
        file.lock_shared()
            .with_context(|| format!("take hold of {}", dir.display()))?;
        Ok(Self(Arc::new(file)))
    }
}

/// Removes `dir` unless someone has a [`Hold`] on it; tells whether it did.
pub fn remove_unless_held(dir: &Path) -> Result<bool> {
    let file = hold_file(dir)?;
    if file.try_lock().is_err() {
        return Ok(false);
    }
    fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
    Ok(true)
}

fn hold_file(dir: &Path) -> Result<File> {
    let path = dir.join(".in-use");
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_stays_until_the_last_hold_ends() {
        let dir = std::env::temp_dir().join(format!("xtask-hold-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let first = Hold::on(&dir).unwrap();
        let second = Hold::on(&dir).unwrap();
        drop(first);
        assert!(!remove_unless_held(&dir).unwrap());
        assert!(dir.exists());
        drop(second);
        assert!(remove_unless_held(&dir).unwrap());
        assert!(!dir.exists());
    }

    #[test]
    fn an_occupied_folder_is_locked_for_others_and_free_to_its_owner() {
        let parent = std::env::temp_dir().join(format!("xtask-occupy-{}", std::process::id()));
        let dir = parent.join("work");
        occupy(&dir).unwrap();
        occupy(&dir).unwrap();
        let other = File::create(parent.join(".work.in-use")).unwrap();
        assert!(other.try_lock().is_err());
        fs::remove_dir_all(&parent).unwrap();
    }
}
