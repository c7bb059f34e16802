//! Which server a program is, and which server headers are of: a plugin works only where both are the same.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What a plugin must agree with its server on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `8.0.36`; what vendors add is not in it.
    pub version: String,
    /// With debug assertions, which change the layout of structures.
    pub is_debug: bool,
    /// What it was read from.
    what: String,
}

impl Kind {
    /// Asks the server itself, which takes a moment and touches nothing.
    pub fn of_server(mysqld: &Path) -> Result<Self> {
        let output = Command::new(mysqld)
            .args(["--no-defaults", "--version"])
            .stdin(Stdio::null())
            .output();
        let said = match output {
            Ok(output) if output.status.success() => {
                String::from_utf8_lossy(&output.stdout).into_owned()
            }
            Ok(output) => bail!(
                "{} --version failed: {}",
                mysqld.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            Err(error) => bail!("start {} --version: {error}", mysqld.display()),
        };
        let (version, is_debug) = parse_said(&said).with_context(|| {
            format!(
                "{} --version says {:?}, which names no version",
                mysqld.display(),
                said.trim()
            )
        })?;
        Ok(Self {
            version,
            is_debug,
            what: mysqld.display().to_string(),
        })
    }

    /// Reads what headers were configured for.
    pub fn of_headers(build: &Path) -> Result<Self> {
        let path = build.join("include/mysql_version.h");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(Self {
            version: parse_header(&text)
                .with_context(|| format!("{} names no MYSQL_SERVER_VERSION", path.display()))?,
            is_debug: fs::read_to_string(build.join("CMakeCache.txt"))
                .is_ok_and(|cache| is_debug_cache(&cache)),
            what: build.display().to_string(),
        })
    }

    /// `8.0.36 with debug assertions`.
    pub fn name(&self) -> String {
        format!(
            "{} {}",
            self.version,
            if self.is_debug {
                "with debug assertions"
            } else {
                "without debug assertions"
            }
        )
    }

    /// Refuses a source tree of another version.
    pub fn check_version(&self, version: &str, source: &Path) -> Result<()> {
        if self.version == version {
            return Ok(());
        }
        bail!(
            "{} is MySQL {}, and the headers in {} are of MySQL {version}: name the source tree that the server was built from",
            self.what,
            self.version,
            source.display()
        )
    }

    /// Refuses headers of another server: of another version, or from a build tree that was named and is of the other kind.
    pub fn check(&self, headers: &Self, build: &Path, is_given: bool) -> Result<()> {
        self.check_version(&headers.version, build)?;
        if is_given && self.is_debug != headers.is_debug {
            bail!(
                "{} is MySQL {}, and {} was configured for one {}: name the build tree that the server was built in, or none",
                self.what,
                self.name(),
                headers.what,
                if headers.is_debug {
                    "with debug assertions"
                } else {
                    "without"
                }
            );
        }
        Ok(())
    }
}

/// `mysqld  Ver 8.0.36-debug for Linux on x86_64 (Source distribution)`.
fn parse_said(said: &str) -> Option<(String, bool)> {
    let version = said.split(" Ver ").nth(1)?.split_whitespace().next()?;
    let numbers = numbers(version);
    (numbers.split('.').count() == 3).then(|| (numbers.to_owned(), version.contains("-debug")))
}

fn parse_header(header: &str) -> Option<String> {
    let line = header
        .lines()
        .find(|line| line.contains("define MYSQL_SERVER_VERSION"))?;
    Some(numbers(line.split('"').nth(1)?).to_owned())
}

fn numbers(version: &str) -> &str {
    let end = version
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(version.len());
    &version[..end]
}

fn is_debug_cache(cache: &str) -> bool {
    let value = |name: &str| {
        cache.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.split(':').next() == Some(name)).then_some(value)
        })
    };
    value("CMAKE_BUILD_TYPE").is_some_and(|value| value.eq_ignore_ascii_case("debug"))
        || value("WITH_DEBUG").is_some_and(|value| matches!(value, "1" | "ON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_its_version_and_whether_it_has_assertions() {
        let said = |version: &str| {
            parse_said(&format!(
                "/usr/sbin/mysqld  Ver {version} for Linux on x86_64 (x)\n"
            ))
        };
        assert_eq!(said("9.7.4-2"), Some(("9.7.4".into(), false)));
        assert_eq!(said("8.0.36"), Some(("8.0.36".into(), false)));
        assert_eq!(said("8.0.36-debug"), Some(("8.0.36".into(), true)));
        assert_eq!(
            said("8.0.36-0ubuntu0.22.04.1-debug"),
            Some(("8.0.36".into(), true))
        );
        assert_eq!(said("ten"), None);
        assert_eq!(parse_said(""), None);
    }

    #[test]
    fn the_header_gives_the_server_version() {
        let header =
            "#define MYSQL_VERSION_ID 90704\n#define MYSQL_SERVER_VERSION    \"9.7.4-2\"\n";
        assert_eq!(parse_header(header).as_deref(), Some("9.7.4"));
        assert_eq!(parse_header(""), None);
    }

    #[test]
    fn a_build_tree_is_for_debugging_by_its_type_or_its_option() {
        assert!(is_debug_cache("CMAKE_BUILD_TYPE:STRING=Debug\n"));
        assert!(is_debug_cache(
            "WITH_DEBUG:BOOL=ON\nCMAKE_BUILD_TYPE:STRING=\n"
        ));
        assert!(!is_debug_cache(
            "CMAKE_BUILD_TYPE:STRING=RelWithDebInfo\nWITH_DEBUG:BOOL=OFF\n"
        ));
        assert!(!is_debug_cache("//CMAKE_BUILD_TYPE:STRING=Debug\n"));
    }

    #[test]
    fn a_server_that_does_not_start_is_named() {
        let error = Kind::of_server(Path::new("/nowhere/bin/mysqld")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/bin/mysqld"), "{error}");
    }
}
