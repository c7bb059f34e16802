use super::*;

/// A source tree that is configured as MySQL's is, as far as engines go, with a server that lists its built-in plugins.
const TREE: [(&str, &str); 6] = [
    (
        "MYSQL_VERSION",
        "MYSQL_VERSION_MAJOR=9\nMYSQL_VERSION_MINOR=7\nMYSQL_VERSION_PATCH=4\n",
    ),
    ("extra/boost/boost_1_84_0/boost/version.hpp", ""),
    (
        "storage/innobase/CMakeLists.txt",
        "MYSQL_ADD_PLUGIN(innobase innobase.cc STORAGE_ENGINE DEFAULT LINK_LIBRARIES sql_dd)\n",
    ),
    (
        "storage/innobase/innobase.cc",
        "#include \"plugin.h\"\nPlugin builtin_innobase_plugin = {\"InnoDB\", version};\n",
    ),
    (
        "CMakeLists.txt",
        r##"CMAKE_MINIMUM_REQUIRED(VERSION 3.16)
PROJECT(MySQL CXX)
INCLUDE_DIRECTORIES(${CMAKE_SOURCE_DIR}/sql)
MACRO(MYSQL_ADD_PLUGIN name)
  CMAKE_PARSE_ARGUMENTS(ARG "STORAGE_ENGINE;DEFAULT;STATIC_ONLY" "" "LINK_LIBRARIES" ${ARGN})
  STRING(TOUPPER ${name} upper)
  IF(ARG_DEFAULT AND NOT WITHOUT_${upper})
    ADD_LIBRARY(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
    TARGET_LINK_LIBRARIES(${name} ${ARG_LINK_LIBRARIES})
    SET(plugins ${plugins} ${name} PARENT_SCOPE)
  ENDIF()
ENDMACRO()
ADD_LIBRARY(sql_dd STATIC sql/version.cc)
ADD_LIBRARY(sql_gis STATIC sql/version.cc)
FILE(GLOB folders ${CMAKE_SOURCE_DIR}/storage/*)
FOREACH(folder ${folders})
  IF(EXISTS ${folder}/CMakeLists.txt)
    ADD_SUBDIRECTORY(${folder})
  ENDIF()
ENDFOREACH()
SET(text "#include \"plugin.h\"\n")
FOREACH(plugin ${plugins})
  STRING(APPEND text "extern Plugin builtin_${plugin}_plugin;\n")
  STRING(APPEND list "&builtin_${plugin}_plugin, ")
ENDFOREACH()
FILE(WRITE ${CMAKE_BINARY_DIR}/sql/sql_builtin.cc "${text}Plugin *plugins[] = {${list}nullptr};\n")
ADD_EXECUTABLE(mysqld sql/main.cc ${CMAKE_BINARY_DIR}/sql/sql_builtin.cc)
TARGET_LINK_LIBRARIES(mysqld ${plugins})
"##,
    ),
    (
        "sql/main.cc",
        r#"#include <cstdio>
#include "plugin.h"
extern Plugin *plugins[];
int main() {
  for (Plugin **plugin = plugins; *plugin != nullptr; plugin++) {
    std::printf("%s %d, ", (*plugin)->name, (*plugin)->version());
    seen++;
  }
  std::printf("%d\n", library_version() + seen);
}
"#,
    ),
];
/// What the server and the engine both have: a library in two versions, and a variable of a header, which is one.
const SERVERS_HEADER: &str = "struct Plugin { const char *name; int (*version)(); };\n\
                              extern \"C\" int library_version();\nint version();\ninline int seen = 0;\n";
const SERVERS_LIBRARY: &str = "#include \"plugin.h\"\nextern \"C\" int library_version() { return 100; }\n\
                               int version() { return library_version(); }\n";
const ENGINE: &str = "#include \"plugin.h\"\nstatic int mine() { seen += 1000; return library_version() + (version() == 100); }\n\
                      Plugin builtin_smartengine_plugin = {\"SMARTENGINE\", mine};\n\
                      __asm__(\".pushsection .llvmbc\\n.byte 0\\n.popsection\");\n";
const ENGINES_LIBRARY: &str = "extern \"C\" int library_version() { return 7; }\n";

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn tree(source: &Path) {
    for (file, text) in TREE {
        write(&source.join(file), text);
    }
    write(&source.join("sql/plugin.h"), SERVERS_HEADER);
    write(&source.join("sql/version.cc"), SERVERS_LIBRARY);
}

/// The archive of an engine, as cargo makes it: each source an object, all names seen.
fn archive(dir: &Path, source: &Path) -> PathBuf {
    let archive = dir.join("libengine.a");
    let mut ar = Command::new("ar");
    ar.arg("rcs").arg(&archive);
    for (name, text) in [("engine", ENGINE), ("library", ENGINES_LIBRARY)] {
        let (file, object) = (dir.join(name).with_extension("cc"), dir.join(name));
        write(&file, text);
        let include = source.join("sql");
        exec::run(
            Command::new("g++")
                .args(["-std=c++17", "-O2", "-fPIC", "-I"])
                .arg(include)
                .arg("-c")
                .arg(&file)
                .arg("-o")
                .arg(&object),
        )
        .unwrap();
        ar.arg(object);
    }
    exec::run(&mut ar).unwrap();
    archive
}

fn server(dir: &Path) -> Server {
    Server {
        source: dir.join("mysql"),
        boost: None,
        version: "9.7.4".into(),
        plugin: PluginArgs::default(),
        folder: dir.join("static"),
    }
}

/// All files of a tree with what is in them, and what links lead to.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            all.push((path, bytes));
        }
    }
    all.sort();
    all
}

#[test]
fn the_overlay_has_all_of_the_source_tree_and_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let (source, over) = (dir.path().join("mysql"), dir.path().join("overlay"));
    let engine = dir.path().join("engine");
    write(&engine.join("CMakeLists.txt"), "");
    tree(&source);
    write(&source.join(".git/config"), "");
    write(&source.join("storage/.clang-format"), "");
    let before = contents(&source);

    assert!(!overlay::make(&source, &engine, &over).unwrap());
    for (file, text) in TREE {
        assert_eq!(fs::read_to_string(over.join(file)).unwrap(), text, "{file}");
    }
    assert!(over.join("storage/smartengine/CMakeLists.txt").is_file());
    assert!(over.join("storage/.clang-format").is_file());
    assert!(!over.join(".git").exists());
    assert_eq!(contents(&source), before);

    // What comes and goes in the source tree does so here too.
    write(&source.join("plugin/new/CMakeLists.txt"), "");
    write(&source.join("storage/newer/CMakeLists.txt"), "");
    fs::remove_dir_all(source.join("extra")).unwrap();
    assert!(!overlay::make(&source, &engine, &over).unwrap());
    assert!(over.join("plugin/new/CMakeLists.txt").is_file());
    assert!(over.join("storage/newer/CMakeLists.txt").is_file());
    assert!(over.join("extra").symlink_metadata().is_err());

    // Another tree of the same version.
    let moved = dir.path().join("moved");
    fs::rename(&source, &moved).unwrap();
    assert!(overlay::make(&moved, &engine, &over).unwrap());
    assert!(over.join("storage/newer/CMakeLists.txt").is_file());
}

#[test]
fn a_tree_that_no_server_can_be_built_from_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("mysql");
    let args = |source: Option<&Path>| MysqlArgs {
        mysql_source: source.map(Path::to_path_buf),
        ..MysqlArgs::default()
    };
    let error = |args: &MysqlArgs| {
        let server = Server::of(PluginArgs::default(), args);
        server.err().expect("an error").to_string()
    };
    assert!(error(&args(None)).contains("--mysql-source"));
    write(&source.join("sql/handler.h"), "");
    let headers = error(&args(Some(&source)));
    assert!(headers.contains("storage/innobase"), "{headers}");
    assert_eq!(run_tests(&args(Some(&source))).unwrap().skipped, 1);

    tree(&source);
    let both = MysqlArgs {
        mysql_root: Some(dir.path().into()),
        ..args(Some(&source))
    };
    assert!(error(&both).contains("leave out --mysql-root"));
    let server = Server::of(PluginArgs::default(), &args(Some(&source))).unwrap();
    assert_eq!(server.version, "9.7.4");
    assert!(server.build().ends_with("static/9.7.4/build"));

    write(&source.join("storage/smartengine/CMakeLists.txt"), "");
    let taken = overlay::make(&source, dir.path(), &dir.path().join("overlay")).unwrap_err();
    assert!(taken.to_string().contains("move it away"), "{taken}");
}

#[test]
fn the_object_keeps_its_libraries_and_shares_what_headers_define() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let source = dir.join("mysql");
    tree(&source);
    let (archive, object) = (archive(dir, &source), dir.join("smartengine.o"));
    object::make(&archive, &object).unwrap();
    let made = fs::metadata(&object).unwrap().modified().unwrap();
    object::make(&archive, &object).unwrap();
    assert_eq!(fs::metadata(&object).unwrap().modified().unwrap(), made);
    let sections = exec::output(Command::new("readelf").args(["-SW"]).arg(&object)).unwrap();
    assert!(!sections.contains(".llvmbc"), "{sections}");
    let names = exec::output(
        Command::new("nm")
            .args(["-g", "--defined-only", "--format=posix"])
            .arg(&object),
    )
    .unwrap();
    let mut names: Vec<&str> = names
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["builtin_smartengine_plugin", "seen"]);

    write(
        &dir.join("table.cc"),
        "#include \"plugin.h\"\nextern Plugin builtin_smartengine_plugin;\n\
         Plugin *plugins[] = {&builtin_smartengine_plugin, nullptr};\n",
    );
    let program = dir.join("mysqld");
    exec::run(
        Command::new("g++")
            .arg("-std=c++17")
            .args(["main.cc", "version.cc"].map(|name| source.join("sql").join(name)))
            .arg("-I")
            .arg(source.join("sql"))
            .arg(dir.join("table.cc"))
            .arg(&object)
            .arg("-o")
            .arg(&program),
    )
    .unwrap();
    // Its own library is the engine's, 7, the server's the server's, 100; both have added to one variable.
    let said = exec::output(&mut Command::new(program)).unwrap();
    assert_eq!(said, "SMARTENGINE 8, 1101\n");
}

/// By cmake, make and the rest, where they are installed.
#[test]
fn a_server_is_configured_and_linked_with_the_engine() {
    if let Err(error) = cmake::ensure_installed() {
        println!("skipped: {error:#}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    tree(&server.source);
    let before = contents(&server.source);

    let refused = server.configure(&["-DWITHOUT_SMARTENGINE=1".into()]);
    let refused = format!("{:#}", refused.unwrap_err());
    assert!(refused.contains("without the engine"), "{refused}");
    server
        .configure(&["-DWITHOUT_SMARTENGINE=".into()])
        .unwrap();

    let archive = archive(dir.path(), &server.source);
    object::make(&archive, &server.object()).unwrap();
    let step = Step::spinner("build a small server");
    server.target(None, &step).unwrap();
    let said = exec::output(&mut Command::new(server.build().join("mysqld"))).unwrap();
    assert_eq!(said, "InnoDB 100, SMARTENGINE 8, 1102\n");
    assert_eq!(contents(&server.source), before);
}
