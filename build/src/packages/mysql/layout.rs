//! Where the parts of a server are: in Oracle's tarballs, in what rpm and deb packages install, in a build tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The places in one server's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// For `--basedir`.
    pub base: PathBuf,
    pub mysqld: PathBuf,
    /// The folder of `mysql` and its like.
    pub clients: PathBuf,
    /// For `--lc-messages-dir`.
    pub messages: PathBuf,
    /// The server's own plugins and components.
    pub plugins: PathBuf,
    /// Holds `mysql-test-run.pl`.
    pub test_suite: PathBuf,
}

/// Where the server may be, from the folder given: the base, and the program in it. What packages install is below `usr`, or is it; those of Fedora and
/// its relatives have it in `libexec`.
const SERVERS: [(&str, &str); 7] = [
    ("usr", "sbin/mysqld"),
    ("usr", "bin/mysqld"),
    ("usr", "libexec/mysqld"),
    ("", "bin/mysqld"),
    ("", "sbin/mysqld"),
    ("", "libexec/mysqld"),
    ("", "runtime_output_directory/mysqld"),
];
/// The libraries of rpm packages, of deb packages, of a tarball, of a build tree.
const PLUGINS: [&str; 4] = [
    "lib64/mysql/plugin",
    "lib/mysql/plugin",
    "lib/plugin",
    "plugin_output_directory",
];
/// The test suite of Debian's packages, of rpm packages, of a tarball or a build tree.
const TEST_SUITES: [&str; 3] = ["lib/mysql-test", "share/mysql-test", "mysql-test"];
/// A server with debug assertions that Oracle's packages put beside the other one, and where its plugins are in the folder of plugins.
const DEBUG_SERVER: &str = "mysqld-debug";
const DEBUG_PLUGINS: &str = "debug";
/// What tells a folder of messages.
const MESSAGES: &str = "english/errmsg.sys";

impl Layout {
    /// Finds the server in a folder.
    pub fn of(root: &Path) -> Result<Self> {
        let (base, mysqld) = SERVERS
            .iter()
            .map(|(base, program)| (join(root, base), *program))
            .find(|(base, program)| base.join(program).is_file())
            .with_context(|| {
                let places: Vec<String> = SERVERS
                    .iter()
                    .map(|(base, program)| join(Path::new(base), program).display().to_string())
                    .collect();
                format!(
                    "--mysql-root {}: there is no server in it, as {}",
                    root.display(),
                    places.join(", ")
                )
            })?;
        Ok(Self::in_base(&base, mysqld))
    }

    /// The same with the server that has debug assertions, beside the other.
    pub fn of_debug_server(root: &Path) -> Result<Self> {
        let mut layout = Self::of(root)?;
        let other = layout.mysqld.clone();
        layout.mysqld.set_file_name(DEBUG_SERVER);
        ensure!(
            layout.mysqld.is_file(),
            "--mysql-debug: there is no mysqld-debug beside {}: leave the option out, also for a server that is a debug server itself",
            other.display()
        );
        let plugins = layout.plugins.join(DEBUG_PLUGINS);
        if plugins.is_dir() {
            layout.plugins = plugins;
        }
        Ok(layout)
    }

    /// Where Debian's packages put it, whether or not it is there yet.
    pub fn of_packages(root: &Path) -> Self {
        Self::in_base(&root.join("usr"), "sbin/mysqld")
    }

    fn in_base(base: &Path, mysqld: &str) -> Self {
        let is_built = mysqld.starts_with("runtime_output_directory");
        let first = |places: &[&str], packaged: &str| {
            places
                .iter()
                .map(|place| base.join(place))
                .find(|path| path.is_dir())
                .unwrap_or_else(|| base.join(packaged))
        };
        Self {
            mysqld: base.join(mysqld),
            clients: match is_built {
                true => base.join("runtime_output_directory"),
                false => base.join("bin"),
            },
            messages: messages(&base.join("share")),
            plugins: first(&PLUGINS, "lib/mysql/plugin"),
            test_suite: first(&TEST_SUITES, "lib/mysql-test"),
            base: base.to_path_buf(),
        }
    }
}

fn join(dir: &Path, name: &str) -> PathBuf {
    if name.is_empty() {
        dir.to_path_buf()
    } else {
        dir.join(name)
    }
}

/// `share/mysql`, or `share/mysql-8.0` where packages of several versions may stand side by side, or `share` itself in a tarball.
fn messages(share: &Path) -> PathBuf {
    let mut places = vec![share.join("mysql")];
    let mut others: Vec<PathBuf> = fs::read_dir(share)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("mysql-"))
        .map(|entry| entry.path())
        .collect();
    others.sort();
    // The newest, if there are several.
    places.extend(others.into_iter().rev());
    places.push(share.to_path_buf());
    places
        .iter()
        .find(|place| place.join(MESSAGES).is_file())
        .cloned()
        .unwrap_or_else(|| places[0].clone())
}

#[cfg(test)]
mod tests;
