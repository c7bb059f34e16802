//! The chapter about messages against the lines that plugin and engine write to the log, both ways, and against the plugin's own errors.
//!
//! A line is written from literals with names and causes in between. Each of its literals has to be in the chapter, where `…`
//! stands for what is in between; and each piece that the chapter shows between two `…` has to be in a literal of the sources.

use std::path::Path;

use anyhow::Result;

use super::markdown::spans;
use super::{Book, scan};

const CHAPTER: &str = "messages.md";
/// Shorter pieces, such as a colon, tell nothing.
const SHORTEST: usize = 6;
/// What stands for whatever a line names.
const GAP: char = '…';

/// How plugin and engine write to the log.
const PLUGIN: &[&str] = &[
    "log::error(",
    "log::warning(",
    "log::information(",
    "log::system(",
];
const ENGINE: &[&str] = &["tracing::error!(", "tracing::warn!(", "tracing::info!("];

pub fn check(book: &Book) -> Result<Vec<String>> {
    let chapter = book.chapter(CHAPTER)?;
    let mut breaches = Vec::new();
    let mut written = Vec::new();
    let mut engine = scan::files(&book.root.join("engine/src"), &["rs"])?;
    engine.extend(scan::files(&book.root.join("ffi/src"), &["rs"])?);
    for (files, functions) in [(book.plugin_sources()?, PLUGIN), (engine, ENGINE)] {
        for file in files {
            let source = scan::read(&file)?;
            written.extend(
                scan::literals(&source)
                    .into_iter()
                    .map(|literal| with_gaps(&literal)),
            );
            for piece in pieces_of_lines(&source, functions) {
                if !chapter.text.contains(&piece) {
                    breaches.push(format!(
                        "{}: it does not explain the line {piece:?} of {}",
                        chapter.path,
                        relative(&book.root, &file)
                    ));
                }
            }
        }
    }
    for number in own_errors(&book.plugin_source("error_numbers.h")?) {
        if !chapter.text.contains(&format!("Got error {number} ")) {
            breaches.push(format!(
                "{}: it does not explain error {number}",
                chapter.path
            ));
        }
    }
    for row in chapter.rows() {
        let is_line = row.columns[0] == "log line" || row.columns[0].starts_with("text after");
        if !is_line {
            continue;
        }
        for piece in spans(&row.cells[0]).iter().flat_map(|span| pieces(span)) {
            if !written.iter().any(|literal| literal.contains(&piece)) {
                breaches.push(format!(
                    "{}:{}: nothing writes {piece:?} any more",
                    chapter.path, row.line
                ));
            }
        }
    }
    Ok(breaches)
}

/// The pieces of all lines that a source writes by these functions.
pub fn pieces_of_lines(source: &str, functions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for function in functions {
        for arguments in scan::calls(source, function) {
            for literal in arguments
                .iter()
                .flat_map(|argument| scan::literals(argument))
            {
                found.extend(pieces(&with_gaps(&literal)));
            }
        }
    }
    found
}

/// The numbers of the plugin's own errors that clients are shown: all but the first, which says that another error was raised.
pub fn own_errors(source: &str) -> Vec<u32> {
    source
        .lines()
        .filter(|line| line.trim_start().starts_with("kError"))
        .filter_map(|line| line.trim_end_matches(',').split(" = ").nth(1)?.parse().ok())
        .skip(1)
        .collect()
}

/// A literal with a gap for each `{…}` of Rust's formats.
fn with_gaps(literal: &str) -> String {
    let mut text = String::new();
    let mut depth = 0;
    for c in literal.chars() {
        match c {
            '{' => {
                depth += 1;
                text.push(GAP);
            }
            '}' => depth -= 1,
            c if depth <= 0 => text.push(c),
            _ => {}
        }
    }
    text
}

fn pieces(text: &str) -> Vec<String> {
    text.split(GAP)
        .map(|piece| piece.trim_matches([' ', ':', ',', '.']).to_owned())
        .filter(|piece| piece.chars().count() >= SHORTEST)
        .collect()
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root)
        .unwrap_or(file)
        .display()
        .to_string()
}
