//! Compiles the C++ side of the plugin against a MySQL source tree, and makes its constants known to Rust.
//!
//! `cargo xtask plugin` sets the environment that says where MySQL is. An object file is compiled again only when its
//! source, a header it includes or the compiler's options changed, so a change of one file costs one compilation. Objects lie where all kinds of the
//! plugin that have the same options find them: cargo's folder of this crate is another one with other features, which C++ knows nothing of.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

/// Set where nothing is linked that a server loads: lint and the tests of the crates. Most of the time of a build is the C++ side's.
const RUST_ALONE: &str = "SMARTENGINE_RUST_ALONE";

fn main() {
    let mysql = Mysql::from_environment();
    generate_constants(&mysql);
    println!("cargo:rerun-if-env-changed={RUST_ALONE}");
    if env::var_os(RUST_ALONE).is_some() {
        return;
    }
    let bridge = PathBuf::from(
        env::var_os("DEP_SMARTENGINE_FFI_CXXBRIDGE_DIR0")
            .expect("smartengine-ffi passes on the folder of its generated header"),
    );
    compile_plugin(&mysql, &bridge);
}

struct Mysql {
    source: PathBuf,
    build: PathBuf,
}

impl Mysql {
    fn from_environment() -> Self {
        let folder = |name: &str| {
            println!("cargo:rerun-if-env-changed={name}");
            match env::var_os(name) {
                Some(dir) => PathBuf::from(dir),
                None => fail(&format!(
                    "{name} is not set: the plugin is built by `cargo xtask plugin`, which fetches MySQL's headers and says where they \
                     are (`cargo xtask lint` and `cargo xtask test` check this crate too)"
                )),
            }
        };
        let mysql = Self {
            source: folder("MYSQL_SOURCE"),
            build: folder("MYSQL_BUILD"),
        };
        for file in [
            mysql.source.join("sql/handler.h"),
            mysql.build.join("include/my_config.h"),
            mysql.build.join("include/mysqld_error.h"),
        ] {
            if !file.is_file() {
                fail(&format!("there is no {}", file.display()));
            }
        }
        mysql
    }

    fn includes(&self) -> Vec<PathBuf> {
        let mut dirs = vec![
            self.build.clone(),
            self.build.join("include"),
            self.source.clone(),
            self.source.join("include"),
            self.source.join("libs"),
            self.source.join("extra/rapidjson/include"),
            // Where 8.0 has the headers of the binary log, one of them generated.
            self.source.join("libbinlogevents/include"),
            self.build.join("libbinlogevents/include"),
        ];
        // The folder below it carries a version in its name.
        if let Ok(entries) = fs::read_dir(self.source.join("extra/unordered_dense")) {
            dirs.extend(
                entries
                    .flatten()
                    .map(|entry| entry.path().join("include"))
                    .filter(|dir| dir.is_dir()),
            );
        }
        dirs
    }

    fn version_id(&self) -> u32 {
        let path = self.build.join("include/mysql_version.h");
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| fail(&format!("read {}: {error}", path.display())));
        text.lines()
            .find_map(|line| line.split_once("define MYSQL_VERSION_ID"))
            .and_then(|(_, id)| id.trim().parse().ok())
            .unwrap_or_else(|| fail(&format!("{} has no MYSQL_VERSION_ID", path.display())))
    }

    fn standard(&self) -> &'static str {
        if self.version_id() >= 90000 {
            "gnu++23"
        } else {
            "gnu++17"
        }
    }

    /// A plugin must agree with the server on these: they change the layout of the server's classes and mutexes. `MYSQL_DEBUG` says which kind the
    /// server is; where it is not set, the build tree does.
    fn is_debug(&self) -> bool {
        println!("cargo:rerun-if-env-changed=MYSQL_DEBUG");
        match env::var("MYSQL_DEBUG") {
            Ok(value) => value == "1",
            Err(_) => fs::read_to_string(self.build.join("CMakeCache.txt"))
                .is_ok_and(|text| text.contains("CMAKE_BUILD_TYPE:STRING=Debug")),
        }
    }
}

fn fail(message: &str) -> ! {
    eprintln!("error: {message}");
    std::process::exit(1)
}

