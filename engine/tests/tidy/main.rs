//! Layout rules of the whole workspace, kept by a test: where a thing belongs is not left to memory.

mod rules;
mod source;

use source::Source;

/// Runs one rule over the files it is about and reports every breach at once.
fn check(rule: fn(&Source) -> Vec<String>, about: fn(&Source) -> bool) {
    let breaches: Vec<String> = source::all()
        .iter()
        .filter(|source| about(source))
        .flat_map(|source| {
            rule(source)
                .into_iter()
                .map(|breach| format!("{}: {breach}", source.path))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn files_stay_short() {
    check(rules::length, |_| true);
}

#[test]
fn nothing_is_left_to_do() {
    check(rules::unfinished, |source| {
        !source.path.contains("tests/tidy/")
    });
}

#[test]
fn lines_are_clean() {
    check(rules::clean_lines, |_| true);
}

#[test]
fn rust_files_say_what_they_are_for() {
    check(rules::module_header, Source::is_rust);
}

#[test]
fn long_unit_tests_have_a_file_of_their_own() {
    check(rules::inline_tests, Source::is_rust);
}

#[test]
fn unsafe_blocks_are_argued() {
    check(rules::safety, Source::is_rust);
}

#[test]
fn the_engine_knows_neither_mysql_nor_the_bridge() {
    check(rules::engine_dependencies, |source| {
        source.path == "engine/Cargo.toml"
    });
}

#[test]
fn server_versions_are_told_apart_in_one_file() {
    check(rules::version_switches, |source| {
        source.is_cpp() && source.path != "mysql-plugin/compat.h"
    });
}

#[test]
fn the_engine_prints_nothing() {
    check(rules::no_printing, |source| {
        source.is_rust() && source.path.starts_with("engine/src/")
    });
}
