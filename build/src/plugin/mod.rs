//! Builds `ha_smartengine.so`.
//!
//! There are two kinds: what a user installs, and what is tested, which has the engine's failure points compiled in. Only the crates from the engine
//! up are compiled for each; what they depend on and the objects of the C++ side serve both. Of the tested kind there are two more builds, whose
//! C++ is compiled with a sanitizer.
//!
//! Cargo makes one static library of the engine, the bridge and the handler; `g++` links it into the shared library that the
//! server loads. Only what the server looks up by name is exported, and each symbol that is left to be found at load
//! time must be one the server has, so a missing one fails here instead of there. Where there are headers and no server, that is not known.
//!
//! [`builtin`] makes a server of the same sources that needs no such library.

pub mod builtin;
mod folder;
mod needs;
pub mod portable;
mod prefix_maps;
mod sanitizer;
pub mod symbols;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host::exec;
use crate::host::in_use::Hold;
use crate::host::paths::{self, FolderLock};
use crate::packages::mysql::Mysql;
use crate::packages::tools::Tools;

use folder::BuildFolder;
pub use needs::Needs;
pub use prefix_maps::PrefixMaps;
pub use sanitizer::Sanitizer;

/// What the server reads when it loads a plugin.
const DECLARATIONS: [&str; 3] = [
    "_mysql_plugin_interface_version_",
    "_mysql_sizeof_struct_st_plugin_",
    "_mysql_plugin_declarations_",
];
/// The server finds a plugin service through a variable of the plugin that ends so, and fills it in.
const SERVICES: &str = "*_service";

/// The plugin's build script compiles no C++ where this is set.
const RUST_ALONE: &str = "SMARTENGINE_RUST_ALONE";

/// Changed when libraries are linked in another way, so that those of an older `xtask` are linked again.
const LINKED_HOW: &str = "symbols in a file of their own";

/// Where the program's build script takes options for the linker from, one a line.
const PROGRAM_OPTIONS: &str = "SMARTENGINE_LINK_OPTIONS";

/// How the plugin is compiled.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct PluginArgs {
    /// Build without optimisation and with debug assertions
    #[arg(long)]
    pub debug: bool,
    /// Link a plugin that older systems load: with its own C++ library, for glibc 2.28 (Oracle Linux 8) and later
    #[arg(long)]
    pub portable: bool,
}

impl PluginArgs {
    /// The folder that cargo builds in.
    pub fn profile(self) -> PathBuf {
        paths::target().join(if self.debug { "debug" } else { "release" })
    }
}

/// A plugin that was built. It stays as it is until the process ends, whatever others build in this checkout.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// `ha_smartengine.so`, without debug information.
    pub library: PathBuf,
    /// `ha_smartengine.so.debug`, where debuggers look for it: beside the library. (Built with a sanitizer, the library keeps it all and is named
    /// here too.)
    pub symbols: PathBuf,
    /// A folder for `--plugin-dir`: it has these two, and the server's own plugins and components.
    pub folder: PathBuf,
    _hold: Hold,
}

impl Plugin {
    /// Says where people find what was built, and how large it is.
    pub fn report(&self, args: PluginArgs) -> Result<()> {
        for file in [&self.library, &self.symbols] {
            let bytes = fs::metadata(file)
                .with_context(|| format!("read {}", file.display()))?
                .len();
            let name = file.file_name().context("a file of ours has a name")?;
            println!(
                "{} ({:.1} MB)",
                args.profile().join(name).display(),
                bytes as f64 / 1e6
            );
        }
        let needs = Needs::of(&self.library)?;
        println!(
            "it needs glibc {} and {}",
            needs.glibc().unwrap_or("of any version"),
            needs.libraries.join(", ")
        );
        Ok(())
    }
}

/// Which plugin is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Installed,
    Tested,
    Sanitized(Sanitizer),
}

impl Kind {
    /// The folder of its builds, below the profile's.
    fn folder(self) -> &'static str {
        match self {
            Self::Installed => "mysql-plugins",
            Self::Tested => "mysql-plugins-tested",
            Self::Sanitized(Sanitizer::Address) => "mysql-plugins-address",
            Self::Sanitized(Sanitizer::Thread) => "mysql-plugins-thread",
        }
    }

    fn features(self) -> Vec<&'static str> {
        match self {
            Self::Installed => vec![],
            Self::Tested => vec!["smartengine/failpoints"],
            Self::Sanitized(sanitizer) => vec!["smartengine/failpoints", sanitizer.feature()],
        }
    }
}

