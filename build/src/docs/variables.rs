//! The book's tables of variables against the plugin's declarations of them, both ways.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};

use super::markdown::{Row, spans};
use super::{Book, scan};

const CHAPTER: &str = "configuration.md";
const PREFIX: &str = "smartengine_";

/// What is said of a variable, by the source or by the book.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    pub default: String,
    /// `least to most`, or the names that are allowed; empty where it has no range.
    pub range: String,
    /// `nothing`, `start`, `SET GLOBAL` or `SET SESSION`.
    pub changed_by: &'static str,
}

pub fn check(book: &Book) -> Result<Vec<String>> {
    let declared = declared(&book.plugin_source("sysvars.cc")?)?;
    let chapter = book.chapter(CHAPTER)?;
    let mut breaches = Vec::new();
    let mut told = Vec::new();
    for row in chapter.rows().iter().filter(|row| row.columns.len() == 5) {
        let place = format!("{}:{}", chapter.path, row.line);
        let name = spans(&row.cells[0]).pop().unwrap_or_default();
        match declared.get(&name) {
            None => breaches.push(format!("{place}: there is no variable {name}")),
            Some(variable) => breaches.extend(
                differences(variable, row)
                    .into_iter()
                    .map(|difference| format!("{place}: {name}: {difference}")),
            ),
        }
        told.push(name);
    }
    for name in declared.keys() {
        match told.iter().filter(|other| *other == name).count() {
            1 => {}
            0 => breaches.push(format!("{}: it says nothing of {name}", chapter.path)),
            _ => breaches.push(format!("{}: it speaks of {name} twice", chapter.path)),
        }
    }
    for page in &book.pages {
        for (line, span) in page.code_spans() {
            if is_variable(&span) && !declared.contains_key(&span) {
                breaches.push(format!("{}:{line}: there is no variable {span}", page.path));
            }
        }
    }
    Ok(breaches)
}

/// Whether a code span is the name of a variable, and not the beginning of several.
fn is_variable(span: &str) -> bool {
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    span.strip_prefix(PREFIX)
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(name))
        && !span.ends_with('_')
}

/// What the book says otherwise than the source.
pub fn differences(declared: &Variable, row: &Row) -> Vec<String> {
    let [_, default, range, changed_by, _] = &row.cells[..] else {
        return vec!["a row has five cells".to_owned()];
    };
    let mut found = Vec::new();
    if plain(default) != plain(&declared.default) {
        found.push(format!(
            "the default is {}, not {default}",
            declared.default
        ));
    }
    // Of texts only the source's own check knows what is allowed.
    let is_text = declared.range.is_empty() && !matches!(&*declared.default, "ON" | "OFF");
    if !is_text && plain(range) != plain(&declared.range) {
        found.push(format!("the range is {:?}, not {range:?}", declared.range));
    }
    if changed_by != declared.changed_by {
        found.push(format!(
            "it is changed by {}, not {changed_by}",
            declared.changed_by
        ));
    }
    found
}

/// A text with its sizes as plain numbers: `64K to 1G`.
pub fn plain(text: &str) -> String {
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| {
            let Some(at) = word.find(|c: char| !c.is_ascii_digit()) else {
                return word.to_owned();
            };
            let power = match &word[at..] {
                "K" => 1,
                "M" => 2,
                "G" => 3,
                "T" => 4,
                "P" => 5,
                _ => return word.to_owned(),
            };
            match word[..at].parse::<u128>() {
                Ok(number) => (number << (10 * power)).to_string(),
                Err(_) => word.to_owned(),
            }
        })
        .collect();
    words.join(" ")
}

