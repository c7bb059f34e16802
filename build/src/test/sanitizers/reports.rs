//! The folder that sanitizers write what they find to, one file for each process.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub struct Reports {
    folder: PathBuf,
}

impl Reports {
    /// The folder, emptied of what an earlier run left.
    pub fn new(folder: &Path) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Prints what was found, and tells in how many processes.
    pub fn show(&self) -> Result<usize> {
        let mut found = 0;
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            println!("{}:\n{}", path.display(), String::from_utf8_lossy(&text));
            found += 1;
        }
        Ok(found)
    }
}
