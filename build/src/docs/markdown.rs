//! As much of Markdown as the book uses: headings with their anchors, links, code spans, tables, code blocks.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::scan;

/// One document.
pub struct Page {
    /// From the top of the checkout.
    pub path: String,
    /// Its lines outside of code blocks, those of included files with them, each with its number in the document.
    lines: Vec<(usize, String)>,
    /// Its lines as they are.
    pub text: String,
}

/// A link, or an image, and the line where it stands.
pub struct Link {
    pub line: usize,
    pub target: String,
}

/// A row of a table: its cells, the headings of its table, and the heading it stands under.
pub struct Row {
    pub line: usize,
    pub section: String,
    pub columns: Vec<String>,
    pub cells: Vec<String>,
}

impl Page {
    pub fn read(root: &Path, file: &Path) -> Result<Self> {
        let path = file
            .strip_prefix(root)
            .with_context(|| format!("{} is outside of the checkout", file.display()))?
            .to_string_lossy()
            .into_owned();
        let text = scan::read(file)?;
        let mut lines = Vec::new();
        let mut in_code = false;
        for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
            if let Some(included) = include(line) {
                let from = file.parent().unwrap_or(root).join(included.path);
                let added = scan::read(&from).with_context(|| format!("{path}:{number}"))?;
                let added = added.lines().skip(included.first.saturating_sub(1));
                outside_of_code(added.map(|line| (number, line)), &mut in_code, &mut lines);
            } else {
                outside_of_code(std::iter::once((number, line)), &mut in_code, &mut lines);
            }
        }
        if in_code {
            bail!("{path}: a code block does not end");
        }
        Ok(Self { path, lines, text })
    }

    /// What `#…` may follow a link to this page.
    pub fn anchors(&self) -> Vec<String> {
        let mut used: HashMap<String, usize> = HashMap::new();
        self.headings()
            .map(|heading| {
                let anchor = anchor(&heading);
                let times = used.entry(anchor.clone()).or_default();
                *times += 1;
                match *times {
                    1 => anchor,
                    times => format!("{anchor}-{}", times - 1),
                }
            })
            .collect()
    }

    pub fn headings(&self) -> impl Iterator<Item = String> {
        self.lines.iter().filter_map(|(_, line)| heading(line))
    }

    pub fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for (number, line) in &self.lines {
            let line = without_code(line);
            let mut rest = line.as_str();
            while let Some(at) = rest.find("](") {
                rest = &rest[at + 2..];
                let Some(end) = rest.find(')') else { break };
                links.push(Link {
                    line: *number,
                    target: rest[..end].to_owned(),
                });
                rest = &rest[end..];
            }
        }
        links
    }

    /// The contents of code spans, with their lines.
    pub fn code_spans(&self) -> Vec<(usize, String)> {
        self.lines
            .iter()
            .flat_map(|(number, line)| spans(line).into_iter().map(|span| (*number, span)))
            .collect()
    }

    /// The rows of all tables.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut section = String::new();
        let mut columns: Option<Vec<String>> = None;
        for (number, line) in &self.lines {
            if let Some(found) = heading(line) {
                section = found;
            }
            let Some(cells) = cells(line) else {
                columns = None;
                continue;
            };
            match &columns {
                None => columns = Some(cells),
                Some(_) if cells.iter().all(|cell| cell.chars().all(|c| c == '-')) => {}
                Some(columns) => rows.push(Row {
                    line: *number,
                    section: section.clone(),
                    columns: columns.clone(),
                    cells,
                }),
            }
        }
        rows
    }
}

struct Include<'a> {
    path: &'a str,
    first: usize,
}

/// What mdBook's `{{#include path:first:}}` names.
fn include(line: &str) -> Option<Include<'_>> {
    let inside = line
        .trim()
        .strip_prefix("{{#include ")?
        .strip_suffix("}}")?;
    let mut parts = inside.split(':');
    let path = parts.next()?;
    let first = parts.next().and_then(|first| first.parse().ok());
    Some(Include {
        path,
        first: first.unwrap_or(1),
    })
}

fn outside_of_code<'a>(
    lines: impl Iterator<Item = (usize, &'a str)>,
    in_code: &mut bool,
    found: &mut Vec<(usize, String)>,
) {
    for (number, line) in lines {
        if line.trim_start().starts_with("```") {
            *in_code = !*in_code;
        } else if !*in_code {
            found.push((number, line.to_owned()));
        }
    }
}

fn heading(line: &str) -> Option<String> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    ((1..=6).contains(&level) && text.starts_with(' ')).then(|| text.trim().to_owned())
}

/// The anchor that mdBook and GitHub give a heading.
pub fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|c| match c {
            c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_ascii_lowercase()),
            c if c.is_whitespace() => Some('-'),
            _ => None,
        })
        .collect()
}

/// The cells of a table's line.
fn cells(line: &str) -> Option<Vec<String>> {
    let inside = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(
        inside
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect(),
    )
}

/// The code spans of a line.
pub fn spans(line: &str) -> Vec<String> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}