/// The variables that the plugin declares, by their full names.
pub fn declared(source: &str) -> Result<BTreeMap<String, Variable>> {
    let constants = constants(source);
    let mut found = BTreeMap::new();
    for (macro_name, is_session) in [("MYSQL_SYSVAR_", false), ("MYSQL_THDVAR_", true)] {
        for kind in ["STR", "BOOL", "ENUM", "UINT", "ULONG", "ULONGLONG"] {
            for arguments in scan::calls(source, &format!("{macro_name}{kind}(")) {
                let name = arguments.first().context("a variable without a name")?;
                let variable = variable(source, &constants, kind, is_session, &arguments)
                    .with_context(|| format!("the declaration of {PREFIX}{name}"))?;
                found.insert(format!("{PREFIX}{name}"), variable);
            }
        }
    }
    if found.is_empty() {
        bail!("the source declares no variables");
    }
    Ok(found)
}

fn variable(
    source: &str,
    constants: &HashMap<String, u128>,
    kind: &str,
    is_session: bool,
    arguments: &[String],
) -> Result<Variable> {
    let flags = arguments
        .iter()
        .position(|argument| argument.contains("PLUGIN_VAR_"))
        .context("it has no flags")?;
    // flags, comment, check, update, default, then least and most, or the list of names.
    let after = |at: usize| {
        arguments
            .get(flags + at)
            .map(String::as_str)
            .context("an argument is missing")
    };
    let number = |at| after(at).and_then(|text| evaluate(text, constants));
    let (default, range) = match kind {
        "STR" => match scan::literals(after(4)?).first().map(String::as_str) {
            None if after(4)? != "nullptr" => ("built in".to_owned(), String::new()),
            None | Some("") => ("empty".to_owned(), String::new()),
            Some(text) => (text.to_owned(), String::new()),
        },
        "BOOL" if after(4)? == "true" => ("ON".to_owned(), String::new()),
        "BOOL" => ("OFF".to_owned(), String::new()),
        "ENUM" => {
            let names = names(source, after(5)?)?;
            let default = names
                .get(number(4)? as usize)
                .context("its default has no name")?;
            (default.clone(), names.join(", "))
        }
        _ => (
            number(4)?.to_string(),
            format!("{} to {}", number(5)?, number(6)?),
        ),
    };
    let changed_by = match (is_session, arguments[flags].contains("PLUGIN_VAR_READONLY")) {
        (_, true) if arguments[flags].contains("PLUGIN_VAR_NOCMDOPT") => "nothing",
        (_, true) => "start",
        (true, _) => "SET SESSION",
        (false, _) => "SET GLOBAL",
    };
    Ok(Variable {
        default,
        range,
        changed_by,
    })
}

/// The names of a list of choices, `&list`.
fn names(source: &str, list: &str) -> Result<Vec<String>> {
    let list = list.trim_start_matches('&');
    let after = |text: &str| {
        let at = source
            .find(text)
            .with_context(|| format!("there is no {text}"))?;
        let rest = &source[at + text.len()..];
        let end = rest
            .find("};")
            .with_context(|| format!("{text} does not end"))?;
        anyhow::Ok(&rest[..end])
    };
    let array = after(&format!("TYPELIB {list} = {{"))?
        .split(',')
        .map(str::trim)
        .filter(|part| !part.starts_with('"'))
        .nth(1)
        .context("a list without its names")?;
    Ok(scan::literals(after(&format!("{array}[] = {{"))?))
}

/// Numbers that have a name.
fn constants(source: &str) -> HashMap<String, u128> {
    let mut found = HashMap::new();
    for line in source.lines().filter(|line| line.starts_with("constexpr ")) {
        let Some((left, right)) = line.trim_end_matches(';').split_once('=') else {
            continue;
        };
        let name = left.split_whitespace().last().unwrap_or_default();
        if let Ok(value) = evaluate(right, &found) {
            found.insert(name.to_owned(), value);
        }
    }
    found
}

/// The value of a product of numbers and named numbers.
fn evaluate(expression: &str, constants: &HashMap<String, u128>) -> Result<u128> {
    expression.split('*').try_fold(1, |product, factor| {
        let factor = factor.trim().replace('\'', "");
        let value = match constants.get(&factor) {
            Some(value) => *value,
            None => factor.parse().with_context(|| {
                format!("{factor} is neither a number nor a constant of its file")
            })?,
        };
        Ok(product * value)
    })
}