/// Options that both our files and those of MySQL's plugin library are compiled with.
fn options(mysql: &Mysql) -> cc::Build {
    let mut build = cc::Build::new();
    build.pic(true).debug(true).force_frame_pointer(true);
    // What -O3 adds makes the code larger, not the handler faster.
    build.opt_level(if env::var("PROFILE").as_deref() == Ok("release") {
        2
    } else {
        0
    });
    if !is_builtin() {
        build.define("MYSQL_DYNAMIC_PLUGIN", None);
    }
    for define in [
        "MYSQL_SERVER",
        "_GNU_SOURCE",
        "__STDC_FORMAT_MACROS",
        "__STDC_LIMIT_MACROS",
        "_USE_MATH_DEFINES",
    ] {
        build.define(define, None);
    }
    build.define("_FILE_OFFSET_BITS", "64");
    if mysql.is_debug() {
        build.define("SAFE_MUTEX", None);
        build.define("ENABLED_DEBUG_SYNC", None);
    } else {
        build.define("NDEBUG", None);
    }
    for dir in mysql.includes() {
        build.flag("-isystem").flag(dir);
    }
    // Debug information names the headers; where they lie is this machine's affair. Of two that fit, the later one holds.
    for (dir, name) in [(&mysql.source, "mysql"), (&mysql.build, "mysql/builddir")] {
        build.flag(format!("-ffile-prefix-map={}={name}", dir.display()));
    }
    build
}

fn compile_plugin(mysql: &Mysql, bridge: &Path) {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    // target/release/build/smartengine-plugin-0123456789abcdef/out
    let shared = out
        .ancestors()
        .nth(3)
        .expect("cargo's folder is a deep one")
        .join("plugin-objects");
    let bridge_copy = shared.join("include");
    copy_headers(bridge, &bridge_copy);

    let mut ours = options(mysql);
    ours.cpp(true)
        .std(mysql.standard())
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true)
        .flag("-Wsuggest-override")
        .include(&root)
        .include(root.join("src"))
        .include(&bridge_copy);
    for option in sanitizers() {
        ours.flag(option);
    }
    let mut jobs = compilations(&ours, &root, sources(&root, "cc"), &shared);

    // What is built in calls the server's functions themselves.
    if !is_builtin() {
        let mut services = options(mysql);
        services.warnings(false);
        let library = mysql.source.join("libservices");
        jobs.extend(compilations(
            &services,
            &mysql.source,
            files(&library, "c"),
            &shared,
        ));
    }

    run_all(&jobs);
    println!("cargo:rerun-if-changed=src");
    for file in ["cc", "h"].iter().flat_map(|end| sources(&root, end)) {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    // For files that come. Not the top, which is looked through to its end: an edit of the book would link the plugin anew.
    for room in rooms(&root).iter().filter(|room| **room != root) {
        println!("cargo:rerun-if-changed={}", room.display());
    }
    println!("cargo:rerun-if-changed={}", bridge.display());
    cc::Build::new()
        .objects(jobs.iter().map(|job| &job.object))
        .compile("smartengine_handler");
}

/// Whether this is for a server that has the engine built in: it declares the plugin under another name, and has the server's functions without the
/// plugin services.
fn is_builtin() -> bool {
    env::var_os("CARGO_FEATURE_BUILTIN").is_some()
}

/// The options of the sanitizers that a build for tests asks for, by features of this crate. `cargo xtask` links their runtimes.
fn sanitizers() -> &'static [&'static str] {
    let wants = |feature: &str| env::var_os(format!("CARGO_FEATURE_SANITIZE_{feature}")).is_some();
    match (wants("ADDRESS"), wants("THREAD")) {
        (true, true) => fail("sanitize-address and sanitize-thread exclude each other: name one"),
        (true, false) => &[
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=undefined",
        ],
        (false, true) => &["-fsanitize=thread"],
        (false, false) => &[],
    }
}

/// The folders that hold the plugin's C++: its own and the rooms in it. `tests` is compiled apart (`cargo xtask mtr`), `docs` is the book.
fn rooms(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root)
        .unwrap_or_else(|error| fail(&format!("read {}: {error}", root.display())));
    let mut rooms: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .filter(|path| {
            !["docs", "tests"]
                .map(OsStr::new)
                .map(Some)
                .contains(&path.file_name())
        })
        .collect();
    rooms.push(root.to_path_buf());
    rooms.sort();
    rooms
}

/// The files of all rooms that end so, in a fixed order.
fn sources(root: &Path, extension: &str) -> Vec<PathBuf> {
    rooms(root)
        .iter()
        .flat_map(|room| files(room, extension))
        .collect()
}

/// The files of a folder that end so, in a fixed order.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(dir).unwrap_or_else(|error| fail(&format!("read {}: {error}", dir.display())));
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new(extension)))
        .collect();
    files.sort();
    files
}

/// One run of the compiler.
struct Compilation {
    command: Command,
    /// Program and arguments as text, to see whether options changed. The environment is not in it: cargo's differs from run to run.
    line: String,
    source: PathBuf,
    object: PathBuf,
}

