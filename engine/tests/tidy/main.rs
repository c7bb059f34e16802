//! Layout rules of the whole workspace, kept by a test: where a thing belongs is not left to memory.

mod circles;
mod layers;
mod rooms;
mod rules;
mod source;
mod surface;

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

#[test]
fn no_files_of_the_engine_use_each_other_in_a_circle() {
    let circles = circles::among(&source::all());
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

#[test]
fn layers_of_the_engine_point_down() {
    check(layers::point_down, |source| {
        source.is_rust() && source.path.starts_with("engine/src/")
    });
}

#[test]
fn rooms_of_the_plugin_point_down() {
    check(rooms::point_down, |source| {
        source.is_cpp() && source.path.starts_with("mysql-plugin/")
    });
}

#[test]
fn an_include_that_points_up_is_found() {
    for (path, text, breaches) in [
        ("codec/a.cc", "#include \"base/log.h\"", 0),
        ("codec/a.cc", "#include \"codec/b.h\"", 0),
        ("codec/a.cc", "#include \"table/b.h\"", 1),
        ("codec/a.cc", "#include \"sql/table.h\"", 0),
        ("attic/a.cc", "", 1),
        ("plugin.cc", "#include \"server/b.h\"", 0),
    ] {
        let path = format!("mysql-plugin/{path}");
        let text = text.to_owned();
        assert_eq!(rooms::point_down(&Source { path, text }).len(), breaches);
    }
}

#[test]
fn a_dependency_that_points_up_is_found() {
    for (text, breaches) in [
        ("use crate::db::Engine;", 1),
        ("use crate::{Error, wal::Wal, types::SeqNo};", 1),
        ("let x = crate::manifest::sst_key(crate::gc::plan());", 2),
        ("use crate::env::Clock; // crate::types::SeqNo", 0),
    ] {
        let path = "engine/src/env/clock.rs".to_owned();
        let text = text.to_owned();
        assert_eq!(layers::point_down(&Source { path, text }).len(), breaches);
    }
}

#[test]
fn unsafe_files_say_why_in_their_header() {
    check(rules::unsafe_header, |source| {
        source.is_rust() && source.path.starts_with("engine/src/")
    });
}

#[test]
fn no_test_is_skipped() {
    check(rules::ignored_tests, |source| {
        source.is_rust() && !source.path.contains("tests/tidy/")
    });
}

#[test]
fn no_banner_and_no_path_of_a_machine() {
    check(rules::banners_and_paths, |source| {
        !source.path.contains("tests/tidy/")
    });
}

#[test]
fn every_public_name_was_decided() {
    let found = surface::names(&source::all());
    let kept = include_str!("public_names.txt");
    let kept: std::collections::BTreeSet<String> = kept.lines().map(str::to_owned).collect();
    let new: Vec<&String> = found.difference(&kept).collect();
    let gone: Vec<&String> = kept.difference(&found).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "\nengine/tests/tidy/public_names.txt lists what users of the crate see, sorted. Does everyone need the new ones? Then add them.\nnew: {new:#?}\ngone: {gone:#?}"
    );
}
