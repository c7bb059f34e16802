//! No circles among the engine's files: what a file uses does not use that file in turn, whichever way round.
//!
//! A file uses another if a `use` names something of it, also where a folder's root hands the name on. A folder's root and what stands directly under it belong together:
//! they may use each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// A file as others name it: `engine/src/db/log.rs` is `db::log`, and so would `engine/src/db/log/mod.rs` be.
fn module_of(path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix("engine/src/")?.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    let names: Vec<String> = inside.split('/').map(str::to_owned).collect();
    let for_tests = ["tests", "test_support"];
    (names != ["lib"] && !names.iter().any(|name| for_tests.contains(&name.as_str())))
        .then_some(names)
}

/// The paths of a `use`, its groups taken apart; a name that it gives is left out.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        return vec![
            path.split("::")
                .map(|name| name.trim().to_owned())
                .collect(),
        ];
    };
    let before: Vec<String> = tree[..open]
        .split("::")
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let inside = tree[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[start..]);
    parts
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .flat_map(expand)
        .map(|path| before.iter().cloned().chain(path).collect())
        .collect()
}

/// What a file uses, as paths from the crate's root, and which names it hands on, each with where it has it from.
struct Uses {
    used: Vec<Vec<String>>,
    handed_on: BTreeMap<String, Vec<String>>,
}

fn uses_of(text: &str, module: &[String], is_root: bool) -> Uses {
    let product = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    let mut uses = Uses {
        used: Vec::new(),
        handed_on: BTreeMap::new(),
    };
    let here = module;
    let above = &module[..module.len() - 1];
    for (at, _) in product.match_indices("use ") {
        let line = product[..at].rsplit('\n').next().unwrap_or_default();
        let public = line.trim_start().starts_with("pub");
        if !(line.is_empty() || (public && line.trim_end().len() == line.len() - 1)) {
            continue;
        }
        let Some(tree) = product[at + 4..].split(';').next() else {
            continue;
        };
        for path in expand(tree) {
            let full: Vec<String> = match path.first().map(String::as_str) {
                Some("crate") => path[1..].to_vec(),
                Some("self") => [here, &path[1..]].concat(),
                Some("super") => [above, &path[1..]].concat(),
                _ if is_root => [here, &path[..]].concat(),
                _ => continue,
            };
            if public && let Some(name) = path.last() {
                uses.handed_on.insert(name.clone(), full);
            } else {
                uses.used.push(full);
            }
        }
    }
    uses
}

pub fn among(sources: &[Source]) -> Vec<String> {
    let mut files: BTreeMap<Vec<String>, Uses> = BTreeMap::new();
    for source in sources {
        if let Some(module) = module_of(&source.path) {
            let is_root = source.path.ends_with("/mod.rs");
            let uses = uses_of(&source.text, &module, is_root);
            files.insert(module, uses);
        }
    }
    let mut arrows: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for (module, uses) in &files {
        for path in &uses.used {
            if let Some(target) = resolve(&files, path)
                && target != module.as_slice()
                && !belong_together(module, target)
            {
                arrows.entry(module).or_default().insert(target);
            }
        }
    }
    circles(&arrows)
}

/// Whether one is the root of the folder that the other stands in.
fn belong_together(one: &[String], other: &[String]) -> bool {
    one.starts_with(other) && one.len() == other.len() + 1
        || other.starts_with(one) && other.len() == one.len() + 1
}

/// The file that has what a path names.
fn resolve<'a>(files: &'a BTreeMap<Vec<String>, Uses>, path: &[String]) -> Option<&'a [String]> {
    let (module, uses) = (1..=path.len())
        .rev()
        .find_map(|len| files.get_key_value(&path[..len]))?;
    let handed_on = path
        .get(module.len())
        .and_then(|name| uses.handed_on.get(name));
    match handed_on {
        Some(from) if from.as_slice() != path => resolve(files, from).or(Some(module)),
        _ => Some(module),
    }
}

/// Takes away, again and again, what uses nothing that is left; what remains is in a circle or above one.
fn circles(arrows: &BTreeMap<&[String], BTreeSet<&[String]>>) -> Vec<String> {
    let mut left = arrows.clone();
    loop {
        let ends: Vec<&[String]> = left
            .iter()
            .filter(|(_, targets)| !targets.iter().any(|target| left.contains_key(target)))
            .map(|(module, _)| *module)
            .collect();
        if ends.is_empty() {
            break;
        }
        for end in ends {
            left.remove(end);
        }
    }
    // And what nobody that is left uses.
    loop {
        let used: BTreeSet<&[String]> = left.values().flatten().copied().collect();
        let before = left.len();
        left.retain(|module, _| used.contains(module));
        if left.len() == before {
            break;
        }
    }
    left.iter()
        .map(|(module, targets)| {
            let targets: Vec<String> = targets
                .iter()
                .filter(|target| left.contains_key(*target))
                .map(|target| target.join("::"))
                .collect();
            format!("{} uses {}", module.join("::"), targets.join(", "))
        })
        .collect()
}

#[test]
fn a_circle_is_found_through_a_root_that_hands_names_on() {
    let file = |path: &str, text: &str| Source {
        path: format!("engine/src/{path}"),
        text: text.to_owned(),
    };
    let straight = [
        file("db/mod.rs", "mod log;\npub use log::Log;\n"),
        file("db/log.rs", "use crate::wal::{self, Wal as W};\n"),
        file("wal.rs", "use crate::Result;\n"),
    ];
    assert_eq!(among(&straight), [] as [&str; 0]);
    let round = [
        file("db/mod.rs", "mod log;\npub use log::{Log, Other};\n"),
        file("db/log.rs", "use crate::wal::{self, Wal as W};\n"),
        file("wal.rs", "use crate::Result;\nuse crate::db::Log;\n"),
    ];
    assert_eq!(among(&round), ["db::log uses wal", "wal uses db::log"]);
}
