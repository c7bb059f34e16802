//! The source tree that a server with the engine built in is configured from.
//!
//! MySQL's build takes each folder of `storage/` that has a `CMakeLists.txt` as an engine, and knows no other place for one. The user's tree is not to
//! be changed, so this one stands before it: a link to each thing in it, but a folder of its own for `storage/`, which holds links to the user's
//! engines and one to ours.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The folder that holds the engines, and the name of ours in it.
const ENGINES: &str = "storage";
const ENGINE: &str = "smartengine";

/// Whether a source tree has what a server is built from, and not headers alone.
pub fn is_whole(source: &Path) -> bool {
    ["CMakeLists.txt", "storage/innobase/CMakeLists.txt"]
        .iter()
        .all(|file| source.join(file).is_file())
}

/// Refuses a source tree that is not whole.
pub fn ensure_whole(source: &Path) -> Result<()> {
    ensure!(
        is_whole(source),
        "--mysql-source {}: no server can be built from it, as there is no CMakeLists.txt or no storage/innobase in it: name what a source \
         tarball of MySQL was unpacked to, or a checkout",
        source.display()
    );
    Ok(())
}

/// Makes the links in `overlay` those of `source`, with `engine` as the folder of ours. Tells whether they were of another tree, so that
/// nothing that was built from them is of use.
pub fn make(source: &Path, engine: &Path, overlay: &Path) -> Result<bool> {
    let engines = source.join(ENGINES);
    ensure!(
        !engines.join(ENGINE).exists(),
        "--mysql-source {}: it has a folder {ENGINES}/{ENGINE}, which is where this engine goes: move it away",
        source.display()
    );
    let mut top = entries(source)?;
    // What a checkout knows of itself is no source, and programs that look at it write there.
    top.retain(|name, _| !name.as_encoded_bytes().starts_with(b"."));
    top.remove(OsStr::new(ENGINES));
    let mut below = entries(&engines)?;
    below.insert(ENGINE.into(), engine.to_path_buf());
    let was_other = overlay.is_dir() && was_of_another(overlay, &top)?;
    links(overlay, &top)?;
    links(&overlay.join(ENGINES), &below)?;
    Ok(was_other)
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<BTreeMap<OsString, PathBuf>> {
    fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| (entry.file_name(), entry.path())))
                .collect()
        })
        .with_context(|| format!("read {}", folder.display()))
}

/// Whether a link there is leads elsewhere than it will.
fn was_of_another(overlay: &Path, wanted: &BTreeMap<OsString, PathBuf>) -> Result<bool> {
    Ok(entries(overlay)?.iter().any(|(name, link)| {
        let leads_to = fs::read_link(link).ok();
        leads_to.is_some_and(|to| wanted.get(name).is_some_and(|wanted| *wanted != to))
    }))
}

/// Makes the links in a folder those that are wanted, and leaves alone what is right.
fn links(folder: &Path, wanted: &BTreeMap<OsString, PathBuf>) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    for (name, link) in entries(folder)? {
        let Ok(to) = fs::read_link(&link) else {
            continue;
        };
        if wanted.get(&name) != Some(&to) {
            fs::remove_file(&link).with_context(|| format!("remove {}", link.display()))?;
        }
    }
    for (name, to) in wanted {
        let link = folder.join(name);
        if link.symlink_metadata().is_err() {
            symlink(to, &link).with_context(|| format!("write {}", link.display()))?;
        }
    }
    Ok(())
}