/// The bridge's headers as they are there, which differs by nothing but the folder; one that is the same already is left alone.
fn copy_headers(from: &Path, to: &Path) {
    let complain = |path: &Path, error: std::io::Error| -> ! {
        fail(&format!("copy headers to {}: {error}", path.display()))
    };
    fs::create_dir_all(to).unwrap_or_else(|error| complain(to, error));
    let entries = fs::read_dir(from).unwrap_or_else(|error| complain(from, error));
    for entry in entries.flatten() {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_headers(&path, &copy);
        } else if path.extension() == Some(OsStr::new("h")) {
            let bytes = fs::read(&path).unwrap_or_else(|error| complain(&path, error));
            if fs::read(&copy).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::write(&copy, bytes).unwrap_or_else(|error| complain(&copy, error));
        }
    }
}

/// Each object has its source's path below `top` in its name: two rooms may have a file of the same name. Its folder, in `shared`, is of the options.
fn compilations(
    build: &cc::Build,
    top: &Path,
    sources: Vec<PathBuf>,
    shared: &Path,
) -> Vec<Compilation> {
    let compiler = build.get_compiler().to_command();
    let mut hasher = DefaultHasher::new();
    compiler.get_program().hash(&mut hasher);
    compiler
        .get_args()
        .for_each(|argument| argument.hash(&mut hasher));
    let out = shared.join(format!("{:016x}", hasher.finish()));
    fs::create_dir_all(&out)
        .unwrap_or_else(|error| fail(&format!("make {}: {error}", out.display())));
    sources
        .into_iter()
        .map(|source| {
            let below = source
                .strip_prefix(top)
                .expect("a source lies below its top");
            let name = below
                .with_extension("o")
                .to_string_lossy()
                .replace('/', "-");
            let object = out.join(name);
            let mut command = build.get_compiler().to_command();
            command
                .arg("-MMD")
                .arg("-MF")
                .arg(object.with_extension("d"))
                .arg("-c")
                .arg(&source)
                .arg("-o")
                .arg(&object);
            Compilation {
                line: format!(
                    "{:?} {:?}",
                    command.get_program(),
                    command.get_args().collect::<Vec<_>>()
                ),
                command,
                source,
                object,
            }
        })
        .collect()
}

impl Compilation {
    /// Whether the object is newer than everything it was made of, by the same command.
    fn is_fresh(&self) -> bool {
        let Some(made) = modified(&self.object) else {
            return false;
        };
        fs::read_to_string(self.object.with_extension("cmd")).is_ok_and(|line| line == self.line)
            && fs::read_to_string(self.object.with_extension("d")).is_ok_and(|text| {
                dependencies(&text).all(|path| modified(path).is_some_and(|time| time <= made))
            })
    }

    fn run(&self) -> Result<(), String> {
        if self.is_fresh() {
            return Ok(());
        }
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args());
        let output = command.output().map_err(|error| {
            format!(
                "start {}: {error} (the Debian package g++ has the compiler)",
                command.get_program().to_string_lossy()
            )
        })?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        fs::write(self.object.with_extension("cmd"), &self.line)
            .map_err(|error| format!("note how {} was compiled: {error}", self.source.display()))
    }
}

fn modified(path: impl AsRef<Path>) -> Option<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

/// The files named in what `-MMD` writes: `object: source header \` and so on. `-MMD` leaves system headers out, and
/// MySQL's are given as such; their folder is part of the command, and its name carries the version.
fn dependencies(text: &str) -> impl Iterator<Item = &str> {
    text.split_once(": ")
        .map_or("", |(_, files)| files)
        .split_ascii_whitespace()
        .filter(|word| *word != "\\")
}

fn run_all(jobs: &[Compilation]) {
    let next = AtomicUsize::new(0);
    let workers = env::var("NUM_JOBS")
        .ok()
        .and_then(|jobs| jobs.parse().ok())
        .unwrap_or(1);
    let errors: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let mut errors = Vec::new();
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        errors.extend(job.run().err());
                    }
                    errors
                })
            })
            .collect();
        running
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker does not panic"))
            .collect()
    });
    if !errors.is_empty() {
        fail(&errors.join("\n"));
    }
}

fn generate_constants(mysql: &Mysql) {
    println!("cargo:rerun-if-changed=constants.h");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let includes = mysql
        .includes()
        .into_iter()
        .map(|dir| format!("-I{}", dir.display()));
    bindgen::Builder::default()
        .header("constants.h")
        .clang_args([
            "-x",
            "c++",
            &format!("-std={}", mysql.standard().replace("23", "2b")),
        ])
        .clang_args(includes)
        .clang_arg("-I.")
        .allowlist_var("HA_ERR_.*")
        .allowlist_type("smartengine::OwnError")
        .prepend_enum_name(false)
        .default_macro_constant_type(bindgen::MacroTypeVariation::Signed)
        .generate()
        .unwrap_or_else(|error| fail(&format!("read constants.h by libclang: {error}")))
        .write_to_file(out.join("constants.rs"))
        .unwrap_or_else(|error| fail(&format!("write constants.rs: {error}")));
}