/// The environment variable that arms failure points, as it stands in a library that has them.
const FAILURE_POINTS: &[u8] = b"SMARTENGINE_FAILPOINTS";

/// Builds and links what a user installs: the library and its symbols file, which packages and images take from here. People find the newest of both
/// in `target/release` (or `target/debug`).
pub fn build(mysql: &Mysql, args: PluginArgs) -> Result<Plugin> {
    build_kind(mysql, args, Kind::Installed)
}

/// Builds and links the plugin with failure points.
pub fn build_for_tests(mysql: &Mysql, args: PluginArgs) -> Result<Plugin> {
    build_kind(mysql, args, Kind::Tested)
}

/// The same with its C++ under a sanitizer. A server loads it only if [`Sanitizer::environment`] is its own.
pub fn build_sanitized(mysql: &Mysql, sanitizer: Sanitizer) -> Result<Plugin> {
    build_kind(mysql, PluginArgs::default(), Kind::Sanitized(sanitizer))
}

fn build_kind(mysql: &Mysql, args: PluginArgs, kind: Kind) -> Result<Plugin> {
    let target = args.profile();
    // From here on no other command changes the archive that is linked.
    let _lock = FolderLock::acquire(&target.join("mysql-plugins"))?;
    let folders = target.join(kind.folder());
    let mut cargo = cargo_build(mysql, args)?;
    cargo.arg("--lib");
    let features = kind.features();
    if !features.is_empty() {
        cargo.args(["--features", &features.join(",")]);
    }
    exec::run(&mut cargo).context("compile the plugin")?;
    let archive = target.join("libsmartengine_plugin.a");
    let how = format!("{LINKED_HOW}, portable: {}", args.portable);
    // Without a server, what is linked depends on the headers alone, which are in the archive.
    let server = mysql.has_server().then(|| mysql.mysqld());
    let folder = BuildFolder::of(&folders, &archive, server.as_deref(), &how)?;
    let hold = folder.hold()?;
    // A sanitizer's reports are made inside the server, by code that reads the library alone.
    let is_split = !matches!(kind, Kind::Sanitized(_));
    if !folder.library().exists() {
        // Under another name until it has been checked, so that a library that is there is one that loads.
        link(mysql, &archive, &folder.unchecked(), kind, args)?;
        if is_split {
            symbols::split(&folder.unchecked(), &folder.symbols())?;
        }
        folder.accept()?;
    }
    if mysql.has_server() {
        folder.link_stock(&mysql.plugins())?;
    } else {
        eprintln!(
            "no server was named: whether it has all that the plugin wants of it was not checked (--mysql-root DIR does that)"
        );
    }
    if kind == Kind::Installed {
        folder.publish(&target)?;
    }
    folder.remove_others()?;
    Ok(Plugin {
        library: folder.library(),
        symbols: if is_split {
            folder.symbols()
        } else {
            folder.library()
        },
        folder: folder.path().to_path_buf(),
        _hold: hold,
    })
}

/// Links what was compiled last as `--portable` does, to see that it can be: what older systems lack would be named.
pub fn try_portable(mysql: &Mysql) -> Result<()> {
    let target = PluginArgs::default().profile();
    let _lock = FolderLock::acquire(&target.join("mysql-plugins"))?;
    let portable = PluginArgs {
        portable: true,
        ..PluginArgs::default()
    };
    let folder = paths::fresh("portable")?;
    link(
        mysql,
        &target.join("libsmartengine_plugin.a"),
        &folder.join("ha_smartengine.so"),
        Kind::Installed,
        portable,
    )
}

/// `cargo build` of what users install: to be told which of it. Plugin and program are always named together: cargo chooses the features of what both are made of by
/// what is named, and would compile it once for each choice.
pub fn cargo_build(mysql: &Mysql, args: PluginArgs) -> Result<Command> {
    let mut cargo = cargo(mysql, &Tools::locate()?);
    cargo.env_remove(RUST_ALONE);
    cargo.args(["build", "--package", "smartengine-plugin"]);
    cargo.args(["--package", "smartengine-cli"]);
    let mut linked = vec!["-Wl,--build-id=sha1".to_owned()];
    if args.portable {
        linked.extend(portable::program_options(&args.profile().join("program"))?);
    }
    cargo.env(PROGRAM_OPTIONS, linked.join("\n"));
    if !args.debug {
        cargo.arg("--release");
        PrefixMaps::of_this_machine()?.apply(&mut cargo)?;
    }
    Ok(cargo)
}

