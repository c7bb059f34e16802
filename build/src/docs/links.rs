//! Links lead somewhere, pages are in the summary, files that are named exist.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::{Book, PAGES};

/// The beginnings of our files' names.
const FOLDERS: [&str; 7] = [
    "engine/",
    "ffi/",
    "mysql-plugin/",
    "mysql-test/",
    "build/",
    ".github/",
    ".ci/",
];

pub fn check(book: &Book) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for page in &book.pages {
        for link in page.links() {
            if let Some(why) = broken(book, &page.path, &link.target) {
                breaches.push(format!(
                    "{}:{}: link {}: {why}",
                    page.path, link.line, link.target
                ));
            }
        }
        for (line, span) in page.code_spans() {
            if is_file_name(&span) && !book.root.join(&span).exists() {
                breaches.push(format!("{}:{line}: there is no {span}", page.path));
            }
        }
    }
    breaches.extend(not_in_summary(book)?);
    Ok(breaches)
}

/// Why a link leads nowhere.
fn broken(book: &Book, from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let to = match path {
        "" => from.to_owned(),
        path => match resolve(from, path) {
            Some(to) => to,
            None => return Some("it leads out of the checkout".to_owned()),
        },
    };
    let inside = |path: &str| path.starts_with(PAGES);
    if inside(from) && !inside(&to) {
        return Some("it leads out of the book, and would be broken on its pages".to_owned());
    }
    if !book.root.join(&to).exists() {
        return Some("there is no such file".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    let Some(page) = book.pages.iter().find(|page| page.path == to) else {
        return Some("only documents have anchors".to_owned());
    };
    (!page.anchors().iter().any(|found| found == anchor))
        .then(|| format!("{to} has no heading with the anchor {anchor}"))
}

/// Where a relative link leads, from the top of the checkout.
fn resolve(from: &str, path: &str) -> Option<String> {
    let mut to = PathBuf::from(from);
    to.pop();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !to.pop() {
                    return None;
                }
            }
            Component::Normal(part) => to.push(part),
            _ => return None,
        }
    }
    Some(to.to_string_lossy().into_owned())
}

fn is_file_name(span: &str) -> bool {
    FOLDERS.iter().any(|folder| span.starts_with(folder))
        && span
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'))
}

/// Pages that the summary does not list: mdBook leaves them out.
fn not_in_summary(book: &Book) -> Result<Vec<String>> {
    let summary = book.chapter("SUMMARY.md")?;
    let listed: Vec<String> = summary
        .links()
        .iter()
        .filter_map(|link| resolve(&summary.path, &link.target))
        .collect();
    Ok(book
        .pages
        .iter()
        .filter(|page| page.path.starts_with(PAGES) && page.path != summary.path)
        .filter(|page| !listed.contains(&page.path))
        .map(|page| format!("{} is not in SUMMARY.md", page.path))
        .collect())
}
