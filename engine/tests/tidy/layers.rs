//! Dependencies between the engine's layers point down only, as `engine/src/lib.rs` draws them.

use crate::source::Source;

/// The layers from the lowest to the highest; those of one row do not know each other.
const LAYERS: [&[&str]; 11] = [
    &["error"],
    &["types"],
    &["format", "env"],
    &["object_store"],
    &["cache", "iter"],
    &["wal", "memtable", "sst", "manifest"],
    &["remote_wal", "output"],
    &[
        "txn",
        "flush",
        "compaction",
        "gc",
        "options",
        "format_versions",
    ],
    &["db"],
    &["inspect", "fuzz"],
    &["internals"],
];

/// The layer a file of the engine is part of; `None` for the crate's root.
fn layer_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("engine/src/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    (name != "lib").then_some(name)
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&layer))
}

pub fn point_down(source: &Source) -> Vec<String> {
    let Some(from) = layer_of(&source.path) else {
        return Vec::new();
    };
    let Some(from_rank) = rank(from) else {
        return vec![format!("{from} has no place among the layers")];
    };
    let mut breaches = Vec::new();
    for (number, line) in source.lines() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for to in line.split("crate::").skip(1).flat_map(names) {
            // What begins in upper case is re-exported by the root, from any layer; only errors are meant for all.
            let allowed = match rank(to) {
                None => to.starts_with(char::is_uppercase) || to == "tests",
                Some(to_rank) => to == from || to_rank < from_rank,
            };
            if !allowed {
                breaches.push(format!("{number}: {from} may not depend on {to}"));
            }
        }
    }
    breaches
}

/// The first names of what follows `crate::`, one or a group in braces.
fn names(path: &str) -> Vec<&str> {
    let parts: Vec<&str> = match path.strip_prefix('{') {
        Some(group) => group
            .split('}')
            .next()
            .unwrap_or(group)
            .split(',')
            .collect(),
        None => vec![path],
    };
    parts
        .into_iter()
        .filter_map(|part| {
            let mut names = part
                .trim()
                .split(|c: char| !c.is_alphanumeric() && c != '_');
            names.next()
        })
        .filter(|name| !name.is_empty())
        .collect()
}
