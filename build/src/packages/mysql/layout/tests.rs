use super::*;

fn tree(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    dir
}

fn check(files: &[&str], base: &str, places: [&str; 5]) {
    let dir = tree(files);
    let layout = Layout::of(dir.path()).unwrap();
    let base = join(dir.path(), base);
    let [mysqld, clients, messages, plugins, test_suite] = places.map(|place| base.join(place));
    assert_eq!(
        layout,
        Layout {
            base,
            mysqld,
            clients,
            messages,
            plugins,
            test_suite
        }
    );
}

#[test]
fn a_tarball() {
    check(
        &[
            "bin/mysqld",
            "lib/plugin/auth.so",
            "share/english/errmsg.sys",
            "mysql-test/mysql-test-run.pl",
            "include/mysql.h",
        ],
        "",
        ["bin/mysqld", "bin", "share", "lib/plugin", "mysql-test"],
    );
}

#[test]
fn rpm_packages() {
    check(
        &[
            "usr/sbin/mysqld",
            "usr/lib64/mysql/plugin/auth.so",
            "usr/share/mysql-8.0/english/errmsg.sys",
            "usr/share/mysql-test/mysql-test-run.pl",
        ],
        "usr",
        [
            "sbin/mysqld",
            "bin",
            "share/mysql-8.0",
            "lib64/mysql/plugin",
            "share/mysql-test",
        ],
    );
}

#[test]
fn deb_packages_from_their_root_and_from_usr() {
    let places = [
        "sbin/mysqld",
        "bin",
        "share/mysql",
        "lib/mysql/plugin",
        "lib/mysql-test",
    ];
    let files = [
        "sbin/mysqld",
        "lib/mysql/plugin/auth.so",
        "share/mysql/english/errmsg.sys",
        "lib/mysql-test/mysql-test-run.pl",
    ];
    check(&files, "", places);
    let below = files.map(|file| format!("usr/{file}"));
    check(&below.each_ref().map(String::as_str), "usr", places);
}

#[test]
fn a_build_tree() {
    check(
        &[
            "runtime_output_directory/mysqld",
            "plugin_output_directory/auth.so",
            "share/english/errmsg.sys",
            "mysql-test/mysql-test-run.pl",
        ],
        "",
        [
            "runtime_output_directory/mysqld",
            "runtime_output_directory",
            "share",
            "plugin_output_directory",
            "mysql-test",
        ],
    );
}

#[test]
fn a_debug_server_is_beside_the_other() {
    let dir = tree(&[
        "usr/sbin/mysqld",
        "usr/sbin/mysqld-debug",
        "usr/lib64/mysql/plugin/debug/auth.so",
    ]);
    let layout = Layout::of(dir.path()).unwrap();
    let usr = dir.path().join("usr");
    assert_eq!(layout.mysqld, usr.join("sbin/mysqld"));
    let layout = Layout::of_debug_server(dir.path()).unwrap();
    assert_eq!(layout.mysqld, usr.join("sbin/mysqld-debug"));
    assert_eq!(layout.plugins, usr.join("lib64/mysql/plugin/debug"));
    let other = tree(&["bin/mysqld"]);
    assert!(Layout::of(other.path()).is_ok());
    let error = Layout::of_debug_server(other.path()).unwrap_err();
    assert!(error.to_string().contains("--mysql-debug"), "{error}");
}

#[test]
fn a_folder_without_a_server_is_told_what_was_looked_for() {
    let dir = tree(&["bin/mysql"]);
    let error = Layout::of(dir.path()).unwrap_err().to_string();
    assert!(error.contains("usr/sbin/mysqld"), "{error}");
    assert!(error.contains("runtime_output_directory/mysqld"), "{error}");
}
