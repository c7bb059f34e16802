//! A MySQL server with its headers and its test suite: Debian's, which is fetched on first use, or one that is on the machine.

mod configure;
mod fetch;
mod kind;
mod layout;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::host::paths;

pub use configure::{boost_for, version_of_source};
use kind::Kind;
use layout::Layout;

/// Where a server and its headers are.
#[derive(Clone, Debug)]
pub struct Mysql {
    /// Holds the server in one of the layouts that [`layout`] knows; empty where there are headers alone.
    pub root: PathBuf,
    /// The source tree, or its headers alone.
    pub source: PathBuf,
    /// The configured build tree, for the generated headers in its `include/`.
    pub build: PathBuf,
    /// Whether the server was built with debug assertions, which change the layout of its structures.
    pub is_debug: bool,
    /// Whether the server is `mysqld-debug`, beside another one.
    uses_debug_server: bool,
}

/// A server that is already on the machine, in place of Debian's.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "A MySQL server of your own")]
pub struct MysqlArgs {
    /// Server to use instead of Debian's: an unpacked tarball, the root of an rpm or deb installation, or a build tree
    #[arg(long, global = true, value_name = "DIR")]
    pub mysql_root: Option<PathBuf>,
    /// Use its mysqld-debug, as Oracle's packages have one beside mysqld
    #[arg(long, global = true, requires = "mysql_root")]
    pub mysql_debug: bool,
    /// Its source tree (holds sql/handler.h) [default: the one that a build tree was made from]
    #[arg(long, global = true, value_name = "DIR")]
    pub mysql_source: Option<PathBuf>,
    /// Its build tree (holds include/my_config.h and include/mysqld_error.h) [default: builddir or build in the source tree, or the headers are
    /// configured in the cache folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub mysql_build: Option<PathBuf>,
    /// Unpacked boost that the source tree of 8.0 is configured with [default: boost in the source tree]
    #[arg(long, global = true, value_name = "DIR", requires = "mysql_source")]
    pub boost: Option<PathBuf>,
}

impl MysqlArgs {
    /// The same as options of a command line.
    pub fn to_options(&self) -> Vec<OsString> {
        let given = [
            ("--mysql-root", &self.mysql_root),
            ("--mysql-source", &self.mysql_source),
            ("--mysql-build", &self.mysql_build),
            ("--boost", &self.boost),
        ];
        let given = given.into_iter();
        let mut options: Vec<OsString> = given
            .filter_map(|(option, value)| Some([option.into(), value.clone()?.into_os_string()]))
            .flatten()
            .collect();
        if self.mysql_debug {
            options.push("--mysql-debug".into());
        }
        options
    }
}

impl Mysql {
    /// The server asked for, or Debian's, which is fetched on first use.
    pub fn locate(args: &MysqlArgs) -> Result<Self> {
        let mysql = Self::for_building(args)?;
        ensure!(
            mysql.has_server(),
            "this command starts a server: name it with --mysql-root beside --mysql-source"
        );
        Ok(mysql)
    }

    /// The same, or headers without a server, which are enough to build for it.
    pub fn for_building(args: &MysqlArgs) -> Result<Self> {
        let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
        let root = absolute(&args.mysql_root)?;
        let source = absolute(&args.mysql_source)?;
        let build = absolute(&args.mysql_build)?;
        if root.is_none() && source.is_none() && build.is_none() {
            return fetch::cached(&paths::cache()?.join("mysql"));
        }
        let layout_of = layout_of(args.mysql_debug);
        let layout = root.as_deref().map(layout_of).transpose()?;
        let server = layout
            .as_ref()
            .map(|layout| Kind::of_server(&layout.mysqld))
            .transpose()
            .context(
                "the server of --mysql-root has to run here (cargo xtask plugin builds for --mysql-source alone as well)",
            )?;
        // What a server was built in has its headers.
        let build = build.or_else(|| root.clone().filter(|root| is_configured(root)));
        let source = match source.or_else(|| build.as_deref().and_then(source_of_build)) {
            Some(source) => source,
            None => bail!(missing_source(
                layout.as_ref(),
                server.as_ref(),
                build.as_deref()
            )),
        };
        ensure!(
            source.join("sql/handler.h").is_file(),
            "--mysql-source {}: there is no sql/handler.h in it: name an unpacked source tree of MySQL",
            source.display()
        );
        let is_given = build.is_some();
        let found = ["builddir", "build", "bld"].map(|name| source.join(name));
        let build = match build.or_else(|| found.into_iter().find(|dir| is_configured(dir))) {
            Some(build) => build,
            None => {
                if let Some(server) = &server {
                    // Before minutes are spent.
                    server.check_version(&configure::version_of_source(&source)?, &source)?;
                }
                let is_debug = server.as_ref().is_some_and(|server| server.is_debug);
                configure::headers(&source, args.boost.as_deref(), is_debug)?
            }
        };
        for file in ["include/my_config.h", "include/mysqld_error.h"] {
            ensure!(
                build.join(file).is_file(),
                "--mysql-build {}: there is no {file} in it: leave the option out, and cargo xtask configures what it needs",
                build.display()
            );
        }
        let headers = Kind::of_headers(&build)?;
        if let Some(server) = &server {
            server.check(&headers, &build, is_given)?;
        }
        Ok(Self {
            uses_debug_server: args.mysql_debug,
            is_debug: server.unwrap_or(headers).is_debug,
            root: root.unwrap_or_default(),
            source,
            build,
        })
    }

