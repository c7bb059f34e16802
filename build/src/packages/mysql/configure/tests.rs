use super::*;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn source() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("MYSQL_VERSION"),
        "MYSQL_VERSION_MAJOR=8\nMYSQL_VERSION_MINOR=0\nMYSQL_VERSION_PATCH=36\nMYSQL_VERSION_EXTRA=\n",
    );
    write(
        &dir.path().join("cmake/boost.cmake"),
        "SET(BOOST_PACKAGE_NAME \"boost_1_77_0\")\nSET(BOOST_TARBALL \"${BOOST_PACKAGE_NAME}.tar.bz2\")\n",
    );
    write(&dir.path().join("include/my_sys.h"), "");
    dir
}

#[test]
fn a_source_tree_says_its_version() {
    let source = source();
    assert_eq!(version_of_source(source.path()).unwrap(), "8.0.36");
    fs::write(
        source.path().join("MYSQL_VERSION"),
        "MYSQL_VERSION_MAJOR=8\n",
    )
    .unwrap();
    assert!(version_of_source(source.path()).is_err());
}

#[test]
fn boost_is_in_the_tree_or_named_or_asked_for() {
    let dir = source();
    let source = dir.path();
    let error = boost_for(source, None, "8.0.36").unwrap_err().to_string();
    for part in ["boost_1_77_0", "mysql-boost-8.0.36", "--boost"] {
        assert!(error.contains(part), "{error}");
    }
    let given = source.join("elsewhere");
    let error = boost_for(source, Some(&given), "8.0.36")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("elsewhere") && error.contains("version.hpp"),
        "{error}"
    );
    write(&given.join("boost_1_77_0/boost/version.hpp"), "");
    assert_eq!(
        boost_for(source, Some(&given), "8.0.36").unwrap(),
        Some(given)
    );
    write(&source.join("boost/boost_1_77_0/boost/version.hpp"), "");
    assert_eq!(
        boost_for(source, None, "8.0.36").unwrap(),
        Some(source.join("boost"))
    );
    // What 8.4 and later bring, cmake finds by itself.
    write(
        &source.join("extra/boost/boost_1_84_0/boost/version.hpp"),
        "",
    );
    assert_eq!(boost_for(source, None, "8.4.0").unwrap(), None);
}

#[test]
fn another_tree_or_other_options_have_other_headers() {
    let options = ["-DA=1".to_owned()];
    let (one, two) = (source(), source());
    let same = key(one.path(), &options).unwrap();
    assert_eq!(same, key(two.path(), &options).unwrap());
    assert_ne!(same, key(one.path(), &["-DA=2".to_owned()]).unwrap());
    write(&two.path().join("include/my_sys.h"), "int changed;");
    assert_ne!(same, key(two.path(), &options).unwrap());
    write(&two.path().join("include/my_sys.h"), "");
    assert_eq!(same, key(two.path(), &options).unwrap());
    write(&two.path().join("include/mysql/new.h"), "");
    assert_ne!(same, key(two.path(), &options).unwrap());
}

#[test]
fn headers_are_copied_with_the_folders_that_they_are_in() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    copy_headers(&from, &to).unwrap();
    assert!(!to.exists());
    for file in ["a.h", "mysql/b.h", "Makefile", "CMakeFiles/c.h"] {
        write(&from.join(file), file);
    }
    copy_headers(&from, &to).unwrap();
    assert_eq!(
        fs::read_to_string(to.join("mysql/b.h")).unwrap(),
        "mysql/b.h"
    );
    assert!(to.join("a.h").exists());
    assert!(!to.join("Makefile").exists() && !to.join("CMakeFiles").exists());
}

fn program(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    write(path, &format!("#!/bin/sh\nset -e\n{script}"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// By programs that stand in for cmake, called with `-S SOURCE -B TREE`, and for make, called with `-C TREE`.
#[test]
fn headers_that_were_cut_short_are_made_again_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let folder = dir.path().join("headers");
    let (cmake, generate) = (dir.path().join("cmake"), dir.path().join("make"));
    fs::create_dir_all(&folder).unwrap();
    let configures = "mkdir -p $4/include $4/objects\necho 'CMAKE_BUILD_TYPE:STRING=Debug' >$4/CMakeCache.txt\n\
                      echo '#define A' >$4/include/my_config.h\necho >$4/include/mysql_version.h\n";
    program(&cmake, configures);
    let run = || {
        let options = ["-DA=1".to_owned()];
        make(&source, &options, &folder, "8.0.36", [&cmake, &generate])
    };

    // Cut short in the second step: by whatever ends make, with what it has not finished left behind.
    program(
        &generate,
        "echo half >$2/include/mysqld_error.h\ntouch $2/left\nkill -9 $$\n",
    );
    assert!(run().unwrap_err().to_string().contains("make failed"));
    assert!(!is_complete(&folder, LAYOUT));
    // Cut short in the third one.
    write(&folder.join("build/include/of_another_time.h"), "");

    program(
        &generate,
        "test ! -e $2/left\necho '#define B' >$2/include/mysqld_error.h\n",
    );
    run().unwrap();
    assert!(is_complete(&folder, LAYOUT));
    let mut names: Vec<_> = fs::read_dir(folder.join("build/include"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["my_config.h", "mysql_version.h", "mysqld_error.h"]);
    assert!(folder.join("build/CMakeCache.txt").exists() && !folder.join("tree").exists());

    // A generator that makes nothing is no success.
    fs::remove_file(folder.join(".complete")).unwrap();
    program(&generate, "");
    assert!(run().unwrap_err().to_string().contains("mysqld_error.h"));
    assert!(!is_complete(&folder, LAYOUT));
}
