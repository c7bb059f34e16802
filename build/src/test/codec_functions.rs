//! Builds what our MySQL tests load beside the plugin: checks of its codecs, as functions that the server loads.
//!
//! Each file of `mysql-plugin/tests/` becomes one library of its name, in the plugin's folder. The sources of the codecs are
//! compiled into it, as the plugin hides its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::host::paths::{self, FolderLock};
use crate::packages::mysql::Mysql;
use crate::plugin::Plugin;
use crate::test::codec_library;

/// Builds what is not newer than its sources.
pub fn build(mysql: &Mysql, plugin: &Plugin) -> Result<()> {
    let _lock = FolderLock::acquire(&plugin.folder)?;
    let sources = paths::workspace().join("mysql-plugin");
    let mut inputs = Vec::new();
    for room in ["", "base", "catalog", "codec", "tests"] {
        inputs.extend(files(&sources.join(room), &["cc", "h"])?);
    }
    let checks = files(&sources.join("tests"), &["cc"])?;
    let changed = inputs.iter().filter_map(|path| modified(path)).max();
    for check in checks {
        let name = check.file_stem().context("a file has a name")?;
        let library = plugin.folder.join(name).with_extension("so");
        if changed.is_some() && modified(&library) > changed {
            continue;
        }
        // Under another name until it is whole.
        let unfinished = library.with_extension("so.unfinished");
        codec_library::compile(mysql, &["-O1"], &[&check], &unfinished)?;
        fs::rename(&unfinished, &library)
            .with_context(|| format!("write {}", library.display()))?;
    }
    Ok(())
}

fn files(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or("");
        if extensions.contains(&extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}
