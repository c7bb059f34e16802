//! The rules: each is a function of one file and returns what it breaks.

use crate::source::Source;

const LONGEST_FILE: usize = 700;
const LONGEST_LINE: usize = 180;
const LONGEST_INLINE_TESTS: usize = 120;
/// How far above an `unsafe` block its argument may begin.
const SAFETY_REACH: usize = 12;

pub fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= LONGEST_FILE {
        return Vec::new();
    }
    vec![format!(
        "{lines} lines; make it a folder with one noun per file (at most {LONGEST_FILE})"
    )]
}

pub fn unfinished(source: &Source) -> Vec<String> {
    const MARKS: [&str; 6] = ["TODO", "FIXME", "XXX", "HACK", "todo!(", "unimplemented!("];
    breaches(source, |line| {
        MARKS
            .iter()
            .find(|mark| line.contains(*mark))
            .map(|mark| format!("{mark} is left"))
    })
}

pub fn clean_lines(source: &Source) -> Vec<String> {
    breaches(source, |line| {
        if line.ends_with([' ', '\t', '\r']) {
            return Some("white space at the end".to_string());
        }
        if line.contains('\t') {
            return Some("a tab".to_string());
        }
        let columns = line.chars().count();
        (columns > LONGEST_LINE).then(|| format!("{columns} columns (at most {LONGEST_LINE})"))
    })
}

pub fn module_header(source: &Source) -> Vec<String> {
    let is_tests = source.path.ends_with("/tests.rs") || source.path.contains("/tests/");
    if is_tests || source.text.starts_with("//!") {
        return Vec::new();
    }
    vec!["begins without a `//!` that says what it is for".to_string()]
}

pub fn inline_tests(source: &Source) -> Vec<String> {
    let Some((at, _)) = source
        .lines()
        .find(|(_, line)| line.trim() == "mod tests {")
    else {
        return Vec::new();
    };
    let lines = source.text.lines().count() + 1 - at;
    if lines <= LONGEST_INLINE_TESTS {
        return Vec::new();
    }
    vec![format!(
        "{lines} lines of unit tests; move them to a sibling tests.rs"
    )]
}

pub fn safety(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    source
        .lines()
        .filter(|(_, line)| is_unsafe_block(line))
        .filter(|(number, _)| {
            let first = number.saturating_sub(SAFETY_REACH + 1);
            !lines[first..*number]
                .iter()
                .any(|line| line.contains("SAFETY"))
        })
        .map(|(number, _)| format!("{number}: unsafe without its `// SAFETY:`"))
        .collect()
}

fn is_unsafe_block(line: &str) -> bool {
    let code = line.trim_start();
    !code.starts_with("//") && (code.contains("unsafe {") || code.starts_with("unsafe impl"))
}

pub fn unsafe_header(source: &Source) -> Vec<String> {
    if !source.lines().any(|(_, line)| is_unsafe_block(line)) {
        return Vec::new();
    }
    let mut header = source
        .text
        .lines()
        .take_while(|line| line.starts_with("//!"));
    if header.any(|line| line.contains("unsafe") || line.contains("Unsafe")) {
        return Vec::new();
    }
    vec!["uses unsafe, and its `//!` does not say why it has to".to_string()]
}

pub fn ignored_tests(source: &Source) -> Vec<String> {
    breaches(source, |line| {
        line.trim_start()
            .starts_with("#[ignore")
            .then(|| "a test that never runs proves nothing".to_string())
    })
}

pub fn banners_and_paths(source: &Source) -> Vec<String> {
    const RULERS: [&str; 4] = ["=====", "-----", "*****", "/////"];
    const PATHS: [&str; 3] = ["/home/", "/root/", "/work/"];
    breaches(source, |line| {
        let code = line.trim_start();
        let comment = ["//", "/*", " *", "#"].iter().any(|c| code.starts_with(c));
        if comment && RULERS.iter().any(|ruler| code.contains(ruler)) {
            return Some("a banner".to_string());
        }
        let path = PATHS.iter().find(|path| line.contains(*path))?;
        Some(format!("{path} is the path of one machine"))
    })
}

pub fn engine_dependencies(source: &Source) -> Vec<String> {
    breaches(source, |line| {
        ["mysql", "cxx", "smartengine-ffi", "smartengine-plugin"]
            .iter()
            .find(|name| line.starts_with(*name))
            .map(|name| format!("the engine depends on {name}"))
    })
}

pub fn version_switches(source: &Source) -> Vec<String> {
    breaches(source, |line| {
        (line.trim_start().starts_with('#') && line.contains("MYSQL_VERSION_ID"))
            .then(|| "a switch by server version belongs into mysql-plugin/compat.h".to_string())
    })
}

pub fn no_printing(source: &Source) -> Vec<String> {
    breaches(source, |line| {
        let code = line.trim_start();
        let prints = ["println!(", "eprintln!(", "print!(", "eprint!(", "dbg!("];
        (!code.starts_with("//") && prints.iter().any(|print| code.contains(print)))
            .then(|| "a library does not print".to_string())
    })
}

fn breaches(source: &Source, rule: impl Fn(&str) -> Option<String>) -> Vec<String> {
    source
        .lines()
        .filter_map(|(number, line)| rule(line).map(|breach| format!("{number}: {breach}")))
        .collect()
}
