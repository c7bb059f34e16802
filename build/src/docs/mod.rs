//! `cargo xtask docs`: the book, built by mdBook, and what can be checked of it without mdBook.
//!
//! The checks read the book's Markdown and the sources that it speaks of, take a moment and need nothing but the
//! checkout, so `cargo xtask lint` runs them too:
//!
//! - `links`: every link leads somewhere, every page is in the summary, every file that is named exists;
//! - `variables`: the tables of variables are what the plugin declares, with default, range and how each is changed;
//! - `status`: the tables of status variables and of information_schema's tables are what the plugin declares;
//! - `messages`: every line that plugin and engine write to the error log, and every error of the plugin's own, is in the
//!   chapter about them;
//! - `picture`: the picture of the architecture is the one that its text describes.

mod links;
mod markdown;
mod mdbook;
mod messages;
mod picture;
mod scan;
mod status;
#[cfg(test)]
mod tests;
mod variables;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::host::{exec, paths};

use markdown::Page;

#[derive(clap::Args)]
pub struct DocsArgs {
    /// Only check: build no pages and draw nothing
    #[arg(long)]
    check: bool,
}

/// Where the book's pages are, from the top of the checkout.
const PAGES: &str = "mysql-plugin/docs/src";
const PICTURE: &str = "mysql-plugin/docs/src/images/architecture";

pub fn run(args: &DocsArgs) -> Result<()> {
    if !args.check {
        draw()?;
    }
    check()?;
    if args.check {
        return Ok(());
    }
    let book = paths::target().join("book");
    let mut build = mdbook::command()?;
    build
        .arg("build")
        .arg(paths::workspace().join("mysql-plugin/docs"));
    exec::run(build.arg("--dest-dir").arg(&book))?;
    println!("the book is in {}", book.join("index.html").display());
    Ok(())
}

/// Runs every check and prints what each found.
pub fn check() -> Result<()> {
    let book = Book::read(&paths::workspace())?;
    let mut breaches = links::check(&book)?;
    breaches.extend(variables::check(&book)?);
    breaches.extend(status::check(&book)?);
    breaches.extend(messages::check(&book)?);
    breaches.extend(check_picture(&book.root)?);
    for page in &book.pages {
        breaches.extend(marks_of_a_merge(&page.path, &page.text));
    }
    for breach in &breaches {
        println!("docs: {breach}");
    }
    if !breaches.is_empty() {
        bail!(
            "the documents do not agree with the sources in {} places",
            breaches.len()
        );
    }
    Ok(())
}

/// All that is checked, and the checkout that it is about.
struct Book {
    root: PathBuf,
    /// The book's pages first, then the papers outside of it.
    pages: Vec<Page>,
}

impl Book {
    fn read(root: &Path) -> Result<Self> {
        let mut files = scan::files(&root.join(PAGES), &["md"])?;
        files.extend(
            [
                "README.md",
                ".github/CONTRIBUTING.md",
                ".github/SECURITY.md",
            ]
            .map(|file| root.join(file)),
        );
        files.extend(scan::files(&root.join("engine/docs"), &["md"])?);
        let pages = files
            .iter()
            .map(|file| Page::read(root, file))
            .collect::<Result<_>>()?;
        Ok(Self {
            root: root.to_path_buf(),
            pages,
        })
    }

    /// The chapter of this file name.
    fn chapter(&self, name: &str) -> Result<&Page> {
        let path = format!("{PAGES}/{name}");
        self.pages
            .iter()
            .find(|page| page.path == path)
            .with_context(|| format!("the book has no chapter {path}"))
    }

    /// The sources of the plugin, its tests left out.
    fn plugin_sources(&self) -> Result<Vec<PathBuf>> {
        let mut files = scan::files(&self.root.join("mysql-plugin"), &["cc", "h"])?;
        files.retain(|file| !file.starts_with(self.root.join("mysql-plugin/tests")));
        Ok(files)
    }

    /// The text of the one source of the plugin that has this name, wherever it lies.
    fn plugin_source(&self, name: &str) -> Result<String> {
        let files = self.plugin_sources()?;
        let file = files
            .iter()
            .find(|file| file.file_name().is_some_and(|found| found == name))
            .with_context(|| format!("mysql-plugin has no file {name}"))?;
        scan::read(file)
    }
}

/// What a merge leaves where two sides differ.
fn marks_of_a_merge(path: &str, text: &str) -> Vec<String> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| {
            line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") || *line == "======="
        })
        .map(|(number, line)| format!("{path}:{}: {line}, which a merge has left", number + 1))
        .collect()
}

fn draw() -> Result<()> {
    let root = paths::workspace();
    let text = scan::read(&root.join(PICTURE).with_extension("txt"))?;
    let path = root.join(PICTURE).with_extension("svg");
    fs::write(&path, picture::draw(&text)?).with_context(|| format!("write {}", path.display()))
}

fn check_picture(root: &Path) -> Result<Vec<String>> {
    let text = scan::read(&root.join(PICTURE).with_extension("txt"))?;
    let there = scan::read(&root.join(PICTURE).with_extension("svg"))?;
    Ok(match picture::draw(&text)? == there {
        true => Vec::new(),
        false => vec![format!(
            "{PICTURE}.svg is not what its .txt describes; cargo xtask docs draws it"
        )],
    })
}
