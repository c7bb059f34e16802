use super::*;

use std::fs;

#[test]
fn missing_programs_are_named_with_their_packages() {
    let missing = missing_programs(|program| !["cmake", "bison"].contains(&program));
    assert_eq!(missing, [("cmake", "cmake"), ("bison", "bison")]);
    assert!(missing_programs(|_| true).is_empty());
}

#[test]
fn a_failure_has_the_errors_and_the_package_that_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let run = |script: &str| {
        let mut file = File::create(&log).unwrap();
        let mut lines = 0;
        let result = logged(
            Command::new("sh").args(["-c", script]),
            &mut file,
            &log,
            |_| {
                lines += 1;
            },
        );
        (result.map_err(|error| error.to_string()), lines)
    };
    assert_eq!(run("echo one; echo two >&2"), (Ok(()), 2));
    let (result, lines) = run(
        "seq 100; echo 'CMake Error at x.cmake:1 (MESSAGE):' >&2; echo '  Curses library not found' >&2; echo >&2; echo '-- tirpc'; exit 1",
    );
    let error = result.unwrap_err();
    assert_eq!(lines, 104);
    assert!(
        error.contains("\nCMake Error at x.cmake:1 (MESSAGE):\n  Curses"),
        "{error}"
    );
    assert!(
        !error.contains("100") && !error.contains("tirpc"),
        "{error}"
    );
    assert!(error.ends_with("apt-get install libncurses-dev"), "{error}");
    assert!(fs::read_to_string(&log).unwrap().starts_with("1\n2\n"));
}

#[test]
fn a_failure_without_an_error_has_its_last_lines() {
    let lines: Vec<String> = (1..=100).map(|number| number.to_string()).collect();
    let wrong = what_is_wrong(&lines);
    assert_eq!(wrong.len(), 12);
    assert_eq!(wrong.last(), Some(&"100"));
    let lines = ["x.cc:1:2: error: no".to_owned(), "later".to_owned()];
    assert_eq!(what_is_wrong(&lines), ["x.cc:1:2: error: no"]);
}

#[test]
fn make_and_ninja_say_how_far_they_are() {
    assert_eq!(percent("[ 42%] Building CXX object x.o"), Some(42));
    assert_eq!(percent("[100%] Built target GenError"), Some(100));
    assert_eq!(percent("make: Entering directory"), None);
    assert_eq!(percent("[21/50] Building CXX object x.o"), Some(42));
    assert_eq!(percent("[0/0] Re-running CMake..."), None);
}
