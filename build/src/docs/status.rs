//! The book's tables of status variables and of the tables in information_schema, against the plugin's declarations.

use std::collections::BTreeSet;

use anyhow::Result;

use super::markdown::spans;
use super::{Book, scan};

const CHAPTER: &str = "monitoring.md";
const PREFIX: &str = "Smartengine_";
const TABLES: &str = "SMARTENGINE_";

pub fn check(book: &Book) -> Result<Vec<String>> {
    let mut breaches = variables(book)?;
    breaches.extend(tables(book)?);
    Ok(breaches)
}

fn variables(book: &Book) -> Result<Vec<String>> {
    let source = book.plugin_source("status_vars.cc")?;
    let declared: BTreeSet<String> = scan::calls(&source, "entry(\"")
        .iter()
        .filter_map(|arguments| arguments.first()?.split('"').next())
        .map(|name| format!("{PREFIX}{name}"))
        .collect();
    let chapter = book.chapter(CHAPTER)?;
    let told: BTreeSet<String> = chapter
        .rows()
        .iter()
        .filter_map(|row| spans(&row.cells[0]).into_iter().next())
        .filter(|span| span.starts_with(PREFIX))
        .collect();
    let mut breaches = compare(&chapter.path, "status variable", &declared, &told);
    let complete = |span: &String| {
        span.strip_prefix(PREFIX).is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
    };
    for page in &book.pages {
        for (line, span) in page.code_spans() {
            if complete(&span) && !declared.contains(&span) {
                breaches.push(format!(
                    "{}:{line}: there is no status variable {span}",
                    page.path
                ));
            }
        }
    }
    Ok(breaches)
}

fn tables(book: &Book) -> Result<Vec<String>> {
    let mut declared = BTreeSet::new();
    let mut lists: Vec<Vec<String>> = Vec::new();
    for file in book.plugin_sources()? {
        let source = scan::read(&file)?;
        declared.extend(
            scan::calls(&source, "INFORMATION_SCHEMA_TABLE(\"")
                .iter()
                .filter_map(|arguments| arguments.first()?.split('"').next())
                .filter(|name| name.starts_with(TABLES))
                .map(str::to_owned),
        );
        lists.extend(columns(&source));
    }
    let chapter = book.chapter(CHAPTER)?;
    let told: BTreeSet<String> = chapter
        .headings()
        .filter(|heading| heading.starts_with(TABLES))
        .collect();
    let mut breaches = compare(
        &chapter.path,
        "table of information_schema",
        &declared,
        &told,
    );
    let rows = chapter.rows();
    for table in told.intersection(&declared) {
        let of_table: Vec<String> = rows
            .iter()
            .filter(|row| row.section == *table)
            .filter_map(|row| spans(&row.cells[0]).into_iter().next())
            .collect();
        if !lists.contains(&of_table) {
            breaches.push(format!(
                "{}: the columns of {table} are not those of any table in the source: {}",
                chapter.path,
                of_table.join(", ")
            ));
        }
    }
    Ok(breaches)
}

/// The columns of each table that a source describes.
fn columns(source: &str) -> Vec<Vec<String>> {
    let mut lists = Vec::new();
    for part in source.split("ST_FIELD_INFO ").skip(1) {
        let Some(end) = part.find("};") else { continue };
        if part[..end].contains("[] = {") {
            lists.push(scan::literals(&part[..end]));
        }
    }
    lists
}

fn compare(
    place: &str,
    what: &str,
    declared: &BTreeSet<String>,
    told: &BTreeSet<String>,
) -> Vec<String> {
    let missing = declared
        .difference(told)
        .map(|name| format!("{place}: it says nothing of the {what} {name}"));
    let gone = told
        .difference(declared)
        .map(|name| format!("{place}: there is no {what} {name}"));
    missing.chain(gone).collect()
}
