use super::*;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn headers(dir: &Path, version: &str, cache: &str) {
    write(
        &dir.join("include/mysql_version.h"),
        &format!("#define MYSQL_SERVER_VERSION \"{version}\"\n"),
    );
    write(&dir.join("include/my_config.h"), "");
    write(&dir.join("include/mysqld_error.h"), "");
    write(&dir.join("CMakeCache.txt"), cache);
}

/// A program that says what a server says of itself.
fn server(path: &Path, version: &str) {
    use std::os::unix::fs::PermissionsExt;
    write(
        path,
        &format!(
            "#!/bin/sh\necho \"$0  Ver {version} for Linux on x86_64 (Source distribution)\"\n"
        ),
    );
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn error(args: &MysqlArgs) -> String {
    format!("{:#}", Mysql::for_building(args).unwrap_err())
}

#[test]
fn each_option_alone_and_all_together_work_or_say_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (root, source, build) = (dir.join("root"), dir.join("source"), dir.join("tree"));
    server(&root.join("bin/mysqld"), "8.0.36");
    write(&source.join("sql/handler.h"), "");
    let home = format!("CMAKE_HOME_DIRECTORY:INTERNAL={}\n", source.display());
    headers(&build, "8.0.36", &home);
    let args = |root: Option<&Path>, source: Option<&Path>, build: Option<&Path>| MysqlArgs {
        mysql_root: root.map(Path::to_path_buf),
        mysql_source: source.map(Path::to_path_buf),
        mysql_build: build.map(Path::to_path_buf),
        boost: None,
        ..MysqlArgs::default()
    };

    let text = error(&args(Some(&root), None, None));
    assert!(
        text.contains("is MySQL 8.0.36") && text.contains("--mysql-source"),
        "{text}"
    );
    let all = Mysql::for_building(&args(Some(&root), Some(&source), Some(&build))).unwrap();
    assert!(all.has_server() && !all.is_debug);
    // The build tree knows its source.
    let found = Mysql::for_building(&args(Some(&root), None, Some(&build))).unwrap();
    assert_eq!(found.source, source);
    // A server in its build tree is enough.
    server(&build.join("runtime_output_directory/mysqld"), "8.0.36");
    let tree = Mysql::for_building(&args(Some(&build), None, None)).unwrap();
    assert_eq!((&tree.build, &tree.source), (&build, &source));
    // Headers alone are enough to build with, and not to start a server.
    headers(&source.join("build"), "8.0.36", "");
    let alone = args(None, Some(&source), None);
    assert!(!Mysql::for_building(&alone).unwrap().has_server());
    assert!(
        Mysql::locate(&alone)
            .unwrap_err()
            .to_string()
            .contains("--mysql-root")
    );

    let text = error(&args(Some(dir), Some(&source), Some(&build)));
    assert!(text.contains("bin/mysqld"), "{text}");
    let text = error(&args(None, Some(dir), None));
    assert!(text.contains("sql/handler.h"), "{text}");
    let text = error(&args(None, Some(&source), Some(dir)));
    assert!(text.contains("my_config.h"), "{text}");
}

#[test]
fn a_debug_server_makes_a_debug_plugin_and_a_wrong_pair_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (root, source) = (dir.path().join("root"), dir.path().join("source"));
    write(&source.join("sql/handler.h"), "");
    let args = MysqlArgs {
        mysql_root: Some(root.clone()),
        mysql_source: Some(source.clone()),
        ..MysqlArgs::default()
    };
    headers(
        &source.join("build"),
        "8.0.36",
        "CMAKE_BUILD_TYPE:STRING=Debug\n",
    );
    server(&root.join("usr/sbin/mysqld"), "8.0.36-debug");
    assert!(Mysql::for_building(&args).unwrap().is_debug);

    server(&root.join("usr/sbin/mysqld"), "8.0.35-debug");
    let text = error(&args);
    for part in ["usr/sbin/mysqld", "8.0.35", "8.0.36", "source/build"] {
        assert!(text.contains(part), "{text}");
    }
    server(&root.join("usr/sbin/mysqld"), "8.0.36");
    let args = MysqlArgs {
        mysql_build: Some(source.join("build")),
        ..args
    };
    let text = error(&args);
    assert!(text.contains("debug assertions"), "{text}");
    // Beside it there is one that fits.
    server(&root.join("usr/sbin/mysqld-debug"), "8.0.36-debug");
    let args = MysqlArgs {
        mysql_debug: true,
        ..args
    };
    let mysql = Mysql::for_building(&args).unwrap();
    assert!(mysql.is_debug);
    assert_eq!(mysql.mysqld(), root.join("usr/sbin/mysqld-debug"));
    std::fs::remove_file(root.join("usr/sbin/mysqld-debug")).unwrap();
    let text = error(&args);
    assert!(text.contains("--mysql-debug"), "{text}");
}

#[test]
fn a_build_tree_names_its_source() {
    let cache = "# x\nCMAKE_HOME_DIRECTORY:INTERNAL=/src/mysql\nCMAKE_BUILD_TYPE:STRING=Debug\n";
    assert_eq!(home_of_cache(cache), Some("/src/mysql"));
    assert_eq!(home_of_cache(""), None);
}