/// Cargo with the environment that the plugin's build script reads; it leaves out the C++ side.
pub fn cargo(mysql: &Mysql, tools: &Tools) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(paths::workspace())
        .env("MYSQL_SOURCE", &mysql.source)
        .env("MYSQL_BUILD", &mysql.build)
        .env("MYSQL_DEBUG", if mysql.is_debug { "1" } else { "0" })
        .env(RUST_ALONE, "1")
        .env("LIBCLANG_PATH", tools.libraries())
        .env("BINDGEN_EXTRA_CLANG_ARGS", tools.clang_arguments());
    exec::forget_package(&mut command);
    command
}

/// Links, and checks that the server has what the library wants of it.
fn link(mysql: &Mysql, archive: &Path, plugin: &Path, kind: Kind, args: PluginArgs) -> Result<()> {
    let server = mysql
        .has_server()
        .then(|| Symbols::of(&mysql.mysqld(), &["-D", "--defined-only"]))
        .transpose()?;
    let script = plugin.with_extension("map");
    fs::write(
        &script,
        version_script(&shared_data(
            &Symbols::of(archive, &["--defined-only"])?,
            server.as_ref(),
        )),
    )
    .with_context(|| format!("write {}", script.display()))?;
    let runtimes = match kind {
        Kind::Sanitized(sanitizer) => sanitizer.runtimes()?,
        Kind::Installed | Kind::Tested => Vec::new(),
    };
    let runtimes = runtimes
        .iter()
        .map(|library| Symbols::of(library, &["-D", "--defined-only"]))
        .collect::<Result<Vec<_>>>()?;
    let mut compiler = Command::new("g++");
    if let Kind::Sanitized(sanitizer) = kind {
        compiler.arg(sanitizer.option());
    }
    let portable = match args.portable {
        true => portable::options(plugin)?,
        false => Vec::new(),
    };
    exec::run(
        compiler
            .args(["-shared", "-g", "-o"])
            .arg(plugin)
            .args(DECLARATIONS.map(|name| format!("-Wl,-u,{name}")))
            .arg(archive)
            .args(portable)
            .arg(format!("-Wl,--version-script={}", script.display()))
            .args([
                "-Wl,--gc-sections",
                "-Wl,-z,nodelete",
                "-Wl,-z,relro",
                "-Wl,--build-id=sha1",
                "-Wl,-O1",
            ])
            .args(["-lpthread", "-ldl", "-lm", "-lrt"]),
    )
    .context("link the plugin")?;
    if let Some(server) = &server {
        let mut provided = server.names();
        provided.extend(runtimes.iter().flat_map(Symbols::names));
        let missing = Symbols::of(plugin, &["-D", "--undefined-only"])?.missing_from(&provided);
        if !missing.is_empty() {
            bail!(
                "the plugin would not load: {} exports none of these:\n{}",
                mysql.mysqld().display(),
                demangle(&missing)
            );
        }
    }
    if args.portable {
        portable::check(plugin)?;
    }
    let bytes = fs::read(plugin).with_context(|| format!("read {}", plugin.display()))?;
    let has_points = contains(&bytes, FAILURE_POINTS);
    if has_points != (kind != Kind::Installed) {
        bail!(
            "{} {} failure points: the feature smartengine/failpoints belongs to the tests' build, and to no other",
            plugin.display(),
            if has_points { "has" } else { "has no" }
        );
    }
    Ok(())
}

/// Whether `part` occurs in `bytes`.
pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let first = part.first().copied().unwrap_or_default();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        rest = &rest[at..];
        if rest.starts_with(part) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// Symbols as `nm` lists them: a kind and a name.
struct Symbols(Vec<(char, String)>);

impl Symbols {
    fn of(file: &Path, options: &[&str]) -> Result<Self> {
        let text = exec::output(
            Command::new("nm")
                .args(options)
                .arg("--format=posix")
                .arg(file),
        )
        .with_context(|| format!("list the symbols of {}", file.display()))?;
        Ok(Self(parse_symbols(&text)))
    }

