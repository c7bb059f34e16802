//! What users of the engine's crate see, held against `public_names.txt`: a new public name is a promise, so somebody has to decide it.
//!
//! Read from the sources: what `lib.rs` and its public modules re-export or define, and of each type its public functions, constants, fields and
//! variants. What is hidden from the documentation is no promise and does not count.

use std::collections::BTreeSet;

use crate::source::Source;

/// The names, each with the path by which users reach it.
pub fn names(sources: &[Source]) -> BTreeSet<String> {
    let engine = sources
        .iter()
        .filter_map(|source| Some((source.path.strip_prefix("engine/src/")?, &*source.text)))
        .filter(|(path, _)| path.ends_with(".rs") && !path.contains("tests"));
    let surface = Surface {
        files: engine.map(|(path, text)| File::of(path, text)).collect(),
    };
    let mut found = BTreeSet::new();
    surface.add("lib.rs", "", &mut found);
    found
}

struct Surface<'a> {
    files: Vec<File<'a>>,
}

struct File<'a> {
    /// Below `src`.
    path: &'a str,
    text: &'a str,
    items: Vec<Shown>,
}

impl<'a> File<'a> {
    fn of(path: &'a str, text: &'a str) -> Self {
        Self {
            path,
            text,
            items: shown(text, 0),
        }
    }

    /// The layer, or the file at the top.
    fn home(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or("")
    }
}

impl Surface<'_> {
    /// What one file offers, under `prefix`.
    fn add(&self, path: &str, prefix: &str, found: &mut BTreeSet<String>) {
        let file = self.file(path).unwrap_or_else(|| panic!("no {path}"));
        for Shown { item, .. } in &file.items {
            if let Some(name) = item.strip_prefix("pub mod ") {
                let name = name.trim_end_matches(';');
                self.add(&format!("{name}/mod.rs"), &format!("{name}::"), found);
            } else if let Some(path) = item.strip_prefix("pub use ") {
                let (from, names) = path
                    .trim_end_matches(';')
                    .rsplit_once("::")
                    .expect("a path");
                for name in names.trim_matches(['{', '}']).split(',').map(str::trim) {
                    let module = format!("{from}/{name}/mod.rs");
                    let home = match file.home() {
                        "lib" => from.split("::").next().unwrap_or(from),
                        home => home,
                    };
                    if self.file(&module).is_some() {
                        self.add(&module, &format!("{name}::"), found);
                    } else if !name.is_empty() {
                        self.add_item(home, name, prefix, found);
                    }
                }
            } else if let Some(name) = defined(item) {
                self.add_item(file.home(), name, prefix, found);
            }
        }
    }

    fn file(&self, path: &str) -> Option<&File<'_>> {
        self.files.iter().find(|file| file.path == path)
    }

    /// A name, and if it is a type what it has; of several of that name, the one in the layer `home`.
    fn add_item(&self, home: &str, name: &str, prefix: &str, found: &mut BTreeSet<String>) {
        found.insert(format!("{prefix}{name}"));
        let mut places: Vec<(&str, &Shown)> = Vec::new();
        for file in &self.files {
            let types = file.items.iter().filter(|item| item.is_type);
            let named = types.filter(|item| defined(&item.item) == Some(name));
            places.extend(named.map(|item| (file.home(), item)));
        }
        if places.len() > 1 {
            places.retain(|(place, _)| *place == home);
        }
        let [(home, definition)] = places[..] else {
            assert!(places.is_empty(), "{name} is defined in several places");
            return;
        };
        let mut members = definition.members.clone();
        for file in self.files.iter().filter(|file| file.home() == home) {
            members.extend(functions_of(file.text, name));
        }
        let members = members.into_iter();
        found.extend(members.map(|member| format!("{prefix}{name}::{member}")));
    }
}

/// An item that is not hidden, as one line, and what stands in its body.
struct Shown {
    item: String,
    is_type: bool,
    members: Vec<String>,
}

/// The public items at one depth of indentation.
fn shown(text: &str, depth: usize) -> Vec<Shown> {
    let mut items = Vec::new();
    let mut hidden = false;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let code = line.trim();
        if code.is_empty() || indent != depth {
            continue;
        }
        if code.starts_with("#[") || code.starts_with("//") {
            hidden |= code.contains("doc(hidden)") || code == "#[cfg(test)]";
            continue;
        }
        let was_hidden = std::mem::take(&mut hidden);
        if was_hidden || !code.starts_with("pub ") {
            continue;
        }
        let mut item = code.to_owned();
        if code.starts_with("pub use ") {
            while !item.ends_with(';') {
                item.push_str(lines.next().unwrap_or(";").trim());
            }
        }
        let is_type = ["pub struct ", "pub enum ", "pub trait "]
            .iter()
            .any(|kind| code.starts_with(kind));
        let mut members = Vec::new();
        if is_type && code.ends_with('{') {
            let mut body = String::new();
            for line in lines.by_ref().take_while(|line| *line != "}") {
                body.push_str(line);
                body.push('\n');
            }
            members = members_of(&body, code);
        }
        items.push(Shown {
            item,
            is_type,
            members,
        });
    }
    items
}

/// The fields, variants or functions in the body of a type.
fn members_of(body: &str, head: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut hidden = false;
    for line in body
        .lines()
        .filter(|line| line.starts_with("    ") && !line.starts_with("     "))
    {
        let code = line.trim();
        if code.starts_with("#[") || code.starts_with("//") {
            hidden |= code.contains("doc(hidden)");
            continue;
        }
        let was_hidden = std::mem::take(&mut hidden);
        let named = match head.split(' ').nth(1) {
            Some("struct") => code.strip_prefix("pub "),
            Some("trait") => code.strip_prefix("fn "),
            _ => Some(code).filter(|code| code.starts_with(char::is_uppercase)),
        };
        members.extend(named.filter(|_| !was_hidden).map(first_word));
    }
    members
}

/// The public functions and constants in the `impl` blocks of a type.
fn functions_of(text: &str, name: &str) -> Vec<String> {
    let mut functions = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let is_impl = line.starts_with("impl") && line.ends_with('{') && !line.contains(" for ");
        let of = line
            .trim_start_matches("impl")
            .trim_start_matches(|c| c != ' ')
            .trim();
        if !is_impl || first_word(of) != name {
            continue;
        }
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
        for Shown { item, .. } in shown(&body.join("\n"), 4) {
            functions.extend(defined(&item).map(str::to_owned));
        }
    }
    functions
}

/// The name that a public item defines.
fn defined(item: &str) -> Option<&str> {
    let mut words = item
        .strip_prefix("pub ")?
        .split(|c: char| !c.is_alphanumeric() && c != '_');
    let kinds = ["struct", "enum", "trait", "fn", "const", "type"];
    let mut last = None;
    for word in words.by_ref() {
        if !kinds.contains(&word) {
            return last.map(|_| word);
        }
        last = Some(word);
    }
    None
}

fn first_word(code: &str) -> String {
    code.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}
