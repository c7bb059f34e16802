//! The files that the rules look at.

use std::fs;
use std::path::{Path, PathBuf};

/// One text file of the workspace.
pub struct Source {
    /// From the top of the workspace, with slashes.
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub fn is_cpp(&self) -> bool {
        self.path.ends_with(".cc") || self.path.ends_with(".h")
    }

    /// Lines with their numbers, from one.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }
}

/// Every Rust and C++ file and every manifest of our crates.
pub fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the engine lies in the workspace");
    let mut sources = Vec::new();
    for folder in ["engine", "ffi", "mysql-plugin", "build"] {
        collect(root, &root.join(folder), &mut sources);
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!sources.is_empty());
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    // A crate may be tested alone, from a package that has no siblings.
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    for path in paths {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(root, &path, sources);
            }
        } else if path
            .extension()
            .is_some_and(|extension| ["rs", "cc", "h", "toml"].iter().any(|e| extension == *e))
        {
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
            let path = path
                .strip_prefix(root)
                .expect("found below the root")
                .to_string_lossy()
                .into_owned();
            sources.push(Source { path, text });
        }
    }
}