    fn names(&self) -> HashSet<&str> {
        self.0.iter().map(|(_, name)| bare(name)).collect()
    }

    /// The undefined symbols among these that only the server could define, and does not.
    fn missing_from(&self, server: &HashSet<&str>) -> Vec<String> {
        self.0
            .iter()
            // A symbol with a version comes from the C or C++ runtime, and was found when linking.
            .filter(|(kind, name)| *kind == 'U' && !name.contains('@'))
            .filter(|(_, name)| !server.contains(name.as_str()))
            .map(|(_, name)| name.clone())
            .collect()
    }
}

/// Variables that headers of the server define in every file that includes them, where the server's copy is meant: inline
/// variables, statics of templates, type information. They are exported, so that the loader binds them to the server's. Where the server is not
/// known, all are: one that it has not binds to the plugin's own.
fn shared_data<'a>(archive: &'a Symbols, server: Option<&Symbols>) -> BTreeSet<&'a str> {
    let server = server.map(Symbols::names);
    archive
        .0
        .iter()
        .filter(|(kind, _)| matches!(kind, 'V' | 'u'))
        .map(|(_, name)| name.as_str())
        .filter(|name| match &server {
            Some(server) => server.contains(name),
            // No server has what is ours, nor the compiler's references within one library.
            None => !name.contains("smartengine") && !name.starts_with("DW.ref."),
        })
        .collect()
}

fn version_script(shared: &BTreeSet<&str>) -> String {
    let mut text = String::from("{\n  global:\n");
    for name in DECLARATIONS.iter().chain([&SERVICES]).chain(shared) {
        text.push_str(&format!("    {name};\n"));
    }
    text.push_str("  local: *;\n};\n");
    text
}

/// Lines of the form `name kind [value [size]]`; archives add a line for each member, which ends in a colon.
fn parse_symbols(text: &str) -> Vec<(char, String)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let name = fields.next()?;
            let kind = fields.next()?;
            let mut letters = kind.chars();
            let letter = letters.next()?;
            letters.next().is_none().then(|| (letter, name.to_string()))
        })
        .collect()
}

/// The name without the version that follows an at sign.
fn bare(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

fn demangle(names: &[String]) -> String {
    exec::output(Command::new("c++filt").args(names)).unwrap_or_else(|_| names.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(text: &str) -> Symbols {
        Symbols(parse_symbols(text))
    }

    #[test]
    fn archive_members_are_no_symbols() {
        let parsed = parse_symbols("lib.a[a.o]:\n_ZN1aE T 0000 0010\nfoo U\n");
        assert_eq!(parsed, [('T', "_ZN1aE".into()), ('U', "foo".into())]);
    }

    #[test]
    fn what_neither_runtime_nor_server_has_is_missing() {
        let plugin = symbols("malloc@GLIBC_2.2.5 U\nserver_fn U\ngone_fn U\nmaybe w\n");
        let server = symbols("server_fn T 1 1\nother@@V1 T 1 1\n");
        assert_eq!(plugin.missing_from(&server.names()), ["gone_fn"]);
    }

    #[test]
    fn weak_data_of_the_server_is_shared() {
        let archive = symbols(
            "_ZTV7handler V 0 8\n_ZTV4mine V 0 8\n_Z3fnv W 0 8\n_ZGV1x u 0 8\n\
             DW.ref.__gxx_personality_v0 V 0 8\n_ZTVN11smartengine5StoreE V 0 8\n",
        );
        let server = symbols("_ZTV7handler V 0 8\n_Z3fnv W 0 8\n_ZGV1x u 0 8\n");
        let shared = shared_data(&archive, Some(&server));
        assert_eq!(
            shared.into_iter().collect::<Vec<_>>(),
            ["_ZGV1x", "_ZTV7handler"]
        );
        let shared = shared_data(&archive, None);
        assert_eq!(
            shared.into_iter().collect::<Vec<_>>(),
            ["_ZGV1x", "_ZTV4mine", "_ZTV7handler"]
        );
    }

    #[test]
    fn the_version_script_hides_all_else() {
        let script = version_script(&BTreeSet::from(["_ZTV7handler"]));
        assert!(script.contains("_mysql_plugin_declarations_;"));
        assert!(script.contains("    _ZTV7handler;\n  local: *;"));
    }
}
