//! Reading sources as far as the checks need: files of a folder, calls of functions with their arguments, string literals.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The files with one of these extensions in a folder and those below it, in order.
pub fn files(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(dir, extensions, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(dir: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, extensions, found)?;
        } else if path
            .extension()
            .and_then(OsStr::to_str)
            .is_some_and(|extension| extensions.contains(&extension))
        {
            found.push(path);
        }
    }
    Ok(())
}

pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// The arguments of each call of `function` (its name with the opening parenthesis), split at the commas between them.
pub fn calls(source: &str, function: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(function) {
        rest = &rest[at + function.len()..];
        found.push(arguments(rest));
    }
    found
}

/// What stands up to the parenthesis that closes, split at its commas.
fn arguments(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                push(&mut parts, c);
                while let Some(c) = chars.next() {
                    push(&mut parts, c);
                    match c {
                        '\\' => chars.next().into_iter().for_each(|c| push(&mut parts, c)),
                        '"' => break,
                        _ => {}
                    }
                }
                continue;
            }
            ')' if depth == 0 => break,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            _ => {}
        }
        push(&mut parts, c);
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

fn push(parts: &mut [String], c: char) {
    if let Some(part) = parts.last_mut() {
        part.push(c);
    }
}

/// The string literals of C++ or Rust, those that only white space parts made one, and a line that goes on made one line.
pub fn literals(source: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    // Whether only white space came since the last literal.
    let mut adjacent = false;
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                let text = literal(&mut chars);
                match found.last_mut() {
                    Some(last) if adjacent => last.push_str(&text),
                    _ => found.push(text),
                }
                adjacent = true;
            }
            // A character, or a Rust lifetime, in which case nothing is lost.
            '\'' => {
                if chars.peek() == Some(&'\\') {
                    chars.next();
                    chars.next();
                } else if chars.peek() == Some(&'"') {
                    chars.next();
                }
                adjacent = false;
            }
            '/' if chars.peek() == Some(&'/') => {
                for c in chars.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
            }
            c if c.is_whitespace() => {}
            _ => adjacent = false,
        }
    }
    found
}

/// The rest of a literal whose quote was read.
fn literal(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('\n') => {
                    while chars.peek().is_some_and(|c| c.is_whitespace()) {
                        chars.next();
                    }
                }
                Some('n') => text.push('\n'),
                Some(c) => text.push(c),
                None => {}
            },
            c => text.push(c),
        }
    }
    text
}