    /// Fetches what the archive has now, even where an older version is there.
    pub fn update() -> Result<Self> {
        fetch::fetch(&paths::cache()?.join("mysql"), true)
    }

    /// What is fetched, or will be.
    fn in_cache(folder: &Path) -> Self {
        Self {
            root: folder.join("server"),
            source: folder.join("source"),
            build: folder.join("source/builddir"),
            is_debug: false,
            uses_debug_server: false,
        }
    }

    /// Whether there is a server, and not headers alone.
    pub fn has_server(&self) -> bool {
        !self.root.as_os_str().is_empty()
    }

    fn layout(&self) -> Layout {
        let layout_of = layout_of(self.uses_debug_server);
        layout_of(&self.root).unwrap_or_else(|_| Layout::of_packages(&self.root))
    }

    /// The folder for `--basedir`.
    pub fn base(&self) -> PathBuf {
        self.layout().base
    }

    pub fn mysqld(&self) -> PathBuf {
        self.layout().mysqld
    }

    /// A client program such as `mysql`.
    pub fn client(&self, program: &str) -> PathBuf {
        self.layout().clients.join(program)
    }

    /// The folder for `--lc-messages-dir`.
    pub fn messages(&self) -> PathBuf {
        self.layout().messages
    }

    /// The server's own plugins and components.
    pub fn plugins(&self) -> PathBuf {
        self.layout().plugins
    }

    /// The stock suite, with `mysql-test-run.pl` in it.
    pub fn test_suite(&self) -> PathBuf {
        self.layout().test_suite
    }

    /// The version of Debian's package, which is the name of the folder that it was unpacked into.
    pub fn debian_version(&self) -> Result<String> {
        let folder = self.root.parent().and_then(|folder| folder.file_name());
        let version = folder.map(|name| name.to_string_lossy().into_owned());
        version
            .filter(|version| self.root.ends_with("server") && version.contains('-'))
            .with_context(|| format!("{} is no server of Debian's packages", self.root.display()))
    }

    /// The version of the headers, `9.7.4` for instance.
    pub fn version(&self) -> Result<String> {
        Ok(Kind::of_headers(&self.build)?.version)
    }
}

/// How a server is found in a folder.
fn layout_of(uses_debug_server: bool) -> fn(&Path) -> Result<Layout> {
    match uses_debug_server {
        true => Layout::of_debug_server,
        false => Layout::of,
    }
}

/// Whether a folder has the headers that are generated.
fn is_configured(dir: &Path) -> bool {
    ["my_config.h", "mysqld_error.h", "mysql_version.h"]
        .iter()
        .all(|name| dir.join("include").join(name).is_file())
}

/// The source tree that a build tree says it was made from, if it is still there.
fn source_of_build(build: &Path) -> Option<PathBuf> {
    let cache = fs::read_to_string(build.join("CMakeCache.txt")).ok()?;
    let source = PathBuf::from(home_of_cache(&cache)?);
    source.join("sql/handler.h").is_file().then_some(source)
}

fn home_of_cache(cache: &str) -> Option<&str> {
    cache
        .lines()
        .find_map(|line| line.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="))
}

fn missing_source(layout: Option<&Layout>, server: Option<&Kind>, build: Option<&Path>) -> String {
    match (layout, server, build) {
        (Some(layout), Some(server), _) => format!(
            "{} is MySQL {}: a plugin for it is built with the headers of its source tree, which no installation has. Unpack \
             the sources of {} (from MySQL's downloads) and name them with --mysql-source",
            layout.mysqld.display(),
            server.name(),
            server.version
        ),
        (_, _, Some(build)) => format!(
            "--mysql-build {}: the source tree that it was made from is not there: name it with --mysql-source",
            build.display()
        ),
        _ => "name the source tree with --mysql-source".to_owned(),
    }
}

#[cfg(test)]
mod tests;
